//! The Secret Service of a Linux desktop (gnome-keyring and its kin), over D-Bus.
//!
//! Blocking, and to be called on a blocking thread only: the store panics inside an async runtime. Every call makes a
//! connection and a session of its own: one of a daemon that died would fail for good. Whether something is locked is
//! looked up first, because the store's own calls would ask the user at once. Facts: environment notes on the keyring.

use std::collections::HashMap;

use keyring_core::api::CredentialStoreApi as _;
use keyring_core::{Entry, Error};
use secret_service::EncryptionType;
use secret_service::blocking::SecretService;
use zbus_secret_service_keyring_store::Store;
use zeroize::Zeroizing;

use super::{Ask, VaultError, VaultRecord};

/// Attribute `service` of the entry; `username` is the account's handle.
const SERVICE: &str = "sessiond";

pub(super) fn store(handle: &str, record: &VaultRecord, ask: Ask) -> Result<(), VaultError> {
    if ask == Ask::Nobody {
        let service = connect()?;
        let collection = service.get_default_collection().map_err(|e| classify(&e))?;
        if collection.is_locked().map_err(|e| classify(&e))? {
            return Err(VaultError::KeyringLocked);
        }
    }
    entry(handle)?
        .set_secret(&record.encode())
        .map_err(translate)
}

pub(super) fn load(handle: &str, ask: Ask) -> Result<VaultRecord, VaultError> {
    if ask == Ask::Nobody {
        refuse_if_locked(handle)?;
    }
    let bytes = Zeroizing::new(entry(handle)?.get_secret().map_err(translate)?);
    VaultRecord::decode(&bytes)
}

pub(super) fn remove(handle: &str, ask: Ask) -> Result<(), VaultError> {
    if ask == Ask::Nobody {
        refuse_if_locked(handle)?;
    }
    match entry(handle)?.delete_credential() {
        Ok(()) | Err(Error::NoEntry) => Ok(()),
        Err(other) => Err(translate(other)),
    }
}

fn entry(handle: &str) -> Result<Entry, VaultError> {
    Store::new()
        .and_then(|store| store.build(SERVICE, handle, None))
        .map_err(translate)
}

fn connect() -> Result<SecretService<'static>, VaultError> {
    SecretService::connect(EncryptionType::Plain).map_err(|error| classify(&error))
}

/// Looks whether the entry lies in a locked collection; asks nobody.
fn refuse_if_locked(handle: &str) -> Result<(), VaultError> {
    let service = connect()?;
    let attributes = HashMap::from([("service", SERVICE), ("username", handle)]);
    let found = service.search_items(attributes).map_err(|e| classify(&e))?;
    if found.unlocked.is_empty() && !found.locked.is_empty() {
        return Err(VaultError::KeyringLocked);
    }
    Ok(())
}

fn translate(error: Error) -> VaultError {
    match error {
        Error::NoEntry => VaultError::NoEntry,
        Error::NoStorageAccess(cause) | Error::PlatformFailure(cause) => {
            match cause.downcast_ref::<secret_service::Error>() {
                Some(cause) => classify(cause),
                None => VaultError::KeyringFailed(cause.to_string()),
            }
        }
        other => VaultError::KeyringFailed(other.to_string()),
    }
}

fn classify(error: &secret_service::Error) -> VaultError {
    use secret_service::Error as E;
    match error {
        E::Locked => VaultError::KeyringLocked,
        E::Prompt | E::PromptDisconnected => VaultError::PromptDismissed,
        E::Unavailable => VaultError::NoBus,
        // No default collection: the daemon was started by D-Bus and knows of none that was ever unlocked.
        E::NoResult => VaultError::KeyringLocked,
        other => {
            let text = other.to_string();
            // The bus's own error names, and zbus's words for an address that nobody listens on: it has no other form.
            if text.contains("ServiceUnknown") || text.contains("NameHasNoOwner") {
                VaultError::KeyringNotRunning
            } else if text.contains("Failed to connect to address") {
                VaultError::NoBus
            } else {
                VaultError::KeyringFailed(text)
            }
        }
    }
}
