//! `read`, `unread`, `accept`, `decline`, `block`, `unblock`, `delete`, `react`, `saved`, `retry`, `cancel`: what changes a conversation or a message
//! that is there.

use std::time::SystemTime;

use clap::{Args, ValueEnum};
use sessiond_client::v1::{
    AcceptConversationRequest, CancelMessageRequest, Conversation, DeclineConversationRequest,
    DeleteMessageRequest, DeleteScope, MarkConversationReadRequest, MarkConversationUnreadRequest,
    Message, ReportMediaSavedRequest, RetryMessageRequest, SetConversationBlockedRequest,
    SetReactionRequest, accept_conversation_request as accepting,
    decline_conversation_request as declining, mark_conversation_read_request as reading,
    mark_conversation_unread_request as unreading, set_conversation_blocked_request as blocking,
};

use super::messages::{ConversationArgs, MessageArgs};
use crate::{
    account_id::AccountId,
    context::Context,
    failure::Failure,
    format::{chat, conversation},
};

/// Arguments of `read`.
#[derive(Debug, Args)]
pub struct ReadArgs {
    /// Account ID of the other side
    #[arg(value_name = "ACCOUNT-ID")]
    pub with: AccountId,
    /// Read no further than this message
    #[arg(long, value_name = "MESSAGE-ID")]
    pub up_to: Option<String>,
}

/// Arguments of `decline`.
#[derive(Debug, Args)]
pub struct DeclineArgs {
    /// Account ID of who wrote
    #[arg(value_name = "ACCOUNT-ID")]
    pub with: AccountId,
    /// Hear nothing more from them
    #[arg(long)]
    pub block: bool,
}

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Its whole ID, as `--full messages` prints it
    #[arg(value_name = "MESSAGE-ID")]
    pub id: String,
    /// Where it is deleted
    #[arg(long, value_enum, default_value_t = Where::Here)]
    pub from: Where,
}

/// Where a message is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Where {
    /// On this device
    Here,
    /// On all devices of this account
    OwnDevices,
    /// For everyone; own messages alone
    Everyone,
}

/// Arguments of `react`.
#[derive(Debug, Args)]
pub struct ReactArgs {
    /// Whole ID of the message
    #[arg(value_name = "MESSAGE-ID")]
    pub id: String,
    /// One emoji
    pub emoji: String,
    /// Take it off instead
    #[arg(long)]
    pub remove: bool,
}

pub async fn read(context: &mut Context, args: ReadArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = MarkConversationReadRequest {
        selector: Some(reading::Selector::AccountId(args.with.to_string())),
        up_to_message_id: args.up_to.unwrap_or_default(),
        ..Default::default()
    };
    let answer = client.mark_conversation_read(request).await?;
    show(context, answer.conversation)
}

pub async fn unread(context: &mut Context, args: ConversationArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = MarkConversationUnreadRequest {
        selector: Some(unreading::Selector::AccountId(args.with.to_string())),
        ..Default::default()
    };
    let answer = client.mark_conversation_unread(request).await?;
    show(context, answer.conversation)
}

pub async fn accept(context: &mut Context, args: ConversationArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = AcceptConversationRequest {
        selector: Some(accepting::Selector::AccountId(args.with.to_string())),
        ..Default::default()
    };
    let answer = client.accept_conversation(request).await?;
    show(context, answer.conversation)
}

pub async fn decline(context: &mut Context, args: DeclineArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = DeclineConversationRequest {
        selector: Some(declining::Selector::AccountId(args.with.to_string())),
        block: args.block,
        ..Default::default()
    };
    let answer = client.decline_conversation(request).await?;
    if context.json {
        return context.object("DeclineConversationResponse", &answer);
    }
    context.progress("Declined; nobody is told.");
    Ok(())
}

pub async fn block(
    context: &mut Context,
    args: ConversationArgs,
    blocked: bool,
) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = SetConversationBlockedRequest {
        selector: Some(blocking::Selector::AccountId(args.with.to_string())),
        blocked,
        ..Default::default()
    };
    let answer = client.set_conversation_blocked(request).await?;
    show(context, answer.conversation)
}

pub async fn delete(context: &mut Context, args: DeleteArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let scope = match args.from {
        Where::Here => DeleteScope::Here,
        Where::OwnDevices => DeleteScope::OwnDevices,
        Where::Everyone => DeleteScope::Everyone,
    };
    let request = DeleteMessageRequest {
        message_id: args.id,
        scope: scope.into(),
        ..Default::default()
    };
    let answer = client.delete_message(request).await?;
    if context.json {
        return context.object("DeleteMessageResponse", &answer);
    }
    context.progress("Deleted.");
    Ok(())
}

pub async fn react(context: &mut Context, args: ReactArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = SetReactionRequest {
        message_id: args.id,
        emoji: args.emoji,
        remove: args.remove,
        ..Default::default()
    };
    let message = client.set_reaction(request).await?.message;
    show_message(context, message)
}

pub async fn retry(context: &mut Context, args: MessageArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = RetryMessageRequest {
        message_id: args.id,
        ..Default::default()
    };
    let message = client.retry_message(request).await?.message;
    show_message(context, message)
}

pub async fn cancel(context: &mut Context, args: MessageArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = CancelMessageRequest {
        message_id: args.id,
        ..Default::default()
    };
    let message = client.cancel_message(request).await?.message;
    show_message(context, message)
}

pub async fn saved(context: &mut Context, args: MessageArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = ReportMediaSavedRequest {
        message_id: args.id,
        ..Default::default()
    };
    let answer = client.report_media_saved(request).await?;
    if context.json {
        return context.object("ReportMediaSavedResponse", &answer);
    }
    context.progress(if answer.told {
        "They are told."
    } else {
        "Not told: it is your own, the setting is off, or they are not accepted on both sides."
    });
    Ok(())
}

fn show_message(context: &mut Context, message: Option<Message>) -> Result<(), Failure> {
    let message = message.ok_or(Failure::Incomplete("the message"))?;
    if context.json {
        return context.object("Message", &message);
    }
    context.print(&chat::chat(&[message], &context.clock, context.full))
}

pub(super) fn show(
    context: &mut Context,
    conversation: Option<Conversation>,
) -> Result<(), Failure> {
    let conversation = conversation.ok_or(Failure::Incomplete("the conversation"))?;
    if context.json {
        return context.object("Conversation", &conversation);
    }
    let text = conversation::conversation(
        &conversation,
        &context.clock,
        SystemTime::now(),
        context.full,
    );
    context.print(&text)
}
