//! `send`, `invite`

use std::time::Duration;

use clap::{Args, ValueEnum};
use sessiond_client::{
    Client, Error, new_client_token,
    v1::{
        CommunityInvitationContent, Message, Quote, SendMessageRequest, SendMessageResponse,
        SendState, TextContent,
    },
};

use super::tune::{Timer, timer};
use crate::{account_id::AccountId, args, context::Context, failure::Failure, format::safe, input};

/// Arguments of `send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Account ID of the recipient
    #[arg(value_name = "ACCOUNT-ID")]
    pub recipient: AccountId,
    /// What to say, `-` to read it from stdin (one line break at the end is dropped); put `--`
    /// before a text that begins with a dash
    pub text: String,
    /// Wait until the message is stored in the recipient's swarm (exit code 0) or given up (1)
    #[arg(long, value_name = "STATE")]
    pub wait: Option<WaitFor>,
    /// Whole ID of the message that this one answers
    #[arg(long, value_name = "MESSAGE-ID")]
    pub reply_to: Option<String>,
    /// It disappears so long after sending, as 12h or 168h, or after reading, as 1h-after-read; off: it stays, whatever
    /// the conversation is set to
    #[arg(long, value_name = "TIMER", value_parser = timer)]
    pub expire: Option<Timer>,
    /// Repeating a send with the same token and content sends nothing twice [default: random]
    #[arg(long)]
    pub token: Option<String>,
    /// How long --wait waits, as 30s or 5m; the agent goes on trying afterwards
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = args::duration)]
    pub timeout: Duration,
}

/// Arguments of `invite`.
#[derive(Debug, Args)]
pub struct InviteArgs {
    /// Account ID of who is invited
    #[arg(value_name = "ACCOUNT-ID")]
    pub recipient: AccountId,
    /// Where the community is joined: https://HOST/ROOM?public_key=HEX
    pub url: String,
    /// Name of the community
    pub name: String,
    /// Wait until it is stored in the recipient's swarm (exit code 0) or given up (1)
    #[arg(long, value_name = "STATE")]
    pub wait: Option<WaitFor>,
    /// Repeating it with the same token and content sends nothing twice [default: random]
    #[arg(long)]
    pub token: Option<String>,
    /// How long --wait waits, as 30s or 5m; the agent goes on trying afterwards
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = args::duration)]
    pub timeout: Duration,
}

/// What `send --wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WaitFor {
    /// At least one member of the recipient's swarm signed that it holds the message
    Stored,
}

/// Without `--wait` prints the message's ID (or the message as JSON) once it is accepted. With it
/// the ID comes at once, too, but the JSON only at the end, with the state reached; also when that
/// is FAILED or still SENDING.
pub async fn send(context: &mut Context, args: SendArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let body = if args.text == "-" {
        input::text(&mut context.terminal.input)?
    } else {
        args.text
    };
    let client_token = match args.token {
        Some(token) => token,
        None => new_client_token()?,
    };
    let request = SendMessageRequest {
        recipient: args.recipient.to_string(),
        text: Some(TextContent {
            body,
            quote: args.reply_to.map(|message_id| Quote {
                message_id,
                ..Default::default()
            }),
            ..Default::default()
        }),
        client_token,
        disappearing: args.expire.map(Timer::of_message),
        ..SendMessageRequest::default()
    };
    deliver(context, &client, request, args.wait, args.timeout).await
}

/// As [`send`].
pub async fn invite(context: &mut Context, args: InviteArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let client_token = match args.token {
        Some(token) => token,
        None => new_client_token()?,
    };
    let request = SendMessageRequest {
        recipient: args.recipient.to_string(),
        community_invitation: Some(CommunityInvitationContent {
            url: args.url,
            name: args.name,
        }),
        client_token,
        ..SendMessageRequest::default()
    };
    deliver(context, &client, request, args.wait, args.timeout).await
}

async fn deliver(
    context: &mut Context,
    client: &Client,
    request: SendMessageRequest,
    wait: Option<WaitFor>,
    timeout: Duration,
) -> Result<(), Failure> {
    let accepted = client.send_message(request).await?;
    let message = accepted
        .message
        .clone()
        .ok_or(Failure::Incomplete("the message"))?;
    if !context.json {
        context.print(&format!("{}\n", safe::line(&message.id)))?;
        context.flush()?;
    }
    match wait {
        None if context.json => context.object("Message", &message),
        None => Ok(()),
        Some(WaitFor::Stored) => {
            let work = settle(client, accepted, timeout);
            let text = "Accepted; waiting until the recipient's swarm has it …";
            let outcome = context.wait(text, work).await;
            if context.json {
                context.object("Message", outcome.as_ref().unwrap_or(&message))?;
            }
            let settled = outcome?;
            if settled.send_state() == SendState::Failed {
                return Err(Failure::NotSent {
                    reason: settled.failure_reason,
                });
            }
            context.progress("✓ stored");
            Ok(())
        }
    }
}

async fn settle(
    client: &Client,
    accepted: SendMessageResponse,
    timeout: Duration,
) -> Result<Message, Error> {
    client.wait_until_settled("", accepted, timeout).await
}
