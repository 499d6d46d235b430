//! Opens what comes back from a destination (network.md 5.4 and 5.7).
//!
//! Only what decrypts here is from the destination; anything else may have been written by any hop.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::Value;

use super::layer::{EncType, LayerError, LayerKey};

/// Standard alphabet, padding optional.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Opens the answer to one request: the key of its innermost layer.
pub struct ReplyKey {
    enc_type: EncType,
    key: LayerKey,
}

/// Why an answer is not from the destination, or makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It does not decrypt: written by a hop, or garbage.
    #[error("answer is not encrypted by the destination")]
    NotFromDestination,
    /// It decrypts, but is no `{"status", "body"}`.
    #[error("destination's answer is malformed")]
    Malformed,
}

/// What a service node answered to a storage request.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeAnswer {
    /// The destination's own status.
    pub status: u16,
    /// JSON where the destination sent JSON, else [`Value::String`] with its text.
    pub body: Value,
}

#[derive(Deserialize)]
struct Wrapper {
    #[serde(alias = "status_code")]
    status: u16,
    #[serde(default)]
    body: Value,
}

impl ReplyKey {
    pub(super) fn new(enc_type: EncType, key: LayerKey) -> Self {
        Self { enc_type, key }
    }

    /// The encryption the request asked for.
    pub fn enc_type(&self) -> EncType {
        self.enc_type
    }

    /// Decrypts the raw bytes of a server's answer; open the result with [`super::v4::decode_response`].
    pub fn open_raw(&self, ciphertext: &[u8]) -> Result<Vec<u8>, AnswerError> {
        self.key
            .decrypt(ciphertext)
            .map_err(|_: LayerError| AnswerError::NotFromDestination)
    }

    /// Opens the body of a 200 from the guard, when the destination was a service node.
    pub fn open_node(&self, body: &[u8]) -> Result<NodeAnswer, AnswerError> {
        let ciphertext = BASE64
            .decode(body.trim_ascii())
            .map_err(|_| AnswerError::NotFromDestination)?;
        NodeAnswer::parse(&self.open_raw(&ciphertext)?)
    }
}

impl NodeAnswer {
    /// Reads the decrypted answer of a service node.
    pub fn parse(plaintext: &[u8]) -> Result<Self, AnswerError> {
        let wrapper: Wrapper =
            serde_json::from_slice(plaintext).map_err(|_| AnswerError::Malformed)?;
        // A string is JSON inside JSON, except for errors in plain text.
        let body = match wrapper.body {
            Value::String(text) => match serde_json::from_str(&text) {
                Ok(inner @ (Value::Object(_) | Value::Array(_))) => inner,
                _ => Value::String(text),
            },
            other => other,
        };
        Ok(Self {
            status: wrapper.status,
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rng::Counting;
    use base64::engine::general_purpose::{STANDARD as PADDED, STANDARD_NO_PAD};
    use proptest::prelude::*;
    use serde_json::json;
    use x25519_dalek::{PublicKey, StaticSecret};

    /// The client's key, and the destination's that fits.
    fn keys() -> (ReplyKey, LayerKey) {
        let (client, node) = (StaticSecret::from([1; 32]), StaticSecret::from([2; 32]));
        let public = |secret| PublicKey::from(secret).to_bytes();
        let enc_type = EncType::XChaCha20;
        let key = LayerKey::client(enc_type, &client, &public(&node)).unwrap();
        let theirs = LayerKey::node(enc_type, &node, &public(&client)).unwrap();
        (ReplyKey::new(enc_type, key), theirs)
    }

    fn answered(plaintext: &str) -> Result<NodeAnswer, AnswerError> {
        let (reply, node) = keys();
        let ciphertext = node
            .encrypt(&mut Counting::default(), plaintext.as_bytes())
            .unwrap();
        let padded = reply.open_node(PADDED.encode(&ciphertext).as_bytes());
        let bare = format!("{}\n", STANDARD_NO_PAD.encode(&ciphertext));
        assert_eq!(reply.open_node(bare.as_bytes()), padded);
        padded
    }

    #[test]
    fn bodies_are_json_in_json_json_or_text() {
        for (plaintext, status, body) in [
            (r#"{"status":200,"body":"{\"t\":1}"}"#, 200, json!({"t": 1})),
            (r#"{"status":200,"body":{"t":1}}"#, 200, json!({"t": 1})),
            (r#"{"status_code":406,"body":"clock"}"#, 406, json!("clock")),
            (r#"{"status":500,"body":"7"}"#, 500, json!("7")),
            (r#"{"status":502}"#, 502, Value::Null),
        ] {
            assert_eq!(answered(plaintext), Ok(NodeAnswer { status, body }));
        }
    }

    #[test]
    fn what_the_destination_did_not_encrypt_is_told_apart() {
        for plaintext in ["", "{}", "[]", r#"{"status":"200"}"#, r#"{"status":70000}"#] {
            assert_eq!(answered(plaintext), Err(AnswerError::Malformed));
        }
        let (reply, _) = keys();
        for body in [
            b"Request time out".as_slice(),
            b"",
            b"AAAA",
            b"{\"status\":200}",
        ] {
            assert_eq!(reply.open_node(body), Err(AnswerError::NotFromDestination));
        }
    }

    #[test]
    fn deep_json_is_refused() {
        let deep = format!(r#"{{"status":200,"body":{}}}"#, "[".repeat(100_000));
        assert_eq!(answered(&deep), Err(AnswerError::Malformed));
    }

    proptest! {
        #[test]
        fn any_text_of_a_destination_gets_an_answer(plaintext: String) {
            let _ = answered(&plaintext);
        }

        #[test]
        fn any_bytes_of_a_hop_get_an_answer(body: Vec<u8>) {
            prop_assert_eq!(keys().0.open_node(&body), Err(AnswerError::NotFromDestination));
        }
    }
}
