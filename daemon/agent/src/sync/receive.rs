//! From a swarm member's answer to the database.
//!
//! One answer is one unit. Its messages are opened in parallel on the blocking pool, judged in the node's order, and
//! applied with multi-row statements, together with cursor, tombstones and events, in one transaction: no statement
//! runs per message. A unit that cannot be committed is halved until the message at fault stands alone; that one goes
//! to the quarantine and the cursor moves on.
//!
//! Rules of messages.md 5 and 11 applied here: framing and authentication, sync target only from oneself, duplicates by
//! hash and by (sender, timestamp), which kinds create a conversation. Not applied yet: blocking, requests, settings,
//! and everything that belongs to kinds other than text. A message with a disappearing timer keeps its fields.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use session_network::StoredMessage;
use session_protocol::content::{self, ContentError, ExpirationMode, Kind, Place as Timers};
use session_protocol::storage::Namespace;
use session_protocol::{AccountId, AccountKeys, envelope};
use sqlx::SqliteConnection;

use super::{Context, expiry};
use crate::random::opaque_id;
use crate::store::conversations::{self, Edit};
use crate::store::entries::{self, NewMessage};
use crate::store::events::{self, NewEvent};
use crate::store::messages;
use crate::store::received::{self, Place, Quarantined};
use crate::store::{AccountDb, StoreError};
use crate::time::to_db;

/// Most messages in one unit.
pub const UNIT: usize = 200;

/// Messages of one answer, in the node's order.
pub struct Unit {
    /// Who answered.
    pub node: [u8; 32],
    /// What was read.
    pub place: Place,
    /// At most [`UNIT`].
    pub messages: Vec<StoredMessage>,
}

/// What one message turned out to be.
#[derive(Clone)]
enum Judged {
    /// It becomes an entry of a conversation.
    Entry(Box<Entry>),
    /// It is left out.
    Refused(&'static str),
    /// It was sealed to us and makes no sense.
    Quarantine(&'static str),
}

#[derive(Clone)]
struct Entry {
    peer: String,
    author: AccountId,
    outgoing: bool,
    sent_ms: i64,
    kind: String,
    body: Option<String>,
    raw: Option<Vec<u8>>,
    sender_name: Option<String>,
    creates_conversation: bool,
    expiry: (i64, i64),
}

/// A message with what it turned out to be.
#[derive(Clone)]
struct Item {
    stored: StoredMessage,
    judged: Judged,
}

/// Applies a unit and returns how many messages were new. Waits for the commit.
pub async fn apply(context: &Context, unit: Unit) -> Result<u32, StoreError> {
    let Some(last) = unit.messages.last() else {
        return Ok(0);
    };
    let cursor = (last.hash.clone(), to_db(last.expiration));
    let fresh = unknown(&context.db, &unit).await?;
    let items = open_all(&context.keys, fresh).await;
    let batch = Batch {
        own: context.account_id(),
        place: unit.place,
        node: unit.node,
        now_ms: context.now_ms(),
    };
    commit(&context.db, Arc::new(batch), Some(cursor), items).await
}

/// Those the database has not dealt with. A hint that saves work; the transaction decides.
async fn unknown(db: &AccountDb, unit: &Unit) -> Result<Vec<StoredMessage>, StoreError> {
    let hashes: Vec<&str> = unit
        .messages
        .iter()
        .map(|message| message.hash.as_str())
        .collect();
    let mut connection = db.readers().acquire().await?;
    let known = received::known(&mut connection, &unit.place, &hashes).await?;
    Ok(unit
        .messages
        .iter()
        .filter(|message| !known.contains(&message.hash))
        .cloned()
        .collect())
}

/// Opens messages on the blocking pool, one share per core.
async fn open_all(keys: &Arc<AccountKeys>, messages: Vec<StoredMessage>) -> Vec<Item> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = messages.len().div_ceil(cores).max(1);
    let tasks: Vec<_> = messages
        .chunks(share)
        .map(|chunk| {
            let (keys, chunk) = (Arc::clone(keys), chunk.to_vec());
            tokio::task::spawn_blocking(move || {
                chunk
                    .into_iter()
                    .map(|stored| Item {
                        judged: judge(&keys, &stored),
                        stored,
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut items = Vec::with_capacity(messages.len());
    for (task, chunk) in tasks.into_iter().zip(messages.chunks(share)) {
        match task.await {
            Ok(opened) => items.extend(opened),
            // A parser that panics costs its share, which stays in the quarantine, and nothing else.
            Err(_) => items.extend(chunk.iter().map(|stored| Item {
                stored: stored.clone(),
                judged: Judged::Quarantine("PANICKED"),
            })),
        }
    }
    items
}

fn judge(keys: &AccountKeys, stored: &StoredMessage) -> Judged {
    let Some(data) = &stored.data else {
        return Judged::Refused("NOT_BASE64");
    };
    let opened = match envelope::open(keys, data) {
        Ok(opened) => opened,
        Err(error) if error.opened_for_us() => return Judged::Quarantine(error.reason()),
        Err(error) => return Judged::Refused(error.reason()),
    };
    let read = match content::read(&opened.content) {
        Ok(read) => read,
        // Perhaps a kind of a later version.
        Err(error @ ContentError::NoKind) => return Judged::Quarantine(error.reason()),
        Err(error) => return Judged::Refused(error.reason()),
    };
    let own = keys.account_id();
    let outgoing = opened.sender == own;
    let peer = match (outgoing, read.sync_target) {
        (true, target) => target.unwrap_or(own),
        (false, None) => opened.sender,
        (false, Some(_)) => return Judged::Refused("FOREIGN_SYNC_TARGET"),
    };
    if !read.kind.creates_conversation() {
        return Judged::Refused("KIND_NOT_HANDLED");
    }
    let timers = if peer == own {
        Timers::NoteToSelf
    } else {
        Timers::OneToOne
    };
    let mut entry = Entry {
        peer: peer.to_string(),
        author: opened.sender,
        outgoing,
        sent_ms: to_db(opened.timestamp),
        kind: read.kind.name().to_owned(),
        body: None,
        raw: None,
        sender_name: None,
        creates_conversation: true,
        expiry: timer(&read, timers),
    };
    match &read.kind {
        Kind::Visible(visible) if entry.kind == messages::kind::TEXT => {
            entry.body = Some(visible.body.clone());
            // Own messages never change the own profile (decision 2 of the protocol documents).
            let name = read.profile.and_then(|profile| profile.name);
            entry.sender_name = name.filter(|_| !outgoing);
            entry.raw = visible.has_parts().then_some(opened.content_bytes);
        }
        _ => entry.raw = Some(opened.content_bytes),
    }
    Judged::Entry(Box::new(entry))
}

/// Type, in the network's numbers, and seconds of a disappearing timer.
fn timer(read: &content::Read, timers: Timers) -> (i64, i64) {
    match read.expiration(timers) {
        None => (0, 0),
        Some(expiration) => {
            let mode = match expiration.mode {
                ExpirationMode::AfterRead => 1,
                ExpirationMode::AfterSend => 2,
            };
            (mode, i64::from(expiration.timer_s))
        }
    }
}

struct Batch {
    own: AccountId,
    place: Place,
    node: [u8; 32],
    now_ms: i64,
}

/// Hash after which the node continues, and when the node drops that message, ms.
type NodeCursor = (String, i64);

/// Commits items; on a fault of the data halves them until the one at fault is alone. The cursor moves with the last
/// part alone: after a crash between two parts the rest is read again.
fn commit(
    db: &AccountDb,
    batch: Arc<Batch>,
    cursor: Option<NodeCursor>,
    items: Vec<Item>,
) -> BoxFuture<'_, Result<u32, StoreError>> {
    Box::pin(async move {
        let (shared, copy, at) = (Arc::clone(&batch), items.clone(), cursor.clone());
        let outcome = db
            .writer()
            .unit(move |connection| {
                Box::pin(async move { write(connection, &shared, at, &copy).await })
            })
            .await;
        match outcome {
            Err(error) if is_fault_of_data(&error) => {
                let mut items = items;
                if items.len() > 1 {
                    let second = items.split_off(items.len() / 2);
                    let first = commit(db, Arc::clone(&batch), None, items).await?;
                    return Ok(first + commit(db, batch, cursor, second).await?);
                }
                match items.first_mut() {
                    Some(item) if !matches!(item.judged, Judged::Quarantine(_)) => {
                        item.judged = Judged::Quarantine("CANNOT_BE_STORED");
                        commit(db, batch, cursor, items).await
                    }
                    _ => Err(error),
                }
            }
            other => other,
        }
    })
}

/// Whether another unit might commit: the database works and refuses these rows.
fn is_fault_of_data(error: &StoreError) -> bool {
    match error {
        StoreError::Sql(sqlx::Error::Database(cause)) => {
            // Primary codes: CONSTRAINT 19, TOOBIG 18, MISMATCH 20, RANGE 25.
            cause
                .code()
                .and_then(|code| code.parse::<i64>().ok())
                .is_some_and(|code| matches!(code & 0xff, 18 | 19 | 20 | 25))
        }
        StoreError::Sql(sqlx::Error::Encode(_)) => true,
        _ => false,
    }
}

/// The transaction's part: everything a unit changes.
async fn write(
    connection: &mut SqliteConnection,
    batch: &Batch,
    cursor: Option<NodeCursor>,
    items: &[Item],
) -> Result<u32, StoreError> {
    let Batch {
        own,
        place,
        node,
        now_ms,
    } = batch;
    let hashes: Vec<(&str, i64)> = items
        .iter()
        .map(|item| (item.stored.hash.as_str(), to_db(item.stored.expiration)))
        .collect();
    let new = received::mark(&mut *connection, place, &hashes, *now_ms).await?;

    let mut entries = Vec::new();
    let mut quarantined = Vec::new();
    let mut refused: BTreeMap<&'static str, i64> = BTreeMap::new();
    for item in items.iter().filter(|item| new.contains(&item.stored.hash)) {
        match &item.judged {
            Judged::Entry(entry) => entries.push((&**entry, &item.stored)),
            Judged::Refused(reason) => *refused.entry(reason).or_default() += 1,
            Judged::Quarantine(reason) => quarantined.push(Quarantined {
                hash: item.stored.hash.clone(),
                reason,
                data: item.stored.data.clone().unwrap_or_default(),
            }),
        }
    }
    let added = add_entries(&mut *connection, own, &entries, *now_ms).await?;
    received::quarantine(&mut *connection, place, &quarantined, *now_ms).await?;
    received::count(&mut *connection, &refused).await?;
    if let Some((hash, expires_ms)) = cursor {
        received::set_cursor(&mut *connection, place, node, &hash, expires_ms).await?;
    }
    sqlx::query("UPDATE meta SET last_now_ms = max(last_now_ms, ?) WHERE id = 1")
        .bind(now_ms)
        .execute(connection)
        .await?;
    Ok(added)
}

async fn add_entries(
    connection: &mut SqliteConnection,
    own: &AccountId,
    entries: &[(&Entry, &StoredMessage)],
    now_ms: i64,
) -> Result<u32, StoreError> {
    let peers: HashSet<String> = entries
        .iter()
        .filter(|(entry, _)| entry.creates_conversation)
        .map(|(entry, _)| entry.peer.clone())
        .collect();
    let peers: Vec<String> = peers.into_iter().collect();
    let mut edits: HashMap<String, Edit> =
        conversations::ensure(&mut *connection, own, &peers, now_ms)
            .await?
            .into_iter()
            .map(|row| (row.peer.clone(), Edit::new(row)))
            .collect();
    let mut by_id = HashMap::new();
    let mut rows = Vec::with_capacity(entries.len());
    for (entry, stored) in entries {
        let Some(edit) = edits.get(&entry.peer) else {
            continue;
        };
        let expiry_start_ms = expiry::start_on_arrival(
            entry.expiry,
            entry.outgoing,
            entry.sent_ms,
            to_db(stored.expiration),
            now_ms,
        );
        if expiry_start_ms.is_some_and(|start| start + entry.expiry.1 * 1000 <= now_ms) {
            continue;
        }
        let public_id = opaque_id();
        by_id.insert(public_id.clone(), *entry);
        let state = if entry.outgoing {
            messages::SENT
        } else {
            messages::NONE
        };
        rows.push(NewMessage {
            public_id,
            conversation: edit.row.id,
            author: entry.author.to_string(),
            outgoing: entry.outgoing,
            sent_ms: entry.sent_ms,
            kind: entry.kind.clone(),
            body: entry.body.clone(),
            raw: entry.raw.clone(),
            send_state: state,
            sync_state: state,
            stored: Some((stored.hash.clone(), to_db(stored.expiration))),
            expiry: entry.expiry,
            expiry_start_ms,
            counts: !entry.outgoing,
            ..NewMessage::default()
        });
    }
    let added = entries::add(&mut *connection, &rows, now_ms).await?;

    let mut log = Vec::with_capacity(added.len());
    for message in &added {
        let Some(entry) = by_id.get(&message.public_id) else {
            continue;
        };
        let Some(edit) = edits.get_mut(&entry.peer) else {
            continue;
        };
        log.push(NewEvent::message_added(
            &edit.row.public_id,
            &message.public_id,
        ));
        edit.added(entry.sent_ms, !entry.outgoing, false);
        edit.row.priority = edit.row.priority.max(0);
        if entry.outgoing {
            edit.row.approved = true;
            edit.read_to(entry.sent_ms);
        } else {
            edit.row.approved_me = true;
        }
        if let Some(name) = &entry.sender_name
            && entry.sent_ms > edit.row.display_name_ms
        {
            edit.row.display_name.clone_from(name);
            edit.row.display_name_ms = entry.sent_ms;
        }
    }
    events::append(&mut *connection, &log, now_ms).await?;
    conversations::save(connection, edits.into_values().collect(), now_ms).await?;
    Ok(u32::try_from(added.len()).unwrap_or(u32::MAX))
}

/// The namespace read in this version.
pub fn own_inbox(account: &AccountId) -> Place {
    Place {
        swarm: account.to_string(),
        namespace: Namespace::DEFAULT,
    }
}
