//! One message, or several, to several recipients in one blob: the notice to members removed from a group.
//!
//! Layout: a bencoded dictionary of one nonce and a list of ciphertexts, in which each recipient tries its key.
//! Facts: messages.md 2.5, vectors/README.md (junk entries).

use std::collections::BTreeMap;

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use rand_core::CryptoRng;
use x25519_dalek::PublicKey;
use zeroize::Zeroizing;

use crate::blake2b::keyed32;
use crate::bt::{self, Value};
use crate::identity::AccountKeys;

/// Domain of the notice to removed members of a group.
pub const KICKED_DOMAIN: &str = "SessionGroupKickedMessage";

/// Entries that are tried; further ones are ignored. Groups have at most 100 members.
const MAX_ENTRIES: usize = 1000;

/// Why nothing can be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultiEncryptError {
    /// The domain has no or more than 64 bytes.
    #[error("domain has a bad length")]
    BadDomain,
    /// A recipient's key is of small order.
    #[error("key of a recipient cannot be used")]
    WeakKey,
    /// The cipher refused the length.
    #[error("message is too long")]
    TooLong,
}

/// Encrypts a message to each X25519 key. `pad` above 1 adds junk entries, as long as the first message, until the
/// number of entries is a multiple of it.
pub fn encrypt<R: CryptoRng + ?Sized>(
    rng: &mut R,
    sender: &AccountKeys,
    domain: &str,
    messages: &[([u8; 32], &[u8])],
    pad: usize,
) -> Result<Vec<u8>, MultiEncryptError> {
    let mut nonce = [0; 24];
    rng.fill_bytes(&mut nonce);
    let public = sender.x25519_public();
    let mut entries = Vec::with_capacity(messages.len());
    for (recipient, message) in messages {
        let key = key(sender, recipient, &public, recipient, domain)?;
        let entry = XChaCha20Poly1305::new((&*key).into())
            .encrypt(&nonce.into(), *message)
            .map_err(|_| MultiEncryptError::TooLong)?;
        entries.push(entry);
    }
    let junk_length = messages.first().map_or(0, |(_, message)| message.len());
    while pad > 1 && entries.len() % pad != 0 {
        let mut junk = vec![0; junk_length];
        rng.fill_bytes(&mut junk);
        entries.push(junk);
    }
    let list = entries.iter().map(|entry| Value::Bytes(entry)).collect();
    let outer = BTreeMap::from([
        (b"#".as_slice(), Value::Bytes(&nonce)),
        (b"e".as_slice(), Value::List(list)),
    ]);
    Ok(Value::Dict(outer).to_bytes())
}

/// Finds and opens the entry for this account in what the owner of the X25519 key `sender` wrote. `None` when there
/// is none, or the blob is malformed.
pub fn decrypt(
    recipient: &AccountKeys,
    sender: &[u8; 32],
    domain: &str,
    encoded: &[u8],
) -> Option<Vec<u8>> {
    let outer = bt::parse(encoded).ok()?;
    let outer = outer.as_dict()?;
    let nonce: [u8; 24] = outer.get(b"#".as_slice())?.as_bytes()?.try_into().ok()?;
    let entries = outer.get(b"e".as_slice())?.as_list()?;
    let key = key(
        recipient,
        sender,
        sender,
        &recipient.x25519_public(),
        domain,
    )
    .ok()?;
    let cipher = XChaCha20Poly1305::new((&*key).into());
    entries
        .iter()
        .take(MAX_ENTRIES)
        .filter_map(Value::as_bytes)
        .find_map(|entry| cipher.decrypt(&nonce.into(), entry).ok())
}

/// The key between `own` and `theirs`; the sender's public key comes first, whoever derives it.
fn key(
    own: &AccountKeys,
    theirs: &[u8; 32],
    sender: &[u8; 32],
    recipient: &[u8; 32],
    domain: &str,
) -> Result<Zeroizing<[u8; 32]>, MultiEncryptError> {
    let shared = own
        .x25519_secret()
        .diffie_hellman(&PublicKey::from(*theirs));
    if !shared.was_contributory() {
        return Err(MultiEncryptError::WeakKey);
    }
    keyed32(domain.as_bytes(), &[shared.as_bytes(), sender, recipient])
        .map(Zeroizing::new)
        .ok_or(MultiEncryptError::BadDomain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rng::Counting;
    use proptest::prelude::*;

    fn keys(byte: u8) -> AccountKeys {
        AccountKeys::from_ed25519_seed(&[byte; 32])
    }

    proptest! {
        #[test]
        fn each_recipient_finds_its_own(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), pad in 0_usize..5) {
            let sender = keys(200);
            let recipients: Vec<AccountKeys> = (1..).map(keys).take(messages.len()).collect();
            let list: Vec<([u8; 32], &[u8])> = recipients
                .iter()
                .map(AccountKeys::x25519_public)
                .zip(messages.iter().map(Vec::as_slice))
                .collect();
            let blob = encrypt(&mut Counting::default(), &sender, "test", &list, pad).unwrap();
            for (recipient, message) in recipients.iter().zip(&messages) {
                let found = decrypt(recipient, &sender.x25519_public(), "test", &blob);
                prop_assert_eq!(found.as_ref(), Some(message));
                prop_assert_eq!(decrypt(recipient, &sender.x25519_public(), "other", &blob), None);
            }
            prop_assert_eq!(decrypt(&keys(100), &sender.x25519_public(), "test", &blob), None);
        }

        #[test]
        fn any_bytes_get_an_answer(blob: Vec<u8>) {
            prop_assert_eq!(decrypt(&keys(1), &keys(2).x25519_public(), "test", &blob), None);
        }
    }
}
