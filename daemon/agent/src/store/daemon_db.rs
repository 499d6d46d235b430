//! `daemon.db`: what the agent knows before any vault is open. No key, no account ID.

use std::path::Path;

use futures_util::future::BoxFuture;
use session_network::{Cache, CacheRecord};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row as _, SqlSafeStr as _};

use super::StoreError;
use crate::platform::ensure_private_file;
use crate::time::wall_clock_ms;

/// An account as `daemon.db` knows it.
#[derive(Clone, Debug)]
pub struct AccountRow {
    /// Random name of its files and its vault entry.
    pub handle: String,
    /// Which vault holds its record.
    pub vault: String,
    /// A second vault that may hold the record, because a move was cut short.
    pub leftover_vault: Option<String>,
    /// Since when it has been locked, ms; 0 when it was open when it was last heard of.
    pub locked_since_ms: i64,
    /// Network it lives in.
    pub network: String,
    /// Token of the call that made it; may be empty.
    pub client_token: String,
    /// Digest of what that call asked for.
    pub client_fingerprint: Vec<u8>,
}

/// The open database.
#[derive(Clone)]
pub struct DaemonDb {
    pool: SqlitePool,
}

impl DaemonDb {
    /// Opens or creates `daemon.db` in `dir`.
    pub async fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("daemon.db");
        ensure_private_file(&path)?;
        let options = super::options(&path);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await?;
        migrator(&[
            (
                1,
                "initial",
                include_str!("../../migrations/daemon/0001_initial.sql"),
            ),
            (
                2,
                "vaults",
                include_str!("../../migrations/daemon/0002_vaults.sql"),
            ),
            (
                3,
                "storage",
                include_str!("../../migrations/daemon/0003_storage.sql"),
            ),
        ])
        .run(&pool)
        .await?;
        Ok(Self { pool })
    }

    pub(super) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// The account that can be used.
    pub async fn account(&self) -> Result<Option<AccountRow>, StoreError> {
        Ok(self.rows("state = 'ready'").await?.pop())
    }

    /// What creations and deletions that were cut short left behind.
    pub async fn unfinished(&self) -> Result<Vec<AccountRow>, StoreError> {
        self.rows("state <> 'ready'").await
    }

    async fn rows(&self, which: &'static str) -> Result<Vec<AccountRow>, StoreError> {
        let sql = format!(
            "SELECT handle, vault, leftover_vault, locked_since_ms, network, client_token,
                    client_fingerprint
             FROM account WHERE {which}"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .fetch_all(&self.pool)
            .await?;
        let rows = rows.iter().map(|row| {
            Ok(AccountRow {
                handle: row.try_get(0)?,
                vault: row.try_get(1)?,
                leftover_vault: row.try_get(2)?,
                locked_since_ms: row.try_get(3)?,
                network: row.try_get(4)?,
                client_token: row.try_get(5)?,
                client_fingerprint: row.try_get(6)?,
            })
        });
        Ok(rows.collect::<Result<_, sqlx::Error>>()?)
    }

    /// Notes that an account is about to be made.
    pub async fn begin_account(&self, row: &AccountRow) -> Result<(), StoreError> {
        self.insert(row, "creating").await
    }

    /// Notes an account whose database was here already.
    pub async fn adopt_account(&self, row: &AccountRow) -> Result<(), StoreError> {
        self.insert(row, "ready").await
    }

    async fn insert(&self, row: &AccountRow, state: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO account
             (handle, state, vault, locked_since_ms, network, created_ms, client_token,
              client_fingerprint)
             VALUES (?, ?, ?, 0, ?, ?, ?, ?)",
        )
        .bind(&row.handle)
        .bind(state)
        .bind(&row.vault)
        .bind(&row.network)
        .bind(wall_clock_ms())
        .bind(&row.client_token)
        .bind(&row.client_fingerprint)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes that it stands.
    pub async fn finish_account(&self, handle: &str) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE account SET state = 'ready' WHERE handle = ?");
        self.run(query.bind(handle)).await
    }

    /// Notes that it is to be gone, whatever happens from now on.
    pub async fn begin_deletion(&self, handle: &str) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE account SET state = 'deleting' WHERE handle = ?");
        self.run(query.bind(handle)).await
    }

    /// Forgets one that was never finished or is gone.
    pub async fn forget_account(&self, handle: &str) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM account WHERE handle = ? AND state <> 'ready'");
        self.run(query.bind(handle)).await
    }

    /// Notes that a second vault is about to get the record.
    pub async fn begin_move(&self, handle: &str, to: &str) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE account SET leftover_vault = ? WHERE handle = ?");
        self.run(query.bind(to).bind(handle)).await
    }

    /// Puts another vault in charge; the one before is to be emptied.
    pub async fn finish_move(&self, handle: &str, to: &str) -> Result<(), StoreError> {
        let query = sqlx::query(
            "UPDATE account SET vault = ?1,
                 leftover_vault = coalesce(nullif(vault, ?1), nullif(leftover_vault, ?1))
             WHERE handle = ?2",
        );
        self.run(query.bind(to).bind(handle)).await
    }

    /// Notes that only the vault in charge holds the record.
    pub async fn forget_leftover(&self, handle: &str) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE account SET leftover_vault = NULL WHERE handle = ?");
        self.run(query.bind(handle)).await
    }

    /// Remembers since when it is locked, ms; 0: it is open.
    pub async fn set_locked_since(&self, handle: &str, ms: i64) -> Result<(), StoreError> {
        let query = sqlx::query(
            "UPDATE account SET locked_since_ms = ?1 WHERE handle = ?2 AND locked_since_ms <> ?1",
        );
        self.run(query.bind(ms).bind(handle)).await
    }

    async fn run(
        &self,
        query: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<(), StoreError> {
        query.execute(&self.pool).await?;
        Ok(())
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl Cache for DaemonDb {
    fn load(&self, record: CacheRecord) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            sqlx::query_scalar("SELECT bytes FROM cache WHERE record = ?")
                .bind(record.as_str())
                .fetch_optional(&self.pool)
                .await
                .unwrap_or_else(|error| {
                    tracing::warn!(%error, "the network cache cannot be read");
                    None
                })
        })
    }

    fn save(&self, record: CacheRecord, bytes: Vec<u8>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let saved = sqlx::query(
                "INSERT INTO cache (record, bytes, updated_ms) VALUES (?, ?, ?)
                 ON CONFLICT (record) DO UPDATE
                 SET bytes = excluded.bytes, updated_ms = excluded.updated_ms",
            )
            .bind(record.as_str())
            .bind(bytes)
            .bind(wall_clock_ms())
            .execute(&self.pool)
            .await;
            if let Err(error) = saved {
                tracing::warn!(%error, "the network cache cannot be written");
            }
        })
    }
}

/// A migrator over embedded scripts. Scripts are only ever added.
pub(super) fn migrator(scripts: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = scripts
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(
                *version,
                (*name).into(),
                MigrationType::Simple,
                AssertSqlSafe(*sql).into_sql_str(),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(migrations)
}
