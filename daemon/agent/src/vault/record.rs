//! The record every vault keeps: version byte, account seed, database key.

use rand_core::CryptoRng;
use session_protocol::AccountSeed;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::VaultError;

/// First byte of a record.
const VERSION: u8 = 1;

/// Key of an account's database: 32 random bytes, used raw.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DatabaseKey([u8; 32]);

impl DatabaseKey {
    /// Draws a new key.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut key = Self([0; 32]);
        rng.fill_bytes(&mut key.0);
        key
    }

    /// From its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Everything that must survive to open an account again.
#[derive(Clone)]
pub struct VaultRecord {
    /// From which all keys of the account derive.
    pub seed: AccountSeed,
    /// Opens its database.
    pub database_key: DatabaseKey,
}

impl VaultRecord {
    /// Version 1: 49 bytes.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(49));
        bytes.push(VERSION);
        bytes.extend_from_slice(self.seed.as_bytes());
        bytes.extend_from_slice(self.database_key.as_bytes());
        bytes
    }

    /// Reads what [`VaultRecord::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, VaultError> {
        let (version, rest) = bytes.split_first().ok_or(VaultError::BadRecord("empty"))?;
        if *version != VERSION {
            return Err(VaultError::BadRecord(
                "written by a later version of sessiond",
            ));
        }
        let (seed, key) = rest
            .split_first_chunk::<16>()
            .ok_or(VaultError::BadRecord("too short"))?;
        let key: &[u8; 32] = key
            .try_into()
            .map_err(|_| VaultError::BadRecord("wrong length"))?;
        Ok(Self {
            seed: AccountSeed::from_bytes(*seed),
            database_key: DatabaseKey::from_bytes(*key),
        })
    }
}
