//! A node's database: one row for each message it holds.
//!
//! Facts: network.md 8.2; order is that of insertion on this node (observed-nodes 7); storing again only
//! ever prolongs (observed-nodes 5); expired rows stay until a sweep (observed-nodes 8).

use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use session_protocol::Identifier;
use session_protocol::storage::namespace::Namespace;
use session_protocol::storage::signed::{ExpireMode, NamespaceSelector};
use session_protocol::subaccount::Token;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Row as _, SqliteConnection};

use crate::control::Held;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS messages (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    hash      TEXT    NOT NULL UNIQUE,
    owner     BLOB    NOT NULL,
    namespace INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    expiry    INTEGER NOT NULL,
    data      BLOB    NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS messages_by_owner ON messages (owner, namespace, id);
CREATE INDEX IF NOT EXISTS messages_by_expiry ON messages (expiry);
CREATE TABLE IF NOT EXISTS revoked (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    owner BLOB    NOT NULL,
    token BLOB    NOT NULL,
    UNIQUE (owner, token)
) STRICT;
";

/// 3.5 GiB in pages of 4096 bytes (network.md 10); a full database refuses to store.
const MAX_PAGES: &str = "917504";
/// Counted for a message besides hash and data (network.md 4.8).
const MESSAGE_COST: u64 = 100;
/// Revoked tokens kept for an account (network.md 4.11).
pub(crate) const MAX_REVOKED: usize = 50;
const CLOSE: Duration = Duration::from_secs(5);

/// A message as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub hash: String,
    pub namespace: Namespace,
    /// Sender's time, ms.
    pub timestamp: u64,
    /// ms.
    pub expiry: u64,
    pub data: Vec<u8>,
}

/// Outcome of storing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The message was there before.
    pub already: bool,
    /// Its expiry now, ms.
    pub expiry: u64,
}

/// How much of a namespace is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub count: Option<u64>,
    /// Counted size in bytes.
    pub size: u64,
}

/// What `expire` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expired {
    /// Hash and applied expiry, sorted by hash.
    pub updated: Vec<(String, u64)>,
    /// Hash and kept expiry of messages that exist, sorted by hash.
    pub unchanged: Vec<(String, u64)>,
}

/// A message that was changed, and where it is or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InNamespace {
    pub namespace: Namespace,
    pub hash: String,
}

/// The database.
pub(crate) struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the database at `path`, making it if need be.
    pub(crate) async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Survives the end of the process; a crash of the machine may cost the last messages.
            .synchronous(SqliteSynchronous::Normal)
            .pragma("cache_size", "-256")
            .pragma("max_page_count", MAX_PAGES)
            .statement_cache_capacity(16)
            .disable_statement_logging();
        // One connection, so one writer and one order.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        Ok(Self { pool })
    }

    /// Closes the file once what runs is done.
    pub(crate) async fn close(&self) {
        // A connection that is still out after this time ends with the process.
        let _ = tokio::time::timeout(CLOSE, self.pool.close()).await;
    }

    /// Stores a message, or prolongs the one that is there. A public outbox keeps only the newest. Quirk
    /// (observed-nodes 26): that fails when the one to make room is all the account has.
    pub(crate) async fn put(
        &self,
        owner: &Identifier,
        message: &Message,
    ) -> Result<Stored, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let known: Option<(i64,)> = sqlx::query_as("SELECT expiry FROM messages WHERE hash = ?")
            .bind(&message.hash)
            .fetch_optional(&mut *transaction)
            .await?;
        let known = known.map(|(expiry,)| from_column(expiry));
        if message.namespace.is_public_outbox() {
            let count = "SELECT count(*), count(*) FILTER (WHERE namespace = ?2 AND hash <> ?3)
                         FROM messages WHERE owner = ?1";
            let (all, replaced): (i64, i64) = sqlx::query_as(count)
                .bind(owner.to_bytes().as_slice())
                .bind(message.namespace.0)
                .bind(&message.hash)
                .fetch_one(&mut *transaction)
                .await?;
            if replaced > 0 && all == replaced {
                return Err(sqlx::Error::Protocol(
                    "FOREIGN KEY constraint failed".into(),
                ));
            }
            sqlx::query("DELETE FROM messages WHERE owner = ? AND namespace = ? AND hash <> ?")
                .bind(owner.to_bytes().as_slice())
                .bind(message.namespace.0)
                .bind(&message.hash)
                .execute(&mut *transaction)
                .await?;
        }
        let expiry = known.unwrap_or(0).max(message.expiry);
        if known.is_none() {
            sqlx::query(
                "INSERT INTO messages (hash, owner, namespace, timestamp, expiry, data)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(&message.hash)
            .bind(owner.to_bytes().as_slice())
            .bind(message.namespace.0)
            .bind(column(message.timestamp))
            .bind(column(expiry))
            .bind(&message.data)
            .execute(&mut *transaction)
            .await?;
        } else if known != Some(expiry) {
            set_expiry(&mut transaction, &message.hash, expiry).await?;
        }
        transaction.commit().await?;
        Ok(Stored {
            already: known.is_some(),
            expiry,
        })
    }

    /// Messages of a namespace after `last_hash`, oldest first, and whether limits cut the list. At least
    /// one comes whatever the limit on size.
    pub(crate) async fn list(
        &self,
        owner: &Identifier,
        namespace: Namespace,
        last_hash: Option<&str>,
        limits: Limits,
    ) -> Result<(Vec<Message>, bool), sqlx::Error> {
        let owner = owner.to_bytes();
        // A hash that is not there counts as id 0: everything follows.
        let mut rows = sqlx::query(
            "SELECT hash, timestamp, expiry, data FROM messages
             WHERE owner = ?1 AND namespace = ?2 AND id > coalesce(
                 (SELECT id FROM messages WHERE hash = ?3 AND owner = ?1 AND namespace = ?2), 0)
             ORDER BY id",
        )
        .bind(owner.as_slice())
        .bind(namespace.0)
        .bind(last_hash)
        .fetch(&self.pool);
        let (mut messages, mut size) = (Vec::new(), 0);
        while let Some(row) = rows.try_next().await? {
            let message = message(&row, namespace)?;
            size += MESSAGE_COST
                + message.hash.len() as u64
                + (message.data.len() as u64).saturating_mul(4) / 3;
            let full = limits
                .count
                .is_some_and(|count| messages.len() as u64 >= count);
            if full || (size > limits.size && !messages.is_empty()) {
                return Ok((messages, true));
            }
            messages.push(message);
        }
        Ok((messages, false))
    }

    /// Deletes messages of `owner` in any namespace. Answers the hashes that were there, sorted.
    pub(crate) async fn delete(
        &self,
        owner: &Identifier,
        hashes: &[String],
    ) -> Result<Vec<String>, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let mut deleted = Vec::new();
        for hash in hashes {
            let done = sqlx::query("DELETE FROM messages WHERE hash = ? AND owner = ?")
                .bind(hash)
                .bind(owner.to_bytes().as_slice())
                .execute(&mut *transaction)
                .await?;
            if done.rows_affected() > 0 {
                deleted.push(hash.clone());
            }
        }
        transaction.commit().await?;
        deleted.sort_unstable();
        Ok(deleted)
    }

    /// Deletes messages of one namespace or of all, those with a timestamp up to `until` if it is given.
    pub(crate) async fn delete_until(
        &self,
        owner: &Identifier,
        namespaces: NamespaceSelector,
        until: Option<u64>,
    ) -> Result<Vec<InNamespace>, sqlx::Error> {
        let rows = sqlx::query(
            "DELETE FROM messages
             WHERE owner = ?1 AND (?2 IS NULL OR namespace = ?2) AND timestamp <= ?3
             RETURNING namespace, hash",
        )
        .bind(owner.to_bytes().as_slice())
        .bind(selected(namespaces))
        .bind(until.map_or(i64::MAX, column))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(in_namespace).collect()
    }

    /// Moves later expiries of one namespace or of all to `expiry`.
    pub(crate) async fn shorten(
        &self,
        owner: &Identifier,
        namespaces: NamespaceSelector,
        expiry: u64,
    ) -> Result<Vec<InNamespace>, sqlx::Error> {
        let rows = sqlx::query(
            "UPDATE messages SET expiry = ?3
             WHERE owner = ?1 AND (?2 IS NULL OR namespace = ?2) AND expiry > ?3
             RETURNING namespace, hash",
        )
        .bind(owner.to_bytes().as_slice())
        .bind(selected(namespaces))
        .bind(column(expiry))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(in_namespace).collect()
    }

    /// When messages expire; those that are not there are left out.
    pub(crate) async fn expiries(
        &self,
        owner: &Identifier,
        hashes: &[String],
    ) -> Result<Vec<(String, u64)>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        let mut expiries = Vec::new();
        for hash in hashes {
            let known: Option<(i64,)> =
                sqlx::query_as("SELECT expiry FROM messages WHERE hash = ? AND owner = ?")
                    .bind(hash)
                    .bind(owner.to_bytes().as_slice())
                    .fetch_optional(&mut *connection)
                    .await?;
            expiries.extend(known.map(|(expiry,)| (hash.clone(), from_column(expiry))));
        }
        Ok(expiries)
    }

    /// Remembers tokens as revoked, the newest [`MAX_REVOKED`] of an account. Quirk (network.md 4.11): an account
    /// without messages is not known, and nothing is remembered for it.
    pub(crate) async fn revoke(
        &self,
        owner: &Identifier,
        tokens: &[Token],
    ) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        for token in tokens {
            sqlx::query(
                "INSERT OR REPLACE INTO revoked (owner, token)
                 SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM messages WHERE owner = ?1)",
            )
            .bind(owner.to_bytes().as_slice())
            .bind(token.as_bytes().as_slice())
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query(
            "DELETE FROM revoked WHERE owner = ?1 AND id NOT IN
             (SELECT id FROM revoked WHERE owner = ?1 ORDER BY id DESC LIMIT ?2)",
        )
        .bind(owner.to_bytes().as_slice())
        .bind(i64::try_from(MAX_REVOKED).unwrap_or(i64::MAX))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }

    /// Forgets that tokens are revoked; answers how many were.
    pub(crate) async fn unrevoke(
        &self,
        owner: &Identifier,
        tokens: &[Token],
    ) -> Result<u64, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let mut count = 0;
        for token in tokens {
            count += sqlx::query("DELETE FROM revoked WHERE owner = ? AND token = ?")
                .bind(owner.to_bytes().as_slice())
                .bind(token.as_bytes().as_slice())
                .execute(&mut *transaction)
                .await?
                .rows_affected();
        }
        transaction.commit().await?;
        Ok(count)
    }

    /// Whether a token is revoked.
    pub(crate) async fn is_revoked(
        &self,
        owner: &Identifier,
        token: &Token,
    ) -> Result<bool, sqlx::Error> {
        let found: Option<(i64,)> =
            sqlx::query_as("SELECT id FROM revoked WHERE owner = ? AND token = ?")
                .bind(owner.to_bytes().as_slice())
                .bind(token.as_bytes().as_slice())
                .fetch_optional(&self.pool)
                .await?;
        Ok(found.is_some())
    }

    /// Revoked tokens of an account, oldest first.
    pub(crate) async fn revoked(&self, owner: &Identifier) -> Result<Vec<Vec<u8>>, sqlx::Error> {
        let rows: Vec<(Vec<u8>,)> =
            sqlx::query_as("SELECT token FROM revoked WHERE owner = ? ORDER BY id")
                .bind(owner.to_bytes().as_slice())
                .fetch_all(&self.pool)
                .await?;
        Ok(rows.into_iter().map(|(token,)| token).collect())
    }

    /// Moves expiries of messages of `owner`, in any namespace.
    pub(crate) async fn expire(
        &self,
        owner: &Identifier,
        wanted: &[(String, u64)],
        mode: ExpireMode,
    ) -> Result<Expired, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let mut outcome = Expired::default();
        for (hash, expiry) in wanted {
            let known: Option<(i64,)> =
                sqlx::query_as("SELECT expiry FROM messages WHERE hash = ? AND owner = ?")
                    .bind(hash)
                    .bind(owner.to_bytes().as_slice())
                    .fetch_optional(&mut *transaction)
                    .await?;
            let Some(known) = known.map(|(expiry,)| from_column(expiry)) else {
                continue;
            };
            let moves = match mode {
                ExpireMode::Set => true,
                ExpireMode::Shorten => *expiry < known,
                ExpireMode::Extend => *expiry > known,
            };
            if moves {
                set_expiry(&mut transaction, hash, *expiry).await?;
                outcome.updated.push((hash.clone(), *expiry));
            } else {
                outcome.unchanged.push((hash.clone(), known));
            }
        }
        transaction.commit().await?;
        outcome.updated.sort_unstable();
        outcome.unchanged.sort_unstable();
        Ok(outcome)
    }

    /// Accounts with messages here.
    pub(crate) async fn owners(&self) -> Result<Vec<Identifier>, sqlx::Error> {
        let rows: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT DISTINCT owner FROM messages")
            .fetch_all(&self.pool)
            .await?;
        // Only accounts are ever written.
        let owner =
            |(owner,): &(Vec<u8>,)| Identifier::from_bytes(owner.as_slice().try_into().ok()?).ok();
        Ok(rows.iter().filter_map(owner).collect())
    }

    /// Messages of an account in all namespaces after row `last`, at most `limit`, in this node's order; and the row to
    /// go on after, if there may be more.
    pub(crate) async fn page(
        &self,
        owner: &Identifier,
        last: i64,
        limit: u32,
    ) -> Result<(Vec<Message>, Option<i64>), sqlx::Error> {
        let rows = sqlx::query(
            "SELECT hash, timestamp, expiry, data, namespace, id FROM messages
             WHERE owner = ? AND id > ? ORDER BY id LIMIT ?",
        )
        .bind(owner.to_bytes().as_slice())
        .bind(last)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let next = match rows.last() {
            Some(row) if rows.len() as u64 >= u64::from(limit) => Some(row.try_get(5)?),
            _ => None,
        };
        let messages = rows
            .iter()
            .map(|row| message(row, Namespace(row.try_get(4)?)))
            .collect::<Result<_, _>>()?;
        Ok((messages, next))
    }

    /// Takes over what another member hands on; what is here already stays as it is.
    pub(crate) async fn receive(
        &self,
        owner: &Identifier,
        messages: &[Message],
    ) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        for message in messages {
            sqlx::query(
                "INSERT OR IGNORE INTO messages (hash, owner, namespace, timestamp, expiry, data)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(&message.hash)
            .bind(owner.to_bytes().as_slice())
            .bind(message.namespace.0)
            .bind(column(message.timestamp))
            .bind(column(message.expiry))
            .bind(&message.data)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await
    }

    /// Everything, in order.
    pub(crate) async fn all(&self) -> Result<Vec<Held>, sqlx::Error> {
        let rows: Vec<(String, i64, Vec<u8>)> =
            sqlx::query_as("SELECT hash, expiry, data FROM messages ORDER BY id")
                .fetch_all(&self.pool)
                .await?;
        let held = rows.into_iter().map(|(hash, expiry, data)| Held {
            hash,
            expiry_ms: from_column(expiry),
            data,
        });
        Ok(held.collect())
    }

    /// Forgets everything.
    pub(crate) async fn clear(&self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("BEGIN; DELETE FROM messages; DELETE FROM revoked; COMMIT;")
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Removes what has expired.
    pub(crate) async fn sweep(&self, now_ms: u64) -> Result<u64, sqlx::Error> {
        let done = sqlx::query("DELETE FROM messages WHERE expiry <= ?")
            .bind(column(now_ms))
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}

async fn set_expiry(
    connection: &mut SqliteConnection,
    hash: &str,
    expiry: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE messages SET expiry = ? WHERE hash = ?")
        .bind(column(expiry))
        .bind(hash)
        .execute(connection)
        .await?;
    Ok(())
}

fn message(row: &SqliteRow, namespace: Namespace) -> Result<Message, sqlx::Error> {
    Ok(Message {
        hash: row.try_get(0)?,
        namespace,
        timestamp: from_column(row.try_get(1)?),
        expiry: from_column(row.try_get(2)?),
        data: row.try_get(3)?,
    })
}

fn in_namespace(row: &SqliteRow) -> Result<InNamespace, sqlx::Error> {
    Ok(InNamespace {
        namespace: Namespace(row.try_get(0)?),
        hash: row.try_get(1)?,
    })
}

/// Number of a namespace, or nothing for all.
fn selected(namespaces: NamespaceSelector) -> Option<i16> {
    match namespaces {
        NamespaceSelector::One(namespace) => Some(namespace.0),
        NamespaceSelector::All => None,
    }
}

/// Times that do not fit SQLite's integers are further away than anyone will wait.
fn column(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn from_column(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}
