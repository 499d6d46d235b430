//! Where the keys are kept while the agent does not run.
//!
//! One versioned record per account: the account seed and the random key of its database. It is written before
//! the account exists. "Nothing there" with a database on disk means that the vault is not ready, never that the
//! user is new. Nothing here is done on an async thread, and every call has a deadline, because a keyring may
//! hang without limit. Facts: design.md promise 4, environment notes on the Secret Service.

mod keyring_vault;
mod passphrase_vault;
mod record;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

pub use record::{DatabaseKey, VaultRecord};

/// Longest any call to a vault may take before it counts as not answering.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why a vault does not give or take a record.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// It answers, and has nothing for this account.
    #[error("the vault holds nothing for this account")]
    NoEntry,
    /// It cannot be reached or is locked.
    #[error("the vault is not available: {0}")]
    NotAvailable(String),
    /// It did not answer in time.
    #[error("the vault did not answer within {} seconds", DEADLINE.as_secs())]
    Timeout,
    /// The passphrase does not open it.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// The record is damaged or of a later version.
    #[error("the vault's record cannot be read: {0}")]
    BadRecord(&'static str),
    /// A file could not be read or written.
    #[error("vault file: {0}")]
    Io(#[from] std::io::Error),
}

impl VaultError {
    /// Stable UPPER_SNAKE reason for the API.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoEntry => "VAULT_EMPTY",
            Self::NotAvailable(_) => "VAULT_NOT_AVAILABLE",
            Self::Timeout => "VAULT_TIMEOUT",
            Self::WrongPassphrase => "WRONG_PASSPHRASE",
            Self::BadRecord(_) => "VAULT_DAMAGED",
            Self::Io(_) => "VAULT_IO",
        }
    }
}

/// The vault that the user chose.
#[derive(Clone)]
pub enum Vault {
    /// The operating system's keyring.
    Keyring,
    /// A file beside the database, sealed with a passphrase.
    Passphrase {
        /// Folder of the vault files.
        dir: PathBuf,
        /// The passphrase.
        passphrase: Arc<Zeroizing<Vec<u8>>>,
    },
}

impl Vault {
    /// Name on the command line, in the API and in daemon.db.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::Passphrase { .. } => "passphrase",
        }
    }

    /// Reads the passphrase from a file; one line break at its end does not count.
    pub fn with_passphrase_file(dir: &Path, file: &Path) -> Result<Self, VaultError> {
        let mut passphrase = Zeroizing::new(std::fs::read(file)?);
        for end in [b'\n', b'\r'] {
            if passphrase.last() == Some(&end) {
                passphrase.pop();
            }
        }
        if passphrase.is_empty() {
            return Err(VaultError::NotAvailable(
                "the passphrase file is empty".into(),
            ));
        }
        Ok(Self::Passphrase {
            dir: dir.to_owned(),
            passphrase: Arc::new(passphrase),
        })
    }

    /// Keeps a record, replacing an earlier one.
    pub async fn store(&self, handle: &str, record: &VaultRecord) -> Result<(), VaultError> {
        let (vault, handle, record) = (self.clone(), handle.to_owned(), record.clone());
        with_deadline(move || match vault {
            Self::Keyring => keyring_vault::store(&handle, &record),
            Self::Passphrase { dir, passphrase } => {
                passphrase_vault::store(&dir, &handle, &passphrase, &record)
            }
        })
        .await
    }

    /// Gives the record back.
    pub async fn load(&self, handle: &str) -> Result<VaultRecord, VaultError> {
        let (vault, handle) = (self.clone(), handle.to_owned());
        with_deadline(move || match vault {
            Self::Keyring => keyring_vault::load(&handle),
            Self::Passphrase { dir, passphrase } => {
                passphrase_vault::load(&dir, &handle, &passphrase)
            }
        })
        .await
    }

    /// Forgets a record; it is no error when there is none.
    pub async fn remove(&self, handle: &str) -> Result<(), VaultError> {
        let (vault, handle) = (self.clone(), handle.to_owned());
        with_deadline(move || match vault {
            Self::Keyring => keyring_vault::remove(&handle),
            Self::Passphrase { dir, .. } => passphrase_vault::remove(&dir, &handle),
        })
        .await
    }
}

/// Runs a blocking call beside the async threads. One that hangs is left behind: it holds one thread of the
/// blocking pool, which is bounded by the number of calls to a vault (one at a start, one at a creation).
async fn with_deadline<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
) -> Result<T, VaultError> {
    match tokio::time::timeout(DEADLINE, tokio::task::spawn_blocking(call)).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(VaultError::NotAvailable(
            "the call to the vault broke off".into(),
        )),
        Err(_) => Err(VaultError::Timeout),
    }
}
