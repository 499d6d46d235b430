//! One blob for several recipients.

use session_protocol::multi_encrypt::{decrypt, encrypt};

use crate::support::{Case, Replay, Report};

pub fn check(case: &Case<'_>, report: &mut Report) {
    assert_eq!(case.kind(), None, "unknown type");
    let sender = case.keys("sender_seed");
    assert_eq!(sender.ed25519_public(), case.array("sender_ed25519_pk"));
    let from = case.array("sender_x25519_pk");
    assert_eq!(sender.x25519_public(), from);
    let domain = case.text("domain");
    let encoded = case.bytes("encoded");

    let recipients: Vec<_> = case
        .list("recipients")
        .map(|recipient| {
            let keys = recipient.keys("seed");
            assert_eq!(keys.x25519_public(), recipient.array("x25519_pk"));
            (keys, recipient.bytes("plaintext"))
        })
        .collect();
    let messages: Vec<_> = recipients
        .iter()
        .map(|(keys, plaintext)| (keys.x25519_public(), plaintext.as_slice()))
        .collect();
    let pad = case.number("pad").try_into().expect("a number");
    let mut rng = Replay::of([case.bytes("nonce")]);
    rng.append(case.draws("rng"));
    let written = encrypt(&mut rng, &sender, domain, &messages, pad).expect("a blob");
    rng.finish();
    assert_eq!(hex::encode(written), case.text("encoded"));

    for (keys, plaintext) in &recipients {
        assert_eq!(
            decrypt(keys, &from, domain, &encoded).as_ref(),
            Some(plaintext)
        );
        let wrong = case.text("wrong_domain");
        assert_eq!(decrypt(keys, &from, wrong, &encoded), None);
    }
    let outsider = case.keys("outsider_seed");
    assert_eq!(decrypt(&outsider, &from, domain, &encoded), None);
    report.pass();
}
