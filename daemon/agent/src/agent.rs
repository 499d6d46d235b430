//! The agent as a whole: state directory, network, vault, and the account if there is one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_core::Rng as _;
use session_network::{Network, NetworkConfig, SystemClock};
use session_protocol::{AccountKeys, AccountSeed, blake2b};
use tokio::sync::{Mutex, RwLock, watch};
use zeroize::Zeroizing;

use crate::account::Account;
use crate::platform::{DirLock, LockError, create_private_dir};
use crate::random::{opaque_id, os_rng};
use crate::store::account_db::{self, AccountDb, Meta};
use crate::store::daemon_db::{AccountRow, DaemonDb};
use crate::store::{StoreError, events};
use crate::time::wall_clock_ms;
use crate::vault::{DatabaseKey, Vault, VaultError, VaultRecord};

/// Why the agent cannot start or do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Another agent has the state directory.
    #[error("the state directory is {0}")]
    Lock(#[from] LockError),
    /// The state directory cannot be made or read.
    #[error("state directory: {0}")]
    Io(#[from] std::io::Error),
    /// A database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault refused.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// There is an account already.
    #[error("there is an account already")]
    AccountExists,
    /// There is no account yet.
    #[error("there is no account yet: create or restore one")]
    NoAccount,
    /// The account exists, and its vault has not given its keys.
    #[error("the account is locked ({0}): make its vault available and start sessiond again")]
    Locked(&'static str),
    /// A database lies here whose key the vault does not give: creating another account would hide it.
    #[error(
        "an account's database is here, but its vault is not ready; no other account can be made"
    )]
    VaultNotReady,
    /// A client token came again with other content.
    #[error("this client token was used for something else")]
    TokenReused,
}

/// How to start.
pub struct Options {
    /// Where everything is kept.
    pub state_dir: PathBuf,
    /// Which network, and how fast.
    pub network: NetworkConfig,
    /// Where keys are kept.
    pub vault: Vault,
}

/// What the agent can do now.
#[derive(Clone)]
pub enum State {
    /// No account yet.
    NoAccount,
    /// The vault has not given the keys; UPPER_SNAKE reason.
    Locked(&'static str),
    /// Serving.
    Ready(Arc<Account>),
}

/// The agent.
pub struct Agent {
    dir: PathBuf,
    network: Network,
    daemon_db: DaemonDb,
    vault: Vault,
    state: RwLock<State>,
    /// One creation at a time.
    creating: Mutex<()>,
    stop: watch::Sender<bool>,
    started_ms: i64,
    _lock: DirLock,
}

impl Agent {
    /// Takes the state directory, starts the network, and opens the account if there is one. A vault that does not
    /// answer makes the account locked, not the start fail.
    pub async fn start(options: Options) -> Result<Arc<Self>, AgentError> {
        let Options {
            state_dir: dir,
            network,
            vault,
        } = options;
        create_private_dir(&dir)?;
        let lock = DirLock::acquire(&dir)?;
        let daemon_db = DaemonDb::open(&dir).await?;
        for handle in daemon_db.unfinished().await? {
            clean_up(&dir, &daemon_db, &vault, &handle).await?;
        }
        let network = Network::start(network, Arc::new(daemon_db.clone()), Arc::new(SystemClock));
        let agent = Arc::new(Self {
            dir,
            network,
            daemon_db,
            vault,
            state: RwLock::new(State::NoAccount),
            creating: Mutex::new(()),
            stop: watch::channel(false).0,
            started_ms: wall_clock_ms(),
            _lock: lock,
        });
        if let Some(row) = agent.daemon_db.account().await? {
            let state = agent.open(&row).await?;
            *agent.state.write().await = state;
        }
        Ok(agent)
    }

    async fn open(&self, row: &AccountRow) -> Result<State, AgentError> {
        if row.network != self.network.name() {
            return Err(StoreError::OtherNetwork(row.network.clone()).into());
        }
        if row.vault != self.vault.name() {
            return Ok(State::Locked("OTHER_VAULT"));
        }
        match self.vault.load(&row.handle).await {
            Ok(record) => Ok(State::Ready(
                self.start_account(&row.handle, &record).await?,
            )),
            Err(error) => {
                tracing::warn!(%error, "the account is locked");
                Ok(State::Locked(error.reason()))
            }
        }
    }

    async fn start_account(
        &self,
        handle: &str,
        record: &VaultRecord,
    ) -> Result<Arc<Account>, StoreError> {
        let (network, stop) = (self.network.clone(), self.stop.subscribe());
        Account::start(&self.dir, handle, record, network, stop).await
    }

    /// What the agent can do now.
    pub async fn state(&self) -> State {
        self.state.read().await.clone()
    }

    /// The account, if it can be used.
    pub async fn account(&self) -> Result<Arc<Account>, AgentError> {
        match self.state().await {
            State::Ready(account) => Ok(account),
            State::NoAccount => Err(AgentError::NoAccount),
            State::Locked(reason) => Err(AgentError::Locked(reason)),
        }
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The vault.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// When it started, ms.
    pub fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// Makes an account. `seed` is `None` for a new one. The same non-empty token with the same wishes gives the account
    /// that the first call made.
    pub async fn create_account(
        &self,
        seed: Option<AccountSeed>,
        display_name: String,
        client_token: String,
    ) -> Result<Arc<Account>, AgentError> {
        let _one_at_a_time = self.creating.lock().await;
        let fingerprint = fingerprint(seed.as_ref(), &display_name);
        if let Some(row) = self.daemon_db.account().await? {
            return match self.account().await? {
                account if client_token.is_empty() || row.client_token != client_token => {
                    drop(account);
                    Err(AgentError::AccountExists)
                }
                account if row.client_fingerprint == fingerprint => Ok(account),
                _ => Err(AgentError::TokenReused),
            };
        }
        if has_stray_database(&self.dir)? {
            return Err(AgentError::VaultNotReady);
        }
        let row = AccountRow {
            handle: opaque_id(),
            vault: self.vault.name().to_owned(),
            network: self.network.name().to_owned(),
            client_token,
            client_fingerprint: fingerprint.to_vec(),
        };
        self.daemon_db.begin_account(&row).await?;
        match self.build(&row, seed, display_name).await {
            Ok(account) => {
                *self.state.write().await = State::Ready(Arc::clone(&account));
                Ok(account)
            }
            Err(error) => {
                clean_up(&self.dir, &self.daemon_db, &self.vault, &row.handle).await?;
                Err(error)
            }
        }
    }

    /// The vault's record first, then the database, then the row that makes it an account.
    async fn build(
        &self,
        row: &AccountRow,
        seed: Option<AccountSeed>,
        display_name: String,
    ) -> Result<Arc<Account>, AgentError> {
        let mut rng = os_rng();
        let record = VaultRecord {
            seed: seed.unwrap_or_else(|| AccountSeed::generate(&mut rng)),
            database_key: DatabaseKey::generate(&mut rng),
        };
        self.vault.store(&row.handle, &record).await?;
        let mut log_id = [0; 8];
        rng.fill_bytes(&mut log_id);
        let meta = Meta {
            network: row.network.clone(),
            account_id: AccountKeys::from_seed(&record.seed)
                .account_id()
                .to_string(),
            display_name,
            created_ms: wall_clock_ms(),
            log_id,
        };
        let path = AccountDb::path(&self.dir, &row.handle);
        AccountDb::create(&path, &record.database_key, &meta).await?;
        account_db::write_sealed_key(&path, &record.seed, &record.database_key)?;
        self.daemon_db.finish_account(&row.handle).await?;
        let account = self.start_account(&row.handle, &record).await?;
        let now_ms = account.context().now_ms();
        account
            .context()
            .db
            .writer()
            .call(move |connection| {
                Box::pin(async move {
                    let event = events::NewEvent::account_changed(&["account_id"]);
                    events::append(connection, &[event], now_ms).await
                })
            })
            .await?;
        Ok(account)
    }

    /// The seed of the account, from the vault.
    pub async fn seed(&self) -> Result<AccountSeed, AgentError> {
        let account = self.account().await?;
        Ok(self.vault.load(account.handle()).await?.seed)
    }

    /// Says "stop" to everything.
    pub fn request_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Turns true when the agent is to stop.
    pub fn stop_signal(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Ends everything after what is under way is committed.
    pub async fn close(&self) {
        self.request_stop();
        if let State::Ready(account) = self.state().await {
            account.close().await;
        }
        self.network.shutdown().await;
        self.daemon_db.close().await;
    }
}

/// Digest of what a creation asks for; does not give the seed away.
fn fingerprint(seed: Option<&AccountSeed>, display_name: &str) -> [u8; 32] {
    let id = seed.map(|seed| AccountKeys::from_seed(seed).account_id().to_string());
    // Keyed by nothing secret: an account ID in clear must not stand in daemon.db, its digest may not be searchable
    // either, hence the seed itself, which nobody can guess, takes part.
    let secret = Zeroizing::new(seed.map_or([0; 16], |seed| *seed.as_bytes()));
    let id = id.unwrap_or_default();
    blake2b::hash32(&[&*secret, id.as_bytes(), display_name.as_bytes()])
}

/// A database of an account that `daemon.db` does not know.
fn has_stray_database(dir: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name
            .to_str()
            .is_some_and(|name| name.ends_with(".db") && name != "daemon.db")
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes what a creation that was cut short left behind. Nobody was told of it.
async fn clean_up(
    dir: &Path,
    daemon_db: &DaemonDb,
    vault: &Vault,
    handle: &str,
) -> Result<(), AgentError> {
    account_db::remove_files(&AccountDb::path(dir, handle))?;
    if let Err(error) = vault.remove(handle).await {
        tracing::warn!(%error, "an unused vault entry stays behind");
    }
    daemon_db.forget_account(handle).await?;
    Ok(())
}
