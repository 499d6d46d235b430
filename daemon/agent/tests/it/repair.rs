//! What members of a swarm lack is stored there again: the same bytes, for as long as they would have lived, and nothing
//! that was deleted.

use std::collections::BTreeSet;

use session_localnet::{Faults, Held};
use session_protocol::Identifier;
use session_protocol::storage::request;
use sessiond::actions::delete::{Scope, delete};

use crate::common::{keys, rig};
use crate::local::{Home, stranger, until};

/// What a node holds, by hash.
async fn held(home: &Home, node: usize) -> Vec<Held> {
    let mut held = home.control.held(node).await.unwrap();
    held.sort_by(|one, other| one.hash.cmp(&other.hash));
    held
}

/// Waits until all of these hold the same, which is not nothing; gives it.
async fn until_same(home: &Home, nodes: &[usize]) -> Vec<Held> {
    let mut same = Vec::new();
    until("all members hold the same", async || {
        same = held(home, nodes[0]).await;
        for node in nodes {
            if held(home, *node).await != same {
                return false;
            }
        }
        !same.is_empty()
    })
    .await;
    same
}

/// Sets when the agent looks after its copies next, ms.
async fn look_at(home: &Home, next_ms: i64) {
    let sql = format!("UPDATE stored_copy SET next_ms = {next_ms}");
    home.rig.run(sql).await;
    home.rig.context.copies_kept.notify_one();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_missed_it_gets_later_with_the_same_bytes() {
    let home = Home::start().await;
    let other = stranger(&home);
    home.work();
    for to in [1, other] {
        let members = home.members(to);
        let (poor, rest) = members.split_first().unwrap();
        // Not frozen: such a node stores afterwards what it got meanwhile, with the end that the first attempt gave it.
        home.control
            .set_node(*poor, Faults::refuse())
            .await
            .unwrap();
        home.write(to, &format!("to {to}")).await;
        home.until_sent().await;
        let before = until_same(&home, rest).await;
        assert!(held(&home, *poor).await.len() < before.len());
        home.control.reset().await.unwrap();
        // Bytes and end of life, too.
        assert_eq!(until_same(&home, &members).await, before);
    }
    // Elsewhere nobody lacks anything now, so nothing is kept; own copies are, for as long as they live.
    until("what is complete elsewhere is not kept", async || {
        home.rig
            .all("SELECT owner FROM stored_copy WHERE watched = 0")
            .await
            .is_empty()
    })
    .await;
    let own: i64 = home.rig.one("SELECT count(*) FROM stored_copy").await;
    assert_eq!(own, 2);
    let steps: i64 = home
        .rig
        .one("SELECT count(*) FROM delivery WHERE step = 9")
        .await;
    assert!(steps >= 2);
    home.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_lost_it_gets_again() {
    let home = Home::start().await;
    let members = home.members(1);
    home.work();
    home.write(1, "one").await;
    home.write(1, "two").await;
    home.until_sent().await;
    let before = until_same(&home, &members).await;
    assert_eq!(before.len(), 2);
    for member in &members[..2] {
        home.control.lose_storage(*member).await.unwrap();
    }
    assert_eq!(until_same(&home, &members).await, before);
    home.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_in_the_swarm_stays_deleted() {
    let home = Home::start().await;
    let members = home.members(1);
    home.work();
    home.write(1, "to be deleted").await;
    home.until_sent().await;
    let gone = until_same(&home, &members).await.remove(0).hash;
    home.write(1, "stays").await;
    home.until_sent().await;
    until_same(&home, &members).await;
    // The agent knows that all of them have it.
    until("all members were seen to hold it", async || {
        let seen: i64 = home
            .rig
            .one("SELECT min(length(signed)) / 32 FROM stored_copy")
            .await;
        usize::try_from(seen).is_ok_and(|seen| seen >= members.len())
    })
    .await;
    // A look in the middle of the deletion could not tell it from a loss.
    look_at(&home, i64::MAX).await;
    // Another device deletes it, and one member does not hear of that.
    home.control
        .set_node(members[0], Faults::frozen())
        .await
        .unwrap();
    let context = &home.rig.context;
    let own = Identifier::from(context.account_id());
    let hashes = [gone.clone()];
    until("all but one have deleted it", async || {
        let make = |_| request::delete(&*context.keys, &hashes);
        let asked = context
            .network
            .swarm_request(context.isolation, &own, &make);
        drop(asked.await);
        let mut holders = 0;
        for member in &members[1..] {
            holders += usize::from(home.hashes(*member).await.contains(&gone));
        }
        holders == 0
    })
    .await;
    home.control.reset().await.unwrap();
    look_at(&home, 0).await;
    for _ in 0..3 {
        // What this one loses comes again, and with it would what was deleted.
        home.control.lose_storage(members[4]).await.unwrap();
        until("what stays is there again", async || {
            !home.hashes(members[4]).await.is_empty()
        })
        .await;
    }
    for member in &members[1..] {
        assert!(!home.hashes(*member).await.contains(&gone));
    }
    home.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_here_is_not_stored_again() {
    let home = Home::start().await;
    let members = home.members(1);
    home.work();
    let deleted = home.write(1, "to be deleted").await;
    home.write(1, "stays").await;
    home.until_sent().await;
    let before: BTreeSet<String> = until_same(&home, &members)
        .await
        .into_iter()
        .map(|message| message.hash)
        .collect();
    assert_eq!(before.len(), 2);
    let scope = Scope::Here;
    home.rig
        .act(move |connection, actor| {
            Box::pin(async move { delete(connection, actor, &deleted, scope).await })
        })
        .await
        .unwrap();
    let kept: BTreeSet<String> = home
        .rig
        .all("SELECT hash FROM stored_copy")
        .await
        .into_iter()
        .collect();
    assert_eq!(kept.len(), 1);
    for _ in 0..3 {
        home.control.lose_storage(members[0]).await.unwrap();
        until("what stays is there again", async || {
            !home.hashes(members[0]).await.is_empty()
        })
        .await;
    }
    let again: BTreeSet<String> = home.hashes(members[0]).await.into_iter().collect();
    assert_eq!(again, kept);
    home.close().await;
}

/// Whatever removes a message takes the bytes with it, in the same transaction.
#[tokio::test]
async fn no_bytes_outlive_their_message() {
    for end in [
        "UPDATE message SET deleted = 1",
        "DELETE FROM message",
        "DELETE FROM conversation",
    ] {
        let rig = rig().await;
        let peer = keys(2).account_id();
        rig.act(move |connection, actor| {
            Box::pin(async move {
                let draft = sessiond::actions::send::Draft {
                    body: "soon gone".into(),
                    token: "t".into(),
                    ..Default::default()
                };
                sessiond::actions::send::send(connection, actor, peer, &draft).await
            })
        })
        .await
        .unwrap();
        for (message, kind) in [
            ("(SELECT receive_seq FROM message)", "'TEXT'"),
            ("NULL", "'REACTION'"),
            ("NULL", "'UNSEND'"),
        ] {
            let copy = format!(
                "INSERT INTO stored_copy (message, conversation, purpose, kind, owner, watched, sealed, size,
                                          hash, expiry_ms, signed, missed, turns, next_ms)
                 VALUES ({message}, (SELECT id FROM conversation), 1, {kind}, 'a', 0, x'01', 1, 'h', 9, x'', x'', 0, 0)"
            );
            rig.execute(copy.leak()).await;
        }
        rig.execute(end).await;
        // A deletion that somebody has not got yet speaks of nothing, and is still wanted; unless all is gone.
        let left = rig.all("SELECT kind FROM stored_copy").await;
        let expected: &[&str] = match end {
            "DELETE FROM conversation" => &[],
            _ => &["UNSEND"],
        };
        assert_eq!(left, expected, "{end}");
        rig.close().await;
    }
}
