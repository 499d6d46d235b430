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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_network_12() {
        let owner: Identifier =
            "05ffba630924aa1224bb930dde21c0d11bf004608f2812217f8ac812d6c7e3ad48"
                .parse()
                .unwrap();
        for (namespace, hash) in [
            (0, "tse7cPdGXVWduXXcEKR/FS0RYFBYv/dQ0HmjzQMyqQo"),
            (2, "igEDLvcHR/3A8zHvuiLwzJOFXmhFe5SY5Z+GFWbqJtw"),
            (-11, "XbFO8t9j+KjAiAf2gz7uwsdT2L3EcHpWXjOM7xj8aCY"),
        ] {
            assert_eq!(message_hash(&owner, Namespace(namespace), b"hello"), hash);
            assert_eq!(hash.len(), HASH_LENGTH);
        }
    }
}
