//! What every node knows of all nodes: the stand-in for the chain's service node list (network.md 2.1).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use session_protocol::{Identifier, blake2b, swarm};

/// Height of the top block, always the same.
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
    /// The swarm it belongs to.
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

/// All nodes of the network. Membership does not change while it runs; a stopped node stays listed, as one
/// does on the real network until its uptime proof runs out.
#[derive(Debug)]
pub(crate) struct Directory {
    nodes: Vec<NodeInfo>,
    by_ed25519: HashMap<[u8; 32], usize>,
    swarm_ids: Vec<u64>,
    block_hash: String,
}

impl Directory {
    pub(crate) fn new(nodes: Vec<NodeInfo>) -> Self {
        let by_ed25519 = nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (node.ed25519, index))
            .collect();
        let mut swarm_ids: Vec<u64> = nodes.iter().map(|node| node.swarm_id).collect();
        swarm_ids.sort_unstable();
        swarm_ids.dedup();
        let keys: Vec<&[u8]> = nodes.iter().map(|node| node.ed25519.as_slice()).collect();
        let block_hash = hex::encode(blake2b::hash32(&keys));
        Self {
            nodes,
            by_ed25519,
            swarm_ids,
            block_hash,
        }
    }

    pub(crate) fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// The node with this Ed25519 key.
    pub(crate) fn find(&self, ed25519: &[u8; 32]) -> Option<&NodeInfo> {
        self.by_ed25519
            .get(ed25519)
            .and_then(|index| self.nodes.get(*index))
    }

    /// Height of the top block.
    pub(crate) fn height(&self) -> u64 {
        HEIGHT
    }

    /// Hash of the top block. It never changes, since the chain never does.
    pub(crate) fn block_hash(&self) -> &str {
        &self.block_hash
    }

    /// The swarm that holds an account.
    pub(crate) fn swarm_of(&self, account: &Identifier) -> u64 {
        swarm::nearest_swarm(&self.swarm_ids, swarm::swarm_space(account))
            .unwrap_or(swarm::UNASSIGNED)
    }

    /// Members of a swarm.
    pub(crate) fn members(&self, swarm_id: u64) -> impl Iterator<Item = &NodeInfo> {
        self.nodes
            .iter()
            .filter(move |node| node.swarm_id == swarm_id)
    }

    /// `snodes` and `swarm` of an account's swarm (network.md 3.2).
    pub(crate) fn swarm_answer(&self, account: &Identifier) -> serde_json::Map<String, Value> {
        let id = self.swarm_of(account);
        let snodes: Vec<Value> = self.members(id).map(NodeInfo::snode).collect();
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
