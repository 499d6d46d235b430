//! The name of a stored message (network.md 4.7).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::namespace::Namespace;
use crate::blake2b::hash32;
use crate::identity::Identifier;

/// Length of a message hash in characters.
pub const HASH_LENGTH: usize = 43;

/// Hash under which `data` is stored for `owner`: 43 base64 characters. Neither time nor TTL take part, so equal
/// bytes stored twice are one message.
pub fn message_hash(owner: &Identifier, namespace: Namespace, data: &[u8]) -> String {
    let digest = hash32(&[&owner.to_bytes(), namespace.signed_form().as_bytes(), data]);
    STANDARD_NO_PAD.encode(digest)
}
