//! MessageService: sending, and what is done to a message.

use sessiond_client::{Client, v1};
use tonic::Code;

use super::{Table, malformed_ids};
use crate::harness::send_request;

/// What is done to a message.
pub async fn deeds(client: &Client, table: &mut Table, note: &v1::Message) {
    let call = "MessageService.DeleteMessage";
    for (id, scope, code, reason) in [
        (&*note.id, 0, Code::InvalidArgument, "SCOPE_MISSING"),
        (&*note.id, 9, Code::InvalidArgument, "SCOPE_MISSING"),
        ("nonsense", 1, Code::NotFound, "MESSAGE_NOT_FOUND"),
        ("", 3, Code::NotFound, "MESSAGE_NOT_FOUND"),
    ] {
        let request = v1::DeleteMessageRequest {
            message_id: id.to_owned(),
            scope,
            ..Default::default()
        };
        let outcome = client.delete_message(request).await;
        table.expect(call, &format!("{id}, {scope}"), outcome, code, reason);
    }
    let call = "MessageService.SetReaction";
    for (id, emoji, code, reason) in [
        (&*note.id, "", Code::InvalidArgument, "EMOJI_INVALID"),
        (&*note.id, "no", Code::InvalidArgument, "EMOJI_INVALID"),
        ("nonsense", "👍", Code::NotFound, "MESSAGE_NOT_FOUND"),
    ] {
        let request = v1::SetReactionRequest {
            message_id: id.to_owned(),
            emoji: emoji.to_owned(),
            ..Default::default()
        };
        let outcome = client.set_reaction(request).await;
        table.expect(call, &format!("{id}, {emoji:?}"), outcome, code, reason);
    }
    // One of the twenty of a minute went above; a wrong emoji costs nothing.
    let react = async || {
        let request = v1::SetReactionRequest {
            message_id: "nonsense".to_owned(),
            emoji: "👍".to_owned(),
            ..Default::default()
        };
        client.set_reaction(request).await
    };
    for _ in 1..20 {
        let (code, reason) = (Code::NotFound, "MESSAGE_NOT_FOUND");
        table.expect(call, "one of twenty", react().await, code, reason);
    }
    let (code, reason) = (Code::ResourceExhausted, "TOO_MANY_REACTIONS");
    table.expect(call, "the 21st in a minute", react().await, code, reason);
    // The note is stored, or waits: it did not fail. An unknown one does neither.
    let call = "MessageService.RetryMessage";
    for (id, code, reason) in [
        (&*note.id, Code::FailedPrecondition, "NOT_POSSIBLE"),
        ("nonsense", Code::NotFound, "MESSAGE_NOT_FOUND"),
    ] {
        let request = v1::RetryMessageRequest {
            message_id: id.to_owned(),
            ..Default::default()
        };
        table.expect(call, id, client.retry_message(request).await, code, reason);
    }
    let call = "MessageService.ReportMediaSaved";
    let long = "t".repeat(129);
    for (id, token, code, reason) in [
        (&*note.id, "", Code::FailedPrecondition, "NOT_POSSIBLE"),
        ("nonsense", "", Code::NotFound, "MESSAGE_NOT_FOUND"),
        (
            &*note.id,
            &*long,
            Code::InvalidArgument,
            "CLIENT_TOKEN_TOO_LONG",
        ),
    ] {
        let request = v1::ReportMediaSavedRequest {
            message_id: id.to_owned(),
            client_token: token.to_owned(),
            ..Default::default()
        };
        let outcome = client.report_media_saved(request).await;
        table.expect(call, &format!("{id}, {token}"), outcome, code, reason);
    }
    let request = v1::CancelMessageRequest {
        message_id: "nonsense".to_owned(),
        ..Default::default()
    };
    table.expect(
        "MessageService.CancelMessage",
        "nothing",
        client.cancel_message(request).await,
        Code::NotFound,
        "MESSAGE_NOT_FOUND",
    );
}

pub async fn sending(client: &Client, table: &mut Table, own: &str) {
    let call = "MessageService.SendMessage";
    for id in malformed_ids() {
        let outcome = client.send_message(send_request(&id, "x", "t")).await;
        let reason = "INVALID_ACCOUNT_ID";
        table.expect(
            call,
            &format!("to {id:?}"),
            outcome,
            Code::InvalidArgument,
            reason,
        );
    }
    let without_text = v1::SendMessageRequest {
        text: None,
        ..send_request(own, "", "t")
    };
    for (what, request, reason) in [
        ("no text", without_text, "BODY_EMPTY"),
        ("an empty text", send_request(own, "", "t"), "BODY_EMPTY"),
        ("spaces", send_request(own, " \n\t ", "t"), "BODY_EMPTY"),
        (
            "2,001 letters",
            send_request(own, &"x".repeat(2_001), "t"),
            "BODY_TOO_LONG",
        ),
        (
            "2,001 faces",
            send_request(own, &"😀".repeat(2_001), "t"),
            "BODY_TOO_LONG",
        ),
        (
            "no token",
            send_request(own, "x", ""),
            "CLIENT_TOKEN_MISSING",
        ),
        (
            "a long token",
            send_request(own, "x", &"t".repeat(129)),
            "CLIENT_TOKEN_TOO_LONG",
        ),
    ] {
        let outcome = client.send_message(request).await;
        table.expect(call, what, outcome, Code::InvalidArgument, reason);
    }
    let rich = |quote: &str, url: &str, title: &str| {
        let mut request = send_request(own, "see https://a.example/", "t");
        let text = request.text.as_mut().unwrap();
        if quote.is_empty() {
            text.preview = Some(v1::LinkPreview {
                url: url.to_owned(),
                title: title.to_owned(),
            });
        } else {
            text.quote = Some(v1::Quote {
                message_id: quote.to_owned(),
                ..Default::default()
            });
        }
        request
    };
    for (what, request) in [
        (
            "a preview of another page",
            rich("", "https://b.example/", "B"),
        ),
        (
            "a preview without a title",
            rich("", "https://a.example/", ""),
        ),
        ("a preview of no https page", rich("", "a.example", "A")),
    ] {
        let outcome = client.send_message(request).await;
        let reason = "PREVIEW_INVALID";
        table.expect(call, what, outcome, Code::InvalidArgument, reason);
    }
    table.expect(
        call,
        "a quote of nothing",
        client.send_message(rich("nonsense", "", "")).await,
        Code::NotFound,
        "MESSAGE_NOT_FOUND",
    );
    let key = "0a".repeat(32);
    let long = "r".repeat(1_000);
    for (url, name) in [
        (String::new(), "Room"),
        ("https://c.example/room".to_owned(), "Room"),
        (
            format!("https://c.example/room?public_key={}", &key[1..]),
            "Room",
        ),
        (format!("https://{long}/room?public_key={key}"), "Room"),
        (format!("https://c.example/room?public_key={key}"), " "),
        (
            format!("https://c.example/room?public_key={key}"),
            &long[..101],
        ),
    ] {
        let what = format!("an invitation to {url:.60}, {name:.9}");
        let name = name.to_owned();
        let mut request = send_request(own, "", "t");
        request.text = None;
        request.community_invitation = Some(v1::CommunityInvitationContent { url, name });
        let outcome = client.send_message(request).await;
        let reason = "INVITATION_INVALID";
        table.expect(call, &what, outcome, Code::InvalidArgument, reason);
    }
    let mut both = send_request(own, "text", "t");
    both.community_invitation = Some(v1::CommunityInvitationContent::default());
    table.expect(
        call,
        "a text and an invitation",
        client.send_message(both).await,
        Code::InvalidArgument,
        "CONTENT_AMBIGUOUS",
    );
    // More than the socket takes at all is refused, too, and the connection lives on.
    let huge = client
        .send_message(send_request(own, &"x".repeat(2 << 20), "t"))
        .await;
    assert_eq!(huge.unwrap_err().code(), Code::OutOfRange);
}
