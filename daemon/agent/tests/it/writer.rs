//! The writer groups, isolates and finishes writes; the database does not open without its key.

use std::time::Duration;

use futures_util::future::join_all;
use sessiond::store::{AccountDb, StoreError};
use sqlx::Connection as _;
use tokio::sync::watch;

use crate::common::rig;

#[tokio::test]
async fn one_failing_write_does_not_disturb_the_others() {
    let rig = rig().await;
    let writer = rig.context.db.writer();
    let writes = (0..60_i64).map(|number| {
        writer.call(move |connection| {
            Box::pin(async move {
                sqlx::query("INSERT INTO counter (name, value) VALUES (?, ?)")
                    .bind(number.to_string())
                    .bind(number)
                    .execute(&mut *connection)
                    .await?;
                if number % 3 == 0 {
                    // Fails after it has already written.
                    return Err(StoreError::TokenReused);
                }
                Ok(number)
            })
        })
    });
    let outcomes = join_all(writes).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.is_ok(), number % 3 != 0, "{number}");
    }
    assert_eq!(rig.one::<i64>("SELECT count(*) FROM counter").await, 40);
    assert_eq!(
        rig.one::<i64>("SELECT count(*) FROM counter WHERE value % 3 = 0")
            .await,
        0
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_nothing() {
    let rig = rig().await;
    let writer = rig.context.db.writer().clone();
    let (entered_sender, entered) = tokio::sync::oneshot::channel();
    let (go, gate) = tokio::sync::oneshot::channel::<()>();
    let caller = tokio::spawn(async move {
        writer
            .call(move |connection| {
                Box::pin(async move {
                    entered_sender.send(()).unwrap();
                    gate.await.unwrap();
                    sqlx::query("INSERT INTO counter (name, value) VALUES ('left', 1)")
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    });
    entered.await.unwrap();
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    go.send(()).unwrap();
    // The next write comes after it.
    rig.execute("INSERT INTO counter (name, value) VALUES ('next', 1)")
        .await;
    assert_eq!(rig.one::<i64>("SELECT count(*) FROM counter").await, 2);
}

/// A sign of life and the agent's own work hold up no unit; a failed write wakes nobody.
#[tokio::test]
async fn only_what_somebody_waits_for_is_demand_and_only_commits_are_told() {
    let rig = rig().await;
    let writer = rig.context.db.writer();
    let mut committed = rig.context.db.committed();
    writer.alive().await;
    let failed = writer.call(|_| Box::pin(async { Err::<(), _>(StoreError::TokenReused) }));
    assert!(failed.await.is_err());
    let three =
        (0..3).map(|_| writer.call(|_| Box::pin(async { Err::<(), _>(StoreError::TokenReused) })));
    assert!(join_all(three).await.iter().all(Result::is_err));
    // Answers may come before it is told.
    writer.alive().await;
    assert!(!committed.has_changed().unwrap());
    rig.execute("INSERT INTO counter (name, value) VALUES ('own', 1)")
        .await;
    writer.alive().await;
    assert!(committed.has_changed().unwrap());
    assert!(!writer.is_in_demand());
    let act = writer.act(|_| Box::pin(async { Ok::<_, StoreError>(()) }));
    act.await.unwrap();
    assert!(writer.is_in_demand());
    rig.stop.send_replace(true);
    committed.mark_unchanged();
    while committed.changed().await.is_ok() {}
    // One that has ended hangs nobody.
    writer.alive().await;
}

#[tokio::test]
async fn only_the_key_opens_the_database_and_only_its_network() {
    let rig = rig().await;
    let path = AccountDb::path(rig.dir.path(), "account");
    let (_sender, stop) = watch::channel(false);
    let wrong = sessiond::vault::DatabaseKey::from_bytes([6; 32]);
    let opened = AccountDb::open(&path, &wrong, "nowhere", stop.clone()).await;
    assert!(matches!(opened, Err(StoreError::WrongKey)));
    let opened = AccountDb::open(&path, &rig.key, "main", stop.clone()).await;
    assert!(matches!(opened, Err(StoreError::OtherNetwork(name)) if name == "nowhere"));
    assert!(
        AccountDb::open(&path, &rig.key, "nowhere", stop)
            .await
            .is_ok()
    );
    // Page one of a plain SQLite file begins with its name.
    assert!(
        !std::fs::read(&path)
            .unwrap()
            .starts_with(b"SQLite format 3")
    );
}

#[tokio::test]
async fn a_writer_at_rest_gives_back_what_it_kept_and_goes_on() {
    let rig = rig().await;
    let writer = rig.context.db.writer();
    let kept = async || {
        let look = writer.call(|connection| {
            Box::pin(async move { Ok::<_, StoreError>(connection.cached_statements_size()) })
        });
        look.await.unwrap()
    };
    writer
        .call(|connection| {
            Box::pin(async move {
                for number in 0..30 {
                    let sql = sqlx::AssertSqlSafe(format!("SELECT {number}"));
                    sqlx::query(sql).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .await
        .unwrap();
    assert!(kept().await >= 30);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    // It answers after it has turned its loop.
    writer.alive().await;
    assert!(kept().await < 10);
    assert_eq!(rig.one::<i64>("SELECT count(*) FROM counter").await, 0);
}
