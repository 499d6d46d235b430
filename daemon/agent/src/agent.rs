//! The agent as a whole: state directory, network, vaults, and the account if there is one.
//!
//! LOCKED is a state, not a failure (design.md promise 8): nothing is polled, sent or expired, paths stay warm, and the
//! vault is asked again by itself where waiting may help. A user's `lock` ends in a new process image ([`crate::cli`]),
//! so that no key and no text is left in memory; it holds until `unlock` or a restart of the service.

mod create;
mod delete;
mod lock;
mod storage;
mod vault;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use session_network::{Network, NetworkConfig, NetworkError, SystemClock};
use session_protocol::AccountSeed;
use tokio::sync::{Mutex, MutexGuard, RwLock, watch};

use crate::account::Account;
use crate::beats::{self, Beats};
use crate::disturbance;
use crate::platform::{DirLock, LockError, create_private_dir};
use crate::store::account_db::{self, AccountDb};
use crate::store::daemon_db::{AccountRow, DaemonDb};
use crate::store::{Health, StoreError, Trouble};
use crate::time::{to_db, wall_clock_ms};
use crate::vault::{Ask, VaultError, VaultKind, Vaults};

pub use delete::{Deleted, DeletionScope};
pub use lock::{LOCKED_BY_USER, Locked};
pub use vault::VaultStatus;

/// Longest until the network's own task goes on. All that it does has deadlines, and a step of it is far shorter.
const NETWORK_TURN: Duration = Duration::from_secs(600);

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
    /// The swarm did not delete what it holds.
    #[error("the swarm did not delete what it holds, and nothing was deleted here: {0}")]
    NotDeleted(NetworkError),
    /// There is an account already.
    #[error("there is an account already")]
    AccountExists,
    /// There is no account yet.
    #[error("there is no account yet: create or restore one")]
    NoAccount,
    /// A call that names an account named another one.
    #[error("this agent does not have that account")]
    OtherAccount,
    /// The account exists, and its vault has not given its keys.
    #[error("the account is locked ({0}): unlock it")]
    Locked(&'static str),
    /// A database lies here whose key the vault does not give: creating another account would hide it.
    #[error(
        "an account's database is here, but its vault is not ready; no other account can be made"
    )]
    VaultNotReady,
    /// `daemon.db` names a vault that this version does not know.
    #[error("this version does not know the vault \"{0}\"")]
    UnknownVault(String),
    /// A client token came again with other content.
    #[error("this client token was used for something else")]
    TokenReused,
}

impl AgentError {
    /// What it says about the place where everything is kept.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Io(error) | Self::Lock(LockError::Io(error)) => Trouble::of_io(error),
            Self::Store(error) => error.trouble(),
            _ => None,
        }
    }

    /// As [`AgentError::trouble`]; where only the directory can tell, it is looked at.
    pub async fn trouble_in(&self, dir: &Path) -> Option<Trouble> {
        match self {
            Self::Store(error) => error.trouble_in(dir).await,
            _ => self.trouble(),
        }
    }
}

/// How to start.
pub struct Options {
    /// Where everything is kept.
    pub state_dir: PathBuf,
    /// Which network, and how fast.
    pub network: NetworkConfig,
    /// The vaults of the state directory.
    pub vaults: Vaults,
    /// Which vault gets a new account.
    pub vault: VaultKind,
    /// The user locked the account just before this process image began.
    pub locked_by_user: bool,
}

/// What the agent can do now.
#[derive(Clone)]
pub enum State {
    /// No account yet.
    NoAccount,
    /// The vault has not given the keys.
    Locked(Locked),
    /// Serving.
    Ready(Arc<Account>),
}

/// The agent.
pub struct Agent {
    dir: PathBuf,
    network: Network,
    daemon_db: DaemonDb,
    /// How the state directory and the account's database stand.
    health: Arc<Health>,
    /// How often a damaged database was opened anew by this process.
    repairs: AtomicU32,
    vaults: Vaults,
    /// Which vault gets a new account.
    new_vault: VaultKind,
    state: RwLock<State>,
    /// One change of the account as a whole at a time.
    changing: Mutex<()>,
    restart: AtomicBool,
    stop: watch::Sender<bool>,
    started_ms: i64,
    /// Tasks that belong to no account.
    beats: Beats,
    _lock: DirLock,
}

impl Agent {
    /// Starts: takes the state directory, opens what is there. It comes up locked where the vault does not give the
    /// keys; a vault that takes its time is not waited for.
    pub async fn start(options: Options) -> Result<Arc<Self>, AgentError> {
        let Options {
            state_dir: dir,
            network,
            vaults,
            vault: new_vault,
            locked_by_user,
        } = options;
        create_private_dir(&dir)?;
        let lock = DirLock::acquire(&dir)?;
        let daemon_db = DaemonDb::open(&dir).await?;
        let unfinished = daemon_db.unfinished().await?;
        for row in &unfinished {
            account_db::remove_files(&AccountDb::path(&dir, &row.handle))?;
        }
        let network = Network::start(network, Arc::new(daemon_db.clone()), Arc::new(SystemClock));
        let health = Arc::new(Health::new(&dir));
        let agent = Arc::new(Self {
            dir,
            health,
            repairs: AtomicU32::new(0),
            network,
            daemon_db,
            vaults,
            new_vault,
            state: RwLock::new(State::NoAccount),
            changing: Mutex::new(()),
            restart: AtomicBool::new(false),
            stop: watch::channel(false).0,
            started_ms: wall_clock_ms(),
            beats: Beats::default(),
            _lock: lock,
        });
        let (network, stop) = (agent.network.clone(), agent.stop_signal());
        let alive = beats::relay(
            "network",
            NETWORK_TURN,
            agent.beats.clone(),
            network.turns(),
        );
        tokio::spawn(disturbance::watch(network.clone(), stop));
        tokio::spawn(alive);
        // Before anything is dated.
        network.restored().await;
        tokio::spawn(storage::follow(
            Arc::clone(&agent.health),
            agent.stop_signal(),
        ));
        if !unfinished.is_empty() {
            tokio::spawn(Arc::clone(&agent).clean_up_all(unfinished));
        }
        agent.open(locked_by_user).await?;
        Ok(agent)
    }

    /// Removes what was cut short, beside the work: a vault may take its time.
    async fn clean_up_all(self: Arc<Self>, rows: Vec<AccountRow>) {
        let mut stop = self.stop_signal();
        let work = async {
            for row in rows {
                if let Err(error) = self.clean_up(&row, Ask::Nobody).await {
                    tracing::warn!(%error, "a vault entry that nobody needs stays until the next start");
                }
            }
        };
        tokio::select! {
            () = work => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Waits until no other change of the account is under way. Refused once the agent stops: whoever locks and at once
    /// unlocks must not be answered by the process that is about to begin anew.
    async fn change(&self) -> Result<MutexGuard<'_, ()>, StoreError> {
        let turn = self.changing.lock().await;
        if *self.stop.borrow() {
            return Err(StoreError::Closed);
        }
        Ok(turn)
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
            State::Locked(locked) => Err(AgentError::Locked(locked.reason)),
        }
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Name of a task that does not turn its loop any more.
    pub async fn stalled(&self) -> Option<&'static str> {
        if let Some(task) = self.beats.stalled() {
            return Some(task);
        }
        match self.state().await {
            State::Ready(account) => account.stalled().await,
            _ => None,
        }
    }

    /// Where everything is kept.
    pub fn state_dir(&self) -> &Path {
        &self.dir
    }

    /// When it started, ms.
    pub fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// Network time, ms.
    pub fn now_ms(&self) -> i64 {
        to_db(self.network.now_ms())
    }

    /// The seed of the account.
    pub async fn seed(&self) -> Result<AccountSeed, AgentError> {
        Ok(self.account().await?.record().seed.clone())
    }

    /// Changes the name shown to others. It goes out with the messages that follow (messages.md 1.8).
    pub async fn set_display_name(&self, name: String) -> Result<Arc<Account>, AgentError> {
        let _one_at_a_time = self.change().await?;
        let account = self.account().await?;
        let now_ms = account.context().now_ms();
        account.context().db.set_display_name(name, now_ms).await?;
        Ok(account)
    }

    /// Says "stop" to everything.
    pub fn request_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Whether the process is to begin anew, locked, once everything is closed.
    pub fn wants_restart(&self) -> bool {
        self.restart.load(Ordering::Acquire)
    }

    /// Turns true when the agent is to stop.
    pub fn stop_signal(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Ends everything after what is under way is committed.
    pub async fn close(&self) {
        self.request_stop();
        if let State::Ready(account) = self.state().await {
            self.close_account(&account).await;
        }
        self.network.shutdown().await;
        self.daemon_db.close().await;
    }
}

fn kind(row: &AccountRow) -> Result<VaultKind, AgentError> {
    VaultKind::of_name(&row.vault).ok_or_else(|| AgentError::UnknownVault(row.vault.clone()))
}

/// Databases of accounts in a state directory, by their handles.
fn databases(dir: &Path) -> std::io::Result<Vec<String>> {
    let mut handles = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if let Some(handle) = name.to_str().and_then(|name| name.strip_suffix(".db"))
            && handle != "daemon"
        {
            handles.push(handle.to_owned());
        }
    }
    Ok(handles)
}
