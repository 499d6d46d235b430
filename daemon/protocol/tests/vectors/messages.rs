//! Whole messages: content, padding, encryption, envelope and frame.

use prost::Message as _;
use session_protocol::content;
use session_protocol::padding::{BLOCK, pad, unpad};
use session_protocol::{envelope, session_encrypt};
use session_wire as wire;

use crate::support::{Case, Report};

pub fn check(case: &Case<'_>, report: &mut Report) {
    match case.kind() {
        Some("one_to_one") => one_to_one(case),
        Some("pad") => padding(case),
        Some("unpad") => unpadding(case),
        Some("group") => return report.skip("group messages, not covered yet"),
        other => panic!("unknown type {other:?}"),
    }
    report.pass();
}

fn one_to_one(case: &Case<'_>) {
    let (sender, recipient) = (case.keys("sender_seed"), case.keys("recipient_seed"));
    assert_eq!(sender.account_id(), case.account_id("sender_id"));
    assert_eq!(recipient.account_id(), case.account_id("recipient_id"));
    let timestamp = case.number("sent_timestamp_ms");
    let (content, padded) = (case.bytes("content"), case.bytes("padded"));
    let ciphertext =
        session_encrypt::encrypt_deterministic(&sender, &recipient.account_id(), &padded)
            .expect("a ciphertext");
    assert_eq!(hex::encode(&ciphertext), case.text("ciphertext"));
    assert_eq!(unpad(&padded), content);
    let wire_bytes = case.bytes("wire");
    match case.text("style") {
        // What this project writes, once the signature is given.
        "decoy" | "pro" => {
            assert_eq!(hex::encode(pad(&content)), case.text("padded"));
            // Only subscribers have a key; the others' signatures verify under nothing.
            if case.get("pro_rotating_seed").is_some() {
                let rotating = case.keys("pro_rotating_seed");
                assert_eq!(rotating.sign(&ciphertext), case.array("pro_sig"));
            } else {
                assert_eq!(case.text("style"), "decoy");
            }
            let wrapped = envelope::wrap(timestamp, ciphertext, case.array("pro_sig"));
            assert_eq!(hex::encode(wrapped), case.text("wire"));
        }
        "plain" | "minimal" => {
            assert!(case.get("pro_sig").is_none());
        }
        other => panic!("unknown style {other}"),
    }
    let message = wire::WebSocketMessage::decode(wire_bytes.as_slice()).expect("a frame");
    let body = message.request.and_then(|request| request.body);
    assert_eq!(body, Some(case.bytes("envelope")));

    let unsealed =
        envelope::unseal(&recipient, &wire_bytes).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(unsealed.sender, sender.account_id());
    assert_eq!(unsealed.timestamp, timestamp);
    assert_eq!(unsealed.content_bytes, content);
    let parsed = wire::Content::decode(content.as_slice()).expect("a content");
    assert_eq!(kind_name(&parsed), expected_kind(case.text("content_kind")));
    // Most of these contents were signed for another time than their envelope's.
    let opened = envelope::open(&recipient, &wire_bytes);
    if parsed.sig_timestamp == Some(timestamp) {
        assert_eq!(opened.expect("a message").content, parsed);
    } else {
        assert_eq!(
            opened.err().map(|error| error.reason()),
            Some("BAD_CONTENT")
        );
    }
    assert!(envelope::open(&sender, &wire_bytes).is_err());
}

fn kind_name(content: &wire::Content) -> &'static str {
    let read = content::read(content).unwrap_or_else(|error| panic!("{error}"));
    read.kind.name()
}

fn expected_kind(name: &str) -> &'static str {
    const KINDS: [(&str, &str); 8] = [
        ("text_", "TEXT"),
        ("expiration_timer_", "EXPIRATION_TIMER_UPDATE"),
        ("reaction_", "REACTION"),
        ("community_invitation", "COMMUNITY_INVITATION"),
        ("typing_", "TYPING"),
        ("message_request_response", "REQUEST_RESPONSE"),
        ("call_", "CALL"),
        ("group_", "GROUP_UPDATE"),
    ];
    let kind = KINDS.iter().find(|(prefix, _)| name.starts_with(prefix));
    kind.unwrap_or_else(|| panic!("unknown kind {name}")).1
}

fn padding(case: &Case<'_>) {
    let content = case.bytes("unpadded");
    let padded = pad(&content);
    let length = case.number("padded_length_libsession_2026");
    assert_eq!(padded.len() as u64, length);
    assert_eq!(unpad(&padded), content);
    // The older rule is only read: the smallest multiple that fits.
    let length = (content.len() + 1).next_multiple_of(BLOCK);
    assert_eq!(length as u64, case.number("padded_length_legacy_clients"));
    let mut older = content.clone();
    older.push(0x80);
    older.resize(length, 0);
    assert_eq!(unpad(&older), content);
}

fn unpadding(case: &Case<'_>) {
    let padded = case.bytes("padded");
    // Recorded is the clients' function. Without 0x80 before the zeros, the project's rule keeps the zeros.
    let end = padded.iter().rposition(|byte| *byte != 0);
    let marked = end.is_some_and(|end| padded[end] == 0x80);
    if marked {
        assert_eq!(hex::encode(unpad(&padded)), case.text("unpadded"));
    } else {
        assert_eq!(unpad(&padded), padded);
        let stripped = &padded[..end.map_or(0, |end| end + 1)];
        assert_eq!(hex::encode(stripped), case.text("unpadded"));
    }
}
