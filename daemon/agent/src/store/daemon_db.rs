//! `daemon.db`: what the agent knows before any vault is open. No key, no account ID.
//!
//! One connection, taken in turn, and no pool of sqlx around it: a pool gives a connection back by a task of its own, and
//! looks after it by another. Where such a task does not get its turn, because the thread of the runtime that it waits for is
//! not free, everybody waits for a connection that nobody uses. Here it is free the moment a use ends or is given up.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use session_network::{Cache, CacheRecord};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqlSafeStr as _,
    SqliteConnection,
};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::time::timeout;

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

/// Longest wait for one's turn: a disk that hangs is told of.
const TURN: Duration = Duration::from_secs(30);

/// The open database.
#[derive(Clone)]
pub struct DaemonDb {
    /// Nothing once it is closed.
    connection: Arc<Mutex<Option<SqliteConnection>>>,
}

impl DaemonDb {
    /// Opens or creates `daemon.db` in `dir`.
    pub async fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("daemon.db");
        ensure_private_file(&path)?;
        let mut connection = super::options(&path).connect().await?;
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
        .run(&mut connection)
        .await?;
        Ok(Self {
            connection: Arc::new(Mutex::new(Some(connection))),
        })
    }

    /// The connection, for one statement.
    pub(super) async fn turn(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, StoreError> {
        let turn = timeout(TURN, self.connection.lock()).await;
        let turn = turn.map_err(|_| sqlx::Error::PoolTimedOut)?;
        MutexGuard::try_map(turn, Option::as_mut).map_err(|_| StoreError::Closed)
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
            .fetch_all(&mut *self.turn().await?)
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
        .execute(&mut *self.turn().await?)
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
        query.execute(&mut *self.turn().await?).await?;
        Ok(())
    }

    /// Closes the database.
    pub async fn close(&self) {
        let connection = self.connection.lock().await.take();
        if let Some(connection) = connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "daemon.db was not closed in order");
        }
    }

    async fn cached(&self, record: CacheRecord) -> Result<Option<Vec<u8>>, StoreError> {
        let query = sqlx::query_scalar("SELECT bytes FROM cache WHERE record = ?");
        let query = query.bind(record.as_str());
        Ok(query.fetch_optional(&mut *self.turn().await?).await?)
    }
}

impl Cache for DaemonDb {
    fn load(&self, record: CacheRecord) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            self.cached(record).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the network cache cannot be read");
                None
            })
        })
    }

    fn save(&self, record: CacheRecord, bytes: Vec<u8>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let query = sqlx::query(
                "INSERT INTO cache (record, bytes, updated_ms) VALUES (?, ?, ?)
                 ON CONFLICT (record) DO UPDATE
                 SET bytes = excluded.bytes, updated_ms = excluded.updated_ms",
            )
            .bind(record.as_str())
            .bind(bytes)
            .bind(wall_clock_ms());
            let saved = self.run(query).await;
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use futures_util::FutureExt as _;

    use super::*;

    const BUSY: Duration = Duration::from_secs(5);

    /// Does something while no thread of the runtime is free, and says whether it was done before one was.
    fn while_busy<T>(prepare: impl AsyncFnOnce() -> T, work: impl AsyncFnOnce(&T)) -> bool {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let prepared = prepare().await;
            let (begun, begins) = tokio::sync::oneshot::channel();
            let (done, is_done) = mpsc::channel::<()>();
            tokio::spawn(async move {
                begun.send(()).unwrap();
                let _ = is_done.recv_timeout(BUSY);
            });
            begins.await.unwrap();
            let began = Instant::now();
            work(&prepared).await;
            drop(done);
            began.elapsed() < BUSY
        })
    }

    #[test]
    fn a_use_needs_no_turn_of_the_runtime_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let open = async || DaemonDb::open(dir.path()).await.unwrap();
        assert!(while_busy(open, async |db| {
            for _ in 0..3 {
                db.save(CacheRecord::Guards, vec![7]).await;
                assert_eq!(db.load(CacheRecord::Guards).await, Some(vec![7]));
                assert!(db.account().await.unwrap().is_none());
            }
        }));
    }

    #[tokio::test]
    async fn a_use_that_is_given_up_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let db = DaemonDb::open(dir.path()).await.unwrap();
        for _ in 0..20 {
            let mut save = db.save(CacheRecord::Nodes, vec![1; 100_000]);
            // It waits for SQLite's thread now.
            let _ = (&mut save).now_or_never();
            drop(save);
            let turn = timeout(BUSY, db.account()).await;
            assert!(turn.unwrap().unwrap().is_none());
        }
        db.close().await;
        assert!(matches!(db.account().await, Err(StoreError::Closed)));
    }
}
