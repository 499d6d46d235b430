//! A small file sealed under a key that is derived from another secret: keyed BLAKE2b of what the file is for, then
//! XChaCha20-Poly1305.
//!
//! Layout: nonce (24), ciphertext.

use std::path::Path;
use std::{fs, io};

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use rand_core::Rng as _;
use session_protocol::blake2b;
use zeroize::Zeroizing;

use crate::platform::write_private_file;
use crate::random::os_rng;

const NONCE: usize = 24;

/// What a file is sealed with.
pub(super) struct Seal<'a> {
    /// The secret that opens it, at most 64 bytes.
    pub(super) secret: &'a [u8],
    /// What keys of this kind are for.
    pub(super) context: &'a [u8],
    /// What this file is; it must be the same when it is read.
    pub(super) aad: &'a [u8],
}

impl Seal<'_> {
    fn cipher(&self) -> Option<XChaCha20Poly1305> {
        let key = blake2b::keyed32(self.secret, &[self.context]).map(Zeroizing::new)?;
        Some(XChaCha20Poly1305::new((&*key).into()))
    }

    /// Writes a file, or writes it anew.
    pub(super) fn write(&self, path: &Path, record: &[u8]) -> io::Result<()> {
        let mut nonce = [0; NONCE];
        os_rng().fill_bytes(&mut nonce);
        let payload = Payload {
            msg: record,
            aad: self.aad,
        };
        let sealed = self
            .cipher()
            .and_then(|cipher| cipher.encrypt(&nonce.into(), payload).ok())
            .ok_or_else(|| io::Error::other("a key cannot be sealed"))?;
        write_private_file(path, &[&nonce[..], &sealed].concat())
    }

    /// Reads a file; `None` when the secret does not open it.
    pub(super) fn read(&self, path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let file = fs::read(path)?;
        let Some((nonce, sealed)) = file.split_first_chunk::<NONCE>() else {
            return Ok(None);
        };
        let payload = Payload {
            msg: sealed,
            aad: self.aad,
        };
        let opened = self
            .cipher()
            .and_then(|cipher| cipher.decrypt(nonce.into(), payload).ok());
        Ok(opened.map(Zeroizing::new))
    }
}
