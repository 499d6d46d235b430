//! When what failed is tried again, and how much goes out at once: the same for everything that waits for a swarm.

use std::time::Duration;

use session_network::Times;
use session_protocol::storage::request;

use super::Context;
use crate::store::StoreError;
use crate::time::millis;

/// Pause while the database cannot be written, or after a failure of it.
pub(super) const TROUBLE: Duration = Duration::from_secs(5);
/// Shortest wait for what is due next, ms: clocks differ by as much.
const SHORTEST_MS: i64 = 100;

/// Pause after so many failed attempts: 5 s doubling up to 5 min, scaled with all other times.
pub(super) fn pause(times: &Times, failures: i64) -> Duration {
    doubled(times.resend_min, times.resend_max, failures - 1)
}

/// A pause that was doubled so often, up to the longest.
pub(super) fn doubled(first: Duration, longest: Duration, doublings: i64) -> Duration {
    let doublings = u32::try_from(doublings.clamp(0, 20)).unwrap_or(0);
    first.saturating_mul(1 << doublings).min(longest)
}

/// How long to wait for what is due at a time, ms, if anything is: no longer than between two attempts.
pub(super) fn wait(context: &Context, due_ms: Option<i64>) -> Duration {
    let longest = millis(context.network.times().resend_max).max(SHORTEST_MS);
    let wait = due_ms.map_or(longest, |at| at.saturating_sub(context.now_ms()));
    Duration::from_millis(u64::try_from(wait.clamp(SHORTEST_MS, longest)).unwrap_or(0))
}

/// Tells of a failure of the database, unless that is known: what is wrong with the disk is told once, by whoever
/// follows it.
pub(super) fn tell(error: &StoreError, what: &'static str) {
    if error.trouble().is_none() {
        tracing::warn!(%error, "{what}");
    }
}

/// In order, as many as one request may carry.
pub(super) fn batches<T>(items: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut items = items.into_iter().peekable();
    std::iter::from_fn(move || {
        items.peek()?;
        Some(items.by_ref().take(request::MAX_BATCH).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let times = Times::default();
        let pauses: Vec<u64> = (1..=8).map(|n| pause(&times, n).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pause(&times, 0).as_secs(), 5);
        assert_eq!(pause(&times, i64::MAX).as_secs(), 300);
    }

    #[test]
    fn pauses_follow_the_times_of_the_network() {
        let times = Times {
            resend_min: Duration::from_secs(1),
            resend_max: Duration::from_secs(6),
            ..Times::default()
        };
        let pauses: Vec<u64> = (1..=5).map(|n| pause(&times, n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 6, 6]);
    }

    #[test]
    fn batches_keep_order_and_size() {
        let sizes: Vec<usize> = batches((0..45).collect()).map(|some| some.len()).collect();
        assert_eq!(sizes, [20, 20, 5]);
        let all: Vec<i32> = batches((0..45).collect()).flatten().collect();
        assert_eq!(all, (0..45).collect::<Vec<_>>());
    }
}
