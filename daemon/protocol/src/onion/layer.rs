//! Encryption of one onion layer, for both directions and both sides (network.md 5.2).

use aes_gcm::Aes256Gcm;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit};
use hmac::{Hmac, Mac as _};
use rand_core::CryptoRng;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::blake2b::hash32;

/// How a layer is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum EncType {
    /// XChaCha20-Poly1305: what this project sends to service nodes.
    #[default]
    XChaCha20,
    /// AES-256-GCM: what a layer without `enc_type` means, and what some older servers know alone.
    AesGcm,
}

impl EncType {
    /// Name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XChaCha20 => "xchacha20",
            Self::AesGcm => "aes-gcm",
        }
    }

    /// Reads a name or one of its aliases. `aes-cbc`, which no client uses, is unknown here.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "xchacha20" | "xchacha20-poly1305" => Some(Self::XChaCha20),
            "aes-gcm" | "gcm" => Some(Self::AesGcm),
            _ => None,
        }
    }

    const fn nonce_length(self) -> usize {
        match self {
            Self::XChaCha20 => 24,
            Self::AesGcm => 12,
        }
    }
}

/// Why a layer cannot be made or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// The other side's key is of small order: no secret can be shared with it.
    #[error("key cannot be used")]
    WeakKey,
    /// Damaged, or encrypted to another key.
    #[error("layer does not decrypt")]
    Decrypt,
    /// The cipher refused the length.
    #[error("layer is too long")]
    TooLong,
}

/// The symmetric key of one layer. Request and answer use the same key with different nonces.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct LayerKey {
    #[zeroize(skip)]
    enc_type: EncType,
    key: [u8; 32],
}

impl LayerKey {
    /// The client's side: its ephemeral secret and the node's key.
    pub fn client(
        enc_type: EncType,
        ephemeral: &StaticSecret,
        node: &[u8; 32],
    ) -> Result<Self, LayerError> {
        Self::derive(
            enc_type,
            ephemeral,
            node,
            PublicKey::from(ephemeral).as_bytes(),
            node,
        )
    }

    /// The node's side: its secret and the client's ephemeral key.
    pub fn node(
        enc_type: EncType,
        node: &StaticSecret,
        ephemeral: &[u8; 32],
    ) -> Result<Self, LayerError> {
        Self::derive(
            enc_type,
            node,
            ephemeral,
            ephemeral,
            PublicKey::from(node).as_bytes(),
        )
    }

    fn derive(
        enc_type: EncType,
        secret: &StaticSecret,
        theirs: &[u8; 32],
        client: &[u8; 32],
        node: &[u8; 32],
    ) -> Result<Self, LayerError> {
        let shared = secret.diffie_hellman(&PublicKey::from(*theirs));
        if !shared.was_contributory() {
            return Err(LayerError::WeakKey);
        }
        let key = match enc_type {
            EncType::XChaCha20 => hash32(&[shared.as_bytes(), client, node]),
            EncType::AesGcm => {
                let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(b"LOKI")
                    .map_err(|_| LayerError::WeakKey)?;
                mac.update(shared.as_bytes());
                mac.finalize().into_bytes().into()
            }
        };
        Ok(Self { enc_type, key })
    }

    /// Encrypts with a fresh nonce: nonce, ciphertext, tag.
    pub fn encrypt<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, LayerError> {
        let mut nonce = [0; 24];
        let nonce = &mut nonce[..self.enc_type.nonce_length()];
        rng.fill_bytes(nonce);
        let ciphertext = match self.enc_type {
            EncType::XChaCha20 => seal(
                &XChaCha20Poly1305::new((&self.key).into()),
                nonce,
                plaintext,
            ),
            EncType::AesGcm => seal(&Aes256Gcm::new((&self.key).into()), nonce, plaintext),
        }?;
        Ok([&*nonce, &ciphertext].concat())
    }

    /// Decrypts what [`LayerKey::encrypt`] of the other side made.
    pub fn decrypt(&self, blob: &[u8]) -> Result<Vec<u8>, LayerError> {
        let (nonce, ciphertext) = blob
            .split_at_checked(self.enc_type.nonce_length())
            .ok_or(LayerError::Decrypt)?;
        match self.enc_type {
            EncType::XChaCha20 => open(
                &XChaCha20Poly1305::new((&self.key).into()),
                nonce,
                ciphertext,
            ),
            EncType::AesGcm => open(&Aes256Gcm::new((&self.key).into()), nonce, ciphertext),
        }
    }
}

fn seal<C: Aead>(cipher: &C, nonce: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, LayerError> {
    let nonce = nonce.try_into().map_err(|_| LayerError::TooLong)?;
    cipher
        .encrypt(&nonce, plaintext)
        .map_err(|_| LayerError::TooLong)
}

fn open<C: Aead>(cipher: &C, nonce: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, LayerError> {
    let nonce = nonce.try_into().map_err(|_| LayerError::Decrypt)?;
    cipher
        .decrypt(&nonce, ciphertext)
        .map_err(|_| LayerError::Decrypt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rng::Counting;
    use proptest::prelude::*;

    fn secret(text: &str) -> StaticSecret {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).unwrap();
        StaticSecret::from(bytes)
    }

    /// Key pairs of network.md 12.
    fn keys(enc_type: EncType) -> (LayerKey, LayerKey) {
        let client = secret("7d446468c186d6fb3c83365ab77a37b1f9fa3e59eb9788a40ae2e9560f196f30");
        let node = secret("f512f68e81a932aa2ff6d8723baa260a43a6f789d61c91b71f73e4f284e3600a");
        let public = |secret| PublicKey::from(secret).to_bytes();
        (
            LayerKey::client(enc_type, &client, &public(&node)).unwrap(),
            LayerKey::node(enc_type, &node, &public(&client)).unwrap(),
        )
    }

    #[test]
    fn agrees_with_network_12() {
        for (enc_type, key, blob) in [
            (
                EncType::AesGcm,
                "3bb5fc9d718d88fa673d69829e737b97b4a0e4be2915fc7ef8a5f5d0776c1e6f",
                "000102030405060708090a0b254141d0fb10f0f25e1e316f3f47bf675d49eb6c238bd3c18b86df3fc8d5687cc64c7a",
            ),
            (
                EncType::XChaCha20,
                "489bc44da3522e9acd6fb1b4c6cbf42d1d2739de64466dfafa819a9f8c21c403",
                "000102030405060708090a0b0c0d0e0f101112131415161743bd01f11b8bad57f5bfa27b8099befc22decd241a149281a9ded1f14697c78bfb3c5d",
            ),
        ] {
            let (client, node) = keys(enc_type);
            assert_eq!(hex::encode(client.key), key);
            assert_eq!(hex::encode(node.key), key);
            let blob = hex::decode(blob).unwrap();
            assert_eq!(node.decrypt(&blob), Ok(b"Grumpy cat says no!".to_vec()));
        }
    }

    #[test]
    fn keys_of_small_order_are_refused() {
        let own = StaticSecret::from([1; 32]);
        for enc_type in [EncType::XChaCha20, EncType::AesGcm] {
            let client = LayerKey::client(enc_type, &own, &[0; 32]);
            assert_eq!(client.err(), Some(LayerError::WeakKey));
            let node = LayerKey::node(enc_type, &own, &[0; 32]);
            assert_eq!(node.err(), Some(LayerError::WeakKey));
        }
    }

    proptest! {
        #[test]
        fn both_directions_open(plaintext: Vec<u8>) {
            for enc_type in [EncType::XChaCha20, EncType::AesGcm] {
                let (client, node) = keys(enc_type);
                let mut rng = Counting::default();
                let request = client.encrypt(&mut rng, &plaintext).unwrap();
                prop_assert_eq!(node.decrypt(&request), Ok(plaintext.clone()));
                let answer = node.encrypt(&mut rng, &plaintext).unwrap();
                prop_assert_eq!(client.decrypt(&answer), Ok(plaintext.clone()));
                prop_assert_ne!(request, answer);
            }
        }

        #[test]
        fn any_bytes_get_an_answer(blob in prop::collection::vec(any::<u8>(), 0..80)) {
            for enc_type in [EncType::XChaCha20, EncType::AesGcm] {
                prop_assert_eq!(keys(enc_type).0.decrypt(&blob), Err(LayerError::Decrypt));
            }
        }
    }
}
