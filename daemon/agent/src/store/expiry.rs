//! What disappears and when: the next deadline, and removing what has passed its own.
//!
//! A message goes with everything that hangs on it (attachments, reactions, its call, what waits in the outbox); only
//! the tombstone of its hash stays, so that it does not come back. Facts: messages.md 7.5, design.md promise 3.

use std::collections::HashMap;

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::StoreError;
use super::conversations::{self, Edit};
use super::events::{self, NewEvent};

/// When the next message disappears, ms; `None` when none will.
pub async fn next(connection: &mut SqliteConnection) -> Result<Option<i64>, StoreError> {
    Ok(
        sqlx::query_scalar("SELECT min(expires_at) FROM message WHERE expires_at IS NOT NULL")
            .fetch_one(connection)
            .await?,
    )
}

/// Removes messages whose deadline has passed, at most `limit`, with events. Returns how many went.
pub async fn sweep(
    connection: &mut SqliteConnection,
    now_ms: i64,
    limit: i64,
) -> Result<usize, StoreError> {
    let rows = sqlx::query(
        "SELECT m.receive_seq, m.public_id, c.public_id, c.id
         FROM message m JOIN conversation c ON c.id = m.conversation
         WHERE m.expires_at <= ? ORDER BY m.expires_at LIMIT ?",
    )
    .bind(now_ms)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let mut log = Vec::with_capacity(rows.len());
    let mut seqs = Vec::with_capacity(rows.len());
    let mut numbers = HashMap::new();
    for row in &rows {
        seqs.push(row.try_get::<i64, _>(0)?);
        let (message, conversation): (String, String) = (row.try_get(1)?, row.try_get(2)?);
        log.push(NewEvent::message_removed(&conversation, &message));
        numbers.insert(row.try_get::<i64, _>(3)?, ());
    }
    events::append(&mut *connection, &log, now_ms).await?;
    remove(&mut *connection, &seqs).await?;
    let numbers: Vec<i64> = numbers.into_keys().collect();
    let edits = conversations::by_numbers(&mut *connection, &numbers)
        .await?
        .into_iter()
        .map(|row| {
            let mut edit = Edit::new(row);
            edit.removed();
            edit
        })
        .collect();
    conversations::save(connection, edits, now_ms).await?;
    Ok(rows.len())
}

/// Removes messages with all that hangs on them.
pub async fn remove(connection: &mut SqliteConnection, seqs: &[i64]) -> Result<(), StoreError> {
    if seqs.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM message WHERE receive_seq IN (");
    let mut list = query.separated(", ");
    for seq in seqs {
        list.push_bind(*seq);
    }
    query.push(")");
    query.build().execute(connection).await?;
    Ok(())
}
