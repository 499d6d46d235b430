//! `delete_all`, `delete_before` and `expire_all`: changes to whole namespaces.

use serde_json::{Value, json};
use session_protocol::storage::namespace::Namespace;
use session_protocol::storage::signed::{self, NamespaceSelector};

use crate::support::{Account, Net, START_MS, assert_signed, with, without};

const ZERO: NamespaceSelector = NamespaceSelector::One(Namespace::DEFAULT);
const TWO: NamespaceSelector = NamespaceSelector::One(Namespace(2));
const ALL: NamespaceSelector = NamespaceSelector::All;

/// Stores a message and answers its hash.
async fn stored(net: &Net, account: &Account, namespace: i16, timestamp: u64) -> String {
    let member = net.members(account.id())[0];
    let data = format!("{namespace} {timestamp}");
    let params = account.store(data.as_bytes(), timestamp, 1_000_000);
    let params = with(params, "namespace", json!(namespace));
    let params = with(params, "sig_timestamp", json!(START_MS));
    let params = account.sign(params, &signed::store(Namespace(namespace), START_MS));
    let (status, answer) = net.rpc(member, "store", params).await;
    assert_eq!(status, 200, "{answer}");
    answer["hash"].as_str().unwrap().to_owned()
}

/// Parameters of any of the three.
fn request(account: &Account, method: &str, over: NamespaceSelector, time: u64) -> Value {
    let (name, text) = match method {
        "delete_all" => ("timestamp", signed::delete_all(over, time)),
        "delete_before" => ("before", signed::delete_before(over, time)),
        "expire_all" => ("expiry", signed::expire_all(over, time)),
        other => panic!("{other}"),
    };
    let mut params = json!({ name: time });
    match over {
        NamespaceSelector::One(Namespace(0)) => {}
        NamespaceSelector::One(one) => params["namespace"] = json!(one.0),
        NamespaceSelector::All => params["namespace"] = json!("all"),
    }
    account.sign(params, &text)
}

/// Hashes a node holds in a namespace, sorted.
async fn held(net: &Net, index: usize, account: &Account, namespace: i16) -> Vec<String> {
    let params = account.retrieve(namespace, START_MS);
    let (status, answer) = net.rpc(index, "retrieve", params).await;
    assert_eq!(status, 200, "{answer}");
    let messages = answer["messages"].as_array().unwrap();
    sorted(
        messages
            .iter()
            .map(|message| message["hash"].as_str().unwrap().to_owned()),
    )
}

fn sorted(hashes: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut hashes: Vec<String> = hashes.into_iter().collect();
    hashes.sort_unstable();
    hashes
}

#[tokio::test]
async fn delete_all_empties_one_namespace_or_all_of_them() {
    let net = Net::start().await;
    let (account, other) = (Account::new(), Account::new());
    let members = net.members(account.id());
    let kept = stored(&net, &other, 0, START_MS).await;
    let mut hashes = Vec::new();
    for (namespace, timestamp) in [
        (0, START_MS),
        (0, START_MS - 1),
        (2, START_MS),
        (-11, START_MS),
    ] {
        hashes.push(stored(&net, &account, namespace, timestamp).await);
    }
    let zero = sorted(hashes[..2].to_vec());

    // Asked of one member, done by all, and signed by each.
    let params = request(&account, "delete_all", ZERO, START_MS);
    let (status, answer) = net.rpc(members[1], "delete_all", params).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["swarm"].as_object().unwrap().len(), members.len());
    for element in answer["swarm"].as_object().unwrap().values() {
        assert_eq!(element["deleted"], json!(zero));
    }
    assert_signed(&net, &answer, |_| {
        signed::node_all(&account.id(), START_MS, &zero)
    });
    for index in members.iter().copied() {
        assert!(held(&net, index, &account, 0).await.is_empty());
        assert_eq!(held(&net, index, &account, 2).await, [hashes[2].clone()]);
    }

    let params = request(&account, "delete_all", ALL, START_MS);
    let (_, answer) = net.rpc(members[0], "delete_all", params).await;
    for element in answer["swarm"].as_object().unwrap().values() {
        assert_eq!(
            element["deleted"],
            json!({"2": [hashes[2]], "-11": [hashes[3]]})
        );
    }
    let rest = sorted(hashes[2..].to_vec());
    assert_signed(&net, &answer, |_| {
        signed::node_all(&account.id(), START_MS, &rest)
    });
    let owner = net.members(other.id())[0];
    assert_eq!(held(&net, owner, &other, 0).await, [kept]);
}

#[tokio::test]
async fn delete_before_goes_by_the_senders_time() {
    let net = Net::start().await;
    let account = Account::new();
    let member = net.members(account.id())[2];
    let old = stored(&net, &account, 2, START_MS - 2000).await;
    let edge = stored(&net, &account, 2, START_MS - 1000).await;
    let new = stored(&net, &account, 2, START_MS - 999).await;
    let elsewhere = stored(&net, &account, 0, START_MS - 5000).await;

    let before = START_MS - 1000;
    let params = request(&account, "delete_before", TWO, before);
    let (status, answer) = net.rpc(member, "delete_before", params).await;
    assert_eq!(status, 200, "{answer}");
    let deleted = sorted([old, edge]);
    for element in answer["swarm"].as_object().unwrap().values() {
        assert_eq!(element["deleted"], json!(deleted));
    }
    assert_signed(&net, &answer, |_| {
        signed::node_all(&account.id(), before, &deleted)
    });
    assert_eq!(held(&net, member, &account, 2).await, [new]);
    assert_eq!(held(&net, member, &account, 0).await, [elsewhere]);
}

#[tokio::test]
async fn expire_all_only_shortens() {
    let net = Net::start().await;
    let account = Account::new();
    let members = net.members(account.id());
    let first = stored(&net, &account, 0, START_MS).await;
    let sooner = stored(&net, &account, 0, START_MS - 500_000).await;
    let third = stored(&net, &account, 3, START_MS).await;

    let expiry = START_MS + 600_000;
    let params = request(&account, "expire_all", ALL, expiry);
    let (status, answer) = net.rpc(members[0], "expire_all", params).await;
    assert_eq!(status, 200, "{answer}");
    for element in answer["swarm"].as_object().unwrap().values() {
        assert_eq!(element["updated"], json!({"0": [first], "3": [third]}));
    }
    let updated = sorted([first.clone(), third]);
    assert_signed(&net, &answer, |_| {
        signed::node_all(&account.id(), expiry, &updated)
    });
    let params = account.retrieve(0, START_MS);
    let (_, answer) = net.rpc(members[1], "retrieve", params).await;
    let expirations: Vec<u64> = answer["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["expiration"].as_u64().unwrap())
        .collect();
    assert_eq!(
        expirations,
        [expiry, START_MS + 500_000],
        "{first} {sooner}"
    );

    // A longer time moves nothing.
    let params = request(&account, "expire_all", ZERO, START_MS + 900_000);
    let (_, answer) = net.rpc(members[0], "expire_all", params).await;
    for element in answer["swarm"].as_object().unwrap().values() {
        assert_eq!(element["updated"], json!([]));
    }
}

#[tokio::test]
async fn times_and_signatures_have_their_statuses_and_texts() {
    let net = Net::start().await;
    let account = Account::new();
    let member = net.members(account.id())[0];
    let stranger = net.strangers(account.id())[0];
    for (method, bad_time, status, text) in [
        (
            "delete_all",
            START_MS - 60_001,
            406,
            "delete_all timestamp too far from current time",
        ),
        (
            "delete_all",
            START_MS + 60_001,
            406,
            "delete_all timestamp too far from current time",
        ),
        (
            "delete_before",
            START_MS + 60_001,
            401,
            "delete_before timestamp too far in the future",
        ),
        (
            "expire_all",
            START_MS - 60_001,
            406,
            "expire_all timestamp should be >= current time",
        ),
    ] {
        let late = request(&account, method, ZERO, bad_time);
        assert_eq!(net.rpc(stranger, method, late.clone()).await.0, 421);
        assert_eq!(net.rpc(member, method, late).await, (status, json!(text)));
    }
    for (method, time) in [
        ("delete_all", "timestamp"),
        ("delete_before", "before"),
        ("expire_all", "expiry"),
    ] {
        let good = request(&account, method, ZERO, START_MS);
        // The string for all and the one for namespace 0 differ.
        let other = with(good.clone(), "namespace", json!("all"));
        let failed = json!(format!("{method} signature verification failed"));
        assert_eq!(net.rpc(member, method, other).await, (401, failed.clone()));
        let keyless = without(good.clone(), "pubkey_ed25519");
        assert_eq!(net.rpc(member, method, keyless).await, (401, failed));
        for bad in [
            without(good.clone(), "signature"),
            with(good.clone(), "namespace", json!("some")),
            // A time in seconds, long ago.
            with(good.clone(), time, json!(999_999_999)),
            with(good.clone(), time, json!(START_MS.to_string())),
            without(good.clone(), time),
        ] {
            let (status, answer) = net.rpc(member, method, bad.clone()).await;
            assert_eq!(status, 400, "{method} {bad} {answer}");
        }
        assert_eq!(net.rpc(member, method, good).await.0, 200);
    }
}
