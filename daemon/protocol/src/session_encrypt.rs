//! One-to-one encryption, version 1: a signed plaintext in a sealed box.
//!
//! Facts: messages.md 2.1. The sender is authenticated by the inner signature and by nothing else; the
//! recipient's key is part of what is signed, so a recipient cannot pass the message on as addressed to another.

use rand_core::CryptoRng;
use sha2::{Digest as _, Sha512};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use crate::blake2b::keyed32;
use crate::identity::{AccountId, AccountKeys, verify_ed25519};
use crate::sealed_box::{self, SealedBoxError};
use crate::senders::{Sender, Senders};

/// Bytes behind the plaintext inside the box: sender's Ed25519 key and signature.
const TRAILER: usize = 32 + 64;

/// Shortest ciphertext that can open: that of an empty plaintext.
pub const MIN_CIPHERTEXT: usize = sealed_box::OVERHEAD + TRAILER;

/// Key of the hash from which the deterministic variant draws its ephemeral key.
const DETERMINISTIC_KEY: &[u8] = b"SessionBoxEphemeralHashKey";

/// Why a ciphertext is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// Shorter than any ciphertext can be.
    #[error("ciphertext is too short")]
    TooShort,
    /// Not sealed to this account, or damaged.
    #[error("ciphertext is not for this account, or damaged")]
    NotForUs,
    /// The inner signature does not fit sender, recipient and plaintext.
    #[error("inner signature is wrong")]
    BadSignature,
    /// The sender's key has no X25519 form.
    #[error("sender's key cannot be used")]
    BadSender,
}

/// What a ciphertext held.
pub struct Decrypted {
    /// The plaintext; padded as the writer padded it.
    pub plaintext: Vec<u8>,
    /// Who signed it.
    pub sender: AccountId,
    /// Ed25519 key of the sender.
    pub sender_ed25519: [u8; 32],
}

/// Encrypts to `recipient` with a random ephemeral key. Fails only for a recipient key of small order.
pub fn encrypt<R: CryptoRng + ?Sized>(
    rng: &mut R,
    sender: &AccountKeys,
    recipient: &AccountId,
    plaintext: &[u8],
) -> Result<Vec<u8>, SealedBoxError> {
    sealed_box::seal(
        rng,
        recipient.x25519(),
        &signed_plaintext(sender, recipient, plaintext),
    )
}

/// The variant whose ephemeral key follows from the input, so that equal input gives equal bytes.
pub fn encrypt_deterministic(
    sender: &AccountKeys,
    recipient: &AccountId,
    plaintext: &[u8],
) -> Result<Vec<u8>, SealedBoxError> {
    let seed = keyed32(
        DETERMINISTIC_KEY,
        &[sender.ed25519_seed(), recipient.x25519(), plaintext],
    )
    .map(Zeroizing::new)
    .ok_or(SealedBoxError)?;
    // crypto_box_seed_keypair: the first half of SHA-512 of the seed.
    let digest = Zeroizing::new(<[u8; 64]>::from(Sha512::digest(*seed)));
    let mut secret = Zeroizing::new([0; 32]);
    secret.copy_from_slice(&digest[..32]);
    let ephemeral = StaticSecret::from(*secret);
    sealed_box::seal_with(
        &ephemeral,
        recipient.x25519(),
        &signed_plaintext(sender, recipient, plaintext),
    )
}

/// Plaintext, sender's Ed25519 key, signature over plaintext, that key and the recipient's key.
pub fn signed_plaintext(
    sender: &AccountKeys,
    recipient: &AccountId,
    plaintext: &[u8],
) -> Zeroizing<Vec<u8>> {
    let mut inner = Zeroizing::new(Vec::with_capacity(plaintext.len() + TRAILER));
    inner.extend_from_slice(plaintext);
    inner.extend_from_slice(&sender.ed25519_public());
    inner.extend_from_slice(recipient.x25519());
    let signature = sender.sign(&inner);
    inner.truncate(plaintext.len() + 32);
    inner.extend_from_slice(&signature);
    inner
}

/// Opens a ciphertext and authenticates its sender. Checks in the order of messages.md 2.1.
pub fn decrypt(recipient: &AccountKeys, ciphertext: &[u8]) -> Result<Decrypted, DecryptError> {
    decrypt_with(recipient, ciphertext, &())
}

/// As [`decrypt`], with senders that were checked before.
pub fn decrypt_with(
    recipient: &AccountKeys,
    ciphertext: &[u8],
    senders: &impl Senders,
) -> Result<Decrypted, DecryptError> {
    if ciphertext.len() < MIN_CIPHERTEXT {
        return Err(DecryptError::TooShort);
    }
    let mut inner = sealed_box::open(
        recipient.x25519_secret(),
        &recipient.x25519_public(),
        ciphertext,
    )
    .map_err(|SealedBoxError| DecryptError::NotForUs)?;
    let (rest, signature) = inner
        .split_last_chunk::<64>()
        .ok_or(DecryptError::TooShort)?;
    let (plaintext, sender_ed25519) = rest
        .split_last_chunk::<32>()
        .ok_or(DecryptError::TooShort)?;
    let (signature, sender_ed25519, length) = (*signature, *sender_ed25519, plaintext.len());
    inner.truncate(length + 32);
    inner.extend_from_slice(&recipient.x25519_public());
    let sender = match senders.known(&sender_ed25519) {
        Some(sender) if sender.signed(&inner, &signature) => sender.id(),
        Some(_) => return Err(DecryptError::BadSignature),
        None => {
            if !verify_ed25519(&sender_ed25519, &inner, &signature) {
                return Err(DecryptError::BadSignature);
            }
            let sender = Sender::new(&sender_ed25519).ok_or(DecryptError::BadSender)?;
            let id = sender.id();
            senders.met(sender);
            id
        }
    };
    inner.truncate(length);
    Ok(Decrypted {
        plaintext: inner,
        sender,
        sender_ed25519,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::AccountSeed;
    use crate::test_rng::Counting;
    use proptest::prelude::*;

    fn keys(byte: u8) -> AccountKeys {
        AccountKeys::from_seed(&AccountSeed::from_bytes([byte; 16]))
    }

    #[test]
    fn the_deterministic_variant_agrees_with_messages_12_4() {
        let mut seed = [0; 16];
        hex::decode_to_slice("0123456789abcdef0123456789abcdef", &mut seed).unwrap();
        let sender = AccountKeys::from_seed(&AccountSeed::from_bytes(seed));
        let recipient = "05aa654f00fc39fc69fd0db829410ca38177d7732a8d2f0934ab3872ac56d5aa74"
            .parse()
            .unwrap();
        let expected = "208f96785db92319bc7a14afecc01e17bde912d17bbb32834c03ea63b1862c2a1b730e0725ef75b2f1a276db584c59a0\
            ed9b5497bcb9f4effa893b5cb8b04dbe7a6ab457ebf972f03b006dd4572980a725399616d40184b86aa3b7b218bdc6dd\
            7c1adccda8ef4897f0f458492240b39079c27a6c791067ab26a03067a7602b50f0434639906f93e548f909d5286edde3\
            65ebddc146";
        let ciphertext = encrypt_deterministic(&sender, &recipient, b"hello").unwrap();
        assert_eq!(hex::encode(ciphertext), expected);
    }

    #[test]
    fn a_message_cannot_be_passed_on_as_addressed_to_another() {
        let (a, b, c) = (keys(1), keys(2), keys(3));
        let inner = signed_plaintext(&a, &b.account_id(), b"for b");
        let mut rng = Counting::default();
        let passed_on = sealed_box::seal(&mut rng, &c.x25519_public(), &inner).unwrap();
        assert_eq!(
            decrypt(&c, &passed_on).err(),
            Some(DecryptError::BadSignature)
        );
    }

    proptest! {
        #[test]
        fn opens_for_the_recipient_and_names_the_sender(plaintext: Vec<u8>) {
            let (a, b) = (keys(1), keys(2));
            let random = encrypt(&mut Counting::default(), &a, &b.account_id(), &plaintext).unwrap();
            let fixed = encrypt_deterministic(&a, &b.account_id(), &plaintext).unwrap();
            for ciphertext in [random, fixed] {
                let opened = decrypt(&b, &ciphertext).ok().unwrap();
                prop_assert_eq!(&opened.plaintext, &plaintext);
                prop_assert_eq!(opened.sender, a.account_id());
                prop_assert_eq!(opened.sender_ed25519, a.ed25519_public());
                prop_assert_eq!(decrypt(&a, &ciphertext).err(), Some(DecryptError::NotForUs));
            }
        }

        #[test]
        fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(decrypt(&keys(1), &bytes).is_err());
        }

        #[test]
        fn any_box_for_us_gets_an_answer(inner in prop::collection::vec(any::<u8>(), 0..200)) {
            let us = keys(1);
            let sealed = sealed_box::seal(&mut Counting::default(), &us.x25519_public(), &inner).unwrap();
            let expected = if inner.len() < TRAILER { DecryptError::TooShort } else { DecryptError::BadSignature };
            prop_assert_eq!(decrypt(&us, &sealed).err(), Some(expected));
        }
    }
}
