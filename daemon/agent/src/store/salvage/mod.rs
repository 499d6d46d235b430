//! Salvage: what a damaged database still holds is taken over into a new one.
//!
//! Promises: every row that is readable is there afterwards, also those that nothing leads to any more because an inner
//! page, a root or the schema is damaged. The outbox is never armed again: what waited ends as FAILED(DATABASE_SALVAGED)
//! and can be sent again by whoever wrote it, since nobody knows what the damaged pages said about it. The event log
//! begins anew with another identity, so subscribers are told LOG_REPLACED and list what there is. What is lost is
//! counted by the index of messages, stands as a gap at its place in every conversation that lost something, and in
//! status. The damaged original is kept as a sealed copy with an end ([`super::copy`]). Nothing is readable on disk
//! meanwhile.
//!
//! It happens only when a check found damage, or when the database does not open although the key is right; never while
//! it is open. A death at any moment loses nothing: the new database is built under a name of its own (`.salvage`) and
//! begun anew by the next start; once it is whole it is renamed (`.salvaged`), and from then on every start only goes on
//! with putting it in place ([`finish`]).
//!
//! [`pages`] decrypts, [`btree`] and [`record`] parse, [`source`] finds rows, [`target`] takes them over.

mod btree;
mod pages;
mod record;
mod source;
mod target;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sqlx::{Connection as _, SqliteConnection};

use self::source::Source;
use super::account_db::{self, MIGRATIONS, wal_path};
use super::copy::{self, Kind, remove, wipe, with_suffix};
use super::{Meta, StoreError};
use crate::platform::{ensure_private_file, sync_parent};
use crate::vault::DatabaseKey;

pub use target::{FAILURE, GAP_BY_DAMAGE};

/// What a salvage came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// When, ms.
    pub at_ms: i64,
    /// Pages that could not be read.
    pub damaged_pages: i64,
    /// Messages that were taken over.
    pub kept_messages: i64,
    /// Messages that are known to be lost; more may be where the index is damaged, too.
    pub lost_messages: i64,
    /// Messages that waited to be sent and now do not.
    pub unsent_messages: i64,
}

impl Report {
    /// Rows of table `counter`.
    const NAMES: [&str; 5] = [
        "SALVAGE_MS",
        "SALVAGE_DAMAGED_PAGES",
        "SALVAGE_KEPT_MESSAGES",
        "SALVAGE_LOST_MESSAGES",
        "SALVAGE_UNSENT_MESSAGES",
    ];

    /// Whether this row of `counter` belongs to it.
    pub(super) fn has(name: &str) -> bool {
        Self::NAMES.contains(&name)
    }

    async fn write(&self, db: &mut SqliteConnection) -> Result<(), StoreError> {
        let values = [
            self.at_ms,
            self.damaged_pages,
            self.kept_messages,
            self.lost_messages,
            self.unsent_messages,
        ];
        for (name, value) in Self::NAMES.into_iter().zip(values) {
            sqlx::query("INSERT OR REPLACE INTO counter (name, value) VALUES (?, ?)")
                .bind(name)
                .bind(value)
                .execute(&mut *db)
                .await?;
        }
        Ok(())
    }

    /// The last one of this database, if there was one.
    pub async fn read(db: &mut SqliteConnection) -> Result<Option<Self>, StoreError> {
        let mut values = [0; 5];
        for (name, value) in Self::NAMES.into_iter().zip(&mut values) {
            let found: Option<i64> = sqlx::query_scalar("SELECT value FROM counter WHERE name = ?")
                .bind(name)
                .fetch_optional(&mut *db)
                .await?;
            *value = found.unwrap_or(0);
        }
        let [
            at_ms,
            damaged_pages,
            kept_messages,
            lost_messages,
            unsent_messages,
        ] = values;
        Ok((at_ms > 0).then_some(Self {
            at_ms,
            damaged_pages,
            kept_messages,
            lost_messages,
            unsent_messages,
        }))
    }
}

/// The new database while it is being filled.
fn unfinished_path(database: &Path) -> PathBuf {
    database.with_extension("salvage")
}

/// The new database once it is whole.
fn finished_path(database: &Path) -> PathBuf {
    database.with_extension("salvaged")
}

/// The damaged original between the two renames.
fn original_path(database: &Path) -> PathBuf {
    database.with_extension("original")
}

/// Takes over what is readable. `meta` is what is known about the account without the database; its `log_id` becomes
/// that of the new event log. Nobody may have the database open. [`StoreError::WrongKey`] when nothing in the file was
/// written with this key; the file is then left as it is.
pub async fn run(
    path: &Path,
    key: &DatabaseKey,
    meta: &Meta,
    now_ms: i64,
) -> Result<Report, StoreError> {
    copy::require_room(path, 2)?;
    // One damaged original is kept: the latest.
    copy::end(path, Kind::Damaged)?;
    let (from, with) = (path.to_owned(), key.clone());
    let source = blocking(move || Source::open(&from, &with)).await??;
    let mut source = source.ok_or(StoreError::WrongKey)?;
    let newest = MIGRATIONS.last().map_or(0, |(version, _, _)| *version);
    let version = source.version().unwrap_or(newest);

    let fresh = unfinished_path(path);
    discard(&fresh)?;
    ensure_private_file(&fresh)?;
    let mut connection = account_db::connect(&fresh, key).await?;
    // Rows come in the order of tables, not of what they refer to.
    sqlx::query("PRAGMA foreign_keys = OFF")
        .execute(&mut connection)
        .await?;
    let known = MIGRATIONS
        .iter()
        .filter(|(number, _, _)| *number <= version);
    let scripts: Vec<_> = known.copied().collect();
    account_db::run_scripts(&mut connection, &scripts).await?;
    let shapes = target::shapes(&mut connection).await?;
    let all = shapes.clone();
    let mut source = blocking(move || {
        source.adopt_strays(&all);
        source
    })
    .await?;
    for shape in &shapes {
        target::take_over(&mut connection, &mut source, shape).await?;
    }
    account_db::run_scripts(&mut connection, &MIGRATIONS).await?;
    let report = target::settle(&mut connection, &mut source, meta, now_ms).await?;
    connection.close().await?;
    remove(&wal_path(&fresh))?;
    File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, finished_path(path))?;
    sync_parent(path)?;
    finish(path, key, now_ms).await?;
    Ok(report)
}

/// Goes on where a death cut a salvage short, before the database is opened. True when a new database was put in place.
pub async fn finish(path: &Path, key: &DatabaseKey, now_ms: i64) -> Result<bool, StoreError> {
    discard(&unfinished_path(path))?;
    let finished = finished_path(path);
    let is_finished = finished.exists();
    if is_finished {
        if path.exists() {
            // The latest copy of this kind was ended before the new database was begun.
            if !copy::path(path, Kind::Damaged).exists() {
                let (from, key) = (path.to_owned(), key.clone());
                blocking(move || copy::seal_damaged(&from, &key, now_ms)).await??;
            }
            // Before the rename: the log of one database must never be found beside another.
            wipe(&wal_path(path))?;
            fs::rename(path, original_path(path))?;
        }
        fs::rename(&finished, path)?;
        sync_parent(path)?;
    }
    let original = original_path(path);
    blocking(move || wipe(&original)).await??;
    Ok(is_finished)
}

/// Removes everything of an account's salvage that was cut short, when the account is to be gone.
pub fn remove_files(path: &Path) -> io::Result<()> {
    discard(&unfinished_path(path))?;
    discard(&finished_path(path))?;
    remove(&original_path(path))
}

fn discard(database: &Path) -> io::Result<()> {
    remove(database)?;
    remove(&wal_path(database))?;
    remove(&with_suffix(database, "-journal"))
}

/// Off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StoreError::Damaged)
}
