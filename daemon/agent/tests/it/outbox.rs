//! What waits for a swarm goes out in its order, and what failed is tried again after a pause.

use std::time::Duration;

use session_localnet::Faults;
use sessiond::sync::{deletions, outbox, shorten};

use crate::common::rig;
use crate::local::{Home, stranger, until};

/// More than one request carries; members that are slow would let later ones pass.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_one_swarm_is_stored_in_its_order() {
    let home = Home::start().await;
    let other = stranger(&home);
    home.rig
        .run(
            "CREATE TABLE stored (place INTEGER PRIMARY KEY, item INTEGER NOT NULL);
             CREATE TRIGGER note AFTER DELETE ON outbox WHEN old.purpose = 1
                 BEGIN INSERT INTO stored (item) VALUES (old.id); END",
        )
        .await;
    for number in 0..130 {
        home.write(other, &number.to_string()).await;
    }
    let members = home.members(other);
    for (member, ms) in members.into_iter().zip([900, 0, 300, 600, 0]) {
        let slow = Faults::delay(ms);
        home.control.set_node(member, slow).await.unwrap();
    }
    tokio::spawn(outbox::run(home.rig.context.clone()));
    home.until_sent().await;
    let stored = home.rig.all("SELECT CAST(item AS TEXT) FROM stored").await;
    let stored: Vec<i64> = stored.iter().map(|item| item.parse().unwrap()).collect();
    assert_eq!(stored.len(), 130);
    assert!(stored.is_sorted(), "{stored:?}");
    home.close().await;
}

/// Freezes a swarm and writes to it, until an attempt has failed.
async fn fail_once(home: &Home, to: u8) {
    home.swarm_has(to, Faults::frozen()).await;
    home.write(to, "second").await;
    until("an attempt has failed", async || {
        let failed = "SELECT coalesce(max(attempts), 0) FROM outbox";
        home.rig.one::<i64>(failed).await > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_begins_after_the_attempt() {
    let home = Home::timed(|times| {
        times.request = Duration::from_secs(1);
        times.call = Duration::from_secs(3);
        times.store = Duration::from_secs(3);
        times.resend_min = Duration::from_secs(2);
        times.resend_max = Duration::from_secs(2);
    })
    .await;
    let other = stranger(&home);
    // The path is there before the nodes freeze.
    tokio::spawn(outbox::run(home.rig.context.clone()));
    home.write(other, "first").await;
    home.until_sent().await;
    fail_once(&home, other).await;
    let now_ms = home.rig.context.now_ms();
    let next_ms: i64 = home
        .rig
        .one("SELECT next_attempt_ms FROM outbox WHERE attempts > 0")
        .await;
    assert!(next_ms - now_ms > 1_000, "{}", next_ms - now_ms);
    home.close().await;
}

/// What is sent again is what was sealed: other bytes would be another message to the swarm.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_tried_again_are_the_same_bytes() {
    let home = Home::timed(|times| {
        times.request = Duration::from_secs(1);
        times.call = Duration::from_secs(2);
        times.store = Duration::from_secs(2);
        times.resend_min = Duration::from_millis(500);
        times.resend_max = Duration::from_millis(500);
    })
    .await;
    let other = stranger(&home);
    tokio::spawn(outbox::run(home.rig.context.clone()));
    home.write(other, "first").await;
    home.until_sent().await;
    fail_once(&home, other).await;
    let waits = "SELECT hash FROM outbox WHERE purpose = 1";
    let sealed = home.rig.one::<String>(waits).await;
    home.swarm_has(other, Faults::default()).await;
    home.until_sent().await;
    let stored = "SELECT hash FROM delivery WHERE purpose = 1 AND step = 4";
    let stored = home.rig.all(stored).await;
    assert!(stored.contains(&sealed), "{sealed} is not among {stored:?}");
    home.close().await;
}

/// Without a path nothing is tried and nothing is put off.
#[tokio::test]
async fn deletions_and_shortenings_wait_for_a_path() {
    let rig = rig().await;
    let now_ms = rig.context.now_ms();
    let expires_ms = now_ms + 3_600_000;
    rig.run(format!(
        "INSERT INTO swarm_deletion (hash, created_ms) VALUES ('a', {now_ms});
         INSERT INTO swarm_expiry (hash, expires_ms) VALUES ('b', {expires_ms})"
    ))
    .await;
    let deleting = tokio::spawn(deletions::run(rig.context.clone()));
    let shortening = tokio::spawn(shorten::run(rig.context.clone()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    for sql in [
        "SELECT attempts + next_attempt_ms FROM swarm_deletion",
        "SELECT attempts + next_attempt_ms FROM swarm_expiry",
    ] {
        assert_eq!(rig.one::<i64>(sql).await, 0, "{sql}");
    }
    rig.stop.send_replace(true);
    deleting.await.unwrap();
    shortening.await.unwrap();
    rig.close().await;
}
