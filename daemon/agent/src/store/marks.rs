//! How an account's database was left: marks in `daemon.db`, because a damaged database cannot be asked.
//!
//! `open` is set before anything is served and cleared after a clean close: found set at a start, the run before ended
//! by a crash, a kill or a loss of power. `damaged` is set when a damaged page is met and makes the next opening check
//! the whole database before it serves anything.

use super::{DaemonDb, StoreError};

/// What is on record about a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// It was not closed.
    pub open: bool,
    /// A damaged page was met.
    pub damaged: bool,
    /// When it was last checked, ms; 0: never.
    pub checked_ms: i64,
    /// What that check found.
    pub sound: bool,
}

impl DaemonDb {
    /// What is on record; nothing for a new account.
    pub async fn marks(&self, handle: &str) -> Result<Marks, StoreError> {
        let row: Option<(bool, bool, i64, bool)> =
            sqlx::query_as("SELECT open, damaged, checked_ms, sound FROM storage WHERE handle = ?")
                .bind(handle)
                .fetch_optional(&mut *self.turn().await?)
                .await?;
        Ok(
            row.map_or_else(Marks::default, |(open, damaged, checked_ms, sound)| Marks {
                open,
                damaged,
                checked_ms,
                sound,
            }),
        )
    }

    /// Puts it on record, on disk when this returns.
    pub async fn set_marks(&self, handle: &str, marks: Marks) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO storage (handle, open, damaged, checked_ms, sound) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (handle) DO UPDATE SET open = excluded.open, damaged = excluded.damaged,
                 checked_ms = excluded.checked_ms, sound = excluded.sound",
        )
        .bind(handle)
        .bind(marks.open)
        .bind(marks.damaged)
        .bind(marks.checked_ms)
        .bind(marks.sound)
        .execute(&mut *self.turn().await?)
        .await?;
        Ok(())
    }

    /// It was closed cleanly.
    pub async fn mark_closed(&self, handle: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE storage SET open = 0 WHERE handle = ?")
            .bind(handle)
            .execute(&mut *self.turn().await?)
            .await?;
        Ok(())
    }

    /// A damaged page was met.
    pub async fn mark_damaged(&self, handle: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE storage SET damaged = 1 WHERE handle = ?")
            .bind(handle)
            .execute(&mut *self.turn().await?)
            .await?;
        Ok(())
    }

    /// A check beside the work ended.
    pub async fn mark_checked(
        &self,
        handle: &str,
        at_ms: i64,
        sound: bool,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE storage SET checked_ms = ?, sound = ?, damaged = damaged OR NOT ? WHERE handle = ?",
        )
        .bind(at_ms)
        .bind(sound)
        .bind(sound)
        .bind(handle)
        .execute(&mut *self.turn().await?)
        .await?;
        Ok(())
    }

    /// Nothing is on record about an account that is gone.
    pub async fn forget_marks(&self, handle: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM storage WHERE handle = ?")
            .bind(handle)
            .execute(&mut *self.turn().await?)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn marks_last() {
        let dir = tempfile::tempdir().unwrap();
        let db = DaemonDb::open(dir.path()).await.unwrap();
        assert_eq!(db.marks("a").await.unwrap(), Marks::default());
        // Nothing is made up for a database that was never opened.
        db.mark_damaged("a").await.unwrap();
        assert_eq!(db.marks("a").await.unwrap(), Marks::default());
        let open = Marks {
            open: true,
            ..Marks::default()
        };
        db.set_marks("a", open).await.unwrap();
        db.close().await;
        let db = DaemonDb::open(dir.path()).await.unwrap();
        assert_eq!(db.marks("a").await.unwrap(), open);
        db.mark_checked("a", 7, true).await.unwrap();
        db.mark_closed("a").await.unwrap();
        let sound = Marks {
            open: false,
            damaged: false,
            checked_ms: 7,
            sound: true,
        };
        assert_eq!(db.marks("a").await.unwrap(), sound);
        db.mark_checked("a", 9, false).await.unwrap();
        assert!(db.marks("a").await.unwrap().damaged);
        // A later look that finds nothing does not take back what was met.
        db.mark_checked("a", 10, true).await.unwrap();
        assert!(db.marks("a").await.unwrap().damaged);
        db.forget_marks("a").await.unwrap();
        assert_eq!(db.marks("a").await.unwrap(), Marks::default());
        db.close().await;
    }
}
