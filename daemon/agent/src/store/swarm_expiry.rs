//! Copies in the own swarm that shall live no longer than the message here: it was read, and its timer runs.
//!
//! The own devices learn from the copy that it was read, and when. Only copies in the own swarm are ever named here.
//! Facts: messages.md 7.6.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::StoreError;
use super::swarm_queue::SwarmQueue;

const QUEUE: SwarmQueue = SwarmQueue("swarm_expiry");

/// Attempts made while a path works, after which a copy keeps the life it has (messages.md 7.6).
pub const ATTEMPTS: i64 = 3;

/// Lets copies, named by their hashes, go at a time, ms.
pub async fn add(
    connection: &mut SqliteConnection,
    copies: &[(String, i64)],
) -> Result<(), StoreError> {
    for some in copies.chunks(5_000) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO swarm_expiry (hash, expires_ms) ");
        query.push_values(some, |mut values, (hash, expires_ms)| {
            values.push_bind(hash.clone()).push_bind(*expires_ms);
        });
        query.push(
            " ON CONFLICT (hash) DO UPDATE SET expires_ms = min(expires_ms, excluded.expires_ms)",
        );
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Copies that are due and share one time: that time, their hashes, and the attempts made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// When they shall go, ms.
    pub expires_ms: i64,
    /// Their names.
    pub hashes: Vec<String>,
    /// Attempts made so far, the most of any.
    pub attempts: i64,
}

/// What is due next, at most `limit` hashes of one time.
pub async fn due(
    connection: &mut SqliteConnection,
    now_ms: i64,
    limit: i64,
) -> Result<Option<Due>, StoreError> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT hash, expires_ms, attempts FROM swarm_expiry WHERE next_attempt_ms <= ?
         ORDER BY next_attempt_ms LIMIT ?",
    )
    .bind(now_ms)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let Some((_, expires_ms, _)) = rows.first() else {
        return Ok(None);
    };
    let expires_ms = *expires_ms;
    let mut due = Due {
        expires_ms,
        hashes: Vec::new(),
        attempts: 0,
    };
    for (hash, at, attempts) in rows {
        if at == expires_ms {
            due.hashes.push(hash);
            due.attempts = due.attempts.max(attempts);
        }
    }
    Ok(Some(due))
}

/// When the next one is due, ms.
pub async fn next_due(connection: &mut SqliteConnection) -> Result<Option<i64>, StoreError> {
    QUEUE.next_due(connection).await
}

/// These are done, or given up.
pub async fn done(connection: &mut SqliteConnection, hashes: &[String]) -> Result<(), StoreError> {
    QUEUE.done(connection, hashes).await
}

/// Puts these off.
pub async fn postpone(
    connection: &mut SqliteConnection,
    hashes: &[String],
    attempts: i64,
    next_attempt_ms: i64,
) -> Result<(), StoreError> {
    QUEUE
        .postpone(connection, hashes, attempts, next_attempt_ms)
        .await
}
