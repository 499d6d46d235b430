//! `focus`: says that somebody looks at a conversation, so that nothing is notified there.

use std::time::Duration;

use clap::Subcommand;
use sessiond_client::v1::{
    GetConversationRequest, HoldFocusRequest, ReleaseFocusRequest,
    get_conversation_request::Selector,
};

use crate::{
    account_id::AccountId, args::duration, context::Context, failure::Failure, format::safe,
};

/// What to do with the focus.
#[derive(Debug, Subcommand)]
pub enum FocusCommand {
    /// Hold the focus of a conversation for a moment; prints the lease that renews it or gives it back
    Hold {
        /// Account ID of the other side
        #[arg(value_name = "ACCOUNT-ID")]
        with: AccountId,
        /// How long, up to 60s
        #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = duration)]
        lasting: Duration,
        /// Lease to renew
        #[arg(long, value_name = "LEASE", default_value = "")]
        lease: String,
    },
    /// Give a lease back
    Release {
        /// Account ID of the other side
        #[arg(value_name = "ACCOUNT-ID")]
        with: AccountId,
        /// Lease that `focus hold` printed
        lease: String,
    },
}

/// Runs `focus`.
pub async fn focus(context: &mut Context, command: FocusCommand) -> Result<(), Failure> {
    let client = context.connect().await?;
    let (FocusCommand::Hold { with, .. } | FocusCommand::Release { with, .. }) = &command;
    let request = GetConversationRequest {
        selector: Some(Selector::AccountId(with.to_string())),
        ..GetConversationRequest::default()
    };
    let conversation = client.get_conversation(request).await?.conversation;
    let conversation_id = conversation
        .ok_or(Failure::Incomplete("the conversation"))?
        .id;
    match command {
        FocusCommand::Hold { lasting, lease, .. } => {
            let request = HoldFocusRequest {
                conversation_id,
                lease,
                duration: prost_types::Duration::try_from(lasting).ok(),
                ..HoldFocusRequest::default()
            };
            let answer = client.hold_focus(request).await?;
            if context.json {
                return context.object("HoldFocusResponse", &answer);
            }
            context.print(&format!("{}\n", safe::line(&answer.lease)))
        }
        FocusCommand::Release { lease, .. } => {
            let request = ReleaseFocusRequest {
                conversation_id,
                lease,
                ..ReleaseFocusRequest::default()
            };
            let answer = client.release_focus(request).await?;
            if context.json {
                return context.object("ReleaseFocusResponse", &answer);
            }
            Ok(())
        }
    }
}
