//! `get_expiries`, `sequence` and `ifelse`.

use serde_json::{Value, json};
use session_protocol::storage::signed;

use crate::support::{Account, Net, START_MS, with, without};

fn request(method: &str, params: Value) -> Value {
    json!({"method": method, "params": params})
}

fn codes(answer: &Value) -> Vec<u64> {
    let results = answer["results"].as_array().unwrap();
    results
        .iter()
        .map(|part| part["code"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn get_expiries_tells_what_this_node_holds() {
    let net = Net::start().await;
    let (account, other) = (Account::new(), Account::new());
    let member = net.members(account.id())[0];
    let mut hashes = Vec::new();
    for (data, ttl) in [(b"a", 60_000), (b"b", 90_000)] {
        let params = account.store(data, START_MS, ttl);
        let (_, answer) = net.rpc(member, "store", params).await;
        hashes.push(answer["hash"].as_str().unwrap().to_owned());
    }
    let entry = net.members(other.id())[0];
    let params = other.store(b"x", START_MS, 60_000);
    let (_, answer) = net.rpc(entry, "store", params).await;
    let foreign = answer["hash"].as_str().unwrap().to_owned();

    let asked = [
        hashes[1].clone(),
        foreign,
        hashes[0].clone(),
        "A".repeat(43),
    ];
    let ask = |timestamp: u64| {
        let params = json!({"messages": asked, "timestamp": timestamp});
        account.sign(params, &signed::get_expiries(timestamp, &asked))
    };
    let (status, answer) = net.rpc(member, "get_expiries", ask(START_MS)).await;
    assert_eq!(status, 200, "{answer}");
    // No clock and no hard fork here.
    let expected = json!({"expiries": {
        &hashes[0]: START_MS + 60_000, &hashes[1]: START_MS + 90_000,
    }});
    assert_eq!(answer, expected);

    let late = json!("get_expiries timestamp too far from current time");
    let refused = net.rpc(member, "get_expiries", ask(START_MS - 60_001));
    assert_eq!(refused.await, (406, late));
    let failed = json!("get_expiries signature verification failed");
    let fewer = with(ask(START_MS), "messages", json!(hashes));
    assert_eq!(net.rpc(member, "get_expiries", fewer).await, (401, failed));
    for name in ["signature", "timestamp", "messages"] {
        let bad = without(ask(START_MS), name);
        assert_eq!(net.rpc(member, "get_expiries", bad).await.0, 400, "{name}");
    }
    let stranger = net.strangers(account.id())[0];
    let (status, _) = net.rpc(stranger, "get_expiries", ask(START_MS)).await;
    assert_eq!(status, 421);
}

#[tokio::test]
async fn a_sequence_stops_at_the_first_failure() {
    let net = Net::start().await;
    let account = Account::new();
    let member = net.members(account.id())[0];
    let store = |data: &[u8], ttl| request("store", account.store(data, START_MS, ttl));
    let retrieve = request("retrieve", account.retrieve(0, START_MS));
    // Each sees what those before it did.
    let requests = json!([
        retrieve,
        store(b"1", 60_000),
        retrieve,
        store(b"2", 1),
        store(b"3", 60_000)
    ]);
    let (status, answer) = net
        .rpc(member, "sequence", json!({ "requests": requests }))
        .await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(codes(&answer), [200, 200, 200, 403]);
    let count = |part: usize| {
        let messages = answer["results"][part]["body"]["messages"].as_array();
        messages.unwrap().len()
    };
    assert_eq!((count(0), count(2)), (0, 1));
    assert_eq!(
        answer["results"][3]["body"],
        json!("Provided expiry/TTL is not valid.")
    );
    let (_, held) = net
        .rpc(member, "retrieve", account.retrieve(0, START_MS))
        .await;
    assert_eq!(held["messages"].as_array().unwrap().len(), 1);

    for requests in [
        json!([]),
        json!(vec![retrieve.clone(); 21]),
        json!([
            store(b"4", 60_000),
            request("sequence", json!({"requests": [retrieve]}))
        ]),
        json!([store(b"4", 60_000), request("ifelse", json!({"if": {}}))]),
        json!([store(b"4", 60_000), request("unheard_of", json!({}))]),
    ] {
        let params = json!({ "requests": requests });
        let (status, answer) = net.rpc(member, "sequence", params).await;
        assert!(status == 400 && answer.is_string(), "{requests} {answer}");
    }
    let (_, held) = net
        .rpc(member, "retrieve", account.retrieve(0, START_MS))
        .await;
    assert_eq!(held["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn ifelse_runs_the_branch_that_the_node_fits() {
    let net = Net::start().await;
    let info = request("info", json!({}));
    let batch = request("batch", json!({"requests": [info, info]}));
    let ask = async |conditions: Value| {
        let params = json!({"if": conditions, "then": info, "else": batch});
        let (status, answer) = net.rpc(0, "ifelse", params).await;
        assert_eq!(status, 200, "{answer}");
        assert!(answer.get("t").is_none());
        answer
    };
    for (conditions, holds) in [
        (json!({}), true),
        (json!({"hf_at_least": [19, 6]}), true),
        (json!({"hf_at_least": [19, 7]}), false),
        (json!({"hf_at_least": [20, 0]}), false),
        (json!({"hf_before": [19, 6]}), false),
        (json!({"hf_before": [20, 0]}), true),
        (json!({"v_at_least": [2, 8, 0]}), true),
        (json!({"v_at_least": [2, 8, 1]}), false),
        (json!({"v_before": [2, 8, 0]}), false),
        (json!({"height_at_least": 1}), true),
        (json!({"height_before": 1}), false),
        // All of them must hold.
        (
            json!({"hf_at_least": [19, 6], "v_before": [2, 8, 0]}),
            false,
        ),
    ] {
        let answer = ask(conditions.clone()).await;
        assert_eq!(answer["condition"], json!(holds), "{conditions}");
        assert_eq!(answer["hf"], json!([19, 6]));
        assert_eq!(answer["v"], json!([2, 8, 0]));
        assert!(answer["height"].as_u64().unwrap() > 1);
        assert_eq!(answer["result"]["code"], json!(200));
        let body = &answer["result"]["body"];
        assert_eq!(body.get("version").is_some(), holds);
        if !holds {
            assert_eq!(codes(body), [200, 200]);
        }
    }
    // A branch may be missing, or another ifelse.
    let (_, answer) = net.rpc(0, "ifelse", json!({"if": {}, "else": info})).await;
    assert_eq!(answer["condition"], json!(true));
    assert!(answer.get("result").is_none());
    let inner = request("ifelse", json!({"if": {"height_before": 1}, "else": info}));
    let (_, answer) = net.rpc(0, "ifelse", json!({"if": {}, "then": inner})).await;
    let result = &answer["result"]["body"]["result"];
    assert_eq!(result["body"]["version"], json!([2, 8, 0]), "{answer}");

    for bad in [
        json!({"then": info}),
        json!({"if": 5, "then": info}),
        json!({"if": {"hf_at_least": [19]}, "then": info}),
        json!({"if": {"v_before": [1, 2]}, "then": info}),
        json!({"if": {"height_before": "5"}, "then": info}),
        json!({"if": {"height_before": 1}, "then": request("unheard_of", json!({}))}),
    ] {
        let (status, answer) = net.rpc(0, "ifelse", bad.clone()).await;
        assert!(status == 400 && answer.is_string(), "{bad} {answer}");
    }
}
