//! Signed strings of storage requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use session_protocol::storage::Namespace;
use session_protocol::storage::request::{self, Store};
use session_protocol::storage::signed::{self, ExpireMode, NamespaceSelector};

use crate::support::{Case, Report};

pub fn check(case: &Case<'_>, report: &mut Report) {
    match case.kind() {
        Some("user_request") => user_request(case),
        other => panic!("unknown type {other:?}"),
    }
    report.pass();
}

fn user_request(case: &Case<'_>) {
    let keys = case.keys("seed");
    assert_eq!(keys.ed25519_public(), case.array("ed25519_pk"));
    assert_eq!(keys.account_id(), case.account_id("session_id"));
    let params = case.object("params");
    let namespace = || {
        let number = params.value("namespace").as_i64().expect("a namespace");
        Namespace(number.try_into().expect("a namespace"))
    };
    let timestamp = || params.number("timestamp");
    let method = case.text("method");
    // The string, and the request that carries its signature.
    let (text, request) = match method {
        "store" => {
            let message = Store {
                owner: keys.account_id().into(),
                namespace: namespace(),
                data: b"data",
                timestamp: timestamp(),
                ttl: 1,
            };
            (
                signed::store(namespace(), timestamp()),
                request::store_signed(&keys, &message),
            )
        }
        "retrieve" => (
            signed::retrieve(namespace(), timestamp()),
            request::retrieve(&keys, namespace(), None, None, timestamp()),
        ),
        "delete" => {
            let hashes = params.texts("messages");
            (signed::delete(&hashes), request::delete(&keys, &hashes))
        }
        "expire" => {
            let mode = match params.text("mode") {
                "" => ExpireMode::Set,
                "shorten" => ExpireMode::Shorten,
                "extend" => ExpireMode::Extend,
                other => panic!("unknown mode {other}"),
            };
            let (expiry, hashes) = (params.number("expiry"), params.texts("messages"));
            (
                signed::expire(mode, &[expiry], &hashes),
                request::expire(&keys, mode, expiry, &hashes),
            )
        }
        "delete_all" => {
            let selector = match params.value("namespace").as_str() {
                Some("all") => NamespaceSelector::All,
                Some(other) => panic!("unknown namespace {other}"),
                None => NamespaceSelector::One(namespace()),
            };
            let request = request::delete_all(&keys, selector, timestamp());
            (signed::delete_all(selector, timestamp()), request)
        }
        "get_expiries" => {
            let hashes = params.texts("messages");
            let request = request::get_expiries(&keys, &hashes, timestamp());
            (signed::get_expiries(timestamp(), &hashes), request)
        }
        other => panic!("unknown method {other}"),
    };
    assert_eq!(text, case.text("signed_string"));
    let signature = keys.sign(text.as_bytes());
    assert_eq!(signature, case.array("signature"));
    let base64 = case.text("signature_base64");
    assert_eq!(STANDARD.encode(signature), base64);
    assert_eq!(request.method(), method);
    let json: serde_json::Value = serde_json::from_slice(&request.to_json()).expect("a request");
    let sent = Case(&json).object("params");
    assert_eq!(sent.text("signature"), base64);
    assert_eq!(sent.array("pubkey_ed25519"), keys.ed25519_public());
    assert_eq!(sent.text("pubkey"), case.text("session_id"));
}
