//! Time: the local clock, and how far it is from that of the service nodes.
//!
//! Signed requests carry network time: local time plus an offset. A sample is a node's clock at the middle of a
//! round trip; the offset is the median of the last ten, so that a few lying nodes move nothing. Only answers
//! that decrypted count (network.md 4.14, 5.7).

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Samples kept.
const SAMPLES: usize = 10;

/// A longer round trip tells too little.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(5);

/// No clock of a node can be before 2021 (network.md 4.14), nor after 2100.
const PLAUSIBLE: std::ops::Range<u64> = 1_609_459_200_000..4_102_444_800_000;

/// The local clock.
pub trait Clock: Send + Sync {
    /// Unix time in ms.
    fn now_ms(&self) -> u64;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            })
    }
}

/// Offset between local and network time, in ms.
#[derive(Debug, Default)]
pub(crate) struct Offset {
    restored: i64,
    samples: VecDeque<i64>,
}

impl Offset {
    /// What was known before a restart, until the first sample.
    pub(crate) fn restore(&mut self, offset_ms: i64) {
        self.restored = offset_ms;
    }

    /// Takes the clock a node showed in an answer that just came, at `local_now`.
    pub(crate) fn sample(&mut self, server_ms: u64, round_trip: Duration, local_now: u64) {
        if let Some(sample) = sample(server_ms, round_trip, local_now) {
            if self.samples.len() == SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back(sample);
        }
    }

    /// Forgets samples taken before the local clock was set.
    pub(crate) fn forget(&mut self) {
        self.restored = self.get();
        self.samples.clear();
    }

    /// What to add to local time.
    pub(crate) fn get(&self) -> i64 {
        let mut sorted: Vec<i64> = self.samples.iter().copied().collect();
        sorted.sort_unstable();
        match sorted.len() {
            0 => self.restored,
            count if count % 2 == 1 => sorted[count / 2],
            count => {
                let (low, high) = (sorted[count / 2 - 1], sorted[count / 2]);
                low + (high - low) / 2
            }
        }
    }
}

fn sample(server_ms: u64, round_trip: Duration, local_now: u64) -> Option<i64> {
    if !PLAUSIBLE.contains(&server_ms) || round_trip > LONGEST_ROUND_TRIP {
        return None;
    }
    let half = i64::try_from(round_trip.as_millis() / 2).ok()?;
    let server = i64::try_from(server_ms).ok()?.checked_add(half)?;
    server.checked_sub(i64::try_from(local_now).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    #[test]
    fn the_middle_of_the_round_trip_counts() {
        let mut offset = Offset::default();
        offset.sample(NOW + 3_600_000, Duration::from_millis(200), NOW);
        assert_eq!(offset.get(), 3_600_100);
    }

    #[test]
    fn a_few_liars_move_nothing() {
        let mut offset = Offset::default();
        offset.restore(7);
        assert_eq!(offset.get(), 7);
        for step in 0..6 {
            offset.sample(NOW + 1_000 + step, Duration::ZERO, NOW);
        }
        for _ in 0..4 {
            offset.sample(NOW + 999_999_999, Duration::ZERO, NOW);
        }
        assert!((1_000..=1_006).contains(&offset.get()));
        // Ten newer samples push all older ones out.
        for _ in 0..10 {
            offset.sample(NOW - 500, Duration::ZERO, NOW);
        }
        assert_eq!(offset.get(), -500);
        offset.forget();
        assert_eq!(offset.get(), -500);
    }

    #[test]
    fn implausible_samples_are_ignored() {
        let mut offset = Offset::default();
        offset.sample(0, Duration::ZERO, NOW);
        offset.sample(u64::MAX, Duration::ZERO, NOW);
        offset.sample(NOW, Duration::from_secs(6), NOW);
        offset.sample(NOW, Duration::ZERO, u64::MAX);
        assert_eq!(offset.get(), 0);
    }
}
