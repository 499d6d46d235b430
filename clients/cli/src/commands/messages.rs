//! `messages`, `message`, `conversations`, `conversation`

use std::time::SystemTime;

use clap::Args;
use sessiond_client::v1::{
    Conversation, GetConversationRequest, GetMessageRequest, ListConversationsRequest,
    ListMessagesRequest, get_conversation_request::Selector as One,
    list_messages_request::Conversation as Selector,
};

use super::change;
use crate::{
    account_id::AccountId,
    context::Context,
    failure::Failure,
    format::{chat, conversation, event, safe, table},
};

/// How much of a name and of a last message fits.
const NAME_LIMIT: usize = 24;
const TEXT_LIMIT: usize = 60;

/// Arguments of `messages`.
#[derive(Debug, Args)]
pub struct MessagesArgs {
    /// Account ID of the other side; the own one for notes to self
    #[arg(value_name = "ACCOUNT-ID")]
    pub with: AccountId,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=200))]
    pub limit: i32,
    /// Only messages older than this one
    #[arg(long, value_name = "MESSAGE-ID")]
    pub before: Option<String>,
}

/// Arguments of `message`.
#[derive(Debug, Args)]
pub struct MessageArgs {
    /// Its whole ID, as `send` and `--full messages` print it
    #[arg(value_name = "MESSAGE-ID")]
    pub id: String,
}

/// Arguments of `conversation`.
#[derive(Debug, Args)]
pub struct ConversationArgs {
    /// Account ID of the other side; the own one for notes to self
    #[arg(value_name = "ACCOUNT-ID")]
    pub with: AccountId,
}

/// Arguments of `conversations`. Several of them together mean those that are all of it.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct ConversationsArgs {
    /// Hidden ones, too
    #[arg(long, conflicts_with = "hidden")]
    pub all: bool,
    /// Only those with something unread, or marked as unread
    #[arg(long)]
    pub unread: bool,
    /// Only people who wrote and wait to be accepted
    #[arg(long)]
    pub requests: bool,
    /// Only pinned ones
    #[arg(long)]
    pub pinned: bool,
    /// Only those with people who are blocked
    #[arg(long)]
    pub blocked: bool,
    /// Only hidden ones
    #[arg(long)]
    pub hidden: bool,
}

impl ConversationsArgs {
    fn is_plain(self) -> bool {
        !(self.unread || self.requests || self.pinned || self.blocked || self.hidden)
    }

    fn wants(self, it: &Conversation) -> bool {
        // Blocking hides as well when it declines: whoever looks for blocked people finds them all.
        let shown = self.all || self.blocked || it.hidden == self.hidden;
        shown
            && (!self.unread || it.unread_count > 0 || it.marked_unread)
            && (!self.requests || it.request)
            && (!self.pinned || it.pin_priority > 0)
            && (!self.blocked || it.blocked)
    }
}

pub async fn messages(context: &mut Context, args: MessagesArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = ListMessagesRequest {
        conversation: Some(Selector::AccountId(args.with.to_string())),
        page_size: args.limit,
        anchor_message_id: args.before.unwrap_or_default(),
        ..ListMessagesRequest::default()
    };
    let mut page = client.list_messages(request).await?;
    // Read newest first, shown as a chat is read.
    page.messages.reverse();
    if context.json {
        return page
            .messages
            .iter()
            .try_for_each(|message| context.object("Message", message));
    }
    context.print(&chat::chat(&page.messages, &context.clock, context.full))?;
    match page.messages.first() {
        None => context.progress("No messages."),
        Some(oldest) if !page.next_page_token.is_empty() => {
            context.flush()?;
            let id = safe::line(&oldest.id);
            context.progress(&format!(
                "Older ones: sessionctl messages {} --before {id}",
                args.with
            ));
        }
        Some(_) => {}
    }
    Ok(())
}

pub async fn message(context: &mut Context, args: MessageArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = GetMessageRequest {
        message_id: args.id,
        ..GetMessageRequest::default()
    };
    let message = client.get_message(request).await?.message;
    let message = message.ok_or(Failure::Incomplete("the message"))?;
    if context.json {
        return context.object("Message", &message);
    }
    context.print(&chat::chat(&[message], &context.clock, context.full))
}

pub async fn conversation(context: &mut Context, args: ConversationArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = GetConversationRequest {
        selector: Some(One::AccountId(args.with.to_string())),
        ..GetConversationRequest::default()
    };
    let conversation = client.get_conversation(request).await?.conversation;
    change::show(context, conversation)
}

pub async fn conversations(context: &mut Context, args: ConversationsArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut all: Vec<Conversation> = Vec::new();
    let mut request = ListConversationsRequest {
        page_size: 200,
        ..Default::default()
    };
    loop {
        let page = client.list_conversations(request.clone()).await?;
        all.extend(page.conversations);
        if page.next_page_token.is_empty() || page.next_page_token == request.page_token {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let hidden = all.iter().filter(|it| it.hidden).count();
    all.retain(|it| args.wants(it));
    // The order of the others stays.
    all.sort_by_key(|it| std::cmp::Reverse(it.pin_priority));
    if context.json {
        return all
            .iter()
            .try_for_each(|conversation| context.object("Conversation", conversation));
    }
    if all.is_empty() {
        context.progress(match (args.is_plain(), hidden) {
            (false, _) => "None of that kind.",
            (true, 0) => "No conversations yet.",
            (true, _) => "None but hidden ones: sessionctl conversations --hidden",
        });
    }
    let now = SystemTime::now();
    let (clock, full) = (&context.clock, context.full);
    let rows: Vec<_> = all
        .iter()
        .map(|it| {
            let last = it.last_message.as_ref();
            [
                clock.date_time(it.last_activity_time.as_ref()),
                conversation::unread(it),
                conversation::marks(it, now),
                event::with(it, full),
                safe::short(conversation::name(it), NAME_LIMIT),
                last.map(|m| chat::summary(m, TEXT_LIMIT))
                    .unwrap_or_default(),
            ]
        })
        .collect();
    let headings = [
        "LAST ACTIVITY",
        "UNREAD",
        "STATE",
        "WITH",
        "NAME",
        "LAST MESSAGE",
    ];
    context.print(&table::table(headings, &rows))
}
