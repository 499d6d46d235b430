//! Signs that another device of the account uses version 2 of the protocol, as they were seen last.
//!
//! A sign stands until it was looked for and not found for two days: senders keep to published keys that long (v2.md 4.3,
//! 9.2). While nobody looks, as with the network away, it stays.

use sqlx::SqliteConnection;

use super::StoreError;
use super::events::{self, NewEvent};

/// Values of column `sign.kind`: those of the API's `AccountWarningKind`.
pub mod kind {
    /// Keys are published: others write to them.
    pub const KEYS: i64 = 1;
    /// A group of devices exists.
    pub const DEVICES: i64 = 2;
}

/// How long a sign stands after it was last seen, ms.
const STANDS_MS: i64 = 48 * 3_600_000;

/// A sign that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// See [`kind`].
    pub kind: i64,
    /// Since when, ms.
    pub first_ms: i64,
    /// When it was last seen, ms.
    pub last_ms: i64,
}

/// Writes down what a look found, with an event if a sign begins or ceases to stand. Returns whether one did.
pub async fn looked(
    connection: &mut SqliteConnection,
    found: &[(i64, bool)],
    now_ms: i64,
) -> Result<bool, StoreError> {
    let mut changed = false;
    for &(kind, seen) in found {
        let rows = if seen {
            // What was over begins anew.
            sqlx::query_scalar::<_, i64>("SELECT count(*) FROM sign WHERE kind = ? AND shown = 1")
                .bind(kind)
                .fetch_one(&mut *connection)
                .await
                .map(|standing| u64::from(standing == 0))?
        } else {
            sqlx::query("UPDATE sign SET shown = 0 WHERE kind = ? AND shown = 1 AND last_ms < ?")
                .bind(kind)
                .bind(now_ms - STANDS_MS)
                .execute(&mut *connection)
                .await?
                .rows_affected()
        };
        changed |= rows > 0;
        if seen {
            sqlx::query(
                "INSERT INTO sign (kind, first_ms, last_ms, shown) VALUES (?1, ?2, ?2, 1)
                 ON CONFLICT (kind) DO UPDATE SET last_ms = excluded.last_ms,
                     first_ms = CASE WHEN shown = 1 THEN first_ms ELSE excluded.first_ms END, shown = 1",
            )
            .bind(kind)
            .bind(now_ms)
            .execute(&mut *connection)
            .await?;
        }
    }
    if changed {
        let event = NewEvent::account_changed(&["warnings"]);
        events::append(connection, &[event], now_ms).await?;
    }
    Ok(changed)
}

/// The signs that stand. Devices without keys are worth a word, devices with keys are in the sign of the keys.
pub async fn standing(connection: &mut SqliteConnection) -> Result<Vec<Sign>, StoreError> {
    let rows: Vec<(i64, i64, i64)> =
        sqlx::query_as("SELECT kind, first_ms, last_ms FROM sign WHERE shown = 1 ORDER BY kind")
            .fetch_all(connection)
            .await?;
    let mut signs: Vec<Sign> = rows
        .into_iter()
        .map(|(kind, first_ms, last_ms)| Sign {
            kind,
            first_ms,
            last_ms,
        })
        .collect();
    signs.truncate(1);
    Ok(signs)
}

/// Payloads of later versions that are kept.
pub async fn unreadable(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(
        sqlx::query_scalar("SELECT count(*) FROM quarantine WHERE reason = 'UNSUPPORTED_VERSION'")
            .fetch_one(connection)
            .await?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::tests::memory;

    const HOUR: i64 = 3_600_000;

    #[tokio::test]
    async fn a_sign_stands_until_it_was_missed_for_two_days() {
        let mut db = memory().await;
        // When, whether the keys are there, whether something changes, since when the sign stands.
        for (at, seen, changed, since) in [
            (0, false, false, None),
            (6, true, true, Some(6)),
            (12, true, false, Some(6)),
            (18, false, false, Some(6)),
            (60, false, false, Some(6)),
            (61, false, true, None),
            (67, false, false, None),
            (70, true, true, Some(70)),
            // Nobody looked for a month.
            (800, true, false, Some(70)),
        ] {
            let found = [(kind::KEYS, seen), (kind::DEVICES, false)];
            let outcome = looked(&mut db, &found, at * HOUR).await.unwrap();
            assert_eq!(outcome, changed, "hour {at}");
            let signs = standing(&mut db).await.unwrap();
            let first = signs.first().map(|sign| sign.first_ms / HOUR);
            assert_eq!(first, since, "hour {at}");
        }
        let log = events::after(&mut db, 0, 10).await.unwrap();
        assert_eq!(log.len(), 3);
        assert!(log.iter().all(|event| event.fields == ["warnings"]));
    }

    #[tokio::test]
    async fn keys_say_more_than_devices() {
        let mut db = memory().await;
        let found = |keys| [(kind::KEYS, keys), (kind::DEVICES, true)];
        looked(&mut db, &found(false), 5).await.unwrap();
        assert_eq!(standing(&mut db).await.unwrap()[0].kind, kind::DEVICES);
        looked(&mut db, &found(true), 6).await.unwrap();
        let signs = standing(&mut db).await.unwrap();
        assert_eq!((signs.len(), signs[0].kind), (1, kind::KEYS));
    }
}
