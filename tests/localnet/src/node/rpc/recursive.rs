//! Changes that every member of a swarm makes (network.md 4.6 and 8.1).
//!
//! The node that a client asks checks the request, hands it to all other members, makes the change itself and
//! waits for all of them. It answers 200 even when some, or all, failed (observed-nodes 2): clients look into
//! `swarm`. A member that missed a change is not told later (observed-nodes 4).

use futures_util::future::{join, join_all};
use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use session_protocol::Identifier;

use super::answer::{Answer, Body};
use super::{Level, Request, delete, expire, over, parse, revoke, stamped, store, wrong_swarm};
use crate::directory::NodeInfo;
use crate::node::Node;
use crate::peers::{PeerError, STORAGE};

/// What one member did: an element of `swarm`.
pub(super) type Element = Map<String, Value>;

/// A request that changes what a swarm holds.
pub(super) enum Change {
    Store(store::Store),
    Delete(delete::Delete),
    Expire(expire::Expire),
    Over(over::Over),
    Revoke(revoke::Revoke),
}

impl Change {
    fn account(&self) -> &Identifier {
        match self {
            Self::Store(store) => &store.account,
            Self::Delete(delete) => &delete.account,
            Self::Expire(expire) => &expire.account,
            Self::Over(over) => &over.account,
            Self::Revoke(revoke) => &revoke.account,
        }
    }

    /// Whether the node may make it: swarm first, then what the method says.
    async fn check(&self, node: &Node, forwarded: bool) -> Result<(), Answer> {
        if !node.serves(self.account()) {
            return Err(wrong_swarm(node, self.account()));
        }
        match self {
            Self::Store(store) => store.check(node).await,
            Self::Delete(delete) => delete.check(node).await,
            Self::Expire(expire) => expire.check(node).await,
            Self::Over(over) => over.check(node, forwarded).await,
            Self::Revoke(revoke) => revoke.check(node),
        }
    }

    /// Makes the change on this node.
    async fn apply(&self, node: &Node) -> Element {
        let made = match self {
            Self::Store(store) => store.apply(node).await,
            Self::Delete(delete) => delete.apply(node).await,
            Self::Expire(expire) => expire.apply(node).await,
            Self::Over(over) => over.apply(node).await,
            Self::Revoke(revoke) => revoke.apply(node).await,
        };
        made.unwrap_or_else(|error| {
            tracing::warn!(%error, "change refused by the database");
            failed(json!({"query_failure": true}))
        })
    }
}

/// A client's change.
pub(super) async fn run(node: &Node, change: &Change, raw: &Value) -> Answer {
    if let Err(refusal) = change.check(node, false).await {
        return refusal;
    }
    let raw = Bytes::from(raw.to_string());
    let mut others = node.shared.directory.members(node.swarm_id());
    others.retain(|member| member.ed25519 != node.info.ed25519);
    let forwards = join_all(
        others
            .iter()
            .map(|member| forward(node, member, raw.clone())),
    );
    let (mut own, elements) = join(change.apply(node), forwards).await;

    // Only the entry node's own element says when.
    own.insert("t".into(), node.now_ms().into());
    let hash = own.get("hash").cloned();
    let mut swarm = Map::new();
    swarm.insert(hex::encode(node.info.ed25519), own.into());
    for (member, element) in others.into_iter().zip(elements) {
        swarm.insert(hex::encode(member.ed25519), element.into());
    }
    let status = match change {
        Change::Delete(delete) if delete.required && !delete::any_deleted(&swarm) => 404,
        _ => 200,
    };
    let mut answer = Map::new();
    answer.extend(hash.map(|hash| ("hash".to_owned(), hash)));
    answer.insert("swarm".into(), swarm.into());
    Answer::json(status, stamped(node, answer))
}

async fn forward(node: &Node, member: &NodeInfo, raw: Bytes) -> Element {
    let limit = node.shared.times.forward;
    match node
        .shared
        .peers
        .post(member.address(), STORAGE, raw, limit)
        .await
    {
        Ok((200, body)) => match serde_json::from_slice(&body) {
            Ok(Value::Object(element)) => element,
            _ => failed(json!({"bad_peer_response": true})),
        },
        Ok((code, reason)) => failed(json!({
            "code": code.to_string(),
            "reason": String::from_utf8_lossy(&reason),
        })),
        Err(PeerError::Timeout) => failed(json!({"timeout": true})),
        Err(_) => failed(json!({"bad_peer_response": true})),
    }
}

/// Another member's change: checked again, made here only. Booleans become integers, as they do on their way
/// between official nodes (observed-nodes 3).
pub(in crate::node) async fn from_peer(node: &Node, body: &[u8]) -> Answer {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return Answer::text(400, "invalid json");
    };
    let change = match parse(value, Level::Single) {
        Ok(Request::Change(change, _)) => change,
        Ok(_) => return Answer::text(400, "invalid request: not a change"),
        Err(refusal) => return refusal,
    };
    if let Err(refusal) = change.check(node, true).await {
        return refusal;
    }
    let mut element = change.apply(node).await;
    for value in element.values_mut() {
        if let Value::Bool(flag) = value {
            *value = u8::from(*flag).into();
        }
    }
    Answer {
        status: 200,
        body: Body::Json(element.into()),
    }
}

fn failed(more: Value) -> Element {
    let mut element = Map::new();
    element.insert("failed".into(), true.into());
    if let Value::Object(more) = more {
        element.extend(more);
    }
    element
}
