//! The command line against a real agent on a real network: what scripts rely on.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Agent, Localnet, Output, ctl, room, run};

/// Runs `sessionctl` on an agent.
async fn on(agent: &Agent, args: &[&str]) -> Output {
    run(ctl(&agent.socket(), args), b"").await
}

/// Runs it with something on its standard input.
async fn fed(agent: &Agent, args: &[&str], input: &str) -> Output {
    run(ctl(&agent.socket(), args), input.as_bytes()).await
}

/// Runs it with `--json`; every line must be an object.
async fn json(agent: &Agent, args: &[&str]) -> Vec<Value> {
    let mut with = vec!["--json"];
    with.extend(args);
    let output = on(agent, &with).await;
    assert_eq!(output.code, Some(0), "{args:?}: {output:?}");
    objects(&output.out)
}

fn objects(lines: &str) -> Vec<Value> {
    let parse = |line: &str| -> Value {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(value.is_object(), "{line}");
        value
    };
    lines.lines().map(parse).collect()
}

/// It must end with this code, and with `--json` say why in one object on standard error.
async fn refused(agent: &Agent, args: &[&str], code: i32, reason: &str) {
    let plain = on(agent, args).await;
    assert_eq!(plain.code, Some(code), "{args:?}: {plain:?}");
    assert!(!plain.err.is_empty(), "{args:?}");
    let mut with = vec!["--json"];
    with.extend(args);
    let output = on(agent, &with).await;
    assert_eq!(
        (output.code, output.out.as_str()),
        (Some(code), ""),
        "{args:?}: {output:?}"
    );
    let errors = objects(&output.err);
    assert_eq!(errors.len(), 1, "{args:?}: {output:?}");
    assert!(
        output.err.contains(&format!("\"{reason}\"")),
        "{args:?}: {output:?}"
    );
}

fn texts(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["text"]["body"].as_str().unwrap())
        .collect()
}

/// A phrase whose last word is not one of the twelve before it, as it must be.
fn mistyped(phrase: &str) -> String {
    let mut words: Vec<&str> = phrase.split_whitespace().collect();
    let other = ["abbey", "zesty"]
        .into_iter()
        .find(|word| !words.contains(word));
    words[12] = other.unwrap_or("zoom");
    words.join(" ")
}

#[tokio::test]
async fn accounts_and_status() {
    let net = Localnet::start().await;
    let a = Agent::start(&net, "a").await;
    assert_eq!(
        json(&a, &["status"]).await[0]["info"]["state"],
        "DAEMON_STATE_NO_ACCOUNT"
    );
    refused(&a, &["account", "show"], 1, "NO_ACCOUNT").await;
    let created = json(&a, &["account", "create", "--name", "Alice"]).await;
    let id = created[0]["accountId"].as_str().unwrap().to_owned();
    refused(&a, &["account", "create"], 1, "ACCOUNT_EXISTS").await;
    let shown = on(&a, &["account", "show"]).await;
    assert_eq!(shown.code, Some(0));
    assert!(
        shown.out.contains(&id) && shown.out.contains("Alice"),
        "{shown:?}"
    );
    refused(&a, &["account", "phrase"], 2, "USAGE").await;
    let phrase = on(&a, &["account", "phrase", "--yes"]).await;
    assert_eq!(
        (phrase.code, phrase.out.split_whitespace().count()),
        (Some(0), 13)
    );

    let b = Agent::start(&net, "b").await;
    for words in ["not thirteen words".to_owned(), mistyped(&phrase.out)] {
        let bad = fed(&b, &["account", "restore"], &words).await;
        assert_eq!(bad.code, Some(1), "{bad:?}");
        // And says what to do about it.
        assert!(
            bad.err.contains("check the words and their order"),
            "{bad:?}"
        );
    }
    let restored = fed(&b, &["--json", "account", "restore"], &phrase.out).await;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert_eq!(objects(&restored.out)[0]["accountId"], id.as_str());

    a.sync().await;
    let polled = on(&a, &["sync"]).await;
    assert_eq!(polled.code, Some(0), "{polled:?}");
    json(&a, &["sync"]).await;
    let status = &json(&a, &["status"]).await[0];
    assert_eq!(status["info"]["state"], "DAEMON_STATE_READY");
    assert_eq!(status["network"]["state"], "CONNECTION_STATE_CONNECTED");
    assert_eq!(status["account"]["accountId"], id.as_str());
    let paths = json(&a, &["paths"]).await;
    assert!(!paths.is_empty());
    for path in &paths {
        assert_eq!(path["hops"].as_array().unwrap().len(), 3);
    }
    let table = on(&a, &["paths"]).await;
    assert!(table.out.contains("guard"), "{table:?}");
    assert_eq!(on(&a, &["status"]).await.code, Some(0));
}

#[tokio::test]
async fn sending_and_reading() {
    let net = Localnet::start().await;
    let (a, a_id) = Agent::with_account(&net, "Alice").await;
    let (b, b_id) = Agent::with_account(&net, "Bob").await;
    let stored = &json(&a, &["send", &b_id, "one", "--wait", "stored"]).await[0];
    assert_eq!(stored["sendState"], "SEND_STATE_SENT");
    let plain = on(&a, &["send", &b_id, "two", "--wait", "stored"]).await;
    assert_eq!(
        (plain.code, plain.out.lines().count()),
        (Some(0), 1),
        "{plain:?}"
    );
    let piped = fed(
        &a,
        &["send", &b_id, "-", "--wait", "stored"],
        "three\nlines\nhere\n",
    )
    .await;
    assert_eq!(piped.code, Some(0), "{piped:?}");
    let once = ["send", &b_id, "four", "--token", "t", "--wait", "stored"];
    let first = json(&a, &once).await;
    assert_eq!(json(&a, &once).await[0]["id"], first[0]["id"]);
    refused(
        &a,
        &["send", &b_id, "five", "--token", "t"],
        1,
        "CLIENT_TOKEN_REUSED",
    )
    .await;
    refused(&a, &["send", &b_id, &"x".repeat(2_001)], 1, "BODY_TOO_LONG").await;
    refused(&a, &["send", "05nonsense", "x"], 2, "USAGE").await;

    let said = ["one", "two", "three\nlines\nhere", "four"];
    b.until_messages(&a_id, said.len()).await;
    let read = json(&b, &["messages", &a_id]).await;
    assert_eq!(texts(&read), said);
    let last = json(&b, &["messages", &a_id, "--limit", "2"]).await;
    assert_eq!(texts(&last), said[2..]);
    let before = last[0]["id"].as_str().unwrap();
    let older = json(&b, &["messages", &a_id, "--before", before]).await;
    assert_eq!(texts(&older), said[..2]);
    let shown = on(&b, &["messages", &a_id]).await;
    for line in ["one", "two", "three", "lines", "here", "four"] {
        assert!(shown.out.contains(line), "{shown:?}");
    }
    refused(&b, &["messages", &b_id], 1, "CONVERSATION_NOT_FOUND").await;
    refused(&b, &["messages", &a_id, "--limit", "0"], 2, "USAGE").await;

    let list = json(&b, &["conversations"]).await;
    assert_eq!(list.len(), 1);
    assert_eq!(
        (&list[0]["displayName"], &list[0]["unreadCount"]),
        (&"Alice".into(), &4.into())
    );
    let table = on(&b, &["conversations"]).await;
    assert!(table.out.contains("Alice"), "{table:?}");
}

#[tokio::test]
async fn events_as_a_log() {
    let net = Localnet::start().await;
    let (a, id) = Agent::with_account(&net, "a").await;
    let named = ["events", "--as", "script"];
    assert_eq!(
        json(&a, &named).await,
        [Value::Null; 0],
        "a new name starts at the end"
    );
    let one = a.send(&id, "one").await;
    a.until_synced(&one.id).await;
    let all = json(&a, &["events"]).await;
    assert_eq!(all[0]["kind"], "EVENT_KIND_ACCOUNT_CHANGED");
    let cursors: BTreeSet<&str> = all
        .iter()
        .map(|event| event["cursor"].as_str().unwrap())
        .collect();
    assert_eq!(cursors.len(), all.len());
    let after = json(
        &a,
        &["events", "--after", all[0]["cursor"].as_str().unwrap()],
    )
    .await;
    assert_eq!(after, all[1..]);
    // A name goes on where it stood, and gets nothing twice.
    assert_eq!(json(&a, &named).await, all[1..]);
    assert!(json(&a, &named).await.is_empty());
    let two = a.send(&id, "two").await;
    a.until_synced(&two.id).await;
    let news = json(&a, &named).await;
    assert_eq!(news[0]["kind"], "EVENT_KIND_MESSAGE_ADDED");
    assert_eq!(texts(&[news[0]["message"].clone()]), ["two"]);
    let people = on(&a, &["events"]).await;
    assert_eq!(
        people.out.lines().count(),
        all.len() + news.len(),
        "{people:?}"
    );
    refused(&a, &["events", "--after", "nonsense"], 1, "CURSOR_INVALID").await;
    refused(&a, &["events", "--as", "two words"], 2, "USAGE").await;
}

#[tokio::test]
async fn exit_codes() {
    let net = Localnet::start().await;
    let (mut a, id) = Agent::with_account(&net, "a").await;
    assert_eq!(on(&a, &["status"]).await.code, Some(0));
    refused(&a, &["nonsense"], 2, "USAGE").await;
    assert_eq!(on(&a, &["shutdown"]).await.code, Some(0));
    a.until_ended().await;
    refused(&a, &["status"], 3, "NO_SOCKET").await;
    refused(&a, &["send", &id, "x"], 3, "NO_SOCKET").await;
    a.up().await;
    a.kill();
    refused(&a, &["status"], 3, "NOT_LISTENING").await;

    std::fs::write(a.passphrase_file(), "wrong").unwrap();
    a.up().await;
    for args in [
        &["send", &id, "x"][..],
        &["conversations"],
        &["messages", &id],
        &["events"],
        &["sync"],
        &["account", "phrase", "--yes"],
        &["account", "create"],
    ] {
        refused(&a, args, 4, "LOCKED").await;
    }
    // How things stand can be asked for.
    let status = &json(&a, &["status"]).await[0];
    assert_eq!(status["info"]["lockedReason"], "WRONG_PASSPHRASE");

    let elsewhere = room();
    let long = elsewhere.path().join("s".repeat(200));
    let too_long = run(ctl(&long, &["status"]), b"").await;
    assert_eq!(too_long.code, Some(2), "{too_long:?}");
}
