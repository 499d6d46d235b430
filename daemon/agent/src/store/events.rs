//! The event log: what happened, in commit order. It holds ids and names of fields, never content.
//!
//! Facts: design.md promise 2. The log keeps 30 days and at most 1,000,000 events; sequence numbers are never used
//! again, so a reader can tell that something is missing.

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::StoreError;

/// Values of `kind`: those of the API's `EventKind`.
pub mod kind {
    /// A message was added.
    pub const MESSAGE_ADDED: i64 = 1;
    /// Fields of a message changed.
    pub const MESSAGE_CHANGED: i64 = 2;
    /// A message is gone.
    pub const MESSAGE_REMOVED: i64 = 3;
    /// A conversation was added.
    pub const CONVERSATION_ADDED: i64 = 4;
    /// Fields of a conversation changed.
    pub const CONVERSATION_CHANGED: i64 = 5;
    /// A conversation is gone.
    pub const CONVERSATION_REMOVED: i64 = 6;
    /// The account changed.
    pub const ACCOUNT_CHANGED: i64 = 7;
    /// Settings changed.
    pub const SETTINGS_CHANGED: i64 = 10;
}

/// Values of `reason`: those of the API's `RemovalReason`.
pub mod removal {
    /// The message had disappeared.
    pub const EXPIRED: i64 = 1;
}

/// How long events are kept, ms.
const KEEP_MS: i64 = 30 * 86_400_000;
/// How many are kept.
const KEEP: i64 = 1_000_000;

/// An event to be written.
#[derive(Clone, Debug)]
pub struct NewEvent {
    kind: i64,
    conversation: String,
    message: String,
    fields: String,
    reason: i64,
}

impl NewEvent {
    fn new(kind: i64, conversation: &str, message: &str, fields: &[&str]) -> Self {
        Self {
            kind,
            conversation: conversation.to_owned(),
            message: message.to_owned(),
            fields: fields.join(","),
            reason: 0,
        }
    }

    /// A message was added.
    pub fn message_added(conversation: &str, message: &str) -> Self {
        Self::new(kind::MESSAGE_ADDED, conversation, message, &[])
    }

    /// Fields of a message changed.
    pub fn message_changed(conversation: &str, message: &str, fields: &[&str]) -> Self {
        Self::new(kind::MESSAGE_CHANGED, conversation, message, fields)
    }

    /// A message is gone.
    pub fn message_removed(conversation: &str, message: &str) -> Self {
        Self::new(kind::MESSAGE_REMOVED, conversation, message, &[])
    }

    /// A message is gone because its time was over.
    pub fn message_expired(conversation: &str, message: &str) -> Self {
        Self {
            reason: removal::EXPIRED,
            ..Self::message_removed(conversation, message)
        }
    }

    /// A conversation was added.
    pub fn conversation_added(conversation: &str) -> Self {
        Self::new(kind::CONVERSATION_ADDED, conversation, "", &[])
    }

    /// A conversation is gone.
    pub fn conversation_removed(conversation: &str) -> Self {
        Self::new(kind::CONVERSATION_REMOVED, conversation, "", &[])
    }

    /// Fields of a conversation changed.
    pub fn conversation_changed(conversation: &str, fields: &[&str]) -> Self {
        Self::new(kind::CONVERSATION_CHANGED, conversation, "", fields)
    }

    /// Settings changed.
    pub fn settings_changed(fields: &[&str]) -> Self {
        Self::new(kind::SETTINGS_CHANGED, "", "", fields)
    }

    /// The account changed.
    pub fn account_changed(fields: &[&str]) -> Self {
        Self::new(kind::ACCOUNT_CHANGED, "", "", fields)
    }
}

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Place in the log.
    pub seq: i64,
    /// See [`kind`].
    pub kind: i64,
    /// Opaque id, or empty.
    pub conversation: String,
    /// Opaque id, or empty.
    pub message: String,
    /// Names of changed fields.
    pub fields: Vec<String>,
    /// See [`removal`]; 0: none is known.
    pub reason: i64,
    /// ms.
    pub created_ms: i64,
}

/// Rows of one statement: mostly the same number, so that its text is the same and it is prepared once.
const ROWS: usize = 100;

/// Writes events in this order.
pub async fn append(
    connection: &mut SqliteConnection,
    events: &[NewEvent],
    now_ms: i64,
) -> Result<(), StoreError> {
    for some in events.chunks(ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO event (kind, conversation, message, fields, reason, created_ms) ",
        );
        query.push_values(some, |mut values, event| {
            values
                .push_bind(event.kind)
                .push_bind(event.conversation.clone());
            values
                .push_bind(event.message.clone())
                .push_bind(event.fields.clone())
                .push_bind(event.reason)
                .push_bind(now_ms);
        });
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Sequence number of the last event ever written, 0 before the first.
pub async fn head(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let seq = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'event'")
        .fetch_optional(connection)
        .await?;
    Ok(seq.unwrap_or(0))
}

/// Number after which the log is complete: everything later is still there.
pub async fn floor(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let first: Option<i64> = sqlx::query_scalar("SELECT min(seq) FROM event")
        .fetch_one(&mut *connection)
        .await?;
    match first {
        Some(first) => Ok(first - 1),
        None => head(connection).await,
    }
}

/// Events after a place, oldest first.
pub async fn after(
    connection: &mut SqliteConnection,
    seq: i64,
    limit: i64,
) -> Result<Vec<EventRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT seq, kind, conversation, message, fields, created_ms, reason FROM event
         WHERE seq > ? ORDER BY seq LIMIT ?",
    )
    .bind(seq)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let events = rows
        .iter()
        .map(|row| {
            let fields: String = row.try_get(4)?;
            Ok(EventRow {
                seq: row.try_get(0)?,
                kind: row.try_get(1)?,
                conversation: row.try_get(2)?,
                message: row.try_get(3)?,
                fields: fields
                    .split(',')
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect(),
                created_ms: row.try_get(5)?,
                reason: row.try_get(6)?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(events)
}

/// How far a named subscriber has acknowledged.
pub async fn acknowledged(
    connection: &mut SqliteConnection,
    subscriber: &str,
) -> Result<Option<i64>, StoreError> {
    Ok(
        sqlx::query_scalar("SELECT acked_seq FROM subscriber WHERE name = ?")
            .bind(subscriber)
            .fetch_optional(connection)
            .await?,
    )
}

/// Most subscribers remembered; the ones not heard of for longest are forgotten.
const SUBSCRIBERS: i64 = 1_000;

/// Remembers how far a subscriber has come. Never moves backwards.
pub async fn acknowledge(
    connection: &mut SqliteConnection,
    subscriber: &str,
    seq: i64,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO subscriber (name, acked_seq, updated_ms) VALUES (?, ?, ?)
         ON CONFLICT (name) DO UPDATE
         SET acked_seq = max(acked_seq, excluded.acked_seq), updated_ms = excluded.updated_ms",
    )
    .bind(subscriber)
    .bind(seq)
    .bind(now_ms)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM subscriber WHERE name IN
         (SELECT name FROM subscriber ORDER BY updated_ms DESC LIMIT -1 OFFSET ?)",
    )
    .bind(SUBSCRIBERS)
    .execute(connection)
    .await?;
    Ok(())
}

/// Drops what the log no longer keeps.
pub async fn prune(connection: &mut SqliteConnection, now_ms: i64) -> Result<(), StoreError> {
    prune_to(connection, now_ms - KEEP_MS, KEEP).await
}

/// By number, not by age alone: the log stays without holes. The plus keeps SQLite from looking for an old event by going
/// through the log from its end.
pub(super) const PRUNE: &str = "DELETE FROM event WHERE seq <= max(?, coalesce(
    (SELECT max(+seq) FROM event WHERE created_ms < ?), 0))";

async fn prune_to(
    connection: &mut SqliteConnection,
    older_than_ms: i64,
    keep: i64,
) -> Result<(), StoreError> {
    let head = head(&mut *connection).await?;
    sqlx::query(PRUNE)
        .bind(head - keep)
        .bind(older_than_ms)
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::tests::memory;

    #[tokio::test]
    async fn a_pruned_log_says_where_it_begins() {
        let mut db = memory().await;
        for round in 0..10 {
            append(&mut db, &[NewEvent::conversation_added("c")], 1_000 + round)
                .await
                .unwrap();
        }
        assert_eq!(
            (floor(&mut db).await.unwrap(), head(&mut db).await.unwrap()),
            (0, 10)
        );
        prune_to(&mut db, 1_003, 1_000).await.unwrap();
        assert_eq!(floor(&mut db).await.unwrap(), 3);
        prune_to(&mut db, 0, 2).await.unwrap();
        assert_eq!(floor(&mut db).await.unwrap(), 8);
        // An emptied log still knows its numbers.
        prune_to(&mut db, 2_000, 1_000).await.unwrap();
        assert_eq!(
            (floor(&mut db).await.unwrap(), head(&mut db).await.unwrap()),
            (10, 10)
        );
        append(
            &mut db,
            &[NewEvent::account_changed(&["display_name"])],
            3_000,
        )
        .await
        .unwrap();
        let events = after(&mut db, 10, 5).await.unwrap();
        assert_eq!(
            (events[0].seq, events[0].fields.as_slice()),
            (11, &["display_name".into()][..])
        );
    }

    #[tokio::test]
    async fn acknowledgements_never_move_backwards() {
        let mut db = memory().await;
        acknowledge(&mut db, "ui", 7, 1).await.unwrap();
        acknowledge(&mut db, "ui", 3, 2).await.unwrap();
        assert_eq!(acknowledged(&mut db, "ui").await.unwrap(), Some(7));
        assert_eq!(acknowledged(&mut db, "bot").await.unwrap(), None);
    }
}
