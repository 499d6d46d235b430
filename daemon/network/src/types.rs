//! What goes into and comes out of calls to a swarm.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use session_protocol::storage::Namespace;
use session_protocol::storage::answer::StoredMessage;

/// A sealed message to be stored.
#[derive(Clone)]
pub struct StoreItem {
    /// Where in the owner's storage; a namespace that anyone may store into.
    pub namespace: Namespace,
    /// At most 76,800 bytes.
    pub data: Arc<[u8]>,
    /// How long it is kept, ms.
    pub ttl_ms: u64,
}

/// A message that was stored before, to be stored again: the same bytes for the time that is left of its life.
#[derive(Clone)]
pub struct StoredCopy {
    /// Where in the owner's storage; a namespace that anyone may store into.
    pub namespace: Namespace,
    /// What was stored.
    pub data: Arc<[u8]>,
    /// When it ends, network time in ms. It is never prolonged.
    pub expiry_ms: u64,
}

/// Proof that a message is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreReceipt {
    /// Its hash, computed here.
    pub hash: String,
    /// Ed25519 keys of the members of the swarm that signed for it; at least one.
    pub confirmed: Vec<[u8; 32]>,
    /// Members the answer speaks of.
    pub asked: usize,
    /// Ed25519 keys of known members that did not sign.
    pub missed: Vec<[u8; 32]>,
    /// When it is dropped, ms; the latest a member gave.
    pub expiry_ms: Option<u64>,
    /// When the member that took it did so, by its own clock, ms.
    pub stored_ms: Option<u64>,
    /// Ed25519 key of the member that took it.
    pub node: [u8; 32],
    /// The path it went over.
    pub path_id: String,
}

/// One page of what a member holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retrieved {
    /// Ed25519 key of the member; the cursor of this page is valid there alone.
    pub node: [u8; 32],
    /// In the member's order.
    pub messages: Vec<StoredMessage>,
    /// There is more after the last one. The next call goes to the same member.
    pub more: bool,
    /// The member began with its oldest message although a cursor was sent: it does not know that message any more, or
    /// never did. What another member holds may be missing here.
    pub cursor_lost: bool,
    /// The path it came over.
    pub path_id: String,
    /// Round trip.
    pub latency: Duration,
}

/// A member's successful answer to any request.
#[derive(Clone, Debug, PartialEq)]
pub struct SwarmReply {
    /// Ed25519 key of the member.
    pub node: [u8; 32],
    /// Its answer.
    pub body: Value,
    /// Ed25519 keys of all known members, against which signatures of the answer are to be judged.
    pub members: Vec<[u8; 32]>,
    /// The path it came over.
    pub path_id: String,
    /// Round trip.
    pub latency: Duration,
}

/// What one member of a swarm holds of what it was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Ed25519 key of the member.
    pub node: [u8; 32],
    /// Hashes it has, and when it drops them, ms.
    pub expiries: HashMap<String, u64>,
}
