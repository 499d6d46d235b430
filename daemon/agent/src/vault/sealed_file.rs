//! A file sealed with a passphrase: Argon2id, then XChaCha20-Poly1305.
//!
//! Layout: magic and version (8), memory in KiB (4), passes (4), lanes (4), salt (16), nonce (24), ciphertext. All
//! before the nonce is authenticated. The cost stands in the file, so that it can be raised later.

use std::fs;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use rand_core::Rng as _;
use zeroize::Zeroizing;

use super::{VaultError, VaultRecord};
use crate::platform::{sync_parent, write_private_file};
use crate::random::os_rng;

const MAGIC: &[u8; 8] = b"SESSDPV1";
const HEADER: usize = 8 + 3 * 4 + 16;
const NONCE: usize = 24;

/// Cost of a new file: 64 MiB, three passes, one lane: OWASP's stronger recommendations, some 0.2 s here.
const COST: Cost = Cost {
    memory_kib: 64 * 1024,
    passes: 3,
    lanes: 1,
};
/// Most memory a file may ask for, so that a damaged one cannot take all of it: 1 GiB.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 64;

struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

pub(super) fn store(
    path: &Path,
    passphrase: &[u8],
    record: &VaultRecord,
) -> Result<(), VaultError> {
    let mut file = Vec::with_capacity(HEADER + NONCE + 49 + 16);
    file.extend_from_slice(MAGIC);
    for number in [COST.memory_kib, COST.passes, COST.lanes] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    let mut draw = [0; 16 + NONCE];
    os_rng().fill_bytes(&mut draw);
    let (salt, nonce) = draw.split_at(16);
    file.extend_from_slice(salt);
    let key = derive(passphrase, salt, &COST)?;
    let record = record.encode();
    let sealed = XChaCha20Poly1305::new((&*key).into())
        .encrypt(
            &nonce_of(nonce)?,
            Payload {
                msg: &record,
                aad: &file,
            },
        )
        .map_err(|_| VaultError::BadRecord("cannot be sealed"))?;
    file.extend_from_slice(nonce);
    file.extend_from_slice(&sealed);
    Ok(write_private_file(path, &file)?)
}

pub(super) fn load(path: &Path, passphrase: &[u8]) -> Result<VaultRecord, VaultError> {
    let file = match fs::read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(VaultError::NoEntry);
        }
        Err(error) => return Err(error.into()),
    };
    let (header, rest) = file
        .split_at_checked(HEADER)
        .ok_or(VaultError::BadRecord("too short"))?;
    let (nonce, sealed) = rest
        .split_at_checked(NONCE)
        .ok_or(VaultError::BadRecord("too short"))?;
    if !header.starts_with(MAGIC) {
        return Err(VaultError::BadRecord("not a vault file of this version"));
    }
    let number = |at: usize| {
        header[at..]
            .first_chunk::<4>()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes))
    };
    let cost = Cost {
        memory_kib: number(8),
        passes: number(12),
        lanes: number(16),
    };
    if cost.memory_kib > MAX_MEMORY_KIB || cost.passes > MAX_PASSES || cost.lanes > 16 {
        return Err(VaultError::BadRecord(
            "asks for more work than any version writes",
        ));
    }
    let key = derive(passphrase, &header[20..], &cost)?;
    let record = XChaCha20Poly1305::new((&*key).into())
        .decrypt(
            &nonce_of(nonce)?,
            Payload {
                msg: sealed,
                aad: header,
            },
        )
        .map(Zeroizing::new)
        .map_err(|_| VaultError::WrongPassphrase)?;
    VaultRecord::decode(&record)
}

pub(super) fn remove(path: &Path) -> Result<(), VaultError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => Ok(removed.and_then(|()| sync_parent(path))?),
    }
}

fn nonce_of(bytes: &[u8]) -> Result<chacha20poly1305::XNonce, VaultError> {
    bytes
        .try_into()
        .map_err(|_| VaultError::BadRecord("nonce has a wrong length"))
}

fn derive(passphrase: &[u8], salt: &[u8], cost: &Cost) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
        .map_err(|_| VaultError::BadRecord("cost cannot be used"))?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut *key)
        .map_err(|_| VaultError::BadRecord("cost cannot be used"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::DatabaseKey;
    use session_protocol::AccountSeed;

    fn record() -> VaultRecord {
        VaultRecord {
            seed: AccountSeed::from_bytes([7; 16]),
            database_key: DatabaseKey::from_bytes([9; 32]),
        }
    }

    #[test]
    fn opens_with_its_passphrase_alone() {
        let dir = tempfile::tempdir().unwrap();
        let a = dir.path().join("a");
        store(&a, b"correct horse", &record()).unwrap();
        let back = load(&a, b"correct horse").unwrap();
        assert_eq!(back.seed.as_bytes(), &[7; 16]);
        assert_eq!(back.database_key.as_bytes(), &[9; 32]);
        assert!(matches!(
            load(&a, b"wrong horse"),
            Err(VaultError::WrongPassphrase)
        ));
        assert!(matches!(
            load(&dir.path().join("b"), b"correct horse"),
            Err(VaultError::NoEntry)
        ));
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        store(&file, b"p", &record()).unwrap();
        let good = fs::read(&file).unwrap();
        assert!(
            !good.windows(16).any(|w| w == [7; 16]),
            "the seed stands in clear"
        );
        for at in [0, 20, HEADER, HEADER + NONCE, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&file, &bad).unwrap();
            assert!(load(&file, b"p").is_err(), "byte {at}");
        }
        for length in [0, 5, HEADER, good.len() - 1] {
            fs::write(&file, &good[..length]).unwrap();
            assert!(load(&file, b"p").is_err(), "length {length}");
        }
        // A file that asks for all memory is refused, not obeyed.
        let mut greedy = good.clone();
        greedy[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        fs::write(&file, &greedy).unwrap();
        assert!(matches!(load(&file, b"p"), Err(VaultError::BadRecord(_))));
    }
}
