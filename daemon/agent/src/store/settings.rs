//! What the user chose for the account. A setting that was never chosen has its default and no row.
//!
//! Facts: messages.md 6.16 (notices of kept files), 8.7 (receipts and typing are off by default), 9.1 (content of notifications).

use std::collections::HashMap;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::StoreError;
use super::events::{self, NewEvent};

/// All settings. Enumerations are those of the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Tell when messages were read, and believe others who tell.
    pub read_receipts: bool,
    /// Tell when we type, and show when others do.
    pub typing_indicators: bool,
    /// `NotificationPrivacy`.
    pub notification_privacy: i64,
    /// `NotifyMode` of conversations that have none of their own.
    pub notify_mode: i64,
    /// No sound with notifications.
    pub notification_silent: bool,
    /// Do not tell others that a file of theirs was kept.
    pub media_saved_notices_off: bool,
}

/// Names of the settings: keys of the table and fields of the API.
pub const NAMES: [&str; 6] = [
    "read_receipts",
    "typing_indicators",
    "notification_privacy",
    "notify_mode",
    "notification_silent",
    "media_saved_notices_off",
];

impl Settings {
    fn values(&self) -> [i64; 6] {
        [
            i64::from(self.read_receipts),
            i64::from(self.typing_indicators),
            self.notification_privacy,
            self.notify_mode,
            i64::from(self.notification_silent),
            i64::from(self.media_saved_notices_off),
        ]
    }
}

/// The settings as they are.
pub async fn load(connection: &mut SqliteConnection) -> Result<Settings, StoreError> {
    let rows: Vec<(String, i64)> = sqlx::query_as("SELECT key, value FROM setting")
        .fetch_all(connection)
        .await?;
    let rows: HashMap<String, i64> = rows.into_iter().collect();
    let value = |name: &str| rows.get(name).copied().unwrap_or(0);
    Ok(Settings {
        read_receipts: value("read_receipts") != 0,
        typing_indicators: value("typing_indicators") != 0,
        notification_privacy: value("notification_privacy"),
        notify_mode: value("notify_mode"),
        notification_silent: value("notification_silent") != 0,
        media_saved_notices_off: value("media_saved_notices_off") != 0,
    })
}

/// Writes the settings, with an event if something changed.
pub async fn save(
    connection: &mut SqliteConnection,
    settings: &Settings,
    now_ms: i64,
) -> Result<(), StoreError> {
    let before = load(&mut *connection).await?.values();
    let changed: Vec<(&str, i64)> = NAMES
        .into_iter()
        .zip(settings.values())
        .zip(before)
        .filter(|((_, new), old)| new != old)
        .map(|(entry, _)| entry)
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO setting (key, value) ");
    query.push_values(&changed, |mut values, (name, value)| {
        values.push_bind(*name).push_bind(*value);
    });
    query.push(" ON CONFLICT (key) DO UPDATE SET value = excluded.value");
    query.build().execute(&mut *connection).await?;
    let names: Vec<&str> = changed.iter().map(|(name, _)| *name).collect();
    events::append(connection, &[NewEvent::settings_changed(&names)], now_ms).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::tests::memory;

    #[tokio::test]
    async fn only_what_changed_is_told() {
        let mut db = memory().await;
        assert_eq!(load(&mut db).await.unwrap(), Settings::default());
        let settings = Settings {
            read_receipts: true,
            notification_privacy: 3,
            ..Settings::default()
        };
        save(&mut db, &settings, 1).await.unwrap();
        save(&mut db, &settings, 2).await.unwrap();
        assert_eq!(load(&mut db).await.unwrap(), settings);
        let log = events::after(&mut db, 0, 10).await.unwrap();
        assert_eq!(log.len(), 1);
        assert_eq!(log[0].fields, ["read_receipts", "notification_privacy"]);
    }
}
