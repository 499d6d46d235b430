//! What a sender claims about Session Pro.
//!
//! Facts: messages.md 6.15. Nobody is taken for a subscriber: the two forms of proof exclude each other, and neither
//! is in use. A malformed claim counts as none and never costs the message.

use prost::Message as _;
use session_wire as wire;

/// Claimed, not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProClaim {
    /// Bit 0: badge shown; bit 1: animated picture.
    pub profile_bits: u64,
    /// Bit 0: body may have up to 10,000 code points.
    pub message_bits: u64,
    /// All parts of a proof are there, with the right lengths.
    pub has_proof: bool,
}

impl ProClaim {
    /// From the bytes of a ProMessage.
    pub(super) fn read(bytes: Option<&[u8]>) -> Option<Self> {
        let message = wire::ProMessage::decode(bytes?).ok()?;
        let has = |bytes: &Option<Vec<u8>>, length| {
            bytes.as_ref().is_some_and(|bytes| bytes.len() == length)
        };
        Some(Self {
            profile_bits: message.profile_bitset.unwrap_or(0),
            message_bits: message.message_bitset.unwrap_or(0),
            has_proof: message.proof.is_some_and(|proof| {
                has(&proof.revocation_tag, 32)
                    && has(&proof.rotating_public_key, 32)
                    && has(&proof.sig, 64)
                    && proof.expiry.is_some()
            }),
        })
    }
}
