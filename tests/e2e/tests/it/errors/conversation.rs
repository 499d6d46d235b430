//! ConversationService.

use sessiond_client::{Client, v1};
use tonic::Code;
use v1::get_conversation_request::Selector as One;

use super::{STRANGER, Table, malformed_ids};
use crate::harness::send_request;

pub async fn conversations(client: &Client, table: &mut Table, own: &str) {
    let call = "ConversationService.ListConversations";
    for (what, page_size, page_token, reason) in [
        ("a negative page", -1, "", "PAGE_SIZE_INVALID"),
        ("a token of nobody's", 0, "nonsense", "PAGE_TOKEN_INVALID"),
        ("a token of spaces", 0, "   ", "PAGE_TOKEN_INVALID"),
    ] {
        let request = v1::ListConversationsRequest {
            page_size,
            page_token: page_token.to_owned(),
            ..Default::default()
        };
        let outcome = client.list_conversations(request).await;
        table.expect(call, what, outcome, Code::InvalidArgument, reason);
    }
    let call = "ConversationService.GetConversation";
    let ask = async |selector| {
        let account = String::new();
        client
            .get_conversation(v1::GetConversationRequest { account, selector })
            .await
    };
    let invalid = Code::InvalidArgument;
    table.expect(
        call,
        "no selector",
        ask(None).await,
        invalid,
        "SELECTOR_MISSING",
    );
    for id in malformed_ids() {
        let outcome = ask(Some(One::AccountId(id.clone()))).await;
        table.expect(
            call,
            &format!("with {id:?}"),
            outcome,
            invalid,
            "INVALID_ACCOUNT_ID",
        );
    }
    for selector in [
        One::AccountId(STRANGER.to_owned()),
        One::ConversationId(String::new()),
        One::ConversationId("nonsense".to_owned()),
        One::ConversationId(own.to_owned()),
    ] {
        let what = format!("{selector:?}");
        let outcome = ask(Some(selector)).await;
        table.expect(
            call,
            &what,
            outcome,
            Code::NotFound,
            "CONVERSATION_NOT_FOUND",
        );
    }
}

/// A call that names a conversation refuses what names none.
macro_rules! refuses_selectors {
    ($client:ident, $table:ident, $call:literal, $method:ident, $module:ident, $request:ident) => {{
        use v1::$module::Selector;
        let call = concat!("ConversationService.", $call);
        let malformed = malformed_ids().into_iter().map(|id| {
            let selector = Some(Selector::AccountId(id));
            (selector, Code::InvalidArgument, "INVALID_ACCOUNT_ID")
        });
        let unknown = [
            Selector::AccountId(STRANGER.to_owned()),
            Selector::ConversationId("nonsense".to_owned()),
        ]
        .map(|selector| (Some(selector), Code::NotFound, "CONVERSATION_NOT_FOUND"));
        let none = (None, Code::InvalidArgument, "SELECTOR_MISSING");
        for (selector, code, reason) in malformed.chain(unknown).chain([none]) {
            let what = format!("{selector:?}");
            let request = v1::$request {
                selector,
                ..Default::default()
            };
            let outcome = $client.$method(request).await;
            $table.expect(call, &what, outcome, code, reason);
        }
    }};
}

/// What changes a conversation.
pub async fn changes(client: &Client, table: &mut Table, own: &str) {
    refuses_selectors!(
        client,
        table,
        "MarkConversationRead",
        mark_conversation_read,
        mark_conversation_read_request,
        MarkConversationReadRequest
    );
    refuses_selectors!(
        client,
        table,
        "MarkConversationUnread",
        mark_conversation_unread,
        mark_conversation_unread_request,
        MarkConversationUnreadRequest
    );
    refuses_selectors!(
        client,
        table,
        "AcceptConversation",
        accept_conversation,
        accept_conversation_request,
        AcceptConversationRequest
    );
    refuses_selectors!(
        client,
        table,
        "DeclineConversation",
        decline_conversation,
        decline_conversation_request,
        DeclineConversationRequest
    );
    refuses_selectors!(
        client,
        table,
        "SetConversationBlocked",
        set_conversation_blocked,
        set_conversation_blocked_request,
        SetConversationBlockedRequest
    );
    refuses_selectors!(
        client,
        table,
        "SetTyping",
        set_typing,
        set_typing_request,
        SetTypingRequest
    );
    refuses_selectors!(
        client,
        table,
        "SetDisappearing",
        set_disappearing,
        set_disappearing_request,
        SetDisappearingRequest
    );
    timers(client, table, own).await;
    updates(client, table, own).await;
    let foreign = v1::MarkConversationReadRequest {
        selector: Some(v1::mark_conversation_read_request::Selector::AccountId(
            own.to_owned(),
        )),
        up_to_message_id: "nonsense".to_owned(),
        ..Default::default()
    };
    table.expect(
        "ConversationService.MarkConversationRead",
        "an unknown message",
        client.mark_conversation_read(foreign).await,
        Code::NotFound,
        "MESSAGE_NOT_FOUND",
    );
    // Note to self is with nobody who could be accepted, declined or blocked.
    let impossible = Code::FailedPrecondition;
    let accept = v1::AcceptConversationRequest {
        selector: Some(v1::accept_conversation_request::Selector::AccountId(
            own.to_owned(),
        )),
        ..Default::default()
    };
    table.expect(
        "ConversationService.AcceptConversation",
        "oneself",
        client.accept_conversation(accept).await,
        impossible,
        "NOT_POSSIBLE",
    );
    let decline = v1::DeclineConversationRequest {
        selector: Some(v1::decline_conversation_request::Selector::AccountId(
            own.to_owned(),
        )),
        ..Default::default()
    };
    table.expect(
        "ConversationService.DeclineConversation",
        "oneself",
        client.decline_conversation(decline).await,
        impossible,
        "NOT_POSSIBLE",
    );
    let block = v1::SetConversationBlockedRequest {
        selector: Some(v1::set_conversation_blocked_request::Selector::AccountId(
            own.to_owned(),
        )),
        blocked: true,
        ..Default::default()
    };
    table.expect(
        "ConversationService.SetConversationBlocked",
        "oneself",
        client.set_conversation_blocked(block).await,
        impossible,
        "NOT_POSSIBLE",
    );
}

/// Timers that nobody offers, and one that note to self cannot have.
async fn timers(client: &Client, table: &mut Table, own: &str) {
    for (mode, seconds, code, reason) in [
        (2, 1, Code::InvalidArgument, "TIMER_INVALID"),
        (2, 300, Code::InvalidArgument, "TIMER_INVALID"),
        (0, 43_200, Code::InvalidArgument, "TIMER_INVALID"),
        (3, 43_200, Code::InvalidArgument, "TIMER_INVALID"),
        (1, 43_200, Code::FailedPrecondition, "NOT_POSSIBLE"),
    ] {
        let setting = Some(v1::DisappearingSetting {
            mode,
            timer: Some(prost_types::Duration { seconds, nanos: 0 }),
        });
        let request = v1::SetDisappearingRequest {
            selector: Some(v1::set_disappearing_request::Selector::AccountId(
                own.to_owned(),
            )),
            setting,
            ..Default::default()
        };
        let outcome = client.set_disappearing(request).await;
        let call = "ConversationService.SetDisappearing";
        table.expect(call, &format!("{mode}, {seconds}"), outcome, code, reason);
        let mut request = send_request(own, "note", "expiring");
        request.disappearing = setting;
        let outcome = client.send_message(request).await;
        let call = "MessageService.SendMessage";
        table.expect(call, &format!("{mode}, {seconds}"), outcome, code, reason);
    }
}

/// What the user sets for a conversation, and clearing it.
async fn updates(client: &Client, table: &mut Table, own: &str) {
    let call = "ConversationService.UpdateConversation";
    let long = v1::Conversation {
        nickname: "n".repeat(101),
        ..Default::default()
    };
    let impossible = v1::Conversation {
        hidden: true,
        pin_priority: 1,
        notify_mode: 9,
        mute_until_time: Some(prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        }),
        ..Default::default()
    };
    let far = v1::Conversation {
        pin_priority: u32::MAX,
        ..Default::default()
    };
    for (conversation, fields, reason) in [
        (&far, vec![], "UPDATE_MASK_EMPTY"),
        (&far, vec!["blocked"], "UPDATE_MASK_UNKNOWN_FIELD"),
        (&far, vec!["pin_priority"], "CONVERSATION_INVALID"),
        (&long, vec!["nickname"], "NICKNAME_TOO_LONG"),
        (&impossible, vec!["notify_mode"], "CONVERSATION_INVALID"),
        (&impossible, vec!["mute_until_time"], "CONVERSATION_INVALID"),
        (
            &impossible,
            vec!["hidden", "pin_priority"],
            "CONVERSATION_INVALID",
        ),
    ] {
        let request = v1::UpdateConversationRequest {
            selector: Some(v1::update_conversation_request::Selector::AccountId(
                own.to_owned(),
            )),
            conversation: Some(conversation.clone()),
            update_mask: Some(prost_types::FieldMask {
                paths: fields.iter().map(|&field| field.to_owned()).collect(),
            }),
            ..Default::default()
        };
        let outcome = client.update_conversation(request).await;
        let what = format!("{fields:?}");
        table.expect(call, &what, outcome, Code::InvalidArgument, reason);
    }
    let stranger = v1::UpdateConversationRequest {
        selector: Some(v1::update_conversation_request::Selector::AccountId(
            STRANGER.to_owned(),
        )),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["hidden".to_owned()],
        }),
        ..Default::default()
    };
    table.expect(
        call,
        "nobody",
        client.update_conversation(stranger).await,
        Code::NotFound,
        "CONVERSATION_NOT_FOUND",
    );
    for (account, with, code, reason) in [
        ("", own, Code::InvalidArgument, "ACCOUNT_NOT_NAMED"),
        (STRANGER, own, Code::NotFound, "NO_ACCOUNT"),
        (own, STRANGER, Code::NotFound, "CONVERSATION_NOT_FOUND"),
        (own, "05", Code::InvalidArgument, "INVALID_ACCOUNT_ID"),
    ] {
        let request = v1::ClearConversationRequest {
            account: account.to_owned(),
            selector: Some(v1::clear_conversation_request::Selector::AccountId(
                with.to_owned(),
            )),
        };
        let outcome = client.clear_conversation(request).await;
        let call = "ConversationService.ClearConversation";
        table.expect(call, &format!("{account}, {with}"), outcome, code, reason);
    }
}
