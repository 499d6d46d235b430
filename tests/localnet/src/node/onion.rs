//! A node's part in an onion request: guard, relay, exit or destination.
//!
//! Answers travel back as they are; only the role that made one knows whether it is encrypted. Texts and
//! statuses are those of network.md 5.5, the roles those of 5.1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use getrandom::SysRng;
use hyper::body::Bytes;
use rand_core::UnwrapErr;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use session_protocol::onion::{EncType, LayerKey, frame};

use super::exit::{Exit, Outcome};
use super::rpc::answer::{Answer, Body};
use super::{Node, rpc};
use crate::http::Reply;
use crate::peers::{ONION, PeerError};

/// A layer that arrives with a greater number has come too far.
const MAX_HOP_NO: u32 = 15;
/// Statuses that pass from node to node; any other becomes 500 (network.md 2.3).
const KNOWN_STATUSES: [u16; 14] = [
    200, 400, 401, 403, 404, 406, 410, 413, 421, 429, 500, 502, 503, 504,
];

/// One layer on its way into a node: ciphertext and how to open it.
struct Layer<'a> {
    blob: &'a [u8],
    control: LayerControl,
}

#[derive(Serialize, Deserialize)]
struct LayerControl {
    #[serde(with = "hex::serde")]
    ephemeral_key: [u8; 32],
    enc_type: Option<String>,
    hop_no: Option<u32>,
}

impl LayerControl {
    fn enc_type(&self) -> Option<EncType> {
        match &self.enc_type {
            None => Some(EncType::AesGcm),
            Some(name) => EncType::parse(name),
        }
    }
}

impl<'a> Layer<'a> {
    fn parse(body: &'a [u8]) -> Result<(Self, EncType), String> {
        let (blob, control) = frame::decode(body).map_err(|error| error.to_string())?;
        let control: LayerControl =
            serde_json::from_slice(control).map_err(|error| error.to_string())?;
        let enc_type = control.enc_type().ok_or("unknown enc_type")?;
        Ok((Self { blob, control }, enc_type))
    }
}

/// Control data of the innermost frame.
#[derive(Deserialize)]
struct DestinationControl {
    #[serde(default)]
    json: bool,
    #[serde(default = "yes")]
    base64: bool,
}

fn yes() -> bool {
    true
}

/// Control data of a relay's frame.
#[derive(Deserialize)]
struct RelayControl {
    #[serde(with = "hex::serde")]
    destination: [u8; 32],
    #[serde(with = "hex::serde")]
    ephemeral_key: [u8; 32],
    enc_type: Option<String>,
}

/// A request from a client: this node is its guard.
pub(super) async fn from_client(node: &Node, body: &[u8]) -> Reply {
    match Layer::parse(body) {
        Ok((layer, enc_type)) => process(node, layer, enc_type).await,
        Err(why) => Reply::text(400, format!("Error parsing onion request: {why}")),
    }
}

/// A layer passed on by another node.
pub(super) async fn from_peer(node: &Node, body: &[u8]) -> Reply {
    match Layer::parse(body) {
        Ok((layer, enc_type)) => process(node, layer, enc_type).await,
        Err(why) => Reply::text(400, format!("Invalid internal onion request: {why}")),
    }
}

async fn process(node: &Node, layer: Layer<'_>, enc_type: EncType) -> Reply {
    let hop_no = layer.control.hop_no.unwrap_or(0);
    if hop_no > MAX_HOP_NO {
        return Reply::text(400, "onion request max path length exceeded");
    }
    let ephemeral = &layer.control.ephemeral_key;
    let opened = LayerKey::node(enc_type, node.keys.x25519_secret(), ephemeral)
        .and_then(|key| Ok((key.decrypt(layer.blob)?, key)));
    let Ok((plaintext, key)) = opened else {
        return Reply::text(400, "Invalid ciphertext");
    };

    let invalid_json = || wrap(&key, &Answer::text(400, "Invalid json"), false, true);
    let Ok((blob, control)) = frame::decode(&plaintext) else {
        return invalid_json();
    };
    let Ok(control) = serde_json::from_slice::<Map<String, Value>>(control) else {
        return invalid_json();
    };
    let (is_destination, is_exit) = (
        control.contains_key("headers"),
        control.contains_key("host"),
    );
    let control = Value::Object(control);
    if is_destination {
        let Ok(control) = DestinationControl::deserialize(control) else {
            return invalid_json();
        };
        let answer = rpc::handle(node, blob).await;
        wrap(&key, &answer, control.json, control.base64)
    } else if is_exit {
        let Ok(exit) = Exit::deserialize(control) else {
            return invalid_json();
        };
        match exit.run(node, plaintext).await {
            Outcome::InvalidUrl => wrap(&key, &Answer::text(400, "Invalid url"), false, true),
            Outcome::Answer(status, body) => Reply::new(status, "text/plain", body),
        }
    } else {
        let Ok(relay) = RelayControl::deserialize(control) else {
            return invalid_json();
        };
        let hop_no = hop_no.saturating_add(1);
        self::relay(node, blob, relay, hop_no).await
    }
}

async fn relay(node: &Node, blob: &[u8], relay: RelayControl, hop_no: u32) -> Reply {
    let Some(next) = node.shared.directory.find(&relay.destination) else {
        let name = hex::encode(relay.destination);
        return Reply::text(502, format!("Next node not found: {name}"));
    };
    let control = LayerControl {
        ephemeral_key: relay.ephemeral_key,
        enc_type: relay.enc_type,
        hop_no: Some(hop_no),
    };
    let message = serde_json::to_vec(&control)
        .ok()
        .and_then(|control| frame::encode(blob, &control).ok())
        .map(Bytes::from);
    let Some(message) = message else {
        return Reply::text(500, "request failed");
    };
    let limit = node.shared.times.hop;
    match node
        .shared
        .peers
        .post(next.address(), ONION, message, limit)
        .await
    {
        Ok((status, body)) => {
            let status = if KNOWN_STATUSES.contains(&status) {
                status
            } else {
                500
            };
            Reply::new(status, "text/plain", body)
        }
        Err(PeerError::Timeout) => Reply::text(504, "Request time out"),
        Err(PeerError::Malformed | PeerError::Transport(_)) => {
            Reply::text(500, "Invalid response from snode")
        }
    }
}

/// The destination's answer, readable only by the client (network.md 5.4). The outer status is 200 whatever
/// the inner one.
fn wrap(key: &LayerKey, answer: &Answer, as_json: bool, as_base64: bool) -> Reply {
    let body = match &answer.body {
        Body::Json(value) if as_json => value.clone(),
        Body::Json(value) => Value::String(value.to_string()),
        Body::Text(text) => Value::String(text.clone()),
        Body::Bytes(bytes) => Value::String(STANDARD.encode(bytes)),
    };
    let plaintext = json!({"status": answer.status, "body": body}).to_string();
    match key.encrypt(&mut UnwrapErr(SysRng), plaintext.as_bytes()) {
        Ok(ciphertext) if as_base64 => Reply::text(200, STANDARD.encode(ciphertext)),
        Ok(ciphertext) => Reply::new(200, "application/octet-stream", ciphertext),
        Err(_) => Reply::text(500, "request failed"),
    }
}
