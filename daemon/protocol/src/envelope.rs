//! The wrapping of a one-to-one message: WebSocketMessage, Envelope, encryption, padding.
//!
//! Facts: messages.md 3.2 (as written), 3.5 (decoy signature), 3.6 (reading), 2.6 (version 2), 11 (refusals).

use curve25519_dalek::{EdwardsPoint, Scalar};
use prost::Message as _;
use rand_core::CryptoRng;
use session_wire as wire;

use crate::content::is_time;
use crate::identity::{AccountId, AccountKeys};
use crate::padding::{pad, unpad};
use crate::sealed_box::SealedBoxError;
use crate::senders::Senders;
use crate::session_encrypt::{self, DecryptError};
use crate::storage::request::MAX_DATA;

/// Longest serialised Content that fits into what a swarm stores: padding takes up to 161 bytes, encryption 144, and
/// Envelope and frame 110.
pub const MAX_CONTENT: usize = MAX_DATA - 161 - 144 - 110;

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
    open_with(recipient, payload, &())
}

/// As [`open`], with senders that were checked before.
pub fn open_with(
    recipient: &AccountKeys,
    payload: &[u8],
    senders: &impl Senders,
) -> Result<Opened, OpenError> {
    let Unsealed {
        sender,
        timestamp,
        content_bytes,
    } = unseal_with(recipient, payload, senders)?;
    let content = check_content(&content_bytes, timestamp)?;
    Ok(Opened {
        sender,
        timestamp,
        content,
        content_bytes,
    })
}

/// Parses a Content and compares the time it was signed for with the Envelope's.
pub(crate) fn check_content(bytes: &[u8], timestamp: u64) -> Result<wire::Content, OpenError> {
    if bytes.is_empty() {
        return Err(OpenError::BadContent("empty"));
    }
    let content =
        wire::Content::decode(bytes).map_err(|_| OpenError::BadContent("not protobuf"))?;
    // 0 counts as absent, which older senders write (messages.md 5.4).
    if content
        .sig_timestamp
        .is_some_and(|signed| signed != 0 && signed != timestamp)
    {
        return Err(OpenError::BadContent(
            "signed timestamp differs from the envelope's",
        ));
    }
    Ok(content)
}

/// The layers around a Content without the checks on it: frame, Envelope, encryption, padding.
pub fn unseal(recipient: &AccountKeys, payload: &[u8]) -> Result<Unsealed, OpenError> {
    unseal_with(recipient, payload, &())
}

fn unseal_with(
    recipient: &AccountKeys,
    payload: &[u8],
    senders: &impl Senders,
) -> Result<Unsealed, OpenError> {
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
    let decrypted = session_encrypt::decrypt_with(recipient, &ciphertext, senders)?;
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

pub(crate) fn check_envelope(envelope: wire::Envelope) -> Result<(u64, Vec<u8>), OpenError> {
    if envelope.r#type.is_none() {
        return Err(OpenError::BadEnvelope("no type"));
    }
    let timestamp = envelope
        .timestamp
        .filter(|ms| is_time(*ms))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content;
    use crate::identity::{AccountSeed, verify_ed25519};
    use crate::test_rng::Counting;
    use proptest::prelude::*;

    const TIME: u64 = 1_760_000_000_000;

    fn keys(byte: u8) -> AccountKeys {
        AccountKeys::from_seed(&AccountSeed::from_bytes([byte; 16]))
    }

    fn sealed(timestamp: u64, content: &[u8]) -> Vec<u8> {
        let to = keys(2).account_id();
        seal(&mut Counting::default(), &keys(1), &to, timestamp, content).unwrap()
    }

    fn reason(payload: &[u8]) -> &'static str {
        open(&keys(2), payload).map_or_else(|error| error.reason(), |_| "OPENED")
    }

    /// A sealed text whose layers `change` has been at.
    fn changed(change: impl FnOnce(&mut wire::WebSocketMessage, &mut wire::Envelope)) -> Vec<u8> {
        let payload = sealed(TIME, &content::text("hi", TIME, None, None));
        let mut message = wire::WebSocketMessage::decode(payload.as_slice()).unwrap();
        let body = message.request.as_mut().unwrap().body.take().unwrap();
        let mut envelope = wire::Envelope::decode(body.as_slice()).unwrap();
        change(&mut message, &mut envelope);
        if let Some(request) = &mut message.request {
            request.body = Some(envelope.encode_to_vec());
        }
        message.encode_to_vec()
    }

    #[test]
    fn a_text_crosses_and_names_its_sender() {
        let text = content::text("hi", TIME, None, Some("Ann"));
        let opened = open(&keys(2), &sealed(TIME, &text)).unwrap();
        assert_eq!(opened.sender, keys(1).account_id());
        assert_eq!(opened.timestamp, TIME);
        assert_eq!(opened.content_bytes, text);
        assert_eq!(reason(&changed(|_, _| {})), "OPENED");
    }

    #[test]
    fn what_does_not_matter_is_ignored() {
        let older = changed(|message, envelope| {
            message.r#type = Some(2);
            let request = message.request.as_mut().unwrap();
            request.verb = Some("PUT".into());
            request.path = Some("/api/v1/message".into());
            request.request_id = Some(7);
            envelope.r#type = Some(7);
            envelope.source = Some(String::new());
            envelope.source_device = None;
            envelope.pro_sig = None;
        });
        assert_eq!(reason(&older), "OPENED");
        let named = changed(|_, envelope| envelope.source = Some("05".repeat(33)));
        assert_eq!(reason(&named), "OPENED");
    }

    #[test]
    fn missing_and_malformed_parts_are_refused() {
        let request = |change: fn(&mut wire::WebSocketRequestMessage)| {
            reason(&changed(|message, _| {
                change(message.request.as_mut().unwrap())
            }))
        };
        assert_eq!(request(|request| request.verb = None), "NO_BODY");
        assert_eq!(request(|request| request.path = None), "NO_BODY");
        assert_eq!(request(|request| request.request_id = None), "NO_BODY");
        assert_eq!(
            reason(&changed(|message, _| message.r#type = None)),
            "NO_BODY"
        );
        assert_eq!(
            reason(&changed(|message, _| message.request = None)),
            "NO_BODY"
        );
        let envelope =
            |change: fn(&mut wire::Envelope)| reason(&changed(|_, envelope| change(envelope)));
        assert_eq!(envelope(|envelope| envelope.r#type = None), "BAD_ENVELOPE");
        assert_eq!(
            envelope(|envelope| envelope.timestamp = None),
            "BAD_ENVELOPE"
        );
        assert_eq!(
            envelope(|envelope| envelope.timestamp = Some(0)),
            "BAD_ENVELOPE"
        );
        assert_eq!(
            envelope(|envelope| envelope.timestamp = Some(1 << 53)),
            "BAD_ENVELOPE"
        );
        assert_eq!(envelope(|envelope| envelope.content = None), "BAD_ENVELOPE");
        assert_eq!(
            envelope(|envelope| envelope.source = Some("x".into())),
            "BAD_ENVELOPE"
        );
        assert_eq!(
            envelope(|envelope| envelope.pro_sig = Some(vec![0; 63])),
            "BAD_ENVELOPE"
        );
        assert_eq!(
            envelope(|envelope| envelope.content = Some(vec![0; 143])),
            "TOO_SHORT"
        );
        assert_eq!(
            envelope(|envelope| envelope.content = Some(vec![0; 144])),
            "NOT_FOR_US"
        );
        assert_eq!(
            envelope(|envelope| envelope.timestamp = Some(TIME + 1)),
            "BAD_CONTENT"
        );
        assert_eq!(reason(b""), "NO_BODY");
        assert_eq!(reason(&vec![8; MAX_DATA + 1]), "TOO_LONG");
    }

    #[test]
    fn contents_that_say_nothing_are_refused_but_kept() {
        for content in [b"".as_slice(), b"\xff\xff"] {
            let error = open(&keys(2), &sealed(TIME, content)).err().unwrap();
            assert_eq!(error.reason(), "BAD_CONTENT");
            assert!(error.opened_for_us());
        }
    }

    #[test]
    fn an_absent_or_zero_signed_timestamp_is_an_older_senders() {
        for signed in [None, Some(0)] {
            let content = wire::Content {
                sig_timestamp: signed,
                expiration_timer: Some(0),
                ..Default::default()
            };
            assert_eq!(reason(&sealed(TIME, &content.encode_to_vec())), "OPENED");
        }
    }

    #[test]
    fn the_longest_content_fits_and_little_more() {
        let length = |content: usize| sealed((1 << 53) - 1, &vec![1; content]).len();
        assert!(length(MAX_CONTENT) <= MAX_DATA);
        assert!(length(MAX_CONTENT + 200) > MAX_DATA);
    }

    #[test]
    fn version_2_is_recognised() {
        for (payload, version) in [(&[0, 2, 7][..], 2), (&[0, 9], 9), (&[0], 0)] {
            let error = open(&keys(2), payload).err().unwrap();
            assert_eq!(error, OpenError::UnsupportedVersion(version));
        }
    }

    #[test]
    fn decoys_are_points_and_scalars_and_verify_nothing() {
        let decoy = decoy_pro_signature(&mut Counting::default());
        let point =
            curve25519_dalek::edwards::CompressedEdwardsY::from_slice(&decoy[..32]).unwrap();
        assert!(
            point
                .decompress()
                .is_some_and(|point| point.is_torsion_free())
        );
        let scalar: [u8; 32] = decoy[32..].try_into().unwrap();
        assert!(bool::from(Scalar::from_canonical_bytes(scalar).is_some()));
        assert!(!verify_ed25519(&keys(1).ed25519_public(), b"", &decoy));
    }

    proptest! {
        #[test]
        fn every_content_survives_its_layers(content: Vec<u8>, timestamp in 1_u64..1 << 53) {
            let payload = sealed(timestamp, &content);
            let unsealed = unseal(&keys(2), &payload).ok().unwrap();
            prop_assert_eq!(unsealed.content_bytes, content);
            prop_assert_eq!(unsealed.timestamp, timestamp);
            prop_assert_eq!(unsealed.sender, keys(1).account_id());
            prop_assert_eq!(unseal(&keys(1), &payload).err().map(|error| error.reason()), Some("NOT_FOR_US"));
        }

        #[test]
        fn any_bytes_get_an_answer(payload: Vec<u8>) {
            prop_assert!(open(&keys(2), &payload).is_err());
        }

        #[test]
        fn any_content_gets_an_answer(content: Vec<u8>) {
            if let Ok(opened) = open(&keys(2), &sealed(TIME, &content)) {
                let _ = content::read(&opened.content);
            }
        }

        #[test]
        fn any_damage_gets_an_answer(at: prop::sample::Index, byte: u8) {
            let mut payload = sealed(TIME, &content::text("hi", TIME, None, None));
            let at = at.index(payload.len());
            payload[at] = byte;
            let _ = open(&keys(2), &payload);
        }
    }
}
