//! Finding messages, and the way of one: over the API and the command line, on both sides.

use serde_json::Value;
use sessiond_client::v1;
use v1::search_messages_request::Conversation as Within;
use v1::{MessageCopy, MessageStep, MessageStepKind as Kind};

use crate::harness::{Agent, Localnet, bodies, body, ctl, run, until};

fn search(query: &str) -> v1::SearchMessagesRequest {
    v1::SearchMessagesRequest {
        query: query.to_owned(),
        ..Default::default()
    }
}

async fn found(agent: &Agent, request: v1::SearchMessagesRequest) -> Vec<String> {
    let answer = agent.client().search_messages(request).await.unwrap();
    let messages = answer
        .results
        .iter()
        .map(|hit| hit.message.clone().unwrap());
    bodies(&messages.collect::<Vec<_>>())
        .into_iter()
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn both_sides_find_what_was_said() {
    let net = Localnet::start().await;
    let (a, a_id) = Agent::with_account(&net, "Alice").await;
    let (b, b_id) = Agent::with_account(&net, "Bob").await;
    let said = [
        "Morgen um acht im Café Zürich?",
        "да, в кафе на углу",
        "我们明天在北京见面吧",
        "เจอกันที่ตลาดน้ำ",
    ];
    for text in said {
        a.send_stored(&b_id, text).await;
    }
    a.send_stored(&a_id, "Zürich: buy tickets").await;
    b.until_messages(&a_id, said.len()).await;
    for (query, number) in [("cafe zurich", 0), ("КАФЕ", 1), ("北京", 2), ("ตลาด", 3)]
    {
        assert_eq!(found(&b, search(query)).await, [said[number]], "{query}");
        assert_eq!(found(&a, search(query)).await, [said[number]], "{query}");
    }
    // Newest first, over all conversations or in one, page by page.
    let both = ["Zürich: buy tickets", said[0]];
    assert_eq!(found(&a, search("zür")).await, both);
    let within = v1::SearchMessagesRequest {
        conversation: Some(Within::AccountId(b_id.clone())),
        ..search("zürich")
    };
    assert_eq!(found(&a, within).await, [said[0]]);
    let one = |page_token| v1::SearchMessagesRequest {
        page_size: 1,
        page_token,
        ..search("zürich")
    };
    let first = a
        .client()
        .search_messages(one(String::new()))
        .await
        .unwrap();
    let second = one(first.next_page_token.clone());
    let second = a.client().search_messages(second).await.unwrap();
    assert_eq!((first.results.len(), second.results.len()), (1, 1));
    assert_eq!(second.next_page_token, "");
    let hit = &second.results[0];
    assert_eq!((hit.snippet.as_str(), hit.cut_before), (said[0], false));
    let at = hit.matches[0];
    assert_eq!((at.start, at.length), (23, 6));

    // The same on the command line.
    let output = run(
        ctl(&b.socket(), &["search", "cafe", "zurich", "--in", &a_id]),
        b"",
    )
    .await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.out.contains(said[0]), "{output:?}");
    let output = run(ctl(&b.socket(), &["--json", "search", "北京"]), b"").await;
    let hit: Value = serde_json::from_str(output.out.trim()).unwrap();
    assert_eq!(hit["message"]["text"]["body"], said[2]);
}

fn kinds(steps: &[MessageStep]) -> Vec<(Kind, MessageCopy)> {
    steps
        .iter()
        .map(|step| (step.kind(), step.copy()))
        .collect()
}

#[tokio::test]
async fn the_way_of_a_message_is_known_on_both_sides() {
    let net = Localnet::start().await;
    let (a, a_id) = Agent::with_account(&net, "Alice").await;
    let (b, b_id) = Agent::with_account(&net, "Bob").await;
    let sent = a.send_stored(&b_id, "where did you go").await;
    a.until_synced(&sent.id).await;
    let steps = a.explain(&sent.id).await;
    let none = MessageCopy::Unspecified;
    let (to, own) = (MessageCopy::Recipient, MessageCopy::OwnDevices);
    assert_eq!(
        kinds(&steps),
        [
            (Kind::Accepted, none),
            (Kind::Sealed, to),
            (Kind::Sealed, own),
            (Kind::Stored, to),
            (Kind::Stored, own)
        ]
    );
    let stored = &steps[3];
    assert_eq!(
        (steps[1].wire_version, steps[1].hash.clone()),
        (1, stored.hash.clone())
    );
    assert!(!stored.confirmed_by.is_empty() && stored.asked as usize >= stored.confirmed_by.len());
    assert!(stored.confirmed_by.contains(&stored.node_key), "{stored:?}");
    assert!(!stored.path_id.is_empty() && stored.expire_time.is_some());

    let received = b.until_messages(&a_id, 1).await.pop().unwrap();
    assert_eq!(body(&received), "where did you go");
    let steps = b.explain(&received.id).await;
    assert_eq!(
        kinds(&steps),
        [(Kind::ReachedSwarm, none), (Kind::Received, none)]
    );
    assert_eq!(steps[0].hash, stored.hash);
    assert!(steps[0].time.unwrap().seconds >= sent.send_time.unwrap().seconds);
    assert_eq!((steps[1].node_key.len(), steps[1].wire_version), (64, 1));
    assert!(!steps[1].path_id.is_empty());

    let output = run(ctl(&a.socket(), &["explain", &sent.id]), b"").await;
    assert_eq!(output.code, Some(0), "{output:?}");
    for word in ["accepted", "sealed", "own copy", "signed by"] {
        assert!(output.out.contains(word), "{word}: {output:?}");
    }
}

/// Failed attempts are told with their reasons, equal ones once.
#[tokio::test]
async fn failed_attempts_are_told() {
    let net = Localnet::start().await;
    let (a, a_id) = Agent::with_account(&net, "Alice").await;
    drop(net);
    let sent = a.send(&a_id, "into the dark").await;
    let failed = until("a failed attempt", async || {
        let steps = a.explain(&sent.id).await;
        let mut failed = steps.into_iter();
        failed.find(|step| step.kind() == Kind::AttemptFailed)
    })
    .await;
    assert_eq!(failed.copy(), MessageCopy::Recipient);
    assert!(!failed.reason.is_empty() && failed.count >= 1, "{failed:?}");
}
