//! What became of requests and tests, and whose fault it was.
//!
//! Only one failure is first-hand: no connection to the guard. Everything else may have been caused or written by any
//! hop or by the destination, so it costs nothing by itself: the path comes under suspicion and is tested at once, the
//! destination is asked last for a while. A test asks a node beside the path; if that does not answer, it asks others
//! and, at the same time, each hop over the hops before it. What comes back from a hop shows that all before it pass
//! things on; the first silent one after the last that answered is to blame, and a little the one before it, which may
//! not have passed it on. So a destination's error never costs a path, and a 504 after 30 s, which may mean the next hop
//! or the destination, is decided by asking both (network.md 6.2, 11; observed-nodes.md 15).
//!
//! A path that passes its tests and yet fails request after request for nodes that then answer over another path is
//! dropped at the third.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Now, Rest, Route, SILENT_PATHS, Silence, State};
use crate::dropped::Reason;
use crate::fault::Fault;
use crate::metrics::Metrics;
use crate::paths::HOPS;
use crate::pool::{Node, NodeKey, STRIKES};

/// Answers older than this do not show that the machine is online, ms.
pub(super) const HEARD_MS: u64 = 30_000;

/// Tests in which all hops answer and nothing behind them does, after which a path in use is given up.
const DEAD_ENDS: u8 = 2;

/// What a test of a path found.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// Round trip of the first answer from beside the path; `None` if none came.
    pub(crate) passed: Option<Duration>,
    /// What went wrong with the last request to a node beside it.
    pub(crate) fault: Fault,
    /// What each hop did when asked itself; `Ok` is an answer, whatever it says.
    pub(crate) hops: [Result<(), Fault>; HOPS],
}

impl Finding {
    /// The first hop after the last that answered for itself, and what happened.
    fn blamed(&self) -> Option<(usize, Fault)> {
        let answered = self.hops.iter().rposition(Result::is_ok);
        let first = answered.map_or(0, |last| last + 1);
        Some((first, self.hops.get(first)?.err()?))
    }
}

impl State {
    /// The destination answered over a path. `short` marks requests whose round trip says something about the
    /// path.
    pub(crate) fn answered(
        &mut self,
        route: &Route,
        target: &NodeKey,
        latency: Duration,
        short: bool,
        now: Now,
    ) {
        let network_now = self.network_ms(now);
        self.heard_ms = Some(now.steady_ms);
        if let Some(path) = self.paths.get_mut(&route.id) {
            path.answered(network_now, short.then_some(latency));
            path.test_at_ms = now.steady_ms.saturating_add(self.policy.test_ms);
            self.worked(&route.hops, now);
        }
        self.pool.forgive(target);
        let Some(silence) = self.silent.remove(target) else {
            return;
        };
        // It is well, so it was not to blame for what failed over another path a moment ago.
        if silence.until_ms <= now.steady_ms {
            return;
        }
        for id in silence.paths.iter().filter(|id| **id != route.id) {
            let failed_often = self.paths.get_mut(id).is_some_and(|path| path.strike());
            if failed_often {
                self.unexplained(id, now);
            }
        }
    }

    /// Something came back over the hops of a path in use.
    pub(super) fn worked(&mut self, hops: &[Node; HOPS], now: Now) {
        self.heard_ms = Some(now.steady_ms);
        for hop in hops {
            self.pool.relayed(&hop.ed25519);
        }
        self.guards_changed |= self.guards.worked(hops[0].ed25519, now.local_ms);
    }

    /// A request over a path in use failed. Returns whether there is something to test or repair.
    pub(crate) fn failed(
        &mut self,
        route: &Route,
        target: &NodeKey,
        fault: Fault,
        now: Now,
    ) -> bool {
        match fault {
            Fault::GuardUnreachable => {
                self.guard_silent(&route.hops[0].ed25519, fault, now);
                true
            }
            // None of its nodes was asked.
            Fault::ProxyDown => {
                self.drop_path(&route.id, Reason::Failed(fault), None, now);
                true
            }
            // Says nothing but "later".
            Fault::Busy => false,
            _ => {
                if let Some(path) = self.paths.get_mut(&route.id) {
                    path.suspect = true;
                }
                self.silence(route, target, now);
                true
            }
        }
    }

    /// The destination answered with a failure of its own, or is often not reached.
    pub(crate) fn strike_target(&mut self, target: &NodeKey) {
        self.pool.strike(target);
    }

    /// A path in use was tested. Returns whether it stays.
    pub(crate) fn tested(&mut self, route: &Route, finding: &Finding, now: Now) -> bool {
        let network_now = self.network_ms(now);
        let test_at_ms = now.steady_ms.saturating_add(self.policy.test_ms);
        if let Some(path) = self.paths.get_mut(&route.id) {
            path.test_at_ms = test_at_ms;
        }
        if let Some(latency) = finding.passed {
            if let Some(path) = self.paths.get_mut(&route.id) {
                path.passed(network_now, latency);
            }
            self.worked(&route.hops, now);
            return true;
        }
        match finding.blamed() {
            Some((_, fault @ Fault::ProxyDown)) => {
                self.drop_path(&route.id, Reason::Failed(fault), None, now);
                false
            }
            Some((hop, fault)) => {
                self.drop_path(&route.id, Reason::Failed(fault), Some(hop), now);
                self.blame(route, hop, fault, now);
                false
            }
            None => {
                // All hops answer: either the last one passes nothing on, or the nodes beside the path are dead.
                let again_ms = now.steady_ms.saturating_add(self.policy.test_ms / 10);
                let dead_end = self.paths.get_mut(&route.id).is_none_or(|path| {
                    path.test_at_ms = again_ms;
                    path.dead_ends = path.dead_ends.saturating_add(1);
                    path.dead_ends >= DEAD_ENDS
                });
                if dead_end {
                    let last = HOPS - 1;
                    let reason = Reason::Failed(finding.fault);
                    self.drop_path(&route.id, reason, Some(last), now);
                    self.pool.strike_relay(&route.hops[last].ed25519);
                }
                !dead_end
            }
        }
    }

    /// A path that was to be built did not pass its test.
    pub(crate) fn not_built(&mut self, route: &Route, finding: &Finding, now: Now) {
        Metrics::count(&self.metrics.not_built, finding.fault.name());
        match finding.blamed() {
            Some((_, Fault::ProxyDown)) => {}
            Some((hop, fault)) => self.blame(route, hop, fault, now),
            None => self.pool.strike_relay(&route.hops[HOPS - 1].ed25519),
        }
    }

    /// A known guard was asked for itself.
    pub(crate) fn guard_tested(&mut self, guard: &NodeKey, answer: Result<(), Fault>, now: Now) {
        match answer {
            Ok(()) => {
                self.heard_ms = Some(now.steady_ms);
                self.guards.verify(guard);
                self.resting.remove(guard);
            }
            Err(Fault::Busy | Fault::ProxyDown) => {}
            Err(fault) => self.guard_silent(guard, fault, now),
        }
    }

    fn blame(&mut self, route: &Route, hop: usize, fault: Fault, now: Now) {
        let key = &route.hops[hop].ed25519;
        match hop {
            0 => self.guard_silent(key, fault, now),
            _ => {
                let named = matches!(fault, Fault::NodeGone(named) if named == *key);
                if named {
                    self.pool.ban(key);
                } else {
                    self.pool.strike(key);
                }
                let before = &route.hops[hop - 1].ed25519;
                match hop {
                    1 => self.guard_failed(before),
                    _ => self.pool.strike_relay(before),
                }
            }
        }
    }

    /// A path failed often, for nodes that were well, and passes its tests.
    fn unexplained(&mut self, id: &str, now: Now) {
        let Some(path) = self.paths.all().iter().find(|path| path.id == id) else {
            return;
        };
        let [guard, middle, edge] = path.hops.clone().map(|hop| hop.ed25519);
        self.drop_path(id, Reason::RepeatedFailure, None, now);
        self.guard_failed(&guard);
        self.pool.strike_relay(&middle);
        self.pool.strike_relay(&edge);
    }

    /// Nothing came from a destination. Over one path it may be the path; over two it is the destination
    /// (network.md 11, 504).
    fn silence(&mut self, route: &Route, target: &NodeKey, now: Now) {
        let until_ms = now.steady_ms.saturating_add(self.policy.rest_ms);
        let silence = self.silent.entry(*target).or_insert_with(|| Silence {
            paths: VecDeque::new(),
            until_ms,
        });
        silence.until_ms = until_ms;
        if silence.paths.contains(&route.id) {
            return;
        }
        if silence.paths.len() == SILENT_PATHS {
            silence.paths.pop_front();
        }
        silence.paths.push_back(route.id.clone());
        if silence.paths.len() > 1 {
            self.pool.strike(target);
        }
    }

    /// A guard did not answer, which ends all paths over it. While nothing else answers either, the machine is
    /// offline and the guard is not to blame.
    fn guard_silent(&mut self, guard: &NodeKey, fault: Fault, now: Now) {
        let paths = self.paths.all().iter();
        let over: Vec<String> = paths
            .filter(|path| path.hops[0].ed25519 == *guard)
            .map(|path| path.id.clone())
            .collect();
        for id in over {
            self.drop_path(&id, Reason::Failed(fault), Some(0), now);
        }
        let rest = Rest {
            since_ms: now.steady_ms,
            until_ms: now.steady_ms.saturating_add(self.policy.rest_ms),
        };
        let before = self.resting.insert(*guard, rest);
        // Heard of since it was last silent, or of late at least.
        let online = self.heard_ms.is_some_and(|heard| {
            before.is_none_or(|rest| heard > rest.since_ms)
                && now.steady_ms.saturating_sub(heard) < HEARD_MS
        });
        if online {
            self.guard_failed(guard);
            self.pool.strike(guard);
        }
    }

    /// A known guard is given three chances with other hops.
    fn guard_failed(&mut self, guard: &NodeKey) {
        let known = self.guards.keys().contains(guard);
        if self.guards.failed(guard) {
            self.guards_changed = true;
            // Left alone like any node that failed often, or it would be the first to be chosen again.
            (0..STRIKES).for_each(|_| self.pool.strike_relay(guard));
            tracing::info!("a guard failed again and again and is replaced");
        } else if !known {
            self.pool.strike_relay(guard);
        }
    }
}
