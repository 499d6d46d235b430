//! Stores again what members of a swarm lack: the same bytes, so the same hash, for the time that is left of their life.
//!
//! A member that was frozen or out of reach while something was stored is not told later, and one that loses its storage
//! gets nothing back (observed-nodes.md 4); whoever reads that member alone misses the message. Nobody but us has the
//! bytes that we sealed. What is looked after:
//!
//! - **In the own swarm** (copies for the own devices, notes to self): for as long as they live. Members are asked which
//!   hashes they hold (`get_expiries`, which the owner alone may), at first 30 s after a store that members missed, 2 min
//!   after one that all signed, then after pauses that double up to a day; and soon after a member turned out to have
//!   lost its place. Hashes of whatever else the swarm holds are asked along, so that a member does not learn which
//!   messages we wrote.
//! - **In another account's swarm**, or what belongs to no message (receipts, deletions, reactions): as long as members
//!   are known to lack it, at most [`REPEATS`] times within half an hour. Nobody may ask there who holds it, and what its
//!   owner deleted must not come back for long: equal bytes are stored once more, which changes nothing where they lie.
//!
//! What was deleted on purpose stays deleted. Deletions known here take the bytes with them before anything can be stored
//! ([`crate::store::stored_copies`]), and deleting and storing again exclude each other. Those made elsewhere show in the
//! answers: unless most of the members that signed for a copy, or were seen to hold it, say that they still do, it was
//! not lost by a member but deleted in the swarm, and is let alone. The life of a copy never grows: its end is that of the
//! first store.
//!
//! Low-rate and bounded: a round every 30 s at most, with [`ASKED`] hashes and [`ELSEWHERE`] copies elsewhere; how much is
//! kept is bounded in `store/stored_copies.rs`. Pauses follow the times of the network. Facts: network.md 4.5 to 4.7, 4.10, 8.1.

use std::collections::BTreeMap;
use std::time::Duration;

use session_network::{Holder, NetworkError, StoreReceipt, StoredCopy as Bytes, Times};
use session_protocol::storage::{Namespace, message_hash};
use session_protocol::{AccountId, Identifier};
use tokio::time::Instant;

use super::outbox::with_receipt;
use super::receive::own_inbox;
use super::{Context, pace};
use crate::store::delivery::{self, Step};
use crate::store::outbox::Due;
use crate::store::stored_copies::{self, Fresh, StoredCopy};
use crate::store::{StoreError, received};
use crate::time::{millis, to_db, until};

/// Name among the agent's tasks.
const TASK: &str = "repair";
/// Longest a request and what follows from it may take: it has a deadline.
const TURN: Duration = Duration::from_secs(300);
/// Own copies asked about in one round; as many hashes of other messages are asked along.
const ASKED: i64 = 50;
/// Copies elsewhere that are stored again in one round.
const ELSEWHERE: i64 = 100;
/// How often a copy elsewhere is stored again at most.
const REPEATS: i64 = 6;
/// Where the pauses begin for a copy that all members signed for: one that some missed begins at 0.
const TURNS_WHEN_WHOLE: i64 = 2;
/// A copy with less left of its life is not worth a store, ms.
const LEFT_MS: i64 = 60_000;
/// Pauses between two looks at everything because of a doubt, in rounds.
const DOUBT_ROUNDS: u32 = 10;

/// What is to be kept of an item that was stored by `now_ms`; `None`: nothing.
pub fn fresh(
    item: &Due,
    own: &str,
    receipt: &StoreReceipt,
    times: &Times,
    now_ms: i64,
) -> Option<Fresh> {
    let watched = item.owner == own && item.message.is_some();
    if !watched && receipt.missed.is_empty() {
        return None;
    }
    // What a member says of the end is not signed: it may not be later than what was asked for.
    let asked_ms = now_ms.saturating_add(item.ttl_ms);
    let expiry_ms = receipt.expiry_ms.map_or(asked_ms, to_db).min(asked_ms);
    let turns = match receipt.missed.is_empty() {
        true => TURNS_WHEN_WHOLE,
        false => 0,
    };
    Some(Fresh {
        item: item.id,
        watched,
        expiry_ms,
        signed: receipt.confirmed.clone(),
        missed: receipt.missed.clone(),
        turns,
        next_ms: now_ms.saturating_add(millis(pause(times, turns))),
    })
}

/// Doubles with every turn, up to a day.
fn pause(times: &Times, turns: i64) -> Duration {
    pace::doubled(times.repair_min, times.repair_max, turns)
}

/// Looks after what was stored until the agent stops.
pub async fn run(context: Context) {
    let mut status = context.network.watch();
    let beat = context.progress.beats.register(TASK, TURN);
    let gap = context.network.times().repair_min;
    let mut rounds_from = Instant::now();
    let mut doubts_from = Instant::now();
    loop {
        beat.turn();
        let has_path = status.borrow_and_update().path_count > 0;
        let due = match next(&context).await {
            Ok(pause) => pause.filter(|_| has_path),
            Err(error) => {
                pace::tell(&error, "what was stored could not be looked after");
                Some(gap)
            }
        };
        // Without a path, or anything kept, there is nothing to wait for but a change.
        let at = due.map(|pause| rounds_from.max(Instant::now() + pause));
        tokio::select! {
            () = context.stopped() => break,
            () = context.copies_kept.notified() => continue,
            () = context.copies_doubted.notified() => {
                if doubts_from <= Instant::now() {
                    doubts_from = Instant::now() + gap * DOUBT_ROUNDS;
                    doubt(&context).await;
                }
                continue;
            }
            () = beat.idle() => continue,
            Ok(()) = status.changed() => continue,
            () = until(at) => {}
        }
        let outcome = tokio::select! {
            () = context.stopped() => break,
            outcome = round(&context) => outcome,
        };
        if let Err(error) = outcome {
            pace::tell(&error, "what was stored could not be looked after");
        }
        rounds_from = Instant::now() + gap;
    }
}

/// Time until a copy is due; `None` when none is kept.
async fn next(context: &Context) -> Result<Option<Duration>, StoreError> {
    let mut connection = context.db.readers().acquire().await?;
    let next = stored_copies::next_due(&mut connection).await?;
    Ok(next.map(|at| {
        let wait = at.saturating_sub(context.now_ms());
        Duration::from_millis(u64::try_from(wait).unwrap_or(0))
    }))
}

async fn doubt(context: &Context) {
    let now_ms = context.now_ms();
    let doubted = context
        .db
        .writer()
        .call(move |connection| Box::pin(stored_copies::doubt(connection, now_ms)))
        .await;
    if let Err(error) = doubted {
        pace::tell(&error, "what was stored could not be made due");
    }
}

/// Looks after what is due, as much as one round may.
async fn round(context: &Context) -> Result<(), StoreError> {
    own_swarm(context).await?;
    elsewhere(context).await
}

/// Those of the copies that are worth looking after; the others are forgotten.
async fn living(context: &Context, copies: Vec<StoredCopy>) -> Result<Vec<StoredCopy>, StoreError> {
    let end_ms = context.now_ms().saturating_add(LEFT_MS);
    let (living, over): (Vec<_>, Vec<_>) =
        copies.into_iter().partition(|copy| copy.expiry_ms > end_ms);
    forget(context, over.into_iter().map(|copy| copy.id).collect()).await?;
    Ok(living)
}

async fn forget(context: &Context, ids: Vec<i64>) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    context
        .db
        .writer()
        .call(move |connection| {
            Box::pin(async move { stored_copies::forget(connection, &ids).await })
        })
        .await
}

/// Asks the own swarm who holds what is due there, and stores again what members lost or never had.
async fn own_swarm(context: &Context) -> Result<(), StoreError> {
    let due = {
        let mut connection = context.db.readers().acquire().await?;
        stored_copies::due(&mut connection, true, context.now_ms(), ASKED).await?
    };
    let mut due = living(context, due).await?;
    if due.is_empty() {
        return Ok(());
    }
    let hashes = asked(context, &due).await?;
    let holders = context
        .network
        .holders(context.isolation, &context.keys, &hashes)
        .await;
    context.progress.beats.turned(TASK);
    let holders = match holders {
        Ok(holders) => holders,
        Err(error) => {
            tracing::debug!(%error, "nobody said who holds what");
            return look_again(context, due, Vec::new()).await;
        }
    };
    // By the member that is asked to store: one that lacks it, since what others pass on may not reach it.
    let mut missing: BTreeMap<[u8; 32], Vec<StoredCopy>> = BTreeMap::new();
    let mut rest = Vec::new();
    for mut copy in due.drain(..) {
        copy.missed = lacking(&copy, &holders);
        let holding = holders
            .iter()
            .filter(|h| h.expiries.contains_key(&copy.hash));
        copy.signed_by(&holding.map(|holder| holder.node).collect::<Vec<_>>());
        match at(&copy) {
            Some(member) => missing.entry(member).or_default().push(copy),
            None => rest.push(copy),
        }
    }
    look_again(context, rest, Vec::new()).await?;
    let owner = context.account_id();
    for (member, copies) in missing {
        for some in pace::batches(copies) {
            let _alone = context.own_swarm.lock().await;
            store(context, &owner, Some(member), some).await?;
        }
    }
    Ok(())
}

/// Hashes to ask about: those of the copies, among others.
async fn asked(context: &Context, due: &[StoredCopy]) -> Result<Vec<String>, StoreError> {
    let place = own_inbox(&context.account_id());
    // A place in the order of hashes that nobody can foresee.
    let random = crate::random::opaque_id();
    let from = message_hash(
        &Identifier::from(context.account_id()),
        Namespace::DEFAULT,
        random.as_bytes(),
    );
    let mut connection = context.db.readers().acquire().await?;
    let mut hashes = received::some_known(&mut connection, &place, &from, ASKED).await?;
    hashes.extend(due.iter().map(|copy| copy.hash.clone()));
    hashes.sort_unstable();
    hashes.dedup();
    Ok(hashes)
}

/// The member to store at: each one that lacks it gets its turn.
fn at(copy: &StoredCopy) -> Option<[u8; 32]> {
    let turn = usize::try_from(copy.turns).unwrap_or(0);
    let place = turn.checked_rem(copy.missed.len())?;
    copy.missed.get(place).copied()
}

/// Members that lack a copy which is to be stored again: they answered and do not hold it, while most of those that
/// signed for it, or were seen to hold it, say that they still do.
fn lacking(copy: &StoredCopy, holders: &[Holder]) -> Vec<[u8; 32]> {
    let holds = |holder: &&Holder| holder.expiries.contains_key(&copy.hash);
    let signers: Vec<&Holder> = holders
        .iter()
        .filter(|holder| copy.signed.contains(&holder.node))
        .collect();
    // After a change of the swarm there may be none among its members: then all have a say. Silence of a signer counts
    // as a no: of two that answer, one may be the only one that was not told of a deletion.
    let (say, all): (Vec<&Holder>, usize) = match signers.is_empty() {
        true => (holders.iter().collect(), holders.len()),
        false => (signers, copy.signed.len()),
    };
    let holding = say.iter().filter(|holder| holds(holder)).count();
    if 2 * holding <= all && !(holding == 1 && all == 1) {
        return Vec::new();
    }
    let without = holders.iter().filter(|holder| !holds(holder));
    without.map(|holder| holder.node).collect()
}

/// Stores again what members of other swarms are known to lack, and what belongs to no message.
async fn elsewhere(context: &Context) -> Result<(), StoreError> {
    let due = {
        let mut connection = context.db.readers().acquire().await?;
        stored_copies::due(&mut connection, false, context.now_ms(), ELSEWHERE).await?
    };
    let mut by_owner: BTreeMap<String, Vec<StoredCopy>> = BTreeMap::new();
    for copy in living(context, due).await? {
        by_owner.entry(copy.owner.clone()).or_default().push(copy);
    }
    for (owner, copies) in by_owner {
        let Ok(owner) = owner.parse::<AccountId>() else {
            let ids = copies.iter().map(|copy| copy.id).collect();
            forget(context, ids).await?;
            continue;
        };
        for some in pace::batches(copies) {
            let member = some.first().and_then(at);
            let _alone = context.own_swarm.lock().await;
            store(context, &owner, member, some).await?;
        }
    }
    Ok(())
}

/// Stores copies again at a member and writes down what came of it.
async fn store(
    context: &Context,
    owner: &AccountId,
    member: Option<[u8; 32]>,
    mut copies: Vec<StoredCopy>,
) -> Result<(), StoreError> {
    let ids: Vec<i64> = copies.iter().map(|copy| copy.id).collect();
    // Only now: what was deleted while members were asked is not there any more.
    let mut kept: BTreeMap<i64, Vec<u8>> = {
        let mut connection = context.db.readers().acquire().await?;
        let bytes = stored_copies::bytes(&mut connection, &ids, context.now_ms()).await?;
        bytes.into_iter().collect()
    };
    copies.retain(|copy| kept.contains_key(&copy.id));
    let again: Vec<Bytes> = copies
        .iter()
        .map(|copy| Bytes {
            namespace: Namespace::DEFAULT,
            data: kept.remove(&copy.id).unwrap_or_default().into(),
            expiry_ms: u64::try_from(copy.expiry_ms).unwrap_or(0),
        })
        .collect();
    if again.is_empty() {
        return Ok(());
    }
    let owner = Identifier::from(*owner);
    let stored = context
        .network
        .store_again(context.isolation, &owner, &again, member)
        .await;
    context.progress.beats.turned(TASK);
    let outcomes: Vec<Result<StoreReceipt, NetworkError>> = match stored {
        Ok(outcomes) if outcomes.len() == copies.len() => outcomes,
        Ok(_) => vec![Err(NetworkError::Malformed); copies.len()],
        Err(error) => vec![Err(error); copies.len()],
    };
    let now_ms = context.now_ms();
    let mut steps = Vec::new();
    for (copy, outcome) in copies.iter_mut().zip(outcomes) {
        match outcome {
            Ok(receipt) => {
                steps.extend(step(copy, &receipt, now_ms));
                copy.signed_by(&receipt.confirmed);
                copy.missed = receipt.missed;
            }
            Err(error) => tracing::debug!(%error, "a copy could not be stored again"),
        }
    }
    look_again(context, copies, steps).await
}

fn step(copy: &StoredCopy, receipt: &StoreReceipt, now_ms: i64) -> Option<Step> {
    let kind = delivery::step::STORED_AGAIN;
    let step = Step::new(copy.message?, copy.purpose, kind, now_ms);
    Some(with_receipt(step, receipt))
}

/// Puts copies off until their next turn. Those elsewhere are forgotten once nobody is known to lack them, or after
/// [`REPEATS`].
async fn look_again(
    context: &Context,
    copies: Vec<StoredCopy>,
    steps: Vec<Step>,
) -> Result<(), StoreError> {
    let times = *context.network.times();
    let own = context.account_id().to_string();
    let now_ms = context.now_ms();
    let (mut again, mut over) = (Vec::new(), Vec::new());
    for mut copy in copies {
        copy.turns += 1;
        let watched = copy.owner == own && copy.message.is_some();
        if !watched && (copy.missed.is_empty() || copy.turns >= REPEATS) {
            over.push(copy.id);
            continue;
        }
        let next_ms = now_ms.saturating_add(millis(pause(&times, copy.turns)));
        // At its end at the latest: it is forgotten then.
        let next_ms = next_ms.min(copy.expiry_ms);
        again.push((copy, next_ms));
    }
    context
        .db
        .writer()
        .call(move |connection| {
            Box::pin(async move {
                delivery::record(&mut *connection, &steps).await?;
                stored_copies::look_again(&mut *connection, &again).await?;
                stored_copies::forget(connection, &over).await
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::store::outbox::Purpose;

    const HASH: &str = "h";

    fn copy(signed: &[u8]) -> StoredCopy {
        StoredCopy {
            id: 1,
            message: Some(1),
            purpose: Purpose::Sync,
            owner: "own".into(),
            hash: HASH.into(),
            expiry_ms: 9,
            signed: signed.iter().map(|number| [*number; 32]).collect(),
            missed: Vec::new(),
            turns: 0,
        }
    }

    /// Members that hold the copy, and those that answer and do not.
    fn holders(with: &[u8], without: &[u8]) -> Vec<Holder> {
        let of = |number: &u8, expiries| Holder {
            node: [*number; 32],
            expiries,
        };
        let with = with
            .iter()
            .map(|number| of(number, HashMap::from([(HASH.into(), 9)])));
        let without = without.iter().map(|number| of(number, HashMap::new()));
        with.chain(without).collect()
    }

    #[test]
    fn only_what_was_lost_by_few_is_stored_again() {
        for (signed, with, without, lacking_are) in [
            // All have it, as far as they answer.
            (&[1, 2, 3, 4, 5][..], &[1, 2, 3][..], &[][..], &[][..]),
            // One, or two, lost it.
            (&[1, 2, 3, 4, 5], &[1, 2, 3, 4], &[5], &[5]),
            (&[1, 2, 3, 4, 5], &[1, 2, 3], &[4, 5], &[4, 5]),
            // Half of them have it: it may as well have been deleted.
            (&[1, 2, 3, 4], &[1, 2], &[3, 4], &[]),
            // Most of those that had it have it no more: it was deleted, and one has not heard of that.
            (&[1, 2, 3, 4, 5], &[1, 2], &[3, 4, 5], &[]),
            (&[1, 2, 3, 4, 5], &[], &[1, 2, 3, 4, 5], &[]),
            // Nobody but the one that lost it answers.
            (&[1, 2, 3, 4, 5], &[], &[1], &[]),
            // Most never got it.
            (&[1, 2], &[1, 2], &[3, 4, 5], &[3, 4, 5]),
            (&[1], &[1], &[2, 3, 4, 5], &[2, 3, 4, 5]),
            (&[1, 2], &[1], &[2, 3, 4, 5], &[]),
            (&[1, 2], &[], &[1, 2, 3, 4, 5], &[]),
            // The swarm has changed altogether.
            (&[1, 2], &[6, 7, 8], &[9], &[9]),
            (&[1, 2], &[6], &[7, 8, 9], &[]),
            (&[1, 2], &[], &[], &[]),
        ] {
            let found = lacking(&copy(signed), &holders(with, without));
            let expected: Vec<[u8; 32]> = lacking_are.iter().map(|n: &u8| [*n; 32]).collect();
            assert_eq!(found, expected, "{signed:?} {with:?} {without:?}");
        }
    }

    #[test]
    fn each_member_that_lacks_it_has_its_turn() {
        let mut copy = copy(&[1]);
        assert_eq!(at(&copy), None);
        copy.missed = vec![[4; 32], [5; 32]];
        let turns = [0, 1, 2, 7].map(|turns| {
            copy.turns = turns;
            at(&copy).unwrap()[0]
        });
        assert_eq!(turns, [4, 5, 4, 5]);
    }

    #[test]
    fn signers_are_remembered_once_and_not_without_end() {
        let mut copy = copy(&[1, 2]);
        copy.signed_by(&[[2; 32], [3; 32]]);
        assert_eq!(copy.signed, [[1; 32], [2; 32], [3; 32]]);
        for number in 0..200 {
            copy.signed_by(&[[number; 32]]);
        }
        assert_eq!((copy.signed.len(), copy.signed[63]), (64, [199; 32]));
    }

    #[test]
    fn pauses_double_up_to_a_day_and_follow_the_times_of_the_network() {
        let times = Times::default();
        let pauses = [0, 1, 2, 11, 12, 99].map(|turns| pause(&times, turns).as_secs());
        assert_eq!(pauses, [30, 60, 120, 61_440, 86_400, 86_400]);
        let scaled = Times {
            repair_min: Duration::from_secs(6),
            repair_max: Duration::from_secs(17_280),
            ..times
        };
        assert_eq!(pause(&scaled, 1).as_secs(), 12);
        assert_eq!(pause(&scaled, 40).as_secs(), 17_280);
    }

    #[test]
    fn what_is_kept_depends_on_where_it_lies_and_who_missed_it() {
        let item = |owner: &str, message| Due {
            id: 7,
            message,
            purpose: Purpose::Sync,
            owner: owner.into(),
            bytes: Vec::new(),
            hash: HASH.into(),
            ttl_ms: 1_000_000,
            created_ms: 0,
            attempts: 0,
        };
        let receipt = |missed: &[u8], expiry_ms| StoreReceipt {
            stored_ms: None,
            hash: HASH.into(),
            confirmed: vec![[1; 32]],
            asked: 5,
            missed: missed.iter().map(|number| [*number; 32]).collect(),
            expiry_ms,
            node: [1; 32],
            path_id: String::new(),
        };
        let times = Times::default();
        let kept = |item: &Due, receipt: &StoreReceipt| fresh(item, "own", receipt, &times, 500);
        for (owner, message, missed, expected) in [
            ("own", Some(1), &[][..], Some((true, 120_500))),
            ("own", Some(1), &[2][..], Some((true, 30_500))),
            ("own", None, &[2][..], Some((false, 30_500))),
            ("own", None, &[][..], None),
            ("other", Some(1), &[2][..], Some((false, 30_500))),
            ("other", Some(1), &[][..], None),
        ] {
            let found = kept(&item(owner, message), &receipt(missed, Some(900_000)));
            let found = found.map(|fresh| {
                assert_eq!(fresh.expiry_ms, 900_000);
                (fresh.watched, fresh.next_ms)
            });
            assert_eq!(found, expected, "{owner} {message:?} {missed:?}");
        }
        // A member may say what it likes: nothing lives longer than was asked for.
        for claimed in [None, Some(u64::MAX)] {
            let found = kept(&item("own", Some(1)), &receipt(&[], claimed));
            assert_eq!(found.unwrap().expiry_ms, 1_000_500);
        }
    }
}
