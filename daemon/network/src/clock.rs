//! Time: the local clock, and how far it is from that of the service nodes.
//!
//! Signed requests carry network time: local time plus an offset. A sample is a node's clock at the middle of a
//! round trip; the offset is the median of the last ten, one per node, so that a lying node is outvoted however often it
//! is asked. Only answers that decrypted count (messages.md 5.3; network.md 4.14, 5.7).
//!
//! Few samples may be lies for the most part. The time counts as measured while [`MEASURED`] nodes agree on it, and until
//! they do [`Offset::certain`] is the earliest of all that speaks for itself: nothing that cannot be undone, such as
//! removing a message whose time is over, may happen on the word of one node.
//!
//! A local clock that is set while we run, or between two runs without a start of the machine in between, is noticed by
//! the clock that nobody can set, and the offset moves against it before anything is signed or dated. What the last run
//! measured has a say beside the first samples, so that the node that happens to answer first after a start decides
//! nothing alone. After a start of the machine it therefore holds until two nodes agree on something else: if the clock was set during that, what is written
//! before the network answers has a wrong time. It is not put right later, because by then the time has been shown, has a
//! place in the conversation, and names the message.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::pool::NodeKey;
use crate::state::millis;

/// Samples kept.
const SAMPLES: usize = 10;

/// Nodes that must agree on the time for it to count as measured.
pub(crate) const MEASURED: usize = 5;

/// Those agree whose clocks are no further than this from the median, ms: real ones differ by network delay.
const AGREEMENT: u64 = 60_000;

/// Votes that the offset is decided by at least where the last run left one: it takes the places of missing samples.
const VOTES: usize = 3;

/// A longer round trip tells too little.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(5);

/// No clock of a node can be before 2021 (network.md 4.14), nor after 2100.
const PLAUSIBLE: std::ops::Range<u64> = 1_609_459_200_000..4_102_444_800_000;

/// The local clock.
pub trait Clock: Send + Sync {
    /// Unix time in ms.
    fn now_ms(&self) -> u64;

    /// Ms since some fixed moment, of a clock that nobody sets and that goes on while the machine sleeps.
    fn steady_ms(&self) -> u64 {
        steady_ms()
    }

    /// Opaque name of the machine's present start, from which [`Clock::steady_ms`] counts; `None` where it has none.
    fn boot(&self) -> Option<String> {
        boot()
    }
}

#[cfg(target_os = "linux")]
fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

#[cfg(not(target_os = "linux"))]
fn boot() -> Option<String> {
    None
}

fn steady_ms() -> u64 {
    // macOS: never compiled here; its monotonic clock stands still while the machine sleeps.
    #[cfg(target_os = "linux")]
    let id = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let id = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(id);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(time.tv_nsec / 1_000_000).unwrap_or(0)
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, millis)
    }
}

/// Offset between local and network time, in ms.
#[derive(Debug, Default)]
pub(crate) struct Offset {
    /// What was known before there were samples.
    restored: Option<i64>,
    /// It was measured by an earlier run, and so has a say beside the first samples.
    remembered: bool,
    samples: VecDeque<(NodeKey, i64)>,
}

impl Offset {
    /// What was known before a restart, until two nodes agree on something else.
    pub(crate) fn restore(&mut self, offset_ms: i64) {
        self.restored = Some(offset_ms);
        self.remembered = true;
    }

    /// Takes the clock a node showed in an answer that just came, at `local_now`.
    pub(crate) fn sample(
        &mut self,
        node: NodeKey,
        server_ms: u64,
        round_trip: Duration,
        local_now: u64,
    ) {
        if let Some(sample) = sample(server_ms, round_trip, local_now) {
            self.samples.retain(|(other, _)| *other != node);
            if self.samples.len() == SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back((node, sample));
        }
    }

    /// Whether enough nodes agree on the time.
    pub(crate) fn is_measured(&self) -> bool {
        let middle = self.get();
        let agree = |(_, sample): &&(NodeKey, i64)| sample.abs_diff(middle) <= AGREEMENT;
        self.samples.iter().filter(agree).count() >= MEASURED
    }

    /// What to add to local time for a time that is not too late, whoever lies: see the head of this module.
    pub(crate) fn certain(&self) -> i64 {
        if self.is_measured() {
            return self.get();
        }
        let samples = self.samples.iter().map(|(_, sample)| *sample);
        samples.chain(self.restored).min().unwrap_or(0)
    }

    /// Nodes whose clock is known.
    pub(crate) fn sampled(&self) -> impl Iterator<Item = NodeKey> {
        self.samples.iter().map(|(node, _)| *node)
    }

    /// The local clock was set forward by `by_ms`: what was measured before is that much less now.
    pub(crate) fn shift(&mut self, by_ms: i64) {
        self.restored = self.restored.map(|offset| offset.saturating_sub(by_ms));
        for (_, sample) in &mut self.samples {
            *sample = sample.saturating_sub(by_ms);
        }
    }

    /// Forgets samples, because nodes refuse what came of them.
    pub(crate) fn forget(&mut self) {
        self.restored = Some(self.get());
        self.remembered = false;
        self.samples.clear();
    }

    /// What to add to local time.
    pub(crate) fn get(&self) -> i64 {
        let mut sorted: Vec<i64> = self.samples.iter().map(|(_, sample)| *sample).collect();
        if let Some(restored) = self.restored.filter(|_| self.remembered)
            && sorted.len() < VOTES
        {
            sorted.resize(VOTES, restored);
        }
        sorted.sort_unstable();
        match sorted.len() {
            0 => self.restored.unwrap_or(0),
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

    fn node(number: u64) -> NodeKey {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn the_middle_of_the_round_trip_counts() {
        let mut offset = Offset::default();
        offset.sample(node(1), NOW + 3_600_000, Duration::from_millis(200), NOW);
        assert_eq!(offset.get(), 3_600_100);
    }

    #[test]
    fn a_few_liars_move_nothing() {
        let mut offset = Offset::default();
        offset.restore(7);
        assert_eq!(offset.get(), 7);
        for step in 0..6 {
            offset.sample(node(step), NOW + 1_000 + step, Duration::ZERO, NOW);
        }
        for liar in 10..14 {
            offset.sample(node(liar), NOW + 999_999_999, Duration::ZERO, NOW);
        }
        assert!((1_000..=1_006).contains(&offset.get()));
        // Ten newer samples push all older ones out.
        for other in 20..30 {
            offset.sample(node(other), NOW - 500, Duration::ZERO, NOW);
        }
        assert_eq!(offset.get(), -500);
        offset.forget();
        assert_eq!(offset.get(), -500);
    }

    #[test]
    fn one_liar_that_is_asked_often_moves_nothing() {
        let mut offset = Offset::default();
        offset.sample(node(1), NOW + 10, Duration::ZERO, NOW);
        offset.sample(node(2), NOW + 20, Duration::ZERO, NOW);
        for _ in 0..50 {
            offset.sample(node(3), NOW + 999_999_999, Duration::ZERO, NOW);
        }
        assert_eq!((offset.get(), offset.sampled().count()), (20, 3));
    }

    #[test]
    fn what_a_restart_left_is_no_measurement_and_four_nodes_are_none() {
        let mut offset = Offset::default();
        offset.restore(7);
        for number in (1..=4).chain(1..=4) {
            offset.sample(node(number), NOW, Duration::ZERO, NOW);
        }
        assert!(!offset.is_measured());
        offset.sample(node(5), NOW, Duration::ZERO, NOW);
        assert!(offset.is_measured());
        // Refused by nodes, it is to be measured anew.
        offset.forget();
        assert!(!offset.is_measured());
    }

    #[test]
    fn nothing_is_certain_before_enough_nodes_agree() {
        const HOURS: u64 = 8 * 3_600_000;
        let mut offset = Offset::default();
        assert_eq!(offset.certain(), 0);
        // The first three answers, two of them lies: the offset follows, what is certain does not.
        for (number, ahead) in [(1, HOURS), (2, HOURS + 40), (3, 20)] {
            offset.sample(node(number), NOW + ahead, Duration::ZERO, NOW);
        }
        assert_eq!(offset.get(), 8 * 3_600_000);
        assert_eq!(offset.certain(), 20);
        // Five, of which no five agree.
        offset.sample(node(4), NOW + 30, Duration::ZERO, NOW);
        offset.sample(node(5), NOW + 40, Duration::ZERO, NOW);
        assert!(!offset.is_measured());
        assert_eq!(offset.certain(), 20);
        for number in 6..=7 {
            offset.sample(node(number), NOW + 50, Duration::ZERO, NOW);
        }
        assert!(offset.is_measured());
        assert_eq!(offset.certain(), 50);
        // Whoever refuses our time makes the next one to answer no judge of it.
        offset.forget();
        offset.sample(node(1), NOW + HOURS, Duration::ZERO, NOW);
        assert_eq!(offset.certain(), 50);
    }

    #[test]
    fn a_clock_that_is_set_shifts_the_offset_against_it() {
        let mut offset = Offset::default();
        offset.restore(100);
        offset.shift(86_400_000);
        assert_eq!(offset.get(), 100 - 86_400_000);
        for number in 1..=3 {
            offset.sample(node(number), NOW + 50, Duration::ZERO, NOW);
        }
        offset.shift(-3_600_000);
        assert_eq!(offset.get(), 50 + 3_600_000);
    }

    #[test]
    fn a_liar_that_answers_first_after_a_restart_moves_nothing() {
        let mut offset = Offset::default();
        offset.restore(7);
        offset.sample(node(1), NOW + 999_999_999, Duration::ZERO, NOW);
        assert_eq!(offset.get(), 7);
        offset.sample(node(2), NOW + 10, Duration::ZERO, NOW);
        assert_eq!(offset.get(), 10);
        // What was remembered is wrong when two agree.
        let mut offset = Offset::default();
        offset.restore(999_999_999);
        offset.sample(node(1), NOW + 9, Duration::ZERO, NOW);
        offset.sample(node(2), NOW + 10, Duration::ZERO, NOW);
        assert_eq!(offset.get(), 10);
        // It has no say any more when nodes refuse what came of it.
        offset.restore(999_999_999);
        offset.forget();
        offset.sample(node(1), NOW + 9, Duration::ZERO, NOW);
        assert_eq!(offset.get(), 9);
    }

    #[test]
    fn implausible_samples_are_ignored() {
        let mut offset = Offset::default();
        offset.sample(node(1), 0, Duration::ZERO, NOW);
        offset.sample(node(1), u64::MAX, Duration::ZERO, NOW);
        offset.sample(node(1), NOW, Duration::from_secs(6), NOW);
        offset.sample(node(1), NOW, Duration::ZERO, u64::MAX);
        assert_eq!(offset.get(), 0);
    }
}
