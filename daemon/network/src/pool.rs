//! The service nodes known, and which of them are to be left alone.
//!
//! Pure: no I/O and no clock. A node with three strikes is not used until it answers by another way or two days
//! have gone by since the last (network.md 1.4, 6.1). Strikes for what it did itself go when it answers; strikes for
//! what it did not pass on go when it passes something on: a node that answers and drops what is for others is found
//! out all the same.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};
use session_protocol::Identifier;
use session_protocol::onion::Hop;
use session_protocol::storage::answer::NodeRecord;
use session_protocol::swarm::{UNASSIGNED, nearest_swarm, swarm_space};

/// A node's or path's strikes at which it is given up.
pub(crate) const STRIKES: u8 = 3;

/// How long a node's strikes count after the last of them.
const STRIKES_LAST_MS: u64 = 48 * 3_600_000;

/// Most nodes a list may have; the real network has some two thousand.
const MAX_NODES: usize = 50_000;

/// An Ed25519 key: the name of a node.
pub(crate) type NodeKey = [u8; 32];

/// A service node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Node {
    #[serde(with = "crate::hexkey")]
    pub(crate) ed25519: NodeKey,
    #[serde(with = "crate::hexkey")]
    pub(crate) x25519: [u8; 32],
    pub(crate) ip: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) swarm_id: Option<u64>,
}

impl Node {
    pub(crate) fn hop(&self) -> Hop {
        Hop {
            ed25519: self.ed25519,
            x25519: self.x25519,
        }
    }

    pub(crate) fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.ip, self.port)
    }

    /// The /24 it is in.
    pub(crate) fn subnet(&self) -> [u8; 3] {
        let [a, b, c, _] = self.ip.octets();
        [a, b, c]
    }
}

impl From<NodeRecord> for Node {
    fn from(record: NodeRecord) -> Self {
        Self {
            ed25519: record.ed25519,
            x25519: record.x25519,
            ip: record.ip,
            port: record.port,
            swarm_id: record.swarm_id,
        }
    }
}

/// All known nodes.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    nodes: HashMap<NodeKey, Entry>,
}

#[derive(Debug)]
struct Entry {
    node: Node,
    strikes: u8,
    relay_strikes: u8,
    /// When the last one was noticed by [`Pool::age`], local ms; `None` until then.
    struck_ms: Option<u64>,
}

impl Entry {
    fn new(node: Node) -> Self {
        Self {
            node,
            strikes: 0,
            relay_strikes: 0,
            struck_ms: None,
        }
    }

    fn is_usable(&self) -> bool {
        self.most_strikes() < STRIKES
    }

    fn most_strikes(&self) -> u8 {
        self.strikes.max(self.relay_strikes)
    }
}

/// A node's strikes, as they are saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Struck {
    #[serde(with = "crate::hexkey")]
    key: NodeKey,
    strikes: u8,
    /// Local ms.
    last_ms: u64,
}

impl Pool {
    /// A pool of these nodes without strikes. Nodes in no swarm are not ready for anything and left out, as are,
    /// with `public_only`, addresses that cannot be reached over the internet.
    pub(crate) fn new(list: Vec<Node>, public_only: bool) -> Self {
        let nodes = list
            .into_iter()
            .filter(|node| node.swarm_id != Some(UNASSIGNED) && node.port != 0)
            .filter(|node| !public_only || is_public(node.ip))
            .take(MAX_NODES)
            .map(|node| (node.ed25519, Entry::new(node)))
            .collect();
        Self { nodes }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().map(|entry| &entry.node)
    }

    /// Known nodes that are not given up.
    pub(crate) fn usable(&self) -> impl Iterator<Item = &Node> {
        self.nodes
            .values()
            .filter(|entry| entry.is_usable())
            .map(|entry| &entry.node)
    }

    pub(crate) fn get(&self, key: &NodeKey) -> Option<&Node> {
        self.nodes.get(key).map(|entry| &entry.node)
    }

    pub(crate) fn is_usable(&self, key: &NodeKey) -> bool {
        self.nodes.get(key).is_some_and(Entry::is_usable)
    }

    pub(crate) fn strike(&mut self, key: &NodeKey) {
        if let Some(entry) = self.nodes.get_mut(key) {
            entry.strikes = entry.strikes.saturating_add(1);
            entry.struck_ms = None;
        }
    }

    /// The node did not pass something on, as it seems.
    pub(crate) fn strike_relay(&mut self, key: &NodeKey) {
        if let Some(entry) = self.nodes.get_mut(key) {
            entry.relay_strikes = entry.relay_strikes.saturating_add(1);
            entry.struck_ms = None;
        }
    }

    /// The node passed something on.
    pub(crate) fn relayed(&mut self, key: &NodeKey) {
        if let Some(entry) = self.nodes.get_mut(key) {
            entry.strikes = 0;
            entry.relay_strikes = 0;
        }
    }

    /// Gives a node up at once.
    pub(crate) fn ban(&mut self, key: &NodeKey) {
        if let Some(entry) = self.nodes.get_mut(key) {
            entry.strikes = STRIKES;
            entry.struck_ms = None;
        }
    }

    /// The node answered as a destination.
    pub(crate) fn forgive(&mut self, key: &NodeKey) {
        if let Some(entry) = self.nodes.get_mut(key) {
            entry.strikes = 0;
        }
    }

    /// Forgets all strikes: there are not enough nodes left to be choosy.
    pub(crate) fn forgive_all(&mut self) {
        for entry in self.nodes.values_mut() {
            entry.strikes = 0;
            entry.relay_strikes = 0;
        }
    }

    /// Dates strikes that are new and forgets those that are old.
    pub(crate) fn age(&mut self, now_ms: u64) {
        let entries = self.nodes.values_mut();
        for entry in entries.filter(|entry| entry.most_strikes() > 0) {
            // A time in the future means that the clock was set.
            let last = entry.struck_ms.map_or(now_ms, |last| last.min(now_ms));
            entry.struck_ms = Some(last);
            if now_ms - last >= STRIKES_LAST_MS {
                entry.strikes = 0;
                entry.relay_strikes = 0;
            }
        }
    }

    /// Dated strikes, in the order of keys.
    pub(crate) fn struck(&self) -> Vec<Struck> {
        let mut struck: Vec<Struck> = self
            .nodes
            .iter()
            .filter(|(_, entry)| entry.most_strikes() > 0)
            .filter_map(|(key, entry)| {
                Some(Struck {
                    key: *key,
                    strikes: entry.most_strikes(),
                    last_ms: entry.struck_ms?,
                })
            })
            .collect();
        struck.sort_by_key(|struck| struck.key);
        struck
    }

    /// Takes over saved strikes of nodes that are known.
    pub(crate) fn restore_strikes(&mut self, list: &[Struck]) {
        for struck in list {
            if let Some(entry) = self.nodes.get_mut(&struck.key) {
                entry.strikes = struck.strikes.min(STRIKES);
                entry.struck_ms = Some(struck.last_ms);
            }
        }
    }

    /// Takes over the strikes that nodes have in an older list and at the same address, unless fewer than `least`
    /// nodes would be left to use.
    pub(crate) fn keep_strikes_of(&mut self, older: &Self, least: usize) {
        for (key, entry) in &mut self.nodes {
            let before = older.nodes.get(key);
            if let Some(before) = before.filter(|before| before.node == entry.node) {
                entry.strikes = before.strikes;
                entry.relay_strikes = before.relay_strikes;
                entry.struck_ms = before.struck_ms;
            }
        }
        if self.usable().count() < least {
            self.forgive_all();
        }
    }

    /// Members of the swarm that holds `owner`, computed from the list; `None` if the list does not say for
    /// every node which swarm it is in (network.md 3.1, 3.2).
    pub(crate) fn swarm_of(&self, owner: &Identifier) -> Option<HashSet<NodeKey>> {
        let ids = self
            .all()
            .map(|node| node.swarm_id)
            .collect::<Option<HashSet<u64>>>()?;
        let ids: Vec<u64> = ids.into_iter().collect();
        let swarm = nearest_swarm(&ids, swarm_space(owner))?;
        Some(
            self.all()
                .filter(|node| node.swarm_id == Some(swarm))
                .map(|node| node.ed25519)
                .collect(),
        )
    }
}

/// Whether an address can belong to a node on the internet.
fn is_public(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    !(ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_unspecified()
        || shared
        || a == 0
        || a >= 240)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use session_protocol::Prefix;

    /// A node whose key and address derive from a number.
    pub(crate) fn node(number: u8) -> Node {
        Node {
            ed25519: [number; 32],
            x25519: [number ^ 0x80; 32],
            ip: Ipv4Addr::new(127, 0, number, 1),
            port: 22021,
            swarm_id: Some(u64::from(number % 2) << 63),
        }
    }

    #[test]
    fn three_strikes_put_a_node_out() {
        let mut pool = Pool::new((1..=4).map(node).collect(), false);
        pool.strike(&[1; 32]);
        pool.strike(&[1; 32]);
        assert!(pool.is_usable(&[1; 32]));
        pool.strike(&[1; 32]);
        assert!(!pool.is_usable(&[1; 32]));
        pool.ban(&[2; 32]);
        assert_eq!(pool.usable().count(), 2);
        assert_eq!(pool.len(), 4);
        pool.forgive(&[2; 32]);
        assert!(pool.is_usable(&[2; 32]));
        pool.forgive_all();
        assert_eq!(pool.usable().count(), 4);
    }

    #[test]
    fn strikes_last_for_two_days_and_over_restarts_and_new_lists() {
        const DAY: u64 = 86_400_000;
        let list: Vec<Node> = (1..=4).map(node).collect();
        let mut pool = Pool::new(list.clone(), false);
        pool.ban(&[1; 32]);
        pool.strike(&[2; 32]);
        assert!(pool.struck().is_empty());
        pool.age(DAY);
        let saved = pool.struck();
        assert_eq!(saved.len(), 2);

        let mut next = Pool::new(list.clone(), false);
        next.restore_strikes(&saved);
        assert!(!next.is_usable(&[1; 32]));
        next.age(3 * DAY - 1);
        assert_eq!(next.struck(), saved);
        // The second strike is another beginning, and alone one strike does not put it out.
        next.strike(&[2; 32]);
        next.age(3 * DAY);
        assert!(next.is_usable(&[1; 32]) && next.is_usable(&[2; 32]));
        assert_eq!(next.struck().len(), 1);
        // A clock that was set back makes them new, not eternal.
        next.restore_strikes(&saved);
        next.age(0);
        next.age(2 * DAY);
        assert!(next.struck().is_empty());

        let mut moved = list.clone();
        moved[1].port += 1;
        let mut renewed = Pool::new(moved, false);
        pool.ban(&[2; 32]);
        renewed.keep_strikes_of(&pool, 3);
        assert!(!renewed.is_usable(&[1; 32]) && renewed.is_usable(&[2; 32]));
        let mut renewed = Pool::new(list, false);
        renewed.keep_strikes_of(&pool, 3);
        assert_eq!(renewed.usable().count(), 4, "too few would have been left");
    }

    #[test]
    fn a_node_that_answers_but_passes_nothing_on_is_put_out() {
        let mut pool = Pool::new((1..=4).map(node).collect(), false);
        for _ in 0..3 {
            pool.strike_relay(&[1; 32]);
            pool.forgive(&[1; 32]);
        }
        assert!(!pool.is_usable(&[1; 32]));
        pool.relayed(&[1; 32]);
        assert!(pool.is_usable(&[1; 32]));
    }

    #[test]
    fn nodes_that_cannot_serve_are_left_out() {
        let mut list: Vec<Node> = (1..=3).map(node).collect();
        list[0].swarm_id = Some(UNASSIGNED);
        list[1].ip = Ipv4Addr::new(203, 0, 113, 7);
        assert_eq!(Pool::new(list.clone(), false).len(), 2);
        assert_eq!(Pool::new(list, true).len(), 1);
    }

    #[test]
    fn the_swarm_is_computed_only_from_a_complete_list() {
        let owner = Identifier {
            prefix: Prefix::Standard,
            key: [0; 32],
        };
        let mut list: Vec<Node> = (1..=6).map(node).collect();
        let members = Pool::new(list.clone(), false).swarm_of(&owner).unwrap();
        assert_eq!(members, [[2; 32], [4; 32], [6; 32]].into());
        list[0].swarm_id = None;
        assert_eq!(Pool::new(list, false).swarm_of(&owner), None);
        assert_eq!(Pool::default().swarm_of(&owner), None);
    }
}
