//! Time: the local clock, and how far it is from that of the service nodes.
//!
//! Signed requests carry network time: local time plus an offset. A sample is a node's clock at the middle of a
//! round trip; the offset is the median of the last ten, one per node, so that a lying node is outvoted however often it
//! is asked. Only answers that decrypted count (messages.md 5.3; network.md 4.14, 5.7).
//!
//! Few samples may be lies for the most part, and so may be the samples of nodes that lied once and were not asked again.
//! The time counts as measured while [`MEASURED`] nodes agree on it. Once it was, the offset stays where it was measured
//! last until as many agree on something else, also when nodes refuse what came of it. As long as the time is not
//! measured [`Offset::certain`] is the earliest of all that speaks for itself: nothing that cannot be undone, such as
//! removing a message whose time is over, may happen on the word of one node.
//!
//! A local clock that is set while we run, or between two runs without a start of the machine in between, is noticed by
//! the clock that nobody can set, and the offset moves against it before anything is signed or dated; what the last run
//! measured holds then as if this one had. After a start of the machine it has a say beside the first samples, as has
//! the local clock where nothing was ever measured, so that the node that happens to answer first decides nothing
//! alone. It therefore holds until two nodes agree on something else: if the clock was set during that, what is written
//! before the network answers has a wrong time. It is not put right later, because by then the time has been shown, has
//! a place in the conversation, and names the message.

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

/// Votes that an offset which was not measured is decided by at least: what is known takes the places of missing samples.
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
    /// Where it was measured last; that of the local clock itself where it never was.
    known: i64,
    /// It was measured, and the local clock was watched ever since.
    firm: bool,
    /// By node, the latest last.
    samples: VecDeque<(NodeKey, i64)>,
}

impl Offset {
    /// What an earlier run measured; whether the local clock was watched since then.
    pub(crate) fn restore(&mut self, offset_ms: i64, watched: bool) {
        self.known = offset_ms;
        self.firm = watched;
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
            if let Some(measured) = self.measured() {
                self.known = measured;
                self.firm = true;
            }
        }
    }

    /// The time that enough nodes agree on.
    fn measured(&self) -> Option<i64> {
        let middle = median(self.samples.iter().map(|(_, sample)| *sample).collect())?;
        let agree = |(_, sample): &&(NodeKey, i64)| sample.abs_diff(middle) <= AGREEMENT;
        (self.samples.iter().filter(agree).count() >= MEASURED).then_some(middle)
    }

    /// Whether enough nodes agree on the time.
    pub(crate) fn is_measured(&self) -> bool {
        self.measured().is_some()
    }

    /// What to add to local time for a time that is not too late, whoever lies: see the head of this module.
    pub(crate) fn certain(&self) -> i64 {
        self.measured().unwrap_or_else(|| {
            let samples = self.samples.iter().map(|(_, sample)| *sample);
            samples.fold(self.known, i64::min)
        })
    }

    /// Nodes whose clock is known, the one asked last first.
    pub(crate) fn sampled(&self) -> impl Iterator<Item = NodeKey> {
        self.samples.iter().rev().map(|(node, _)| *node)
    }

    /// The local clock was set forward by `by_ms`: what was measured before is that much less now.
    pub(crate) fn shift(&mut self, by_ms: i64) {
        self.known = self.known.saturating_sub(by_ms);
        for (_, sample) in &mut self.samples {
            *sample = sample.saturating_sub(by_ms);
        }
    }

    /// Begins to measure anew, because a node refused what came of it. That node may be the one that is wrong.
    pub(crate) fn begin_anew(&mut self) {
        self.known = self.get();
        self.samples.clear();
    }

    /// What to add to local time.
    pub(crate) fn get(&self) -> i64 {
        if self.firm {
            return self.known;
        }
        let mut votes: Vec<i64> = self.samples.iter().map(|(_, sample)| *sample).collect();
        if votes.len() < VOTES {
            votes.resize(VOTES, self.known);
        }
        median(votes).unwrap_or(self.known)
    }
}

fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    let high = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(high);
    }
    let low = values[values.len() / 2 - 1];
    Some(low + (high - low) / 2)
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
    const HOUR: i64 = 3_600_000;
    const HOUR_MS: u64 = 3_600_000;

    fn node(number: u64) -> NodeKey {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    }

    /// These nodes show a clock that is ahead by so much.
    fn told(offset: &mut Offset, nodes: std::ops::RangeInclusive<u64>, ahead_ms: i64) {
        let time = NOW.saturating_add_signed(ahead_ms);
        for number in nodes {
            offset.sample(node(number), time, Duration::ZERO, NOW);
        }
    }

    #[test]
    fn the_middle_of_the_round_trip_counts() {
        let mut offset = Offset::default();
        for number in 1..=2 {
            offset.sample(node(number), NOW + HOUR_MS, Duration::from_millis(200), NOW);
        }
        assert_eq!(offset.get(), HOUR + 100);
    }

    #[test]
    fn a_few_liars_move_nothing() {
        let mut offset = Offset::default();
        offset.restore(7, false);
        assert_eq!(offset.get(), 7);
        told(&mut offset, 0..=5, 1_000);
        told(&mut offset, 10..=13, 999_999_999);
        assert_eq!((offset.get(), offset.is_measured()), (1_000, true));
        // Ten newer samples push all older ones out.
        told(&mut offset, 20..=29, -500);
        assert_eq!(offset.get(), -500);
    }

    #[test]
    fn one_liar_that_is_asked_often_moves_nothing() {
        let mut offset = Offset::default();
        told(&mut offset, 1..=1, 10);
        told(&mut offset, 2..=2, 20);
        for _ in 0..50 {
            told(&mut offset, 3..=3, 999_999_999);
        }
        assert_eq!((offset.get(), offset.sampled().count()), (20, 3));
    }

    #[test]
    fn what_a_restart_left_is_no_measurement_and_four_nodes_are_none() {
        let mut offset = Offset::default();
        offset.restore(7, true);
        told(&mut offset, 1..=4, 0);
        told(&mut offset, 1..=4, 0);
        assert!(!offset.is_measured());
        told(&mut offset, 5..=5, 0);
        assert!(offset.is_measured());
        // Refused by a node, it is to be measured anew.
        offset.begin_anew();
        assert!(!offset.is_measured());
    }

    #[test]
    fn nothing_is_certain_before_enough_nodes_agree() {
        let mut offset = Offset::default();
        offset.restore(60, false);
        assert_eq!(offset.certain(), 60);
        // The first three answers, two of them lies: the offset follows, what is certain does not.
        told(&mut offset, 1..=1, 8 * HOUR);
        told(&mut offset, 2..=2, 8 * HOUR + 40);
        told(&mut offset, 3..=3, 20);
        assert_eq!(offset.get(), 8 * HOUR);
        assert_eq!(offset.certain(), 20);
        // Five, of which no five agree.
        told(&mut offset, 4..=4, 30);
        told(&mut offset, 5..=5, 40);
        assert!(!offset.is_measured());
        assert_eq!(offset.certain(), 20);
        told(&mut offset, 6..=7, 50);
        assert!(offset.is_measured());
        assert_eq!(offset.certain(), 50);
    }

    #[test]
    fn a_node_that_refuses_our_time_is_no_judge_of_it() {
        let mut offset = Offset::default();
        told(&mut offset, 1..=5, 10);
        offset.begin_anew();
        assert_eq!((offset.get(), offset.certain()), (10, 10));
        told(&mut offset, 6..=9, 8 * HOUR);
        assert_eq!((offset.get(), offset.certain()), (10, 10));
        // Enough say so.
        told(&mut offset, 10..=10, 8 * HOUR);
        assert_eq!((offset.get(), offset.certain()), (8 * HOUR, 8 * HOUR));
        // What was not measured since the machine started gives way to two.
        let mut offset = Offset::default();
        offset.restore(999_999_999, false);
        offset.begin_anew();
        told(&mut offset, 1..=1, 9);
        assert_eq!(offset.get(), 999_999_999);
        told(&mut offset, 2..=2, 9);
        assert_eq!(offset.get(), 9);
    }

    #[test]
    fn what_was_measured_holds_until_enough_nodes_agree_on_something_else() {
        let mut offset = Offset::default();
        told(&mut offset, 1..=5, 10);
        // Nodes that lie for a while, one after another, and are not asked again: each tells another time.
        for number in 6..=15 {
            let behind = i64::try_from(number).unwrap() * HOUR;
            told(&mut offset, number..=number, -behind);
            assert_eq!(offset.get(), 10, "{number}");
        }
        assert!(!offset.is_measured());
        assert_eq!(offset.certain(), -15 * HOUR);
        offset.shift(1_000);
        assert_eq!(offset.get(), -990);
        // Six of ten.
        told(&mut offset, 1..=6, 70_000);
        assert_eq!((offset.get(), offset.certain()), (70_000, 70_000));
        // After a start of the agent alone, nobody has to measure it again.
        let mut offset = Offset::default();
        offset.restore(7, true);
        told(&mut offset, 1..=4, -HOUR);
        assert_eq!((offset.get(), offset.certain()), (7, -HOUR));
    }

    #[test]
    fn a_clock_that_is_set_shifts_the_offset_against_it() {
        let mut offset = Offset::default();
        offset.restore(100, false);
        offset.shift(24 * HOUR);
        assert_eq!(offset.get(), 100 - 24 * HOUR);
        told(&mut offset, 1..=3, 50);
        offset.shift(-HOUR);
        assert_eq!(offset.get(), 50 + HOUR);
    }

    #[test]
    fn a_liar_that_answers_first_moves_nothing() {
        // Of the first start ever, and of one after a start of the machine.
        for known in [0, 7] {
            let mut offset = Offset::default();
            offset.restore(known, false);
            told(&mut offset, 1..=1, 999_999_999);
            assert_eq!(offset.get(), known);
            told(&mut offset, 2..=2, 10);
            assert_eq!(offset.get(), 10);
        }
        // What was known is wrong when two agree.
        let mut offset = Offset::default();
        offset.restore(999_999_999, false);
        told(&mut offset, 1..=1, 9);
        told(&mut offset, 2..=2, 10);
        assert_eq!(offset.get(), 10);
    }

    #[test]
    fn implausible_samples_are_ignored() {
        let mut offset = Offset::default();
        offset.sample(node(1), 0, Duration::ZERO, NOW);
        offset.sample(node(1), u64::MAX, Duration::ZERO, NOW);
        offset.sample(node(1), NOW, Duration::from_secs(6), NOW);
        offset.sample(node(1), NOW, Duration::ZERO, u64::MAX);
        assert_eq!(offset.sampled().count(), 0);
    }
}
