//! Time as the agent uses it: UTC milliseconds.
//!
//! Network time (local time and the offset measured against service nodes) comes from session-network; this module
//! only has the wall clock for rows that nobody outside sees, and conversions for the API.

use std::time::{SystemTime, UNIX_EPOCH};

use prost_types::{Duration, Timestamp};

/// The wall clock, ms since 1970; 0 before that.
pub fn wall_clock_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

/// Resolves at a time; without one never.
pub async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Milliseconds as the database keeps them: later times than it can hold become the latest.
pub fn to_db(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// A span in ms, as the database keeps times.
pub fn millis(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// For the API. 0 and below mean "never" and give `None`.
pub fn timestamp(ms: i64) -> Option<Timestamp> {
    (ms > 0).then(|| Timestamp {
        seconds: ms.div_euclid(1000),
        // Less than 1000 ms: fits.
        nanos: i32::try_from(ms.rem_euclid(1000)).unwrap_or(0) * 1_000_000,
    })
}

/// A span in ms for the API, with its sign.
pub fn duration_ms(ms: i64) -> Duration {
    Duration {
        seconds: ms / 1000,
        nanos: i32::try_from(ms % 1000).unwrap_or(0) * 1_000_000,
    }
}
