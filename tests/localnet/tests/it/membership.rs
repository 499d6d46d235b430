//! Nodes that change swarms: what lists and 421 say, which messages move, what uptime checks do.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use session_localnet::Faults;
use session_protocol::{Identifier, swarm};

use crate::support::{Account, Net, START_MS};

/// An account in the given swarm of the network as it began.
fn account_in(net: &Net, swarm_id: u64) -> Account {
    (0..1000)
        .map(|_| Account::new())
        .find(|account| net.swarm_of(account.id()) == swarm_id)
        .unwrap()
}

async fn store(net: &Net, index: usize, account: &Account, data: &[u8]) -> Value {
    let params = account.store(data, START_MS, 60_000);
    let (status, answer) = net.rpc(index, "store", params).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Number of messages a node serves, or the status with which it does not.
async fn held(net: &Net, index: usize, account: &Account) -> Result<usize, u16> {
    let params = account.retrieve(0, START_MS);
    match net.rpc(index, "retrieve", params).await {
        (200, answer) => Ok(answer["messages"].as_array().unwrap().len()),
        (status, _) => Err(status),
    }
}

/// Keys in a node's answer to `get_swarm`.
async fn swarm_keys(net: &Net, index: usize, account: Identifier) -> Vec<Value> {
    let params = json!({"pubkey": account.to_string()});
    let (_, answer) = net.rpc(index, "get_swarm", params).await;
    let snodes = answer["snodes"].as_array().unwrap();
    snodes
        .iter()
        .map(|snode| snode["pubkey_ed25519"].clone())
        .collect()
}

#[tokio::test]
async fn a_moved_node_serves_its_new_swarm_and_gets_its_messages() {
    let net = Net::start().await;
    let (from, to) = (net.node(0).swarm_id, net.node(11).swarm_id);
    assert_ne!(from, to);
    let (left, joined) = (account_in(&net, from), account_in(&net, to));
    // More than is handed on at a time.
    for number in 0..3_u8 {
        store(&net, 0, &left, &[number]).await;
        store(&net, 11, &joined, &[number]).await;
    }
    let moved = json!(hex::encode(net.node(0).ed25519));
    let control = net.network.control();
    let height = control.status().unwrap().height;
    control.move_node(0, to).await.unwrap();

    assert_eq!(control.nodes()[0].swarm_id, to);
    assert_eq!(control.status().unwrap().height, height + 1);
    assert_eq!(held(&net, 0, &left).await, Err(421));
    assert_eq!(held(&net, 0, &joined).await, Ok(3));
    assert!(!swarm_keys(&net, 0, left.id()).await.contains(&moved));
    assert!(swarm_keys(&net, 5, joined.id()).await.contains(&moved));
    let params = json!({"endpoint": "get_service_nodes"});
    let (_, answer) = net.rpc(3, "oxend_request", params).await;
    let listed = &answer["result"]["service_node_states"][0];
    assert_eq!(listed["swarm_id"], json!(to));
    // New messages go to the members of now.
    let old_swarm = store(&net, 2, &left, b"after").await;
    assert!(old_swarm["swarm"].get(moved.as_str().unwrap()).is_none());
    let new_swarm = store(&net, 11, &joined, b"after").await;
    assert!(new_swarm["swarm"][moved.as_str().unwrap()]["hash"].is_string());
    assert_eq!(held(&net, 0, &joined).await, Ok(4));
}

#[tokio::test]
async fn messages_follow_accounts_into_a_new_swarm_and_back() {
    let net = Net::start().await;
    let control = net.network.control();
    let old = net.node(11).swarm_id;
    let new = old.wrapping_add(1 << 61);
    let ids = [net.node(0).swarm_id, old, new];
    let account = (0..1000)
        .map(|_| Account::new())
        .find(|account| {
            net.swarm_of(account.id()) == old
                && swarm::nearest_swarm(&ids, swarm::swarm_space(&account.id())) == Some(new)
        })
        .unwrap();
    store(&net, 11, &account, b"x").await;
    // A node of the other swarm, which never held it.
    control.move_node(0, new).await.unwrap();
    assert_eq!(held(&net, 0, &account).await, Ok(1));
    assert_eq!(held(&net, 11, &account).await, Err(421));
    control.lose_storage(11).await.unwrap();
    // The swarm is gone again: the account maps to where it was, and so do its messages.
    control.move_node(0, ids[0]).await.unwrap();
    assert_eq!(held(&net, 0, &account).await, Err(421));
    assert_eq!(held(&net, 11, &account).await, Ok(1));
}

#[tokio::test]
async fn a_decommissioned_node_is_known_but_out_of_service() {
    let net = Net::start().await;
    let control = net.network.control();
    let account = account_in(&net, net.node(0).swarm_id);
    control.decommission(0).await.unwrap();
    let text = json!("Service node is not ready: not in any swarm\n");
    assert_eq!(net.rpc(0, "info", json!({})).await, (503, text));
    let listed = async |active_only: bool| {
        let params = json!({
            "endpoint": "get_service_nodes",
            "params": {"active_only": active_only, "fields": ["swarm_id", "active"]},
        });
        let (_, answer) = net.rpc(1, "oxend_request", params).await;
        answer["result"]["service_node_states"]
            .as_array()
            .unwrap()
            .clone()
    };
    assert_eq!(listed(true).await.len(), 11);
    let all = listed(false).await;
    assert_eq!(all[0], json!({"swarm_id": u64::MAX, "active": false}));
    let answer = store(&net, 2, &account, b"missed").await;
    assert_eq!(answer["swarm"].as_object().unwrap().len(), 5);

    control.recommission(0).await.unwrap();
    // The smallest swarm was its own.
    assert_eq!(control.nodes()[0].swarm_id, net.node(0).swarm_id);
    assert_eq!(held(&net, 0, &account).await, Ok(1));
    assert_eq!(listed(true).await.len(), 12);
}

#[tokio::test]
async fn uptime_checks_decommission_a_dead_node_and_bring_it_back() {
    // 65 minutes are 2 seconds.
    let net = Net::with(|options| options.uptime_checks = Some(0.0005)).await;
    let control = net.network.control();
    let active = |index: usize| control.nodes()[index].swarm_id != swarm::UNASSIGNED;
    let until = async |what: &str, index: usize, wanted: bool| {
        let start = Instant::now();
        while active(index) != wanted {
            assert!(start.elapsed() < Duration::from_secs(60), "{what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        start.elapsed()
    };
    control.set_node(0, Faults::down()).await.unwrap();
    let took = until("decommissioned", 0, false).await;
    assert!(took > Duration::from_millis(1900), "{took:?}");
    let account = account_in(&net, net.node(0).swarm_id);
    store(&net, 2, &account, b"meanwhile").await;
    control.set_node(0, Faults::default()).await.unwrap();
    until("back", 0, true).await;
    // What it missed was handed on when it came back.
    let start = Instant::now();
    while held(&net, 0, &account).await != Ok(1) {
        assert!(start.elapsed() < Duration::from_secs(60));
    }
    assert!((1..12).all(active));
}
