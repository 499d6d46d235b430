//! What seeds, guards and swarm members answer, and the file that describes a network.

use serde_json::Value;
use session_network::{BundledNodes, NetworkConfig, Proxy};
use session_protocol::onion::answer::NodeAnswer;
use session_protocol::onion::layer::{EncType, LayerKey};
use session_protocol::onion::{frame, v4};
use session_protocol::storage::{active_nodes, answer, verify};

/// The JSON body of any storage request's answer, read as each of them.
pub fn storage_answer(data: &[u8]) {
    let Ok(body) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let _ = answer::store(&body);
    if let Ok(read) = answer::retrieve(&body) {
        // Each has its hash, so there are not more than commas and brackets.
        assert!(read.messages.len() <= data.len());
    }
    let _ = answer::swarm(&body);
    let _ = answer::info(&body);
    let _ = answer::get_expiries(&body);
    let _ = answer::revoked_subaccounts(&body);
    let _ = answer::if_else(&body);
    let _ = answer::server_time(&body);
    for expected in [0, 1, 20] {
        let _ = answer::batch(&body, expected);
        let _ = answer::sequence(&body, expected);
    }
    for method in ["store", "delete", "expire", "delete_all", "expire_all"] {
        if let Ok(members) = answer::members(method, &body) {
            let _ = verify::store(&members, "hash", |_| true);
        }
    }
}

/// A decrypted answer of a service node, and what it carries as the body.
pub fn onion_answer(data: &[u8]) {
    if let Ok(read) = NodeAnswer::parse(data) {
        let body = read.body.to_string();
        storage_answer(body.as_bytes());
    }
}

/// What is sealed in layers: the frame between hops, a server's answer, and a ciphertext of either kind.
pub fn onion_frame(data: &[u8]) {
    if let Ok((blob, json)) = frame::decode(data) {
        assert!(blob.len() + json.len() <= data.len());
    }
    let _ = v4::decode_response(data);
    for enc_type in [EncType::XChaCha20, EncType::AesGcm] {
        let secret = session_protocol::AccountKeys::from_ed25519_seed(&[1; 32]);
        let other = session_protocol::AccountKeys::from_ed25519_seed(&[2; 32]);
        let key = LayerKey::client(enc_type, secret.x25519_secret(), &other.x25519_public());
        if let Ok(key) = key {
            assert!(key.decrypt(data).is_err(), "nobody has this key");
        }
    }
}

/// A seed's list of nodes.
pub fn seed_answer(data: &[u8]) {
    let Ok(body) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    if let Some(result) = body.get("result")
        && let Ok(nodes) = answer::service_nodes(result)
    {
        assert!(nodes.len() <= data.len());
    }
}

/// A node's list of nodes in binary form, and the one in a file that an administrator gives.
pub fn node_list(data: &[u8]) {
    if let Ok(nodes) = active_nodes::from_bytes(data) {
        assert!(nodes.len() <= data.len() / 51);
    }
    let text = String::from_utf8_lossy(data).into_owned();
    let _ = active_nodes::active_nodes(&Value::String(text));
    let _ = BundledNodes::from_json(data, 0);
}

/// The file that describes a network, and the proxy that a person sets.
pub fn network_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(config) = NetworkConfig::from_toml(text) {
        assert!(!config.seeds.is_empty());
    }
    if let Ok(proxy) = Proxy::from_url(text) {
        assert!(!proxy.host().is_empty() && proxy.port() != 0);
    }
}
