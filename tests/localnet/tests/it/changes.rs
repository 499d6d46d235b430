//! `delete` and `expire`, and several requests in a `batch`.

use serde_json::{Value, json};
use session_protocol::storage::signed::{self, ExpireMode};

use crate::support::{Account, Net, START_MS, assert_signed, with, without};

const DAY: u64 = 86_400_000;

async fn stored(net: &Net, account: &Account, data: &[u8], ttl: u64) -> String {
    let member = net.members(account.id())[0];
    let (status, answer) = net
        .rpc(member, "store", account.store(data, START_MS, ttl))
        .await;
    assert_eq!(status, 200, "{answer}");
    answer["hash"].as_str().unwrap().to_owned()
}

fn delete(account: &Account, hashes: &[String]) -> Value {
    account.sign(json!({ "messages": hashes }), &signed::delete(hashes))
}

fn expire(account: &Account, mode: ExpireMode, expiries: &[u64], hashes: &[String]) -> Value {
    let expiry = match expiries {
        [single] => json!(single),
        several => json!(several),
    };
    let params = json!({"messages": hashes, "expiry": expiry});
    let params = match mode {
        ExpireMode::Set => params,
        mode => with(params, mode.signed_form(), json!(true)),
    };
    account.sign(params, &signed::expire(mode, expiries, hashes))
}

#[tokio::test]
async fn delete_removes_everywhere_and_is_signed_by_everyone() {
    let net = Net::start().await;
    let account = Account::new();
    let members = net.members(account.id());
    let first = stored(&net, &account, b"first", 60_000).await;
    let second = stored(&net, &account, b"second", 60_000).await;
    let unknown = "A".repeat(43);
    let asked = [second.clone(), unknown.clone(), first.clone()];
    let mut sorted = [first, second];
    sorted.sort_unstable();

    let (status, answer) = net
        .rpc(members[1], "delete", delete(&account, &asked))
        .await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["swarm"].as_object().unwrap().len(), members.len());
    for element in answer["swarm"].as_object().unwrap().values() {
        assert_eq!(element["deleted"], json!(sorted));
    }
    assert_signed(&net, &answer, |_| {
        signed::node_delete(&account.id(), &asked, &sorted)
    });
    for index in members.iter().copied() {
        let (_, held) = net
            .rpc(index, "retrieve", account.retrieve(0, START_MS))
            .await;
        assert_eq!(held["messages"], json!([]));
    }

    // Nothing left: only `required` makes that an error, with the same body.
    let again = delete(&account, &asked);
    assert_eq!(net.rpc(members[0], "delete", again.clone()).await.0, 200);
    let required = with(again, "required", json!(true));
    let (status, answer) = net.rpc(members[0], "delete", required).await;
    assert_eq!(status, 404);
    assert_eq!(answer["swarm"].as_object().unwrap().len(), members.len());
}

#[tokio::test]
async fn delete_is_for_the_owner_and_for_well_formed_requests() {
    let net = Net::start().await;
    let (account, other) = (Account::new(), Account::new());
    let member = net.members(account.id())[0];
    let hash = [stored(&net, &account, b"mine", 60_000).await];
    let good = delete(&account, &hash);
    let forged = with(
        delete(&other, &hash),
        "pubkey",
        json!(account.id().to_string()),
    );
    let failed = json!("delete_msgs signature verification failed");
    assert_eq!(net.rpc(member, "delete", forged).await, (401, failed));
    for bad in [
        without(good.clone(), "signature"),
        without(good.clone(), "messages"),
        with(good.clone(), "messages", json!([])),
        with(good.clone(), "messages", json!(["short"])),
        with(good.clone(), "messages", json!({})),
        with(good.clone(), "required", json!(1)),
    ] {
        assert_eq!(net.rpc(member, "delete", bad.clone()).await.0, 400, "{bad}");
    }
    let stranger = net.strangers(account.id())[0];
    assert_eq!(net.rpc(stranger, "delete", good.clone()).await.0, 421);
    // One value may stand for a list of one.
    let single = with(good, "messages", json!(hash[0]));
    let (status, answer) = net.rpc(member, "delete", single).await;
    assert_eq!(status, 200);
    let own = &answer["swarm"][hex::encode(net.node(member).ed25519)];
    assert_eq!(own["deleted"], json!(hash));
}

#[tokio::test]
async fn expire_sets_shortens_and_extends() {
    let net = Net::start().await;
    let account = Account::new();
    let member = net.members(account.id())[0];
    let own = hex::encode(net.node(member).ed25519);
    let hash = stored(&net, &account, b"first", 60_000).await;
    let other = stored(&net, &account, b"second", 200_000).await;
    let mut hashes = [hash.clone(), other.clone()];
    let asked = hashes.clone();
    hashes.sort_unstable();
    let at = |ms: u64| START_MS + ms;

    let run = async |mode, expiries: &[u64]| {
        let (status, answer) = net
            .rpc(member, "expire", expire(&account, mode, expiries, &asked))
            .await;
        assert_eq!(status, 200, "{answer}");
        assert_signed(&net, &answer, |element| {
            let expiry = &element["expiry"];
            let applied = match expiry.as_array() {
                Some(many) => many.iter().map(|one| one.as_u64().unwrap()).collect(),
                None => vec![expiry.as_u64().unwrap()],
            };
            let updated: Vec<String> = serde_json::from_value(element["updated"].clone()).unwrap();
            let unchanged = element.get("unchanged").and_then(Value::as_object);
            let unchanged: Vec<(String, u64)> = unchanged
                .into_iter()
                .flatten()
                .map(|(hash, expiry)| (hash.clone(), expiry.as_u64().unwrap()))
                .collect();
            signed::node_expire(&account.id(), &applied, &asked, &updated, &unchanged)
        });
        answer["swarm"][&own].clone()
    };

    let extended = run(ExpireMode::Extend, &[at(100_000)]).await;
    assert_eq!(extended["updated"], json!([hash]));
    assert_eq!(extended["unchanged"], json!({ &other: at(200_000) }));
    assert_eq!(extended["expiry"], json!(at(100_000)));
    let shortened = run(ExpireMode::Shorten, &[at(150_000)]).await;
    assert_eq!(shortened["updated"], json!([other]));
    assert_eq!(shortened["unchanged"], json!({ &hash: at(100_000) }));
    // Neither flag: everything moves, but no further than 30 days from now.
    let set = run(ExpireMode::Set, &[at(40 * DAY)]).await;
    assert_eq!(set["updated"], json!(hashes));
    assert_eq!(set["expiry"], json!(at(30 * DAY)));
    assert!(set.get("unchanged").is_none());
    // One for each, answered in the order of `updated`.
    let each = run(ExpireMode::Set, &[at(1_000_000), at(2_000_000)]).await;
    let expected = if hashes == asked {
        [1_000_000, 2_000_000]
    } else {
        [2_000_000, 1_000_000]
    };
    assert_eq!(each["expiry"], json!(expected.map(at)));
    let (_, held) = net
        .rpc(member, "retrieve", account.retrieve(0, START_MS))
        .await;
    assert_eq!(held["messages"][0]["expiration"], json!(at(1_000_000)));
}

#[tokio::test]
async fn expire_refuses_with_the_documented_statuses() {
    let net = Net::start().await;
    let account = Account::new();
    let member = net.members(account.id())[0];
    let hash = [stored(&net, &account, b"first", 60_000).await];
    let at = |ms: u64| expire(&account, ExpireMode::Set, &[ms], &hash);
    let past = json!("expire: timestamp should be >= current time");
    assert_eq!(
        net.rpc(member, "expire", at(START_MS - 60_001)).await,
        (401, past)
    );
    assert_eq!(
        net.rpc(member, "expire", at(START_MS - 60_000)).await.0,
        200
    );
    let flag = with(at(START_MS), "extend", json!(true));
    assert_eq!(net.rpc(member, "expire", flag.clone()).await.0, 401);
    for bad in [
        with(flag, "shorten", json!(true)),
        with(at(START_MS), "expiry", json!([START_MS, START_MS])),
        with(at(START_MS), "expiry", json!(START_MS.to_string())),
        with(at(START_MS), "extend", json!(1)),
        without(at(START_MS), "expiry"),
        without(at(START_MS), "signature"),
    ] {
        assert_eq!(net.rpc(member, "expire", bad.clone()).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_batch_answers_each_part_in_order() {
    let net = Net::start().await;
    let account = Account::new();
    let elsewhere = (0..).map(|_| Account::new());
    let other = elsewhere
        .take(1000)
        .find(|other| net.swarm_of(other.id()) != net.swarm_of(account.id()))
        .unwrap();
    let member = net.members(account.id())[0];
    let request = |method: &str, params: Value| json!({"method": method, "params": params});
    let requests = json!([
        request("store", account.store(b"x", START_MS, 60_000)),
        request("info", json!({})),
        request("store", other.store(b"x", START_MS, 60_000)),
        request("store", account.store(b"x", START_MS, 1)),
        request("retrieve", json!({"pubkey": account.id().to_string()})),
        request(
            "get_snodes_for_pubkey",
            json!({"pubKey": other.id().to_string()})
        ),
    ]);
    let (status, answer) = net
        .rpc(member, "batch", json!({ "requests": requests }))
        .await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.get("t").is_none());
    let results = answer["results"].as_array().unwrap();
    let codes: Vec<u64> = results
        .iter()
        .map(|part| part["code"].as_u64().unwrap())
        .collect();
    assert_eq!(codes, [200, 200, 421, 403, 401, 200]);
    assert!(results[0]["body"]["swarm"].is_object());
    assert_eq!(results[1]["body"]["version"], json!([2, 8, 0]));
    assert!(results[2]["body"]["snodes"].is_array());
    assert_eq!(
        results[3]["body"],
        json!("Provided expiry/TTL is not valid.")
    );
    assert_eq!(results[2]["body"]["snodes"], results[5]["body"]["snodes"]);
}

#[tokio::test]
async fn a_batch_with_one_unreadable_part_runs_nothing() {
    let net = Net::start().await;
    let account = Account::new();
    let member = net.members(account.id())[0];
    let store = json!({"method": "store", "params": account.store(b"x", START_MS, 60_000)});
    let info = json!({"method": "info", "params": {}});
    let batch = json!({"method": "batch", "params": {"requests": [info]}});
    for requests in [
        json!([]),
        json!(vec![info.clone(); 21]),
        json!({}),
        json!([store, {"method": "unheard_of", "params": {}}]),
        json!([store, {"method": "store", "params": {}}]),
        json!([store, {"params": {}}]),
        json!([store, batch]),
        json!([store, 5]),
    ] {
        let (status, body) = net
            .rpc(member, "batch", json!({ "requests": requests }))
            .await;
        assert!(
            status == 400 && body.is_string(),
            "{requests}: {status} {body}"
        );
    }
    let (_, held) = net
        .rpc(member, "retrieve", account.retrieve(0, START_MS))
        .await;
    assert_eq!(held["messages"], json!([]));
    let full = json!({ "requests": vec![info; 20] });
    assert_eq!(net.rpc(member, "batch", full).await.0, 200);
}
