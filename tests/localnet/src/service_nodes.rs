//! The chain's answer to `get_service_nodes`: served by the seed, and by every node through `oxend_request`.
//!
//! Facts: network.md 1.3.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use session_protocol::swarm;

use crate::directory::{Directory, NodeInfo};

/// A parameter of the wrong type; the text names it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadParam(pub String);

/// Answers with the `result` of the call.
pub(crate) fn get_service_nodes(
    directory: &Directory,
    now_ms: u64,
    params: &Map<String, Value>,
) -> Result<Value, BadParam> {
    let fields = Fields::parse(params.get("fields"))?;
    let active_only = optional(params, "active_only", Value::as_bool)?.unwrap_or(false);
    let limit = optional(params, "limit", Value::as_i64)?.unwrap_or(0);
    let wanted = strings(params, "service_node_pubkeys")?;
    let known_block = optional(params, "poll_block_hash", |value| {
        value.as_str().map(str::to_owned)
    })?;

    if known_block == Some(directory.block_hash()) {
        return Ok(json!({"status": "OK", "unchanged": true}));
    }
    let mut nodes = directory.nodes();
    nodes.retain(|node| {
        (wanted.is_empty() || wanted.contains(&hex::encode(node.ed25519)))
            && (is_active(node) || !active_only)
    });
    if limit != 0 {
        shuffle(&mut nodes);
        // Negative: all of them, shuffled.
        nodes.truncate(usize::try_from(limit).unwrap_or(nodes.len()));
    }
    let states: Vec<Value> = nodes
        .iter()
        .map(|node| fields.keep(state(node, now_ms)).into())
        .collect();
    let mut result = fields.keep(top_level(directory));
    result.insert("service_node_states".into(), states.into());
    result.insert("status".into(), "OK".into());
    Ok(result.into())
}

fn top_level(directory: &Directory) -> Map<String, Value> {
    map([
        ("height", directory.height().into()),
        ("block_hash", directory.block_hash().into()),
        ("hardfork", 19.into()),
        ("snode_revision", 6.into()),
        ("unchanged", false.into()),
    ])
}

/// All nodes are fully staked, so only decommissioned ones are not active.
fn is_active(node: &NodeInfo) -> bool {
    node.swarm_id != swarm::UNASSIGNED
}

fn state(node: &NodeInfo, now_ms: u64) -> Map<String, Value> {
    let ed25519 = hex::encode(node.ed25519);
    map([
        ("public_ip", node.ip.to_string().into()),
        ("storage_port", node.port.into()),
        ("storage_lmq_port", node.port.into()),
        ("service_node_pubkey", ed25519.clone().into()),
        ("pubkey_ed25519", ed25519.into()),
        ("pubkey_x25519", hex::encode(node.x25519).into()),
        ("swarm_id", node.swarm_id.into()),
        ("swarm", format!("{:x}", node.swarm_id).into()),
        ("storage_server_version", json!([2, 8, 0])),
        ("active", is_active(node).into()),
        ("funded", true.into()),
        ("requested_unlock_height", 0.into()),
        ("last_uptime_proof", (now_ms / 1000).into()),
    ])
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Which fields the caller wants.
struct Fields {
    all: bool,
    named: BTreeSet<String>,
    removed: BTreeSet<String>,
}

impl Fields {
    /// A list of names (`all` for everything, `-name` to leave one out) or a dict of booleans. Names that
    /// nobody knows are ignored.
    fn parse(value: Option<&Value>) -> Result<Self, BadParam> {
        let bad = || BadParam("fields".into());
        let mut fields = Self {
            all: false,
            named: BTreeSet::new(),
            removed: BTreeSet::new(),
        };
        match value {
            None | Some(Value::Null) => fields.all = true,
            Some(Value::Array(names)) => {
                for name in names {
                    let name = name.as_str().ok_or_else(bad)?;
                    if name == "all" {
                        fields.all = true;
                    } else if let Some(removed) = name.strip_prefix('-') {
                        fields.removed.insert(removed.to_owned());
                    } else {
                        fields.named.insert(name.to_owned());
                    }
                }
                // Only removals, or an empty list: everything else.
                fields.all |= fields.named.is_empty();
            }
            Some(Value::Object(flags)) => {
                for (name, flag) in flags {
                    match (flag.as_bool().ok_or_else(bad)?, name.as_str()) {
                        (true, "all") => fields.all = true,
                        (true, name) => {
                            fields.named.insert(name.to_owned());
                        }
                        (false, _) => {}
                    }
                }
                fields.all |= fields.named.is_empty();
            }
            Some(_) => return Err(bad()),
        }
        Ok(fields)
    }

    fn keep(&self, mut from: Map<String, Value>) -> Map<String, Value> {
        from.retain(|name, _| {
            !self.removed.contains(name) && (self.all || self.named.contains(name))
        });
        from
    }
}

fn optional<T>(
    params: &Map<String, Value>,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, BadParam> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => read(value).map(Some).ok_or_else(|| BadParam(name.into())),
    }
}

fn strings(params: &Map<String, Value>, name: &str) -> Result<Vec<String>, BadParam> {
    let list = optional(params, name, |value| {
        value
            .as_array()?
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect()
    })?;
    Ok(list.unwrap_or_default())
}

/// Fisher and Yates, with a bias that does not matter here.
fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        // Without randomness the order stays as it is.
        let random = getrandom::u64().unwrap_or(0);
        let other = usize::try_from(random % (last as u64 + 1)).unwrap_or(last);
        items.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn directory() -> Directory {
        let node = |index: u8| NodeInfo {
            ip: Ipv4Addr::new(127, 0, index, 1),
            port: 22021,
            ed25519: [index; 32],
            x25519: [index; 32],
            swarm_id: u64::MAX - 1,
        };
        Directory::new((1..=5).map(node).collect())
    }

    fn ask(params: Value) -> Result<Value, BadParam> {
        let Value::Object(params) = params else {
            panic!("params")
        };
        get_service_nodes(&directory(), 1_700_000_000_000, &params)
    }

    fn names(value: &Value) -> Vec<&str> {
        value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    }

    #[test]
    fn both_forms_of_fields_restrict_top_level_and_nodes() {
        let expected = ["pubkey_ed25519", "public_ip"];
        for fields in [
            json!(["public_ip", "pubkey_ed25519", "height", "unheard_of"]),
            json!({"public_ip": true, "pubkey_ed25519": true, "height": true, "swarm_id": false}),
        ] {
            let result = ask(json!({"fields": fields})).unwrap();
            assert_eq!(names(&result), ["height", "service_node_states", "status"]);
            assert_eq!(names(&result["service_node_states"][0]), expected);
        }
    }

    #[test]
    fn fields_can_be_left_out_of_all() {
        let result = ask(json!({"fields": ["all", "-swarm_id", "-height"]})).unwrap();
        assert!(result.get("height").is_none());
        let node = &result["service_node_states"][0];
        assert!(node.get("swarm_id").is_none() && node.get("swarm").is_some());
        let all = ask(json!({})).unwrap();
        assert_eq!(
            all["service_node_states"][0]["swarm_id"],
            json!(u64::MAX - 1)
        );
    }

    #[test]
    fn limits_cut_and_unknown_blocks_answer() {
        let count = |params| {
            ask(params).unwrap()["service_node_states"]
                .as_array()
                .unwrap()
                .len()
        };
        assert_eq!(count(json!({"limit": 2})), 2);
        assert_eq!(count(json!({"limit": -1})), 5);
        assert_eq!(count(json!({"limit": 0})), 5);
        assert_eq!(count(json!({"service_node_pubkeys": ["02".repeat(32)]})), 1);
        let block = ask(json!({})).unwrap()["block_hash"].clone();
        assert_eq!(
            ask(json!({"poll_block_hash": block})).unwrap()["unchanged"],
            json!(true)
        );
        assert_eq!(count(json!({"poll_block_hash": "00"})), 5);
    }

    #[test]
    fn mistyped_params_are_refused() {
        for (name, value) in [
            ("fields", json!("public_ip")),
            ("fields", json!([1])),
            ("fields", json!({"public_ip": 1})),
            ("limit", json!("2")),
            ("active_only", json!(1)),
            ("service_node_pubkeys", json!([1])),
            ("poll_block_hash", json!(1)),
        ] {
            assert_eq!(ask(json!({ name: value })), Err(BadParam(name.into())));
        }
    }
}
