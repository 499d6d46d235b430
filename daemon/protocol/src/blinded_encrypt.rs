//! Encryption of direct messages between members of a community that know each other's blinded identifiers only.
//!
//! Layout: version 0, XChaCha20-Poly1305 of plaintext and sender's Ed25519 key, nonce (24).
//! Facts: messages.md 2.3, communities.md 12.

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use curve25519_dalek::EdwardsPoint;
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::IsIdentity as _;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::blake2b::hash32;
use crate::blinding::{BlindedKeys, Blinding, blind_ed25519, secret_scalar};
use crate::identity::{AccountId, AccountKeys, Identifier, Prefix, ed25519_to_x25519};

const NONCE: usize = 24;

/// Shortest ciphertext that can open: version, sender's key, tag and nonce.
pub const MIN_CIPHERTEXT: usize = 1 + 32 + 16 + NONCE;

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlindedError {
    /// An identifier without or with different blindings, or one that is no usable point.
    #[error("identifier cannot be used")]
    BadIdentifier,
    /// Shorter than any ciphertext.
    #[error("ciphertext is too short")]
    TooShort,
    /// A version other than 0.
    #[error("unknown version of blinded encryption")]
    UnknownVersion,
    /// Neither sender nor recipient is this account.
    #[error("this account takes no part in the message")]
    NotAParty,
    /// Damaged, or from other parties.
    #[error("ciphertext does not open")]
    DoesNotOpen,
    /// The key inside is not the one behind the outer sender.
    #[error("sender is not who the message says")]
    BadSender,
}

/// What a message held.
pub struct Decrypted {
    /// The plaintext; padded as the writer padded it.
    pub plaintext: Vec<u8>,
    /// The account behind the blinded sender.
    pub sender: AccountId,
}

/// Encrypts to the blinded `recipient`, under the own blinded identity on the server.
pub fn encrypt<R: CryptoRng + ?Sized>(
    rng: &mut R,
    sender: &AccountKeys,
    recipient: &Identifier,
    server: &[u8; 32],
    plaintext: &[u8],
) -> Result<Vec<u8>, BlindedError> {
    let blinding = blinding_of(recipient)?;
    let own = BlindedKeys::new(blinding, sender, server);
    let key = shared_key(blinding, sender, &own, recipient, &own.id(), recipient)?;
    let mut nonce = [0; NONCE];
    rng.fill_bytes(&mut nonce);
    let mut inner = Zeroizing::new(Vec::with_capacity(plaintext.len() + 32));
    inner.extend_from_slice(plaintext);
    inner.extend_from_slice(&sender.ed25519_public());
    let ciphertext = XChaCha20Poly1305::new((&*key).into())
        .encrypt(&nonce.into(), inner.as_slice())
        .map_err(|_| BlindedError::DoesNotOpen)?;
    Ok([&[0], ciphertext.as_slice(), &nonce].concat())
}

/// Opens a message between the blinded `sender` and `recipient`, one of whom is this account.
pub fn decrypt(
    account: &AccountKeys,
    sender: &Identifier,
    recipient: &Identifier,
    server: &[u8; 32],
    message: &[u8],
) -> Result<Decrypted, BlindedError> {
    if message.len() < MIN_CIPHERTEXT {
        return Err(BlindedError::TooShort);
    }
    let [0, rest @ ..] = message else {
        return Err(BlindedError::UnknownVersion);
    };
    let (ciphertext, nonce) = rest
        .split_last_chunk::<NONCE>()
        .ok_or(BlindedError::TooShort)?;
    let blinding = blinding_of(sender)?;
    if blinding_of(recipient)? != blinding {
        return Err(BlindedError::BadIdentifier);
    }
    let own = BlindedKeys::new(blinding, account, server);
    let other = match own.id() {
        id if id == *sender => recipient,
        id if id == *recipient => sender,
        _ => return Err(BlindedError::NotAParty),
    };
    let key = shared_key(blinding, account, &own, other, sender, recipient)?;
    let mut plaintext = XChaCha20Poly1305::new((&*key).into())
        .decrypt(nonce.into(), ciphertext)
        .map_err(|_| BlindedError::DoesNotOpen)?;
    let (content, inner_key) = plaintext
        .split_last_chunk::<32>()
        .ok_or(BlindedError::TooShort)?;
    let (length, inner_key) = (content.len(), *inner_key);
    if blind_ed25519(blinding, &inner_key, server) != Some(*sender) {
        return Err(BlindedError::BadSender);
    }
    let x25519 = ed25519_to_x25519(&inner_key).ok_or(BlindedError::BadSender)?;
    plaintext.truncate(length);
    Ok(Decrypted {
        plaintext,
        sender: AccountId::from_x25519(x25519),
    })
}

fn blinding_of(id: &Identifier) -> Result<Blinding, BlindedError> {
    match id.prefix {
        Prefix::Blinded15 => Ok(Blinding::V15),
        Prefix::Blinded25 => Ok(Blinding::V25),
        _ => Err(BlindedError::BadIdentifier),
    }
}

/// `sender` and `recipient` are those of the message, whoever reads it.
fn shared_key(
    blinding: Blinding,
    account: &AccountKeys,
    own: &BlindedKeys,
    other: &Identifier,
    sender: &Identifier,
    recipient: &Identifier,
) -> Result<Zeroizing<[u8; 32]>, BlindedError> {
    let point = usable_point(&other.key).ok_or(BlindedError::BadIdentifier)?;
    let product = match blinding {
        // Both ends have the same factor, so leaving it out at one end gives both the same point.
        Blinding::V15 => *secret_scalar(account) * point,
        Blinding::V25 => own.scalar() * point,
    };
    let shared = Zeroizing::new(product.compress().to_bytes());
    Ok(Zeroizing::new(hash32(&[
        &*shared,
        &sender.key,
        &recipient.key,
    ])))
}

/// A point of the prime-order group other than its neutral element.
fn usable_point(key: &[u8; 32]) -> Option<EdwardsPoint> {
    CompressedEdwardsY(*key)
        .decompress()
        .filter(|point| point.is_torsion_free() && !point.is_identity())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rng::Counting;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_plaintext_survives(plaintext: Vec<u8>, server: [u8; 32]) {
            let [a, b] = [1, 2].map(|byte| AccountKeys::from_ed25519_seed(&[byte; 32]));
            for blinding in [Blinding::V15, Blinding::V25] {
                let [from, to] = [&a, &b].map(|keys| BlindedKeys::new(blinding, keys, &server).id());
                let sealed = encrypt(&mut Counting::default(), &a, &to, &server, &plaintext);
                let opened = decrypt(&b, &from, &to, &server, &sealed.unwrap()).ok().unwrap();
                prop_assert_eq!(&opened.plaintext, &plaintext);
            }
        }

        #[test]
        fn any_bytes_and_identifiers_get_an_answer(
            mut message in prop::collection::vec(any::<u8>(), 0..150),
            other: [u8; 32],
        ) {
            let (account, server) = (AccountKeys::from_ed25519_seed(&[1; 32]), [0x42; 32]);
            if let Some(version) = message.first_mut() {
                *version &= 1;
            }
            let own = BlindedKeys::new(Blinding::V15, &account, &server).id();
            for prefix in [Prefix::Blinded15, Prefix::Blinded25, Prefix::Standard] {
                let other = Identifier { prefix, key: other };
                prop_assert!(decrypt(&account, &own, &other, &server, &message).is_err());
                prop_assert!(decrypt(&account, &other, &own, &server, &message).is_err());
            }
        }
    }

    #[test]
    fn both_parties_open_it_and_nobody_else() {
        let server = [0x42; 32];
        let [a, b, c] = [1, 2, 3].map(|byte| AccountKeys::from_ed25519_seed(&[byte; 32]));
        for blinding in [Blinding::V15, Blinding::V25] {
            let [from, to] = [&a, &b].map(|keys| BlindedKeys::new(blinding, keys, &server).id());
            let sealed = encrypt(&mut Counting::default(), &a, &to, &server, b"hi").unwrap();
            for party in [&a, &b] {
                let opened = decrypt(party, &from, &to, &server, &sealed).ok().unwrap();
                assert_eq!(opened.plaintext, b"hi");
                assert_eq!(opened.sender, a.account_id());
            }
            let refused = decrypt(&c, &from, &to, &server, &sealed).err();
            assert_eq!(refused, Some(BlindedError::NotAParty));
            for at in 0..sealed.len() {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1;
                assert!(decrypt(&b, &from, &to, &server, &damaged).is_err());
            }
        }
    }

    #[test]
    fn an_inner_key_of_somebody_else_is_refused() {
        let server = [0x42; 32];
        let [a, b] = [1, 2].map(|byte| AccountKeys::from_ed25519_seed(&[byte; 32]));
        let [from, to] = [&a, &b].map(|keys| BlindedKeys::new(Blinding::V15, keys, &server));
        let key = shared_key(Blinding::V15, &a, &from, &to.id(), &from.id(), &to.id()).unwrap();
        let forged = XChaCha20Poly1305::new((&*key).into())
            .encrypt(&[7; 24].into(), b.ed25519_public().as_slice())
            .unwrap();
        let message = [&[0], forged.as_slice(), &[7; 24]].concat();
        let refused = decrypt(&b, &from.id(), &to.id(), &server, &message).err();
        assert_eq!(refused, Some(BlindedError::BadSender));
    }
}
