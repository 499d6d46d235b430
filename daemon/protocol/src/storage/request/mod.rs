//! Writes storage requests: `{"method", "params"}` (network.md 4.1 to 4.13).
//!
//! Timestamps are network time in ms and arguments; signatures are made here, so that a request cannot be sent
//! with a string other than the one it carries. Who asks is a [`Signer`]: an account, a group's admin, or one of its
//! members with a subaccount; what only an owner may ask takes an [`Owner`].
//!
//! Here: storing, reading, deleting and prolonging by hash, and questions about the network. [`manage`]: what concerns
//! whole namespaces and subaccounts. [`meta`]: several requests in one.

mod manage;
mod meta;
mod signer;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::namespace::Namespace;
use super::signed::{self, ExpireMode};
use crate::identity::Identifier;

pub use manage::{
    MAX_REVOKED, delete_all, delete_before, expire_all, get_expiries, revoke_subaccounts,
    revoked_subaccounts, unrevoke_subaccounts,
};
pub use meta::{Condition, MAX_BATCH, batch, if_else, sequence};
pub use signer::{Owner, Signer};

/// Most bytes one stored message may have (network.md 10).
pub const MAX_DATA: usize = 76_800;

/// A storage request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Request {
    method: &'static str,
    params: Map<String, Value>,
}

impl Request {
    fn new(method: &'static str, params: Value) -> Self {
        let params = match params {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        Self { method, params }
    }

    /// Name of the method.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The payload of an onion request, or the body of a direct one.
    pub fn to_json(&self) -> Vec<u8> {
        // Keys are strings and values came from json!: there is nothing in it that cannot be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn signed<'a>(mut self, signer: impl Into<Signer<'a>>, message: impl AsRef<[u8]>) -> Self {
        signer.into().add_proof(&mut self.params, message.as_ref());
        self
    }
}

/// A message to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store<'a> {
    /// Whose swarm, and whose message it becomes.
    pub owner: Identifier,
    /// Where.
    pub namespace: Namespace,
    /// At most [`MAX_DATA`] bytes.
    pub data: &'a [u8],
    /// Network time at which this request is made, ms. Not the message's sent timestamp.
    pub timestamp: u64,
    /// How long it is kept, ms.
    pub ttl: u64,
}

/// `store` into a public inbox, which needs no signature.
pub fn store(message: &Store<'_>) -> Request {
    let mut request = Request::new(
        "store",
        json!({
            "pubkey": message.owner.to_string(),
            "data": STANDARD.encode(message.data),
            "timestamp": message.timestamp,
            "ttl": message.ttl,
        }),
    );
    if message.namespace != Namespace::DEFAULT {
        request
            .params
            .insert("namespace".into(), message.namespace.0.into());
    }
    request
}

/// `store` into the signer's account.
pub fn store_signed<'a>(signer: impl Into<Signer<'a>>, message: &Store<'_>) -> Request {
    let text = signed::store(message.namespace, message.timestamp);
    store(message).signed(signer, text)
}

/// `retrieve` from the signer's account. `last_hash` continues after that message, as this node ordered them;
/// `max_size` is network.md 4.8's value, `None` leaves it to the node.
pub fn retrieve<'a>(
    signer: impl Into<Signer<'a>>,
    namespace: Namespace,
    last_hash: Option<&str>,
    max_size: Option<i64>,
    timestamp: u64,
) -> Request {
    let signer = signer.into();
    let mut request = Request::new(
        "retrieve",
        json!({
            "pubkey": signer.owner().to_string(),
            "namespace": namespace.0,
            "timestamp": timestamp,
        }),
    );
    if let Some(hash) = last_hash {
        request.params.insert("last_hash".into(), hash.into());
    }
    if let Some(size) = max_size {
        request.params.insert("max_size".into(), size.into());
    }
    request.signed(signer, signed::retrieve(namespace, timestamp))
}

/// `retrieve` from a namespace that anyone may read ([`Namespace::is_public_outbox`]): unsigned.
pub fn retrieve_public(owner: &Identifier, namespace: Namespace) -> Request {
    let params = json!({ "pubkey": owner.to_string(), "namespace": namespace.0 });
    Request::new("retrieve", params)
}

/// `delete` of messages by hash, in any namespace.
pub fn delete<'a>(signer: impl Into<Signer<'a>>, hashes: &[String]) -> Request {
    let signer = signer.into();
    Request::new(
        "delete",
        json!({ "pubkey": signer.owner().to_string(), "messages": hashes }),
    )
    .signed(signer, signed::delete(hashes))
}

/// `expire`: moves the expiry of messages to `expiry` (ms). A member without the right to delete can only prolong.
pub fn expire<'a>(
    signer: impl Into<Signer<'a>>,
    mode: ExpireMode,
    expiry: u64,
    hashes: &[String],
) -> Request {
    expire_with(signer.into(), mode, &[expiry], expiry.into(), hashes)
}

/// `expire` with an expiry (ms) for each message. `None` for no messages.
pub fn expire_each<'a>(
    signer: impl Into<Signer<'a>>,
    mode: ExpireMode,
    messages: &[(String, u64)],
) -> Option<Request> {
    let (hashes, expiries): (Vec<String>, Vec<u64>) = messages.iter().cloned().unzip();
    let value = json!(expiries);
    (!messages.is_empty()).then(|| expire_with(signer.into(), mode, &expiries, value, &hashes))
}

fn expire_with(
    signer: Signer<'_>,
    mode: ExpireMode,
    expiries: &[u64],
    value: Value,
    hashes: &[String],
) -> Request {
    let mut request = Request::new(
        "expire",
        json!({
            "pubkey": signer.owner().to_string(),
            "messages": hashes,
            "expiry": value,
        }),
    );
    if mode != ExpireMode::Set {
        request
            .params
            .insert(mode.signed_form().into(), true.into());
    }
    request.signed(signer, signed::expire(mode, expiries, hashes))
}

/// `get_swarm`: members of the swarm of `id`.
pub fn get_swarm(id: &Identifier) -> Request {
    Request::new("get_swarm", json!({ "pubkey": id.to_string() }))
}

/// `info`: version and clock of the node.
pub fn info() -> Request {
    Request::new("info", json!({}))
}

/// `oxend_request`: passes a request on to the node's chain daemon.
pub fn oxend_request(endpoint: &str, params: Value) -> Request {
    Request::new(
        "oxend_request",
        json!({ "endpoint": endpoint, "params": params }),
    )
}

/// `oxend_request` for the list of active nodes, with the fields a client needs (network.md 1.3, 1.4).
pub fn service_nodes() -> Request {
    oxend_request(
        "get_service_nodes",
        json!({
            "active_only": true,
            "fields": NODE_FIELDS,
        }),
    )
}

/// `active_nodes_bin`: the list of active nodes in binary form; nodes too old for it answer 400 (network.md 1.5).
pub fn active_nodes() -> Request {
    Request::new("active_nodes_bin", json!({}))
}

/// Fields of a service node that a client asks a seed or a node for.
pub const NODE_FIELDS: [&str; 6] = [
    "public_ip",
    "storage_port",
    "pubkey_x25519",
    "pubkey_ed25519",
    "swarm_id",
    "requested_unlock_height",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{AccountKeys, AccountSeed, verify_ed25519};

    fn keys() -> AccountKeys {
        AccountKeys::from_seed(&AccountSeed::from_bytes([7; 16]))
    }

    fn json(request: &Request) -> Value {
        serde_json::from_slice(&request.to_json()).unwrap()
    }

    #[test]
    fn what_anyone_may_read_is_asked_for_without_a_signature() {
        let owner = keys().account_id().into();
        let expected = json!({"method": "retrieve", "params": {
            "pubkey": keys().account_id().to_string(), "namespace": -21}});
        let request = retrieve_public(&owner, Namespace::ACCOUNT_PUBKEYS);
        assert_eq!(json(&request), expected);
    }

    #[test]
    fn a_store_into_the_default_namespace_is_unsigned_and_does_not_name_it() {
        let message = Store {
            owner: keys().account_id().into(),
            namespace: Namespace::DEFAULT,
            data: b"hello",
            timestamp: 5,
            ttl: 6,
        };
        let expected = json!({"method": "store", "params": {
            "pubkey": keys().account_id().to_string(), "data": "aGVsbG8=", "timestamp": 5, "ttl": 6}});
        assert_eq!(json(&store(&message)), expected);
        let named = store(&Store {
            namespace: Namespace(-10),
            ..message
        });
        assert_eq!(json(&named)["params"]["namespace"], -10);
    }

    #[test]
    fn a_retrieve_is_signed_and_continues() {
        let request = json(&retrieve(
            &keys(),
            Namespace::DEFAULT,
            Some("x"),
            Some(-5),
            9,
        ));
        let params = &request["params"];
        assert_eq!(params["namespace"], 0);
        assert_eq!(params["last_hash"], "x");
        assert_eq!(params["max_size"], -5);
        let signature = STANDARD
            .decode(params["signature"].as_str().unwrap())
            .unwrap();
        let signature = signature.try_into().unwrap();
        assert!(verify_ed25519(
            &keys().ed25519_public(),
            b"retrieve9",
            &signature
        ));
    }

    #[test]
    fn only_a_mode_other_than_set_is_named() {
        let hashes = ["h".to_owned()];
        let set = json(&expire(&keys(), ExpireMode::Set, 1, &hashes));
        assert!(set["params"].get("shorten").is_none() && set["params"].get("extend").is_none());
        let shorten = json(&expire(&keys(), ExpireMode::Shorten, 1, &hashes));
        assert_eq!(shorten["params"]["shorten"], true);
    }

    #[test]
    fn each_message_can_have_an_expiry_of_its_own() {
        let messages = [("a".to_owned(), 5), ("b".to_owned(), 7)];
        let request = json(&expire_each(&keys(), ExpireMode::Extend, &messages).unwrap());
        assert_eq!(request["params"]["expiry"], json!([5, 7]));
        assert_eq!(request["params"]["messages"], json!(["a", "b"]));
        let signature = STANDARD
            .decode(request["params"]["signature"].as_str().unwrap())
            .unwrap();
        let key = keys().ed25519_public();
        assert!(verify_ed25519(
            &key,
            b"expireextend57ab",
            &signature.try_into().unwrap()
        ));
        assert_eq!(expire_each(&keys(), ExpireMode::Set, &[]), None);
    }
}
