//! Where the keys are kept while the agent does not run or is locked.
//!
//! One versioned record per account: the account seed and the random key of its database. It is written before
//! the account exists. "Nothing there" with a database on disk means that the vault is not ready, never that the
//! user is new. Nothing here is done on an async thread, and every call has a deadline, because a keyring may
//! hang without limit. No vault is used in place of another: which one holds an account stands in `daemon.db`.
//! Facts: design.md promise 4, environment notes on the Secret Service.
//!
//! Three kinds: the desktop's keyring; a file sealed with a passphrase, which comes from a file or is typed at
//! `unlock`; a file sealed with a systemd credential: `sessiond.passphrase` in `$CREDENTIALS_DIRECTORY`
//! (`LoadCredential=sessiond.passphrase:…`, any bytes). The credential is a passphrase and not the record, so that the
//! service's configuration need not be written anew for a new account. The two kinds of files have different names:
//! an account can move from one to the other without a moment at which neither opens it.

#[cfg(target_os = "linux")]
mod keyring_linux;
#[cfg(target_os = "macos")]
mod keyring_macos;
mod record;
mod sealed_file;

#[cfg(target_os = "linux")]
use keyring_linux as keyring_vault;
#[cfg(target_os = "macos")]
use keyring_macos as keyring_vault;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

pub use record::{DatabaseKey, VaultRecord};

/// Longest a call to a vault may take when nobody is asked anything.
const QUIET: Duration = Duration::from_secs(20);
/// Longest a call may take in which a person may have to type into the keyring's own window.
const WITH_PROMPT: Duration = Duration::from_secs(80);
/// Longest a start waits for a keyring; it goes on locked, and the keyring is asked again beside the work.
const AT_START: Duration = Duration::from_secs(3);
/// Most bytes of a passphrase.
pub const MAX_PASSPHRASE: usize = 4096;
/// Name of the systemd credential.
const CREDENTIAL: &str = "sessiond.passphrase";

/// Why a vault does not give or take a record.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// It answers, and has nothing for this account.
    #[error("the vault holds nothing for this account")]
    NoEntry,
    /// The keyring's collection is locked.
    #[error("the keyring is locked")]
    KeyringLocked,
    /// Nobody unlocked the keyring when it asked.
    #[error("the keyring asked for its password and got none")]
    PromptDismissed,
    /// Nothing on the session bus provides the Secret Service.
    #[error("no keyring runs")]
    KeyringNotRunning,
    /// There is no session bus.
    #[error("there is no session bus to reach a keyring on")]
    NoBus,
    /// The keyring refused otherwise.
    #[error("the keyring failed: {0}")]
    KeyringFailed(String),
    /// It did not answer in time.
    #[error("the vault did not answer in time")]
    Timeout,
    /// Nobody has given the passphrase yet.
    #[error("the vault's passphrase has not been given")]
    PassphraseNeeded,
    /// A passphrase for a vault that takes none.
    #[error("this vault takes no passphrase")]
    PassphraseNotTaken,
    /// The passphrase does not open it.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// systemd did not pass the credential.
    #[error("there is no credential {CREDENTIAL} in $CREDENTIALS_DIRECTORY")]
    CredentialMissing,
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
            Self::KeyringLocked => "KEYRING_LOCKED",
            Self::PromptDismissed => "KEYRING_PROMPT_DISMISSED",
            Self::KeyringNotRunning => "KEYRING_NOT_RUNNING",
            Self::NoBus => "KEYRING_NO_BUS",
            Self::KeyringFailed(_) => "KEYRING_FAILED",
            Self::Timeout => "VAULT_TIMEOUT",
            Self::PassphraseNeeded => "PASSPHRASE_NEEDED",
            Self::PassphraseNotTaken => "PASSPHRASE_NOT_TAKEN",
            Self::WrongPassphrase => "WRONG_PASSPHRASE",
            Self::CredentialMissing => "CREDENTIAL_MISSING",
            Self::BadRecord(_) => "VAULT_DAMAGED",
            Self::Io(_) => "VAULT_IO",
        }
    }

    /// Whether asking again later, without any act of the user here, may help.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::NoEntry
                | Self::KeyringLocked
                | Self::PromptDismissed
                | Self::KeyringNotRunning
                | Self::NoBus
                | Self::KeyringFailed(_)
                | Self::Timeout
        )
    }
}

/// Kinds of vaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VaultKind {
    /// The desktop's keyring
    Keyring,
    /// A file sealed with a passphrase
    Passphrase,
    /// A file sealed with the systemd credential sessiond.passphrase
    Credential,
}

impl VaultKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Keyring, Self::Passphrase, Self::Credential];

    /// Name on the command line, in the API and in daemon.db.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::Passphrase => "passphrase",
            Self::Credential => "credential",
        }
    }

    /// The kind of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Whether the keyring may ask the user for its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Something was asked for by a person, who can answer.
    User,
    /// Nobody is there, or nobody is to be disturbed.
    Nobody,
}

/// A passphrase as it was given. No line break at its end.
pub type Passphrase = Zeroizing<Vec<u8>>;

/// The vaults of one agent. Cheap to clone.
#[derive(Clone)]
pub struct Vaults {
    /// Folder of the vault files.
    dir: PathBuf,
    /// Where the passphrase is read when nobody gives one.
    passphrase_file: Option<PathBuf>,
    /// `$CREDENTIALS_DIRECTORY`.
    credentials_dir: Option<PathBuf>,
    /// One call to the keyring at a time: however often one that hangs is repeated, it holds one thread.
    keyring: Arc<Semaphore>,
}

impl Vaults {
    /// Vaults whose files lie in `dir`.
    pub fn new(
        dir: &Path,
        passphrase_file: Option<PathBuf>,
        credentials_dir: Option<PathBuf>,
    ) -> Self {
        Self {
            dir: dir.to_owned(),
            passphrase_file,
            credentials_dir,
            keyring: Arc::new(Semaphore::new(1)),
        }
    }

    /// Keeps a record, replacing an earlier one.
    pub async fn store(
        &self,
        kind: VaultKind,
        handle: &str,
        record: &VaultRecord,
        passphrase: Option<Passphrase>,
        ask: Ask,
    ) -> Result<(), VaultError> {
        let (vaults, handle, record) = (self.clone(), handle.to_owned(), record.clone());
        self.run(kind, limit(ask), move || match kind {
            VaultKind::Keyring if passphrase.is_some() => Err(VaultError::PassphraseNotTaken),
            VaultKind::Keyring => keyring_vault::store(&handle, &record, ask),
            _ => {
                let passphrase = vaults.passphrase(kind, passphrase)?;
                sealed_file::store(&vaults.file(kind, &handle), &passphrase, &record)
            }
        })
        .await
    }

    /// Gives the record back.
    pub async fn load(
        &self,
        kind: VaultKind,
        handle: &str,
        passphrase: Option<Passphrase>,
        ask: Ask,
    ) -> Result<VaultRecord, VaultError> {
        self.load_within(kind, handle, passphrase, ask, limit(ask))
            .await
    }

    /// Gives the record back; a keyring is not waited for longer than a start may take.
    pub async fn load_at_start(
        &self,
        kind: VaultKind,
        handle: &str,
    ) -> Result<VaultRecord, VaultError> {
        let limit = match kind {
            VaultKind::Keyring => AT_START,
            _ => QUIET,
        };
        self.load_within(kind, handle, None, Ask::Nobody, limit)
            .await
    }

    async fn load_within(
        &self,
        kind: VaultKind,
        handle: &str,
        passphrase: Option<Passphrase>,
        ask: Ask,
        limit: Duration,
    ) -> Result<VaultRecord, VaultError> {
        let (vaults, handle) = (self.clone(), handle.to_owned());
        self.run(kind, limit, move || match kind {
            VaultKind::Keyring if passphrase.is_some() => Err(VaultError::PassphraseNotTaken),
            VaultKind::Keyring => keyring_vault::load(&handle, ask),
            _ => {
                let passphrase = vaults.passphrase(kind, passphrase)?;
                sealed_file::load(&vaults.file(kind, &handle), &passphrase)
            }
        })
        .await
    }

    /// Forgets a record; it is no error when there is none.
    pub async fn remove(&self, kind: VaultKind, handle: &str, ask: Ask) -> Result<(), VaultError> {
        let (vaults, handle) = (self.clone(), handle.to_owned());
        self.run(kind, limit(ask), move || match kind {
            VaultKind::Keyring => keyring_vault::remove(&handle, ask),
            _ => sealed_file::remove(&vaults.file(kind, &handle)),
        })
        .await
    }

    fn file(&self, kind: VaultKind, handle: &str) -> PathBuf {
        let ending = match kind {
            VaultKind::Credential => "credential",
            _ => "vault",
        };
        self.dir.join(format!("{handle}.{ending}"))
    }

    /// What opens a file: given, or read where the configuration says. It is not kept.
    fn passphrase(
        &self,
        kind: VaultKind,
        given: Option<Passphrase>,
    ) -> Result<Passphrase, VaultError> {
        let mut passphrase = match (kind, given) {
            (VaultKind::Passphrase, Some(given)) => given,
            (VaultKind::Passphrase, None) => match &self.passphrase_file {
                Some(file) => Zeroizing::new(std::fs::read(file)?),
                None => return Err(VaultError::PassphraseNeeded),
            },
            (_, Some(_)) => return Err(VaultError::PassphraseNotTaken),
            (_, None) => {
                let dir = self.credentials_dir.as_ref();
                let file = dir.ok_or(VaultError::CredentialMissing)?.join(CREDENTIAL);
                match std::fs::read(file) {
                    Ok(bytes) => Zeroizing::new(bytes),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        return Err(VaultError::CredentialMissing);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        for end in [b'\n', b'\r'] {
            if passphrase.last() == Some(&end) {
                passphrase.pop();
            }
        }
        if passphrase.is_empty() {
            return Err(VaultError::PassphraseNeeded);
        }
        Ok(passphrase)
    }

    /// Runs a blocking call beside the async threads. One that hangs is left behind.
    async fn run<T: Send + 'static>(
        &self,
        kind: VaultKind,
        limit: Duration,
        call: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let deadline = Instant::now() + limit;
        let turn = match kind {
            VaultKind::Keyring => {
                let turn = timeout_at(deadline, Arc::clone(&self.keyring).acquire_owned());
                // The semaphore is never closed.
                Some(turn.await.map_err(|_| VaultError::Timeout)?)
            }
            _ => None,
        };
        let call = tokio::task::spawn_blocking(move || {
            let outcome = call();
            drop(turn);
            outcome
        });
        match timeout_at(deadline, call).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(VaultError::KeyringFailed("the call broke off".into())),
            Err(_) => Err(VaultError::Timeout),
        }
    }
}

fn limit(ask: Ask) -> Duration {
    match ask {
        Ask::User => WITH_PROMPT,
        Ask::Nobody => QUIET,
    }
}
