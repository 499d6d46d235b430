//! Signals without lasting effect: typing, steps of a call. Live only: whoever does not listen now never learns of them.
//!
//! Bounded: a listener that falls behind loses the oldest. A step of a call that its author stores again, sealed anew,
//! is passed on once: a call has each of its steps once, and batches of candidates that differ.
//! Facts: messages.md 6.11, 6.14, design.md promise 2.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;

/// Signals kept for a listener that is slow.
const KEPT: usize = 256;

/// Steps of calls that are remembered; the oldest go first.
const STEPS: usize = 512;
/// How long a step is remembered: an older one is of a call that is over.
const STEP_LASTS: Duration = Duration::from_secs(300);

/// One signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Opaque id of the conversation.
    pub conversation: String,
    /// Account ID of who sent it.
    pub author: String,
    /// ms, as the author says.
    pub sent_ms: i64,
    /// What it is.
    pub what: What,
}

/// What a signal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Starts (true) or stops typing.
    Typing(bool),
    /// A step of a call.
    Call(CallStep),
    /// The user wants to see the conversation: its notification was opened.
    Opened,
}

/// A step of a call, as it came.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub struct CallStep {
    /// The caller's UUID of the call.
    pub uuid: String,
    /// `CallSignalKind` of the API.
    pub kind: i32,
    /// Session descriptions or ICE candidates.
    pub sdps: Vec<String>,
    /// With ICE candidates: one for each.
    pub sdp_m_line_indexes: Vec<u32>,
    /// With ICE candidates: one for each.
    pub sdp_mids: Vec<String>,
}

/// Hands signals to whoever listens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Signals {
    sender: broadcast::Sender<Signal>,
    steps: Arc<Mutex<Steps>>,
}

/// Steps of calls that were passed on, by digests that nobody outside can foresee.
#[derive(Debug, Default)]
struct Steps {
    digests: RandomState,
    seen: VecDeque<(u64, Instant)>,
}

impl Steps {
    /// Whether this is the first time; from then on it is not.
    fn is_new(&mut self, author: &str, step: &CallStep) -> bool {
        let now = Instant::now();
        let is_over = |(_, at): &(u64, Instant)| now.duration_since(*at) > STEP_LASTS;
        while self.seen.front().is_some_and(is_over) {
            self.seen.pop_front();
        }
        let digest = self.digests.hash_one((author, step));
        let is_new = self.seen.iter().all(|(seen, _)| *seen != digest);
        if is_new {
            if self.seen.len() >= STEPS {
                self.seen.pop_front();
            }
            self.seen.push_back((digest, now));
        }
        is_new
    }
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            sender: broadcast::channel(KEPT).0,
            steps: Arc::default(),
        }
    }
}

impl Signals {
    /// Raises a signal, unless it is a step of a call that was raised before. Without listeners it is lost, as it should
    /// be.
    pub fn raise(&self, signal: Signal) {
        if let What::Call(step) = &signal.what {
            let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
            if !steps.is_new(&signal.author, step) {
                return;
            }
        }
        drop(self.sender.send(signal));
    }

    /// Listens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Signal> {
        self.sender.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(author: &str, kind: i32, sdp: &str) -> Signal {
        Signal {
            conversation: "c".into(),
            author: author.into(),
            sent_ms: 1,
            what: What::Call(CallStep {
                uuid: "u".into(),
                kind,
                sdps: vec![sdp.into()],
                sdp_m_line_indexes: Vec::new(),
                sdp_mids: Vec::new(),
            }),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_of_a_call_is_passed_on_once() {
        let signals = Signals::default();
        let mut live = signals.listen();
        let mut heard = |signal: Signal| {
            signals.raise(signal);
            live.try_recv().is_ok()
        };
        for different in [
            step("a", 1, ""),
            step("b", 1, ""),
            step("a", 2, ""),
            step("a", 2, "candidates"),
        ] {
            let later = Signal {
                sent_ms: 2,
                ..different.clone()
            };
            assert!(heard(different.clone()));
            assert!(!heard(different) && !heard(later));
        }
        let typing = Signal {
            what: What::Typing(true),
            ..step("a", 1, "")
        };
        assert!(heard(typing.clone()) && heard(typing));
        tokio::time::advance(STEP_LASTS + Duration::from_secs(1)).await;
        assert!(heard(step("a", 1, "")));
        // Memory is bounded, and the newest are remembered.
        for number in 0..2 * STEPS {
            assert!(heard(step("a", 5, &number.to_string())));
        }
        assert!(!heard(step("a", 5, &(2 * STEPS - 1).to_string())));
        assert_eq!(signals.steps.lock().unwrap().seen.len(), STEPS);
    }
}
