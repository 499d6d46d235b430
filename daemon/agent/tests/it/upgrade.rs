//! A database of an earlier version goes on.

use session_protocol::storage::Namespace;
use sessiond::store::received::{self, Place};
use sqlx::{Connection as _, SqliteConnection};

/// What version 1 of the schema held becomes what version 2 makes of the same messages.
#[tokio::test]
async fn version_1_becomes_version_2() {
    let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    for script in [
        include_str!("../../migrations/account/0001_initial.sql"),
        "INSERT INTO conversation (id, public_id, kind, peer, display_name, display_name_ms,
             last_activity_ms, unread, created_ms)
         VALUES (1, 'c1', 1, '05aa', 'A', 1, 9, 3, 1), (2, 'c2', 1, '05bb', '', 0, 9, 1, 1);
         INSERT INTO message (receive_seq, public_id, conversation, author, outgoing, sent_ms, received_ms,
             order_ms, kind, body, send_state, sync_state, read, expiry_type, expiry_timer_s, wire_version)
         VALUES (1, 'm1', 1, '05aa', 0, 100, 200, 100, 'TEXT', 'a', 1, 1, 0, 2, 60, 1),
                (2, 'm2', 1, '05me', 1, 150, 200, 150, 'TEXT', 'b', 2, 2, 1, 1, 60, 1),
                (3, 'm3', 1, '05aa', 0, 160, 200, 160, 'TEXT', 'c', 1, 1, 0, 1, 60, 1),
                (4, 'm4', 2, '05bb', 0, 170, 200, 170, 'TEXT', 'd', 1, 1, 0, 0, 0, 1);
         INSERT INTO outbox (id, message, purpose, owner, namespace, content, sent_ms, ttl_ms, created_ms, waiting)
         VALUES (5, 2, 1, '05aa', 0, x'01', 150, 1, 1, 0), (6, 2, 2, '05me', 0, x'02', 150, 1, 1, 1);",
        include_str!("../../migrations/account/0002_kinds.sql"),
    ] {
        sqlx::raw_sql(script).execute(&mut db).await.unwrap();
    }
    let conversations: Vec<(i64, bool, bool, i64, i64)> = sqlx::query_as(
        "SELECT id, approved, approved_me, last_read_ms, unread FROM conversation ORDER BY id",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    assert_eq!(
        conversations,
        [(1, true, true, 150, 1), (2, false, true, 0, 1)]
    );
    let deadlines: Vec<Option<i64>> =
        sqlx::query_scalar("SELECT expires_at FROM message ORDER BY receive_seq")
            .fetch_all(&mut db)
            .await
            .unwrap();
    assert_eq!(deadlines, [Some(60_100), Some(60_150), None, None]);
    let items: Vec<(i64, i64, Option<i64>)> =
        sqlx::query_as("SELECT id, conversation, follows FROM outbox ORDER BY id")
            .fetch_all(&mut db)
            .await
            .unwrap();
    assert_eq!(items, [(5, 1, None), (6, 1, Some(5))]);
}

/// What was dealt with before tombstones named their place by number stays dealt with.
#[tokio::test]
async fn tombstones_keep_their_places() {
    let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    for script in [
        include_str!("../../migrations/account/0001_initial.sql"),
        "INSERT INTO tombstone VALUES ('05aa', 0, 'x', 7), ('05aa', -10, 'x', 8), ('05bb', 0, 'y', 9);",
        include_str!("../../migrations/account/0007_places.sql"),
    ] {
        sqlx::raw_sql(script).execute(&mut db).await.unwrap();
    }
    let mut found = Vec::new();
    for (swarm, namespace) in [("05aa", 0), ("05aa", -10), ("05bb", 0)] {
        let place = Place {
            swarm: swarm.into(),
            namespace: Namespace(namespace),
        };
        let known = received::known(&mut db, &place, &["x", "y"]).await.unwrap();
        found.push(known.into_iter().collect::<Vec<_>>());
    }
    assert_eq!(found, [["x"], ["x"], ["y"]]);
    received::prune(&mut db, 8).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM tombstone")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(left, 2);
}
