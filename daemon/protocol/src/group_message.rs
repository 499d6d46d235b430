//! Messages in a group's swarm: namespace 11, and the notice to removed members in namespace -11.
//!
//! Promises: total and bounded, compressed messages too: decompression ends at [`MAX_BODY`] bytes and uses a window of
//! at most [`MAX_WINDOW`]. Whether the sender is (still) a member is the caller's matter: whoever holds the group's
//! key can write.
//!
//! Facts: messages.md 2.4 (layers), 2.5 (notice), 3.3 (Envelope), 11 (6, 8). Messages are written uncompressed, which
//! every reader takes.

use std::collections::BTreeMap;
use std::io::Read as _;

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use prost::Message as _;
use rand_core::CryptoRng;
use ruzstd::decoding::StreamingDecoder;
use session_wire as wire;

use crate::bt::{self, Value};
use crate::envelope::{self, OpenError, Opened};
use crate::identity::{AccountId, AccountKeys, ed25519_to_x25519, verify_ed25519};
use crate::multi_encrypt::{self, KICKED_DOMAIN};
use crate::storage::request::MAX_DATA;

/// Longest body, in bytes, before compression and after decompression.
pub const MAX_BODY: usize = 1_000_000;

/// Largest window that a compressed message may ask for, in bytes: the largest of usual compression levels.
pub const MAX_WINDOW: u64 = 8 << 20;

/// Plaintexts are padded so that the ciphertext with its nonce is a multiple of this, in bytes.
const BLOCK: usize = 256;

const NONCE: usize = 24;
const TAG: usize = 16;

/// Why a group message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Longer than what a swarm stores.
    #[error("payload is too long")]
    TooLong,
    /// None of the keys opens it. Perhaps a newer one will.
    #[error("no known key opens it")]
    NoKey,
    /// It opens, and what is inside is not the dictionary it should be.
    #[error("group message is malformed: {0}")]
    Malformed(&'static str),
    /// Its body is longer than [`MAX_BODY`], or cannot be decompressed.
    #[error("body cannot be decompressed within its limit")]
    BadCompression,
    /// The sender did not sign it for this group.
    #[error("signature does not verify")]
    BadSignature,
    /// The sender's key is not one of an account.
    #[error("sender is no account")]
    BadSender,
    /// Its Envelope or Content.
    #[error(transparent)]
    Inside(#[from] OpenError),
}

impl GroupError {
    /// Short UPPER_SNAKE name, for counters and the quarantine.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLong => "TOO_LONG",
            Self::NoKey => "NO_KEY",
            Self::Malformed(_) => "BAD_GROUP_MESSAGE",
            Self::BadCompression => "BAD_COMPRESSION",
            Self::BadSignature => "BAD_SIGNATURE",
            Self::BadSender => "BAD_SENDER",
            Self::Inside(error) => error.reason(),
        }
    }
}

/// Why a group message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message has {0} bytes, more than a swarm stores")]
pub struct TooLarge(pub usize);

/// A decrypted body and who signed it.
#[derive(Debug, PartialEq, Eq)]
pub struct Decrypted {
    /// Who signed it.
    pub sender: AccountId,
    /// Serialised Envelope.
    pub body: Vec<u8>,
}

/// Writes a serialised Content as a message to the group with the Ed25519 key `group`. `timestamp` is the sent
/// timestamp, ms, and must equal the Content's.
pub fn seal<R: CryptoRng + ?Sized>(
    rng: &mut R,
    sender: &AccountKeys,
    group: &[u8; 32],
    key: &[u8; 32],
    timestamp: u64,
    content: &[u8],
) -> Result<Vec<u8>, TooLarge> {
    let envelope = wire::Envelope {
        r#type: Some(wire::envelope::Type::ClosedGroupMessage as i32),
        source: None,
        timestamp: Some(timestamp),
        source_device: Some(1),
        content: Some(content.to_vec()),
        pro_sig: Some(envelope::decoy_pro_signature(rng).to_vec()),
    };
    encrypt(rng, sender, group, key, &envelope.encode_to_vec())
}

/// Opens a payload of a group's namespace 11 with the group's encryption keys, newest first.
pub fn open(group: &[u8; 32], keys: &[[u8; 32]], payload: &[u8]) -> Result<Opened, GroupError> {
    let Decrypted { sender, body } = decrypt(group, keys, payload)?;
    let envelope = wire::Envelope::decode(body.as_slice())
        .map_err(|_| OpenError::BadEnvelope("not protobuf"))?;
    let (timestamp, content_bytes) = envelope::check_envelope(envelope)?;
    let content = envelope::check_content(&content_bytes, timestamp)?;
    Ok(Opened {
        sender,
        timestamp,
        content,
        content_bytes,
    })
}

/// The encryption alone: `body` signed for the group, padded, under `key`. Draws the nonce.
pub fn encrypt<R: CryptoRng + ?Sized>(
    rng: &mut R,
    sender: &AccountKeys,
    group: &[u8; 32],
    key: &[u8; 32],
    body: &[u8],
) -> Result<Vec<u8>, TooLarge> {
    let (own, signature) = (
        sender.ed25519_public(),
        sender.sign(&[body, group].concat()),
    );
    let entries = BTreeMap::from([
        (b"".as_slice(), Value::Int(1)),
        (b"a", Value::Bytes(&own)),
        (b"d", Value::Bytes(body)),
        (b"s", Value::Bytes(&signature)),
    ]);
    let mut padded = Value::Dict(entries).to_bytes();
    let length = (NONCE + padded.len() + TAG).next_multiple_of(BLOCK);
    if length > MAX_DATA {
        return Err(TooLarge(length));
    }
    padded.resize(length - NONCE - TAG, 0);
    let mut nonce = [0; NONCE];
    rng.fill_bytes(&mut nonce);
    let ciphertext = XChaCha20Poly1305::new(key.into())
        .encrypt(&nonce.into(), padded.as_slice())
        .map_err(|_| TooLarge(length))?;
    Ok([nonce.as_slice(), &ciphertext].concat())
}

/// The encryption alone: decrypts with the first key that fits, decompresses, and checks who signed it for the group.
pub fn decrypt(
    group: &[u8; 32],
    keys: &[[u8; 32]],
    payload: &[u8],
) -> Result<Decrypted, GroupError> {
    if payload.len() > MAX_DATA {
        return Err(GroupError::TooLong);
    }
    let (nonce, ciphertext) = payload
        .split_first_chunk::<NONCE>()
        .ok_or(GroupError::NoKey)?;
    let padded = keys
        .iter()
        .find_map(|key| {
            let cipher = XChaCha20Poly1305::new(key.into());
            cipher.decrypt(&(*nonce).into(), ciphertext).ok()
        })
        .ok_or(GroupError::NoKey)?;
    read_plaintext(group, &padded)
}

/// What a decrypted message says, padding and all.
pub fn read_plaintext(group: &[u8; 32], padded: &[u8]) -> Result<Decrypted, GroupError> {
    let end = padded.iter().rposition(|byte| *byte != 0);
    let plain = &padded[..end.map_or(0, |last| last + 1)];
    let value = bt::parse(plain).map_err(|_| GroupError::Malformed("not bencode"))?;
    let dict = value
        .as_dict()
        .ok_or(GroupError::Malformed("no dictionary"))?;
    let bytes = |key: &[u8]| dict.get(key).and_then(Value::as_bytes);
    if dict.get(b"".as_slice()) != Some(&Value::Int(1)) {
        return Err(GroupError::Malformed("unknown version"));
    }
    let from: [u8; 32] = bytes(b"a")
        .and_then(|key| key.try_into().ok())
        .ok_or(GroupError::Malformed("no sender"))?;
    let signature: [u8; 64] = bytes(b"s")
        .and_then(|signature| signature.try_into().ok())
        .ok_or(GroupError::Malformed("no signature"))?;
    let (stored, compressed) = match (bytes(b"d"), bytes(b"z")) {
        (Some(plain), None) if !plain.is_empty() => (plain, false),
        (None, Some(compressed)) if !compressed.is_empty() => (compressed, true),
        _ => return Err(GroupError::Malformed("not one body")),
    };
    // The signature is cheaper than what a forged message could make us decompress.
    if !verify_ed25519(&from, &[stored, group].concat(), &signature) {
        return Err(GroupError::BadSignature);
    }
    let sender = ed25519_to_x25519(&from).ok_or(GroupError::BadSender)?;
    let body = if compressed {
        decompress(stored).ok_or(GroupError::BadCompression)?
    } else {
        stored.to_vec()
    };
    Ok(Decrypted {
        sender: AccountId::from_x25519(sender),
        body,
    })
}

/// One zstd frame, up to [`MAX_BODY`] bytes of content; `None` for more, and for anything else.
pub fn decompress(compressed: &[u8]) -> Option<Vec<u8>> {
    let decoder = StreamingDecoder::new_with_max_window_size(compressed, MAX_WINDOW).ok()?;
    let mut body = Vec::new();
    let limit = MAX_BODY as u64 + 1;
    decoder.take(limit).read_to_end(&mut body).ok()?;
    (body.len() <= MAX_BODY).then_some(body)
}

/// Reads a notice of a group's namespace -11 by which its admins say that this account was removed: the key
/// generation from which on that holds. `None` for notices to others, and for anything else. It counts only if the
/// generation known here is not newer.
pub fn kicked_generation(own: &AccountKeys, group: &[u8; 32], payload: &[u8]) -> Option<u64> {
    let sender = ed25519_to_x25519(group)?;
    let notice = multi_encrypt::decrypt(own, &sender, KICKED_DOMAIN, payload)?;
    let (named, generation) = notice.split_first_chunk::<32>()?;
    if *named != own.x25519_public() || !generation.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(generation).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content;
    use crate::test_rng::Counting;
    use proptest::prelude::*;

    const TIME: u64 = 1_760_000_000_000;
    const KEY: [u8; 32] = [9; 32];

    fn keys(byte: u8) -> AccountKeys {
        AccountKeys::from_ed25519_seed(&[byte; 32])
    }

    fn group() -> [u8; 32] {
        keys(100).ed25519_public()
    }

    fn signed(entries: &[(&[u8], Value<'_>)], stored: &[u8]) -> Vec<u8> {
        let own = keys(1).ed25519_public();
        let signature = keys(1).sign(&[stored, &group()].concat());
        let mut dict = BTreeMap::from([
            (b"".as_slice(), Value::Int(1)),
            (b"a", Value::Bytes(&own)),
            (b"s", Value::Bytes(&signature)),
        ]);
        dict.extend(entries.iter().cloned());
        Value::Dict(dict).to_bytes()
    }

    /// A zstd frame whose one block repeats a byte `length` times (a compressed block of type RLE).
    fn repeated(byte: u8, length: u32) -> Vec<u8> {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
        let blocks = length.div_ceil(1 << 17).max(1);
        for block in 0..blocks {
            let size = (length - block * (1 << 17)).min(1 << 17);
            let last = u32::from(block + 1 == blocks);
            frame.extend_from_slice(&((size << 3) | (1 << 1) | last).to_le_bytes()[..3]);
            frame.push(byte);
        }
        frame
    }

    #[test]
    fn a_message_crosses_and_names_its_sender() {
        let text = content::text("hi", TIME, None, Some("Ann"));
        let sealed = seal(
            &mut Counting::default(),
            &keys(1),
            &group(),
            &KEY,
            TIME,
            &text,
        )
        .unwrap();
        assert_eq!(sealed.len() % BLOCK, 0);
        let opened = open(&group(), &[[1; 32], KEY], &sealed).unwrap();
        assert_eq!(opened.sender, keys(1).account_id());
        assert_eq!((opened.timestamp, opened.content_bytes), (TIME, text));
        let other = keys(101).ed25519_public();
        let reason = |group, key| open(&group, &[key], &sealed).unwrap_err().reason();
        assert_eq!(reason(other, KEY), "BAD_SIGNATURE");
        assert_eq!(reason(group(), [1; 32]), "NO_KEY");
    }

    #[test]
    fn a_signed_time_that_differs_is_refused() {
        let text = content::text("hi", TIME + 1, None, None);
        let sealed = seal(
            &mut Counting::default(),
            &keys(1),
            &group(),
            &KEY,
            TIME,
            &text,
        )
        .unwrap();
        assert_eq!(
            open(&group(), &[KEY], &sealed).unwrap_err().reason(),
            "BAD_CONTENT"
        );
    }

    #[test]
    fn dictionaries_must_be_as_they_are_written() {
        let reason = |plain: &[u8]| match read_plaintext(&group(), plain) {
            Ok(_) => "OK",
            Err(error) => error.reason(),
        };
        let body = || Value::Bytes(b"body");
        let with = |entries: &[(&[u8], Value<'_>)]| reason(&signed(entries, b"body"));
        assert_eq!(with(&[(b"d", body())]), "OK");
        assert_eq!(with(&[(b"d", body()), (b"zz", Value::Int(1))]), "OK");
        for wrong in [
            &[(b"".as_slice(), Value::Int(2)), (b"d", body())][..],
            &[(b"", Value::Bytes(b"1")), (b"d", body())],
            &[(b"d", body()), (b"z", body())],
            &[],
            &[(b"d", Value::Bytes(b""))],
            &[(b"d", body()), (b"a", Value::Bytes(b"short"))],
            &[(b"d", body()), (b"s", Value::Bytes(b"short"))],
        ] {
            assert_eq!(with(wrong), "BAD_GROUP_MESSAGE", "{wrong:?}");
        }
        assert_eq!(with(&[(b"d", Value::Bytes(b"other"))]), "BAD_SIGNATURE");
        let plain = signed(&[(b"d", body())], b"body");
        assert_eq!(reason(&[&plain[..], &[0; 99]].concat()), "OK");
        assert_eq!(reason(&[&plain[..], b"e"].concat()), "BAD_GROUP_MESSAGE");
        assert_eq!(reason(b"le"), "BAD_GROUP_MESSAGE");
        assert_eq!(reason(b""), "BAD_GROUP_MESSAGE");
    }

    #[test]
    fn decompression_ends_at_its_limit() {
        let most = u32::try_from(MAX_BODY).unwrap();
        assert_eq!(decompress(&repeated(7, most)).unwrap(), vec![7; MAX_BODY]);
        assert_eq!(decompress(&repeated(7, most + 1)), None);
        // 76 KB that would become 2.5 GB.
        let bomb = repeated(7, 19_000 << 17 >> 1);
        assert!(bomb.len() < MAX_DATA);
        let plain = signed(&[(b"z", Value::Bytes(&bomb))], &bomb);
        assert_eq!(
            read_plaintext(&group(), &plain),
            Err(GroupError::BadCompression)
        );
        // A window of 16 MiB, and one of 128 GiB, for nothing.
        for window in [0x70, 0xd8] {
            let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 0x01, 0x00, 0x00];
            assert_eq!(decompress(&frame), None, "{window:#x}");
        }
    }

    #[test]
    fn too_large_a_body_is_not_written() {
        let body = vec![1; MAX_DATA];
        let written = encrypt(&mut Counting::default(), &keys(1), &group(), &KEY, &body);
        assert!(written.is_err());
    }

    #[test]
    fn a_notice_counts_for_whom_it_names() {
        let notice = |named: [u8; 32], generation: &[u8]| {
            let text = [&named[..], generation].concat();
            let to = [(keys(2).x25519_public(), text.as_slice())];
            let rng = &mut Counting::default();
            let blob = multi_encrypt::encrypt(rng, &keys(100), KICKED_DOMAIN, &to, 0).unwrap();
            kicked_generation(&keys(2), &group(), &blob)
        };
        let own = keys(2).x25519_public();
        assert_eq!(notice(own, b"12"), Some(12));
        assert_eq!(notice(keys(3).x25519_public(), b"12"), None);
        for wrong in [b"".as_slice(), b"+1", b"-1", b"1 ", b"99999999999999999999"] {
            assert_eq!(notice(own, wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn every_body_survives(body in prop::collection::vec(any::<u8>(), 1..2000)) {
            let sealed = encrypt(&mut Counting::default(), &keys(1), &group(), &KEY, &body).unwrap();
            let opened = decrypt(&group(), &[KEY], &sealed).unwrap();
            prop_assert_eq!(opened.sender, keys(1).account_id());
            prop_assert_eq!(opened.body, body);
        }

        #[test]
        fn any_bytes_get_an_answer(bytes: Vec<u8>) {
            prop_assert!(open(&group(), &[KEY], &bytes).is_err());
            prop_assert!(read_plaintext(&group(), &bytes).is_err());
            prop_assert_eq!(kicked_generation(&keys(2), &group(), &bytes), None);
            let _ = decompress(&bytes);
        }

        #[test]
        fn any_damage_to_a_frame_gets_an_answer(at in 0_usize..60, byte: u8, length in 0_u32..2_000_000) {
            let mut frame = repeated(7, length);
            let at = at % frame.len();
            frame[at] = byte;
            prop_assert!(decompress(&frame).is_none_or(|body| body.len() <= MAX_BODY));
        }
    }
}
