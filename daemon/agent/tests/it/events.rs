//! Streams of the event log: nothing missed, nothing twice.

use std::sync::Arc;
use std::time::Duration;

use sessiond::events::{Cursor, Hub, Start, StreamEnd, Subscription};
use sessiond::store::events::{NewEvent, append};
use sessiond::sync::signal::{Signal, What};
use sessiond_proto::v1::event::State;
use sessiond_proto::v1::subscribe_response::Item;

use crate::common::{Rig, rig};

const DEADLINE: Duration = Duration::from_secs(30);

async fn write(rig: &Rig, count: usize) {
    rig.context
        .db
        .writer()
        .call(move |connection| {
            Box::pin(async move {
                let events = vec![NewEvent::account_changed(&["display_name"]); count];
                append(connection, &events, 1).await
            })
        })
        .await
        .unwrap();
}

async fn next(stream: &mut Subscription) -> Result<Item, StreamEnd> {
    let response = tokio::time::timeout(DEADLINE, stream.recv())
        .await
        .unwrap()
        .unwrap()?;
    Ok(response.item.unwrap())
}

async fn seqs(stream: &mut Subscription, count: usize) -> Vec<i64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        match next(stream).await.unwrap() {
            Item::Event(event) => seqs.push(Cursor::decode(&event.cursor).unwrap().seq),
            Item::Ready(_) => {}
        }
    }
    seqs
}

#[tokio::test]
async fn streams_of_every_pace_see_every_event_once() {
    let rig = rig().await;
    let (hub, _task) = Hub::spawn(rig.context.clone()).await.unwrap();
    write(&rig, 450).await;
    let mut all = hub
        .subscribe(String::new(), Start::Oldest, false)
        .await
        .unwrap();
    let mut tail = hub
        .subscribe(String::new(), Start::Newest, false)
        .await
        .unwrap();
    let mut lazy = hub
        .subscribe(String::new(), Start::Newest, false)
        .await
        .unwrap();
    assert!(matches!(next(&mut tail).await, Ok(Item::Ready(_))));
    // More than a live stream may fall behind by; `lazy` reads nothing meanwhile.
    for _ in 0..30 {
        write(&rig, 100).await;
    }
    assert_eq!(seqs(&mut all, 3_450).await, (1..=3_450).collect::<Vec<_>>());
    assert_eq!(
        seqs(&mut tail, 3_000).await,
        (451..=3_450).collect::<Vec<_>>()
    );
    assert_eq!(
        seqs(&mut lazy, 3_000).await,
        (451..=3_450).collect::<Vec<_>>()
    );
    let mut replay = hub
        .subscribe(String::new(), Start::Oldest, true)
        .await
        .unwrap();
    assert_eq!(seqs(&mut replay, 3_450).await.len(), 3_450);
    assert!(
        tokio::time::timeout(DEADLINE, replay.recv())
            .await
            .unwrap()
            .is_none()
    );
}

/// The log comes back without anything being written.
#[cfg(debug_assertions)]
#[tokio::test]
async fn what_could_not_be_read_is_read_a_little_later() {
    use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

    let rig = crate::common::plain_rig().await;
    let (hub, _task) = Hub::spawn(rig.context.clone()).await.unwrap();
    let mut live = hub
        .subscribe(String::new(), Start::Newest, false)
        .await
        .unwrap();
    write(&rig, 1).await;
    assert_eq!(seqs(&mut live, 1).await, [1]);
    let hide = "PRAGMA legacy_alter_table = ON; ALTER TABLE event RENAME TO away";
    rig.run(format!(
        "INSERT INTO event (created_ms, kind, conversation, message, fields)
             SELECT created_ms, kind, conversation, message, fields FROM event; {hide}"
    ))
    .await;
    // It has been looked for by then.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let path = sessiond::store::AccountDb::path(rig.dir.path(), "account");
    let options = SqliteConnectOptions::new().filename(path);
    let mut other = options.connect().await.unwrap();
    let show = "PRAGMA legacy_alter_table = ON; ALTER TABLE away RENAME TO event";
    sqlx::raw_sql(show).execute(&mut other).await.unwrap();
    assert_eq!(seqs(&mut live, 1).await, [2]);
}

#[tokio::test]
async fn a_cursor_the_log_does_not_know_is_refused() {
    let rig = rig().await;
    let (hub, _task) = Hub::spawn(rig.context.clone()).await.unwrap();
    write(&rig, 10).await;
    let log_id = rig.context.db.meta().log_id;
    let start = |log_id, seq| Start::After(Cursor { log_id, seq });
    let refused = |start| {
        let hub = Arc::clone(&hub);
        async move { hub.subscribe(String::new(), start, false).await.err() }
    };
    assert!(matches!(
        refused(start([0; 8], 3)).await,
        Some(StreamEnd::LogReplaced)
    ));
    assert!(matches!(
        refused(start(log_id, 11)).await,
        Some(StreamEnd::LogReplaced)
    ));
    assert!(refused(start(log_id, 10)).await.is_none());
    rig.execute("DELETE FROM event WHERE seq <= 4").await;
    assert!(matches!(
        refused(start(log_id, 3)).await,
        Some(StreamEnd::CursorExpired)
    ));
    assert!(refused(start(log_id, 4)).await.is_none());
}

#[tokio::test]
async fn a_second_stream_under_one_name_ends_the_first() {
    let rig = rig().await;
    let (hub, _task) = Hub::spawn(rig.context.clone()).await.unwrap();
    let subscribe = || hub.subscribe("ui".into(), Start::Acknowledged, false);
    let mut first = subscribe().await.unwrap();
    assert!(next(&mut first).await.is_ok());
    let mut second = subscribe().await.unwrap();
    assert!(matches!(
        next(&mut first).await,
        Err(StreamEnd::SubscriberReplaced)
    ));
    assert!(next(&mut second).await.is_ok());
    write(&rig, 1).await;
    assert_eq!(seqs(&mut second, 1).await, [1]);
}

#[tokio::test]
async fn signals_reach_live_streams_and_no_replay() {
    let rig = rig().await;
    let (hub, _task) = Hub::spawn(rig.context.clone()).await.unwrap();
    let mut live = hub
        .subscribe(String::new(), Start::Newest, false)
        .await
        .unwrap();
    assert!(matches!(next(&mut live).await, Ok(Item::Ready(_))));
    rig.context.signals.raise(Signal {
        conversation: "c".into(),
        author: "05aa".into(),
        sent_ms: 1,
        what: What::Typing(true),
    });
    let Item::Event(event) = next(&mut live).await.unwrap() else {
        panic!("no event");
    };
    assert!(event.transient && event.cursor.is_empty());
    assert!(matches!(event.state, Some(State::Typing(typing)) if typing.typing));
    // The place in the log is not lost over it.
    write(&rig, 2).await;
    assert_eq!(seqs(&mut live, 2).await, [1, 2]);
    let mut replay = hub
        .subscribe(String::new(), Start::Oldest, true)
        .await
        .unwrap();
    assert_eq!(seqs(&mut replay, 2).await, [1, 2]);
    assert!(replay.recv().await.is_none());
}
