//! Our own records in the cache: the list of nodes, the guards and the clock offset, as JSON.
//!
//! What is read may be damaged, of another version or of another network, and is then ignored.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::pool::Node;

/// Raised when the meaning of a record changes; older ones are then ignored.
const VERSION: u32 = 1;

/// Frame of each record.
#[derive(Serialize, Deserialize)]
struct Record<T> {
    version: u32,
    network: String,
    content: T,
}

/// The list of nodes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeList {
    /// Local ms.
    pub(crate) fetched_ms: u64,
    pub(crate) nodes: Vec<Node>,
}

/// How far the local clock was off, and when that was so.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedClock {
    /// Network time less local time, ms.
    pub(crate) offset_ms: i64,
    /// Local ms.
    pub(crate) local_ms: u64,
    /// Ms of the clock that nobody sets.
    pub(crate) steady_ms: u64,
    /// Which start of the machine that clock counts from.
    pub(crate) boot: Option<String>,
}

/// Writes a record of this network.
pub(crate) fn encode<T: Serialize>(network: &str, content: T) -> Option<Vec<u8>> {
    let record = Record {
        version: VERSION,
        network: network.to_owned(),
        content,
    };
    serde_json::to_vec(&record).ok()
}

/// Reads a record if it is one of this network.
pub(crate) fn decode<T: DeserializeOwned>(network: &str, bytes: &[u8]) -> Option<T> {
    let record: Record<T> = serde_json::from_slice(bytes).ok()?;
    (record.version == VERSION && record.network == network).then_some(record.content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::tests::node;

    #[test]
    fn a_record_is_read_back_only_by_its_network() {
        let list = NodeList {
            fetched_ms: 7,
            nodes: vec![node(1), node(2)],
        };
        let bytes = encode("attic", &list).unwrap();
        assert_eq!(decode::<NodeList>("attic", &bytes), Some(list));
        assert_eq!(decode::<NodeList>("main", &bytes), None);
        assert_eq!(decode::<NodeList>("attic", &bytes[1..]), None);
        assert_eq!(decode::<NodeList>("attic", b""), None);
        let newer = String::from_utf8(bytes)
            .unwrap()
            .replace(r#""version":1"#, r#""version":2"#);
        assert_eq!(decode::<NodeList>("attic", newer.as_bytes()), None);
    }
}
