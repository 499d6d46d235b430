//! Wraps a payload for a path, from the inside out (network.md 5.3).
//!
//! Each layer draws an ephemeral key and then a nonce. The order of draws and of JSON keys is that of the
//! official library, so that the same randomness gives the same bytes.

use rand_core::CryptoRng;
use serde::Serialize;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::answer::ReplyKey;
use super::frame::{self, FrameError};
use super::layer::{EncType, LayerError, LayerKey};

/// A service node as the onion sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// Ed25519 key: the node's name on the path.
    pub ed25519: [u8; 32],
    /// X25519 key: what its layer is encrypted to.
    pub x25519: [u8; 32],
}

/// Where the innermost payload goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A service node; the payload is a storage request in JSON.
    Node(Hop),
    /// A server that the last hop contacts; the payload is made by [`super::v4`].
    Server(ServerDestination),
}

/// A server behind the last hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerDestination {
    /// Its X25519 key.
    pub x25519: [u8; 32],
    /// Host name without scheme.
    pub host: String,
    /// TLS or not.
    pub https: bool,
    /// Port; `None` is 443 or 80.
    pub port: Option<u16>,
    /// Path of its onion endpoint, [`ServerDestination::V4_TARGET`] for every current server.
    pub target: String,
}

impl ServerDestination {
    /// The onion endpoint of servers that take v4 payloads.
    pub const V4_TARGET: &'static str = "/oxen/v4/lsrpc";
}

/// A request ready for the guard.
pub struct OnionRequest {
    /// Body of the POST to the guard's `/onion_req/v2`.
    pub body: Vec<u8>,
    /// Opens the answer.
    pub reply: ReplyKey,
}

/// Why a request cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A path needs at least a guard.
    #[error("path has no hops")]
    EmptyPath,
    /// A hop's key cannot be used, or the payload is too long.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The payload is too long.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Control data could not be written.
    #[error("control data cannot be encoded")]
    Json,
}

// Field order is the order on the wire: alphabetical.
#[derive(Serialize)]
struct Relay<'a> {
    destination: String,
    enc_type: &'a str,
    ephemeral_key: String,
}

#[derive(Serialize)]
struct Exit<'a> {
    enc_type: &'a str,
    ephemeral_key: String,
    host: &'a str,
    method: &'a str,
    port: u16,
    protocol: &'a str,
    target: &'a str,
}

#[derive(Serialize)]
struct Outer<'a> {
    enc_type: &'a str,
    ephemeral_key: String,
}

/// Control data of the innermost frame for a service node.
const NODE_CONTROL: &[u8] = br#"{"headers":""}"#;

/// Builds a request to a guard itself, which therefore sees who asks: nothing about an account belongs into it.
pub fn build_for_guard<R: CryptoRng + ?Sized>(
    rng: &mut R,
    enc_type: EncType,
    guard: &Hop,
    payload: &[u8],
) -> Result<OnionRequest, BuildError> {
    wrap(rng, enc_type, &[], &Destination::Node(*guard), payload)
}

/// Builds a request that travels along `path`, the guard first, to `destination`.
pub fn build<R: CryptoRng + ?Sized>(
    rng: &mut R,
    enc_type: EncType,
    path: &[Hop],
    destination: &Destination,
    payload: &[u8],
) -> Result<OnionRequest, BuildError> {
    if path.is_empty() {
        return Err(BuildError::EmptyPath);
    }
    wrap(rng, enc_type, path, destination, payload)
}

fn wrap<R: CryptoRng + ?Sized>(
    rng: &mut R,
    enc_type: EncType,
    path: &[Hop],
    destination: &Destination,
    payload: &[u8],
) -> Result<OnionRequest, BuildError> {
    let name = enc_type.as_str();
    let (innermost, reply) = match destination {
        Destination::Node(hop) => encrypt(
            rng,
            enc_type,
            &hop.x25519,
            &frame::encode(payload, NODE_CONTROL)?,
        )?,
        Destination::Server(server) => encrypt(rng, enc_type, &server.x25519, payload)?,
    };
    let mut layer = innermost;
    let mut next = match destination {
        Destination::Node(hop) => Control::Relay(hop.ed25519),
        Destination::Server(server) => Control::Exit(server),
    };
    let reply_key = ReplyKey::new(enc_type, reply);
    for hop in path.iter().rev() {
        let ephemeral_key = hex::encode(layer.ephemeral);
        let control = match next {
            Control::Relay(ed25519) => serde_json::to_vec(&Relay {
                destination: hex::encode(ed25519),
                enc_type: name,
                ephemeral_key,
            }),
            Control::Exit(server) => serde_json::to_vec(&Exit {
                enc_type: name,
                ephemeral_key,
                host: &server.host,
                method: "POST",
                port: server.port.unwrap_or(if server.https { 443 } else { 80 }),
                protocol: if server.https { "https" } else { "http" },
                target: &server.target,
            }),
        }
        .map_err(|_| BuildError::Json)?;
        let plaintext = frame::encode(&layer.ciphertext, &control)?;
        (layer, _) = encrypt(rng, enc_type, &hop.x25519, &plaintext)?;
        next = Control::Relay(hop.ed25519);
    }
    let outer = Outer {
        enc_type: name,
        ephemeral_key: hex::encode(layer.ephemeral),
    };
    let outer = serde_json::to_vec(&outer).map_err(|_| BuildError::Json)?;
    Ok(OnionRequest {
        body: frame::encode(&layer.ciphertext, &outer)?,
        reply: reply_key,
    })
}

enum Control<'a> {
    Relay([u8; 32]),
    Exit(&'a ServerDestination),
}

struct Encrypted {
    ephemeral: [u8; 32],
    ciphertext: Vec<u8>,
}

fn encrypt<R: CryptoRng + ?Sized>(
    rng: &mut R,
    enc_type: EncType,
    to: &[u8; 32],
    plaintext: &[u8],
) -> Result<(Encrypted, LayerKey), BuildError> {
    let mut secret = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *secret);
    let secret = StaticSecret::from(*secret);
    let key = LayerKey::client(enc_type, &secret, to)?;
    let ciphertext = key.encrypt(rng, plaintext)?;
    Ok((
        Encrypted {
            ephemeral: PublicKey::from(&secret).to_bytes(),
            ciphertext,
        },
        key,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rng::Counting;

    fn hop(byte: u8) -> (StaticSecret, Hop) {
        let secret = StaticSecret::from([byte; 32]);
        let hop = Hop {
            ed25519: [byte; 32],
            x25519: PublicKey::from(&secret).to_bytes(),
        };
        (secret, hop)
    }

    #[test]
    fn each_hop_learns_the_next_one_alone() {
        for enc_type in [EncType::XChaCha20, EncType::AesGcm] {
            let nodes = [1, 2, 3, 4].map(hop);
            let path = [nodes[0].1, nodes[1].1, nodes[2].1];
            let destination = Destination::Node(nodes[3].1);
            let mut rng = Counting::default();
            let request = build(&mut rng, enc_type, &path, &destination, b"payload").unwrap();
            let mut body = request.body;
            for (index, (secret, _)) in nodes.iter().enumerate() {
                let (blob, control) = frame::decode(&body).unwrap();
                let control: serde_json::Value = serde_json::from_slice(control).unwrap();
                assert_eq!(control["enc_type"], enc_type.as_str());
                let next = (index > 0).then(|| hex::encode(nodes[index].1.ed25519));
                assert_eq!(control["destination"].as_str(), next.as_deref());
                let mut ephemeral = [0; 32];
                hex::decode_to_slice(control["ephemeral_key"].as_str().unwrap(), &mut ephemeral)
                    .unwrap();
                body = LayerKey::node(enc_type, secret, &ephemeral)
                    .unwrap()
                    .decrypt(blob)
                    .unwrap();
            }
            assert_eq!(
                frame::decode(&body),
                Ok((b"payload".as_slice(), NODE_CONTROL))
            );
        }
    }

    #[test]
    fn a_path_needs_hops_with_usable_keys() {
        let destination = Destination::Node(hop(1).1);
        let mut rng = Counting::default();
        let empty = build(&mut rng, EncType::XChaCha20, &[], &destination, b"");
        assert_eq!(empty.err(), Some(BuildError::EmptyPath));
        let weak = Hop {
            ed25519: [1; 32],
            x25519: [0; 32],
        };
        let refused = build(&mut rng, EncType::XChaCha20, &[weak], &destination, b"");
        assert_eq!(refused.err(), Some(BuildError::Layer(LayerError::WeakKey)));
    }
}
