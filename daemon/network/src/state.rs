//! Everything the layer knows at one moment, and what an answer or a failure does to it.
//!
//! Pure: no I/O, no clock, no locks. Accounting of failures: network.md 6.2, 6.3 and 11.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rand_core::Rng;
use session_protocol::Identifier;

use crate::clock::Offset;
use crate::fault::Fault;
use crate::guards::Guards;
use crate::paths::{HOPS, Path, Paths, Rules, WANTED, choose_hops};
use crate::pool::{Node, NodeKey, Pool};
use crate::random;
use crate::status::{ConnectionState, HopInfo, PathInfo, Status};
use crate::swarms::Swarms;

/// Answers older than this do not show that the machine is online.
const HEARD_MS: u64 = 30_000;

/// A path as a request uses it: what it was when the request began.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) id: String,
    pub(crate) hops: [Node; HOPS],
}

impl Route {
    pub(crate) fn contains(&self, key: &NodeKey) -> bool {
        self.hops.iter().any(|hop| hop.ed25519 == *key)
    }
}

impl From<&Path> for Route {
    fn from(path: &Path) -> Self {
        Self {
            id: path.id.clone(),
            hops: path.hops.clone(),
        }
    }
}

/// What the layer knows.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) pool: Pool,
    pub(crate) guards: Guards,
    pub(crate) paths: Paths,
    pub(crate) swarms: Swarms,
    pub(crate) offset: Offset,
    /// Why the last round of connecting failed; `None` while the first is under way and after success.
    pub(crate) failure: Option<&'static str>,
    /// The guards' record is out of date.
    pub(crate) guards_changed: bool,
    building: Vec<Route>,
    /// Guards that do not answer, and until when they are left alone, local ms.
    resting: HashMap<NodeKey, u64>,
    /// When an answer last came, local ms.
    heard_ms: Option<u64>,
    /// Nodes from which nothing came in time as destinations: over which path, and until when others are asked
    /// before them, local ms.
    silent: HashMap<NodeKey, (String, u64)>,
}

impl State {
    pub(crate) fn status(&self) -> Status {
        let path_count = self.paths.all().len();
        let state = match self.failure {
            _ if path_count > 0 => ConnectionState::Connected,
            Some(_) => ConnectionState::Disconnected,
            None => ConnectionState::Connecting,
        };
        Status {
            state,
            node_count: self.pool.len(),
            path_count,
            last_error: self.failure.filter(|_| path_count == 0),
            clock_offset_ms: self.offset.get(),
        }
    }

    pub(crate) fn path_infos(&self) -> Vec<PathInfo> {
        let hop = |node: &Node| HopInfo {
            ed25519: node.ed25519,
            ip: node.ip,
            port: node.port,
        };
        self.paths
            .all()
            .iter()
            .map(|path| PathInfo {
                id: path.id.clone(),
                hops: path.hops.iter().map(hop).collect(),
                created_ms: path.created_ms,
                last_success_ms: path.last_success_ms,
                latency: path.latency,
            })
            .collect()
    }

    /// Takes a new list of nodes: strikes and swarms start anew, and paths over nodes that are gone or moved end.
    pub(crate) fn replace_pool(&mut self, pool: Pool, now_ms: u64) {
        self.pool = pool;
        self.swarms.clear();
        self.silent.clear();
        self.guards.retain(&self.pool, now_ms);
        let gone: Vec<String> = self
            .paths
            .all()
            .iter()
            .filter(|path| {
                path.hops
                    .iter()
                    .any(|hop| self.pool.get(&hop.ed25519) != Some(hop))
            })
            .map(|path| path.id.clone())
            .collect();
        for id in gone {
            self.paths.remove(&id);
        }
    }

    /// Paths still missing, those being built not counted.
    pub(crate) fn missing(&self) -> usize {
        WANTED.saturating_sub(self.paths.all().len() + self.building.len())
    }

    /// Chooses hops for a new path and reserves them until [`State::end_build`]. With `replacing`, the guard is
    /// that path's and the other hops are new. With `insist` and no path at all, known guards are tried although
    /// they did not answer a moment ago: most likely it was this machine that was offline, and every new guard
    /// would learn its address.
    pub(crate) fn begin_build<R: Rng + ?Sized>(
        &mut self,
        rng: &mut R,
        diversity: bool,
        now_ms: u64,
        insist: bool,
        replacing: Option<&Route>,
    ) -> Option<Route> {
        self.resting.retain(|_, until| *until > now_ms);
        let insist = insist && self.paths.all().is_empty();
        let known = self.guards.keys();
        let resting: Vec<NodeKey> = self
            .resting
            .keys()
            .filter(|key| !(insist && known.contains(key)))
            .copied()
            .collect();
        let keep = replacing.map(|route| route.hops[0].ed25519);
        let in_use: Vec<Node> = self
            .paths
            .all()
            .iter()
            .map(|path| &path.hops)
            .chain(self.building.iter().map(|route| &route.hops))
            .flatten()
            .filter(|node| Some(node.ed25519) != keep)
            .cloned()
            .collect();
        let mut guards = known;
        if let Some(keep) = keep {
            guards.retain(|key| *key != keep);
            guards.insert(0, keep);
        }
        let rules = Rules {
            in_use: &in_use,
            guards: &guards,
            resting: &resting,
            diversity,
        };
        let mut hops = choose_hops(rng, &self.pool, &rules);
        if hops.is_none() && in_use.is_empty() {
            // Nothing is left to try: better a node that failed before than none.
            self.pool.forgive_all();
            self.resting.clear();
            let rules = Rules {
                resting: &[],
                ..rules
            };
            hops = choose_hops(rng, &self.pool, &rules);
        }
        let hops = hops.filter(|hops| keep.is_none_or(|keep| hops[0].ed25519 == keep))?;
        let route = Route {
            id: random::name(rng),
            hops,
        };
        self.building.push(route.clone());
        Some(route)
    }

    /// Frees the hops of a path whose building ended, one way or the other.
    pub(crate) fn end_build(&mut self, route: &Route) {
        self.building.retain(|other| other.id != route.id);
    }

    /// A new path works. `replaces` is the path whose place it takes.
    pub(crate) fn built(
        &mut self,
        route: &Route,
        replaces: Option<&str>,
        latency: Duration,
        now_ms: u64,
    ) {
        let network_now = now_ms.saturating_add_signed(self.offset.get());
        let mut path = Path::new(route.id.clone(), route.hops.clone(), network_now);
        path.answered(network_now, Some(latency));
        if let Some(old) = replaces {
            self.paths.remove(old);
        }
        self.paths.add(path);
        self.failure = None;
        self.heard_ms = Some(now_ms);
        self.guards_changed |= self.guards.worked(route.hops[0].ed25519, now_ms);
    }

    /// The destination answered over a path. `short` marks requests whose round trip says something about the
    /// path.
    pub(crate) fn answered(
        &mut self,
        route: &Route,
        target: &NodeKey,
        latency: Duration,
        short: bool,
        now_ms: u64,
    ) {
        self.heard_ms = Some(now_ms);
        let network_now = now_ms.saturating_add_signed(self.offset.get());
        if let Some(path) = self.paths.get_mut(&route.id) {
            path.answered(network_now, short.then_some(latency));
            self.guards_changed |= self.guards.worked(route.hops[0].ed25519, now_ms);
        }
        self.pool.forgive(target);
        self.silent.remove(target);
    }

    /// Connections are likely dead, through no fault of nodes: no path is trusted until it is tested, and silence says
    /// nothing about anyone until something is heard.
    pub(crate) fn disturbed(&mut self) {
        self.heard_ms = None;
        self.paths.doubt_all();
    }

    /// A request over a path in use failed. Returns whether there is something to repair.
    pub(crate) fn failed(
        &mut self,
        route: &Route,
        target: &NodeKey,
        fault: Fault,
        now_ms: u64,
        rest: Duration,
    ) -> bool {
        match fault {
            Fault::ProxyDown => {
                self.paths.remove(&route.id);
                true
            }
            Fault::GuardUnreachable => {
                self.paths.remove(&route.id);
                self.unreachable(&route.hops[0].ed25519, now_ms, rest);
                true
            }
            Fault::NodeGone(key) if key == *target => {
                self.pool.strike(target);
                false
            }
            Fault::NodeGone(key) if route.contains(&key) => {
                self.gone(route, &key);
                self.paths.remove(&route.id);
                true
            }
            Fault::NodeNotReady(key) if key == *target => {
                self.pool.strike(target);
                false
            }
            Fault::NodeNotReady(key) if route.contains(&key) => {
                self.pool.strike(&key);
                self.strike_path(route)
            }
            Fault::Timeout | Fault::ConnectionLost => {
                if let Some(path) = self.paths.get_mut(&route.id) {
                    path.suspect = true;
                }
                self.strike_path(route);
                self.silence(route, target, now_ms, rest);
                true
            }
            Fault::Busy => false,
            Fault::NodeGone(_)
            | Fault::NodeNotReady(_)
            | Fault::NotFromDestination
            | Fault::Plain => self.strike_path(route),
        }
    }

    /// The destination answered with a failure of its own, or is often not reached.
    pub(crate) fn strike_target(&mut self, target: &NodeKey) {
        self.pool.strike(target);
    }

    /// A path that was to be built, or one under suspicion, did not pass its `info`.
    pub(crate) fn probe_failed(
        &mut self,
        route: &Route,
        target: &NodeKey,
        fault: Fault,
        now_ms: u64,
        rest: Duration,
    ) {
        self.paths.remove(&route.id);
        let [guard, middle, edge] = &route.hops;
        match fault {
            Fault::GuardUnreachable => self.unreachable(&guard.ed25519, now_ms, rest),
            Fault::NodeGone(key) | Fault::NodeNotReady(key) if key == *target => {
                self.pool.strike(target);
            }
            Fault::NodeGone(key) if route.contains(&key) => self.gone(route, &key),
            Fault::NodeNotReady(key) if route.contains(&key) => self.pool.strike(&key),
            Fault::Busy | Fault::ProxyDown => {}
            _ => {
                // One of the four is to blame. The known guard is given three chances with other hops.
                for node in [&middle.ed25519, &edge.ed25519] {
                    self.pool.strike(node);
                }
                if self.guards.keys().contains(&guard.ed25519) {
                    self.guard_failed(&guard.ed25519);
                } else {
                    self.pool.strike(&guard.ed25519);
                }
            }
        }
    }

    /// One of `members` and a path to it. Those that refused are left out. The best path decides: a member that
    /// only a doubtful path leads to is no choice as long as there is another. Then those asked before come last, as
    /// do silent ones and those with strikes; `first` comes first.
    pub(crate) fn choose_member<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
        members: &HashSet<NodeKey>,
        first: Option<&NodeKey>,
        asked: &Asked,
        now_ms: u64,
    ) -> Option<(Route, Node)> {
        let mut candidates: Vec<&Node> = members
            .iter()
            .filter(|key| !asked.refused.contains(*key))
            .filter_map(|key| self.pool.get(key))
            .collect();
        random::shuffle(rng, &mut candidates);
        candidates.sort_by_key(|node| {
            (
                asked.tried.contains(&node.ed25519),
                self.is_silent(&node.ed25519, now_ms),
                !self.pool.is_usable(&node.ed25519),
                first != Some(&node.ed25519),
            )
        });
        let reachable = candidates.into_iter().filter_map(|node| {
            let (doubt, path) = self.paths.choose(rng, &node.ed25519, &asked.paths)?;
            Some((doubt, path, node))
        });
        // The first of equals.
        let (_, path, node) = reachable.min_by_key(|(doubt, ..)| *doubt)?;
        Some((path.into(), node.clone()))
    }

    /// A random node to ask something that any node can answer, and a path to it.
    pub(crate) fn choose_any<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
        asked: &Asked,
        now_ms: u64,
    ) -> Option<(Route, Node)> {
        let all: HashSet<NodeKey> = self.pool.usable().map(|node| node.ed25519).collect();
        self.choose_member(rng, &all, None, asked, now_ms)
    }

    /// A random node that is not on this path, for its `info`.
    pub(crate) fn choose_beside<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
        route: &Route,
    ) -> Option<Node> {
        let others: Vec<&Node> = self
            .pool
            .usable()
            .filter(|node| !route.contains(&node.ed25519))
            .collect();
        random::pick(rng, &others).map(|node| (*node).clone())
    }

    /// Members of an account's swarm, if they are known.
    pub(crate) fn members(&self, owner: &Identifier) -> Option<HashSet<NodeKey>> {
        self.swarms.members(owner, &self.pool)
    }

    fn strike_path(&mut self, route: &Route) -> bool {
        let Some(path) = self.paths.strike(&route.id) else {
            return false;
        };
        let [guard, middle, edge] = path.hops;
        self.pool.strike(&middle.ed25519);
        self.pool.strike(&edge.ed25519);
        self.guard_failed(&guard.ed25519);
        true
    }

    /// Nothing came from a destination. Over one path it may be the path; over two it is the destination
    /// (network.md 11, 504).
    fn silence(&mut self, route: &Route, target: &NodeKey, now_ms: u64, rest: Duration) {
        let until = now_ms.saturating_add(millis(rest));
        let before = self.silent.insert(*target, (route.id.clone(), until));
        if before.is_some_and(|(path, _)| path != route.id) {
            self.pool.strike(target);
        }
    }

    fn is_silent(&self, key: &NodeKey, now_ms: u64) -> bool {
        let silent = self.silent.get(key);
        silent.is_some_and(|(_, until)| *until > now_ms)
    }

    /// A hop is said to be gone. A guard that says so again and again is itself suspected.
    fn gone(&mut self, route: &Route, key: &NodeKey) {
        self.pool.ban(key);
        self.guard_failed(&route.hops[0].ed25519);
    }

    /// A guard did not answer. While nothing else answers either, the machine is offline and the guard is not to
    /// blame.
    fn unreachable(&mut self, guard: &NodeKey, now_ms: u64, rest: Duration) {
        let until = now_ms.saturating_add(millis(rest));
        self.resting.insert(*guard, until);
        let online = self
            .heard_ms
            .is_some_and(|heard| now_ms.saturating_sub(heard) < HEARD_MS);
        if online {
            self.guard_failed(guard);
            self.pool.strike(guard);
        }
    }

    fn guard_failed(&mut self, guard: &NodeKey) {
        self.guards_changed |= self.guards.failed(guard);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What one call has tried.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Members that answered, but cannot help.
    pub(crate) refused: HashSet<NodeKey>,
    /// Members from which nothing came.
    pub(crate) tried: HashSet<NodeKey>,
    /// Paths that failed.
    pub(crate) paths: Vec<String>,
}

#[cfg(test)]
mod tests;
