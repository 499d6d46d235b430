//! Copies in the own swarm that shall go, because their message was deleted: later devices never see them then.
//!
//! Facts: messages.md 6.6. What the swarm has dropped by itself needs no deletion any more, so nothing waits for longer
//! than the swarm keeps messages.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::StoreError;
use super::received::INBOX_MS;
use super::swarm_queue::SwarmQueue;

const QUEUE: SwarmQueue = SwarmQueue("swarm_deletion");

/// Lets copies go, named by their hashes.
pub async fn add(
    connection: &mut SqliteConnection,
    hashes: &[String],
    now_ms: i64,
) -> Result<(), StoreError> {
    for some in hashes.chunks(5_000) {
        let mut query =
            QueryBuilder::<Sqlite>::new("INSERT INTO swarm_deletion (hash, created_ms) ");
        query.push_values(some, |mut values, hash| {
            values.push_bind(hash.clone()).push_bind(now_ms);
        });
        query.push(" ON CONFLICT DO NOTHING");
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Copies whose deletion is due, and the attempts made.
pub async fn due(
    connection: &mut SqliteConnection,
    now_ms: i64,
    limit: i64,
) -> Result<Vec<(String, i64)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT hash, attempts FROM swarm_deletion WHERE next_attempt_ms <= ?
         ORDER BY next_attempt_ms LIMIT ?",
    )
    .bind(now_ms)
    .bind(limit)
    .fetch_all(connection)
    .await?)
}

/// When the next deletion is due, ms.
pub async fn next_due(connection: &mut SqliteConnection) -> Result<Option<i64>, StoreError> {
    QUEUE.next_due(connection).await
}

/// These are gone.
pub async fn done(connection: &mut SqliteConnection, hashes: &[String]) -> Result<(), StoreError> {
    QUEUE.done(connection, hashes).await
}

/// Puts these off, and forgets those that the swarm itself has dropped by a time that is certain, ms.
pub async fn postpone(
    connection: &mut SqliteConnection,
    hashes: &[String],
    attempts: i64,
    next_attempt_ms: i64,
    certain_ms: i64,
) -> Result<(), StoreError> {
    QUEUE
        .postpone(&mut *connection, hashes, attempts, next_attempt_ms)
        .await?;
    sqlx::query("DELETE FROM swarm_deletion WHERE created_ms < ?")
        .bind(certain_ms.saturating_sub(INBOX_MS))
        .execute(connection)
        .await?;
    Ok(())
}
