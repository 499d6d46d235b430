//! Messages that disappear are gone at their deadline, and their conversation says so.

use sessiond::store::entries::{NewMessage, add};
use sessiond::store::{conversations, messages};
use sessiond::sync::expiry;

use crate::common::{Rig, keys, rig};

/// Adds messages of a peer with these seconds to live, as if sent now; 0 stays.
async fn add_all(rig: &Rig, seconds: &'static [i64]) {
    let now_ms = rig.context.now_ms();
    let own = rig.context.account_id();
    rig.context
        .db
        .writer()
        .call(move |connection| {
            Box::pin(async move {
                let peer = keys(2).account_id().to_string();
                let peers = std::slice::from_ref(&peer);
                let row = conversations::ensure(&mut *connection, &own, peers, now_ms)
                    .await?
                    .remove(0);
                let mut edit = conversations::Edit::new(row);
                let mut rows = Vec::new();
                for (number, seconds) in (0_i64..).zip(seconds) {
                    rows.push(NewMessage {
                        public_id: format!("m{number}"),
                        conversation: edit.row.id,
                        author: peer.clone(),
                        sent_ms: now_ms - 100_000 + number,
                        kind: messages::kind::TEXT.into(),
                        body: Some(format!("text {number}")),
                        send_state: messages::NONE,
                        sync_state: messages::NONE,
                        expiry: (if *seconds == 0 { 0 } else { 2 }, *seconds),
                        expiry_start: (*seconds != 0)
                            .then_some((now_ms - 100_000, messages::cause::SENT)),
                        counts: true,
                        ..NewMessage::default()
                    });
                    edit.added(now_ms - 100_000 + number, true, false);
                }
                add(&mut *connection, &rows, now_ms).await?;
                conversations::save(connection, vec![edit], now_ms).await
            })
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_sweep_takes_what_is_due_and_nothing_else() {
    let rig = rig().await;
    add_all(&rig, &[50, 0, 3600, 99]).await;
    assert_eq!(rig.one::<i64>("SELECT unread FROM conversation").await, 4);
    expiry::sweep(&rig.context).await.unwrap();
    assert_eq!(
        rig.all("SELECT public_id FROM message ORDER BY public_id")
            .await,
        ["m1", "m2"]
    );
    assert_eq!(rig.one::<i64>("SELECT unread FROM conversation").await, 2);
    assert_eq!(
        rig.one::<i64>("SELECT last_message FROM conversation")
            .await,
        3
    );
    assert_eq!(
        rig.all("SELECT message FROM event WHERE kind = 3 ORDER BY message")
            .await,
        ["m0", "m3"]
    );
}

#[tokio::test]
async fn the_task_wakes_for_a_deadline_that_comes_with_a_commit() {
    let rig = rig().await;
    let task = tokio::spawn(expiry::run(rig.context.clone()));
    // Nothing is due for an hour when the task starts; then something is due in a second.
    add_all(&rig, &[3600]).await;
    add_all(&rig, &[]).await;
    rig.execute("UPDATE message SET expires_at = received_ms + 500")
        .await;
    let mut committed = rig.context.db.committed();
    let deadline = std::time::Duration::from_secs(60);
    tokio::time::timeout(deadline, async {
        while rig.one::<i64>("SELECT count(*) FROM message").await > 0 {
            committed.changed().await.unwrap();
        }
    })
    .await
    .unwrap();
    task.abort();
}

/// Deadlines that are far off cost nothing: the task looks once for every commit and once when something is due, and
/// what is due goes within a second (asserted with ten times that).
#[tokio::test]
async fn a_hundred_thousand_deadlines_are_one_timer() {
    let rig = rig().await;
    add_all(&rig, &[0]).await;
    rig.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
         INSERT INTO message (public_id, conversation, author, outgoing, sent_ms, received_ms, order_ms, kind,
             send_state, sync_state, wire_version, expiry_type, expiry_timer_s, expiry_start_ms, expires_at)
         SELECT 'x' || i, conversation, author, 0, i, i, i, 'TEXT', 1, 1, 1, 2, 86400, received_ms,
             received_ms + 86400000 + i FROM n, message WHERE public_id = 'm0'",
    )
    .await;
    let mut committed = rig.context.db.committed();
    let looks = || rig.context.progress.expiry_looks();
    let task = tokio::spawn(expiry::run(rig.context.clone()));
    while looks() == 0 {
        tokio::task::yield_now().await;
    }
    let due_ms = rig.context.now_ms() + 2_000;
    rig.context
        .db
        .writer()
        .call(move |connection| {
            Box::pin(async move {
                sqlx::query("UPDATE message SET expires_at = ? WHERE public_id = 'x50000'")
                    .bind(due_ms)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
        .unwrap();
    let gone = "SELECT count(*) FROM message WHERE public_id = 'x50000'";
    let went = async {
        while rig.one::<i64>(gone).await > 0 {
            committed.changed().await.unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), went)
        .await
        .unwrap();
    let late_ms = rig.context.now_ms() - due_ms;
    assert!((0..10_000).contains(&late_ms), "{late_ms} ms late");
    assert_eq!(
        rig.one::<i64>("SELECT count(*) FROM message").await,
        100_000
    );
    // The start, the commit that brought the deadline, its end, the sweep's own commit; and one more, if two of these did
    // not fall together.
    assert!(looks() <= 5, "{} looks", looks());
    task.abort();
    rig.close().await;
}
