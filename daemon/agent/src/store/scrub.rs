//! Takes out of the files what was removed from the database (design.md promise 3).
//!
//! A removed row is overwritten in the database (`PRAGMA secure_delete`). Two copies of it may be left all the same:
//!
//! * The write-ahead log holds pages as they were when the row was written. A TRUNCATE checkpoint empties it, repeated
//!   until it succeeds: a reader that stays in an older state holds it back. An attempt waits for readers no longer than
//!   [`PATIENCE_MS`], and the pauses between attempts double: a reader that never ends costs next to nothing.
//! * SQLite moves rows between pages and leaves the bytes where they were, in the unused middle of a page, which
//!   `secure_delete` does not reach. Writing the database anew (VACUUM) does. That costs twice its size and holds up
//!   the writer, so a small database is written anew at once, and again when the process ends; a larger one, and any one
//!   that was written anew lately, no more often than once in [`PER_MIB`] for each MiB that it has. One above
//!   [`TOO_LARGE`] is not written anew at all.
//!
//! That something is still to be done is in the database (`meta.scrub`), for the next start.

use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::time::Instant;

/// Longest that one attempt to empty the log holds up the writer, ms.
const PATIENCE_MS: u32 = 100;
/// First pause after an attempt that was held back; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// Between two times that the database is written anew, for each MiB of it: a gigabyte a day at most.
const PER_MIB: Duration = Duration::from_secs(180);
/// A larger database is never written anew, bytes.
const TOO_LARGE: u64 = 256 * MIB;
/// A larger one is not written anew right after the start, nor while the process ends, bytes.
const SMALL: u64 = 8 * MIB;
const MIB: u64 = 1024 * 1024;

/// What is still to be taken out, and when that is tried next.
#[derive(Debug)]
pub(super) struct Pending {
    /// The log, and when.
    log: Option<Instant>,
    pause: Duration,
    /// The database, and when.
    pages: Option<Instant>,
    /// When the database was last written anew, or that was tried.
    anew: Option<Instant>,
    opened: Instant,
}

impl Pending {
    /// What an earlier process left to be done.
    pub(super) async fn left(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let left: bool = sqlx::query_scalar("SELECT scrub FROM meta WHERE id = 1")
            .fetch_one(connection)
            .await?;
        let now = Instant::now();
        Ok(Self {
            log: None,
            pause: Duration::ZERO,
            pages: left.then_some(now),
            anew: None,
            opened: now,
        })
    }

    /// When to try next; `None`: there is nothing to do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.log.into_iter().chain(self.pages).min()
    }

    /// Something was removed: tries now. True when the log is empty; the database may follow later.
    pub(super) async fn attempt(&mut self, connection: &mut SqliteConnection) -> bool {
        match self.write_anew(&mut *connection).await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "the database could not be written anew");
                // As after a success: a disk that is nearly full is not filled again and again.
                self.anew = Some(Instant::now());
                self.pages = Some(Instant::now() + PER_MIB);
            }
        }
        let done = match truncate(connection).await {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log could not be emptied");
                false
            }
        };
        if done {
            self.log = None;
            self.pause = Duration::ZERO;
        } else {
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
            self.log = Some(Instant::now() + self.pause);
        }
        done
    }

    /// Writes the database anew if something was removed and it is time.
    async fn write_anew(&mut self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let Some(size) = to_clean(&mut *connection).await? else {
            self.pages = None;
            return Ok(());
        };
        let now = Instant::now();
        let last = self.anew.or((size > SMALL).then_some(self.opened));
        self.pages = due(last, size, now);
        if self.pages.is_some_and(|at| at <= now) {
            vacuum(connection).await?;
            self.anew = Some(now);
            self.pages = None;
        }
        Ok(())
    }

    /// The process ends: what is still to be done is, as far as it is quick and no reader is in the way.
    pub(super) async fn finish(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        match to_clean(&mut *connection).await? {
            Some(size) if size <= SMALL => vacuum(&mut *connection).await?,
            None if self.log.is_none() => return Ok(()),
            _ => {}
        }
        truncate(connection).await.map(drop)
    }
}

/// When a database of that size may be written anew; `None`: never.
fn due(last: Option<Instant>, size: u64, now: Instant) -> Option<Instant> {
    let mib = u32::try_from(size.div_ceil(MIB)).unwrap_or(u32::MAX);
    (size <= TOO_LARGE).then(|| last.map_or(now, |last| last + PER_MIB * mib))
}

/// How large the database is, if something was removed from it since it was last written anew.
async fn to_clean(connection: &mut SqliteConnection) -> Result<Option<u64>, sqlx::Error> {
    let (scrub, size): (bool, i64) = sqlx::query_as(
        "SELECT scrub, (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size)
         FROM meta WHERE id = 1",
    )
    .fetch_one(connection)
    .await?;
    Ok(scrub.then(|| u64::try_from(size).unwrap_or(0)))
}

async fn vacuum(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    // In a file, which is encrypted as the database is: in memory it would take as much as the database.
    for sql in [
        "PRAGMA temp_store = FILE",
        "VACUUM",
        "PRAGMA temp_store = DEFAULT",
        "UPDATE meta SET scrub = 0 WHERE id = 1",
    ] {
        sqlx::query(sql).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Something was removed, in this transaction.
pub async fn removed(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE meta SET scrub = 1 WHERE id = 1 AND scrub = 0")
        .execute(connection)
        .await?;
    Ok(())
}

/// One attempt to empty the log. False when a reader held it back.
pub(super) async fn truncate(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let patience = |ms: u32| sqlx::AssertSqlSafe(format!("PRAGMA busy_timeout = {ms}"));
    sqlx::query(patience(PATIENCE_MS))
        .execute(&mut *connection)
        .await?;
    let outcome: Result<(i64, i64, i64), sqlx::Error> =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(&mut *connection)
            .await;
    let usual = u32::try_from(super::BUSY.as_millis()).unwrap_or(u32::MAX);
    sqlx::query(patience(usual)).execute(connection).await?;
    let (busy, _, _) = outcome?;
    Ok(busy == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_larger_the_database_the_seldomer_it_is_written_anew() {
        let first = Instant::now();
        tokio::time::advance(Duration::from_secs(60)).await;
        let now = Instant::now();
        let minutes = |count: u64| Some(first + Duration::from_secs(60 * count));
        assert_eq!(due(None, 100 * MIB, now), Some(now));
        assert_eq!(due(Some(first), 100_000, now), minutes(3));
        assert_eq!(due(Some(first), MIB + 1, now), minutes(6));
        assert_eq!(due(Some(first), 256 * MIB, now), minutes(768));
        assert_eq!(due(None, 256 * MIB + 1, now), None);
    }
}
