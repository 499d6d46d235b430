//! The anonymous box around one-to-one messages: libsodium's `crypto_box_seal`.
//!
//! Layout: ephemeral X25519 key (32), Poly1305 tag (16), XSalsa20 ciphertext.
//! Facts: messages.md 2.1; the composition of the primitives was checked against libsodium. There is no crate
//! of the current generation for it, so the established primitives are put together here.

use poly1305::{Poly1305, universal_hash::KeyInit as _};
use rand_core::CryptoRng;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _, consts::U10};
use salsa20::{XSalsa20, hsalsa};
use subtle::ConstantTimeEq as _;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::blake2b::hash24;

/// Bytes that sealing adds.
pub const OVERHEAD: usize = 48;

/// The box does not open: wrong recipient, damaged, or too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed box does not open")]
pub struct SealedBoxError;

/// Seals with a fresh ephemeral key. Fails only for a recipient key of small order.
pub fn seal<R: CryptoRng + ?Sized>(
    rng: &mut R,
    recipient: &[u8; 32],
    plaintext: &[u8],
) -> Result<Vec<u8>, SealedBoxError> {
    let mut secret = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *secret);
    seal_with(&StaticSecret::from(*secret), recipient, plaintext)
}

/// Seals with the given ephemeral key, which must not be used twice for different plaintexts.
pub fn seal_with(
    ephemeral: &StaticSecret,
    recipient: &[u8; 32],
    plaintext: &[u8],
) -> Result<Vec<u8>, SealedBoxError> {
    let public = PublicKey::from(ephemeral).to_bytes();
    let (mut cipher, mac_key) = streams(ephemeral, recipient, &public, recipient)?;
    let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
    sealed.extend_from_slice(&public);
    sealed.extend_from_slice(&[0; 16]);
    sealed.extend_from_slice(plaintext);
    cipher.apply_keystream(&mut sealed[OVERHEAD..]);
    let tag = Poly1305::new((&*mac_key).into()).compute_unpadded(&sealed[OVERHEAD..]);
    sealed[32..OVERHEAD].copy_from_slice(&tag);
    Ok(sealed)
}

/// Opens a box that was sealed to `recipient`, whose public key is `own`.
pub fn open(
    recipient: &StaticSecret,
    own: &[u8; 32],
    sealed: &[u8],
) -> Result<Vec<u8>, SealedBoxError> {
    let (public, rest) = sealed.split_first_chunk::<32>().ok_or(SealedBoxError)?;
    let (tag, ciphertext) = rest.split_first_chunk::<16>().ok_or(SealedBoxError)?;
    let (mut cipher, mac_key) = streams(recipient, public, public, own)?;
    let computed = Poly1305::new((&*mac_key).into()).compute_unpadded(ciphertext);
    if !bool::from(computed.as_slice().ct_eq(tag)) {
        return Err(SealedBoxError);
    }
    let mut plaintext = ciphertext.to_vec();
    cipher.apply_keystream(&mut plaintext);
    Ok(plaintext)
}

/// The cipher behind its first 32 keystream bytes, and those bytes: the one-time MAC key.
fn streams(
    secret: &StaticSecret,
    their_public: &[u8; 32],
    ephemeral_public: &[u8; 32],
    recipient: &[u8; 32],
) -> Result<(XSalsa20, Zeroizing<[u8; 32]>), SealedBoxError> {
    let shared = secret.diffie_hellman(&PublicKey::from(*their_public));
    if !shared.was_contributory() {
        return Err(SealedBoxError);
    }
    // The type argument of hsalsa counts double rounds.
    let key: Zeroizing<[u8; 32]> =
        Zeroizing::new(hsalsa::<U10>(shared.as_bytes().into(), &[0; 16].into()).into());
    let nonce = hash24(&[ephemeral_public, recipient]);
    let mut cipher = XSalsa20::new((&*key).into(), (&nonce).into());
    let mut mac_key = Zeroizing::new([0; 32]);
    cipher.apply_keystream(&mut *mac_key);
    Ok((cipher, mac_key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rng::Counting;
    use proptest::prelude::*;

    fn recipient() -> (StaticSecret, [u8; 32]) {
        let secret = StaticSecret::from([9; 32]);
        let public = PublicKey::from(&secret).to_bytes();
        (secret, public)
    }

    #[test]
    fn keys_of_small_order_are_refused_both_ways() {
        let mut rng = Counting::default();
        for weak in [[0; 32], {
            let mut one = [0; 32];
            one[0] = 1;
            one
        }] {
            assert_eq!(seal(&mut rng, &weak, b"x"), Err(SealedBoxError));
            let sealed = [weak.as_slice(), &[0; 40]].concat();
            assert_eq!(
                open(&recipient().0, &recipient().1, &sealed),
                Err(SealedBoxError)
            );
        }
    }

    proptest! {
        #[test]
        fn opens_for_the_recipient_alone(plaintext: Vec<u8>) {
            let (secret, public) = recipient();
            let sealed = seal(&mut Counting::default(), &public, &plaintext).unwrap();
            prop_assert_eq!(sealed.len(), plaintext.len() + OVERHEAD);
            prop_assert_eq!(open(&secret, &public, &sealed), Ok(plaintext));
            prop_assert_eq!(open(&StaticSecret::from([8; 32]), &public, &sealed), Err(SealedBoxError));
        }

        #[test]
        fn any_changed_bit_is_noticed(plaintext in prop::collection::vec(any::<u8>(), 0..40), at: prop::sample::Index, bit in 0..8) {
            let (secret, public) = recipient();
            let mut sealed = seal(&mut Counting::default(), &public, &plaintext).unwrap();
            // The top bit of an X25519 key is ignored by the curve but not by the nonce.
            let at = at.index(sealed.len());
            sealed[at] ^= 1_u8 << bit;
            prop_assert_eq!(open(&secret, &public, &sealed), Err(SealedBoxError));
        }

        #[test]
        fn any_bytes_get_an_answer(bytes: Vec<u8>) {
            prop_assert!(open(&recipient().0, &recipient().1, &bytes).is_err());
        }
    }
}
