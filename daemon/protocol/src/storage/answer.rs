//! Reads answers to storage requests (network.md 4.5 to 4.13, observed-nodes.md).
//!
//! An answer is foreign: every field may be missing or of another type. Numbers that mean booleans and strings
//! that mean numbers are read where official nodes send them.

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::hash::HASH_LENGTH;
use crate::subaccount::{TOKEN_LENGTH, Token};

/// Standard alphabet, padding optional.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An answer that lacks what its method must give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("answer to {method} is malformed: {what}")]
pub struct MalformedAnswer {
    /// The method asked.
    pub method: &'static str,
    /// What is wrong.
    pub what: &'static str,
}

/// What one swarm member did with a request that concerns all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Ed25519 key of the member.
    pub node: [u8; 32],
    /// What it said.
    pub outcome: MemberOutcome,
}

/// Success or failure of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberOutcome {
    /// It did it. The signature is not yet verified: see [`super::verify`].
    Done {
        /// Signature over the method's string.
        signature: [u8; 64],
        /// The member's whole element, for the fields of its method.
        fields: Value,
    },
    /// It did not, or its element makes no sense.
    Failed {
        /// No answer in time.
        timeout: bool,
        /// Status, where the member refused.
        code: Option<u16>,
    },
}

/// Answer to `store`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreAnswer {
    /// Each member of the swarm.
    pub members: Vec<Member>,
}

/// One message of a `retrieve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// 43 base64 characters.
    pub hash: String,
    /// Message time, ms, as the storing client said.
    pub timestamp: u64,
    /// When the node drops it, ms.
    pub expiration: u64,
    /// The stored bytes; `None` where `data` was no base64.
    pub data: Option<Vec<u8>>,
}

/// Answer to `retrieve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrieveAnswer {
    /// In the node's own order.
    pub messages: Vec<StoredMessage>,
    /// Limits cut the list: ask again after the last one.
    pub more: bool,
}

/// A node as `get_swarm`, a 421 or a node list describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// IPv4 address.
    pub ip: std::net::Ipv4Addr,
    /// HTTPS port.
    pub port: u16,
    /// Ed25519 key.
    pub ed25519: [u8; 32],
    /// X25519 key.
    pub x25519: [u8; 32],
    /// Swarm id, where the list gives it.
    pub swarm_id: Option<u64>,
    /// Height at which its stake unlocks; 0 for a node that stays.
    pub requested_unlock_height: u64,
}

/// Answer to `get_swarm`, and the body of a 421.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmAnswer {
    /// Usable members; those without address or keys are left out.
    pub nodes: Vec<NodeRecord>,
    /// The swarm's id.
    pub swarm_id: Option<u64>,
}

/// Answer to `info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfoAnswer {
    /// Node's clock, ms.
    pub timestamp: u64,
    /// Version of its storage server.
    pub version: [u16; 3],
}

/// One result of a `batch`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchResult {
    /// Status of this request.
    pub code: u16,
    /// Its answer; text for most errors.
    pub body: Value,
}

/// Reads the answer to `store`.
pub fn store(body: &Value) -> Result<StoreAnswer, MalformedAnswer> {
    Ok(StoreAnswer {
        members: members("store", body)?,
    })
}

/// Reads the members' elements of any request that concerns a whole swarm.
pub fn members(method: &'static str, body: &Value) -> Result<Vec<Member>, MalformedAnswer> {
    let swarm = body
        .get("swarm")
        .and_then(Value::as_object)
        .ok_or(MalformedAnswer {
            method,
            what: "no swarm",
        })?;
    Ok(swarm
        .iter()
        .filter_map(|(key, element)| {
            Some(Member {
                node: key32(key)?,
                outcome: outcome(element),
            })
        })
        .collect())
}

fn outcome(element: &Value) -> MemberOutcome {
    let signature = element
        .get("signature")
        .and_then(Value::as_str)
        .and_then(|text| BASE64.decode(text).ok())
        .and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
    match signature {
        Some(signature) if !flag(element, "failed") => MemberOutcome::Done {
            signature,
            fields: element.clone(),
        },
        _ => MemberOutcome::Failed {
            timeout: flag(element, "timeout"),
            code: element
                .get("code")
                .and_then(|code| match code {
                    Value::String(text) => text.parse().ok(),
                    other => other.as_u64(),
                })
                .and_then(|code| u16::try_from(code).ok()),
        },
    }
}

/// Booleans relayed from other members arrive as 0 and 1 (observed-nodes.md 3).
fn flag(element: &Value, name: &str) -> bool {
    match element.get(name) {
        Some(Value::Bool(value)) => *value,
        Some(Value::Number(number)) => number.as_u64() == Some(1),
        _ => false,
    }
}

/// Reads the answer to `retrieve`. A message without a proper hash is dropped: nothing could refer to it.
pub fn retrieve(body: &Value) -> Result<RetrieveAnswer, MalformedAnswer> {
    let messages = body
        .get("messages")
        .and_then(Value::as_array)
        .ok_or(MalformedAnswer {
            method: "retrieve",
            what: "no messages",
        })?;
    let messages = messages.iter().filter_map(stored_message).collect();
    Ok(RetrieveAnswer {
        messages,
        more: flag(body, "more"),
    })
}

fn stored_message(element: &Value) -> Option<StoredMessage> {
    let hash = element.get("hash")?.as_str().filter(|hash| is_hash(hash))?;
    let number = |name| element.get(name).and_then(Value::as_u64);
    Some(StoredMessage {
        hash: hash.to_owned(),
        timestamp: number("timestamp").unwrap_or(0),
        // The field is `expiration`; one source comment says `expiry` (observed-nodes.md 8).
        expiration: number("expiration").or_else(|| number("expiry"))?,
        data: element
            .get("data")
            .and_then(Value::as_str)
            .and_then(|text| BASE64.decode(text).ok()),
    })
}

/// Whether text can be a message hash.
pub fn is_hash(text: &str) -> bool {
    text.len() == HASH_LENGTH
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// Reads the answer to `get_swarm` or the body of a 421.
pub fn swarm(body: &Value) -> Result<SwarmAnswer, MalformedAnswer> {
    let nodes = body
        .get("snodes")
        .and_then(Value::as_array)
        .ok_or(MalformedAnswer {
            method: "get_swarm",
            what: "no snodes",
        })?;
    let swarm_id = body
        .get("swarm")
        .and_then(Value::as_str)
        .and_then(|id| u64::from_str_radix(id, 16).ok());
    let nodes = nodes
        .iter()
        .filter_map(|node| {
            // `port` is a string kept for old clients (network.md 3.2).
            let port = node.get("port_https").or_else(|| node.get("port"));
            record(node, node.get("ip"), port).map(|record| NodeRecord { swarm_id, ..record })
        })
        .collect();
    Ok(SwarmAnswer { nodes, swarm_id })
}

/// Reads a list of nodes: the `result` of a seed's answer or of `oxend_request` (network.md 1.3). Nodes that
/// have not yet published where they are, are left out.
pub fn service_nodes(result: &Value) -> Result<Vec<NodeRecord>, MalformedAnswer> {
    let states = result
        .get("service_node_states")
        .and_then(Value::as_array)
        .ok_or(MalformedAnswer {
            method: "get_service_nodes",
            what: "no service_node_states",
        })?;
    Ok(states
        .iter()
        .filter_map(|node| record(node, node.get("public_ip"), node.get("storage_port")))
        .collect())
}

fn record(node: &Value, ip: Option<&Value>, port: Option<&Value>) -> Option<NodeRecord> {
    let ip: std::net::Ipv4Addr = ip?.as_str()?.parse().ok()?;
    let port = match port? {
        Value::String(text) => text.parse().ok()?,
        other => u16::try_from(other.as_u64()?).ok()?,
    };
    let ed25519 = key32(node.get("pubkey_ed25519")?.as_str()?)?;
    let x25519 = key32(node.get("pubkey_x25519")?.as_str()?)?;
    let blank = [0; 32];
    if ip.is_unspecified() || port == 0 || ed25519 == blank || x25519 == blank {
        return None;
    }
    let number = |name| node.get(name).and_then(Value::as_u64);
    Some(NodeRecord {
        ip,
        port,
        ed25519,
        x25519,
        swarm_id: number("swarm_id"),
        requested_unlock_height: number("requested_unlock_height").unwrap_or(0),
    })
}

/// Reads the answer to `info`.
pub fn info(body: &Value) -> Result<InfoAnswer, MalformedAnswer> {
    let timestamp = body
        .get("timestamp")
        .or_else(|| body.get("t"))
        .and_then(Value::as_u64)
        .ok_or(MalformedAnswer {
            method: "info",
            what: "no timestamp",
        })?;
    let mut version = [0; 3];
    let parts = body
        .get("version")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    for (slot, part) in version.iter_mut().zip(parts) {
        *slot = part
            .as_u64()
            .and_then(|part| u16::try_from(part).ok())
            .unwrap_or(0);
    }
    Ok(InfoAnswer { timestamp, version })
}

/// Reads the answer to `get_expiries`: hash and expiry (ms) of the messages that are there, in no order.
pub fn get_expiries(body: &Value) -> Result<Vec<(String, u64)>, MalformedAnswer> {
    let expiries = body
        .get("expiries")
        .and_then(Value::as_object)
        .ok_or(MalformedAnswer {
            method: "get_expiries",
            what: "no expiries",
        })?;
    Ok(expiries
        .iter()
        .filter(|(hash, _)| is_hash(hash))
        .filter_map(|(hash, expiry)| Some((hash.clone(), expiry.as_u64()?)))
        .collect())
}

/// What a member holds after an `expire` with one `expiry` (ms) for all messages: hash and expiry of those that got it
/// and of those that kept what they had, in no order. What it does not hold is left out. Not verified.
pub fn expired(member: &Member, expiry: u64) -> Vec<(String, u64)> {
    let MemberOutcome::Done { fields, .. } = &member.outcome else {
        return Vec::new();
    };
    let updated = fields.get("updated").and_then(Value::as_array);
    let updated = updated
        .into_iter()
        .flatten()
        .filter_map(|hash| Some((hash.as_str()?.to_owned(), expiry)));
    let unchanged = fields.get("unchanged").and_then(Value::as_object);
    let unchanged = unchanged
        .into_iter()
        .flatten()
        .filter_map(|(hash, at)| Some((hash.clone(), at.as_u64()?)));
    updated
        .chain(unchanged)
        .filter(|(hash, _)| is_hash(hash))
        .collect()
}

/// Reads the answer to `revoked_subaccounts`. What is no token is left out.
pub fn revoked_subaccounts(body: &Value) -> Result<Vec<Token>, MalformedAnswer> {
    let tokens = body
        .get("revoked_subaccounts")
        .and_then(Value::as_array)
        .ok_or(MalformedAnswer {
            method: "revoked_subaccounts",
            what: "no revoked_subaccounts",
        })?;
    Ok(tokens
        .iter()
        .filter_map(|token| BASE64.decode(token.as_str()?).ok())
        .filter_map(|token| <[u8; TOKEN_LENGTH]>::try_from(token).ok())
        .map(Token::from_bytes)
        .collect())
}

/// Reads the answer to `batch`, which must have `expected` results.
pub fn batch(body: &Value, expected: usize) -> Result<Vec<BatchResult>, MalformedAnswer> {
    let results = results("batch", body)?;
    if results.len() != expected {
        return Err(MalformedAnswer {
            method: "batch",
            what: "wrong number of results",
        });
    }
    Ok(results)
}

/// Reads the answer to `sequence` of `expected` requests. There are fewer results only after one that failed.
pub fn sequence(body: &Value, expected: usize) -> Result<Vec<BatchResult>, MalformedAnswer> {
    let results = results("sequence", body)?;
    let stopped = results
        .last()
        .is_some_and(|last| !(200..300).contains(&last.code));
    if results.len() == expected || (results.len() < expected && stopped) {
        Ok(results)
    } else {
        Err(MalformedAnswer {
            method: "sequence",
            what: "wrong number of results",
        })
    }
}

/// Reads the answer to `ifelse`: whether the condition held, and the result of the branch, if there was one.
pub fn if_else(body: &Value) -> Result<(bool, Option<BatchResult>), MalformedAnswer> {
    let condition = body
        .get("condition")
        .and_then(Value::as_bool)
        .ok_or(MalformedAnswer {
            method: "ifelse",
            what: "no condition",
        })?;
    let branch = body.get("result").map(|branch| result("ifelse", branch));
    Ok((condition, branch.transpose()?))
}

fn results(method: &'static str, body: &Value) -> Result<Vec<BatchResult>, MalformedAnswer> {
    let results = body
        .get("results")
        .and_then(Value::as_array)
        .ok_or(MalformedAnswer {
            method,
            what: "no results",
        })?;
    results.iter().map(|one| result(method, one)).collect()
}

fn result(method: &'static str, result: &Value) -> Result<BatchResult, MalformedAnswer> {
    let code = result
        .get("code")
        .and_then(Value::as_u64)
        .and_then(|code| u16::try_from(code).ok())
        .ok_or(MalformedAnswer {
            method,
            what: "result without code",
        })?;
    let body = match result.get("body") {
        Some(Value::String(text)) => serde_json::from_str(text)
            .ok()
            .filter(Value::is_object)
            .unwrap_or_else(|| Value::String(text.clone())),
        other => other.cloned().unwrap_or(Value::Null),
    };
    Ok(BatchResult { code, body })
}

/// The node's clock, ms, which most answers carry as `t`.
pub fn server_time(body: &Value) -> Option<u64> {
    body.get("t").and_then(Value::as_u64)
}

fn key32(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key).ok().map(|()| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddee0a";
    const HASH: &str = "tse7cPdGXVWduXXcEKR/FS0RYFBYv/dQ0HmjzQMyqQo";

    #[test]
    fn booleans_of_members_are_read_as_numbers_too() {
        let signature = "A".repeat(86) + "==";
        let swarm = |element: Value| {
            let answer = store(&json!({"swarm": {KEY: element}})).unwrap();
            answer.members[0].outcome.clone()
        };
        for failed in [json!(1), json!(true)] {
            let outcome = swarm(json!({"failed": failed, "timeout": 1, "signature": signature}));
            let expected = MemberOutcome::Failed {
                timeout: true,
                code: None,
            };
            assert_eq!(outcome, expected);
        }
        let refused = swarm(json!({"failed": true, "code": "406", "reason": "clock"}));
        let expected = MemberOutcome::Failed {
            timeout: false,
            code: Some(406),
        };
        assert_eq!(refused, expected);
        let done = swarm(json!({"hash": HASH, "already": 1, "signature": signature}));
        assert!(matches!(done, MemberOutcome::Done { .. }));
        assert!(store(&json!({"hash": HASH})).is_err());
    }

    #[test]
    fn messages_keep_the_nodes_order_and_broken_data() {
        let message = |hash: &str, data: &str| json!({"hash": hash, "timestamp": 1, "expiration": 2, "data": data});
        let other = HASH.replace('t', "u");
        let body = json!({"messages": [
            message(&other, "aGVsbG8"), message("short", ""), message(HASH, "!"), 7], "more": true});
        let answer = retrieve(&body).unwrap();
        let seen: Vec<_> = answer
            .messages
            .iter()
            .map(|message| (message.hash.as_str(), message.data.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [(other.as_str(), Some(b"hello".as_slice())), (HASH, None)]
        );
        assert!(answer.more);
    }

    #[test]
    fn a_swarm_is_read_with_ports_of_either_type_and_without_unusable_members() {
        let member = |ip: &str| {
            json!({"ip": ip, "port": "22021", "port_https": 443,
                "pubkey_ed25519": KEY, "pubkey_x25519": KEY})
        };
        let body = json!({"swarm": "dd00000000000001", "snodes": [member("1.2.3.4"), member("0.0.0.0"), {}]});
        let answer = swarm(&body).unwrap();
        assert_eq!(answer.swarm_id, Some(0xdd00_0000_0000_0001));
        assert_eq!(answer.nodes.len(), 1);
        assert_eq!(answer.nodes[0].port, 443);
        assert_eq!(answer.nodes[0].swarm_id, answer.swarm_id);
    }

    #[test]
    fn batches_are_matched_by_number_and_text_stays_text() {
        let body = json!({"results": [
            {"code": 200, "body": {"a": 1}}, {"code": 401, "body": "no"}, {"code": 421, "body": "{\"snodes\":[]}"}]});
        let results = batch(&body, 3).unwrap();
        assert_eq!(results[1].body, json!("no"));
        assert_eq!(results[2].body, json!({"snodes": []}));
        assert!(batch(&body, 2).is_err());
        assert!(batch(&json!({"results": [{"body": 1}]}), 1).is_err());
    }

    #[test]
    fn a_sequence_is_shorter_only_after_a_failure() {
        let body = |codes: &[u16]| {
            let results: Vec<Value> = codes.iter().map(|code| json!({"code": code})).collect();
            json!({ "results": results })
        };
        assert_eq!(sequence(&body(&[200, 200]), 2).unwrap().len(), 2);
        assert_eq!(sequence(&body(&[200, 401]), 3).unwrap()[1].code, 401);
        assert!(sequence(&body(&[200]), 2).is_err());
        assert!(sequence(&body(&[]), 2).is_err());
        assert!(sequence(&body(&[200, 200, 401]), 2).is_err());
    }

    #[test]
    fn branches_expiries_and_tokens_are_read() {
        let branch = json!({"condition": true, "result": {"code": 200, "body": {"a": 1}}});
        let (held, result) = if_else(&branch).unwrap();
        assert!(held && result.unwrap().body == json!({"a": 1}));
        assert_eq!(if_else(&json!({"condition": false})), Ok((false, None)));
        assert!(if_else(&json!({"condition": true, "result": {}})).is_err());
        let expiries = json!({"expiries": {HASH: 5, "short": 6}});
        assert_eq!(get_expiries(&expiries), Ok(vec![(HASH.to_owned(), 5)]));
        let other = HASH.replace('t', "u");
        let member = |fields: Value| Member {
            node: [1; 32],
            outcome: MemberOutcome::Done {
                signature: [0; 64],
                fields,
            },
        };
        let fields =
            json!({"updated": [HASH, 7, "short"], "unchanged": {other.clone(): 5, "short": 6}});
        let held = vec![(HASH.to_owned(), 9), (other, 5)];
        assert_eq!(expired(&member(fields), 9), held);
        assert_eq!(expired(&member(json!({"unchanged": []})), 9), vec![]);
        let token = "A".repeat(48);
        let tokens = json!({"revoked_subaccounts": [token, "AAAA", 5]});
        assert_eq!(
            revoked_subaccounts(&tokens),
            Ok(vec![Token::from_bytes([0; 36])])
        );
    }

    /// Answers whose parts are of any type, under the names that are looked for.
    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
            prop::sample::select(vec![KEY, HASH, "1.2.3.4", "443", "ff", "AAAA"])
                .prop_map(Value::from),
        ];
        let names = vec![
            "swarm",
            "messages",
            "more",
            "hash",
            "timestamp",
            "expiration",
            "data",
            "snodes",
            "ip",
            "port_https",
            "public_ip",
            "storage_port",
            "pubkey_ed25519",
            "pubkey_x25519",
            "results",
            "code",
            "body",
            "failed",
            "signature",
            "service_node_states",
            "version",
            "expiries",
            "revoked_subaccounts",
            "condition",
            "result",
            "t",
            KEY,
        ];
        leaf.prop_recursive(5, 60, 8, move |inner| {
            let name = prop::sample::select(names.clone()).prop_map(str::to_owned);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(name, inner, 0..8).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_gets_an_answer(body in json(), expected in 0_usize..4) {
            let _ = store(&body);
            let _ = retrieve(&body);
            let _ = swarm(&body);
            let _ = service_nodes(&body);
            let _ = info(&body);
            let _ = batch(&body, expected);
            let _ = sequence(&body, expected);
            let _ = if_else(&body);
            let _ = get_expiries(&body);
            let _ = revoked_subaccounts(&body);
            let _ = server_time(&body);
        }
    }
}
