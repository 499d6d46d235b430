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
        let plaintext = self.open_raw(&ciphertext)?;
        let wrapper: Wrapper =
            serde_json::from_slice(&plaintext).map_err(|_| AnswerError::Malformed)?;
        // A string is JSON inside JSON, except for errors in plain text.
        let body = match wrapper.body {
            Value::String(text) => match serde_json::from_str(&text) {
                Ok(inner @ (Value::Object(_) | Value::Array(_))) => inner,
                _ => Value::String(text),
            },
            other => other,
        };
        Ok(NodeAnswer {
            status: wrapper.status,
            body,
        })
    }
}
