//! Learns which messages another device of the account has read: their copies in the own swarm live shorter than they
//! did, or are gone (messages.md 7.6).
//!
//! As long as read positions are not synchronised, the swarm is asked about what disappears after reading and waits to be
//! read here: when it answers again after the agent was away, and from then on four times in the shortest of these
//! timers, at least once an hour and at most once a minute. Nothing waits, nothing is asked. One member is asked at
//! first; what it says to be shorter or gone is believed when a second one says so.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use session_network::{Holder, NetworkError};
use session_protocol::Identifier;
use session_protocol::storage::{answer, request};
use tokio::time::Instant;

use super::shorten::agreed;
use super::{Context, pace};
use crate::store::timers::{self, Waiting};
use crate::store::{StoreError, expiry};
use crate::time::{to_db, until};

/// Hashes in one request.
const BATCH: i64 = 100;
/// Requests in one round at most; the next round goes on behind them.
const REQUESTS: usize = 10;
/// Usual pauses between polls in the shortest pause between two rounds.
const SHORTEST_POLLS: u32 = 12;
/// Longest pause between two rounds.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Rounds in the shortest timer.
const ROUNDS: u32 = 4;
/// A copy's life differs by more than this when somebody changed it, ms.
const EXACT_MS: i64 = 1_000;

/// Where asking goes on.
#[derive(Default)]
struct Course {
    after: (i64, i64),
    /// When the last round began.
    asked: Option<Instant>,
}

/// Asks until the agent stops.
pub async fn run(context: Context) {
    let mut course = Course::default();
    loop {
        if context.progress.returned.swap(false, Ordering::Relaxed) {
            course.asked = None;
        }
        let pause = match turn(&context, &mut course).await {
            Ok(pause) => pause,
            Err(error) => {
                pace::tell(&error, "what other devices read could not be found out");
                Some(LONGEST)
            }
        };
        tokio::select! {
            () = context.stopped() => break,
            () = context.look_elsewhere.notified() => {}
            () = until(pause.map(|pause| Instant::now() + pause)) => {}
        }
    }
}

/// Asks if it is time. Returns how long it is not; `None`: nothing waits to be read.
async fn turn(context: &Context, course: &mut Course) -> Result<Option<Duration>, StoreError> {
    let first = page(context, (i64::MIN, 0)).await?;
    if first.is_empty() {
        return Ok(None);
    }
    let shortest = first.iter().map(|it| it.timer_s).min().unwrap_or(0);
    let every = Duration::from_secs(u64::try_from(shortest).unwrap_or(0)) / ROUNDS;
    let least = context.network.times().poll * SHORTEST_POLLS;
    let every = every.clamp(least.min(LONGEST), LONGEST);
    if let Some(asked) = course.asked {
        let since = asked.elapsed();
        if since < every {
            return Ok(Some(every - since));
        }
    }
    course.asked = Some(Instant::now());
    for _ in 0..REQUESTS {
        let waiting = page(context, course.after).await?;
        let Some(last) = waiting.last() else {
            course.after = (i64::MIN, 0);
            break;
        };
        course.after = last.place;
        let found = tokio::select! {
            () = context.stopped() => return Ok(None),
            found = ask(context, &waiting) => found,
        };
        match found {
            Ok(found) => apply(context, found).await?,
            Err(error) => {
                tracing::debug!(%error, "the own swarm did not say what was read");
                course.after = (i64::MIN, 0);
                break;
            }
        }
    }
    Ok(Some(every))
}

async fn page(context: &Context, after: (i64, i64)) -> Result<Vec<Waiting>, StoreError> {
    let mut connection = context.db.readers().acquire().await?;
    timers::waiting(&mut connection, after, context.now_ms(), BATCH).await
}

/// What the swarm says about messages that wait to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Copies that live shorter than they did, and until when, ms.
    pub shorter: Vec<(String, i64)>,
    /// Copies that are gone.
    pub gone: Vec<String>,
}

async fn ask(context: &Context, waiting: &[Waiting]) -> Result<Found, NetworkError> {
    let hashes: Vec<String> = waiting.iter().map(|it| it.hash.clone()).collect();
    let owner = Identifier::from(context.account_id());
    let reply = context
        .network
        .swarm_request(context.isolation, &owner, &|timestamp| {
            request::get_expiries(&*context.keys, &hashes, timestamp)
        })
        .await?;
    let held = answer::get_expiries(&reply.body).map_err(|_| NetworkError::Malformed)?;
    let held: HashMap<String, i64> = held
        .into_iter()
        .map(|(hash, at)| (hash, to_db(at)))
        .collect();
    let doubtful: Vec<Waiting> = waiting
        .iter()
        .filter(|it| held.get(&it.hash).is_none_or(|at| is_shorter(it, *at)))
        .cloned()
        .collect();
    if doubtful.is_empty() {
        return Ok(Found::default());
    }
    let hashes: Vec<String> = doubtful.iter().map(|it| it.hash.clone()).collect();
    let holders = context
        .network
        .holders(context.isolation, &context.keys, &hashes)
        .await?;
    Ok(judge(&doubtful, &holders, context.certain_ms()))
}

fn is_shorter(waiting: &Waiting, until_ms: i64) -> bool {
    until_ms < waiting.stored_until_ms.saturating_sub(EXACT_MS)
}

/// What several members say together. Gone is what two of them do not have and none has, or what one does not have and
/// would be over by now if it had been read when it was sent.
pub fn judge(waiting: &[Waiting], members: &[Holder], now_ms: i64) -> Found {
    let mut found = Found::default();
    let several = members.len() >= 2;
    for it in waiting {
        let times: Vec<i64> = members
            .iter()
            .flat_map(|member| &member.expiries)
            .filter(|(hash, _)| **hash == it.hash)
            .map(|(_, at)| to_db(*at))
            .collect();
        let over = it.sent_ms.saturating_add(it.timer_s.saturating_mul(1000)) <= now_ms;
        if times.is_empty() {
            if several || over && !members.is_empty() {
                found.gone.push(it.hash.clone());
            }
        } else if times.len() >= 2
            && let Some(until_ms) = agreed(times).filter(|at| is_shorter(it, *at))
        {
            found.shorter.push((it.hash.clone(), until_ms));
        }
    }
    found
}

/// Writes down what was found out: timers that run since the other device's reading, and messages that are over.
async fn apply(context: &Context, found: Found) -> Result<(), StoreError> {
    if found == Found::default() {
        return Ok(());
    }
    let now_ms = context.now_ms();
    let gone = context
        .db
        .writer()
        .call(move |connection| Box::pin(async move { write(connection, &found, now_ms).await }))
        .await?;
    if gone > 0 {
        context.db.writer().scrub().await?;
    }
    Ok(())
}

/// The transaction's part. Returns how many messages went.
pub async fn write(
    connection: &mut sqlx::SqliteConnection,
    found: &Found,
    now_ms: i64,
) -> Result<usize, StoreError> {
    timers::read_elsewhere(&mut *connection, &found.shorter, now_ms).await?;
    // What was read here meanwhile has a timer of its own.
    let waiting = timers::still_waiting(&mut *connection, &found.gone).await?;
    let seqs: HashSet<i64> = waiting.into_values().collect();
    let seqs: Vec<i64> = seqs.into_iter().collect();
    expiry::expire(connection, &seqs, now_ms).await?;
    Ok(seqs.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(hash: &str) -> Waiting {
        Waiting {
            place: (0, 0),
            hash: hash.into(),
            stored_until_ms: 1_000_000,
            sent_ms: 100_000,
            timer_s: 300,
        }
    }

    fn member(expiries: &[(&str, u64)]) -> Holder {
        Holder {
            node: [1; 32],
            expiries: expiries
                .iter()
                .map(|(hash, at)| ((*hash).to_owned(), *at))
                .collect(),
        }
    }

    fn judged(members: &[Holder], now_ms: i64) -> Found {
        let waiting = ["a", "b", "c"].map(waiting);
        judge(&waiting, members, now_ms)
    }

    #[test]
    fn two_members_are_believed_and_one_is_not() {
        let all = [("a", 1_000_000), ("b", 1_000_000), ("c", 1_000_000)];
        let early = 150_000;
        // Everybody has everything; then one misses something, or says that it goes sooner.
        for members in [
            vec![member(&all), member(&all)],
            vec![member(&all[1..]), member(&all)],
            vec![
                member(&[("a", 5), all[1], all[2]]),
                member(&all),
                member(&all),
            ],
            vec![member(&all[1..])],
            vec![],
        ] {
            assert_eq!(judged(&members, early), Found::default(), "{members:?}");
        }
        // Two agree.
        let some = [("b", 500_000), ("c", 1_000_000)];
        let found = judged(&[member(&some), member(&some)], early);
        assert_eq!(found.gone, ["a"]);
        assert_eq!(found.shorter, [("b".to_owned(), 500_000)]);
        // One alone, when it would be over by now.
        let found = judged(&[member(&all[1..])], 400_000);
        assert_eq!(found.gone, ["a"]);
        assert_eq!(judged(&[], 400_000), Found::default());
    }
}
