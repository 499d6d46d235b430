//! The few nodes that may be first on a path, kept over restarts.
//!
//! A guard learns our address. Changing guards often would sooner or later hand it to a bad one, so a guard stays
//! for ten days unless it fails, and a new one is taken only when none of the known ones works
//! (network.md 6.1, 6.3). One of a former run counts only after it answered in this one. Three failures in a row that
//! nothing else explains end a guard, wherever it came from. Pure: time is an argument.

use serde::{Deserialize, Serialize};

use crate::pool::{NodeKey, Pool, STRIKES};

/// Guards remembered: two in use, two that worked before.
const KEPT: usize = 4;

/// Age at which a guard is replaced.
const LIFETIME_MS: u64 = 10 * 86_400_000;

/// Known guards, the preferred first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Guards {
    list: Vec<Guard>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Guard {
    #[serde(with = "crate::hexkey")]
    key: NodeKey,
    /// Local ms.
    since_ms: u64,
    #[serde(skip)]
    failures: u8,
    /// It answered in this run.
    #[serde(skip)]
    verified: bool,
}

impl Guards {
    /// Keys of all known guards, in order of preference.
    pub(crate) fn keys(&self) -> Vec<NodeKey> {
        self.list.iter().map(|guard| guard.key).collect()
    }

    /// Whether this guard answered in this run.
    pub(crate) fn is_verified(&self, key: &NodeKey) -> bool {
        let mut list = self.list.iter();
        list.any(|guard| guard.key == *key && guard.verified)
    }

    /// Guards that did not answer in this run yet.
    pub(crate) fn unverified(&self) -> Vec<NodeKey> {
        let list = self.list.iter().filter(|guard| !guard.verified);
        list.map(|guard| guard.key).collect()
    }

    /// A known guard answered something asked of itself. That does not make it a good guard: its failures stay.
    pub(crate) fn verify(&mut self, key: &NodeKey) {
        if let Some(guard) = self.list.iter_mut().find(|guard| guard.key == *key) {
            guard.verified = true;
        }
    }

    /// A path over this guard works. Returns whether the list changed.
    pub(crate) fn worked(&mut self, key: NodeKey, now_ms: u64) -> bool {
        if let Some(guard) = self.list.iter_mut().find(|guard| guard.key == key) {
            guard.failures = 0;
            guard.verified = true;
            return false;
        }
        self.list.push(Guard {
            key,
            since_ms: now_ms,
            failures: 0,
            verified: true,
        });
        if self.list.len() > KEPT {
            let worst = (0..self.list.len() - 1)
                .max_by_key(|index| (self.list[*index].failures, usize::MAX - index));
            if let Some(worst) = worst {
                self.list.remove(worst);
            }
        }
        true
    }

    /// A path over this guard failed in a way that may be its fault; it is forgotten the third time. Returns
    /// whether the list changed.
    pub(crate) fn failed(&mut self, key: &NodeKey) -> bool {
        let Some(index) = self.list.iter().position(|guard| guard.key == *key) else {
            return false;
        };
        let guard = &mut self.list[index];
        guard.failures = guard.failures.saturating_add(1);
        let forgotten = guard.failures >= STRIKES;
        if forgotten {
            self.list.remove(index);
        }
        forgotten
    }

    /// Drops guards that served long enough or that the list of nodes no longer has. A time in the future means
    /// that the clock was set, and counts as new.
    pub(crate) fn retain(&mut self, pool: &Pool, now_ms: u64) {
        self.list.retain(|guard| {
            now_ms.saturating_sub(guard.since_ms) < LIFETIME_MS && pool.get(&guard.key).is_some()
        });
        self.list.truncate(KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::tests::node;

    fn pool() -> Pool {
        Pool::new((1..=9).map(node).collect(), false)
    }

    #[test]
    fn known_guards_come_first_and_survive_encoding() {
        let mut guards = Guards::default();
        assert!(guards.worked([1; 32], 5));
        assert!(guards.worked([2; 32], 5));
        assert!(!guards.worked([1; 32], 6));
        let bytes = serde_json::to_vec(&guards).unwrap();
        let guards: Guards = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(guards.keys(), [[1; 32], [2; 32]]);
    }

    #[test]
    fn a_guard_of_a_former_run_counts_once_it_answered() {
        let mut guards = Guards::default();
        guards.worked([1; 32], 5);
        guards.worked([2; 32], 5);
        let bytes = serde_json::to_vec(&guards).unwrap();
        let mut guards: Guards = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(guards.unverified(), [[1; 32], [2; 32]]);
        guards.verify(&[1; 32]);
        guards.worked([2; 32], 6);
        assert!(guards.is_verified(&[1; 32]) && guards.unverified().is_empty());
        // Answering for itself is not enough to stay.
        for _ in 0..3 {
            guards.failed(&[1; 32]);
            guards.verify(&[1; 32]);
        }
        assert_eq!(guards.keys(), [[2; 32]]);
    }

    #[test]
    fn three_failures_in_a_row_end_a_guard() {
        let mut guards = Guards::default();
        guards.worked([1; 32], 0);
        assert!(!guards.failed(&[1; 32]));
        assert!(!guards.failed(&[1; 32]));
        guards.worked([1; 32], 0);
        assert!(!guards.failed(&[1; 32]));
        assert!(!guards.failed(&[1; 32]));
        assert!(guards.failed(&[1; 32]));
        assert!(guards.keys().is_empty());
    }

    #[test]
    fn the_list_stays_short_and_young() {
        let mut guards = Guards::default();
        for number in 1..=4 {
            guards.worked([number; 32], 0);
        }
        guards.failed(&[3; 32]);
        guards.worked([5; 32], 10);
        assert_eq!(guards.keys(), [[1; 32], [2; 32], [4; 32], [5; 32]]);
        guards.worked([77; 32], 10);
        guards.retain(&pool(), LIFETIME_MS + 9);
        assert_eq!(guards.keys(), [[5; 32]]);
    }
}
