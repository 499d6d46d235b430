//! Keeps an account and its swarm in step: [`poller`] reads, [`receive`] has units opened and judged ([`judge`]) and
//! applied ([`apply`]), [`outbox`] stores, [`repair`] stores again what members lack, [`deletions`] deletes, [`expiry`]
//! lets go what disappears ([`start`] says from when on), [`shorten`] and [`elsewhere`] keep the own devices in step
//! about what was read, [`signal`] passes on what only lives for a moment, [`signs`] looks whether another device went
//! over to version 2. [`pace`] says when what failed is tried again. Nothing is pushed to namespaces 2 to 5.

pub mod apply;
pub mod deletions;
pub mod elsewhere;
pub mod expiry;
pub mod judge;
#[cfg(test)]
mod model;
pub mod outbox;
mod pace;
pub mod pending;
pub mod poller;
pub mod receive;
pub mod repair;
pub mod senders;
pub mod shorten;
pub mod signal;
pub mod signs;
pub mod start;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use session_network::{IsolationKey, Network};
use session_protocol::{AccountId, AccountKeys};
use tokio::sync::{Notify, Semaphore, watch};

use crate::beats::Beats;
use crate::store::AccountDb;
use crate::time::{millis, to_db};

/// What all parts of one account's synchronisation share. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Keys of the account.
    pub keys: Arc<AccountKeys>,
    /// Who wrote to it.
    pub senders: Arc<senders::KnownSenders>,
    /// Opening messages keeps at most all cores busy.
    pub openers: Arc<Semaphore>,
    /// Its database.
    pub db: Arc<AccountDb>,
    /// The way to the swarms.
    pub network: Network,
    /// What keeps this account's circuits apart from others'.
    pub isolation: IsolationKey,
    /// Something new is in the outbox.
    pub outbox_filled: Arc<Notify>,
    /// What others may ask about.
    pub progress: Arc<Progress>,
    /// Typing and calls, for whoever listens now.
    pub signals: signal::Signals,
    /// Reactions whose message is not here yet.
    pub pending: pending::PendingReactions,
    /// Copies in the own swarm shall go.
    pub deletions_filled: Arc<Notify>,
    /// A payload of a later version came.
    pub later_version_seen: Arc<Notify>,
    /// Something new is to be looked after.
    pub copies_kept: Arc<Notify>,
    /// A member of the own swarm seems to have lost what it held.
    pub copies_doubted: Arc<Notify>,
    /// Held while something in the own swarm is deleted or stored again: what is being deleted must not come back by a
    /// store that was under way.
    pub own_swarm: Arc<tokio::sync::Mutex<()>>,
    /// Copies in the own swarm shall live shorter.
    pub shorten_filled: Arc<Notify>,
    /// Something may wait to be read, or the swarm answers again after it did not.
    pub look_elsewhere: Arc<Notify>,
    /// Turns true when the agent stops.
    pub stop: watch::Receiver<bool>,
    opened: std::time::Instant,
}

/// How far a clock that nobody has confirmed since the start is believed for letting anything go, ms.
const UNCONFIRMED_MS: i64 = 86_400_000;

/// How synchronisation stands.
#[derive(Default)]
pub struct Progress {
    last_poll_ms: AtomicI64,
    last_activity_ms: AtomicI64,
    /// Whether the tasks turn their loops.
    pub beats: Beats,
    covered_ms: AtomicI64,
    returned: AtomicBool,
    expiry_looks: AtomicU64,
}

/// The swarm was away when it has not answered for so many usual pauses between polls.
const AWAY_POLLS: u32 = 24;

impl Progress {
    /// When the own swarm last answered, network time in ms; 0 before the first time.
    pub fn last_poll_ms(&self) -> i64 {
        self.last_poll_ms.load(Ordering::Relaxed)
    }

    /// How often it was looked which message disappears next.
    pub fn expiry_looks(&self) -> u64 {
        self.expiry_looks.load(Ordering::Relaxed)
    }

    /// When it was last written down that everything stored so far is read, ms; 0: not since the start.
    pub fn covered_ms(&self) -> i64 {
        self.covered_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn covered(&self, now_ms: i64) {
        self.covered_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Somebody wrote or was written to: poll more often for a while.
    pub fn active(&self, now_ms: i64) {
        self.last_activity_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    fn last_activity_ms(&self) -> i64 {
        self.last_activity_ms.load(Ordering::Relaxed)
    }
}

/// Cores that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Context {
    /// For an account whose database is open.
    pub fn new(
        keys: AccountKeys,
        db: AccountDb,
        network: Network,
        isolation: IsolationKey,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            keys: Arc::new(keys),
            senders: Arc::default(),
            openers: Arc::new(Semaphore::new(cores())),
            db: Arc::new(db),
            network,
            isolation,
            outbox_filled: Arc::default(),
            progress: Arc::default(),
            signals: signal::Signals::default(),
            pending: pending::PendingReactions::default(),
            deletions_filled: Arc::default(),
            later_version_seen: Arc::default(),
            copies_kept: Arc::default(),
            copies_doubted: Arc::default(),
            own_swarm: Arc::default(),
            shorten_filled: Arc::default(),
            look_elsewhere: Arc::default(),
            stop,
            opened: std::time::Instant::now(),
        }
    }

    /// Account ID.
    pub fn account_id(&self) -> AccountId {
        self.keys.account_id()
    }

    /// Network time, ms, as the database keeps it. Before nodes have told the time it is never earlier than what was
    /// known before the start.
    pub fn now_ms(&self) -> i64 {
        let now_ms = to_db(self.network.now_ms());
        if self.network.clock_is_measured() {
            now_ms
        } else {
            now_ms.max(self.floor_ms())
        }
    }

    /// Until when everything may go whose time is over, ms. Before enough nodes agree on the time, none of them alone lets
    /// anything go, and a local clock that jumped while the agent did not run nothing that was more than a day off.
    pub fn certain_ms(&self) -> i64 {
        let certain_ms = to_db(self.network.certain_ms());
        if self.network.clock_is_measured() {
            certain_ms
        } else {
            let floor_ms = self.floor_ms();
            certain_ms.clamp(floor_ms, floor_ms.saturating_add(UNCONFIRMED_MS))
        }
    }

    /// It is this late at least: what was known at the last use, and how long this one takes, ms.
    fn floor_ms(&self) -> i64 {
        let since = millis(self.opened.elapsed());
        self.db.floor_ms().saturating_add(since)
    }

    /// A member of the own swarm has answered.
    pub(crate) fn polled(&self) {
        let now_ms = self.now_ms();
        self.progress.beats.turned(poller::TASK);
        let last_ms = self.progress.last_poll_ms.swap(now_ms, Ordering::Relaxed);
        let away = self.network.times().poll * AWAY_POLLS;
        let away_ms = millis(away);
        if last_ms == 0 || now_ms.saturating_sub(last_ms) > away_ms {
            self.progress.returned.store(true, Ordering::Relaxed);
            self.look_elsewhere.notify_one();
        }
    }

    /// Whether a path works.
    fn has_path(&self) -> bool {
        self.network.watch().borrow().path_count > 0
    }

    /// Resolves when the agent stops.
    pub async fn stopped(&self) {
        let mut stop = self.stop.clone();
        // An error means that nobody can say "stop" any more: that is one, too.
        drop(stop.wait_for(|stop| *stop).await);
    }
}
