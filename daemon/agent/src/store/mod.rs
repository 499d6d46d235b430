//! What is kept on disk: `daemon.db`, which holds no secret, and one encrypted database per account.
//!
//! Promises: nothing readable at rest (SQLCipher, raw random key), a committed write survives power loss (WAL,
//! `synchronous=FULL`), and a key never reaches a log: sqlx would print `PRAGMA key` with its statements, so
//! statement logging is off on every connection and the options are built anew for each open.
//! Facts: design.md "Storage", environment notes on sqlx and SQLCipher.

pub mod account_db;
pub mod control;
pub mod conversations;
pub mod daemon_db;
pub mod delivery;
pub mod details;
pub mod entries;
pub mod events;
pub mod expiry;
pub mod gaps;
pub mod messages;
pub mod outbox;
pub mod received;
pub mod schema;
pub mod search;
pub mod settings;
pub mod signs;
mod sqlite;
pub mod swarm_deletions;
pub mod targets;
pub mod timers;
mod tokenizer;
pub mod tokens;
pub mod words;
pub mod writer;

pub use account_db::{AccountDb, Meta};
pub use daemon_db::DaemonDb;
pub use writer::Writer;

use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused; the text names tables and columns, never content.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// A migration could not be applied, or the database is of a later version.
    #[error("database schema: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
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
        .disable_statement_logging()
}
