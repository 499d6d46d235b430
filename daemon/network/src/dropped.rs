//! Paths that are no more, and why: a short list for those who wonder.

use std::collections::VecDeque;

use crate::fault::Fault;
use crate::ladder::LadderStep;
use crate::paths::Path;

/// Dropped paths remembered; the oldest goes first.
const KEPT: usize = 20;

/// Why a path is no longer used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its end came from this.
    Failed(Fault),
    /// It kept failing for nodes that answered over other paths.
    RepeatedFailure,
    /// A newer one took its place.
    Rotated,
    /// Nobody used its isolation key any more.
    Unused,
    /// One of its nodes left the list of nodes, or moved.
    NodeListChanged,
}

impl Reason {
    /// Stable name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Failed(fault) => fault.name(),
            Self::RepeatedFailure => "REPEATED_FAILURE",
            Self::Rotated => "ROTATED",
            Self::Unused => "UNUSED",
            Self::NodeListChanged => "NODE_LIST_CHANGED",
        }
    }
}

/// A path that was in use.
#[derive(Clone, Debug)]
pub(crate) struct Dropped {
    pub(crate) path: Path,
    /// What its class is shown as.
    pub(crate) isolation: String,
    pub(crate) reason: Reason,
    /// The hop to blame, the guard being 0, if one is.
    pub(crate) hop: Option<usize>,
    /// Network time, ms.
    pub(crate) dropped_ms: u64,
}

/// The latest of them.
#[derive(Debug, Default)]
pub(crate) struct History {
    list: VecDeque<Dropped>,
}

impl History {
    pub(crate) fn add(&mut self, dropped: Dropped) {
        if self.list.len() == KEPT {
            self.list.pop_front();
        }
        let (reason, hop) = (dropped.reason.name(), dropped.hop);
        match dropped.reason {
            Reason::Failed(_) | Reason::RepeatedFailure => {
                tracing::info!(reason, hop, "a path failed");
            }
            _ => tracing::debug!(reason, "a path is no longer used"),
        }
        self.list.push_back(dropped);
    }

    /// Newest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Dropped> {
        self.list.iter().rev()
    }
}

/// Tells of a relaxed rule once, not at every try.
#[derive(Debug, Default)]
pub(crate) struct Announced(LadderStep);

impl Announced {
    /// A path is tried with rules relaxed this far.
    pub(crate) fn tried(&mut self, step: LadderStep) {
        if let Some(name) = step.name().filter(|_| step > self.0) {
            tracing::info!(step = name, "the rules for a new path are relaxed");
            self.0 = step;
        }
    }

    /// A path works without: the next time is worth telling again.
    pub(crate) fn built(&mut self, step: LadderStep) {
        if step == LadderStep::Strict {
            self.0 = step;
        }
    }
}
