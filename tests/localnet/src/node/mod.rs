//! One service node: its identity, its database, and what it shares with the others.
//!
//! [`http`] is its listener's face, [`rpc`] the storage requests, [`onion`] its part in onion requests,
//! [`store`] its database, [`rate`] its limit for direct requests.

mod exit;
mod http;
mod onion;
mod rate;
mod rpc;
pub(crate) mod store;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use session_protocol::{AccountKeys, Identifier, swarm};

use crate::clock::Clock;
use crate::directory::{Directory, NodeInfo};
use crate::faults::Switch;
use crate::peers::Peers;
use rate::RateLimiter;
use store::Store;

/// Version that `info` and `get_stats` name.
pub(crate) const VERSION: [u8; 3] = [2, 8, 0];
/// Hard fork that answers name.
pub(crate) const HARD_FORK: [u8; 2] = [19, 6];

/// How long nodes wait for others (network.md 10).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// For the next hop of an onion request.
    pub hop: Duration,
    /// For a swarm member that a change was forwarded to.
    pub forward: Duration,
    /// For a server behind an exit.
    pub exit: Duration,
}

impl Times {
    /// The official times, multiplied.
    pub(crate) fn scaled(factor: f64) -> Self {
        Self {
            hop: Duration::from_secs(30).mul_f64(factor),
            forward: Duration::from_secs(5).mul_f64(factor),
            exit: Duration::from_secs(25).mul_f64(factor),
        }
    }
}

/// What all nodes of a network share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub directory: Arc<Directory>,
    pub peers: Arc<Peers>,
    pub clock: Arc<dyn Clock>,
    pub times: Times,
    /// Nodes know `active_nodes_bin`.
    pub active_nodes_bin: bool,
    /// Onion requests that came from clients.
    pub onion_requests: Arc<AtomicU64>,
}

/// A running node.
pub(crate) struct Node {
    info: NodeInfo,
    keys: AccountKeys,
    store: Store,
    limiter: RateLimiter,
    switch: Arc<Switch>,
    shared: Shared,
    /// What it tells about the nodes of the network, if not the truth.
    lie: Mutex<Option<Arc<Directory>>>,
}

impl Node {
    pub(crate) fn new(
        info: NodeInfo,
        keys: AccountKeys,
        store: Store,
        switch: Arc<Switch>,
        shared: Shared,
    ) -> Self {
        Self {
            info,
            keys,
            store,
            limiter: RateLimiter::default(),
            switch,
            shared,
            lie: Mutex::new(None),
        }
    }

    /// Removes expired messages, by its own clock.
    pub(crate) async fn sweep(&self) {
        if let Err(error) = self.store.sweep(self.now_ms()).await {
            tracing::warn!(%error, "expired messages not removed");
        }
    }

    /// Waits until it is not frozen.
    pub(crate) async fn moving(&self) {
        self.switch.moving().await;
    }

    /// Its database.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// From now on tells that these are the nodes of the network; `None` for the truth.
    pub(crate) fn lie(&self, nodes: Option<Vec<NodeInfo>>) {
        let lie = nodes.map(|nodes| Arc::new(Directory::new(nodes)));
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner) = lie;
    }

    /// The nodes of the network, as this one tells.
    fn listed(&self) -> Arc<Directory> {
        let lie = self.lie.lock().unwrap_or_else(PoisonError::into_inner);
        lie.clone()
            .unwrap_or_else(|| Arc::clone(&self.shared.directory))
    }

    fn now_ms(&self) -> u64 {
        let offset = self.switch.faults().clock_offset_ms;
        self.shared.clock.now_ms().saturating_add_signed(offset)
    }

    /// Its swarm now.
    fn swarm_id(&self) -> u64 {
        self.shared.directory.swarm_of_node(&self.info.ed25519)
    }

    /// Why it serves nobody, if so (network.md 2.3).
    fn not_ready(&self) -> Option<String> {
        let mut reasons = Vec::new();
        if self.swarm_id() == swarm::UNASSIGNED {
            reasons.push("not in any swarm");
        }
        if self.switch.faults().refuse {
            reasons.push("not done syncing");
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Whether the account lives in this node's swarm.
    fn serves(&self, account: &Identifier) -> bool {
        let own = self.swarm_id();
        own != swarm::UNASSIGNED && self.shared.directory.swarm_of(account) == own
    }
}
