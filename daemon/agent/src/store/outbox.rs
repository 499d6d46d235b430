//! The outbox: what waits to be stored in somebody's swarm.
//!
//! An item is written with the message it belongs to, sealed once, and stored byte for byte the same at every attempt:
//! the hash of a stored message does not depend on time, so a retry cannot double it (design.md "Sending").

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::StoreError;

/// Most items that may wait. A full outbox refuses new messages.
const CAPACITY: i64 = 10_000;

/// What an item is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The message itself.
    Recipient,
    /// The copy for the own devices, stored after the message itself.
    Sync,
}

impl Purpose {
    /// Its value in the database.
    pub(super) fn to_db(self) -> i64 {
        match self {
            Self::Recipient => 1,
            Self::Sync => 2,
        }
    }

    /// What a value in the database means.
    pub(super) fn of_db(value: i64) -> Self {
        match value {
            2 => Self::Sync,
            _ => Self::Recipient,
        }
    }
}

/// An item to be added.
pub struct NewItem {
    /// `receive_seq` of its message; `None` for what belongs to none.
    pub message: Option<i64>,
    /// `receive_seq` of the message that it is about without being it; it goes with that one.
    pub about: Option<i64>,
    /// Internal number of the conversation whose order it keeps.
    pub conversation: Option<i64>,
    /// What it is for.
    pub purpose: Purpose,
    /// What it carries: UPPER_SNAKE, for whoever looks into the outbox.
    pub kind: &'static str,
    /// Account ID whose swarm gets it.
    pub owner: String,
    /// Serialised Content.
    pub content: Vec<u8>,
    /// Sent timestamp, ms.
    pub sent_ms: i64,
    /// How long it is stored, ms.
    pub ttl_ms: i64,
}

/// Adds an item and those that wait until it is stored. All go to namespace 0.
pub async fn add(
    connection: &mut SqliteConnection,
    item: &NewItem,
    followers: &[NewItem],
    now_ms: i64,
) -> Result<(), StoreError> {
    let waiting = count(&mut *connection).await?;
    if waiting >= CAPACITY {
        return Err(StoreError::OutboxFull(waiting));
    }
    let leader = insert(&mut *connection, item, None, now_ms).await?;
    for follower in followers {
        insert(&mut *connection, follower, Some(leader), now_ms).await?;
    }
    Ok(())
}

async fn insert(
    connection: &mut SqliteConnection,
    item: &NewItem,
    follows: Option<i64>,
    now_ms: i64,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(
        "INSERT INTO outbox (message, about, conversation, purpose, kind, owner, namespace, content, sent_ms,
                             ttl_ms, created_ms, follows)
         VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(item.message)
    .bind(item.about)
    .bind(item.conversation)
    .bind(item.purpose.to_db())
    .bind(item.kind)
    .bind(&item.owner)
    .bind(&item.content)
    .bind(item.sent_ms)
    .bind(item.ttl_ms)
    .bind(now_ms)
    .bind(follows)
    .fetch_one(connection)
    .await?)
}

/// How many items wait.
pub async fn count(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM outbox")
        .fetch_one(connection)
        .await?)
}

/// When the oldest item that waits was accepted, ms.
pub async fn oldest_ms(connection: &mut SqliteConnection) -> Result<Option<i64>, StoreError> {
    Ok(
        sqlx::query_scalar("SELECT created_ms FROM outbox WHERE id = (SELECT min(id) FROM outbox)")
            .fetch_optional(connection)
            .await?,
    )
}

/// An item that is not sealed yet.
pub struct Unsealed {
    /// Number of the item.
    pub id: i64,
    /// Account ID whose swarm gets it.
    pub owner: String,
    /// Serialised Content.
    pub content: Vec<u8>,
    /// Sent timestamp, ms.
    pub sent_ms: i64,
}

/// The oldest items that are not sealed yet.
pub async fn unsealed(
    connection: &mut SqliteConnection,
    limit: i64,
) -> Result<Vec<Unsealed>, StoreError> {
    let rows = sqlx::query_as::<_, (i64, String, Vec<u8>, i64)>(
        "SELECT id, owner, content, sent_ms FROM outbox
         WHERE sealed IS NULL ORDER BY id LIMIT ?",
    )
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(id, owner, content, sent_ms)| Unsealed {
            id,
            owner,
            content,
            sent_ms,
        })
        .collect())
}

/// A sealed item.
pub struct Sealed {
    /// Number of the item.
    pub id: i64,
    /// The bytes to be stored, now and at every retry.
    pub bytes: Vec<u8>,
    /// Name under which they will be stored.
    pub hash: String,
    /// They go into the own swarm.
    pub own: bool,
}

/// Keeps sealed bytes and drops the Content. An item that is sealed already stays as it is.
pub async fn seal(connection: &mut SqliteConnection, items: &[Sealed]) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new("WITH fresh (id, bytes, hash) AS (");
    query.push_values(items, |mut values, item| {
        values
            .push_bind(item.id)
            .push_bind(item.bytes.clone())
            .push_bind(item.hash.clone());
    });
    query.push(
        ") UPDATE outbox SET sealed = fresh.bytes, hash = fresh.hash, content = NULL
         FROM fresh WHERE outbox.id = fresh.id AND outbox.sealed IS NULL",
    );
    query.build().execute(connection).await?;
    Ok(())
}

/// An item that can be stored now.
#[derive(Clone, Debug)]
pub struct Due {
    /// Number of the item.
    pub id: i64,
    /// `receive_seq` of its message; `None` for what belongs to none.
    pub message: Option<i64>,
    /// What it is for.
    pub purpose: Purpose,
    /// Account ID whose swarm gets it.
    pub owner: String,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Name under which they will be stored.
    pub hash: String,
    /// How long it is stored, ms.
    pub ttl_ms: i64,
    /// When it was written, ms.
    pub created_ms: i64,
    /// Attempts made while a path worked.
    pub attempts: i64,
}

/// Sealed items that are due, oldest first. One that waits for its next attempt holds back those behind it in the same
/// conversation and swarm, so that their order is kept.
pub async fn due(
    connection: &mut SqliteConnection,
    now_ms: i64,
    limit: i64,
) -> Result<Vec<Due>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, message, purpose, owner, sealed, hash, ttl_ms, created_ms, attempts
         FROM outbox o WHERE follows IS NULL AND next_attempt_ms <= ?1 AND sealed IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.conversation = o.conversation
                             AND e.owner = o.owner AND e.id < o.id AND e.follows IS NULL
                             AND e.next_attempt_ms > ?1)
         ORDER BY id LIMIT ?2",
    )
    .bind(now_ms)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let items = rows
        .iter()
        .map(|row| {
            Ok(Due {
                id: row.try_get(0)?,
                message: row.try_get(1)?,
                purpose: Purpose::of_db(row.try_get(2)?),
                owner: row.try_get(3)?,
                bytes: row.try_get(4)?,
                hash: row.try_get(5)?,
                ttl_ms: row.try_get(6)?,
                created_ms: row.try_get(7)?,
                attempts: row.try_get(8)?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(items)
}

/// When the next item is due, ms; `None` when none waits.
pub async fn next_due(connection: &mut SqliteConnection) -> Result<Option<i64>, StoreError> {
    Ok(
        sqlx::query_scalar("SELECT min(next_attempt_ms) FROM outbox WHERE follows IS NULL")
            .fetch_one(connection)
            .await?,
    )
}

/// Takes an item out that was stored, and lets those go that waited for it.
pub async fn done(connection: &mut SqliteConnection, id: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE outbox SET follows = NULL WHERE follows = ?")
        .bind(id)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM outbox WHERE id = ?")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes an item out that is given up, with those that waited for it. Returns whether it was still there.
pub async fn give_up(connection: &mut SqliteConnection, id: i64) -> Result<bool, StoreError> {
    let gone = sqlx::query("DELETE FROM outbox WHERE id = ?1 OR follows = ?1")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(gone.rows_affected() > 0)
}

/// Takes everything out that a message waits with.
pub async fn take_back(connection: &mut SqliteConnection, message: i64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM outbox WHERE message = ?")
        .bind(message)
        .execute(connection)
        .await?;
    Ok(())
}

/// Puts an item off.
pub async fn postpone(
    connection: &mut SqliteConnection,
    id: i64,
    attempts: i64,
    next_attempt_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE outbox SET attempts = ?, next_attempt_ms = ? WHERE id = ?")
        .bind(attempts)
        .bind(next_attempt_ms)
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes everything due at once: after a start, or when somebody asked.
pub async fn hurry(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("UPDATE outbox SET next_attempt_ms = 0 WHERE next_attempt_ms > 0")
        .execute(connection)
        .await?;
    Ok(())
}
