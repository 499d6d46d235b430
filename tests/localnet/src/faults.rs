//! How a node misbehaves, settable while the network runs.
//!
//! A node has a set of [`Faults`]; without any it is healthy. Setting them takes effect for every request that comes
//! from then on, and for those that wait. They are set through [`Control`](crate::Control) in the same process,
//! through [`ControlClient`](crate::ControlClient) or `session-localnet fault` from another one.
//!
//! | fault | what others see |
//! | --- | --- |
//! | `down` | nobody listens, connections are cut; the node's messages stay |
//! | `frozen` | connections are accepted and nothing is answered, TLS neither, as with a stopped process |
//! | `delay_ms` | every request waits this long before it is carried out |
//! | `loss` | this share of requests is never answered; one half of these is carried out all the same |
//! | `clock_offset_ms` | the node takes it for earlier or later: 406, wrong `t`, early or late sweeps |
//! | `refuse` | 503 `Service node is not ready: not done syncing`, as a hop `Snode not ready: <key>` |
//! | `garbage` | requests are carried out and answered 200 with random base64 |
//! | `misses_forwards` | what other members of its swarm pass on is never answered and not kept |
//!
//! Not a state but an act each: losing what is stored, moving to another swarm, being decommissioned (see
//! [`Control`](crate::Control)). The seed has faults too, but neither a clock nor forwards.
//!
//! What met a fault is counted ([`Hits`]), so that a test can tell that its fault was one.
//!
//! Which requests are lost follows from the seed in [`Options`](crate::Options) and their number at the node, so
//! equal runs lose equal ones. Facts: network.md 5.5 and 8.8, observed-nodes 1, 4 and 15.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::random::SplitMix;

/// Longest delay there may be, ms.
pub const MAX_DELAY_MS: u64 = 600_000;

/// What is wrong with a node; the default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// It does not run.
    pub down: bool,
    /// It runs and does nothing.
    pub frozen: bool,
    /// It waits before each request, ms; at most [`MAX_DELAY_MS`].
    pub delay_ms: u64,
    /// It leaves this share of requests unanswered, 0 to 1.
    pub loss: f64,
    /// Its clock is ahead by this much, or behind if negative: ms.
    pub clock_offset_ms: i64,
    /// It says that it is not ready.
    pub refuse: bool,
    /// Its answers are random.
    pub garbage: bool,
    /// It gets nothing that other members pass on.
    pub misses_forwards: bool,
}

impl Faults {
    /// Stopped.
    pub fn down() -> Self {
        Self {
            down: true,
            ..Self::default()
        }
    }

    /// Accepts connections and answers nothing.
    pub fn frozen() -> Self {
        Self {
            frozen: true,
            ..Self::default()
        }
    }

    /// Slow by `ms`.
    pub fn delay(ms: u64) -> Self {
        Self {
            delay_ms: ms,
            ..Self::default()
        }
    }

    /// Loses a share of requests.
    pub fn loss(share: f64) -> Self {
        Self {
            loss: share,
            ..Self::default()
        }
    }

    /// With a clock ahead by `ms`, or behind.
    pub fn clock_offset(ms: i64) -> Self {
        Self {
            clock_offset_ms: ms,
            ..Self::default()
        }
    }

    /// Not ready.
    pub fn refuse() -> Self {
        Self {
            refuse: true,
            ..Self::default()
        }
    }

    /// Answers at random.
    pub fn garbage() -> Self {
        Self {
            garbage: true,
            ..Self::default()
        }
    }

    /// Out of reach for the other members of its swarm.
    pub fn misses_forwards() -> Self {
        Self {
            misses_forwards: true,
            ..Self::default()
        }
    }

    /// Whether the numbers are in range; the text says which is not.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if !(0.0..=1.0).contains(&self.loss) {
            Err("a share of lost requests is from 0 to 1")
        } else if self.delay_ms > MAX_DELAY_MS {
            Err("a delay is at most 600000 ms")
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut texts: Vec<String> = [
            (self.down, "down"),
            (self.frozen, "frozen"),
            (self.refuse, "refuse"),
            (self.garbage, "garbage"),
            (self.misses_forwards, "misses forwards"),
        ]
        .into_iter()
        .filter(|(is_set, _)| *is_set)
        .map(|(_, text)| text.to_owned())
        .collect();
        if self.delay_ms > 0 {
            texts.push(format!("delay {} ms", self.delay_ms));
        }
        if self.loss > 0.0 {
            texts.push(format!("loss {}", self.loss));
        }
        if self.clock_offset_ms != 0 {
            texts.push(format!("clock {:+} ms", self.clock_offset_ms));
        }
        if texts.is_empty() {
            texts.push("healthy".into());
        }
        f.write_str(&texts.join(", "))
    }
}

/// What gets lost of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All of it.
    Request,
    /// The answer to it.
    Answer,
}

/// How many requests met a fault of a node since the network started. A node that is down meets none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hits {
    /// Connections and requests that stood still because it was frozen.
    pub frozen: u64,
    /// Requests that had to wait.
    pub delayed: u64,
    /// Requests, or answers, that were lost.
    pub lost: u64,
    /// Requests that came while its clock was wrong.
    pub wrong_clock: u64,
    /// Requests that came while it was not ready.
    pub refused: u64,
    /// Requests that were answered at random.
    pub garbage: u64,
    /// What others passed on and it did not get.
    pub missed: u64,
}

/// The faults of one node, and its count of requests.
pub(crate) struct Switch {
    faults: watch::Sender<Faults>,
    seed: u64,
    requests: AtomicU64,
    hits: Mutex<Hits>,
}

impl Switch {
    /// A healthy node's.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            faults: watch::Sender::new(Faults::default()),
            seed,
            requests: AtomicU64::new(0),
            hits: Mutex::default(),
        }
    }

    /// What met a fault so far.
    pub(crate) fn hits(&self) -> Hits {
        *self.hits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what met a fault.
    pub(crate) fn hit(&self, count: impl FnOnce(&mut Hits)) {
        count(&mut self.hits.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// As [`Switch::moving`], for somebody who wants something.
    pub(crate) async fn met(&self) {
        if self.faults().frozen {
            self.hit(|hits| hits.frozen += 1);
        }
        self.moving().await;
    }

    pub(crate) fn faults(&self) -> Faults {
        *self.faults.borrow()
    }

    pub(crate) fn set(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// Waits until the node is not frozen.
    pub(crate) async fn moving(&self) {
        // Never fails: the sender lives as long as `self`.
        let _ = self
            .faults
            .subscribe()
            .wait_for(|faults| !faults.frozen)
            .await;
    }

    /// Waits as long as a request has to.
    pub(crate) async fn delay(&self) {
        let ms = self.faults().delay_ms;
        if ms > 0 {
            self.hit(|hits| hits.delayed += 1);
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }

    /// Draws what is lost of the next request.
    pub(crate) fn lost(&self) -> Option<Loss> {
        let share = self.faults().loss;
        if share <= 0.0 {
            return None;
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut draw = SplitMix::new(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (draw.share() < share).then(|| {
            self.hit(|hits| hits.lost += 1);
            if draw.below(2) == 0 {
                Loss::Request
            } else {
                Loss::Answer
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(seed: u64, share: f64) -> Vec<Option<Loss>> {
        let switch = Switch::new(seed);
        switch.set(Faults::loss(share));
        (0..3000).map(|_| switch.lost()).collect()
    }

    #[test]
    fn losses_follow_from_the_seed_and_keep_their_share() {
        let third = losses(7, 1.0 / 3.0);
        assert_eq!(third, losses(7, 1.0 / 3.0));
        assert_ne!(third, losses(8, 1.0 / 3.0));
        let count = |kind| third.iter().filter(|loss| **loss == Some(kind)).count();
        let (requests, answers) = (count(Loss::Request), count(Loss::Answer));
        assert!((900..=1100).contains(&(requests + answers)));
        assert!((400..=600).contains(&requests), "{requests} {answers}");
        assert!(losses(7, 0.0).iter().all(Option::is_none));
        assert!(losses(7, 1.0).iter().all(Option::is_some));
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for bad in [-0.1, 1.1, f64::NAN] {
            assert!(Faults::loss(bad).check().is_err());
        }
        assert!(Faults::delay(MAX_DELAY_MS + 1).check().is_err());
        assert!(Faults::delay(MAX_DELAY_MS).check().is_ok());
        assert!(serde_json::from_str::<Faults>(r#"{"froze":true}"#).is_err());
    }
}
