//! Blinded identifiers and their signatures, version checks, XEd25519.

use session_protocol::blinding::{
    BlindedKeys, Blinding, VersionCheckKeys, blind_ed25519, candidates, factor15, matches,
    signed_factor,
};
use session_protocol::identity::{verify_ed25519, x25519_to_ed25519_positive};
use session_protocol::{AccountId, Prefix, xed25519};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::support::{Case, Report};

pub fn check(case: &Case<'_>, report: &mut Report) {
    match case.kind() {
        None => {
            blinded(case);
            version_check(case);
        }
        Some("xed25519") => xed25519_case(case),
        other => panic!("unknown type {other:?}"),
    }
    report.pass();
}

fn blinded(case: &Case<'_>) {
    let account = case.keys("seed");
    let (id, server) = (case.account_id("session_id"), case.array("server_pk"));
    let ed25519 = case.array("ed25519_pk");
    assert_eq!(account.account_id(), id);
    assert_eq!(account.ed25519_public(), ed25519);
    let message = case.bytes("message");

    assert_eq!(factor15(&server).to_bytes(), case.array("blind15_factor"));
    let keys = BlindedKeys::new(Blinding::V15, &account, &server);
    assert_eq!(keys.id().key, case.array("blind15_pk"));
    assert_eq!(*keys.secret_scalar_bytes(), case.array("blind15_sk"));
    assert_eq!(keys.id().to_string(), case.text("blind15_id_true"));
    assert_eq!(keys.sign(&message), case.array("blind15_signature"));
    let possible: Vec<String> = candidates(Blinding::V15, &id, &server)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(possible, case.texts("blind15_ids_possible"));
    assert_eq!(matches(&id, &keys.id(), &server), case.flag("matches_15"));
    let other_server = server.map(|byte| !byte);
    assert_eq!(
        matches(&id, &keys.id(), &other_server),
        case.flag("matches_other")
    );
    assert!(verify_ed25519(
        &keys.id().key,
        &message,
        &case.array("blind15_signature")
    ));
    assert_eq!(
        blind_ed25519(Blinding::V15, &ed25519, &server),
        Some(keys.id())
    );

    let factor = signed_factor(Blinding::V25, &id, &ed25519, &server);
    assert_eq!(factor.to_bytes(), case.array("blind25_factor_signed"));
    let keys = BlindedKeys::new(Blinding::V25, &account, &server);
    assert_eq!(keys.id().key, case.array("blind25_pk"));
    assert_eq!(*keys.secret_scalar_bytes(), case.array("blind25_sk"));
    assert_eq!(keys.id().to_string(), case.text("blind25_id"));
    assert_eq!(keys.sign(&message), case.array("blind25_signature"));
    assert_eq!(candidates(Blinding::V25, &id, &server), [keys.id()]);
    assert_eq!(matches(&id, &keys.id(), &server), case.flag("matches_25"));
    let stranger = AccountId::from_x25519(case.array("version_blinded_pk"));
    assert!(!matches(&stranger, &keys.id(), &server));
    assert!(verify_ed25519(
        &keys.id().key,
        &message,
        &case.array("blind25_signature")
    ));
    assert_eq!(
        blind_ed25519(Blinding::V25, &ed25519, &server),
        Some(keys.id())
    );
}

fn version_check(case: &Case<'_>) {
    let keys = VersionCheckKeys::new(&case.keys("seed")).expect("keys");
    let id = keys.id();
    assert_eq!(id.prefix, Prefix::VersionBlinded);
    assert_eq!(id.key, case.array("version_blinded_pk"));
    let secret: [u8; 64] = case.array("version_blinded_sk");
    let from_seed = ed25519_dalek::SigningKey::from_keypair_bytes(&secret).expect("a key pair");
    assert_eq!(from_seed.verifying_key().to_bytes(), id.key);
    let timestamp = case.number("timestamp");
    let desktop = "/session_version?platform=desktop";
    let android = "/session_version?platform=android";
    let message = case.bytes("message");
    // The POST's path and body are not told in the file; these are the ones that fit.
    for (field, method, path, body) in [
        ("version_sign_desktop", "GET", desktop, &[][..]),
        ("version_sign_android", "GET", android, &[]),
        ("version_sign_request_get", "GET", desktop, &[]),
        ("version_sign_request_post", "POST", "/x", &message),
    ] {
        let signature = keys.sign(timestamp, method, path, body);
        assert_eq!(signature, case.array(field), "{field}");
    }
}

fn xed25519_case(case: &Case<'_>) {
    let secret = StaticSecret::from(case.array::<32>("x25519_sk"));
    let public = PublicKey::from(&secret).to_bytes();
    assert_eq!(public, case.array("x25519_pk"));
    let positive = x25519_to_ed25519_positive(&public).expect("an Ed25519 key");
    assert_eq!(positive, case.array("ed25519_pk_positive"));
    let message = case.bytes("message");
    let mut rng = case.draws("rng");
    let signature = xed25519::sign(&mut rng, &secret, &message);
    rng.finish();
    assert_eq!(signature, case.array("signature"));
    assert!(verify_ed25519(&positive, &message, &signature));
    let bad = case.array("bad_signature");
    assert_eq!(
        verify_ed25519(&positive, &message, &bad),
        case.flag("bad_valid")
    );
}
