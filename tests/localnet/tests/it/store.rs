//! `store`: replication, checks in their order, member signatures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use session_protocol::identity::{Prefix, verify_ed25519};
use session_protocol::storage::hash::message_hash;
use session_protocol::storage::namespace::Namespace;
use session_protocol::storage::signed;
use session_protocol::{AccountKeys, AccountSeed, Identifier};

use crate::support::{Account, Net, START_MS, rng, with, without};

const DAY: u64 = 86_400_000;

#[tokio::test]
async fn every_member_stores_signs_and_serves() {
    let net = Net::start().await;
    let account = Account::new();
    let members = net.members(account.id());
    let params = account.store(b"text", START_MS - 5, 60_000);
    let (status, answer) = net.rpc(members[0], "store", params).await;
    assert_eq!(status, 200, "{answer}");
    let hash = message_hash(&account.id(), Namespace::DEFAULT, b"text");
    assert_eq!(answer["hash"], json!(hash));
    assert_eq!(
        (&answer["t"], &answer["hf"]),
        (&json!(START_MS), &json!([19, 6]))
    );

    let swarm = answer["swarm"].as_object().unwrap();
    assert_eq!(swarm.len(), members.len());
    for index in members.iter().copied() {
        let node = net.node(index);
        let element = &swarm[&hex::encode(node.ed25519)];
        assert_eq!(element["hash"], json!(hash));
        assert_eq!(element["expiry"], json!(START_MS - 5 + 60_000));
        // Only the node that was asked says when.
        assert_eq!(element.get("t").is_some(), index == members[0]);
        assert!(element.get("already").is_none());
        let signature = STANDARD
            .decode(element["signature"].as_str().unwrap())
            .unwrap();
        let signature = signature.try_into().unwrap();
        assert!(verify_ed25519(&node.ed25519, hash.as_bytes(), &signature));

        let (status, held) = net
            .rpc(index, "retrieve", account.retrieve(0, START_MS))
            .await;
        assert_eq!(status, 200, "{held}");
        let message = json!({
            "hash": hash, "timestamp": START_MS - 5, "expiration": START_MS - 5 + 60_000,
            "data": STANDARD.encode("text"),
        });
        assert_eq!(held["messages"], json!([message]));
        assert_eq!(held["more"], json!(false));
    }
}

#[tokio::test]
async fn storing_again_prolongs_and_says_already_in_two_ways() {
    let net = Net::start().await;
    let account = Account::new();
    let members = net.members(account.id());
    let (entry, peer) = (net.node(members[0]), net.node(members[1]));
    let (entry, peer) = (hex::encode(entry.ed25519), hex::encode(peer.ed25519));
    let mut expiries = Vec::new();
    for ttl in [60_000, 90_000, 20_000] {
        let params = account.store(b"same", START_MS, ttl);
        let (_, answer) = net.rpc(members[0], "store", params).await;
        let swarm = &answer["swarm"];
        expiries.push(swarm[&peer]["expiry"].as_u64().unwrap() - START_MS);
        let already = [&swarm[&entry]["already"], &swarm[&peer]["already"]];
        let expected = if ttl == 60_000 {
            [Value::Null, Value::Null]
        } else {
            [json!(true), json!(1)]
        };
        assert_eq!(already, [&expected[0], &expected[1]]);
    }
    assert_eq!(expiries, [60_000, 90_000, 90_000]);
    let (_, held) = net
        .rpc(members[2], "retrieve", account.retrieve(0, START_MS))
        .await;
    assert_eq!(held["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn malformed_parameters_are_400_and_unknown_ones_are_ignored() {
    let net = Net::start().await;
    let account = Account::new();
    let member = net.members(account.id())[0];
    let good = account.store(b"x", START_MS, 60_000);
    let too_long = STANDARD.encode(vec![0; 76_803]);
    for (params, reason) in [
        (
            without(good.clone(), "pubkey"),
            "Required field 'pubkey' missing",
        ),
        (
            with(good.clone(), "pubkey", json!(5)),
            "Invalid value of 'pubkey'",
        ),
        (
            with(good.clone(), "pubkey", json!("05aa")),
            "Invalid value of 'pubkey'",
        ),
        (
            without(good.clone(), "data"),
            "Required field 'data' missing",
        ),
        (
            with(good.clone(), "data", Value::Null),
            "Required field 'data' missing",
        ),
        (
            with(good.clone(), "data", json!("!!!!")),
            "Invalid value of 'data'",
        ),
        (
            with(good.clone(), "data", json!(too_long)),
            "Message body exceeds maximum allowed length of 76800 bytes",
        ),
        (
            without(good.clone(), "timestamp"),
            "Required field 'timestamp' missing",
        ),
        (
            with(good.clone(), "timestamp", json!(1.5)),
            "Invalid value of 'timestamp'",
        ),
        (
            with(good.clone(), "timestamp", json!("12x")),
            "Invalid value of 'timestamp'",
        ),
        (
            with(good.clone(), "ttl", json!(true)),
            "Invalid value of 'ttl'",
        ),
        (without(good.clone(), "ttl"), "Required field 'ttl' missing"),
        (
            with(good.clone(), "expiry", json!(START_MS)),
            "'ttl' and 'expiry' exclude each other",
        ),
        (
            with(good.clone(), "namespace", json!("0")),
            "Invalid value of 'namespace'",
        ),
        (
            with(good.clone(), "namespace", json!(40_000)),
            "Invalid value of 'namespace'",
        ),
        // Parsed even where nobody verifies it.
        (
            with(good.clone(), "signature", json!("short")),
            "Invalid value of 'signature'",
        ),
        (
            with(good.clone(), "pubkey_ed25519", json!("00")),
            "Invalid value of 'pubkey_ed25519'",
        ),
        (
            with(good.clone(), "sig_timestamp", json!(START_MS / 1_000_000)),
            "sig_timestamp must be in milliseconds",
        ),
    ] {
        let (status, body) = net.rpc(member, "store", params).await;
        let expected = format!("invalid request: {reason}");
        assert!(
            status == 400
                && body
                    .as_str()
                    .is_some_and(|text| text.starts_with(&expected)),
            "{status} {body} instead of {expected}"
        );
    }
    let lenient = with(good, "some_future_key", json!([1]));
    let lenient = with(lenient, "ttl", json!("60000"));
    let lenient = with(lenient, "timestamp", json!(START_MS.to_string()));
    let lenient = with(lenient, "expiry", Value::Null);
    assert_eq!(net.rpc(member, "store", lenient).await.0, 200);
    // The longest body there may be.
    let params = with(
        account.store(b"", START_MS, 60_000),
        "data",
        json!(STANDARD.encode(vec![7; 76_800])),
    );
    assert_eq!(net.rpc(member, "store", params).await.0, 200);
}

#[tokio::test]
async fn swarm_ttl_and_clock_are_checked_in_this_order() {
    let net = Net::start().await;
    let account = Account::new();
    let member = net.members(account.id())[0];
    let stranger = net.strangers(account.id())[0];
    let store = |timestamp, ttl| account.store(b"x", timestamp, ttl);

    // Wrong TTL, wrong clock, and the wrong swarm: the swarm counts.
    let (status, body) = net.rpc(stranger, "store", store(1, 1)).await;
    assert_eq!(status, 421);
    assert_eq!(
        body["swarm"],
        json!(format!("{:x}", net.swarm_of(account.id())))
    );
    let snodes = body["snodes"].as_array().unwrap();
    assert_eq!(snodes.len(), net.members(account.id()).len());
    let node = net.node(member);
    let listed = snodes
        .iter()
        .find(|snode| snode["ip"] == json!(node.ip.to_string()))
        .unwrap();
    assert_eq!(listed["port"], json!(node.port.to_string()));
    assert_eq!(listed["port_https"], json!(node.port));
    assert_eq!(listed["pubkey_x25519"], json!(hex::encode(node.x25519)));

    let ttl = (403, json!("Provided expiry/TTL is not valid."));
    let clock = (406, json!("Timestamp error: check your clock"));
    for (timestamp, lifetime, expected) in [
        (1, 1, &ttl),
        (START_MS, 9_999, &ttl),
        (START_MS, 14 * DAY + 1, &ttl),
        (START_MS + 10_001, 60_000, &clock),
        (START_MS - 30_001, 20_000, &clock),
    ] {
        let answer = net.rpc(member, "store", store(timestamp, lifetime)).await;
        assert_eq!(&answer, expected, "{timestamp} {lifetime}");
    }
    for (timestamp, lifetime) in [
        (START_MS, 10_000),
        (START_MS, 14 * DAY),
        (START_MS + 10_000, 60_000),
        (START_MS - DAY, DAY),
    ] {
        let (status, body) = net.rpc(member, "store", store(timestamp, lifetime)).await;
        assert_eq!(status, 200, "{timestamp} {lifetime} {body}");
    }
}

#[tokio::test]
async fn private_namespaces_want_the_owners_current_signature() {
    let net = Net::start().await;
    let account = Account::new();
    let member = net.members(account.id())[0];
    let store = with(
        account.store(b"config", START_MS, 30 * DAY),
        "namespace",
        json!(2),
    );
    let signed_at = |time: u64| {
        let params = with(store.clone(), "sig_timestamp", json!(time));
        account.sign(params, &signed::store(Namespace(2), time))
    };

    let (status, body) = net.rpc(member, "store", store.clone()).await;
    assert_eq!(
        (status, body),
        (
            401,
            json!("store: signature required to store to namespace 2")
        )
    );
    let (status, body) = net.rpc(member, "store", signed_at(START_MS - 60_001)).await;
    assert_eq!(
        (status, body),
        (
            406,
            json!("store signature timestamp too far from current time")
        )
    );
    let failed = (401, json!("store signature verification failed"));
    let other_text = account.sign(store.clone(), &signed::store(Namespace(3), START_MS));
    assert_eq!(net.rpc(member, "store", other_text).await, failed);
    let keyless = without(signed_at(START_MS), "pubkey_ed25519");
    assert_eq!(net.rpc(member, "store", keyless).await, failed);
    let stranger = Account::new();
    let forged = stranger.sign(store.clone(), &signed::store(Namespace(2), START_MS));
    let forged = with(forged, "pubkey", json!(account.id().to_string()));
    assert_eq!(net.rpc(member, "store", forged).await, failed);

    assert_eq!(
        net.rpc(member, "store", signed_at(START_MS + 60_000))
            .await
            .0,
        200
    );
    // Without sig_timestamp the message's own time is the signed one.
    let own_time = account.sign(store, &signed::store(Namespace(2), START_MS));
    assert_eq!(net.rpc(member, "store", own_time).await.0, 200);
}

#[tokio::test]
async fn groups_sign_with_their_key_and_name_no_other() {
    let net = Net::start().await;
    let keys = AccountKeys::from_seed(&AccountSeed::generate(&mut rng()));
    let group = Identifier {
        prefix: Prefix::Group,
        key: keys.ed25519_public(),
    };
    let member = net.members(group)[0];
    let signature = STANDARD.encode(keys.sign(signed::store(Namespace(11), START_MS).as_bytes()));
    let params = json!({
        "pubkey": group.to_string(), "namespace": 11, "data": "aGk=", "timestamp": START_MS,
        "ttl": 60_000, "signature": signature,
    });
    let named = with(
        params.clone(),
        "pubkey_ed25519",
        json!(hex::encode(group.key)),
    );
    let (status, body) = net.rpc(member, "store", named).await;
    let text = "invalid request: pubkey_ed25519 is only permitted for 05[...] pubkeys";
    assert_eq!((status, body), (400, json!(text)));
    let (status, body) = net.rpc(member, "store", params).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn a_public_outbox_keeps_one_message_that_anyone_reads() {
    let net = Net::start().await;
    let account = Account::new();
    let members = net.members(account.id());
    let store = async |data: &[u8]| {
        let store = account.store(data, START_MS, 60_000);
        let store = with(store, "namespace", json!(-21));
        let store = account.sign(store, &signed::store(Namespace(-21), START_MS));
        let (status, answer) = net.rpc(members[0], "store", store).await;
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let held = async || {
        let params = json!({"pubkey": account.id().to_string(), "namespace": -21});
        let (status, held) = net.rpc(members[1], "retrieve", params).await;
        assert_eq!(status, 200, "{held}");
        let messages = held["messages"].as_array().unwrap();
        messages
            .iter()
            .map(|message| message["data"].clone())
            .collect::<Vec<_>>()
    };
    store(b"old").await;
    // While the account has nothing else, the database refuses on every member; 200 all the same.
    let refused = store(b"new").await;
    assert!(refused.get("hash").is_none());
    for element in refused["swarm"].as_object().unwrap().values() {
        assert!(element["query_failure"] == json!(true) || element["query_failure"] == json!(1));
    }
    assert_eq!(held().await, [json!(STANDARD.encode("old"))]);

    let other = account.store(b"something else", START_MS, 60_000);
    assert_eq!(net.rpc(members[0], "store", other).await.0, 200);
    assert!(store(b"new").await["hash"].is_string());
    assert_eq!(held().await, [json!(STANDARD.encode("new"))]);
}

#[tokio::test]
async fn a_member_that_is_down_times_out_and_is_not_told_later() {
    let mut net = Net::with(|options| options.time_scale = 0.2).await;
    let account = Account::new();
    let members = net.members(account.id());
    net.network.stop_node(members[1]).await.unwrap();
    let params = account.store(b"missed", START_MS, 60_000);
    let (status, answer) = net.rpc(members[0], "store", params).await;
    assert_eq!(status, 200);
    let down = hex::encode(net.node(members[1]).ed25519);
    assert_eq!(
        answer["swarm"][&down],
        json!({"failed": true, "timeout": true})
    );
    assert_eq!(answer["swarm"].as_object().unwrap().len(), members.len());

    net.network.start_node(members[1]).await.unwrap();
    let count = |index| {
        let request = net.rpc(index, "retrieve", account.retrieve(0, START_MS));
        async { request.await.1["messages"].as_array().unwrap().len() }
    };
    assert_eq!(count(members[1]).await, 0);
    assert_eq!(count(members[2]).await, 1);
}
