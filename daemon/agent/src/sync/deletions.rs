//! Deletes copies in the own swarm whose message was deleted, so that devices that come later never see them.
//!
//! What is asked for is on disk ([`crate::store::swarm_deletions`]) and done when a member of the swarm signed for it;
//! until then it is tried again with back-off. Facts: messages.md 6.6, network.md 4.6.

use std::time::Duration;

use session_network::{NetworkError, Times};
use session_protocol::Identifier;
use session_protocol::storage::{answer, request, verify};

use super::Context;
use crate::store::{StoreError, swarm_deletions};
use crate::time::millis;

/// Hashes in one request.
const BATCH: i64 = 100;
/// Doublings of the first pause after failed attempts.
const DOUBLINGS: i64 = 10;

/// Works off deletions until the agent stops.
pub async fn run(context: Context) {
    let mut status = context.network.watch();
    loop {
        let pause = match round(&context).await {
            Ok(pause) => pause,
            Err(error) if error.trouble().is_some() => Duration::from_secs(5),
            Err(error) => {
                tracing::warn!(%error, "deletions in the own swarm could not be worked off");
                context.network.times().resend_min
            }
        };
        tokio::select! {
            () = context.stopped() => break,
            () = context.deletions_filled.notified() => {}
            () = tokio::time::sleep(pause) => {}
            // A path that comes up may end a pause.
            Ok(()) = status.changed() => drop(status.borrow_and_update()),
        }
    }
}

/// Deletes what is due. Returns how long nothing will be.
async fn round(context: &Context) -> Result<Duration, StoreError> {
    let times = *context.network.times();
    loop {
        let now_ms = context.now_ms();
        let due = {
            let mut connection = context.db.readers().acquire().await?;
            swarm_deletions::due(&mut connection, now_ms, BATCH).await?
        };
        let Some(attempts) = due.iter().map(|(_, attempts)| *attempts).max() else {
            break;
        };
        let hashes: Vec<String> = due.into_iter().map(|(hash, _)| hash).collect();
        let deleted = tokio::select! {
            () = context.stopped() => return Ok(Duration::ZERO),
            deleted = delete(context, &hashes) => deleted,
        };
        let now_ms = context.now_ms();
        context
            .db
            .writer()
            .call(move |connection| {
                Box::pin(async move {
                    if deleted.is_ok() {
                        return swarm_deletions::done(connection, &hashes).await;
                    }
                    let next = now_ms.saturating_add(millis(pause(&times, attempts)));
                    swarm_deletions::postpone(connection, &hashes, next, now_ms).await
                })
            })
            .await?;
    }
    let mut connection = context.db.readers().acquire().await?;
    let next = swarm_deletions::next_due(&mut connection).await?;
    let longest = millis(times.resend_max).max(100);
    let wait = next.map_or(longest, |at| at.saturating_sub(context.now_ms()));
    Ok(Duration::from_millis(
        u64::try_from(wait.clamp(100, longest)).unwrap_or(100),
    ))
}

/// After so many failed attempts and one: as long as what waits to be sent waits (5 s doubling up to 5 min, scaled with
/// all other times).
fn pause(times: &Times, attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, DOUBLINGS)).unwrap_or(0);
    (times.resend_min * (1 << doublings)).min(times.resend_max)
}

/// Deletes these; done when a member signed for it. The swarm passes it on among its members.
async fn delete(context: &Context, hashes: &[String]) -> Result<(), NetworkError> {
    let owner = Identifier::from(context.account_id());
    // A copy that is being stored again this very moment goes after that.
    let _alone = context.own_swarm.lock().await;
    let reply = context
        .network
        .swarm_request(context.isolation, &owner, &|_| {
            request::delete(&*context.keys, hashes)
        })
        .await?;
    let members = answer::members("delete", &reply.body).map_err(|_| NetworkError::Malformed)?;
    let confirmed = verify::delete(&members, &owner, hashes, |key| reply.members.contains(key));
    if confirmed.nodes.is_empty() {
        Err(NetworkError::Unverified)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use session_network::Times;

    use super::pause;

    #[test]
    fn pauses_follow_the_times_of_the_network() {
        let seconds = |times: &Times| [0, 1, 6, 99].map(|n| pause(times, n).as_secs());
        assert_eq!(seconds(&Times::default()), [5, 10, 300, 300]);
        let scaled = Times {
            resend_min: Duration::from_secs(1),
            resend_max: Duration::from_secs(60),
            ..Times::default()
        };
        assert_eq!(seconds(&scaled), [1, 2, 60, 60]);
    }
}
