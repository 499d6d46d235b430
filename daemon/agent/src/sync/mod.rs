//! Keeps an account and its swarm in step: [`poller`] reads, [`receive`] has units opened and judged ([`judge`]) and
//! applied ([`apply`]), [`outbox`] stores, [`repair`] stores again what members lack, [`deletions`] deletes, [`expiry`]
//! lets go what disappears, [`signal`] passes on what only lives for a moment, [`signs`] looks whether another device
//! went over to version 2. Nothing is pushed to namespaces 2 to 5.

pub mod apply;
pub mod deletions;
pub mod expiry;
pub mod judge;
pub mod outbox;
pub mod pending;
pub mod poller;
pub mod receive;
pub mod repair;
pub mod senders;
pub mod signal;
pub mod signs;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use session_network::{IsolationKey, Network};
use session_protocol::{AccountId, AccountKeys};
use tokio::sync::{Notify, watch};

use crate::beats::Beats;
use crate::store::AccountDb;

/// What all parts of one account's synchronisation share. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Keys of the account.
    pub keys: Arc<AccountKeys>,
    /// Who wrote to it.
    pub senders: Arc<senders::KnownSenders>,
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
    /// Turns true when the agent stops.
    pub stop: watch::Receiver<bool>,
}

/// How synchronisation stands.
#[derive(Default)]
pub struct Progress {
    last_poll_ms: AtomicI64,
    last_activity_ms: AtomicI64,
    /// Whether the tasks turn their loops.
    pub beats: Beats,
    covered_ms: AtomicI64,
}

impl Progress {
    /// When the own swarm last answered, network time in ms; 0 before the first time.
    pub fn last_poll_ms(&self) -> i64 {
        self.last_poll_ms.load(Ordering::Relaxed)
    }

    fn polled(&self, now_ms: i64) {
        self.beats.turned(poller::TASK);
        self.last_poll_ms.store(now_ms, Ordering::Relaxed);
    }

    /// When it was last written down that everything stored so far is read, ms; 0: not since the start.
    fn covered_ms(&self) -> i64 {
        self.covered_ms.load(Ordering::Relaxed)
    }

    fn covered(&self, now_ms: i64) {
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
            stop,
        }
    }

    /// Account ID.
    pub fn account_id(&self) -> AccountId {
        self.keys.account_id()
    }

    /// Network time, ms, as the database keeps it.
    pub fn now_ms(&self) -> i64 {
        crate::time::to_db(self.network.now_ms())
    }

    /// Resolves when the agent stops.
    pub async fn stopped(&self) {
        let mut stop = self.stop.clone();
        // An error means that nobody can say "stop" any more: that is one, too.
        drop(stop.wait_for(|stop| *stop).await);
    }
}
