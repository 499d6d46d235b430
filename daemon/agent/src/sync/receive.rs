//! From a swarm member's answer to the database.
//!
//! One answer is one unit. Its messages are opened and judged in parallel on the blocking pool ([`super::judge`]), the
//! next units while one is committed, and applied in the node's order with multi-row statements, together with cursor,
//! tombstones and events, in one transaction ([`super::apply`]): no statement runs per message. A unit that cannot be
//! committed is halved until the message at fault stands alone; that one goes to the quarantine and the cursor moves on.
//!
//! What is in the quarantine is tried again once by every later version.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use session_network::StoredMessage;
use session_protocol::AccountId;
use session_protocol::storage::Namespace;
use tokio::sync::mpsc;

use super::Context;
use super::apply::{self, Batch, Item, Outcome};
use super::judge::{Judged, judge};
use super::pending::Pending;
use super::start::Timer;
use crate::store::received::{self, NodeCursor, Place};
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

/// A unit whose messages are opened and judged.
pub struct Opened {
    batch: Batch,
    cursor: Option<NodeCursor>,
    items: Vec<Item>,
}

/// Units that are opened at once: while the last shares of one are at work, cores that are free begin the next.
const OPENING: usize = 2;
/// Messages that are opened in one go.
const SHARE: usize = 25;
/// Units that are opened and wait to be committed.
const AHEAD: usize = 4;
/// Most units in one transaction. Each transaction costs a flush to disk and writes a page of every index anew; two
/// units still let a frontend's write through in time. While frontends write each unit has its own.
const TOGETHER: usize = 2;

/// Applies units in their order and returns how many messages were new. While some are committed the next ones are
/// opened, and the source of units is asked for more; those that are ready then share a transaction. Commits keep the
/// order, so that a cursor never moves past what is not on disk.
pub async fn apply_all<E: From<StoreError>>(
    context: &Context,
    units: impl Stream<Item = Result<Unit, E>>,
) -> Result<u32, E> {
    let (ready, next) = mpsc::channel(AHEAD);
    let opening = async {
        let opened = units
            .map_ok(|unit| async move { Ok(open(context, unit).await?) })
            .try_buffered(OPENING);
        let mut opened = std::pin::pin!(opened);
        // Owned here, so that the other side learns when there is no more.
        let ready = ready;
        while let Some(unit) = opened.next().await {
            let last = unit.is_err();
            if ready.send(unit).await.is_err() || last {
                return;
            }
        }
    };
    let committing = async {
        let mut next = next;
        let mut new = 0;
        while let Some(first) = next.recv().await {
            let mut group = vec![first?];
            let mut failure = None;
            let most = if context.db.writer().is_in_demand() {
                1
            } else {
                TOGETHER
            };
            while group.len() < most {
                match next.try_recv() {
                    Ok(Ok(unit)) => group.push(unit),
                    // What was ready before it still counts.
                    Ok(Err(error)) => {
                        failure = Some(error);
                        break;
                    }
                    Err(_) => break,
                }
            }
            new += commit_together(context, group).await?;
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(new)
    };
    let mut committing = std::pin::pin!(committing);
    tokio::select! {
        () = opening => committing.await,
        // A commit failed: what is being fetched and opened is of no use.
        outcome = &mut committing => outcome,
    }
}

/// Commits units in their order, as one where the same member gave them.
async fn commit_together(context: &Context, group: Vec<Opened>) -> Result<u32, StoreError> {
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
                    new += commit(context, before).await?;
                }
            }
        }
    }
    match merged {
        Some(last) => Ok(new + commit(context, last).await?),
        None => Ok(new),
    }
}

/// Applies one unit and returns how many messages were new. Waits for the commit.
pub async fn apply(context: &Context, unit: Unit) -> Result<u32, StoreError> {
    commit(context, open(context, unit).await?).await
}

/// Opens and judges a unit.
async fn open(context: &Context, unit: Unit) -> Result<Opened, StoreError> {
    let cursor = unit.messages.first().zip(unit.messages.last());
    let cursor = cursor.map(|(first, last)| NodeCursor {
        hash: last.hash.clone(),
        expires_ms: to_db(last.expiration),
        anchor: first.hash.clone(),
        anchor_expires_ms: to_db(first.expiration),
    });
    let fresh = unknown(&context.db, &unit.place, unit.messages).await?;
    let items = open_all(context, fresh).await;
    Ok(Opened {
        batch: Batch {
            own: context.account_id(),
            place: unit.place,
            node: Some(unit.node),
            path: unit.path,
            now_ms: context.now_ms(),
            certain_ms: context.certain_ms(),
            pending: Vec::new(),
        },
        cursor,
        items,
    })
}

/// How many of a unit are looked up to see whether it is worth looking up all.
const SAMPLE: usize = 5;

/// Those the database has not dealt with. A hint that saves work; the transaction decides. A node that lost its place
/// gives a run of known messages, so a few of a unit, its ends among them, tell whether there are any.
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
    let step = hashes.len().saturating_sub(1).div_ceil(SAMPLE - 1).max(1);
    let ends = hashes.iter().step_by(step).chain(hashes.last());
    let sample: Vec<&str> = ends.copied().collect();
    if received::known(&mut connection, place, &sample)
        .await?
        .is_empty()
    {
        return Ok(messages);
    }
    let known = received::known(&mut connection, place, &hashes).await?;
    messages.retain(|message| !known.contains(&message.hash));
    Ok(messages)
}

/// Opens messages on the blocking pool, in shares, at most one per core at once: whoever is done takes the next share,
/// and the writer never waits behind more.
async fn open_all(context: &Context, messages: Vec<StoredMessage>) -> Vec<Item> {
    let messages = Arc::new(messages);
    let shares = (0..messages.len()).step_by(SHARE).map(|from| {
        let (keys, senders) = (Arc::clone(&context.keys), Arc::clone(&context.senders));
        let messages = Arc::clone(&messages);
        let count = SHARE.min(messages.len() - from);
        async move {
            // Never closed; without a permit it would only be less orderly.
            let turn = context.openers.acquire().await;
            let opening = tokio::task::spawn_blocking(move || {
                let share = messages.iter().skip(from).take(count);
                let judged = share.map(|message| judge(&keys, &senders, message));
                judged.collect::<Vec<_>>()
            });
            let opened = opening.await;
            drop(turn);
            // A parser that panics costs its share, which stays in the quarantine, and nothing else.
            opened.unwrap_or_else(|_| vec![Judged::Quarantine("PANICKED", Timer::Unknown); count])
        }
    });
    let judged = futures_util::future::join_all(shares).await;
    // The tasks are done, so this is the last handle.
    Arc::unwrap_or_clone(messages)
        .into_iter()
        .zip(judged.into_iter().flatten())
        .map(|(stored, judged)| Item { stored, judged })
        .collect()
}

/// Commits a unit, then does what only counts once it is there.
async fn commit(context: &Context, opened: Opened) -> Result<u32, StoreError> {
    let Opened {
        mut batch,
        cursor,
        items,
    } = opened;
    if cursor.is_none() && items.is_empty() {
        return Ok(0);
    }
    // Not earlier: the unit before this one may have left reactions that wait.
    batch.pending = waiting_for(context, &items);
    let (batch, whole) = (Arc::new(batch), 0..items.len());
    let items = Arc::new(items);
    let outcome = commit_part(&context.db, Arc::clone(&batch), cursor, items, whole).await?;
    let waiting = outcome.still_waiting();
    context
        .pending
        .settle(&batch.pending, waiting, batch.now_ms);
    for signal in outcome.signals {
        context.signals.raise(signal);
    }
    if outcome.deletions {
        context.deletions_filled.notify_one();
    }
    if outcome.later_version && batch.node.is_some() {
        context.later_version_seen.notify_one();
    }
    if outcome.shorten {
        context.shorten_filled.notify_one();
    }
    if outcome.added > 0 {
        context.look_elsewhere.notify_one();
    }
    if outcome.removed {
        context.db.writer().scrub().await?;
    }
    Ok(outcome.added)
}

/// Reactions that wait for a message of one of the conversations these are in.
fn waiting_for(context: &Context, items: &[Item]) -> Vec<Pending> {
    let peers: HashSet<&str> = items
        .iter()
        .filter_map(|item| match &item.judged {
            Judged::Message(message) => Some(&*message.peer),
            _ => None,
        })
        .collect();
    context.pending.of(&peers, context.now_ms())
}

/// Messages from the quarantine in one unit: they may be large.
const RETRY: i64 = 50;

/// Tries again what an earlier version put aside. Returns how many messages it found.
pub async fn retry_quarantine(context: &Context) -> Result<u32, StoreError> {
    let place = own_inbox(&context.account_id());
    let mut found = 0;
    loop {
        let older = {
            let mut connection = context.db.readers().acquire().await?;
            received::put_aside_by_others(&mut connection, &place, RETRY).await?
        };
        if older.is_empty() {
            return Ok(found);
        }
        let messages = older
            .into_iter()
            .map(|old| StoredMessage {
                hash: old.hash,
                timestamp: u64::try_from(old.received_ms).unwrap_or(0),
                // Its own is not known any more: no later than this.
                expiration: u64::try_from(
                    old.received_ms
                        .saturating_add(received::INBOX_MS)
                        .min(old.expires_ms.unwrap_or(i64::MAX)),
                )
                .unwrap_or(0),
                data: Some(old.data),
            })
            .collect();
        // What still makes no sense goes in again, with the present version, in the same transaction.
        let opened = Opened {
            items: open_all(context, messages).await,
            batch: Batch {
                own: context.account_id(),
                place: place.clone(),
                node: None,
                path: String::new(),
                now_ms: context.now_ms(),
                certain_ms: context.certain_ms(),
                pending: Vec::new(),
            },
            cursor: None,
        };
        found += commit(context, opened).await?;
    }
}

/// Commits part of the items; on a fault of the data halves it until the one at fault is alone. The cursor moves with
/// the last part alone: after a crash between two parts the rest is read again.
fn commit_part(
    db: &AccountDb,
    batch: Arc<Batch>,
    cursor: Option<NodeCursor>,
    items: Arc<Vec<Item>>,
    part: Range<usize>,
) -> BoxFuture<'_, Result<Outcome, StoreError>> {
    Box::pin(async move {
        let (shared, all, at) = (Arc::clone(&batch), Arc::clone(&items), cursor.clone());
        let range = part.clone();
        let outcome = db
            .writer()
            .unit(move |connection| {
                Box::pin(async move {
                    let items = all.get(range).unwrap_or_default();
                    apply::write(connection, &shared, at, items).await
                })
            })
            .await;
        match outcome {
            Err(error) if is_fault_of_data(&error) => {
                if part.len() > 1 {
                    let middle = part.start + part.len() / 2;
                    let (first, second) = (part.start..middle, middle..part.end);
                    let batch_again = Arc::clone(&batch);
                    let first =
                        commit_part(db, batch_again, None, Arc::clone(&items), first).await?;
                    let second = commit_part(db, batch, cursor, items, second).await?;
                    return Ok(first.and(second));
                }
                match items.get(part.start) {
                    Some(item) if !matches!(item.judged, Judged::Quarantine(..)) => {
                        let refused = Item {
                            stored: item.stored.clone(),
                            judged: item.judged.put_aside("CANNOT_BE_STORED"),
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

/// The namespace read in this version.
pub fn own_inbox(account: &AccountId) -> Place {
    Place {
        swarm: account.to_string(),
        namespace: Namespace::DEFAULT,
    }
}
