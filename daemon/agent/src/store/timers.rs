//! Timers of what disappears after reading: they begin when the read position passes a message here, or when the own
//! swarm says that another device has read it (messages.md 7.6).
//!
//! A deadline only ever moves to an earlier time: the earliest reader wins. Reading here asks for the stored copy's life
//! to be shortened ([`super::swarm_expiry`]), in the same transaction, so that the other devices learn of it.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::entries::TIMER_FIELDS;
use super::events::{self, NewEvent};
use super::list::push_list;
use super::messages::cause;
use super::targets::CHUNK;
use super::{StoreError, swarm_expiry};

/// Starts the timers of received messages up to the read positions, given by internal number of the conversation.
/// Returns the events.
pub(super) async fn start_on_read(
    connection: &mut SqliteConnection,
    positions: &[(i64, i64)],
    now_ms: i64,
) -> Result<Vec<NewEvent>, StoreError> {
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new("WITH read (conversation, sent_ms) AS (");
    query.push_values(positions, |mut values, (conversation, sent_ms)| {
        values.push_bind(*conversation).push_bind(*sent_ms);
    });
    query
        .push(") UPDATE message SET expiry_start_ms = ")
        .push_bind(now_ms)
        .push(", expiry_cause = ")
        .push_bind(cause::READ_HERE)
        .push(", expires_at = ")
        .push_bind(now_ms)
        .push(
            " + expiry_timer_s * 1000 WHERE receive_seq IN (
                  SELECT m.receive_seq FROM read CROSS JOIN message m
                  ON m.conversation = read.conversation AND m.sent_ms <= read.sent_ms
                  WHERE m.expiry_type = 1 AND m.expiry_start_ms IS NULL AND m.outgoing = 0)
              RETURNING public_id, (SELECT public_id FROM conversation WHERE id = message.conversation),
                        hash, expires_at, server_expiry_ms",
        );
    let rows = query.build().fetch_all(&mut *connection).await?;
    begun(connection, &rows).await
}

/// Timers that began, of rows as `start_on_read` and [`BEGIN_NO_LATER`] return them: lets the stored copies go with them.
/// Returns the events.
async fn begun(
    connection: &mut SqliteConnection,
    rows: &[SqliteRow],
) -> Result<Vec<NewEvent>, StoreError> {
    let mut events = Vec::with_capacity(rows.len());
    let mut shorten = Vec::new();
    for row in rows {
        events.push(changed(row)?);
        let (hash, expires): (Option<String>, i64) = (row.try_get(2)?, row.try_get(3)?);
        // A copy that goes earlier anyway needs nothing.
        let stored_until: Option<i64> = row.try_get(4)?;
        if let Some(hash) = hash.filter(|_| stored_until.is_some_and(|until| until > expires)) {
            shorten.push((hash, expires));
        }
    }
    swarm_expiry::add(connection, &shorten).await?;
    Ok(events)
}

/// The own swarm drops these copies earlier than it said when they came, ms: another device has read the messages and
/// had it so. Returns how many deadlines are earlier now.
pub async fn read_elsewhere(
    connection: &mut SqliteConnection,
    found: &[(String, i64)],
    now_ms: i64,
) -> Result<u64, StoreError> {
    let mut earlier = 0;
    for some in found.chunks(CHUNK) {
        let mut query = let_end(some, now_ms);
        let rows = query.build().fetch_all(&mut *connection).await?;
        let log = rows.iter().map(changed).collect::<Result<Vec<_>, _>>()?;
        earlier += u64::try_from(log.len()).unwrap_or(u64::MAX);
        events::append(&mut *connection, &log, now_ms).await?;
    }
    Ok(earlier)
}

/// Lets messages that disappear after reading end with their copies, where that is earlier.
pub(super) fn let_end(found: &[(String, i64)], now_ms: i64) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("WITH found (hash, until_ms) AS (");
    query.push_values(found, |mut values, (hash, until_ms)| {
        values.push_bind(hash.clone()).push_bind(*until_ms);
    });
    // Never later than now: a start in the future would let it live for longer than its timer.
    query
        .push(
            ") UPDATE message SET server_expiry_ms = found.until_ms, expires_at = found.until_ms,
                 expiry_start_ms = min(found.until_ms - expiry_timer_s * 1000, ",
        )
        .push_bind(now_ms)
        .push("), expiry_cause = ")
        .push_bind(cause::READ_ELSEWHERE)
        .push(
            " FROM found WHERE message.hash = found.hash AND expiry_type = 1 AND outgoing = 0
                 AND found.until_ms < coalesce(server_expiry_ms, 0)
                 AND found.until_ms < coalesce(expires_at, found.until_ms + 1)
                 AND found.until_ms - expiry_timer_s * 1000 <= ",
        )
        .push_bind(now_ms)
        .push(
            " RETURNING public_id,
                 (SELECT public_id FROM conversation WHERE id = message.conversation)",
        );
    query
}

/// A received message that waits to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Place in the order of age.
    pub place: (i64, i64),
    /// Name of the copy in the own swarm.
    pub hash: String,
    /// When that copy is dropped, as far as is known, ms.
    pub stored_until_ms: i64,
    /// Sent timestamp, ms.
    pub sent_ms: i64,
    /// Its timer, seconds.
    pub timer_s: i64,
}

/// Those whose copy the own swarm should still hold, the oldest first, after a place.
pub async fn waiting(
    connection: &mut SqliteConnection,
    after: (i64, i64),
    now_ms: i64,
    limit: i64,
) -> Result<Vec<Waiting>, StoreError> {
    let rows = sqlx::query(
        "SELECT order_ms, receive_seq, hash, server_expiry_ms, sent_ms, expiry_timer_s FROM message
         WHERE expiry_type = 1 AND expiry_start_ms IS NULL AND outgoing = 0
             AND (order_ms, receive_seq) > (?, ?) AND hash IS NOT NULL AND server_expiry_ms > ?
         ORDER BY order_ms, receive_seq LIMIT ?",
    )
    .bind(after.0)
    .bind(after.1)
    .bind(now_ms)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let waiting = rows
        .iter()
        .map(|row| {
            Ok(Waiting {
                place: (row.try_get(0)?, row.try_get(1)?),
                hash: row.try_get(2)?,
                stored_until_ms: row.try_get(3)?,
                sent_ms: row.try_get(4)?,
                timer_s: row.try_get(5)?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(waiting)
}

/// Places of those among these copies whose message still waits to be read.
pub async fn still_waiting(
    connection: &mut SqliteConnection,
    hashes: &[String],
) -> Result<HashMap<String, i64>, StoreError> {
    if hashes.is_empty() {
        return Ok(HashMap::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT hash, receive_seq FROM message WHERE expiry_type = 1 AND expiry_start_ms IS NULL
             AND outgoing = 0 AND hash IN (",
    );
    push_list(&mut query, hashes);
    let rows = query.build().fetch_all(connection).await?;
    let found = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(found)
}

/// No timer began in the future: those that were started by a clock that turned out to be ahead begin now, and their
/// copies go earlier. Returns how many did.
pub async fn begin_no_later_than(
    connection: &mut SqliteConnection,
    now_ms: i64,
) -> Result<u64, StoreError> {
    let rows = sqlx::query(BEGIN_NO_LATER)
        .bind(now_ms)
        .fetch_all(&mut *connection)
        .await?;
    let log = begun(&mut *connection, &rows).await?;
    events::append(connection, &log, now_ms).await?;
    Ok(u64::try_from(log.len()).unwrap_or(u64::MAX))
}

/// Whatever ends before now + its timer is right; only what ends later is looked at. The name of a copy only where
/// reading here began the timer: all other copies say their time themselves.
pub(super) const BEGIN_NO_LATER: &str = "UPDATE message
    SET expiry_start_ms = ?1, expires_at = ?1 + expiry_timer_s * 1000
    WHERE expires_at > ?1 AND expiry_start_ms > ?1
    RETURNING public_id, (SELECT public_id FROM conversation WHERE id = message.conversation),
              iif(expiry_type = 1 AND outgoing = 0, hash, NULL), expires_at, server_expiry_ms";

/// The event about a timer that changed, of a row that begins with the message's and its conversation's id.
fn changed(row: &SqliteRow) -> Result<NewEvent, sqlx::Error> {
    let (message, conversation): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok(NewEvent::message_changed(
        &conversation,
        &message,
        &TIMER_FIELDS,
    ))
}
