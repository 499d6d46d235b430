//! Conversations: finding, making, listing.
//!
//! A change is made on the row in memory ([`Edit`]) and written back with all others of the same transaction by
//! [`save`], which keeps the aggregates exact (unread, mentions, newest message) and writes the events.

use session_protocol::AccountId;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::StoreError;
use super::events::{self, NewEvent};
use super::list::push_list;
use super::timers;
use crate::random::opaque_id;

/// Values of column `kind`: those of the API's `ConversationKind`.
pub const ONE_TO_ONE: i64 = 1;
/// See [`ONE_TO_ONE`].
pub const NOTE_TO_SELF: i64 = 2;

/// Value of `priority` for a conversation that is left out of the ordinary list; above 0 it is pinned.
pub const HIDDEN: i64 = -1;

/// A conversation as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationRow {
    /// Internal number.
    pub id: i64,
    /// Opaque id.
    pub public_id: String,
    /// [`ONE_TO_ONE`] or [`NOTE_TO_SELF`].
    pub kind: i64,
    /// Account ID of the other side.
    pub peer: String,
    /// Name the other side gave; may be empty.
    pub display_name: String,
    /// Sent timestamp of the message that gave it, ms.
    pub display_name_ms: i64,
    /// Time of the profile it came with, seconds; 0: the profile had none.
    pub profile_s: i64,
    /// URL and key of the other side's picture.
    pub picture: Option<(String, Vec<u8>)>,
    /// Name the user gave; may be empty.
    pub nickname: String,
    /// We accepted them.
    pub approved: bool,
    /// They accepted us, or wrote.
    pub approved_me: bool,
    /// All they send is dropped.
    pub blocked: bool,
    /// [`HIDDEN`], 0, or above 0: pinned.
    pub priority: i64,
    /// 0 default, 1 all, 2 none, 3 mentions only.
    pub notify_mode: i64,
    /// ms.
    pub mute_until_ms: i64,
    /// Everything sent up to then is read, ms. Only moves on.
    pub last_read_ms: i64,
    /// Shown as unread although all is read.
    pub marked_unread: bool,
    /// Own disappearing setting: type and seconds.
    pub expiry: (i64, i64),
    /// Sent timestamp of the change that gave it, ms: an older one that comes late changes nothing.
    pub expiry_set_ms: i64,
    /// The other side's, last seen: type and seconds, and the sent timestamp it was seen with.
    pub peer_expiry: (i64, i64, i64),
    /// Nothing sent up to then comes back, ms.
    pub cleared_before_ms: i64,
    /// `receive_seq` of the newest message.
    pub last_message: Option<i64>,
    /// ms; 0: nothing ever happened in it.
    pub last_activity_ms: i64,
    /// Messages that count, sent after the read position.
    pub unread: i64,
    /// Those of them that mention us.
    pub unread_mentions: i64,
}

impl ConversationRow {
    /// Whether both sides accepted each other, and may be told of what the other does (messages.md 6.10, 6.11, 6.16).
    pub fn is_mutual(&self) -> bool {
        self.kind == ONE_TO_ONE && self.approved && self.approved_me && !self.blocked
    }

    /// Whether the other side waits to be accepted (messages.md 6.7).
    pub fn is_request(&self) -> bool {
        self.kind == ONE_TO_ONE
            && self.approved_me
            && !self.approved
            && !self.blocked
            && self.priority != HIDDEN
            && self.last_activity_ms > 0
    }
}

const COLUMNS: &str = "SELECT id, public_id, kind, peer, display_name, display_name_ms, profile_s, picture_url, \
     picture_key, nickname, approved, approved_me, blocked, priority, notify_mode, mute_until_ms, last_read_ms, \
     marked_unread, expiry_type, expiry_timer_s, peer_expiry_type, peer_expiry_timer_s, peer_expiry_ms, \
     cleared_before_ms, last_message, last_activity_ms, unread, unread_mentions, expiry_set_ms FROM conversation ";

fn row(row: &SqliteRow) -> Result<ConversationRow, sqlx::Error> {
    let url: Option<String> = row.try_get(7)?;
    Ok(ConversationRow {
        id: row.try_get(0)?,
        public_id: row.try_get(1)?,
        kind: row.try_get(2)?,
        peer: row.try_get(3)?,
        display_name: row.try_get(4)?,
        display_name_ms: row.try_get(5)?,
        profile_s: row.try_get(6)?,
        picture: url.zip(row.try_get::<Option<Vec<u8>>, _>(8)?),
        nickname: row.try_get(9)?,
        approved: row.try_get(10)?,
        approved_me: row.try_get(11)?,
        blocked: row.try_get(12)?,
        priority: row.try_get(13)?,
        notify_mode: row.try_get(14)?,
        mute_until_ms: row.try_get(15)?,
        last_read_ms: row.try_get(16)?,
        marked_unread: row.try_get(17)?,
        expiry: (row.try_get(18)?, row.try_get(19)?),
        peer_expiry: (row.try_get(20)?, row.try_get(21)?, row.try_get(22)?),
        cleared_before_ms: row.try_get(23)?,
        last_message: row.try_get(24)?,
        last_activity_ms: row.try_get(25)?,
        unread: row.try_get(26)?,
        unread_mentions: row.try_get(27)?,
        expiry_set_ms: row.try_get(28)?,
    })
}

/// How a conversation is named by a caller.
#[derive(Clone, Debug)]
pub enum Selector {
    /// By its opaque id.
    Id(String),
    /// By the other side's account ID.
    Peer(String),
}

/// One conversation.
pub async fn get(
    connection: &mut SqliteConnection,
    selector: &Selector,
) -> Result<Option<ConversationRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
    match selector {
        Selector::Id(id) => query.push("WHERE public_id = ").push_bind(id.clone()),
        Selector::Peer(peer) => query.push("WHERE peer = ").push_bind(peer.clone()),
    };
    Ok(query
        .build()
        .fetch_optional(connection)
        .await?
        .as_ref()
        .map(row)
        .transpose()?)
}

/// Several conversations by opaque id, in no particular order.
pub async fn by_ids(
    connection: &mut SqliteConnection,
    ids: &[String],
) -> Result<Vec<ConversationRow>, StoreError> {
    select_in(connection, "public_id", ids).await
}

/// Several conversations by the other side, in no particular order.
pub async fn by_peers(
    connection: &mut SqliteConnection,
    peers: &[String],
) -> Result<Vec<ConversationRow>, StoreError> {
    select_in(connection, "peer", peers).await
}

/// Several conversations by internal number, in no particular order.
pub async fn by_numbers(
    connection: &mut SqliteConnection,
    numbers: &[i64],
) -> Result<Vec<ConversationRow>, StoreError> {
    select_in(connection, "id", numbers).await
}

async fn select_in<'q, T>(
    connection: &mut SqliteConnection,
    column: &'static str,
    values: &[T],
) -> Result<Vec<ConversationRow>, StoreError>
where
    T: Clone + Send + sqlx::Encode<'q, Sqlite> + sqlx::Type<Sqlite> + 'q,
{
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
    query.push("WHERE ").push(column).push(" IN (");
    push_list(&mut query, values);
    let rows = query.build().fetch_all(connection).await?;
    Ok(rows.iter().map(row).collect::<Result<_, _>>()?)
}

/// Unread messages of all conversations.
pub async fn unread_total(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(UNREAD_TOTAL)
        .fetch_one(connection)
        .await?)
}

/// Answered from an index that holds nothing but these numbers.
pub(super) const UNREAD_TOTAL: &str =
    "SELECT coalesce(sum(unread), 0) FROM conversation WHERE unread > 0";

/// A page of conversations, newest activity first, strictly after `(last_activity_ms, id)`.
pub async fn page(
    connection: &mut SqliteConnection,
    after: Option<(i64, i64)>,
    limit: i64,
) -> Result<Vec<ConversationRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
    if let Some((activity, id)) = after {
        query
            .push("WHERE (last_activity_ms, id) < (")
            .push_bind(activity);
        query.push(", ").push_bind(id).push(") ");
    }
    query
        .push("ORDER BY last_activity_ms DESC, id DESC LIMIT ")
        .push_bind(limit);
    let rows = query.build().fetch_all(connection).await?;
    Ok(rows.iter().map(row).collect::<Result<_, _>>()?)
}

/// The conversations with these peers; missing ones are made, with their events.
pub async fn ensure(
    connection: &mut SqliteConnection,
    own: &AccountId,
    peers: &[String],
    now_ms: i64,
) -> Result<Vec<ConversationRow>, StoreError> {
    let mut found = by_peers(&mut *connection, peers).await?;
    let mut missing: Vec<&String> = peers
        .iter()
        .filter(|peer| !found.iter().any(|row| row.peer == **peer))
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(found);
    }
    let own = own.to_string();
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO conversation
         (public_id, kind, peer, display_name, display_name_ms, last_activity_ms, created_ms) ",
    );
    let mut fresh = Vec::with_capacity(missing.len());
    query.push_values(missing, |mut values, peer| {
        let id = opaque_id();
        let kind = if *peer == own {
            NOTE_TO_SELF
        } else {
            ONE_TO_ONE
        };
        values
            .push_bind(id.clone())
            .push_bind(kind)
            .push_bind(peer.clone());
        values
            .push_bind("")
            .push_bind(0_i64)
            .push_bind(0_i64)
            .push_bind(now_ms);
        fresh.push(id);
    });
    query.build().execute(&mut *connection).await?;
    let added: Vec<NewEvent> = fresh
        .iter()
        .map(|id| NewEvent::conversation_added(id))
        .collect();
    events::append(&mut *connection, &added, now_ms).await?;
    found.extend(by_ids(connection, &fresh).await?);
    Ok(found)
}

/// A conversation that is being changed.
#[derive(Clone, Debug)]
pub struct Edit {
    before: ConversationRow,
    /// As it shall be. [`save`] overwrites `last_message` and `last_activity_ms`, and the counts with `recount`.
    pub row: ConversationRow,
    /// Messages were added, changed or removed: the newest one is looked up.
    pub messages: bool,
    /// The counts are counted again instead of taken from `row`.
    pub recount: bool,
}

impl Edit {
    /// No change yet.
    pub fn new(row: ConversationRow) -> Self {
        Self {
            before: row.clone(),
            row,
            messages: false,
            recount: false,
        }
    }

    /// A message of ours or theirs was added: sent when, whether it counts as unread, whether it mentions us.
    pub fn added(&mut self, sent_ms: i64, counts: bool, mentions_me: bool) {
        self.messages = true;
        if counts && sent_ms > self.row.last_read_ms {
            self.row.unread += 1;
            self.row.unread_mentions += i64::from(mentions_me);
        }
    }

    /// Messages were removed or emptied.
    pub fn removed(&mut self) {
        self.messages = true;
        self.recount = true;
    }

    /// Moves the read position on, never back, and takes an "unread" mark off.
    pub fn read_to(&mut self, sent_ms: i64) {
        self.row.marked_unread = false;
        if sent_ms > self.row.last_read_ms {
            self.row.last_read_ms = sent_ms;
            self.recount = true;
        }
    }

    /// Takes over an own disappearing setting, type and seconds, unless a later one is held.
    pub fn set_expiry(&mut self, expiry: (i64, i64), sent_ms: i64) {
        if sent_ms > self.row.expiry_set_ms {
            self.row.expiry = expiry;
            self.row.expiry_set_ms = sent_ms;
        }
    }

    /// Whether the read position moves on.
    pub fn reads(&self) -> bool {
        self.row.last_read_ms > self.before.last_read_ms
    }

    fn is_touched(&self) -> bool {
        self.messages || self.recount || self.row != self.before
    }

    /// Names of the API's fields that differ.
    fn fields(&self) -> Vec<&'static str> {
        let (old, new) = (&self.before, &self.row);
        let mut fields = Vec::new();
        let mut differs = |differs: bool, name| {
            if differs {
                fields.push(name);
            }
        };
        differs(
            self.messages || old.last_message != new.last_message,
            "last_message",
        );
        differs(
            old.last_activity_ms != new.last_activity_ms,
            "last_activity_time",
        );
        differs(old.unread != new.unread, "unread_count");
        differs(
            old.unread_mentions != new.unread_mentions,
            "unread_mention_count",
        );
        differs(old.marked_unread != new.marked_unread, "marked_unread");
        differs(old.last_read_ms != new.last_read_ms, "last_read_time");
        differs(old.display_name != new.display_name, "display_name");
        differs(old.nickname != new.nickname, "nickname");
        differs(old.approved != new.approved, "approved");
        differs(old.approved_me != new.approved_me, "approved_me");
        differs(old.is_request() != new.is_request(), "request");
        differs(old.blocked != new.blocked, "blocked");
        differs(
            (old.priority == HIDDEN) != (new.priority == HIDDEN),
            "hidden",
        );
        differs(old.priority.max(0) != new.priority.max(0), "pin_priority");
        differs(old.notify_mode != new.notify_mode, "notify_mode");
        differs(old.mute_until_ms != new.mute_until_ms, "mute_until_time");
        differs(old.expiry != new.expiry, "disappearing");
        let setting = |row: &ConversationRow| (row.peer_expiry.0, row.peer_expiry.1);
        differs(setting(old) != setting(new), "peer_disappearing");
        fields
    }
}

/// Writes changed conversations with one statement and an event each. Where the read position moves on, timers of
/// messages that disappear after reading start.
pub async fn save(
    connection: &mut SqliteConnection,
    edits: Vec<Edit>,
    now_ms: i64,
) -> Result<(), StoreError> {
    let mut edits: Vec<Edit> = edits.into_iter().filter(Edit::is_touched).collect();
    if edits.is_empty() {
        return Ok(());
    }
    edits.sort_by_key(|edit| edit.row.id);
    let mut query = QueryBuilder::<Sqlite>::new(
        "WITH new (id, display_name, display_name_ms, profile_s, picture_url, picture_key, nickname, approved,
             approved_me, blocked, priority, notify_mode, mute_until_ms, last_read_ms, marked_unread,
             expiry_type, expiry_timer_s, peer_expiry_type, peer_expiry_timer_s, peer_expiry_ms,
             cleared_before_ms, unread, unread_mentions, expiry_set_ms, messages, recount) AS (",
    );
    query.push_values(&edits, |mut values, edit| {
        let row = &edit.row;
        let (url, key) = row.picture.clone().unzip();
        values
            .push_bind(row.id)
            .push_bind(row.display_name.clone())
            .push_bind(row.display_name_ms)
            .push_bind(row.profile_s)
            .push_bind(url)
            .push_bind(key)
            .push_bind(row.nickname.clone())
            .push_bind(row.approved)
            .push_bind(row.approved_me)
            .push_bind(row.blocked)
            .push_bind(row.priority)
            .push_bind(row.notify_mode)
            .push_bind(row.mute_until_ms)
            .push_bind(row.last_read_ms)
            .push_bind(row.marked_unread)
            .push_bind(row.expiry.0)
            .push_bind(row.expiry.1)
            .push_bind(row.peer_expiry.0)
            .push_bind(row.peer_expiry.1)
            .push_bind(row.peer_expiry.2)
            .push_bind(row.cleared_before_ms)
            .push_bind(row.unread)
            .push_bind(row.unread_mentions)
            .push_bind(row.expiry_set_ms)
            .push_bind(edit.messages)
            .push_bind(edit.recount);
    });
    query.push(
        ") UPDATE conversation SET
             display_name = new.display_name, display_name_ms = new.display_name_ms, profile_s = new.profile_s,
             picture_url = new.picture_url, picture_key = new.picture_key, nickname = new.nickname,
             approved = new.approved, approved_me = new.approved_me, blocked = new.blocked,
             priority = new.priority, notify_mode = new.notify_mode, mute_until_ms = new.mute_until_ms,
             last_read_ms = new.last_read_ms, marked_unread = new.marked_unread,
             expiry_type = new.expiry_type, expiry_timer_s = new.expiry_timer_s,
             expiry_set_ms = new.expiry_set_ms,
             peer_expiry_type = new.peer_expiry_type, peer_expiry_timer_s = new.peer_expiry_timer_s,
             peer_expiry_ms = new.peer_expiry_ms, cleared_before_ms = new.cleared_before_ms,
             unread = CASE WHEN new.recount THEN
                 (SELECT count(*) FROM message m WHERE m.conversation = new.id AND m.counts = 1
                  AND m.sent_ms > new.last_read_ms) ELSE new.unread END,
             unread_mentions = CASE WHEN new.recount THEN
                 (SELECT coalesce(sum(m.mentions_me), 0) FROM message m WHERE m.conversation = new.id
                  AND m.counts = 1 AND m.sent_ms > new.last_read_ms) ELSE new.unread_mentions END,
             last_message = CASE WHEN new.messages THEN
                 (SELECT m.receive_seq FROM message m WHERE m.conversation = new.id AND m.kind <> 'GAP'
                  ORDER BY m.order_ms DESC, m.receive_seq DESC LIMIT 1) ELSE last_message END,
             last_activity_ms = CASE WHEN new.messages THEN max(last_activity_ms, coalesce(
                 (SELECT m.order_ms FROM message m WHERE m.conversation = new.id AND m.kind <> 'GAP'
                  ORDER BY m.order_ms DESC, m.receive_seq DESC LIMIT 1), 0)) ELSE last_activity_ms END
         FROM new WHERE conversation.id = new.id
         RETURNING id, unread, unread_mentions, last_message, last_activity_ms",
    );
    for found in query.build().fetch_all(&mut *connection).await? {
        let id: i64 = found.try_get(0)?;
        if let Ok(place) = edits.binary_search_by_key(&id, |edit| edit.row.id)
            && let Some(edit) = edits.get_mut(place)
        {
            edit.row.unread = found.try_get(1)?;
            edit.row.unread_mentions = found.try_get(2)?;
            edit.row.last_message = found.try_get(3)?;
            edit.row.last_activity_ms = found.try_get(4)?;
        }
    }
    let read: Vec<(i64, i64)> = edits
        .iter()
        .filter(|edit| edit.reads())
        .map(|edit| (edit.row.id, edit.row.last_read_ms))
        .collect();
    let mut log = timers::start_on_read(&mut *connection, &read, now_ms).await?;
    let changes = edits
        .iter()
        .map(|edit| (edit, edit.fields()))
        .filter(|(_, fields)| !fields.is_empty())
        .map(|(edit, fields)| NewEvent::conversation_changed(&edit.row.public_id, &fields));
    log.extend(changes);
    events::append(connection, &log, now_ms).await
}
