//! One account's encrypted database: opening, its one row of metadata, and the two ways in: readers and the writer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use session_protocol::AccountSeed;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::daemon_db::migrator;
use super::scrub::{self, Pending};
use super::sealed::Seal;
use super::{Health, StoreError, Writer, copy, events, salvage, sqlite, tokenizer};
use crate::platform::{ensure_private_file, sync_parent};
use crate::vault::DatabaseKey;

/// Connections that read. Each list or stream page takes one for a moment.
const READERS: u32 = 4;
/// Decrypted pages kept in memory, KiB with a minus sign: decrypting one costs more than a search in it.
const WRITER_CACHE: &str = "-8192";
/// The same, of each reader.
const READER_CACHE: &str = "-4096";
/// A reader that nobody needed for so long ends, with all that it keeps in memory.
const READER_REST: Duration = Duration::from_secs(60);
/// Pages in the write-ahead log after which they are copied into the database. What a backlog writes again and again is
/// then copied once; the log takes 8 MiB.
const CHECKPOINT: &str = "2000";
/// Longest a reader waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(10);

/// What an account's database knows about itself.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Network it lives in.
    pub network: String,
    /// Account ID.
    pub account_id: String,
    /// Name shown to others; may be empty.
    pub display_name: String,
    /// When the name was chosen, s: of two profiles others keep the newer one. 0 when that is not known.
    pub profile_s: i64,
    /// When it was made here, ms.
    pub created_ms: i64,
    /// Identity of the event log.
    pub log_id: [u8; 8],
}

/// An open account database.
pub struct AccountDb {
    readers: SqlitePool,
    writer: Writer,
    writer_task: Mutex<Option<JoinHandle<()>>>,
    committed: watch::Receiver<u64>,
    meta: RwLock<Arc<Meta>>,
    health: Arc<Health>,
    floor_ms: i64,
}

impl AccountDb {
    /// Where the database of `handle` lies.
    pub fn path(dir: &Path, handle: &str) -> PathBuf {
        dir.join(format!("{handle}.db"))
    }

    /// Makes an empty database for a new account.
    pub async fn create(path: &Path, key: &DatabaseKey, meta: &Meta) -> Result<(), StoreError> {
        ensure_private_file(path)?;
        let mut connection = connect(path, key).await?;
        migrate(&mut connection).await?;
        sqlx::query(
            "INSERT INTO meta
             (id, network, account_id, display_name, profile_s, created_ms, log_id, last_sent_ms, last_now_ms)
             VALUES (1, ?, ?, ?, ?, ?, ?, 0, 0)",
        )
        .bind(&meta.network)
        .bind(&meta.account_id)
        .bind(&meta.display_name)
        .bind(meta.profile_s)
        .bind(meta.created_ms)
        .bind(&meta.log_id[..])
        .execute(&mut connection)
        .await?;
        connection.close().await?;
        Ok(())
    }

    /// As [`AccountDb::open_watched`], for a database whose condition nobody else follows.
    pub async fn open(
        path: &Path,
        key: &DatabaseKey,
        network: &str,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, StoreError> {
        let health = Arc::new(Health::new(path.parent().unwrap_or(Path::new("."))));
        Self::open_watched(path, key, network, health, stop).await
    }

    /// Opens a database for use. It must belong to `network`. What is met while it is in use is noted in `health`.
    /// `stop` ends the writer.
    pub async fn open_watched(
        path: &Path,
        key: &DatabaseKey,
        network: &str,
        health: Arc<Health>,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, StoreError> {
        let mut connection = connect(path, key).await?;
        let found = match look(&mut connection, network).await {
            Ok(found) => found,
            Err(error) => {
                // Whoever tries again, or salvages it, must find it closed.
                drop(connection.close().await);
                return Err(error);
            }
        };
        health.update(|now| now.salvage = found.salvaged);
        let examined = Arc::clone(&health);
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE)
            .idle_timeout(READER_REST)
            .after_connect(|connection, _| Box::pin(set_up(connection)))
            .after_release(move |connection, _| {
                let health = Arc::clone(&examined);
                Box::pin(async move { Ok(health.examine(connection).await) })
            })
            .connect_lazy_with(
                options(path, key)
                    .pragma("query_only", "ON")
                    .pragma("cache_size", READER_CACHE),
            );
        let (committed_sender, committed) = watch::channel(0);
        let again = (path.to_owned(), key.clone());
        let connect = Box::new(move || -> BoxFuture<'static, _> {
            let (path, key) = again.clone();
            Box::pin(async move { connect(&path, &key).await })
        });
        let (writer, writer_task) = Writer::spawn(
            connection,
            connect,
            Arc::clone(&health),
            found.pending,
            committed_sender,
            stop,
        );
        Ok(Self {
            readers,
            writer,
            writer_task: Mutex::new(Some(writer_task)),
            committed,
            meta: RwLock::new(Arc::new(found.meta)),
            health,
            floor_ms: found.floor_ms,
        })
    }

    /// It was this late for certain when the database was last used, ms: time does not run backwards over a restart.
    pub fn floor_ms(&self) -> i64 {
        self.floor_ms
    }

    /// How it and the place where it lies stand.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Connections that only read.
    pub fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// The way to write.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Counts commits: changes whenever something may be new.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }

    /// What it knows about itself.
    pub fn meta(&self) -> Arc<Meta> {
        Arc::clone(&self.meta.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the name shown to others. Returns after it is on disk, with its event; false when it was the name
    /// already.
    pub async fn set_display_name(&self, name: String, now_ms: i64) -> Result<bool, StoreError> {
        let new = name.clone();
        let now_s = now_ms / 1000;
        let profile_s: Option<i64> = self
            .writer
            .call(move |connection| {
                Box::pin(async move {
                    let profile_s = sqlx::query_scalar(
                        "UPDATE meta SET display_name = ?1, profile_s = max(profile_s + 1, ?2)
                         WHERE id = 1 AND display_name <> ?1 RETURNING profile_s",
                    )
                    .bind(new)
                    .bind(now_s)
                    .fetch_optional(&mut *connection)
                    .await?;
                    if profile_s.is_some() {
                        let event = events::NewEvent::account_changed(&["display_name"]);
                        events::append(connection, &[event], now_ms).await?;
                    }
                    Ok(profile_s)
                })
            })
            .await?;
        if let Some(profile_s) = profile_s {
            let mut meta = self.meta.write().unwrap_or_else(PoisonError::into_inner);
            let meta = Arc::make_mut(&mut meta);
            (meta.display_name, meta.profile_s) = (name, profile_s);
        }
        Ok(profile_s.is_some())
    }

    /// Waits for the writer to end (its `stop` must have been set) and closes the readers, each with a deadline:
    /// closing a pool waits for as long as a connection is in use. True when everything is closed.
    pub async fn close(&self, deadline: Duration) -> bool {
        let mut clean = true;
        if let Some(task) = self.writer_task.lock().await.take()
            && tokio::time::timeout(deadline, task).await.is_err()
        {
            tracing::warn!("the writer did not end in time");
            clean = false;
        }
        if tokio::time::timeout(deadline, self.readers.close())
            .await
            .is_err()
        {
            tracing::warn!("a reader was still busy at the end");
            clean = false;
        }
        clean
    }
}

/// What an opening finds.
struct Found {
    meta: Meta,
    floor_ms: i64,
    salvaged: Option<salvage::Report>,
    pending: Pending,
}

/// Brings the schema up to date and looks who and what it is. Nobody reads yet.
async fn look(connection: &mut SqliteConnection, network: &str) -> Result<Found, StoreError> {
    migrate(connection).await?;
    // What a process that was killed left in the log.
    scrub::truncate(connection).await?;
    let floor_ms: i64 = sqlx::query_scalar(
        "SELECT iif(last_now_ms > 0, last_now_ms, created_ms) FROM meta WHERE id = 1",
    )
    .fetch_one(&mut *connection)
    .await?;
    let meta = read_meta(connection).await?;
    if meta.network != network {
        return Err(StoreError::OtherNetwork(meta.network));
    }
    Ok(Found {
        meta,
        floor_ms,
        salvaged: salvage::Report::read(connection).await?,
        pending: Pending::left(connection).await?,
    })
}

/// Scripts of the schema, in their order.
pub(super) const MIGRATIONS: [(i64, &str, &str); 13] = [
    (
        1,
        "initial",
        include_str!("../../migrations/account/0001_initial.sql"),
    ),
    (
        2,
        "kinds",
        include_str!("../../migrations/account/0002_kinds.sql"),
    ),
    (
        3,
        "search",
        include_str!("../../migrations/account/0003_search.sql"),
    ),
    (
        4,
        "lookups",
        include_str!("../../migrations/account/0004_lookups.sql"),
    ),
    (
        5,
        "profile_time",
        include_str!("../../migrations/account/0005_profile_time.sql"),
    ),
    (
        6,
        "signs",
        include_str!("../../migrations/account/0006_signs.sql"),
    ),
    (
        7,
        "places",
        include_str!("../../migrations/account/0007_places.sql"),
    ),
    (
        8,
        "stored_copies",
        include_str!("../../migrations/account/0008_stored_copies.sql"),
    ),
    (
        9,
        "disappearing",
        include_str!("../../migrations/account/0009_disappearing.sql"),
    ),
    (
        10,
        "named_copies",
        include_str!("../../migrations/account/0010_named_copies.sql"),
    ),
    (
        11,
        "read_elsewhere",
        include_str!("../../migrations/account/0011_read_elsewhere.sql"),
    ),
    (
        12,
        "no_gap",
        include_str!("../../migrations/account/0012_no_gap.sql"),
    ),
    (
        13,
        "quarantine_ends",
        include_str!("../../migrations/account/0013_quarantine_ends.sql"),
    ),
];

/// Brings the schema up to date, as a whole or not at all: a script that fails leaves the database as it was.
fn migrate(connection: &mut SqliteConnection) -> BoxFuture<'_, Result<(), StoreError>> {
    run_scripts(connection, &MIGRATIONS)
}

/// Boxed, because the compiler cannot see that the plain future is `Send`.
pub(super) fn run_scripts<'c>(
    connection: &'c mut SqliteConnection,
    scripts: &'c [(i64, &'static str, &'static str)],
) -> BoxFuture<'c, Result<(), StoreError>> {
    Box::pin(async move {
        let mut all = connection.begin().await?;
        migrator(scripts).run_direct(None, &mut *all, false).await?;
        all.commit().await?;
        Ok(())
    })
}

/// Version of the schema that a database has; 0 for an empty one.
pub(super) async fn version(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let known: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
            .fetch_one(&mut *connection)
            .await?;
    if known == 0 {
        return Ok(0);
    }
    let version: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await?;
    Ok(version.unwrap_or(0))
}

/// Whether opening the database would change its schema.
pub async fn needs_migration(path: &Path, key: &DatabaseKey) -> Result<bool, StoreError> {
    let mut connection = connect(path, key).await?;
    let version = version(&mut connection).await;
    drop(connection.close().await);
    let newest = MIGRATIONS.last().map_or(0, |(version, _, _)| *version);
    let version = version?;
    Ok(version > 0 && version < newest)
}

/// The key of tests that read the files raw: with it the database is not encrypted. No vault ever makes it, and no
/// production build knows it.
#[cfg(debug_assertions)]
pub const PLAIN: [u8; 32] = [0; 32];

/// Options with the key in them. Never formatted, logged or kept: `Debug` of this type prints the key.
fn options(path: &Path, key: &DatabaseKey) -> SqliteConnectOptions {
    let options = super::options(path);
    #[cfg(debug_assertions)]
    if key.as_bytes() == &PLAIN {
        return options.pragma("secure_delete", "ON");
    }
    let hex = Zeroizing::new(hex::encode(key.as_bytes()));
    options
        .pragma("key", format!("\"x'{}'\"", *hex))
        .pragma("cipher_log_level", "NONE")
        .pragma("secure_delete", "ON")
}

/// Connects to write.
pub(super) async fn connect(
    path: &Path,
    key: &DatabaseKey,
) -> Result<SqliteConnection, StoreError> {
    let options = options(path, key)
        .pragma("cache_size", WRITER_CACHE)
        .pragma("wal_autocheckpoint", CHECKPOINT);
    open_connection(options).await
}

async fn open_connection(options: SqliteConnectOptions) -> Result<SqliteConnection, StoreError> {
    let connected = options.connect().await;
    let mut connection = connected.map_err(|error| match error {
        // SQLITE_NOTADB is what a wrong key looks like.
        sqlx::Error::Database(cause) if cause.code().as_deref() == Some("26") => {
            StoreError::WrongKey
        }
        other => other.into(),
    })?;
    set_up(&mut connection).await?;
    Ok(connection)
}

/// Connects to read the whole of it, beside the others.
pub(super) async fn connect_to_read(
    path: &Path,
    key: &DatabaseKey,
) -> Result<SqliteConnection, StoreError> {
    open_connection(options(path, key).pragma("query_only", "ON")).await
}

/// What every connection needs before it is used.
async fn set_up(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlite::keep_plans(connection).await?;
    tokenizer::register(connection).await
}

/// Writes down how late it is for certain, ms: nodes have told the time.
pub async fn note_now(connection: &mut SqliteConnection, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE meta SET last_now_ms = ? WHERE id = 1")
        .bind(now_ms)
        .execute(connection)
        .await?;
    Ok(())
}

async fn read_meta(connection: &mut SqliteConnection) -> Result<Meta, StoreError> {
    let (network, account_id, display_name, profile_s, created_ms, log_id) =
        sqlx::query_as::<_, (String, String, String, i64, i64, Vec<u8>)>(
            "SELECT network, account_id, display_name, profile_s, created_ms, log_id
             FROM meta WHERE id = 1",
        )
        .fetch_one(connection)
        .await?;
    let log_id = log_id.try_into().map_err(|_| StoreError::WrongKey)?;
    Ok(Meta {
        network,
        account_id,
        display_name,
        profile_s,
        created_ms,
        log_id,
    })
}

/// Context of the key that seals the database key under the seed.
const SEALING_CONTEXT: &[u8] = b"sessiond database key v1";

fn seal(seed: &AccountSeed) -> Seal<'_> {
    Seal {
        secret: seed.as_bytes(),
        context: SEALING_CONTEXT,
        aad: SEALING_CONTEXT,
    }
}

/// Keeps the database key sealed under a key derived from the seed, so that the recovery phrase reopens local history
/// when the vault is lost.
pub fn write_sealed_key(path: &Path, seed: &AccountSeed, key: &DatabaseKey) -> std::io::Result<()> {
    seal(seed).write(&sealed_key_path(path), key.as_bytes())
}

/// Reads a database key sealed by [`write_sealed_key`]; `None` when the seed does not open it.
pub fn read_sealed_key(path: &Path, seed: &AccountSeed) -> std::io::Result<Option<DatabaseKey>> {
    let opened = seal(seed).read(&sealed_key_path(path))?;
    let key = opened.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
    Ok(key.map(DatabaseKey::from_bytes))
}

fn sealed_key_path(database: &Path) -> PathBuf {
    database.with_extension("key")
}

/// Removes every file of an account that was never finished or is to be gone.
pub fn remove_files(path: &Path) -> std::io::Result<()> {
    let names = [
        path.to_owned(),
        sealed_key_path(path),
        wal_path(path),
        // Of earlier versions.
        copy::with_suffix(path, "-shm"),
    ];
    names.iter().try_for_each(|name| copy::remove(name))?;
    copy::end_all(path)?;
    salvage::remove_files(path)?;
    sync_parent(path)
}

/// Where the write-ahead log of a database lies.
pub fn wal_path(database: &Path) -> PathBuf {
    copy::with_suffix(database, "-wal")
}
