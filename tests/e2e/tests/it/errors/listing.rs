//! MessageService: lists, single messages, and search.

use sessiond_client::{Client, v1};
use tonic::Code;
use v1::list_messages_request::Conversation as Many;

use super::{STRANGER, Table, malformed_ids};
use crate::harness::{Agent, Localnet, assert_refused};

pub async fn listing(client: &Client, table: &mut Table, own: &str, note: &v1::Message) {
    let call = "MessageService.ListMessages";
    let own = || Some(Many::AccountId(own.to_owned()));
    let invalid = Code::InvalidArgument;
    let list = async |request| client.list_messages(request).await;
    let outcome = list(v1::ListMessagesRequest::default()).await;
    table.expect(call, "no selector", outcome, invalid, "SELECTOR_MISSING");
    for id in malformed_ids() {
        let request = v1::ListMessagesRequest {
            conversation: Some(Many::AccountId(id.clone())),
            ..Default::default()
        };
        let outcome = list(request).await;
        table.expect(
            call,
            &format!("with {id:?}"),
            outcome,
            invalid,
            "INVALID_ACCOUNT_ID",
        );
    }
    for selector in [
        Many::AccountId(STRANGER.to_owned()),
        Many::ConversationId("nonsense".to_owned()),
    ] {
        let what = format!("{selector:?}");
        let request = v1::ListMessagesRequest {
            conversation: Some(selector),
            ..Default::default()
        };
        let outcome = list(request).await;
        table.expect(
            call,
            &what,
            outcome,
            Code::NotFound,
            "CONVERSATION_NOT_FOUND",
        );
    }
    let negative = v1::ListMessagesRequest {
        conversation: own(),
        page_size: -1,
        ..Default::default()
    };
    let outcome = list(negative).await;
    table.expect(
        call,
        "a negative page",
        outcome,
        invalid,
        "PAGE_SIZE_INVALID",
    );
    for token in ["nonsense", "AQAAAAAAAAAAAAAAAAAAAAA"] {
        let request = v1::ListMessagesRequest {
            conversation: own(),
            page_token: token.to_owned(),
            ..Default::default()
        };
        let outcome = list(request).await;
        table.expect(
            call,
            "a token of another list",
            outcome,
            invalid,
            "PAGE_TOKEN_INVALID",
        );
    }
    let anchored = v1::ListMessagesRequest {
        conversation: own(),
        anchor_message_id: "nonsense".to_owned(),
        ..Default::default()
    };
    let outcome = list(anchored).await;
    table.expect(
        call,
        "an unknown anchor",
        outcome,
        Code::NotFound,
        "MESSAGE_NOT_FOUND",
    );
    for id in ["", "nonsense", &note.conversation_id] {
        let request = v1::GetMessageRequest {
            account: String::new(),
            message_id: id.to_owned(),
        };
        let outcome = client.get_message(request).await;
        let call = "MessageService.GetMessage";
        table.expect(call, id, outcome, Code::NotFound, "MESSAGE_NOT_FOUND");
        let request = v1::ExplainMessageRequest {
            account: String::new(),
            message_id: id.to_owned(),
        };
        let outcome = client.explain_message(request).await;
        let call = "MessageService.ExplainMessage";
        table.expect(call, id, outcome, Code::NotFound, "MESSAGE_NOT_FOUND");
    }
}

pub async fn searching(client: &Client, table: &mut Table) {
    use v1::search_messages_request::Conversation as Within;
    let call = "MessageService.SearchMessages";
    let invalid = Code::InvalidArgument;
    let note = || v1::SearchMessagesRequest {
        query: "note".to_owned(),
        ..Default::default()
    };
    for query in ["", " \t\n", "\0", "\"", "*()\":^+-{}", "\u{301}"] {
        let request = v1::SearchMessagesRequest {
            query: query.to_owned(),
            ..note()
        };
        let outcome = client.search_messages(request).await;
        let what = format!("nothing to find: {query:?}");
        table.expect(call, &what, outcome, invalid, "QUERY_EMPTY");
    }
    let long = v1::SearchMessagesRequest {
        query: "é".repeat(257),
        ..note()
    };
    let outcome = client.search_messages(long).await;
    table.expect(call, "257 letters", outcome, invalid, "QUERY_TOO_LONG");
    for id in malformed_ids() {
        let request = v1::SearchMessagesRequest {
            conversation: Some(Within::AccountId(id.clone())),
            ..note()
        };
        let outcome = client.search_messages(request).await;
        let what = format!("within {id:?}");
        table.expect(call, &what, outcome, invalid, "INVALID_ACCOUNT_ID");
    }
    for within in [
        Within::AccountId(STRANGER.to_owned()),
        Within::ConversationId(String::new()),
        Within::ConversationId("nonsense".to_owned()),
    ] {
        let what = format!("{within:?}");
        let request = v1::SearchMessagesRequest {
            conversation: Some(within),
            ..note()
        };
        let outcome = client.search_messages(request).await;
        let reason = "CONVERSATION_NOT_FOUND";
        table.expect(call, &what, outcome, Code::NotFound, reason);
    }
    let negative = v1::SearchMessagesRequest {
        page_size: -1,
        ..note()
    };
    let outcome = client.search_messages(negative).await;
    table.expect(
        call,
        "a negative page",
        outcome,
        invalid,
        "PAGE_SIZE_INVALID",
    );
    // The second is of this list, but of another query.
    for token in ["nonsense", "BAAAAAAAAAAAAAAAAAAAAAA"] {
        let request = v1::SearchMessagesRequest {
            page_token: token.to_owned(),
            ..note()
        };
        let outcome = client.search_messages(request).await;
        table.expect(call, token, outcome, invalid, "PAGE_TOKEN_INVALID");
    }
}

/// A page token belongs to the order it was given in.
#[tokio::test]
async fn a_page_token_belongs_to_one_order() {
    let net = Localnet::start().await;
    let (agent, id) = Agent::with_account(&net, "a").await;
    for number in 0..3 {
        agent.send(&id, &number.to_string()).await;
    }
    let request = |order: v1::ListOrder, page_token: String| v1::ListMessagesRequest {
        conversation: Some(Many::AccountId(id.clone())),
        page_size: 1,
        page_token,
        order: order.into(),
        ..Default::default()
    };
    let (newest, oldest) = (v1::ListOrder::NewestFirst, v1::ListOrder::OldestFirst);
    let page = agent
        .client()
        .list_messages(request(newest, String::new()))
        .await;
    let token = page.unwrap().next_page_token;
    agent
        .client()
        .list_messages(request(newest, token.clone()))
        .await
        .unwrap();
    let other = agent
        .client()
        .list_messages(request(oldest, token.clone()))
        .await;
    assert_refused(other, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    let list = v1::ListConversationsRequest {
        page_token: token,
        ..Default::default()
    };
    let other = agent.client().list_conversations(list).await;
    assert_refused(other, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
}
