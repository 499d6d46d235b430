//! Desktop notifications: one for each conversation, replaced as messages come, gone as soon as there is nothing left to
//! say.
//!
//! The task follows the event log from where it ends at the start, so that nothing is told twice over a restart. What
//! comes with the first poll is told as one summary. A notification, the summary as well, is closed when its messages
//! were read anywhere, unsent, or have disappeared. Only what is new makes a sound. Nothing waits for the task or for a
//! notification server.
//! Facts: messages.md 9; design.md promise 3 and 8; `users.md` 2.7.

pub mod decide;
pub mod focus;
pub mod server;
mod summary;
pub mod text;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use session_protocol::AccountId;
use tokio::time::Instant;

use crate::actions::{self, ActionError, read};
use crate::store::StoreError;
use crate::store::conversations::{self, ConversationRow, Selector};
use crate::store::events::{self, EventRow, kind};
use crate::store::messages::{self, MessageRow};
use crate::store::settings::{self, Settings};
use crate::sync::Context;
use crate::sync::signal::{Signal, What};
use crate::time::until;
use decide::{Circumstances, Shown, Verdict};
use focus::Focus;
use server::{Act, Id, Manner, Server};
use summary::Summary;
use text::{Names, Subject, Words};

/// Messages that come close together are told together.
const BUNDLE: Duration = Duration::from_millis(500);
/// How often it is looked whether the first poll is done, while it is not.
const FIRST_POLL: Duration = Duration::from_secs(1);
/// Pause after the log or what it speaks of could not be read.
const AGAIN: Duration = Duration::from_secs(1);
/// Most conversations with a notification; the one shown longest ago is closed first.
const CONVERSATIONS: usize = 64;
/// Most messages remembered for one notification.
const MESSAGES: usize = 200;
/// Events read at once.
const PAGE: i64 = 200;

/// How a reply is sent. The account implements it.
pub trait Replies: Send + Sync + 'static {
    /// Sends a text to the other side of a conversation. Does not wait.
    fn reply(&self, peer: AccountId, text: String);
}

/// A message, or a reaction to one, that is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    message: String,
    /// Of a reaction: its emoji, empty until it is looked up.
    reaction: Option<String>,
}

/// What is told about one conversation.
#[derive(Default)]
struct Notice {
    /// As it was shown last; `None`: it was not.
    id: Option<Id>,
    items: Vec<Item>,
    /// As it is shown, so that it is not shown again without need.
    words: Option<Words>,
    /// The newest message it tells of.
    newest: String,
    shown_at: Option<Instant>,
    /// It speaks of a message request.
    request: bool,
}

/// What is still worth telling about one conversation.
struct Worth {
    row: ConversationRow,
    /// Never empty.
    items: Vec<(Item, MessageRow)>,
    /// It is a message request.
    request: bool,
}

struct Notifier {
    context: Context,
    focus: Arc<Focus>,
    replies: Arc<dyn Replies>,
    server: Server,
    position: i64,
    notices: HashMap<String, Notice>,
    /// New items by conversation, and conversations in which something changed.
    pending: BTreeMap<String, Vec<Item>>,
    flush_at: Option<Instant>,
    /// What came before the first poll was done: messages by conversation.
    backlog: Option<BTreeMap<String, Vec<Item>>>,
    summary: Option<Summary>,
    /// Nothing older is told, ms.
    since_ms: i64,
}

/// Notifies until the agent stops, then takes all notifications away.
pub async fn run(context: Context, focus: Arc<Focus>, replies: Arc<dyn Replies>) {
    match Notifier::new(context, focus, replies).await {
        Ok(notifier) => notifier.work().await,
        Err(error) => tracing::warn!(%error, "no notifications: the event log cannot be read"),
    }
}

impl Notifier {
    async fn new(
        context: Context,
        focus: Arc<Focus>,
        replies: Arc<dyn Replies>,
    ) -> Result<Self, StoreError> {
        let mut connection = context.db.readers().acquire().await?;
        let position = events::head(&mut connection).await?;
        drop(connection);
        let since_ms = context.db.meta().created_ms;
        Ok(Self {
            context,
            focus,
            replies,
            server: Server::default(),
            position,
            notices: HashMap::new(),
            pending: BTreeMap::new(),
            flush_at: None,
            backlog: Some(BTreeMap::new()),
            summary: None,
            since_ms,
        })
    }

    async fn work(mut self) {
        let mut committed = self.context.db.committed();
        let context = self.context.clone();
        loop {
            let flush_at = self.flush_at;
            let connected = self.server.is_connected();
            tokio::select! {
                () = context.stopped() => break,
                changed = committed.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    if let Err(error) = self.follow().await {
                        tracing::warn!(%error, "the event log cannot be followed");
                        self.flush_at.get_or_insert_with(|| Instant::now() + AGAIN);
                    }
                }
                (id, act) = self.server.act(), if connected => self.acted(id, act).await,
                () = until(flush_at) => {
                    self.flush_at = None;
                    if let Err(error) = self.flush().await {
                        tracing::warn!(%error, "notifications could not be brought up to date");
                        self.flush_at = Some(Instant::now() + AGAIN);
                    }
                }
                () = tokio::time::sleep(FIRST_POLL), if self.backlog.is_some() => {}
            }
            if self.backlog.is_some() && self.first_poll_is_done() {
                self.flush_at.get_or_insert_with(|| Instant::now() + BUNDLE);
            }
        }
        let summary = self.summary.iter().filter_map(Summary::id);
        let notices = self
            .notices
            .values()
            .filter_map(|notice| notice.id.as_ref());
        for id in summary.chain(notices) {
            self.server.close(id).await;
        }
    }

    /// What the swarm had at the start is on disk.
    fn first_poll_is_done(&self) -> bool {
        self.context.progress.covered_ms() > 0
    }

    /// Reads what is new in the log.
    async fn follow(&mut self) -> Result<(), StoreError> {
        loop {
            let rows = {
                let mut connection = self.context.db.readers().acquire().await?;
                events::after(&mut connection, self.position, PAGE).await?
            };
            let Some(last) = rows.last() else {
                return Ok(());
            };
            self.position = last.seq;
            for row in &rows {
                self.note(row);
            }
        }
    }

    fn note(&mut self, row: &EventRow) {
        let about = &row.conversation;
        match row.kind {
            kind::MESSAGE_ADDED => {
                let item = Item {
                    message: row.message.clone(),
                    reaction: None,
                };
                self.add(about, item);
            }
            kind::MESSAGE_CHANGED if row.fields.iter().any(|field| field == "reactions") => {
                // Which reaction it was is looked up when it is told.
                let item = Item {
                    message: row.message.clone(),
                    reaction: Some(String::new()),
                };
                self.add(about, item);
            }
            kind::MESSAGE_CHANGED
            | kind::MESSAGE_REMOVED
            | kind::CONVERSATION_CHANGED
            | kind::CONVERSATION_REMOVED
                if self.notices.contains_key(about) || self.is_in_summary(about) =>
            {
                self.pending.entry(about.clone()).or_default();
            }
            _ => {}
        }
        if !self.pending.is_empty() {
            self.flush_at.get_or_insert_with(|| Instant::now() + BUNDLE);
        }
    }

    fn add(&mut self, conversation: &str, item: Item) {
        let items = match &mut self.backlog {
            Some(backlog) => backlog.entry(conversation.to_owned()).or_default(),
            None => self.pending.entry(conversation.to_owned()).or_default(),
        };
        items.push(item);
        if items.len() > MESSAGES {
            items.remove(0);
        }
    }

    /// Brings every notification up to date that something happened to. After a failure the rest is still to be done.
    async fn flush(&mut self) -> Result<(), StoreError> {
        let first_poll_is_done = self.first_poll_is_done();
        self.follow().await?;
        let settings = {
            let mut connection = self.context.db.readers().acquire().await?;
            settings::load(&mut connection).await?
        };
        if first_poll_is_done
            && let Some(backlog) = self.backlog.take()
            && let Err(error) = self.tell_backlog(&backlog, &settings).await
        {
            self.backlog = Some(backlog);
            return Err(error);
        }
        let mut revised = false;
        while let Some((conversation, items)) = self.pending.pop_first() {
            let updated = async {
                revised |= self.revise(&conversation, &settings).await?;
                self.update(&conversation, items.clone(), &settings).await
            };
            if let Err(error) = updated.await {
                self.pending.insert(conversation, items);
                return Err(error);
            }
        }
        if revised {
            self.show_summary(true).await;
        }
        Ok(())
    }

    /// What of these items is still worth telling; `None`: nothing is. `told`: they speak of a message request.
    async fn judge(
        &self,
        conversation: &str,
        items: Vec<Item>,
        told: bool,
        settings: &Settings,
    ) -> Result<Option<Worth>, StoreError> {
        let own = self.context.account_id().to_string();
        let now_ms = self.context.now_ms();
        let mut connection = self.context.db.readers().acquire().await?;
        let selector = Selector::Id(conversation.to_owned());
        let Some(row) = conversations::get(&mut connection, &selector).await? else {
            return Ok(None);
        };
        if decide::shown(settings, &row).is_none() {
            return Ok(None);
        }
        let ids: BTreeSet<String> = items.iter().map(|item| item.message.clone()).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let found: HashMap<String, MessageRow> = messages::by_ids(&mut connection, &ids, now_ms)
            .await?
            .into_iter()
            .map(|message| (message.public_id.clone(), message))
            .collect();
        // A request that is told stays told, whatever comes after its first messages. Several may come at once.
        let count = i64::try_from(found.len()).unwrap_or(i64::MAX);
        let most = count.saturating_add(1);
        let is_first = row.is_request()
            && (told || messages::count_up_to(&mut connection, row.id, most).await? <= count);
        drop(connection);
        let at = Circumstances {
            own: &own,
            now_ms,
            since_ms: self.since_ms,
            focused: self.focus.is_held(conversation),
            is_first,
        };
        let mut request = false;
        let mut worth: Vec<(Item, MessageRow)> = Vec::new();
        for item in items {
            let Some(message) = found.get(&item.message) else {
                continue;
            };
            let item = match &item.reaction {
                Some(emoji) => {
                    // The newest one of somebody else; what it replaced is not told any more.
                    let newest = message
                        .reactions
                        .iter()
                        .filter(|reaction| reaction.author != own)
                        .max_by_key(|reaction| reaction.reacted_ms);
                    let Some(newest) = newest else { continue };
                    if !emoji.is_empty() && *emoji != newest.emoji
                        || !decide::reaction(message, newest.reacted_ms, &row, settings, &at)
                    {
                        continue;
                    }
                    Item {
                        message: item.message,
                        reaction: Some(newest.emoji.clone()),
                    }
                }
                None => {
                    match decide::message(message, &row, settings, &at) {
                        Verdict::Notify => {}
                        Verdict::Request => request = true,
                        Verdict::Quiet => continue,
                    }
                    item
                }
            };
            if !worth.iter().any(|(known, _)| *known == item) {
                worth.push((item, message.clone()));
            }
        }
        Ok((!worth.is_empty()).then_some(Worth {
            row,
            items: worth,
            request,
        }))
    }

    /// Shows, replaces or closes the notification of a conversation.
    async fn update(
        &mut self,
        conversation: &str,
        new: Vec<Item>,
        settings: &Settings,
    ) -> Result<(), StoreError> {
        let (mut items, told) = match self.notices.get(conversation) {
            Some(notice) => (notice.items.clone(), notice.request),
            None => (Vec::new(), false),
        };
        items.extend(new);
        let excess = items.len().saturating_sub(MESSAGES);
        items.drain(..excess);
        let judged = self.judge(conversation, items, told, settings).await?;
        let Some(Worth {
            row,
            items: worth,
            request,
        }) = judged
        else {
            self.close(conversation).await;
            return Ok(());
        };
        let Some((newest, message)) = worth.last() else {
            return Ok(());
        };
        let shown = decide::shown(settings, &row).unwrap_or(Shown::Count);
        let markup = self.server.reads_markup().await;
        let names = self.names(&worth).await?;
        let words = if request {
            text::request()
        } else {
            let title = text::title(&row.nickname, &row.display_name, &row.peer);
            let subject = match &newest.reaction {
                Some(emoji) => Subject::Reaction(emoji),
                None => Subject::Message(message),
            };
            text::conversation(&title, subject, worth.len(), shown, &names, markup)
        };
        let before = self.notices.get(conversation);
        let is_new = |item| before.is_none_or(|notice| !notice.items.contains(item));
        let fresh = worth.iter().any(|(item, _)| is_new(item));
        let manner = Manner {
            actions: !request,
            transient: worth
                .iter()
                .any(|(_, message)| message.expiry.0 != 0 && message.expiry.1 > 0),
            // Fewer messages than before make no sound, nor does what nobody needs to be told.
            silent: settings.notification_silent || !fresh,
            urgent: newest.reaction.is_none() && message.kind == messages::kind::CALL,
        };
        let newest = worth
            .iter()
            .max_by_key(|(_, message)| message.sent_ms)
            .map(|(_, message)| message.public_id.clone())
            .unwrap_or_default();
        let items: Vec<Item> = worth.into_iter().map(|(item, _)| item).collect();
        let before = self.notices.entry(conversation.to_owned()).or_default();
        let same = before.words.as_ref() == Some(&words) && before.items == items;
        let replaces = before.id.clone();
        // Whatever else a stranger writes makes no sound.
        let shown = before.id.as_ref().is_some_and(|id| self.server.knows(id));
        let told = request && before.request && shown;
        before.items = items;
        before.newest = newest;
        before.request = request;
        if told || same && !fresh {
            return Ok(());
        }
        let id = self.server.show(replaces.as_ref(), &words, manner).await;
        if let Some(notice) = self.notices.get_mut(conversation) {
            notice.shown_at = Some(Instant::now());
            // What could not be replaced is still to be closed.
            if id.is_some() {
                notice.id = id;
                notice.words = Some(words);
            }
        }
        self.keep_few().await;
        Ok(())
    }

    async fn close(&mut self, conversation: &str) {
        if let Some(Notice { id: Some(id), .. }) = self.notices.remove(conversation) {
            self.server.close(&id).await;
        }
    }

    async fn keep_few(&mut self) {
        while self.notices.len() > CONVERSATIONS {
            let oldest = self
                .notices
                .iter()
                .min_by_key(|(_, notice)| notice.shown_at)
                .map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { return };
            self.close(&oldest).await;
        }
    }

    /// Names of the people mentioned in the newest message.
    async fn names(&self, worth: &[(Item, MessageRow)]) -> Result<Known, StoreError> {
        let own = self.context.account_id().to_string();
        let mut known = Known(HashMap::from([(own, "You".to_owned())]));
        let body = worth
            .last()
            .and_then(|(_, message)| message.body.as_deref());
        let peers: BTreeSet<String> = session_protocol::content::mentions(body.unwrap_or_default())
            .take(MESSAGES)
            .map(|mention| mention.id.to_string())
            .collect();
        let peers: Vec<String> = peers.into_iter().collect();
        let mut connection = self.context.db.readers().acquire().await?;
        for row in conversations::by_peers(&mut connection, &peers).await? {
            let name = text::title(&row.nickname, &row.display_name, &row.peer);
            known.0.entry(row.peer).or_insert(name);
        }
        Ok(known)
    }

    /// Does what a user wants.
    async fn acted(&mut self, id: Id, act: Act) {
        if self.summary.as_ref().and_then(Summary::id) == Some(&id) {
            // It has no buttons.
            self.summary = self.summary.take().filter(|_| act != Act::Closed);
            return;
        }
        let found = self
            .notices
            .iter()
            .find(|(_, notice)| notice.id.as_ref() == Some(&id))
            .map(|(id, notice)| (id.clone(), notice.newest.clone(), notice.request));
        let Some((conversation, newest, request)) = found else {
            return;
        };
        match act {
            Act::Closed => {
                // Dismissed: what it told is not told again; it is not read either.
                self.notices.remove(&conversation);
            }
            Act::Open => self.context.signals.raise(Signal {
                conversation,
                author: self.context.account_id().to_string(),
                sent_ms: self.context.now_ms(),
                what: What::Opened,
            }),
            Act::MarkRead if !request => self.mark_read(conversation, newest).await,
            Act::Reply(body) if !request && !body.trim().is_empty() => {
                if let Err(error) = self.answer(conversation, newest, body).await {
                    tracing::warn!(%error, "a reply was not sent");
                }
            }
            Act::MarkRead | Act::Reply(_) => {}
        }
    }

    /// Everything up to a message is read.
    async fn mark_read(&self, conversation: String, up_to: String) {
        let selector = Selector::Id(conversation);
        let marked = actions::act(&self.context, move |connection, actor| {
            Box::pin(
                async move { read::mark_read(connection, actor, &selector, Some(&up_to)).await },
            )
        });
        // Any other error: it is gone meanwhile.
        if let Err(ActionError::Store(error)) = marked.await {
            tracing::warn!(%error, "a conversation was not marked as read");
        }
    }

    async fn answer(
        &self,
        conversation: String,
        newest: String,
        body: String,
    ) -> Result<(), StoreError> {
        let mut connection = self.context.db.readers().acquire().await?;
        let selector = Selector::Id(conversation.clone());
        let row = conversations::get(&mut connection, &selector).await?;
        drop(connection);
        if let Some(peer) = row.and_then(|row| row.peer.parse::<AccountId>().ok()) {
            self.mark_read(conversation, newest).await;
            self.replies.reply(peer, body);
        }
        Ok(())
    }
}

struct Known(HashMap<String, String>);

impl Names for Known {
    fn name(&self, account_id: &str) -> Option<String> {
        self.0.get(account_id).cloned()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use session_network::{IsolationKey, MemoryCache, Network, NetworkConfig, SystemClock};
    use session_protocol::{AccountKeys, AccountSeed};
    use tokio::sync::watch;

    use super::*;
    use crate::store::conversations::ONE_TO_ONE;
    use crate::store::{AccountDb, Meta};
    use crate::vault::DatabaseKey;

    struct Nobody;

    impl Replies for Nobody {
        fn reply(&self, _: AccountId, _: String) {}
    }

    /// What the swarm gave but is not on disk yet is still part of what came meanwhile.
    #[tokio::test]
    async fn the_first_poll_is_over_when_it_is_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = AccountDb::path(dir.path(), "account");
        let key = DatabaseKey::from_bytes([5; 32]);
        let keys = AccountKeys::from_seed(&AccountSeed::from_bytes([1; 16]));
        let nowhere = "name = \"nowhere\"\nseeds = [\"http://127.0.0.1:1\"]\nmin_nodes = 12\n";
        let config = NetworkConfig::from_toml(nowhere).unwrap();
        let meta = Meta {
            network: config.name.clone(),
            account_id: keys.account_id().to_string(),
            display_name: "Me".into(),
            profile_s: 0,
            created_ms: 1,
            log_id: [8; 8],
        };
        AccountDb::create(&path, &key, &meta).await.unwrap();
        let (stop_sender, stop) = watch::channel(false);
        let db = AccountDb::open(&path, &key, &config.name, stop.clone())
            .await
            .unwrap();
        let cache = Arc::new(MemoryCache::new());
        let network = Network::start(config, cache, Arc::new(SystemClock));
        let isolation = IsolationKey::new("account", "test");
        let context = Context::new(keys, db, network, isolation, stop);
        let nobody = (Arc::new(Focus::default()), Arc::new(Nobody));
        let mut notifier = Notifier::new(context.clone(), nobody.0, nobody.1)
            .await
            .unwrap();
        context.polled();
        notifier.flush().await.unwrap();
        assert!(notifier.backlog.is_some());
        context.progress.covered(1);
        notifier.flush().await.unwrap();
        assert!(notifier.backlog.is_none());
        stop_sender.send_replace(true);
        context.db.close(Duration::from_secs(10)).await;
    }

    /// An accepted contact's conversation.
    pub(crate) fn conversation() -> ConversationRow {
        ConversationRow {
            id: 1,
            public_id: "c".into(),
            kind: ONE_TO_ONE,
            peer: "05bb".into(),
            display_name: "Bob".into(),
            display_name_ms: 0,
            profile_s: 0,
            picture: None,
            nickname: String::new(),
            approved: true,
            approved_me: true,
            blocked: false,
            priority: 0,
            notify_mode: 0,
            mute_until_ms: 0,
            last_read_ms: 0,
            marked_unread: false,
            expiry: (0, 0),
            expiry_set_ms: 0,
            peer_expiry: (0, 0, 0),
            cleared_before_ms: 0,
            last_message: None,
            last_activity_ms: 1,
            unread: 0,
            unread_mentions: 0,
        }
    }

    /// A text of the other side.
    pub(crate) fn text(id: &str, sent_ms: i64, body: &str) -> MessageRow {
        MessageRow {
            receive_seq: 1,
            public_id: id.into(),
            conversation: "c".into(),
            author: "05bb".into(),
            outgoing: false,
            sent_ms,
            received_ms: sent_ms,
            order_ms: sent_ms,
            kind: messages::kind::TEXT.into(),
            body: Some(body.into()),
            send_state: messages::NONE,
            sync_state: messages::NONE,
            failure: String::new(),
            read: false,
            expiry: (0, 0),
            expiry_start: None,
            expires_at: None,
            deleted: false,
            mentions_me: false,
            quote: None,
            preview: None,
            invitation: None,
            detail: 0,
            detail_ms: 0,
            read_by_peer_ms: 0,
            call: None,
            attachments: Vec::new(),
            reactions: Vec::new(),
        }
    }
}
