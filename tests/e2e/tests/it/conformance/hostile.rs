//! Content that means ill, or none: refused with a counted reason, and what comes after it arrives.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sessiond_client::v1;

use super::{Stranger, encode};
use crate::harness::{Agent, Localnet, body, until};

/// Bodies of a conversation as soon as the last one is there.
async fn until_last(agent: &Agent, with: &str, last: &str) -> Vec<v1::Message> {
    until("the last message is shown", async || {
        let messages = agent.messages(with).await;
        let there = messages.iter().any(|message| {
            matches!(&message.content, Some(v1::message::Content::Text(text)) if text.body == last)
        });
        there.then_some(messages)
    })
    .await
}

/// Each with the reason that counts it; without one it is kept, perhaps cut.
fn messages(at: u64, own: &str) -> Vec<(Option<&'static str>, Value)> {
    let damaged = |name: &str| json!({"kind": "text", "body": "never shown", "damage": name});
    let mut all = vec![
        (
            None,
            json!({"kind": "text", "body": "first", "profile": {"name": "Zoë", "updated": 5}}),
        ),
        (None, json!({"kind": "text", "body": "Привет, мир 🌍 漢字"})),
        // Bits that nobody knows do not matter; too long a text is cut.
        (None, json!({"kind": "text", "body": "flagged", "flags": 4})),
        (None, json!({"kind": "text", "body": "é".repeat(10_050)})),
        // No message of this protocol.
        (Some("NO_BODY"), damaged("random")),
        (Some("NO_BODY"), damaged("cut")),
        (Some("NO_BODY"), damaged("no_body")),
        (Some("NO_BODY"), damaged("bomb")),
        (Some("UNSUPPORTED_VERSION"), damaged("version_2")),
        (Some("BAD_ENVELOPE"), damaged("pro_length")),
        (Some("BAD_ENVELOPE"), damaged("no_time")),
        (Some("BAD_ENVELOPE"), damaged("bad_source")),
        (Some("TOO_SHORT"), damaged("short_cipher")),
        // Not for us, or not by whom it says.
        (Some("NOT_FOR_US"), damaged("cipher_bit")),
        (Some("NOT_FOR_US"), damaged("wrong_box")),
        (Some("BAD_SIGNATURE"), damaged("bad_signature")),
        (Some("BAD_SIGNATURE"), damaged("forged_sender")),
        (Some("BAD_SIGNATURE"), damaged("other_recipient")),
        (Some("BAD_CONTENT"), damaged("other_time")),
        (Some("BAD_CONTENT"), damaged("deep")),
        (
            Some("BAD_CONTENT"),
            json!({"kind": "raw", "content": "0aff"}),
        ),
        // Authentic, and still not to be believed.
        (
            Some("FOREIGN_SYNC_TARGET"),
            json!({"kind": "text", "body": "forged copy", "sync_target": own}),
        ),
        (
            Some("FOREIGN_UNSEND"),
            json!({"kind": "unsend", "target": at, "author": own}),
        ),
        (
            Some("FOREIGN_REACTION"),
            json!({"kind": "reaction", "id": at, "author": format!("05{}", "0b".repeat(32)), "emoji": "👍"}),
        ),
        (
            Some("BAD_EMOJI"),
            json!({"kind": "reaction", "id": at, "author": own, "emoji": "two"}),
        ),
        (
            Some("BAD_FLAGS"),
            json!({"kind": "text", "body": "x", "flags": 3}),
        ),
        (
            Some("NOTHING_TO_SHOW"),
            json!({"kind": "text", "body": "  "}),
        ),
        (Some("NO_KIND"), json!({"kind": "nothing"})),
        (
            Some("NOT_APPROVED"),
            json!({"kind": "request_response", "approved": false}),
        ),
        (
            Some("BAD_CALL"),
            json!({"kind": "call", "type": 1, "uuid": "6b86b273-ff34-4ce1-9d6b-804eff5a3f57"}),
        ),
        (
            Some("BAD_CALL"),
            json!({"kind": "call", "type": 6, "uuid": "no"}),
        ),
        (
            Some("MISSING_FIELD"),
            json!({"kind": "call", "type": 9, "uuid": "no"}),
        ),
        (
            Some("RECEIPTS_OFF"),
            json!({"kind": "read_receipt", "timestamps": [at]}),
        ),
        (
            Some("OBSOLETE"),
            json!({"kind": "read_receipt", "timestamps": [at], "type": 0}),
        ),
        // A second kind in one Content: the first counts, and this one would be a text.
        (
            Some("FURTHER_KINDS"),
            json!({"kind": "read_receipt_and_text", "timestamps": [5], "body": "never shown"}),
        ),
        // Its time was over before it came.
        (
            Some("EXPIRED"),
            json!({"kind": "text", "body": "gone", "expiration": [2, 5]}),
        ),
    ];
    for (time, (_, message)) in (at..).zip(&mut all) {
        message["timestamp"] = time.into();
    }
    if let Some((_, expired)) = all.last_mut() {
        expired["timestamp"] = (at - 60_000).into();
    }
    all
}

#[tokio::test]
#[ignore = "needs PyNaCl: tests/conformance/run"]
async fn conformance_of_what_is_refused() {
    let net = Localnet::start().await;
    let (alice, id) = Agent::with_account(&net, "Alice").await;
    let stranger = Stranger::new(&net, 7);
    let from = stranger.id().to_string();
    let at = stranger.now();
    let (reasons, list): (Vec<_>, Vec<Value>) = messages(at, &id).into_iter().unzip();
    let payloads = encode(&stranger.hex_seed(), &id, &list);
    stranger.store(&id, payloads.clone()).await;
    // All of it a second time: the swarm knows it, and so does the agent.
    stranger.store(&id, payloads).await;
    // Nothing that came before holds up what comes after.
    let last = json!({"kind": "text", "body": "last", "timestamp": at + 1_000});
    stranger.send(&id, std::slice::from_ref(&last)).await;

    let shown = until_last(&alice, &from, "last").await;
    let bodies: Vec<&str> = shown.iter().map(body).collect();
    let long = "é".repeat(10_000);
    let expected = ["first", "Привет, мир 🌍 漢字", "flagged", &long, "last"];
    assert_eq!(bodies, expected);
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    // What is left of the one with two kinds is a receipt, which nobody wants here.
    let receipt = Some("RECEIPTS_OFF");
    for reason in reasons.into_iter().chain([receipt]).flatten() {
        *expected.entry(reason.to_owned()).or_default() += 1;
    }
    let counted: BTreeMap<String, u64> = alice
        .network_status()
        .await
        .refusals
        .into_iter()
        .map(|it| (it.reason, it.count))
        .collect();
    assert_eq!(counted, expected);

    // The same words in another envelope: one author says one thing at one time.
    let again = json!({"kind": "text", "body": "first", "timestamp": at});
    let end = json!({"kind": "text", "body": "end", "timestamp": at + 2_000});
    stranger.send(&id, &[again, end]).await;
    let shown = until_last(&alice, &from, "end").await;
    assert_eq!(shown.len(), 6);
    let conversations = alice.client().list_conversations(Default::default());
    let conversations = conversations.await.unwrap().conversations;
    assert_eq!(conversations.len(), 1, "{conversations:?}");
    assert_eq!(conversations[0].display_name, "Zoë");
    stranger.network.shutdown().await;
}
