//! `search`, `explain`

use clap::Args;
use sessiond_client::v1::{
    ExplainMessageRequest, SearchMessagesRequest, search_messages_request::Conversation,
};

use crate::{
    account_id::AccountId,
    context::Context,
    failure::Failure,
    format::{chat, found},
};

/// Arguments of `search`.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// Words that must all be there; the last one may go on
    #[arg(value_name = "WORDS", required = true)]
    pub words: Vec<String>,
    /// Only in this conversation: the account ID of the other side, or the conversation's ID
    #[arg(long = "in", value_name = "CONVERSATION")]
    pub within: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=200))]
    pub limit: i32,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The message's whole ID, as --full and --json show it
    #[arg(value_name = "MESSAGE-ID")]
    pub id: String,
}

pub async fn search(context: &mut Context, args: SearchArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let within = args.within.map(|text| match text.parse::<AccountId>() {
        Ok(id) => Conversation::AccountId(id.to_string()),
        Err(_) => Conversation::ConversationId(text),
    });
    let request = SearchMessagesRequest {
        query: args.words.join(" "),
        conversation: within,
        page_size: args.limit,
        ..SearchMessagesRequest::default()
    };
    let page = client.search_messages(request).await?;
    if context.json {
        return page
            .results
            .iter()
            .try_for_each(|result| context.object("SearchResult", result));
    }
    context.print(&found::results(&page.results, &context.clock, context.full))?;
    if page.results.is_empty() {
        context.progress("Nothing found.");
    } else if !page.next_page_token.is_empty() {
        context.flush()?;
        context.progress("There is more; --limit shows up to 200.");
    }
    Ok(())
}

pub async fn explain(context: &mut Context, args: ExplainArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = ExplainMessageRequest {
        message_id: args.id,
        ..ExplainMessageRequest::default()
    };
    let answer = client.explain_message(request).await?;
    if context.json {
        return context.object("ExplainMessageResponse", &answer);
    }
    if let Some(message) = &answer.message {
        let message = std::slice::from_ref(message);
        context.print(&chat::chat(message, &context.clock, context.full))?;
    }
    context.print(&found::steps(&answer.steps, &context.clock, context.full))
}
