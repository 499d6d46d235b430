//! Whole messages: content, padding, encryption, envelope and frame.

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use prost::Message as _;
use session_protocol::padding::{BLOCK, pad, unpad};
use session_protocol::{Identifier, bt, content, envelope, group_message, session_encrypt};
use session_wire as wire;

use crate::protobuf::expected_kind;
use crate::support::{Case, Replay, Report};

pub fn check(case: &Case<'_>, report: &mut Report) {
    match case.kind() {
        Some("one_to_one") => one_to_one(case),
        Some("pad") => padding(case),
        Some("unpad") => unpadding(case),
        Some("group") => group(case),
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

/// The layers of a group message; the Contents were signed for another time than most of their Envelopes.
fn group(case: &Case<'_>) {
    let sender = case.keys("sender_seed");
    let group: Identifier = case.text("group_id").parse().expect("a group");
    let (key, wire_bytes) = (case.array("group_key"), case.bytes("wire"));
    let (envelope, timestamp) = (case.bytes("envelope"), case.number("sent_timestamp_ms"));
    let decrypted = group_message::decrypt(&group.key, &[[0; 32], key], &wire_bytes);
    let decrypted = decrypted.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(decrypted.sender, sender.account_id());
    assert_eq!(decrypted.sender, case.account_id("sender_id"));
    assert_eq!(hex::encode(&decrypted.body), case.text("envelope"));

    // The official library compresses what becomes shorter by it; this project does not.
    let mut nonce = Replay::of([case.bytes("nonce")]);
    let written = group_message::encrypt(&mut nonce, &sender, &group.key, &key, &envelope);
    let written = written.expect("a message");
    nonce.finish();
    assert_eq!(written != wire_bytes, is_compressed(&key, &wire_bytes));
    let reread = group_message::decrypt(&group.key, &[key], &written);
    assert_eq!(reread, Ok(decrypted));

    let parsed = wire::Content::decode(case.bytes("content").as_slice()).expect("a content");
    assert_eq!(kind_name(&parsed), expected_kind(case.text("content_kind")));
    let opened = group_message::open(&group.key, &[key], &wire_bytes);
    if parsed.sig_timestamp == Some(timestamp) {
        let opened = opened.expect("a message");
        assert_eq!(opened.content_bytes, case.bytes("content"));
        assert_eq!(opened.content, parsed);
    } else {
        let reason = opened.err().map(|error| error.reason());
        assert_eq!(reason, Some("BAD_CONTENT"));
    }
    let other = Identifier {
        key: [3; 32],
        ..group
    };
    let foreign = group_message::decrypt(&other.key, &[key], &wire_bytes);
    assert_eq!(foreign, Err(group_message::GroupError::BadSignature));
}

fn is_compressed(key: &[u8; 32], wire_bytes: &[u8]) -> bool {
    let (nonce, ciphertext) = wire_bytes.split_first_chunk::<24>().expect("a nonce");
    let cipher = XChaCha20Poly1305::new(key.into());
    let plain = cipher
        .decrypt(&(*nonce).into(), ciphertext)
        .expect("a plaintext");
    let end = plain
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let value = bt::parse(&plain[..end]).expect("bencode");
    value
        .as_dict()
        .expect("a dictionary")
        .contains_key(b"z".as_slice())
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
