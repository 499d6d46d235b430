//! Checking a whole database: every page of every table and index is read, its HMAC and the structure are tested.
//!
//! Beside the work, after an unclean stop or when the last check is [`EVERY_MS`] ago: one `PRAGMA quick_check(table)`
//! after the other on a connection of its own that only reads, with a pause as long as each took, so that at most half
//! of a core and of the disk is busy with it. No snapshot lasts longer than one table; the largest, `message`, takes about
//! ten seconds for a million messages. Before serving, without pauses, only after a damaged page was met.
//!
//! Free pages are not read: nothing is kept in them. The full-text index is checked as the ordinary tables it consists
//! of; that its words are those of the messages is not.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use super::health::Trouble;
use super::{StoreError, account_db};
use crate::vault::DatabaseKey;

/// A sound database is checked again after this time, ms.
pub const EVERY_MS: i64 = 7 * 86_400_000;
/// Longest pause between two tables.
const PAUSE: Duration = Duration::from_secs(30);

/// How much time a check may take from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As much as it needs.
    Full,
    /// Half.
    Beside,
}

/// Whether the database is sound. An error says that this could not be found out.
pub async fn is_sound(path: &Path, key: &DatabaseKey, pace: Pace) -> Result<bool, StoreError> {
    let mut connection = match account_db::connect_to_read(path, key).await {
        Ok(connection) => connection,
        Err(StoreError::WrongKey | StoreError::Damaged) => return Ok(false),
        Err(StoreError::Sql(error)) => return damaged_or(error),
        Err(error) => return Err(error),
    };
    let sound = check(&mut connection, pace).await;
    // A connection that met a damaged page does not close cleanly.
    drop(connection.close().await);
    sound
}

async fn check(connection: &mut SqliteConnection, pace: Pace) -> Result<bool, StoreError> {
    let tables = sqlx::query_scalar(
        "SELECT name FROM pragma_table_list
         WHERE schema = 'main' AND type IN ('table', 'shadow') ORDER BY name",
    )
    .fetch_all(&mut *connection)
    .await;
    let tables: Vec<String> = match tables {
        Ok(tables) => tables,
        Err(error) => return damaged_or(error),
    };
    for table in tables {
        let began = Instant::now();
        // A name from the schema, quoted.
        let sql = format!("PRAGMA quick_check(\"{}\")", table.replace('"', "\"\""));
        let said: Result<Vec<String>, _> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut *connection)
            .await;
        match said {
            Ok(said) if said.iter().all(|line| line == "ok") => {}
            Ok(_) => return Ok(false),
            Err(error) => return damaged_or(error),
        }
        if pace == Pace::Beside {
            tokio::time::sleep(began.elapsed().min(PAUSE)).await;
        }
    }
    Ok(true)
}

fn damaged_or(error: sqlx::Error) -> Result<bool, StoreError> {
    // SQLITE_ERROR is what `quick_check` makes of a page whose HMAC does not fit; its own text is right.
    match (super::health::code(&error), Trouble::of(&error)) {
        (Some(1), _) | (_, Some(Trouble::Damaged)) => Ok(false),
        _ => Err(error.into()),
    }
}
