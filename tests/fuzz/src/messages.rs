//! What others store for us: payloads of the own swarm and of groups, and the Contents inside.

use std::convert::Infallible;
use std::sync::LazyLock;

use prost::Message as _;
use rand_core::{TryCryptoRng, TryRng};
use session_protocol::content::visible::MAX_ATTACHMENTS;
use session_protocol::content::{self, Frame, Kind, MAX_RECEIVED_BODY, Place};
use session_protocol::group_message::{self, MAX_BODY};
use session_protocol::{AccountKeys, envelope, padding, v2};
use session_wire as wire;

/// The reader.
static READER: LazyLock<AccountKeys> = LazyLock::new(|| keys(2));

/// Somebody who writes to the reader; also the group's key pair.
static WRITER: LazyLock<AccountKeys> = LazyLock::new(|| keys(1));

/// Encryption key of the group.
const GROUP_KEY: [u8; 32] = [9; 32];

/// Sent timestamp of what is sealed here, ms.
const TIME: u64 = 1_760_000_000_000;

fn keys(byte: u8) -> AccountKeys {
    AccountKeys::from_ed25519_seed(&[byte; 32])
}

/// Gives the same bytes in every run.
struct Fixed;

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0x0707_0707)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0x0707_0707_0707_0707)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(7);
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

/// A payload as a swarm gives it, and the same bytes as a plaintext that somebody sealed to us.
pub fn namespace_0(data: &[u8]) {
    if let Ok(opened) = envelope::open(&READER, data) {
        judge(&opened.content);
    }
    let to = READER.account_id();
    if let Ok(sealed) = envelope::seal(&mut Fixed, &WRITER, &to, TIME, data)
        && let Ok(opened) = envelope::open(&READER, &sealed)
    {
        assert_eq!(opened.content_bytes, data);
        judge(&opened.content);
    }
}

/// A Content, padded or not.
pub fn content(data: &[u8]) {
    if let Ok(parsed) = wire::Content::decode(padding::unpad(data)) {
        judge(&parsed);
    }
}

/// What a kind promises: limits, and that it survives being written by us.
fn judge(parsed: &wire::Content) {
    let Ok(read) = content::read(parsed) else {
        return;
    };
    for place in [Place::OneToOne, Place::NoteToSelf, Place::Group] {
        assert!(read.expiration(place).is_none_or(|timer| timer.timer_s > 0));
    }
    if let Kind::Visible(visible) = &read.kind {
        assert!(visible.body.chars().count() <= MAX_RECEIVED_BODY);
        assert!(visible.attachments.len() <= MAX_ATTACHMENTS);
        let _ = content::mentions(&visible.body).count();
    }
    let frame = Frame {
        timestamp_ms: TIME,
        expiration: read.expiration(Place::OneToOne),
        profile: read.profile.as_ref(),
    };
    if let Ok(written) = read.kind.write(&frame) {
        let again = wire::Content::decode(written.as_slice());
        let again = again.ok().and_then(|parsed| content::read(&parsed).ok());
        assert_eq!(again.map(|read| read.kind), Some(read.kind));
    }
}

/// A payload of a group's swarm, and the same bytes as a plaintext under the group's key.
pub fn group_message(data: &[u8]) {
    let group = WRITER.ed25519_public();
    let read = group_message::open(&group, &[GROUP_KEY], data);
    if let Ok(opened) = read {
        judge(&opened.content);
    }
    if let Ok(decrypted) = group_message::read_plaintext(&group, data) {
        assert!(decrypted.body.len() <= MAX_BODY);
    }
    // As the Envelope that a member wrote.
    if let Ok(sealed) = group_message::encrypt(&mut Fixed, &READER, &group, &GROUP_KEY, data)
        && let Ok(opened) = group_message::open(&group, &[GROUP_KEY], &sealed)
    {
        judge(&opened.content);
    }
}

/// The compressed body of a group message.
pub fn decompress(data: &[u8]) {
    if let Some(body) = group_message::decompress(data) {
        assert!(body.len() <= MAX_BODY);
    }
}

/// A payload among the notices to removed members of a group.
pub fn kicked_notice(data: &[u8]) {
    let _ = group_message::kicked_generation(&READER, &WRITER.ed25519_public(), data);
}

/// Account keys and device groups of version 2.
pub fn version_2(data: &[u8]) {
    let _ = v2::account_keys(&READER.account_id(), data);
    let _ = v2::device_message(&READER.ed25519_public(), data);
}
