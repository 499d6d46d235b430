//! What every node knows of all nodes: the stand-in for the chain's service node list (network.md 2.1).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use serde_json::{Value, json};
use session_protocol::{Identifier, blake2b, swarm};

/// Height of the top block when the network starts; each change of a swarm comes with the next block.
const HEIGHT: u64 = 1_500_000;

/// A service node as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Address.
    pub ip: Ipv4Addr,
    /// HTTPS port.
    pub port: u16,
    /// Ed25519 key: identity, and what the node signs with.
    pub ed25519: [u8; 32],
    /// X25519 key: what onion layers are encrypted to.
    pub x25519: [u8; 32],
    /// The swarm it belongs to; `u64::MAX` when it is decommissioned.
    pub swarm_id: u64,
}

impl NodeInfo {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.ip), self.port)
    }

    /// Entry of `snodes` in `get_swarm` and 421 bodies (network.md 3.2).
    fn snode(&self) -> Value {
        let ed25519 = hex::encode(self.ed25519);
        json!({
            "address": format!("{}.snode", base32z(&self.ed25519)),
            "pubkey_legacy": ed25519,
            "pubkey_x25519": hex::encode(self.x25519),
            "pubkey_ed25519": ed25519,
            "ip": self.ip.to_string(),
            // A string, for clients of long ago.
            "port": self.port.to_string(),
            "port_https": self.port,
            "port_omq": self.port,
            "port_quic": self.port,
        })
    }
}

/// All nodes of the network. A stopped node stays listed, as one does on the real network until it is
/// decommissioned; a decommissioned one stays known, without a swarm.
#[derive(Debug)]
pub(crate) struct Directory {
    nodes: Vec<NodeInfo>,
    by_ed25519: HashMap<[u8; 32], usize>,
    swarms: RwLock<Swarms>,
}

/// Who is in which swarm, as of one block.
#[derive(Clone, Debug)]
pub(crate) struct Swarms {
    /// By index of the node.
    of_nodes: Vec<u64>,
    /// Sorted.
    ids: Vec<u64>,
    height: u64,
}

impl Swarms {
    fn new(of_nodes: Vec<u64>, height: u64) -> Self {
        let mut ids = of_nodes.clone();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| *id != swarm::UNASSIGNED);
        Self {
            of_nodes,
            ids,
            height,
        }
    }

    /// The swarm that holds an account.
    pub(crate) fn of_account(&self, account: &Identifier) -> u64 {
        swarm::nearest_swarm(&self.ids, swarm::swarm_space(account)).unwrap_or(swarm::UNASSIGNED)
    }

    /// The swarm of a node by its index.
    pub(crate) fn of_node(&self, index: usize) -> u64 {
        self.of_nodes
            .get(index)
            .copied()
            .unwrap_or(swarm::UNASSIGNED)
    }

    /// Number of members.
    pub(crate) fn size(&self, swarm_id: u64) -> usize {
        self.of_nodes.iter().filter(|id| **id == swarm_id).count()
    }
}

impl Directory {
    pub(crate) fn new(nodes: Vec<NodeInfo>) -> Self {
        let by_ed25519 = nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (node.ed25519, index))
            .collect();
        let of_nodes = nodes.iter().map(|node| node.swarm_id).collect();
        Self {
            nodes,
            by_ed25519,
            swarms: RwLock::new(Swarms::new(of_nodes, HEIGHT)),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Swarms> {
        // Written in one assignment, so whole whatever happened elsewhere.
        self.swarms.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// All nodes as the network started; keys and addresses never change, swarms may have.
    pub(crate) fn founders(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// All nodes with their swarms now.
    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        let swarms = self.read();
        let nodes = self.nodes.iter().enumerate();
        nodes
            .map(|(index, node)| NodeInfo {
                swarm_id: swarms.of_node(index),
                ..node.clone()
            })
            .collect()
    }

    /// The node with this Ed25519 key, in whatever swarm or none.
    pub(crate) fn find(&self, ed25519: &[u8; 32]) -> Option<&NodeInfo> {
        self.by_ed25519
            .get(ed25519)
            .and_then(|index| self.nodes.get(*index))
    }

    /// Index of the node with this Ed25519 key.
    pub(crate) fn index(&self, ed25519: &[u8; 32]) -> Option<usize> {
        self.by_ed25519.get(ed25519).copied()
    }

    /// Who is where now.
    pub(crate) fn swarms(&self) -> Swarms {
        self.read().clone()
    }

    /// Puts a node into another swarm with the next block.
    pub(crate) fn set_swarm(&self, index: usize, swarm_id: u64) {
        let mut swarms = self.swarms.write().unwrap_or_else(PoisonError::into_inner);
        let mut of_nodes = swarms.of_nodes.clone();
        if let Some(slot) = of_nodes.get_mut(index) {
            *slot = swarm_id;
        }
        *swarms = Swarms::new(of_nodes, swarms.height + 1);
    }

    /// Height of the top block.
    pub(crate) fn height(&self) -> u64 {
        self.read().height
    }

    /// Hash of the top block.
    pub(crate) fn block_hash(&self) -> String {
        let height = self.height().to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![&height];
        parts.extend(self.nodes.iter().map(|node| node.ed25519.as_slice()));
        hex::encode(blake2b::hash32(&parts))
    }

    /// The swarm that holds an account.
    pub(crate) fn swarm_of(&self, account: &Identifier) -> u64 {
        self.read().of_account(account)
    }

    /// The swarm of the node with this Ed25519 key.
    pub(crate) fn swarm_of_node(&self, ed25519: &[u8; 32]) -> u64 {
        self.index(ed25519)
            .map_or(swarm::UNASSIGNED, |index| self.read().of_node(index))
    }

    /// Members of a swarm now.
    pub(crate) fn members(&self, swarm_id: u64) -> Vec<NodeInfo> {
        let mut nodes = self.nodes();
        nodes.retain(|node| node.swarm_id == swarm_id);
        nodes
    }

    /// `snodes` and `swarm` of an account's swarm (network.md 3.2).
    pub(crate) fn swarm_answer(&self, account: &Identifier) -> serde_json::Map<String, Value> {
        let id = self.swarm_of(account);
        let snodes: Vec<Value> = match id {
            swarm::UNASSIGNED => Vec::new(),
            id => self.members(id).iter().map(NodeInfo::snode).collect(),
        };
        let mut answer = serde_json::Map::new();
        answer.insert("snodes".into(), snodes.into());
        answer.insert("swarm".into(), format!("{id:x}").into());
        answer
    }
}

/// Base32 in the alphabet of `.snode` addresses: 52 characters for 32 bytes.
fn base32z(bytes: &[u8; 32]) -> String {
    const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";
    let mut text = String::with_capacity(52);
    let (mut bits, mut count) = (0_u32, 0_u32);
    let mut push = |bits: u32| {
        let digit = usize::try_from(bits & 31).unwrap_or(0);
        text.extend(ALPHABET.get(digit).copied().map(char::from));
    };
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            push(bits >> count);
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        push(bits << (5 - count));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snode_addresses_have_52_characters_of_the_alphabet() {
        assert_eq!(base32z(&[0; 32]), "y".repeat(52));
        let ones = base32z(&[0xff; 32]);
        assert_eq!(ones.len(), 52);
        // 256 bits are 51 digits and one bit.
        assert_eq!(ones, format!("{}o", "9".repeat(51)));
    }
}
