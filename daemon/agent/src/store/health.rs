//! How the stored data stands: whether it can be written, whether a damaged page was met, what the last check found.
//!
//! Promises: a full disk and a read-only directory are states, not failures. While one lasts nothing is accepted or
//! taken over from the network, nothing is lost, and work goes on by itself: a probe, a real file of [`PROBE`] bytes,
//! decides when it is over ([`crate::store::space`]), because a small commit may fit where the next one does not.
//! A damaged page is told to whoever watches, who writes it down and has the database checked.
//!
//! SQLCipher 4.10, as tried: the first access to a page whose HMAC does not fit gives SQLITE_CORRUPT, SQLITE_NOTADB or
//! SQLITE_ERROR, and from then on *every* statement on that connection SQLITE_NOMEM. Such a connection is of no more
//! use: readers are closed, the writer connects anew.

use std::path::{Path, PathBuf};

use sqlx::SqliteConnection;
use tokio::sync::watch;

use super::{copy, salvage, space};
use crate::time::wall_clock_ms;

/// Bytes that must fit before a full disk counts as having room again.
pub const PROBE: usize = 1024 * 1024;

/// What is wrong with where the data lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No room, or no quota.
    DiskFull,
    /// The directory or its file system cannot be written.
    ReadOnly,
    /// A page does not have the content that was written.
    Damaged,
}

impl Trouble {
    /// By SQLite's extended result code. `None` for what says nothing about the file, and for errors of input and output
    /// whose cause only a look at the directory tells.
    pub fn of_code(code: i32) -> Option<Self> {
        match code & 0xff {
            // CORRUPT, NOTADB; NOMEM: see the head of this module.
            11 | 26 | 7 => Some(Self::Damaged),
            // FULL
            13 => Some(Self::DiskFull),
            // READONLY
            8 => Some(Self::ReadOnly),
            _ => None,
        }
    }

    /// By an error of sqlx.
    pub fn of(error: &sqlx::Error) -> Option<Self> {
        Self::of_code(code(error)?)
    }

    /// By an error of the operating system.
    pub fn of_io(error: &std::io::Error) -> Option<Self> {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(Self::DiskFull),
            ErrorKind::ReadOnlyFilesystem => Some(Self::ReadOnly),
            _ => None,
        }
    }

    /// UPPER_SNAKE.
    pub fn reason(self) -> &'static str {
        match self {
            Self::DiskFull => "DISK_FULL",
            Self::ReadOnly => "STORAGE_READ_ONLY",
            Self::Damaged => "DATABASE_DAMAGED",
        }
    }
}

/// SQLite's extended result code of an error, if it has one.
pub fn code(error: &sqlx::Error) -> Option<i32> {
    match error {
        sqlx::Error::Database(cause) => cause.code()?.parse().ok(),
        _ => None,
    }
}

/// What the last check of the database found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// None since the start, and none on record.
    #[default]
    None,
    /// Under way.
    Running,
    /// Nothing wrong, ms.
    Sound(i64),
    /// A damaged page, or a structure that does not fit, ms.
    Damaged(i64),
}

/// Everything there is to tell.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// Why nothing can be written, and since when, ms.
    pub blocked: Option<(Trouble, i64)>,
    /// A damaged page was met since the database was opened.
    pub damage_met: bool,
    /// The run before this one did not close the database.
    pub unclean_stop: bool,
    /// The last check.
    pub check: Check,
    /// The last time what was readable was taken over from a damaged database.
    pub salvage: Option<salvage::Report>,
    /// Copies that are kept for safety.
    pub copies: Vec<copy::Kept>,
}

/// The condition of a state directory and of the database in it. Shared by all who work with it.
pub struct Health {
    dir: PathBuf,
    condition: watch::Sender<Condition>,
}

impl Health {
    /// Of a state directory.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            condition: watch::channel(Condition::default()).0,
        }
    }

    /// As it is now.
    pub fn now(&self) -> Condition {
        self.condition.borrow().clone()
    }

    /// Follows it.
    pub fn watch(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// The state directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Why nothing can be written now.
    pub fn blocked(&self) -> Option<Trouble> {
        self.condition.borrow().blocked.map(|(trouble, _)| trouble)
    }

    /// Resolves once something can be written.
    pub async fn writable(&self) {
        let mut condition = self.watch();
        // The sender lives as long as `self`.
        drop(condition.wait_for(|now| now.blocked.is_none()).await);
    }

    /// Notes what a statement said. Gives what it means for the data, if anything.
    pub async fn judge(&self, code: i32) -> Option<Trouble> {
        let trouble = match Trouble::of_code(code) {
            None if is_about_files(code) => space::look(&self.dir).await,
            known => known,
        };
        if let Some(trouble) = trouble {
            self.note(trouble);
        }
        trouble
    }

    /// Notes what is wrong.
    pub fn note(&self, trouble: Trouble) {
        self.condition.send_if_modified(|now| match trouble {
            Trouble::Damaged => !std::mem::replace(&mut now.damage_met, true),
            _ if now.blocked.is_some_and(|(before, _)| before == trouble) => false,
            _ => {
                tracing::error!(
                    reason = trouble.reason(),
                    "nothing can be stored; work goes on by itself once it can"
                );
                now.blocked = Some((trouble, wall_clock_ms()));
                true
            }
        });
    }

    /// Something can be written again.
    pub fn unblock(&self) {
        self.condition.send_if_modified(|now| {
            let was = now.blocked.take();
            if was.is_some() {
                tracing::info!("the state directory can be written again");
            }
            was.is_some()
        });
    }

    /// Changes what is told.
    pub fn update(&self, change: impl FnOnce(&mut Condition)) {
        self.condition.send_modify(change);
    }

    /// Looks at a connection after use: notes what its last error means, and says whether it is of further use.
    pub async fn examine(&self, connection: &mut SqliteConnection) -> bool {
        let last = match connection.lock_handle().await {
            Ok(mut handle) => handle.last_error(),
            Err(_) => return false,
        };
        let Some(code) = last.and_then(|error| code(&sqlx::Error::from(error))) else {
            return true;
        };
        self.judge(code).await != Some(Trouble::Damaged)
    }
}

/// IOERR and CANTOPEN: the directory may be full or read-only, or the disk may be broken.
pub fn is_about_files(code: i32) -> bool {
    matches!(code & 0xff, 10 | 14)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_known_with_their_extensions() {
        for (code, trouble) in [
            (13, Some(Trouble::DiskFull)),
            (8, Some(Trouble::ReadOnly)),
            (8 | 5 << 8, Some(Trouble::ReadOnly)),
            (11 | 1 << 8, Some(Trouble::Damaged)),
            (26, Some(Trouble::Damaged)),
            (7, Some(Trouble::Damaged)),
            (19 | 8 << 8, None),
            (10 | 3 << 8, None),
            (1, None),
            (0, None),
        ] {
            assert_eq!(Trouble::of_code(code), trouble, "{code}");
        }
        assert!(is_about_files(10 | 19 << 8) && is_about_files(14) && !is_about_files(13));
    }

    #[tokio::test]
    async fn what_blocks_is_told_until_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let health = Health::new(dir.path());
        health.writable().await;
        assert_eq!(health.judge(19).await, None);
        // An error of files in a directory that can be written is something else.
        assert_eq!(health.judge(10 | 3 << 8).await, None);
        assert_eq!(health.judge(13).await, Some(Trouble::DiskFull));
        let since = health.now().blocked.unwrap().1;
        health.note(Trouble::DiskFull);
        assert_eq!(health.now().blocked, Some((Trouble::DiskFull, since)));
        assert!(!health.now().damage_met);
        health.note(Trouble::Damaged);
        assert!(health.now().damage_met);
        assert_eq!(health.blocked(), Some(Trouble::DiskFull));
        health.unblock();
        health.writable().await;
        assert!(health.now().damage_met);
    }
}
