//! Tells the own swarm how long copies of read messages are to live, so that the own devices learn of the reading
//! (messages.md 7.6).
//!
//! What is asked for is on disk ([`crate::store::swarm_expiry`]), written with the reading itself. Copies with one time go
//! as one request, which only ever shortens; the members' signed answers also say where another device was earlier, whose
//! reading then counts. Three attempts while a path works, with back-off; without a path it waits. A copy whose time is
//! over before the swarm was told is deleted instead.

use std::collections::HashMap;
use std::time::Duration;

use session_network::NetworkError;
use session_protocol::Identifier;
use session_protocol::storage::answer::Member;
use session_protocol::storage::signed::ExpireMode;
use session_protocol::storage::{answer, request, verify};
use tokio::time::Instant;

use super::{Context, pace};
use crate::store::swarm_expiry::{self, ATTEMPTS, Due};
use crate::store::{StoreError, swarm_deletions, timers};
use crate::time::{millis, to_db, until};

/// Hashes in one request.
const BATCH: i64 = 100;

/// Works off what is asked for until the agent stops.
pub async fn run(context: Context) {
    let mut status = context.network.watch();
    loop {
        let pause = match round(&context).await {
            Ok(pause) => pause,
            Err(error) => {
                pace::tell(&error, "the own swarm could not be told what was read");
                Some(pace::TROUBLE)
            }
        };
        tokio::select! {
            () = context.stopped() => break,
            () = context.shorten_filled.notified() => {}
            () = until(pause.map(|pause| Instant::now() + pause)) => {}
            // A path that comes up ends a pause.
            Ok(()) = status.changed(), if pause.is_some() => drop(status.borrow_and_update()),
        }
    }
}

/// Does what is due. Returns how long nothing will be; `None`: nothing waits.
async fn round(context: &Context) -> Result<Option<Duration>, StoreError> {
    loop {
        let now_ms = context.now_ms();
        let due = {
            let mut connection = context.db.readers().acquire().await?;
            swarm_expiry::due(&mut connection, now_ms, BATCH).await?
        };
        let Some(due) = due else { break };
        if due.expires_ms <= context.certain_ms() {
            too_late(context, due.hashes, now_ms).await?;
            continue;
        }
        if !context.has_path() {
            break;
        }
        let told = tokio::select! {
            () = context.stopped() => return Ok(None),
            told = tell(context, &due) => told,
        };
        settle(context, due, told).await?;
    }
    let mut connection = context.db.readers().acquire().await?;
    let next = swarm_expiry::next_due(&mut connection).await?;
    // Without a path there is nothing to wait for but one.
    let has_path = context.has_path();
    Ok(next.map(|at| pace::wait(context, has_path.then_some(at))))
}

/// No swarm takes a time that is over. The messages are gone here, and so for all devices.
async fn too_late(context: &Context, hashes: Vec<String>, now_ms: i64) -> Result<(), StoreError> {
    context
        .db
        .writer()
        .call(move |connection| {
            Box::pin(async move {
                swarm_deletions::add(&mut *connection, &hashes, now_ms).await?;
                swarm_expiry::done(connection, &hashes).await
            })
        })
        .await?;
    context.deletions_filled.notify_one();
    Ok(())
}

/// What the members hold after a request.
struct Told {
    /// When the copies are dropped, ms, as far as members agree.
    until: Vec<(String, i64)>,
    /// At least half of the members have signed.
    enough: bool,
}

async fn tell(context: &Context, due: &Due) -> Result<Told, NetworkError> {
    let owner = Identifier::from(context.account_id());
    let expiry = u64::try_from(due.expires_ms).unwrap_or(0);
    let reply = context
        .network
        .swarm_request(context.isolation, &owner, &|_| {
            request::expire(&*context.keys, ExpireMode::Shorten, expiry, &due.hashes)
        })
        .await?;
    let members = answer::members("expire", &reply.body).map_err(|_| NetworkError::Malformed)?;
    let confirmed = verify::expire(&members, &owner, &due.hashes, |key| {
        reply.members.contains(key)
    });
    if confirmed.nodes.is_empty() {
        return Err(NetworkError::Unverified);
    }
    let signed = members
        .iter()
        .filter(|member| confirmed.nodes.contains(&member.node));
    Ok(Told {
        until: held(signed, due),
        enough: confirmed.nodes.len() * 2 >= confirmed.asked,
    })
}

/// When the members drop each copy, as far as they agree.
fn held<'m>(members: impl Iterator<Item = &'m Member>, due: &Due) -> Vec<(String, i64)> {
    let expiry = u64::try_from(due.expires_ms).unwrap_or(0);
    let mut times: HashMap<String, Vec<i64>> = HashMap::new();
    for (hash, at) in members.flat_map(|member| answer::expired(member, expiry)) {
        if due.hashes.contains(&hash) {
            times.entry(hash).or_default().push(to_db(at));
        }
    }
    let agreed = |(hash, times)| Some((hash, agreed(times)?));
    times.into_iter().filter_map(agreed).collect()
}

/// The earliest time that a second member bears out: one alone moves nothing, unless it is the only one.
pub(super) fn agreed(mut times: Vec<i64>) -> Option<i64> {
    times.sort_unstable();
    times.get(1).or(times.first()).copied()
}

async fn settle(
    context: &Context,
    due: Due,
    told: Result<Told, NetworkError>,
) -> Result<(), StoreError> {
    let now_ms = context.now_ms();
    let times = *context.network.times();
    let (held, again) = match told {
        Ok(told) => (told.until, (!told.enough).then_some(1)),
        Err(error) => {
            tracing::debug!(%error, "the own swarm was not told what was read");
            let last = error.is_permanent();
            (Vec::new(), (!last).then_some(i64::from(error.had_path())))
        }
    };
    // Without a path nothing is counted.
    let again = again
        .map(|more| due.attempts + more)
        .filter(|count| *count < ATTEMPTS);
    context
        .db
        .writer()
        .call(move |connection| {
            Box::pin(async move {
                timers::read_elsewhere(&mut *connection, &held, now_ms).await?;
                let Some(attempts) = again else {
                    return swarm_expiry::done(connection, &due.hashes).await;
                };
                let pause = pace::pause(&times, attempts);
                let next_ms = now_ms.saturating_add(millis(pause));
                swarm_expiry::postpone(connection, &due.hashes, attempts, next_ms).await
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_alone_moves_nothing() {
        assert_eq!(agreed(vec![]), None);
        assert_eq!(agreed(vec![5]), Some(5));
        assert_eq!(agreed(vec![900, 5]), Some(900));
        assert_eq!(agreed(vec![900, 5, 700, 700]), Some(700));
    }
}
