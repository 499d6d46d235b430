//! One-to-one and blinded encryption, and names of stored messages.

use session_protocol::blinded_encrypt::{self, BlindedError};
use session_protocol::blinding::{BlindedKeys, Blinding};
use session_protocol::padding::unpad;
use session_protocol::session_encrypt::{self, DecryptError};
use session_protocol::storage::{Namespace, message_hash};
use session_protocol::{AccountKeys, Identifier};

use crate::support::{Case, Replay, Report};

pub fn check(case: &Case<'_>, report: &mut Report) {
    match case.kind() {
        Some("deterministic") => deterministic(case),
        Some("signed_plaintext") => {
            let recipient = case.account_id("recipient_id");
            let plaintext = case.bytes("plaintext");
            let signed = session_encrypt::signed_plaintext(
                &case.keys("sender_seed"),
                &recipient,
                &plaintext,
            );
            assert_eq!(hex::encode(&*signed), case.text("signed"));
        }
        Some("random") => random(case),
        Some("decrypt_must_fail") => must_fail(case),
        Some("blinded") => blinded(case),
        Some("blinded_decrypt_must_fail") => blinded_must_fail(case),
        Some("padding160") => {
            assert_eq!(unpad(&case.bytes("padded")), case.bytes("unpadded"));
        }
        Some("message_hash") => {
            let number = case.value("namespace").as_i64().expect("namespace");
            let namespace = Namespace(number.try_into().expect("namespace"));
            let owner = identifier(case, "pubkey");
            let hash = message_hash(&owner, namespace, &case.bytes("data"));
            assert_eq!(hash, case.text("hash"));
        }
        Some("ons" | "ons_legacy_argon2") => return report.skip("name service, not covered yet"),
        Some("push_notification") => return report.skip("push notifications, not covered yet"),
        other => panic!("unknown type {other:?}"),
    }
    report.pass();
}

fn identifier(case: &Case<'_>, name: &str) -> Identifier {
    case.text(name).parse().expect("an identifier")
}

fn deterministic(case: &Case<'_>) {
    let sender = case.keys("sender_seed");
    let recipient = case.account_id("recipient_id");
    let ciphertext =
        session_encrypt::encrypt_deterministic(&sender, &recipient, &case.bytes("plaintext"))
            .expect("a ciphertext");
    assert_eq!(hex::encode(&ciphertext), case.text("ciphertext"));
    opens(case, &sender);
}

fn random(case: &Case<'_>) {
    let sender = case.keys("sender_seed");
    if case.get("ephemeral_sk").is_some() {
        let mut rng = Replay::of([case.bytes("ephemeral_sk")]);
        let ciphertext = session_encrypt::encrypt(
            &mut rng,
            &sender,
            &case.account_id("recipient_id"),
            &case.bytes("plaintext"),
        )
        .expect("a ciphertext");
        assert_eq!(hex::encode(&ciphertext), case.text("ciphertext"));
        rng.finish();
    }
    opens(case, &sender);
}

fn opens(case: &Case<'_>, sender: &AccountKeys) {
    let recipient = case.keys("recipient_seed");
    assert_eq!(recipient.account_id(), case.account_id("recipient_id"));
    assert_eq!(sender.account_id(), case.account_id("sender_id"));
    assert_eq!(sender.ed25519_public(), case.array("sender_ed25519_pk"));
    let opened = session_encrypt::decrypt(&recipient, &case.bytes("ciphertext"));
    let opened = opened.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(hex::encode(&opened.plaintext), case.text("plaintext"));
    assert_eq!(opened.sender, sender.account_id());
    assert_eq!(opened.sender_ed25519, sender.ed25519_public());
}

fn must_fail(case: &Case<'_>) {
    let recipient = case.keys("recipient_seed");
    let error = session_encrypt::decrypt(&recipient, &case.bytes("ciphertext")).err();
    // The library's wording tells at which step it stops: ours stops there too.
    let expected = match case.text("expected_error") {
        "Decryption failed" => DecryptError::NotForUs,
        "Signature verification failed" => DecryptError::BadSignature,
        "Invalid incoming message: ciphertext is too small" => DecryptError::TooShort,
        other => panic!("unknown error {other}"),
    };
    assert_eq!(error, Some(expected), "{}", case.text("note"));
}

fn blinded(case: &Case<'_>) {
    let blinding = blinding_of(case);
    let server = case.array("server_pk");
    let (sender, recipient) = (case.keys("sender_seed"), case.keys("recipient_seed"));
    let from = BlindedKeys::new(blinding, &sender, &server).id();
    let to = BlindedKeys::new(blinding, &recipient, &server).id();
    assert_eq!(from, identifier(case, "sender_blinded_id"));
    assert_eq!(to, identifier(case, "recipient_blinded_id"));
    let mut rng = Replay::of([case.bytes("nonce")]);
    let plaintext = case.bytes("plaintext");
    let ciphertext = blinded_encrypt::encrypt(&mut rng, &sender, &to, &server, &plaintext)
        .expect("a ciphertext");
    rng.finish();
    assert_eq!(hex::encode(&ciphertext), case.text("ciphertext"));
    for reader in [&sender, &recipient] {
        let opened = blinded_encrypt::decrypt(reader, &from, &to, &server, &ciphertext)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(opened.plaintext, plaintext);
        assert_eq!(opened.sender, sender.account_id());
        assert_eq!(opened.sender, case.account_id("sender_id"));
    }
}

fn blinding_of(case: &Case<'_>) -> Blinding {
    match case.number("kind") {
        15 => Blinding::V15,
        25 => Blinding::V25,
        other => panic!("unknown blinding {other}"),
    }
}

fn blinded_must_fail(case: &Case<'_>) {
    let (recipient, server) = (case.keys("recipient_seed"), case.array("server_pk"));
    let (from, to) = (
        identifier(case, "sender_blinded_id"),
        identifier(case, "recipient_blinded_id"),
    );
    let prefix = blinding_of(case).prefix();
    assert_eq!((from.prefix, to.prefix), (prefix, prefix));
    let ciphertext = case.bytes("ciphertext");
    let error = blinded_encrypt::decrypt(&recipient, &from, &to, &server, &ciphertext).err();
    let expected = match case.text("note") {
        "bitflip" | "claimed_other_sender" | "wrong_recipient" => BlindedError::DoesNotOpen,
        "bad_version" => BlindedError::UnknownVersion,
        "short" => BlindedError::TooShort,
        other => panic!("unknown note {other}"),
    };
    assert_eq!(error, Some(expected));
}
