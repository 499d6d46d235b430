//! What a swarm member may send, and what becomes of it.

use session_network::StoredMessage;
use session_protocol::storage::message_hash;
use session_protocol::{AccountKeys, content, envelope};
use sessiond::random::os_rng;
use sessiond::sync::receive::{self, Unit};

use crate::common::{Rig, keys, rig};

const NOW: u64 = 1_790_000_000_000;

fn stored(data: Vec<u8>) -> StoredMessage {
    let hash = message_hash(
        &keys(1).account_id().into(),
        receive::own_inbox(&keys(1).account_id()).namespace,
        &data,
    );
    StoredMessage {
        hash,
        timestamp: NOW,
        expiration: NOW * 2,
        data: Some(data),
    }
}

fn sealed(from: &AccountKeys, to: &AccountKeys, at: u64, content: &[u8]) -> Vec<u8> {
    envelope::seal(&mut os_rng(), from, &to.account_id(), at, content).unwrap()
}

/// A text from an account to ours.
fn text(from: u8, at: u64, body: &str) -> StoredMessage {
    let content = content::text(body, at, None, Some("Sender"));
    stored(sealed(&keys(from), &keys(1), at, &content))
}

async fn apply(rig: &Rig, node: u8, messages: Vec<StoredMessage>) -> u32 {
    let place = receive::own_inbox(&rig.context.account_id());
    receive::apply(
        &rig.context,
        Unit {
            node: [node; 32],
            path: "path".to_owned(),
            place,
            messages,
        },
    )
    .await
    .unwrap()
}

async fn bodies(rig: &Rig) -> Vec<String> {
    rig.all("SELECT body FROM message ORDER BY order_ms, receive_seq")
        .await
}

async fn count_of(rig: &Rig, name: &str) -> i64 {
    sqlx::query_scalar("SELECT coalesce((SELECT value FROM counter WHERE name = ?), 0)")
        .bind(name.to_owned())
        .fetch_one(rig.context.db.readers())
        .await
        .unwrap()
}

#[tokio::test]
async fn what_comes_again_is_applied_once() {
    let rig = rig().await;
    let unit = vec![
        text(2, NOW, "one"),
        text(2, NOW + 1, "two"),
        text(3, NOW + 2, "three"),
    ];
    assert_eq!(apply(&rig, 7, unit.clone()).await, 3);
    // The same from another member, in another order, with something new.
    let mut again: Vec<_> = unit.iter().rev().cloned().collect();
    again.push(text(2, NOW + 3, "four"));
    assert_eq!(apply(&rig, 8, again).await, 1);
    assert_eq!(apply(&rig, 7, unit).await, 0);
    // The same message sealed anew has another hash and is still the same message.
    assert_eq!(apply(&rig, 7, vec![text(2, NOW, "one")]).await, 0);
    assert_eq!(bodies(&rig).await, ["one", "two", "three", "four"]);
    assert_eq!(rig.one::<i64>("SELECT count(*) FROM swarm_cursor").await, 2);
    assert_eq!(
        rig.one::<i64>("SELECT unread FROM conversation ORDER BY unread DESC")
            .await,
        3
    );
    assert_eq!(
        rig.one::<String>("SELECT display_name FROM conversation")
            .await,
        "Sender"
    );
    assert_eq!(
        rig.one::<i64>("SELECT count(*) FROM event WHERE kind = 1")
            .await,
        4
    );
}

#[tokio::test]
async fn own_copies_are_outgoing_and_foreign_ones_are_refused() {
    let rig = rig().await;
    let (own, friend) = (keys(1), keys(2).account_id());
    let copy = content::text("from my phone", NOW, Some(&friend), None);
    let note = content::text("note", NOW + 1, Some(&own.account_id()), None);
    let unit = vec![
        stored(sealed(&own, &own, NOW, &copy)),
        stored(sealed(&own, &own, NOW + 1, &note)),
        // Somebody else claims that we wrote to a friend.
        stored(sealed(
            &keys(3),
            &own,
            NOW + 2,
            &content::text("forged", NOW + 2, Some(&friend), None),
        )),
    ];
    assert_eq!(apply(&rig, 7, unit).await, 2);
    assert_eq!(bodies(&rig).await, ["from my phone", "note"]);
    assert_eq!(rig.one::<i64>("SELECT min(outgoing) FROM message").await, 1);
    assert_eq!(
        rig.one::<i64>("SELECT sum(unread) FROM conversation").await,
        0
    );
    assert_eq!(
        rig.one::<i64>("SELECT count(*) FROM conversation WHERE kind = 2")
            .await,
        1
    );
    assert_eq!(count_of(&rig, "FOREIGN_SYNC_TARGET").await, 1);
}

#[tokio::test]
async fn hostile_messages_cost_nothing_but_themselves() {
    let rig = rig().await;
    let own = keys(1);
    let good = sealed(&keys(2), &own, NOW, &content::text("cut", NOW, None, None));
    let mut flipped = good.clone();
    if let Some(byte) = flipped.iter_mut().rev().nth(80) {
        *byte ^= 1;
    }
    let other_time = content::text("lies about its time", NOW, None, None);
    let unit = vec![
        stored(vec![0xff; 300]),
        stored(good[..good.len() / 2].to_vec()),
        stored(flipped),
        stored(sealed(
            &keys(2),
            &keys(4),
            NOW,
            &content::text("for another", NOW, None, None),
        )),
        stored(vec![0, 2, 1, 2, 3]),
        stored(sealed(&keys(2), &own, NOW + 9, &other_time)),
        stored(sealed(&keys(2), &own, NOW, b"\xff\xff no protobuf")),
        StoredMessage {
            data: None,
            ..stored(b"no base64".to_vec())
        },
        text(2, NOW + 20, "still here"),
    ];
    assert_eq!(apply(&rig, 7, unit).await, 1);
    assert_eq!(bodies(&rig).await, ["still here"]);
    assert!(count_of(&rig, "NOT_FOR_US").await >= 1);
    assert_eq!(count_of(&rig, "NOT_BASE64").await, 1);
    let kept = rig
        .all("SELECT reason FROM quarantine ORDER BY reason")
        .await;
    assert_eq!(kept, ["BAD_CONTENT", "BAD_CONTENT", "UNSUPPORTED_VERSION"]);
    assert_eq!(rig.one::<i64>("SELECT count(*) FROM tombstone").await, 9);
    // Nothing of it comes back.
    assert_eq!(apply(&rig, 7, vec![stored(vec![0, 2, 1, 2, 3])]).await, 0);
    assert_eq!(rig.one::<i64>("SELECT count(*) FROM quarantine").await, 3);
}

#[tokio::test]
async fn a_message_that_cannot_be_stored_is_put_aside_alone() {
    let rig = rig().await;
    rig.execute(
        "CREATE TRIGGER poison BEFORE INSERT ON message WHEN new.body = 'poison'
         BEGIN SELECT raise(ABORT, 'poisoned'); END",
    )
    .await;
    let unit = (0..9)
        .map(|number| text(2, NOW + number, if number == 5 { "poison" } else { "fine" }))
        .collect::<Vec<_>>();
    let last = unit.last().unwrap().hash.clone();
    assert_eq!(apply(&rig, 7, unit).await, 8);
    assert_eq!(bodies(&rig).await.len(), 8);
    assert_eq!(
        rig.all("SELECT reason FROM quarantine").await,
        ["CANNOT_BE_STORED"]
    );
    assert_eq!(rig.all("SELECT hash FROM swarm_cursor").await, [last]);
}
