//! `daemon.db`: what the agent knows before any vault is open. No key, no account ID.

use std::path::Path;

use futures_util::future::BoxFuture;
use session_network::{Cache, CacheRecord};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

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
        migrator(&[(
            1,
            "initial",
            include_str!("../../migrations/daemon/0001_initial.sql"),
        )])
        .run(&pool)
        .await?;
        Ok(Self { pool })
    }

    /// Accounts whose creation came to its end.
    pub async fn account(&self) -> Result<Option<AccountRow>, StoreError> {
        let row = sqlx::query_as::<_, (String, String, String, String, Vec<u8>)>(
            "SELECT handle, vault, network, client_token, client_fingerprint
             FROM account WHERE state = 'ready' LIMIT 1",
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(
            |(handle, vault, network, client_token, client_fingerprint)| AccountRow {
                handle,
                vault,
                network,
                client_token,
                client_fingerprint,
            },
        ))
    }

    /// Handles of creations that were cut short.
    pub async fn unfinished(&self) -> Result<Vec<String>, StoreError> {
        Ok(
            sqlx::query_scalar("SELECT handle FROM account WHERE state = 'creating'")
                .fetch_all(&self.pool)
                .await?,
        )
    }

    /// Notes that an account is about to be made.
    pub async fn begin_account(&self, row: &AccountRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO account
             (handle, state, vault, network, created_ms, client_token, client_fingerprint)
             VALUES (?, 'creating', ?, ?, ?, ?, ?)",
        )
        .bind(&row.handle)
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
        sqlx::query("UPDATE account SET state = 'ready' WHERE handle = ?")
            .bind(handle)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets an unfinished one.
    pub async fn forget_account(&self, handle: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM account WHERE handle = ? AND state = 'creating'")
            .bind(handle)
            .execute(&self.pool)
            .await?;
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
