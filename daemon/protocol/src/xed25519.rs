//! XEd25519: signatures by an X25519 key that verify as Ed25519 under the positive key of an account ID.
//!
//! Facts: v2.md 4.2. Verify with [`crate::identity::verify_ed25519`] and
//! [`crate::identity::x25519_to_ed25519_positive`].

use curve25519_dalek::{EdwardsPoint, Scalar};
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha512};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use crate::blake2b::personal64;

/// Signs `message`. Draws 64 bytes.
pub fn sign<R: CryptoRng + ?Sized>(rng: &mut R, secret: &StaticSecret, message: &[u8]) -> [u8; 64] {
    let bytes = Zeroizing::new(secret.to_bytes());
    let clamped = Zeroizing::new(curve25519_dalek::scalar::clamp_integer(*bytes));
    let mut scalar = Zeroizing::new(Scalar::from_bytes_mod_order(*clamped));
    // The official library hashes the secret as it multiplies by it: negated and reduced, or else unreduced.
    let mut hashed = clamped.clone();
    let mut public = EdwardsPoint::mul_base(&scalar).compress().to_bytes();
    if public[31] & 0x80 != 0 {
        *scalar = -*scalar;
        public[31] &= 0x7f;
        hashed.copy_from_slice(scalar.as_bytes());
    }
    let mut random = Zeroizing::new([0; 64]);
    rng.fill_bytes(&mut *random);
    // There is no key that could have a bad length, so there is always a hash; the random bytes alone would do.
    let draw = personal64(b"xed25519signatur", &[&*hashed, message, &*random]);
    let draw = Zeroizing::new(draw.unwrap_or(*random));
    let nonce = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&draw));
    let r = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
    let mut state = Sha512::new();
    for part in [r.as_slice(), &public, message] {
        state.update(part);
    }
    let hash = Scalar::from_bytes_mod_order_wide(&state.finalize().into());
    let s = *nonce + hash * *scalar;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(&s.to_bytes());
    signature
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{verify_ed25519, x25519_to_ed25519_positive};
    use crate::test_rng::Counting;

    #[test]
    fn signatures_verify_with_the_account_id_alone() {
        for byte in 1..20 {
            let secret = StaticSecret::from([byte; 32]);
            let public = x25519_dalek::PublicKey::from(&secret).to_bytes();
            let positive = x25519_to_ed25519_positive(&public).unwrap();
            let signature = sign(&mut Counting::default(), &secret, b"message");
            assert!(verify_ed25519(&positive, b"message", &signature));
            assert!(!verify_ed25519(&positive, b"massage", &signature));
        }
    }
}
