//! Kinds of messages between two real agents: a request and its acceptance, receipts, reactions, quotes, deletion,
//! blocking.

use sessiond_client::{new_client_token, v1};
use v1::message::Content;

use crate::harness::{Agent, Localnet, body, send_request, until};

async fn want_receipts(agent: &Agent) {
    let request = v1::UpdateSettingsRequest {
        settings: Some(v1::Settings {
            read_receipts: true,
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["read_receipts".into()],
        }),
        ..Default::default()
    };
    let answer = agent.client().update_settings(request).await.unwrap();
    assert!(answer.settings.unwrap().read_receipts);
}

async fn type_to(agent: &Agent, with: &str) -> bool {
    let request = v1::SetTypingRequest {
        selector: Some(v1::set_typing_request::Selector::AccountId(with.to_owned())),
        typing: true,
        ..Default::default()
    };
    agent.client().set_typing(request).await.unwrap().told
}

#[tokio::test]
async fn a_request_is_accepted_and_everything_else_follows() {
    let net = Localnet::start().await;
    let (a, a_id) = Agent::with_account(&net, "Alice").await;
    let (b, b_id) = Agent::with_account(&net, "Bob").await;
    want_receipts(&a).await;
    want_receipts(&b).await;

    let first = a.send_stored(&b_id, "hello, stranger").await;
    let there = b.until_messages(&a_id, 1).await.remove(0);
    let request = b.conversation(&a_id).await.unwrap();
    assert!(request.request && request.approved_me && !request.approved);
    assert_eq!(request.unread_count, 1);
    // Reading a request tells nobody.
    assert_eq!(b.read(&a_id).await.unread_count, 0);
    assert!(b.message(&there.id).await.read);

    let accept = v1::AcceptConversationRequest {
        account: String::new(),
        selector: Some(v1::accept_conversation_request::Selector::AccountId(
            a_id.clone(),
        )),
    };
    let accepted = b.client().accept_conversation(accept).await.unwrap();
    assert!(!accepted.conversation.unwrap().request);
    until("the acceptance arrives", async || {
        a.conversation(&b_id).await.filter(|it| it.approved_me)
    })
    .await;
    let shown = a.all_messages(&b_id).await;
    assert!(matches!(
        shown[1].content,
        Some(Content::RequestAccepted(_))
    ));
    assert!(shown[0].recipient_read_time.is_none());

    // Typing is told now that both sides accepted each other, once it is wanted.
    assert!(!type_to(&a, &b_id).await);
    let wanted = v1::UpdateSettingsRequest {
        settings: Some(v1::Settings {
            typing_indicators: true,
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["typing_indicators".into()],
        }),
        ..Default::default()
    };
    a.client().update_settings(wanted).await.unwrap();
    assert!(type_to(&a, &b_id).await);

    // An answer with a quote.
    let mut answer = send_request(&a_id, "hello, Alice", &new_client_token().unwrap());
    answer.text.as_mut().unwrap().quote = Some(v1::Quote {
        message_id: there.id.clone(),
        ..Default::default()
    });
    let answer = b.client().send_message(answer).await.unwrap();
    let arrived = a.until_messages(&b_id, 2).await.remove(1);
    assert_eq!(body(&arrived), "hello, Alice");
    let Some(Content::Text(text)) = &arrived.content else {
        panic!("no text");
    };
    assert_eq!(text.quote.as_ref().unwrap().message_id, first.id);

    // Reading it is told.
    assert_eq!(a.read(&b_id).await.unread_count, 0);
    let answer = answer.message.unwrap().id;
    until("the receipt arrives", async || {
        b.message(&answer).await.recipient_read_time
    })
    .await;

    // A reaction, on both sides, and taken off again.
    for remove in [false, true] {
        let request = v1::SetReactionRequest {
            account: String::new(),
            message_id: first.id.clone(),
            emoji: "👍".into(),
            remove,
        };
        let here = a.client().set_reaction(request).await.unwrap();
        assert_eq!(here.message.unwrap().reactions.len(), usize::from(!remove));
        until("the reaction arrives", async || {
            let reactions = b.message(&there.id).await.reactions;
            (reactions.len() == usize::from(!remove)).then_some(())
        })
        .await;
    }

    // Deleted for everyone.
    let request = v1::DeleteMessageRequest {
        account: String::new(),
        message_id: first.id.clone(),
        scope: v1::DeleteScope::Everyone.into(),
    };
    a.client().delete_message(request).await.unwrap();
    let is_deleted = |message: &v1::Message| matches!(message.content, Some(Content::Deleted(_)));
    assert!(is_deleted(&a.message(&first.id).await));
    until("the deletion arrives", async || {
        is_deleted(&b.message(&there.id).await).then_some(())
    })
    .await;

    // Blocked: what comes is not seen, and nothing goes.
    let block = |blocked| v1::SetConversationBlockedRequest {
        account: String::new(),
        selector: Some(v1::set_conversation_blocked_request::Selector::AccountId(
            a_id.clone(),
        )),
        blocked,
    };
    let blocked = b.client().set_conversation_blocked(block(true)).await;
    assert!(blocked.unwrap().conversation.unwrap().blocked);
    let refused = b
        .client()
        .send_message(send_request(&a_id, "no", "t"))
        .await;
    crate::harness::assert_refused(refused, tonic::Code::FailedPrecondition, "BLOCKED");
    a.send_stored(&b_id, "are you there?").await;
    b.sync().await;
    let unblocked = b.client().set_conversation_blocked(block(false)).await;
    assert!(!unblocked.unwrap().conversation.unwrap().blocked);
    a.send_stored(&b_id, "and now?").await;
    until("the next one arrives", async || {
        let shown = b.all_messages(&a_id).await;
        let last = shown.last()?;
        matches!(&last.content, Some(Content::Text(text)) if text.body == "and now?").then_some(())
    })
    .await;
    let shown = b.all_messages(&a_id).await;
    let seen = |text: &str| {
        shown
            .iter()
            .any(|it| matches!(&it.content, Some(Content::Text(it)) if it.body == text))
    };
    assert!(!seen("are you there?"));
}
