//! An account in use: its database, its tasks, and what frontends may do with it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use session_network::{IsolationKey, Network};
use session_protocol::{AccountId, AccountKeys, blake2b, content};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::events::{Cursor, EndReason, Hub};
use crate::random::message_id;
use crate::store::conversations::Edit;
use crate::store::entries::{self, NewMessage};
use crate::store::messages::{self, MessageRow};
use crate::store::outbox::{self, NewItem, Purpose};
use crate::store::tokens::{self, Earlier};
use crate::store::{AccountDb, Meta, StoreError, conversations, delivery, events, received};
use crate::sync::poller::Poller;
use crate::sync::{self, Context};
use crate::time::to_db;
use crate::vault::VaultRecord;

/// How long a message is kept in a swarm, ms (messages.md 5.2).
const TTL_MS: i64 = 14 * 86_400_000;
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

impl Account {
    /// Opens the account's database and starts its tasks. They end with [`Account::end`] or the agent's stop.
    pub async fn start(
        dir: &Path,
        handle: &str,
        record: VaultRecord,
        network: Network,
        agent_stop: watch::Receiver<bool>,
    ) -> Result<Arc<Self>, StoreError> {
        let (stop_sender, stop) = watch::channel(false);
        let path = AccountDb::path(dir, handle);
        let db = AccountDb::open(&path, &record.database_key, network.name(), stop.clone()).await?;
        let keys = AccountKeys::from_seed(&record.seed);
        let isolation = IsolationKey::new("account", handle);
        let context = Context::new(keys, db, network, isolation, stop);
        if context.db.meta().account_id != context.account_id().to_string() {
            return Err(StoreError::WrongKey);
        }
        // Before anything is served.
        sync::expiry::sweep(&context).await?;
        let (hub, tail) = Hub::spawn(context.clone()).await?;
        let (poller, polling) = Poller::spawn(context.clone());
        let sending = tokio::spawn(sync::outbox::run(context.clone()));
        let deleting = tokio::spawn(sync::deletions::run(context.clone()));
        let retrying = tokio::spawn(retry(context.clone()));
        let expiring = tokio::spawn(sync::expiry::run(context.clone()));
        let pruning = tokio::spawn(prune(context.clone()));
        let following = tokio::spawn(follow(agent_stop, stop_sender.clone()));
        let tasks = Mutex::new(vec![
            tail, polling, sending, deleting, retrying, expiring, pruning, following,
        ]);
        Ok(Arc::new(Self {
            handle: handle.to_owned(),
            context,
            hub,
            poller,
            record,
            stop: stop_sender,
            tasks,
        }))
    }

    /// Name of a task that does not turn its loop any more. The writer is asked for a sign of life.
    pub async fn stalled(&self) -> Option<&'static str> {
        let alive = self
            .context
            .db
            .writer()
            .call(|_| Box::pin(async { Ok(()) }));
        match tokio::time::timeout(WRITER, alive).await {
            Ok(_) => self.context.progress.beats.stalled(),
            Err(_) => Some("writer"),
        }
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

    /// Accepts a text. Returns after it is on disk. The same token gives the first outcome.
    pub async fn send_text(
        &self,
        recipient: AccountId,
        body: String,
        token: String,
    ) -> Result<Accepted, StoreError> {
        let own = self.id();
        let log_id = self.meta().log_id;
        let name = self.meta().display_name.clone();
        let network_now = self.context.now_ms();
        let accepted = self
            .context
            .db
            .writer()
            .call(move |connection| {
                Box::pin(async move {
                    let draft = Draft {
                        own,
                        name,
                        recipient,
                        body,
                        token,
                        network_now,
                    };
                    accept(connection, draft).await
                })
            })
            .await?;
        self.context.progress.active(network_now);
        self.context.outbox_filled.notify_one();
        let (message, seq) = accepted;
        Ok(Accepted {
            message,
            cursor: Cursor { log_id, seq },
        })
    }

    /// Tells its tasks to end: nothing is polled, sent or expired from now on. Streams end with this reason.
    pub fn end(&self, reason: EndReason) {
        self.hub.set_end_reason(reason);
        self.stop.send_replace(true);
    }

    /// Waits for the tasks, which must have been told to end, and closes the database.
    pub async fn close(&self) {
        for task in self.tasks.lock().await.drain(..) {
            if tokio::time::timeout(CLOSE, task).await.is_err() {
                tracing::warn!("a task did not end in time");
            }
        }
        self.context.db.close(CLOSE).await;
    }
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

struct Draft {
    own: AccountId,
    name: String,
    recipient: AccountId,
    body: String,
    token: String,
    network_now: i64,
}

/// Writes message, outbox items, events and token. Returns the message and the place in the log before it.
async fn accept(
    connection: &mut sqlx::SqliteConnection,
    draft: Draft,
) -> Result<(MessageRow, i64), StoreError> {
    let Draft {
        own,
        name,
        recipient,
        body,
        token,
        network_now,
    } = draft;
    let fingerprint = blake2b::hash32(&[b"text", recipient.x25519(), body.as_bytes()]);
    if let Some(Earlier {
        message,
        cursor_seq,
    }) = tokens::earlier(&mut *connection, &token, &fingerprint).await?
    {
        let message = messages::get(connection, &message, network_now).await?;
        return Ok((message.ok_or(sqlx::Error::RowNotFound)?, cursor_seq));
    }
    let cursor_seq = events::head(&mut *connection).await?;
    // Strictly increasing: a sent timestamp names a message (messages.md 5.3).
    let sent_ms: i64 = sqlx::query_scalar(
        "UPDATE meta SET last_sent_ms = max(?, last_sent_ms + 1) WHERE id = 1 RETURNING last_sent_ms",
    )
    .bind(network_now)
    .fetch_one(&mut *connection)
    .await?;
    let peer = recipient.to_string();
    let conversation = conversations::ensure(
        &mut *connection,
        &own,
        std::slice::from_ref(&peer),
        network_now,
    )
    .await?
    .pop()
    .ok_or(sqlx::Error::RowNotFound)?;
    let to_self = recipient == own;
    let message = NewMessage {
        public_id: message_id(network_now),
        conversation: conversation.id,
        author: own.to_string(),
        outgoing: true,
        sent_ms,
        kind: messages::kind::TEXT.to_owned(),
        body: Some(body.clone()),
        send_state: messages::SENDING,
        sync_state: if to_self {
            messages::NONE
        } else {
            messages::SENDING
        },
        ..NewMessage::default()
    };
    let added = entries::add(
        &mut *connection,
        std::slice::from_ref(&message),
        network_now,
    )
    .await?
    .pop()
    .ok_or(sqlx::Error::RowNotFound)?;
    let timestamp = u64::try_from(sent_ms).unwrap_or(0);
    let profile = (!name.is_empty()).then_some(name.as_str());
    let item = |purpose, owner: AccountId, target: Option<&AccountId>| NewItem {
        message: Some(added.receive_seq),
        conversation: Some(conversation.id),
        purpose,
        kind: messages::kind::TEXT,
        owner: owner.to_string(),
        content: content::text(&body, timestamp, target, profile),
        sent_ms,
        ttl_ms: TTL_MS,
    };
    if to_self {
        let note = item(Purpose::Recipient, own, Some(&own));
        outbox::add(&mut *connection, &note, &[], network_now).await?;
    } else {
        let copy = item(Purpose::Sync, own, Some(&recipient));
        let message = item(Purpose::Recipient, recipient, None);
        outbox::add(&mut *connection, &message, &[copy], network_now).await?;
    }
    let added_event = events::NewEvent::message_added(&conversation.public_id, &added.public_id);
    events::append(&mut *connection, &[added_event], network_now).await?;
    // Writing accepts the other side, shows the conversation again and reads it (messages.md 6.2).
    let mut edit = Edit::new(conversation);
    edit.added(sent_ms, false, false);
    edit.read_to(sent_ms);
    edit.row.approved = true;
    edit.row.priority = edit.row.priority.max(0);
    conversations::save(&mut *connection, vec![edit], network_now).await?;
    let outcome = Earlier {
        message: added.public_id.clone(),
        cursor_seq,
    };
    tokens::remember(
        &mut *connection,
        &token,
        &fingerprint,
        &outcome,
        network_now,
    )
    .await?;
    let row = messages::get(connection, &added.public_id, network_now).await?;
    Ok((row.ok_or(sqlx::Error::RowNotFound)?, cursor_seq))
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
        let now_ms = to_db(context.network.now_ms());
        let pruned = context
            .db
            .writer()
            .call(move |connection| {
                Box::pin(async move {
                    events::prune(&mut *connection, now_ms).await?;
                    tokens::prune(&mut *connection, now_ms).await?;
                    received::prune(&mut *connection, now_ms).await?;
                    delivery::prune(connection).await
                })
            })
            .await;
        if let Err(error) = pruned {
            tracing::warn!(%error, "what is kept for a limited time could not be cleared out");
        }
    }
}
