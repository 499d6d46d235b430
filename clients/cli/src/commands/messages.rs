//! `messages`, `conversations`

use sessiond_client::v1::{
    ListConversationsRequest, ListMessagesRequest, list_messages_request::Conversation as Selector,
};

use crate::{
    args::MessagesArgs,
    context::Context,
    failure::Failure,
    format::{chat, event, safe, table},
};

/// How much of a name and of a last message fits.
const NAME_LIMIT: usize = 24;
const TEXT_LIMIT: usize = 60;

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

pub async fn conversations(context: &mut Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut rows = Vec::new();
    let mut request = ListConversationsRequest {
        page_size: 200,
        ..Default::default()
    };
    loop {
        let page = client.list_conversations(request.clone()).await?;
        for conversation in &page.conversations {
            if context.json {
                context.object("Conversation", conversation)?;
                continue;
            }
            let last = conversation.last_message.as_ref();
            rows.push([
                context
                    .clock
                    .date_time(conversation.last_activity_time.as_ref()),
                conversation.unread_count.to_string(),
                event::with(conversation, context.full),
                safe::short(&conversation.display_name, NAME_LIMIT),
                last.map(|m| chat::summary(m, TEXT_LIMIT))
                    .unwrap_or_default(),
            ]);
        }
        if page.next_page_token.is_empty() || page.next_page_token == request.page_token {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if !context.json {
        if rows.is_empty() {
            context.progress("No conversations yet.");
        }
        let headings = ["LAST ACTIVITY", "UNREAD", "WITH", "NAME", "LAST MESSAGE"];
        context.print(&table::table(headings, &rows))?;
    }
    Ok(())
}
