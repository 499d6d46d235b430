//! The operating system's keyring: Secret Service on Linux, Keychain on macOS.
//!
//! Blocking, and to be called on a blocking thread only: the store panics inside an async runtime.

use keyring::{Entry, Error};
use zeroize::Zeroizing;

use super::{VaultError, VaultRecord};

/// Attribute `service` of the entry; `username` is the account's handle.
const SERVICE: &str = "sessiond";

fn entry(handle: &str) -> Result<Entry, VaultError> {
    Entry::new(SERVICE, handle).map_err(|error| match (error, Entry::store_status()) {
        (Error::NoDefaultStore, Err(cause)) => VaultError::NotAvailable(cause.to_string()),
        (error, _) => translate(error),
    })
}

fn translate(error: Error) -> VaultError {
    match error {
        Error::NoEntry => VaultError::NoEntry,
        other => VaultError::NotAvailable(other.to_string()),
    }
}

pub(super) fn store(handle: &str, record: &VaultRecord) -> Result<(), VaultError> {
    entry(handle)?
        .set_secret(&record.encode())
        .map_err(translate)
}

pub(super) fn load(handle: &str) -> Result<VaultRecord, VaultError> {
    let bytes = Zeroizing::new(entry(handle)?.get_secret().map_err(translate)?);
    VaultRecord::decode(&bytes)
}

pub(super) fn remove(handle: &str) -> Result<(), VaultError> {
    match entry(handle)?.delete_credential() {
        Ok(()) | Err(Error::NoEntry) => Ok(()),
        Err(other) => Err(translate(other)),
    }
}
