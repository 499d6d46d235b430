//! Everything the layer knows at one moment, and what an answer or a failure does to it.
//!
//! Pure: no I/O, no clock, no locks. [`build`](self) chooses new paths, `outcome` accounts for what came of requests
//! and tests (network.md 6.2, 6.3 and 11), `choose` finds whom to ask over which path.

mod build;
mod choose;
mod outcome;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Offset;
use crate::dropped::{Announced, Dropped, History, Reason};
use crate::guards::Guards;
use crate::isolation::{Class, Classes, IsolationKey};
use crate::ladder::LadderStep;
use crate::metrics::Metrics;
use crate::paths::{HOPS, Path, Paths};
use crate::pool::{Node, NodeKey, Pool};
use crate::random;
use crate::status::{ConnectionState, DroppedPath, HopInfo, PathInfo, Status};
use crate::swarms::Swarms;

pub(crate) use build::NoHops;
pub(crate) use choose::Asked;
pub(crate) use outcome::Finding;

/// Two clocks, read together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Now {
    /// Never set and never set back, ms; for everything that lasts a while.
    pub(crate) steady_ms: u64,
    /// The local clock, ms.
    pub(crate) local_ms: u64,
}

/// A path as a request uses it: what it was when the request began.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) id: String,
    pub(crate) class: Class,
    pub(crate) hops: [Node; HOPS],
    pub(crate) step: LadderStep,
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
            class: path.class,
            hops: path.hops.clone(),
            step: path.step,
        }
    }
}

/// What the user allows and how long things last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// No two nodes in use share a /24.
    pub(crate) diversity: bool,
    /// That may be given up as the last step before having no path.
    pub(crate) allow_same_subnet: bool,
    /// How long a guard that did not answer rests, and a silent destination is asked last, ms.
    pub(crate) rest_ms: u64,
    /// Age at which a path gets new hops, ms.
    pub(crate) rotate_ms: u64,
    /// How long nothing need come back over a path before it is tested, ms.
    pub(crate) test_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            diversity: true,
            allow_same_subnet: false,
            rest_ms: 60_000,
            rotate_ms: 600_000,
            test_ms: 120_000,
        }
    }
}

/// What the layer knows.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) policy: Policy,
    pub(crate) pool: Pool,
    pub(crate) guards: Guards,
    pub(crate) paths: Paths,
    pub(crate) swarms: Swarms,
    pub(crate) offset: Offset,
    pub(crate) classes: Classes,
    /// Why the last round of connecting failed; `None` while the first is under way and after success.
    pub(crate) failure: Option<&'static str>,
    /// The guards' record is out of date.
    pub(crate) guards_changed: bool,
    /// Grows whenever somebody who waits for a path should look again.
    pub(crate) epoch: u64,
    dropped: History,
    pub(crate) metrics: Metrics,
    announced: Announced,
    building: Vec<Route>,
    /// Guards that do not answer.
    resting: HashMap<NodeKey, Rest>,
    /// When an answer last came, steady ms.
    heard_ms: Option<u64>,
    /// Nodes from which nothing came as destinations.
    silent: HashMap<NodeKey, Silence>,
}

/// A guard's pause.
#[derive(Clone, Copy)]
struct Rest {
    /// When it last did not answer, steady ms.
    since_ms: u64,
    /// Until when it is left alone, steady ms.
    until_ms: u64,
}

/// Requests for a node that came to nothing.
struct Silence {
    /// Over which paths, the latest last; at most [`SILENT_PATHS`].
    paths: VecDeque<String>,
    /// Until when others are asked before it, steady ms.
    until_ms: u64,
}

/// Paths remembered per silent node.
const SILENT_PATHS: usize = 4;

impl State {
    pub(crate) fn status(&self) -> Status {
        let path_count = self.paths.all().len();
        let state = match self.failure {
            _ if path_count > 0 => ConnectionState::Connected,
            Some(_) => ConnectionState::Disconnected,
            None => ConnectionState::Connecting,
        };
        let steps = self.paths.all().iter().map(|path| path.step);
        Status {
            state,
            node_count: self.pool.len(),
            path_count,
            last_error: self.failure.filter(|_| path_count == 0),
            clock_offset_ms: self.offset.get(),
            clock_measured: self.offset.is_measured(),
            relaxed: steps.max().unwrap_or_default(),
        }
    }

    pub(crate) fn path_infos(&self) -> Vec<PathInfo> {
        let info = |path: &Path| info(path, self.classes.name(path.class));
        self.paths.all().iter().map(info).collect()
    }

    pub(crate) fn dropped_infos(&self) -> Vec<DroppedPath> {
        let info = |dropped: &Dropped| DroppedPath {
            path: info(&dropped.path, dropped.isolation.clone()),
            reason: dropped.reason.name(),
            hop: dropped.hop,
            dropped_ms: dropped.dropped_ms,
        };
        self.dropped.all().map(info).collect()
    }

    /// Network time, ms.
    fn network_ms(&self, now: Now) -> u64 {
        now.local_ms.saturating_add_signed(self.offset.get())
    }

    /// Takes a new list of nodes: strikes and swarms start anew, and paths over nodes that are gone or moved end.
    pub(crate) fn replace_pool(&mut self, pool: Pool, now: Now) {
        self.pool = pool;
        self.swarms.clear();
        self.silent.clear();
        self.guards.retain(&self.pool, now.local_ms);
        let gone = |path: &Path| {
            let lost = |hop: &Node| self.pool.get(&hop.ed25519) != Some(hop);
            path.hops.iter().position(lost)
        };
        let paths = self.paths.all().iter();
        let gone: Vec<(String, usize)> = paths
            .filter_map(|path| Some((path.id.clone(), gone(path)?)))
            .collect();
        for (id, hop) in gone {
            self.drop_path(&id, Reason::NodeListChanged, Some(hop), now);
        }
    }

    /// The class of an isolation key that is used now.
    pub(crate) fn touch(&mut self, key: IsolationKey, now: Now) -> Class {
        let name = || random::name(&mut random::system());
        let (class, gone) = self.classes.touch(key, now.steady_ms, name);
        if let Some(gone) = gone {
            self.drop_class(gone, now);
        }
        class
    }

    /// Ends circuits of isolation keys unused for `idle`.
    pub(crate) fn expire_classes(&mut self, now: Now, idle: Duration) {
        for class in self.classes.expire(now.steady_ms, millis(idle)) {
            self.drop_class(class, now);
        }
    }

    /// Connections are likely dead, through no fault of nodes: no path is trusted until it is tested, and silence says
    /// nothing about anyone until something is heard.
    pub(crate) fn disturbed(&mut self) {
        self.heard_ms = None;
        self.paths.doubt_all();
    }

    fn drop_class(&mut self, class: Class, now: Now) {
        let paths: Vec<String> = self.paths.of(class).map(|path| path.id.clone()).collect();
        for id in paths {
            self.drop_path(&id, Reason::Unused, None, now);
        }
    }

    fn drop_path(&mut self, id: &str, reason: Reason, hop: Option<usize>, now: Now) {
        let Some(path) = self.paths.remove(id) else {
            return;
        };
        self.epoch += 1;
        Metrics::count(&self.metrics.dropped, reason.name());
        self.dropped.add(Dropped {
            isolation: self.classes.name(path.class),
            path,
            reason,
            hop,
            dropped_ms: self.network_ms(now),
        });
    }
}

fn info(path: &Path, isolation: String) -> PathInfo {
    let hop = |node: &Node| HopInfo {
        ed25519: node.ed25519,
        ip: node.ip,
        port: node.port,
    };
    PathInfo {
        id: path.id.clone(),
        hops: path.hops.iter().map(hop).collect(),
        isolation,
        created_ms: path.created_ms,
        last_success_ms: path.last_success_ms,
        latency: path.latency,
        suspect: path.suspect,
        relaxed: path.step,
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
