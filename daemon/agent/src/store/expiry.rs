//! What disappears and when: the next deadline, and removing what has passed its own.
//!
//! A message goes with everything that hangs on it (attachments, reactions, its call, what waits in the outbox for it or
//! about it). What stays keeps it from coming back for one retention window: the tombstone of its hash, and its name
//! ([`super::gone`]), since it may be stored anew under another hash. Facts: messages.md 7.5, 7.6, design.md promise 3.

use std::collections::HashSet;

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::conversations::{self, Edit};
use super::events::{self, NewEvent};
use super::list::push_list;
use super::received::INBOX_MS;
use super::{StoreError, gone, scrub};

/// How long what disappears after reading waits to be read, ms (messages.md 7.6).
pub const UNREAD_MS: i64 = INBOX_MS;

/// When the next message disappears, ms; `None` when none will.
pub async fn next(connection: &mut SqliteConnection) -> Result<Option<i64>, StoreError> {
    let running: Option<i64> =
        sqlx::query_scalar("SELECT min(expires_at) FROM message WHERE expires_at IS NOT NULL")
            .fetch_one(&mut *connection)
            .await?;
    let unread: Option<i64> = sqlx::query_scalar(
        "SELECT min(order_ms) FROM message
         WHERE expiry_type = 1 AND expiry_start_ms IS NULL AND outgoing = 0",
    )
    .fetch_one(&mut *connection)
    .await?;
    let unread = unread.map(|at| at.saturating_add(UNREAD_MS));
    let put_aside: Option<i64> =
        sqlx::query_scalar("SELECT min(expires_ms) FROM quarantine WHERE expires_ms IS NOT NULL")
            .fetch_one(connection)
            .await?;
    Ok([running, unread, put_aside].into_iter().flatten().min())
}

/// Removes messages whose deadline has passed, and those that waited for too long to be read, at most `limit` of each,
/// with events; and what lies in the quarantine past its time. Returns how many went.
pub async fn sweep(
    connection: &mut SqliteConnection,
    now_ms: i64,
    limit: i64,
) -> Result<usize, StoreError> {
    let mut seqs: Vec<i64> = sqlx::query_scalar(
        "SELECT receive_seq FROM message WHERE expires_at <= ? ORDER BY expires_at LIMIT ?",
    )
    .bind(now_ms)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    let unread: Vec<i64> = sqlx::query_scalar(
        "SELECT receive_seq FROM message
         WHERE expiry_type = 1 AND expiry_start_ms IS NULL AND outgoing = 0 AND order_ms <= ?
         ORDER BY order_ms LIMIT ?",
    )
    .bind(now_ms.saturating_sub(UNREAD_MS))
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    seqs.extend(unread);
    let put_aside = sqlx::query("DELETE FROM quarantine WHERE expires_ms <= ?")
        .bind(now_ms)
        .execute(&mut *connection)
        .await?
        .rows_affected();
    if put_aside > 0 {
        scrub::removed(&mut *connection).await?;
    }
    expire(connection, &seqs, now_ms).await?;
    Ok(seqs.len() + usize::try_from(put_aside).unwrap_or(usize::MAX))
}

/// Lets these messages go because their time is over, with events and exact counts.
pub async fn expire(
    connection: &mut SqliteConnection,
    seqs: &[i64],
    now_ms: i64,
) -> Result<(), StoreError> {
    if seqs.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT m.public_id, c.public_id, c.id
         FROM message m JOIN conversation c ON c.id = m.conversation WHERE m.receive_seq IN (",
    );
    push_list(&mut query, seqs);
    query.push(" ORDER BY m.receive_seq");
    let rows = query.build().fetch_all(&mut *connection).await?;
    let mut log = Vec::with_capacity(rows.len());
    let mut numbers = HashSet::new();
    for row in &rows {
        let (message, conversation): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        log.push(NewEvent::message_expired(&conversation, &message));
        numbers.insert(row.try_get::<i64, _>(2)?);
    }
    events::append(&mut *connection, &log, now_ms).await?;
    remove(&mut *connection, seqs, now_ms).await?;
    let numbers: Vec<i64> = numbers.into_iter().collect();
    let edits = conversations::by_numbers(&mut *connection, &numbers)
        .await?
        .into_iter()
        .map(|row| {
            let mut edit = Edit::new(row);
            edit.removed();
            edit
        })
        .collect();
    conversations::save(connection, edits, now_ms).await
}

/// Removes messages with all that hangs on them; their names stay known.
pub async fn remove(
    connection: &mut SqliteConnection,
    seqs: &[i64],
    now_ms: i64,
) -> Result<(), StoreError> {
    if seqs.is_empty() {
        return Ok(());
    }
    gone::remember(&mut *connection, seqs, now_ms).await?;
    scrub::removed(&mut *connection).await?;
    let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM message WHERE receive_seq IN (");
    push_list(&mut query, seqs);
    query.build().execute(connection).await?;
    Ok(())
}
