//! Sends what waits: seals once, stores until somebody signed for it, then lets the copy for the own devices go.
//!
//! A retry stores the same bytes. While no path works an item waits without counting, up to 14 days; with one it has 10
//! attempts with back-off, then it ends as FAILED with a reason. What waits for one swarm goes out as one request.
//! Facts: design.md "Sending", messages.md 5.5 and 5.6.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use session_network::{NetworkError, StoreItem, StoreReceipt, Times};
use session_protocol::storage::{Namespace, message_hash};
use session_protocol::{AccountId, AccountKeys, Identifier, envelope};

use super::receive::own_inbox;
use super::{Context, pace, repair};
use crate::metrics;
use crate::random::os_rng;
use crate::store::StoreError;
use crate::store::delivery::{self, Step};
use crate::store::entries::{self, Progress};
use crate::store::messages;
use crate::store::outbox::{self, Due, Purpose, Sealed, Unsealed};
use crate::store::received;
use crate::store::stored_copies;
use crate::time::{millis, to_db};

/// Attempts made while a path works.
const ATTEMPTS: i64 = 10;
/// Longest an item waits, ms.
const PATIENCE_MS: i64 = 14 * 86_400_000;
/// Name among the agent's tasks.
const TASK: &str = "outbox";
/// Longest one batch may take: its requests have deadlines.
const TURN: Duration = Duration::from_secs(300);
/// Items looked at in one round.
const ROUND: i64 = 400;
/// Swarms stored to at the same time.
const SWARMS: usize = 8;

/// Works the outbox until the agent stops.
pub async fn run(context: Context) {
    let mut status = context.network.watch();
    // A path may be up before this task is: what waited for one is due then, too.
    let mut had_path = status.borrow_and_update().path_count > 0;
    if had_path {
        hurry(&context).await;
    }
    let beat = context.progress.beats.register(TASK, TURN);
    loop {
        beat.turn();
        if context.db.health().blocked().is_some() {
            // What became of an attempt could not be written down.
            tokio::select! {
                () = context.stopped() => break,
                () = context.db.health().writable() => {}
                () = beat.idle() => continue,
            }
        }
        let pause = match round(&context).await {
            Ok(pause) => pause,
            Err(error) => {
                pace::tell(&error, "the outbox could not be worked");
                context.network.times().resend_min.min(pace::TROUBLE)
            }
        };
        tokio::select! {
            () = context.stopped() => break,
            () = context.outbox_filled.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = beat.idle() => {}
            Ok(()) = status.changed() => {
                let has_path = status.borrow_and_update().path_count > 0;
                if has_path && !had_path {
                    hurry(&context).await;
                }
                had_path = has_path;
            }
        }
    }
}

async fn hurry(context: &Context) {
    let hurried = context
        .db
        .writer()
        .call(|connection| Box::pin(outbox::hurry(connection)))
        .await;
    if let Err(error) = hurried {
        pace::tell(&error, "the outbox could not be hurried");
    }
}

/// Seals and stores what is due. Returns how long nothing will be.
async fn round(context: &Context) -> Result<Duration, StoreError> {
    seal_all(context).await?;
    loop {
        context.progress.beats.turned(TASK);
        let now_ms = context.now_ms();
        let due = {
            let mut connection = context.db.readers().acquire().await?;
            outbox::due(&mut connection, now_ms, ROUND).await?
        };
        if due.is_empty() {
            break;
        }
        let mut by_owner: BTreeMap<String, Vec<Due>> = BTreeMap::new();
        for item in due {
            by_owner.entry(item.owner.clone()).or_default().push(item);
        }
        let mut stores = stream::iter(by_owner)
            .map(|(owner, items)| store_in_order(context, owner, items))
            .buffer_unordered(SWARMS);
        loop {
            tokio::select! {
                // What was stored is found stored again after the next start: same bytes, same hash.
                () = context.stopped() => return Ok(Duration::ZERO),
                next = stores.next() => match next {
                    Some(outcome) => outcome?,
                    None => break,
                },
            }
        }
    }
    let mut connection = context.db.readers().acquire().await?;
    let next = outbox::next_due(&mut connection).await?;
    Ok(pace::wait(context, next))
}

/// Stores items of one owner in their order: what could not be stored holds back what comes behind it.
async fn store_in_order(
    context: &Context,
    owner: String,
    items: Vec<Due>,
) -> Result<(), StoreError> {
    for some in pace::batches(items) {
        let all_stored = store(context, &owner, some).await?;
        context.progress.beats.turned(TASK);
        if !all_stored {
            break;
        }
    }
    Ok(())
}

async fn seal_all(context: &Context) -> Result<(), StoreError> {
    loop {
        let items = {
            let mut connection = context.db.readers().acquire().await?;
            outbox::unsealed(&mut connection, ROUND).await?
        };
        if items.is_empty() {
            return Ok(());
        }
        let keys = Arc::clone(&context.keys);
        let sealed = tokio::task::spawn_blocking(move || seal(&keys, &items))
            .await
            .map_err(|_| StoreError::NotCommitted)?;
        let place = own_inbox(&context.account_id());
        let now_ms = context.now_ms();
        context
            .db
            .writer()
            .call(move |connection| {
                Box::pin(async move {
                    outbox::seal(&mut *connection, &sealed).await?;
                    let ids: Vec<i64> = sealed.iter().map(|item| item.id).collect();
                    delivery::sealed(&mut *connection, &ids, now_ms).await?;
                    // What we put into our own swarm comes back with the next poll: it is dealt with already.
                    let own: Vec<(&str, i64)> = sealed
                        .iter()
                        .filter(|item| item.own)
                        .map(|item| (item.hash.as_str(), now_ms))
                        .collect();
                    received::mark(connection, &place, &own, now_ms).await?;
                    Ok(())
                })
            })
            .await?;
    }
}

/// Seals items. One whose recipient cannot be sealed to gets no bytes, which fails it at its first attempt.
fn seal(keys: &AccountKeys, items: &[Unsealed]) -> Vec<Sealed> {
    let mut rng = os_rng();
    items
        .iter()
        .map(|item| {
            let owner = item.owner.parse::<AccountId>().ok();
            let timestamp = u64::try_from(item.sent_ms).unwrap_or(0);
            let bytes = owner
                .and_then(|to| envelope::seal(&mut rng, keys, &to, timestamp, &item.content).ok())
                .unwrap_or_default();
            let hash = owner
                .map(|to| message_hash(&to.into(), Namespace::DEFAULT, &bytes))
                .unwrap_or_default();
            Sealed {
                id: item.id,
                bytes,
                hash,
                own: owner == Some(keys.account_id()),
            }
        })
        .collect()
}

/// Stores items of one owner and writes down what became of them. Returns whether all were stored.
async fn store(context: &Context, owner: &str, items: Vec<Due>) -> Result<bool, StoreError> {
    let outcomes: Vec<Result<StoreReceipt, NetworkError>> = match owner.parse::<AccountId>() {
        Ok(id) => {
            let requests: Vec<StoreItem> = items.iter().map(store_item).collect();
            match context
                .network
                .store(context.isolation, &Identifier::from(id), &requests)
                .await
            {
                Ok(outcomes) if outcomes.len() == items.len() => outcomes,
                Ok(_) => vec![Err(NetworkError::Malformed); items.len()],
                Err(error) => vec![Err(error); items.len()],
            }
        }
        Err(_) => vec![Err(NetworkError::NoSwarm); items.len()],
    };
    // After the attempt, however long it took: that is when a pause begins.
    let now_ms = context.now_ms();
    let waited_from_ms = context.certain_ms();
    if outcomes.iter().any(Result::is_ok) {
        context.progress.active(now_ms);
    }
    let all_stored = outcomes.iter().all(Result::is_ok);
    let times = *context.network.times();
    let own = context.account_id().to_string();
    let done: Vec<_> = items
        .iter()
        .zip(&outcomes)
        .map(|(item, outcome)| {
            (
                item.purpose,
                outcome.as_ref().err().map(NetworkError::reason),
            )
        })
        .collect();
    let given_up = context
        .db
        .writer()
        .call(move |connection| {
            Box::pin(async move {
                let steps: Vec<Step> = items
                    .iter()
                    .zip(&outcomes)
                    .filter_map(|(item, outcome)| step(item, outcome, now_ms))
                    .collect();
                delivery::record(&mut *connection, &steps).await?;
                let mut given_up = Vec::new();
                for (item, outcome) in items.iter().zip(outcomes) {
                    match outcome {
                        Ok(receipt) => {
                            if let Some(fresh) = repair::fresh(item, &own, &receipt, &times, now_ms)
                            {
                                stored_copies::keep(&mut *connection, &fresh).await?;
                            }
                            stored(&mut *connection, item, &own, &receipt, now_ms).await?;
                        }
                        Err(error) => {
                            let waited = waited_from_ms - item.created_ms;
                            let failed = failed(
                                &mut *connection,
                                item,
                                &error,
                                &times,
                                now_ms,
                                waited > PATIENCE_MS,
                            );
                            given_up.extend(failed.await?);
                        }
                    }
                }
                stored_copies::trim(connection, stored_copies::ROWS, stored_copies::BYTES).await?;
                Ok(given_up)
            })
        })
        .await?;
    context.copies_kept.notify_one();
    count(done, given_up);
    Ok(all_stored)
}

/// For monitors: what was stored, what was not, and what is not tried again.
fn count(done: Vec<(Purpose, Option<&'static str>)>, given_up: Vec<&'static str>) {
    let counts = metrics::counts();
    for (purpose, failure) in done {
        match (failure, purpose) {
            (Some(reason), _) => counts.not_stored(reason),
            (None, Purpose::Recipient) => counts.stored("recipient"),
            (None, Purpose::Sync) => counts.stored("copy"),
        }
    }
    for reason in given_up {
        counts.given_up(reason);
    }
}

fn store_item(item: &Due) -> StoreItem {
    StoreItem {
        namespace: Namespace::DEFAULT,
        data: item.bytes.as_slice().into(),
        ttl_ms: u64::try_from(item.ttl_ms).unwrap_or(0),
    }
}

/// A step of which members signed a receipt.
pub(super) fn with_receipt(step: Step, receipt: &StoreReceipt) -> Step {
    Step {
        hash: receipt.hash.clone(),
        node: Some(receipt.node.to_vec()),
        path: receipt.path_id.clone(),
        confirmed: receipt.confirmed.concat(),
        missed: receipt.missed.concat(),
        asked: i64::try_from(receipt.asked).unwrap_or(i64::MAX),
        expiry_ms: receipt.expiry_ms.map(to_db),
        ..step
    }
}

/// What an attempt adds to the way of its message.
fn step(item: &Due, outcome: &Result<StoreReceipt, NetworkError>, now_ms: i64) -> Option<Step> {
    let of = |kind| Some(Step::new(item.message?, item.purpose, kind, now_ms));
    match outcome {
        Ok(receipt) => Some(with_receipt(of(delivery::step::STORED)?, receipt)),
        Err(error) => Some(Step {
            reason: error.reason().to_owned(),
            ..of(delivery::step::ATTEMPT_FAILED)?
        }),
    }
}

/// A node's clock is not believed to be behind by more, ms: it could let our copy go at once.
const BEHIND_MS: i64 = 60_000;

/// When a message was stored: as the node says that took it, but never later than now (messages.md 7.5).
fn stored_ms(receipt: &StoreReceipt, now_ms: i64) -> i64 {
    receipt.stored_ms.map_or(now_ms, |at| {
        to_db(at).clamp(now_ms.saturating_sub(BEHIND_MS), now_ms)
    })
}

async fn stored(
    connection: &mut sqlx::SqliteConnection,
    item: &Due,
    own: &str,
    receipt: &StoreReceipt,
    now_ms: i64,
) -> Result<(), StoreError> {
    let expiry = receipt.expiry_ms.map_or(now_ms + item.ttl_ms, to_db);
    // Only what lies in the own swarm can be deleted or changed later: that copy's name is kept.
    let own_copy = (item.owner == own).then(|| (receipt.hash.clone(), expiry));
    let sent = Some(messages::SENT);
    let progress = match item.purpose {
        Purpose::Recipient => Progress {
            send_state: sent,
            stored: own_copy,
            // The sender's own copy disappears by the time of storing, in either mode (messages.md 7.5).
            expiry_start_ms: Some(stored_ms(receipt, now_ms)),
            ..Progress::default()
        },
        Purpose::Sync => Progress {
            sync_state: sent,
            stored: own_copy,
            ..Progress::default()
        },
    };
    outbox::done(&mut *connection, item.id).await?;
    match item.message {
        Some(message) => entries::progress(connection, message, &progress, now_ms).await,
        None => Ok(()),
    }
}

/// Postpones it, or gives it up; says why if it was given up.
async fn failed(
    connection: &mut sqlx::SqliteConnection,
    item: &Due,
    error: &NetworkError,
    times: &Times,
    now_ms: i64,
    waited_too_long: bool,
) -> Result<Option<&'static str>, StoreError> {
    let attempts = item.attempts + i64::from(error.had_path());
    let reason = if item.bytes.is_empty() {
        Some("RECIPIENT_INVALID")
    } else if error.is_permanent() || attempts >= ATTEMPTS {
        Some(error.reason())
    } else if waited_too_long {
        Some("WAITED_TOO_LONG")
    } else {
        None
    };
    let Some(reason) = reason else {
        let pause = if error.had_path() {
            pace::pause(times, attempts)
        } else {
            times.resend_no_path
        };
        let due_ms = now_ms.saturating_add(millis(pause));
        outbox::postpone(connection, item.id, attempts, due_ms).await?;
        return Ok(None);
    };
    // The copy for the own devices would speak of something that was never sent: it goes, too.
    if !outbox::give_up(&mut *connection, item.id).await? {
        // It was cancelled or deleted meanwhile.
        return Ok(None);
    }
    let Some(message) = item.message else {
        received::count(connection, &BTreeMap::from([("NOT_SENT", 1)])).await?;
        return Ok(Some(reason));
    };
    let given_up = Step {
        reason: reason.to_owned(),
        ..Step::new(message, item.purpose, delivery::step::FAILED, now_ms)
    };
    delivery::record(&mut *connection, &[given_up]).await?;
    let progress = match item.purpose {
        Purpose::Recipient => Progress {
            send_state: Some(messages::FAILED),
            sync_state: Some(messages::NONE),
            failure: Some(reason),
            ..Progress::default()
        },
        Purpose::Sync => Progress {
            sync_state: Some(messages::FAILED),
            ..Progress::default()
        },
    };
    entries::progress(connection, message, &progress, now_ms).await?;
    Ok(Some(reason))
}
