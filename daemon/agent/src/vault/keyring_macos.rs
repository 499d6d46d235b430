//! The Keychain. Never compiled here.
//!
//! Blocking; the system itself asks the user where that is needed.

use keyring::{Entry, Error};
use zeroize::Zeroizing;

use super::{Ask, VaultError, VaultRecord};

/// Service of the entry; its user is the account's handle.
const SERVICE: &str = "sessiond";

fn translate(error: Error) -> VaultError {
    match error {
        Error::NoEntry => VaultError::NoEntry,
        other => VaultError::KeyringFailed(other.to_string()),
    }
}

pub(super) fn store(handle: &str, record: &VaultRecord, _: Ask) -> Result<(), VaultError> {
    Entry::new(SERVICE, handle)
        .and_then(|entry| entry.set_secret(&record.encode()))
        .map_err(translate)
}

pub(super) fn load(handle: &str, _: Ask) -> Result<VaultRecord, VaultError> {
    let bytes = Entry::new(SERVICE, handle)
        .and_then(|entry| entry.get_secret())
        .map(Zeroizing::new)
        .map_err(translate)?;
    VaultRecord::decode(&bytes)
}

pub(super) fn remove(handle: &str, _: Ask) -> Result<(), VaultError> {
    match Entry::new(SERVICE, handle).and_then(|entry| entry.delete_credential()) {
        Ok(()) | Err(Error::NoEntry) => Ok(()),
        Err(other) => Err(translate(other)),
    }
}
