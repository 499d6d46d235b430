//! An account in use: its database, its tasks, and what frontends may do with it.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use session_network::{IsolationKey, Network};
use session_protocol::content::MAX_SENT_BODY;
use session_protocol::{AccountId, AccountKeys};
use sqlx::SqliteConnection;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::actions::react::Pace;
use crate::actions::send::{Draft, send};
use crate::actions::{self, ActionError, Actor};
use crate::events::{Cursor, EndReason, Hub};
use crate::notify;
use crate::notify::focus::Focus;
use crate::random::opaque_id;
use crate::store::account_db::note_now;
use crate::store::messages::MessageRow;
use crate::store::{
    AccountDb, Health, Meta, StoreError, delivery, events, gone, outbox, received, tokens,
};
use crate::sync::poller::Poller;
use crate::sync::{self, Context};
use crate::vault::VaultRecord;

/// Between two rounds of clearing out what is kept for a limited time.
const PRUNE: Duration = Duration::from_secs(3600);
/// Longest the writer may take over what it has.
const WRITER: Duration = Duration::from_secs(60);
/// Longest any part of closing may take.
const CLOSE: Duration = Duration::from_secs(5);

/// An account in use.
pub struct Account {
    handle: String,
    context: Context,
    hub: Arc<Hub>,
    poller: Poller,
    focus: Arc<Focus>,
    reactions: Pace,
    record: VaultRecord,
    /// Ends this account's tasks; the agent's own `stop` sets it, too.
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// A message that was accepted.
pub struct Accepted {
    /// As it stands.
    pub message: MessageRow,
    /// Place in the event log before it.
    pub cursor: Cursor,
}

/// Sends what was typed into a notification.
struct Replies(Weak<Account>);

impl notify::Replies for Replies {
    fn reply(&self, peer: AccountId, text: String) {
        if let Some(account) = self.0.upgrade() {
            tokio::spawn(async move {
                // A reply has no limit where it is typed, a message has.
                let characters: Vec<char> = text.chars().collect();
                for part in characters.chunks(MAX_SENT_BODY) {
                    let draft = Draft {
                        body: part.iter().collect(),
                        token: opaque_id(),
                        ..Draft::default()
                    };
                    if let Err(error) = account.send(peer, draft).await {
                        tracing::warn!(%error, "a reply was not accepted");
                    }
                }
            });
        }
    }
}

impl Account {
    /// Opens the account's database and starts its tasks. They end with [`Account::end`] or the agent's stop. An error says
    /// that the database is closed.
    pub async fn start(
        dir: &Path,
        handle: &str,
        record: VaultRecord,
        network: Network,
        health: Arc<Health>,
        agent_stop: watch::Receiver<bool>,
    ) -> Result<Arc<Self>, StoreError> {
        let (stop_sender, stop) = watch::channel(false);
        let path = AccountDb::path(dir, handle);
        let key = &record.database_key;
        let db = AccountDb::open_watched(&path, key, network.name(), health, stop.clone()).await?;
        let keys = AccountKeys::from_seed(&record.seed);
        let isolation = IsolationKey::new("account", handle);
        let context = Context::new(keys, db, network, isolation, stop);
        let (hub, tail) = match begin(&context).await {
            Ok(begun) => begun,
            Err(error) => {
                // Whoever tries again, or salvages it, must find it closed.
                stop_sender.send_replace(true);
                context.db.close(CLOSE).await;
                return Err(error);
            }
        };
        let (poller, polling) = Poller::spawn(context.clone());
        let sending = tokio::spawn(sync::outbox::run(context.clone()));
        let repairing = tokio::spawn(sync::repair::run(context.clone()));
        let deleting = tokio::spawn(sync::deletions::run(context.clone()));
        let shortening = tokio::spawn(sync::shorten::run(context.clone()));
        let asking = tokio::spawn(sync::elsewhere::run(context.clone()));
        let retrying = tokio::spawn(retry(context.clone()));
        let expiring = tokio::spawn(sync::expiry::run(context.clone()));
        let pruning = tokio::spawn(prune(context.clone()));
        let looking = tokio::spawn(sync::signs::run(context.clone()));
        let following = tokio::spawn(follow(agent_stop, stop_sender.clone()));
        let focus = Arc::new(Focus::default());
        Ok(Arc::new_cyclic(|account| {
            let replies = Arc::new(Replies(Weak::clone(account)));
            let notifying = notify::run(context.clone(), Arc::clone(&focus), replies);
            let tasks = Mutex::new(vec![
                tail,
                polling,
                sending,
                repairing,
                deleting,
                shortening,
                asking,
                retrying,
                expiring,
                pruning,
                looking,
                following,
                tokio::spawn(notifying),
            ]);
            Self {
                handle: handle.to_owned(),
                context,
                hub,
                poller,
                focus,
                reactions: Pace::default(),
                record,
                stop: stop_sender,
                tasks,
            }
        }))
    }

    /// Name of a task that does not turn its loop any more. The writer is asked for a sign of life.
    pub async fn stalled(&self) -> Option<&'static str> {
        let alive = self.context.db.writer().alive();
        match tokio::time::timeout(WRITER, alive).await {
            Ok(()) => self.context.progress.beats.stalled(),
            Err(_) => Some("writer"),
        }
    }

    /// What somebody looks at right now.
    pub fn focus(&self) -> &Focus {
        &self.focus
    }

    /// How many reactions may be sent.
    pub fn reactions(&self) -> &Pace {
        &self.reactions
    }

    /// Random name of its files and its vault entry.
    pub fn handle(&self) -> &str {
        &self.handle
    }

    /// Account ID.
    pub fn id(&self) -> AccountId {
        self.context.account_id()
    }

    /// What the database knows about itself.
    pub fn meta(&self) -> Arc<Meta> {
        self.context.db.meta()
    }

    /// How its database stands.
    pub fn health(&self) -> &Arc<Health> {
        self.context.db.health()
    }

    /// What its vault keeps.
    pub fn record(&self) -> &VaultRecord {
        &self.record
    }

    /// Database, network and time.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Events for streams.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// The way to poll now.
    pub fn poller(&self) -> &Poller {
        &self.poller
    }

    /// A place in this account's event log.
    pub fn cursor(&self, seq: i64) -> Cursor {
        Cursor {
            log_id: self.meta().log_id,
            seq,
        }
    }

    /// Makes everything in the outbox due now, and ends a pause before the network is tried again.
    pub async fn hurry(&self) -> Result<(), StoreError> {
        self.context.network.hurry();
        self.context
            .db
            .writer()
            .call(|connection| Box::pin(outbox::hurry(connection)))
            .await?;
        self.context.outbox_filled.notify_one();
        Ok(())
    }

    /// [`actions::act`].
    pub async fn act<T, F>(&self, action: F) -> Result<T, ActionError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(
                &'c mut SqliteConnection,
                &'c Actor,
            ) -> BoxFuture<'c, Result<T, ActionError>>
            + Send
            + 'static,
    {
        actions::act(&self.context, action).await
    }

    /// As [`Account::act`], for what removes content, with [`Account::scrub`].
    pub async fn remove<T, F>(&self, action: F) -> Result<T, ActionError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(
                &'c mut SqliteConnection,
                &'c Actor,
            ) -> BoxFuture<'c, Result<T, ActionError>>
            + Send
            + 'static,
    {
        let outcome = self.act(action).await?;
        self.scrub().await?;
        Ok(outcome)
    }

    /// Takes what was removed out of the write-ahead log as well, now or as soon as no reader holds that back.
    pub async fn scrub(&self) -> Result<(), StoreError> {
        self.context.db.writer().scrub().await.map(drop)
    }

    /// Accepts a message. Returns after it is on disk. The same token gives the first outcome.
    pub async fn send(&self, recipient: AccountId, draft: Draft) -> Result<Accepted, ActionError> {
        let (message, seq) = self
            .act(move |connection, actor| {
                Box::pin(async move { send(connection, actor, recipient, &draft).await })
            })
            .await?;
        self.context.progress.active(self.context.now_ms());
        Ok(Accepted {
            message,
            cursor: self.cursor(seq),
        })
    }

    /// Tells its tasks to end: nothing is polled, sent or expired from now on. Streams end with this reason.
    pub fn end(&self, reason: EndReason) {
        self.hub.set_end_reason(reason);
        self.stop.send_replace(true);
    }

    /// Waits for the tasks, which must have been told to end, and closes the database. True when it is closed.
    pub async fn close(&self) -> bool {
        for task in self.tasks.lock().await.drain(..) {
            if tokio::time::timeout(CLOSE, task).await.is_err() {
                tracing::warn!("a task did not end in time");
            }
        }
        self.context.db.close(CLOSE).await
    }
}

/// What must be done before anything is served.
async fn begin(context: &Context) -> Result<(Arc<Hub>, JoinHandle<()>), StoreError> {
    if context.db.meta().account_id != context.account_id().to_string() {
        return Err(StoreError::WrongKey);
    }
    sync::expiry::sweep(context).await?;
    Hub::spawn(context.clone()).await
}

/// Passes the agent's stop on, until one of the two is set.
async fn follow(mut agent_stop: watch::Receiver<bool>, stop: watch::Sender<bool>) {
    let mut own = stop.subscribe();
    tokio::select! {
        // That nobody can say "stop" any more is one, too.
        _ = agent_stop.wait_for(|stop| *stop) => {
            stop.send_replace(true);
        }
        _ = own.wait_for(|stop| *stop) => {}
    }
}

/// Tries again, once, what an earlier version could not read.
async fn retry(context: Context) {
    tokio::select! {
        () = context.stopped() => {}
        retried = sync::receive::retry_quarantine(&context) => if let Err(error) = retried {
            tracing::warn!(%error, "what was put aside could not be tried again");
        }
    }
}

/// Clears out, every hour, what is kept for a limited time.
async fn prune(context: Context) {
    loop {
        tokio::select! {
            () = context.stopped() => break,
            () = tokio::time::sleep(PRUNE) => {}
        }
        // What a clock says that nobody has confirmed clears nothing out.
        if !context.network.clock_is_measured() {
            continue;
        }
        let now_ms = context.now_ms();
        let pruned = context
            .db
            .writer()
            .call(move |connection| {
                Box::pin(async move {
                    events::prune(&mut *connection, now_ms).await?;
                    tokens::prune(&mut *connection, now_ms).await?;
                    received::prune(&mut *connection, now_ms).await?;
                    gone::prune(&mut *connection, now_ms).await?;
                    note_now(&mut *connection, now_ms).await?;
                    delivery::prune(connection).await
                })
            })
            .await;
        if let Err(error) = pruned {
            tracing::warn!(%error, "what is kept for a limited time could not be cleared out");
        }
    }
}
