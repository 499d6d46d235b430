//! Copies in the own swarm that shall go, because their message was deleted: later devices never see them then.
//!
//! Facts: messages.md 6.6. What the swarm has dropped by itself needs no deletion any more, so nothing waits for longer
//! than the swarm keeps messages.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::StoreError;
use super::list::push_list;
use super::received::INBOX_MS;

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
    Ok(
        sqlx::query_scalar("SELECT min(next_attempt_ms) FROM swarm_deletion")
            .fetch_one(connection)
            .await?,
    )
}

/// These are gone.
pub async fn done(connection: &mut SqliteConnection, hashes: &[String]) -> Result<(), StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM swarm_deletion WHERE hash IN (");
    push_list(&mut query, hashes);
    query.build().execute(connection).await?;
    Ok(())
}

/// Puts these off, and forgets those that the swarm itself has dropped by a time that is certain, ms.
pub async fn postpone(
    connection: &mut SqliteConnection,
    hashes: &[String],
    attempts: i64,
    next_attempt_ms: i64,
    certain_ms: i64,
) -> Result<(), StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new("UPDATE swarm_deletion SET attempts = ");
    query
        .push_bind(attempts)
        .push(", next_attempt_ms = ")
        .push_bind(next_attempt_ms)
        .push(" WHERE hash IN (");
    push_list(&mut query, hashes);
    query.build().execute(&mut *connection).await?;
    sqlx::query("DELETE FROM swarm_deletion WHERE created_ms < ?")
        .bind(certain_ms.saturating_sub(INBOX_MS))
        .execute(connection)
        .await?;
    Ok(())
}
