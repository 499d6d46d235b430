//! BLAKE2b with the digest sizes and inputs that the protocol uses.
//!
//! `BLAKE2b-N` is the hash with an N-byte digest *parameter*, not a cut longer digest (network.md 0.2).

use blake2::digest::{Digest as _, KeyInit as _, Mac as _, consts};
use blake2::{Blake2b, Blake2bMac};

/// Unkeyed BLAKE2b-32 of the concatenated parts.
pub fn hash32(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = Blake2b::<consts::U32>::new();
    parts.iter().for_each(|part| state.update(part));
    state.finalize().into()
}

/// Unkeyed BLAKE2b-24 of the concatenated parts: the nonce of a sealed box.
pub fn hash24(parts: &[&[u8]]) -> [u8; 24] {
    let mut state = Blake2b::<consts::U24>::new();
    parts.iter().for_each(|part| state.update(part));
    state.finalize().into()
}

/// Unkeyed BLAKE2b-64 of the concatenated parts.
pub fn hash64(parts: &[&[u8]]) -> [u8; 64] {
    let mut state = Blake2b::<consts::U64>::new();
    parts.iter().for_each(|part| state.update(part));
    state.finalize().into()
}

/// BLAKE2b-64 keyed with `key`. `None` as for [`keyed32`].
pub fn keyed64(key: &[u8], parts: &[&[u8]]) -> Option<[u8; 64]> {
    if key.is_empty() || key.len() > 64 {
        return None;
    }
    let mut state = Blake2bMac::<consts::U64>::new_from_slice(key).ok()?;
    parts.iter().for_each(|part| state.update(part));
    Some(state.finalize().into_bytes().into())
}

/// BLAKE2b-64 without key but with a personalisation.
pub fn personal64(personal: &[u8; 16], parts: &[&[u8]]) -> Option<[u8; 64]> {
    let mut state =
        Blake2bMac::<consts::U64>::new_with_salt_and_personal(None, &[], personal).ok()?;
    parts.iter().for_each(|part| state.update(part));
    Some(state.finalize().into_bytes().into())
}

/// BLAKE2b-32 keyed with `key`. `None` when the key is empty or longer than 64 bytes, which BLAKE2b does
/// not allow (the crate panics for 65 to 128 bytes, so the length is checked here).
pub fn keyed32(key: &[u8], parts: &[&[u8]]) -> Option<[u8; 32]> {
    if key.is_empty() || key.len() > 64 {
        return None;
    }
    let mut state = Blake2bMac::<consts::U32>::new_from_slice(key).ok()?;
    parts.iter().for_each(|part| state.update(part));
    Some(state.finalize().into_bytes().into())
}
