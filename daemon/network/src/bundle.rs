//! A list of nodes that comes with the program or from a file, for the day when no seed answers.
//!
//! Format: JSON `{"service_node_states": […], "height": n, "build_time": unix seconds}`, or the whole answer of a seed
//! with these under `result`; `build_time` may be missing, and is then the file's own time. Nodes that have left since
//! the list was made are not used, as far as it says when they wanted to (network.md 1.3, 1.4).

use std::path::Path;
use std::time::UNIX_EPOCH;

use serde_json::Value;
use session_protocol::storage::answer;

use crate::pool::Node;
use crate::state::millis;

/// Largest file that is read; the real network's list has about one megabyte.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// Time between two blocks of the chain, ms.
const BLOCK_MS: u64 = 120_000;

/// Made when this program is built; empty until a list is shipped with it.
const MAIN: &str = include_str!("../nodes/main.json");

/// A list of nodes and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundledNodes {
    built_ms: u64,
    height: u64,
    /// With each the height at which it leaves, 0 for one that stays.
    nodes: Vec<(Node, u64)>,
}

/// Why a file is no such list.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It cannot be read.
    #[error("cannot be read")]
    Io(#[from] std::io::Error),
    /// It is too large.
    #[error("larger than 32 MiB")]
    TooLarge,
    /// It is no JSON.
    #[error("not JSON")]
    Json(#[from] serde_json::Error),
    /// It is something else.
    #[error("no list of service nodes")]
    NoList,
}

impl BundledNodes {
    /// The list for the main network that is part of the program; `None` while that is empty.
    pub(crate) fn main() -> Option<Self> {
        Self::from_json(MAIN.as_bytes(), 0)
            .ok()
            .filter(|list| !list.nodes.is_empty())
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, BundleError> {
        let about = std::fs::metadata(path)?;
        if about.len() > MAX_BYTES {
            return Err(BundleError::TooLarge);
        }
        let age = about.modified()?.duration_since(UNIX_EPOCH);
        let changed_ms = age.map_or(0, millis);
        Self::from_json(&std::fs::read(path)?, changed_ms)
    }

    /// Reads the text of a file that was changed at a time, ms.
    pub fn from_json(text: &[u8], changed_ms: u64) -> Result<Self, BundleError> {
        let file: Value = serde_json::from_slice(text)?;
        let list = file.get("result").unwrap_or(&file);
        let records = answer::service_nodes(list).map_err(|_| BundleError::NoList)?;
        let number = |name| list.get(name).or_else(|| file.get(name));
        let number = |name| number(name).and_then(Value::as_u64);
        Ok(Self {
            built_ms: number("build_time")
                .map_or(changed_ms, |seconds| seconds.saturating_mul(1_000)),
            height: number("height").unwrap_or(0),
            nodes: records
                .into_iter()
                .map(|record| {
                    let leaves = record.requested_unlock_height;
                    (Node::from(record), leaves)
                })
                .collect(),
        })
    }

    /// The nodes that should still be there, by local time in ms.
    pub(crate) fn nodes(&self, now_ms: u64) -> Vec<Node> {
        let blocks = now_ms.saturating_sub(self.built_ms) / BLOCK_MS;
        let height = self.height.saturating_add(blocks);
        self.nodes
            .iter()
            .filter(|(_, leaves)| *leaves == 0 || *leaves > height)
            .map(|(node, _)| node.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const BUILT: u64 = 1_700_000_000;

    fn state(number: u8, leaves: u64) -> Value {
        json!({
            "public_ip": format!("203.0.113.{number}"),
            "storage_port": 22_021,
            "pubkey_ed25519": hex::encode([number; 32]),
            "pubkey_x25519": hex::encode([number ^ 0x80; 32]),
            "requested_unlock_height": leaves,
        })
    }

    fn list(leaves: &[u64]) -> Value {
        let states = leaves.iter().zip(1..);
        let states: Vec<Value> = states
            .map(|(leaves, number)| state(number, *leaves))
            .collect();
        json!({"service_node_states": states, "height": 1_000, "build_time": BUILT})
    }

    fn left(list: &BundledNodes, after_ms: u64) -> Vec<u8> {
        let nodes = list.nodes(BUILT * 1_000 + after_ms);
        nodes.iter().map(|node| node.ed25519[0]).collect()
    }

    #[test]
    fn nodes_that_left_since_are_not_used() {
        let text = list(&[0, 999, 1_000, 1_001, 1_002]).to_string();
        let list = BundledNodes::from_json(text.as_bytes(), 5).unwrap();
        assert_eq!(left(&list, 0), [1, 4, 5]);
        assert_eq!(left(&list, 119_999), [1, 4, 5]);
        assert_eq!(left(&list, 120_000), [1, 5]);
        assert_eq!(left(&list, 240_000), [1]);
        // A clock before the list was made says nothing.
        assert_eq!(list.nodes(0).len(), 3);
    }

    #[test]
    fn the_whole_answer_of_a_seed_will_do() {
        let mut list = list(&[0, 1_001]);
        list.as_object_mut().unwrap().remove("build_time");
        let answer = json!({"jsonrpc": "2.0", "id": 0, "result": list}).to_string();
        let list = BundledNodes::from_json(answer.as_bytes(), BUILT * 1_000).unwrap();
        assert_eq!(left(&list, 0), [1, 2]);
        assert_eq!(left(&list, 120_000), [1]);
    }

    #[test]
    fn other_files_are_refused() {
        assert!(matches!(
            BundledNodes::from_json(b"", 0),
            Err(BundleError::Json(_))
        ));
        for other in [
            "[]",
            "{}",
            "7",
            r#"{"result": null}"#,
            r#"{"service_node_states": {}}"#,
        ] {
            let read = BundledNodes::from_json(other.as_bytes(), 0);
            assert!(matches!(read, Err(BundleError::NoList)), "{other}");
        }
        let missing = BundledNodes::load(Path::new("/nonexistent/nodes.json"));
        assert!(matches!(missing, Err(BundleError::Io(_))));
        // The built-in one is proper, whatever it holds.
        BundledNodes::from_json(MAIN.as_bytes(), 0).unwrap();
    }

    proptest! {
        #[test]
        fn any_file_is_answered(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            height: u64, build_time: u64, leaves in prop::collection::vec(any::<u64>(), 0..8), now: u64,
        ) {
            drop(BundledNodes::from_json(&bytes, now));
            let mut file = list(&leaves);
            file["height"] = height.into();
            file["build_time"] = build_time.into();
            let read = BundledNodes::from_json(file.to_string().as_bytes(), now).unwrap();
            let staying = leaves.iter().filter(|leaves| **leaves == 0).count();
            let left = read.nodes(now).len();
            prop_assert!((staying..=leaves.len()).contains(&left));
            // A file cut short, or with one byte changed, is refused or read, and nothing else.
            let text = file.to_string();
            let at = usize::try_from(now % text.len() as u64).unwrap();
            drop(BundledNodes::from_json(&text.as_bytes()[..at], 0));
            let mut bent = text.into_bytes();
            bent[at] ^= 1 << (height % 8);
            drop(BundledNodes::from_json(&bent, 0));
        }
    }
}
