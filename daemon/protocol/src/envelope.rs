//! The wrapping of a one-to-one message: WebSocketMessage, Envelope, encryption, padding.
//!
//! Facts: messages.md 3.2 (as written), 3.5 (decoy signature), 3.6 (reading), 2.6 (version 2), 11 (refusals).

use curve25519_dalek::{EdwardsPoint, Scalar};
use prost::Message as _;
use rand_core::CryptoRng;
use session_wire as wire;

use crate::identity::{AccountId, AccountKeys};
use crate::padding::{pad, unpad};
use crate::sealed_box::SealedBoxError;
use crate::session_encrypt::{self, DecryptError};
use crate::storage::request::MAX_DATA;

/// Latest timestamp that is accepted, exclusive: what a double holds exactly.
const MAX_TIMESTAMP: u64 = 1 << 53;

/// Why a payload of namespace 0 is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A direct message of protocol version 2 or later, which this version recognises but does not read.
    #[error("protocol version {0} is not supported")]
    UnsupportedVersion(u8),
    /// Longer than what a swarm stores.
    #[error("payload is too long")]
    TooLong,
    /// No WebSocketMessage with a request body.
    #[error("no WebSocketMessage with a body")]
    NoBody,
    /// No Envelope with a content and a sensible timestamp.
    #[error("envelope is malformed: {0}")]
    BadEnvelope(&'static str),
    /// Not for this account, damaged, or forged.
    #[error(transparent)]
    Decrypt(#[from] DecryptError),
    /// It opened for us, but what was inside is no Content. Worth keeping for a later version.
    #[error("content is malformed: {0}")]
    BadContent(&'static str),
}

impl OpenError {
    /// Whether the message was sealed to us by somebody: kept in the quarantine rather than skipped.
    pub fn opened_for_us(&self) -> bool {
        matches!(self, Self::BadContent(_) | Self::UnsupportedVersion(_))
    }

    /// Short UPPER_SNAKE name, for counters and the quarantine.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnsupportedVersion(_) => "UNSUPPORTED_VERSION",
            Self::TooLong => "TOO_LONG",
            Self::NoBody => "NO_BODY",
            Self::BadEnvelope(_) => "BAD_ENVELOPE",
            Self::Decrypt(DecryptError::TooShort) => "TOO_SHORT",
            Self::Decrypt(DecryptError::NotForUs) => "NOT_FOR_US",
            Self::Decrypt(DecryptError::BadSignature) => "BAD_SIGNATURE",
            Self::Decrypt(DecryptError::BadSender) => "BAD_SENDER",
            Self::BadContent(_) => "BAD_CONTENT",
        }
    }
}

/// An opened and authenticated message.
#[derive(Debug)]
pub struct Opened {
    /// Who signed it.
    pub sender: AccountId,
    /// Sent timestamp, ms.
    pub timestamp: u64,
    /// The parsed Content.
    pub content: wire::Content,
    /// The Content's own bytes without padding.
    pub content_bytes: Vec<u8>,
}

/// Seals a serialised Content to `recipient` and wraps it as the official clients do. `timestamp` is the sent
/// timestamp in ms and must equal the Content's `sigTimestamp`. Fails only for a recipient key of small order.
pub fn seal<R: CryptoRng + ?Sized>(
    rng: &mut R,
    sender: &AccountKeys,
    recipient: &AccountId,
    timestamp: u64,
    content: &[u8],
) -> Result<Vec<u8>, SealedBoxError> {
    let ciphertext = session_encrypt::encrypt(rng, sender, recipient, &pad(content))?;
    Ok(wrap(timestamp, ciphertext, decoy_pro_signature(rng)))
}

/// Envelope and WebSocketMessage around a ciphertext.
pub fn wrap(timestamp: u64, ciphertext: Vec<u8>, pro_signature: [u8; 64]) -> Vec<u8> {
    let envelope = wire::Envelope {
        r#type: Some(wire::envelope::Type::SessionMessage as i32),
        source: None,
        timestamp: Some(timestamp),
        source_device: Some(1),
        content: Some(ciphertext),
        pro_sig: Some(pro_signature.to_vec()),
    };
    let request = wire::WebSocketRequestMessage {
        verb: Some(String::new()),
        path: Some(String::new()),
        body: Some(envelope.encode_to_vec()),
        request_id: Some(0),
    };
    let message = wire::WebSocketMessage {
        r#type: Some(wire::web_socket_message::Type::Request as i32),
        request: Some(request),
    };
    message.encode_to_vec()
}

/// Formed like a signature and verifying against nothing, so that those who pay for extras and those who do
/// not look alike (messages.md 3.5).
pub fn decoy_pro_signature<R: CryptoRng + ?Sized>(rng: &mut R) -> [u8; 64] {
    let mut draw = [0; 64];
    rng.fill_bytes(&mut draw);
    let r = EdwardsPoint::mul_base(&Scalar::from_bytes_mod_order_wide(&draw));
    rng.fill_bytes(&mut draw);
    let s = Scalar::from_bytes_mod_order_wide(&draw);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r.compress().to_bytes());
    signature[32..].copy_from_slice(&s.to_bytes());
    signature
}

/// What was sealed, before anything is known about its content.
pub struct Unsealed {
    /// Who signed it.
    pub sender: AccountId,
    /// Sent timestamp of the Envelope, ms. It is not signed: the Content has a signed one.
    pub timestamp: u64,
    /// Content without padding.
    pub content_bytes: Vec<u8>,
}

/// Opens a payload of namespace 0 of the own swarm.
pub fn open(recipient: &AccountKeys, payload: &[u8]) -> Result<Opened, OpenError> {
    let Unsealed {
        sender,
        timestamp,
        content_bytes,
    } = unseal(recipient, payload)?;
    if content_bytes.is_empty() {
        return Err(OpenError::BadContent("empty"));
    }
    let content = wire::Content::decode(content_bytes.as_slice())
        .map_err(|_| OpenError::BadContent("not protobuf"))?;
    // 0 counts as absent, which older senders write (messages.md 5.4).
    if content
        .sig_timestamp
        .is_some_and(|signed| signed != 0 && signed != timestamp)
    {
        return Err(OpenError::BadContent(
            "signed timestamp differs from the envelope's",
        ));
    }
    Ok(Opened {
        sender,
        timestamp,
        content,
        content_bytes,
    })
}

/// The layers around a Content without the checks on it: frame, Envelope, encryption, padding.
pub fn unseal(recipient: &AccountKeys, payload: &[u8]) -> Result<Unsealed, OpenError> {
    if payload.len() > MAX_DATA {
        return Err(OpenError::TooLong);
    }
    if let [0, rest @ ..] = payload {
        return Err(OpenError::UnsupportedVersion(
            rest.first().copied().unwrap_or(0),
        ));
    }
    let body = unwrap(payload).ok_or(OpenError::NoBody)?;
    let envelope = wire::Envelope::decode(body.as_slice())
        .map_err(|_| OpenError::BadEnvelope("not protobuf"))?;
    let (timestamp, ciphertext) = check_envelope(envelope)?;
    let decrypted = session_encrypt::decrypt(recipient, &ciphertext)?;
    Ok(Unsealed {
        sender: decrypted.sender,
        timestamp,
        content_bytes: unpad(&decrypted.plaintext).to_vec(),
    })
}

/// The request's body. All fields that the network calls required must be there, since official clients cannot
/// parse the frame otherwise; what is in them does not matter (messages.md 3.6).
fn unwrap(payload: &[u8]) -> Option<Vec<u8>> {
    let message = wire::WebSocketMessage::decode(payload).ok()?;
    message.r#type?;
    let request = message.request?;
    request.verb.as_ref()?;
    request.path.as_ref()?;
    request.request_id?;
    request.body
}

fn check_envelope(envelope: wire::Envelope) -> Result<(u64, Vec<u8>), OpenError> {
    if envelope.r#type.is_none() {
        return Err(OpenError::BadEnvelope("no type"));
    }
    let timestamp = envelope
        .timestamp
        .filter(|ms| (1..MAX_TIMESTAMP).contains(ms))
        .ok_or(OpenError::BadEnvelope("no usable timestamp"))?;
    let source = envelope.source.as_deref().unwrap_or_default();
    if !(source.is_empty() || (source.len() == 66 && source.bytes().all(|b| b.is_ascii_hexdigit())))
    {
        return Err(OpenError::BadEnvelope("source is no identifier"));
    }
    if envelope
        .pro_sig
        .is_some_and(|signature| signature.len() != 64)
    {
        return Err(OpenError::BadEnvelope("proSig has a wrong length"));
    }
    let content = envelope
        .content
        .filter(|content| !content.is_empty())
        .ok_or(OpenError::BadEnvelope("no content"))?;
    Ok((timestamp, content))
}
