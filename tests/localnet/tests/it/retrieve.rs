//! `retrieve`: order, cursors, limits, authentication, expiry.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use session_protocol::storage::namespace::Namespace;
use session_protocol::storage::signed;

use crate::support::{Account, Net, START_MS, with, without};

/// Stores messages 0, 1, ... of `size` bytes and answers their hashes.
async fn fill(net: &Net, account: &Account, count: u8, size: usize) -> Vec<String> {
    let member = net.members(account.id())[0];
    let mut hashes = Vec::new();
    for number in 0..count {
        let params = account.store(&vec![number; size], START_MS, 60_000);
        let (status, answer) = net.rpc(member, "store", params).await;
        assert_eq!(status, 200, "{answer}");
        hashes.push(answer["hash"].as_str().unwrap().to_owned());
    }
    hashes
}

fn hashes(answer: &Value) -> Vec<String> {
    let messages = answer["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|message| message["hash"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn cursors_and_limits_cut_the_list() {
    let net = Net::start().await;
    let account = Account::new();
    let member = net.members(account.id())[0];
    let all = fill(&net, &account, 5, 600).await;
    let unknown = "A".repeat(43);
    // A message of 600 bytes counts 100 + 43 + 800.
    for (name, value, expected, more) in [
        ("last_hash", json!(""), 0..5, false),
        ("last_hash", json!(all[1]), 2..5, false),
        ("lastHash", json!(all[1]), 2..5, false),
        ("last_hash", json!(all[4]), 5..5, false),
        ("last_hash", json!(unknown), 0..5, false),
        ("max_count", json!(2), 0..2, true),
        ("max_count", json!(5), 0..5, false),
        ("max_count", json!(0), 0..5, false),
        ("max_count", json!(-1), 0..0, false),
        ("max_count", json!(-5), 0..5, false),
        ("max_size", json!(943 * 2), 0..2, true),
        ("max_size", json!(1), 0..1, true),
        ("max_size", json!(-7_800_000 / 2000), 0..2, true),
        ("max_size", json!(900_000_000), 0..5, false),
    ] {
        let params = with(account.retrieve(0, START_MS), name, value.clone());
        let (status, answer) = net.rpc(member, "retrieve", params).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(hashes(&answer), all[expected], "{name} {value}");
        assert_eq!(answer["more"], json!(more), "{name} {value}");
    }
    let params = with(account.retrieve(0, START_MS), "last_hash", json!("short"));
    assert_eq!(net.rpc(member, "retrieve", params).await.0, 400);
}

#[tokio::test]
async fn a_large_namespace_comes_in_parts() {
    let net = Net::start().await;
    let account = Account::new();
    let member = net.members(account.id())[0];
    // 20 * (143 + 102_400) is more than 1_560_000.
    let all = fill(&net, &account, 20, 76_800).await;
    let (mut read, mut last) = (Vec::new(), String::new());
    for _ in 0..all.len() {
        let params = with(account.retrieve(0, START_MS), "last_hash", json!(last));
        let (_, answer) = net.rpc(member, "retrieve", params).await;
        read.extend(hashes(&answer));
        last = read.last().unwrap().clone();
        if answer["more"] == json!(false) {
            break;
        }
        assert_eq!(hashes(&answer).len(), 15);
    }
    assert_eq!(read, all);
}

#[tokio::test]
async fn each_node_has_an_order_of_its_own() {
    let mut net = Net::with(|options| options.time_scale = 0.2).await;
    let account = Account::new();
    let members = net.members(account.id());
    let store = |data: &[u8]| account.store(data, START_MS, 60_000);
    net.network.stop_node(members[1]).await.unwrap();
    net.rpc(members[0], "store", store(b"first")).await;
    net.network.start_node(members[1]).await.unwrap();
    net.rpc(members[0], "store", store(b"second")).await;
    net.rpc(members[0], "store", store(b"first")).await;
    let mut orders = Vec::new();
    for index in [members[0], members[1]] {
        let (_, answer) = net
            .rpc(index, "retrieve", account.retrieve(0, START_MS))
            .await;
        orders.push(hashes(&answer));
    }
    assert_eq!(orders[0].len(), 2);
    orders[1].reverse();
    assert_eq!(orders[0], orders[1]);
}

#[tokio::test]
async fn authentication_has_its_documented_statuses() {
    let net = Net::start().await;
    let account = Account::new();
    let member = net.members(account.id())[0];
    let bare = json!({"pubkey": account.id().to_string()});
    let good = account.retrieve(0, START_MS);
    let missing = json!("invalid request: Required field 'signature' missing");
    let unsigned = json!("retrieve: request signature required");
    let late = json!("retrieve timestamp too far from current time");
    let failed = json!("retrieve signature verification failed");
    let at = |time| account.retrieve(0, time);
    let zero = account.sign(
        json!({"timestamp": START_MS}),
        &format!("retrieve0{START_MS}"),
    );
    let seconds = START_MS / 1000;
    for (params, expected) in [
        (bare.clone(), (401, unsigned)),
        (
            with(bare.clone(), "namespace", json!(0)),
            (400, missing.clone()),
        ),
        (
            with(bare.clone(), "timestamp", json!(START_MS)),
            (400, missing),
        ),
        (without(good.clone(), "timestamp"), (406, late.clone())),
        (at(START_MS - 60_001), (406, late.clone())),
        (at(START_MS + 60_001), (406, late.clone())),
        (at(seconds), (406, late)),
        (
            at(999_999_999),
            (
                400,
                json!("invalid request: timestamp must be in milliseconds"),
            ),
        ),
        (zero, (401, failed.clone())),
        (
            without(good.clone(), "pubkey_ed25519"),
            (401, failed.clone()),
        ),
        (
            with(good.clone(), "timestamp", json!(START_MS + 1)),
            (401, failed),
        ),
    ] {
        assert_eq!(
            net.rpc(member, "retrieve", params.clone()).await,
            expected,
            "{params}"
        );
    }
    for time in [START_MS - 60_000, START_MS + 60_000] {
        assert_eq!(net.rpc(member, "retrieve", at(time)).await.0, 200);
    }
    // Namespace 2 is signed with its number; -10 is open to everyone.
    assert_eq!(
        net.rpc(member, "retrieve", account.retrieve(2, START_MS))
            .await
            .0,
        200
    );
    let open = with(bare, "namespace", json!(-10));
    assert_eq!(net.rpc(member, "retrieve", open).await.0, 200);
    let stranger = net.strangers(account.id())[0];
    assert_eq!(net.rpc(stranger, "retrieve", good).await.0, 421);
}

#[tokio::test]
async fn expired_messages_are_served_until_the_sweep() {
    let net = Net::start().await;
    let account = Account::new();
    let members = net.members(account.id());
    net.rpc(
        members[0],
        "store",
        account.store(b"short", START_MS, 10_000),
    )
    .await;
    net.rpc(
        members[0],
        "store",
        account.store(b"long", START_MS, 20_000),
    )
    .await;
    net.clock.advance(15_300);
    let text = signed::retrieve(Namespace::DEFAULT, START_MS);
    let params = account.sign(json!({"timestamp": START_MS}), &text);
    let (_, before) = net.rpc(members[1], "retrieve", params.clone()).await;
    assert_eq!(hashes(&before).len(), 2);
    net.network.sweep().await;
    for index in members {
        let (_, after) = net.rpc(index, "retrieve", params.clone()).await;
        assert_eq!(hashes(&after).len(), 1);
        assert_eq!(after["messages"][0]["data"], json!(STANDARD.encode("long")));
    }
}
