//! From a swarm member's answer to the database.
//!
//! One answer is one unit; the next ones are opened while one is committed. Its messages are opened in parallel on the
//! blocking pool, judged in the node's order, and
//! applied with multi-row statements, together with cursor, tombstones and events, in one transaction: no statement
//! runs per message. A unit that cannot be committed is halved until the message at fault stands alone; that one goes
//! to the quarantine and the cursor moves on.
//!
//! Rules of messages.md 5 and 11 applied here: framing and authentication, sync target only from oneself, duplicates by
//! hash and by (sender, timestamp), which kinds create a conversation. Not applied yet: blocking, requests, settings,
//! and everything that belongs to kinds other than text. A message with a disappearing timer keeps its fields.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::TryReadyChunksError;
use futures_util::{Stream, TryStreamExt as _};
use session_network::StoredMessage;
use session_protocol::content::{self, ContentError, ExpirationMode, Kind, Place as Timers};
use session_protocol::storage::Namespace;
use session_protocol::{AccountId, AccountKeys, envelope};
use sqlx::SqliteConnection;

use super::{Context, expiry};
use crate::random::message_id;
use crate::store::conversations::{self, Edit};
use crate::store::delivery::{self, Arrival};
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
    /// Opaque id of the path it came over.
    pub path: String,
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

/// A unit whose messages are opened and judged.
pub struct Opened {
    batch: Batch,
    cursor: Option<NodeCursor>,
    items: Vec<Item>,
}

/// Units opened ahead of those that are being committed.
const AHEAD: usize = 4;
/// Most units in one transaction. Each costs a flush to disk and writes a page of every index anew; three of them still
/// let a frontend's write through in time.
const TOGETHER: usize = 3;

/// Applies units in their order and returns how many messages were new. While some are committed the next ones are
/// opened, and the source of units is asked for more; those that are ready then share a transaction. Commits keep the
/// order, so that a cursor never moves past what is not on disk.
pub async fn apply_all<E: From<StoreError>>(
    context: &Context,
    units: impl Stream<Item = Result<Unit, E>>,
) -> Result<u32, E> {
    let groups = units
        .map_ok(|unit| {
            let context = context.clone();
            async move { Ok(open(&context, unit).await?) }
        })
        .try_buffered(AHEAD)
        .try_ready_chunks(TOGETHER);
    let mut groups = std::pin::pin!(groups);
    let mut new = 0;
    let mut next = groups.try_next().await;
    loop {
        let (group, failure) = match next {
            Ok(Some(group)) => (group, None),
            Ok(None) => return Ok(new),
            // What was ready before it still counts.
            Err(TryReadyChunksError(group, error)) => (group, Some(error)),
        };
        let (committed, following) =
            futures_util::future::join(commit_together(&context.db, group), groups.try_next())
                .await;
        new += committed?;
        if let Some(error) = failure {
            return Err(error);
        }
        next = following;
    }
}

/// Commits units in their order, as one where the same member gave them.
async fn commit_together(db: &AccountDb, group: Vec<Opened>) -> Result<u32, StoreError> {
    let mut new = 0;
    let mut merged: Option<Opened> = None;
    for unit in group {
        match &mut merged {
            Some(before) if before.batch.node == unit.batch.node => {
                before.items.extend(unit.items);
                before.cursor = unit.cursor.or(before.cursor.take());
            }
            _ => {
                if let Some(before) = merged.replace(unit) {
                    new += commit(db, before).await?;
                }
            }
        }
    }
    match merged {
        Some(last) => Ok(new + commit(db, last).await?),
        None => Ok(new),
    }
}

/// Applies one unit and returns how many messages were new. Waits for the commit.
pub async fn apply(context: &Context, unit: Unit) -> Result<u32, StoreError> {
    commit(&context.db, open(context, unit).await?).await
}

/// Opens and judges a unit.
async fn open(context: &Context, unit: Unit) -> Result<Opened, StoreError> {
    let last = unit.messages.last();
    let cursor = last.map(|last| (last.hash.clone(), to_db(last.expiration)));
    let fresh = unknown(&context.db, &unit.place, unit.messages).await?;
    let items = open_all(&context.keys, fresh).await;
    Ok(Opened {
        batch: Batch {
            own: context.account_id(),
            place: unit.place,
            node: unit.node,
            path: unit.path,
            now_ms: context.now_ms(),
        },
        cursor,
        items,
    })
}

/// Those the database has not dealt with. A hint that saves work; the transaction decides.
async fn unknown(
    db: &AccountDb,
    place: &Place,
    mut messages: Vec<StoredMessage>,
) -> Result<Vec<StoredMessage>, StoreError> {
    let hashes: Vec<&str> = messages
        .iter()
        .map(|message| message.hash.as_str())
        .collect();
    let mut connection = db.readers().acquire().await?;
    let known = received::known(&mut connection, place, &hashes).await?;
    messages.retain(|message| !known.contains(&message.hash));
    Ok(messages)
}

/// Opens messages on the blocking pool, one share per core.
async fn open_all(keys: &Arc<AccountKeys>, messages: Vec<StoredMessage>) -> Vec<Item> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = messages.len().div_ceil(cores).max(1);
    let messages = Arc::new(messages);
    let tasks: Vec<_> = (0..messages.len())
        .step_by(share)
        .map(|from| {
            let (keys, messages) = (Arc::clone(keys), Arc::clone(&messages));
            tokio::task::spawn_blocking(move || {
                let until = (from + share).min(messages.len());
                let share = messages.get(from..until).unwrap_or_default();
                share.iter().map(|m| judge(&keys, m)).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut judged = Vec::with_capacity(messages.len());
    for task in tasks {
        let until = (judged.len() + share).min(messages.len());
        match task.await {
            Ok(opened) => judged.extend(opened),
            // A parser that panics costs its share, which stays in the quarantine, and nothing else.
            Err(_) => judged.resize(until, Judged::Quarantine("PANICKED")),
        }
    }
    // The tasks are done, so this is the last handle.
    Arc::unwrap_or_clone(messages)
        .into_iter()
        .zip(judged)
        .map(|(stored, judged)| Item { stored, judged })
        .collect()
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
    path: String,
    now_ms: i64,
}

/// Hash after which the node continues, and when the node drops that message, ms.
type NodeCursor = (String, i64);

async fn commit(db: &AccountDb, opened: Opened) -> Result<u32, StoreError> {
    let Opened {
        batch,
        cursor,
        items,
    } = opened;
    if cursor.is_none() {
        return Ok(0);
    }
    let whole = 0..items.len();
    commit_part(db, Arc::new(batch), cursor, Arc::new(items), whole).await
}

/// Commits part of the items; on a fault of the data halves it until the one at fault is alone. The cursor moves with
/// the last part alone: after a crash between two parts the rest is read again.
fn commit_part(
    db: &AccountDb,
    batch: Arc<Batch>,
    cursor: Option<NodeCursor>,
    items: Arc<Vec<Item>>,
    part: Range<usize>,
) -> BoxFuture<'_, Result<u32, StoreError>> {
    Box::pin(async move {
        let (shared, all, at) = (Arc::clone(&batch), Arc::clone(&items), cursor.clone());
        let range = part.clone();
        let outcome = db
            .writer()
            .unit(move |connection| {
                Box::pin(async move {
                    let items = all.get(range).unwrap_or_default();
                    write(connection, &shared, at, items).await
                })
            })
            .await;
        match outcome {
            Err(error) if is_fault_of_data(&error) => {
                if part.len() > 1 {
                    let middle = part.start + part.len() / 2;
                    let (first, second) = (part.start..middle, middle..part.end);
                    let batch_again = Arc::clone(&batch);
                    let added =
                        commit_part(db, batch_again, None, Arc::clone(&items), first).await?;
                    return Ok(added + commit_part(db, batch, cursor, items, second).await?);
                }
                match items.get(part.start) {
                    Some(item) if !matches!(item.judged, Judged::Quarantine(_)) => {
                        let refused = Item {
                            stored: item.stored.clone(),
                            judged: Judged::Quarantine("CANNOT_BE_STORED"),
                        };
                        commit_part(db, batch, cursor, Arc::new(vec![refused]), 0..1).await
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
        path,
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
    let before = delivery::last_arrival(&mut *connection).await?;
    let added = add_entries(&mut *connection, own, &entries, *now_ms).await?;
    let arrival = Arrival {
        at_ms: *now_ms,
        node: node.to_vec(),
        path: path.clone(),
    };
    delivery::arrived(&mut *connection, before, &arrival).await?;
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
        let public_id = message_id(now_ms);
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
            stored_ms: Some(to_db(stored.timestamp)),
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
