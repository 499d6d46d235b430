//! What is kept on disk: `daemon.db`, which holds no secret, and one encrypted database per account.
//!
//! Promises: nothing readable at rest (SQLCipher, raw random key), a committed write survives power loss (WAL,
//! `synchronous=FULL`), and a key never reaches a log: sqlx would print `PRAGMA key` with its statements, so
//! statement logging is off on every connection and the options are built anew for each open.
//!
//! SQLite's VFS is `unix-excl`: the state directory belongs to one process anyway, so the index of the write-ahead log
//! lies in memory and not in a mapped file. A mapped file on a disk that fails, or that became read-only, ends the process
//! with SIGBUS (tried with ext4); and it needs room, which a start on a full disk does not have.
//! Facts: design.md "Storage", environment notes on sqlx and SQLCipher.

pub mod account_db;
pub mod check;
pub mod control;
pub mod conversations;
pub mod copy;
pub mod daemon_db;
pub mod delivery;
pub mod details;
pub mod entries;
pub mod events;
pub mod expiry;
pub mod gaps;
pub mod gone;
pub mod health;
mod list;
pub mod marks;
pub mod messages;
pub mod outbox;
pub mod received;
pub mod salvage;
pub mod schema;
pub mod scrub;
mod sealed;
pub mod search;
pub mod settings;
pub mod signs;
pub mod space;
mod sqlite;
pub mod stored_copies;
pub mod swarm_deletions;
pub mod swarm_expiry;
mod swarm_queue;
pub mod targets;
pub mod timers;
mod tokenizer;
pub mod tokens;
pub mod words;
pub mod writer;

pub use account_db::{AccountDb, Meta};
pub use daemon_db::DaemonDb;
pub use health::{Health, Trouble};
pub use writer::Writer;

use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused; the text names tables and columns, never content.
    #[error("database: {0}")]
    Sql(#[source] sqlx::Error),
    /// No room for it.
    #[error(
        "the disk is full: make room; nothing that was accepted is lost, and work goes on by itself"
    )]
    DiskFull,
    /// The state directory cannot be written.
    #[error(
        "the state directory cannot be written: make it writable; nothing that was accepted is lost, and work goes on \
         by itself"
    )]
    ReadOnly,
    /// A page does not have the content that was written.
    #[error(
        "the database is damaged; it is checked, and what is readable is saved; see `sessionctl status`"
    )]
    Damaged,
    /// A migration could not be applied, or the database is of a later version.
    #[error("database schema: {0}")]
    Migrate(#[from] MigrateError),
    /// The file cannot be made or read.
    #[error("database file: {0}")]
    Io(#[from] std::io::Error),
    /// The key does not fit, or the file is no database.
    #[error("the database does not open with this key")]
    WrongKey,
    /// The database belongs to another network.
    #[error("this database belongs to the network \"{0}\"")]
    OtherNetwork(String),
    /// The other writes of the same group could not be committed.
    #[error("the database could not commit")]
    NotCommitted,
    /// The agent is stopping.
    #[error("the agent is stopping")]
    Closed,
    /// A client token came again with other content.
    #[error("this client token was used for something else")]
    TokenReused,
    /// The outbox is full.
    #[error("{0} messages wait to be sent already")]
    OutboxFull(i64),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match Trouble::of(&error) {
            Some(trouble) => trouble.into(),
            None => Self::Sql(error),
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::DiskFull => Self::DiskFull,
            Trouble::ReadOnly => Self::ReadOnly,
            Trouble::Damaged => Self::Damaged,
        }
    }
}

impl StoreError {
    /// What it says about the data and the place where they lie.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::DiskFull => Some(Trouble::DiskFull),
            Self::ReadOnly => Some(Trouble::ReadOnly),
            Self::Damaged => Some(Trouble::Damaged),
            Self::Io(error) => Trouble::of_io(error),
            Self::Migrate(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            ) => Trouble::of(error),
            _ => None,
        }
    }

    /// As [`StoreError::trouble`]; where only the directory can tell, it is looked at.
    pub async fn trouble_in(&self, dir: &Path) -> Option<Trouble> {
        let (Self::Sql(error)
        | Self::Migrate(
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
        )) = self
        else {
            return self.trouble();
        };
        match health::code(error) {
            Some(code) if health::is_about_files(code) => space::look(dir).await,
            _ => self.trouble(),
        }
    }
}

/// Most time a statement waits for another process's lock. There is none in ordinary use.
const BUSY: Duration = Duration::from_secs(5);

/// Options of a database without a key. Statement logging is off.
fn options(path: &Path) -> SqliteConnectOptions {
    sqlite::configure();
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .vfs("unix-excl")
        .disable_statement_logging()
}
