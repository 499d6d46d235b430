//! Deletes copies in the own swarm whose message was deleted, so that devices that come later never see them.
//!
//! What is asked for is on disk ([`crate::store::swarm_deletions`]) and done when a member of the swarm signed for it;
//! until then it is tried again with back-off. Without a path it waits for one. Facts: messages.md 6.6, network.md 4.6.

use std::time::Duration;

use session_network::NetworkError;
use session_protocol::Identifier;
use session_protocol::storage::{answer, request, verify};

use super::{Context, pace};
use crate::store::{StoreError, swarm_deletions};
use crate::time::millis;

/// Hashes in one request.
const BATCH: i64 = 100;

/// Works off deletions until the agent stops.
pub async fn run(context: Context) {
    let mut status = context.network.watch();
    loop {
        let pause = match round(&context).await {
            Ok(pause) => pause,
            Err(error) => {
                pace::tell(&error, "deletions in the own swarm could not be worked off");
                pace::TROUBLE
            }
        };
        tokio::select! {
            () = context.stopped() => break,
            () = context.deletions_filled.notified() => {}
            () = tokio::time::sleep(pause) => {}
            // A path that comes up ends a pause.
            Ok(()) = status.changed() => drop(status.borrow_and_update()),
        }
    }
}

/// Deletes what is due. Returns how long nothing will be.
async fn round(context: &Context) -> Result<Duration, StoreError> {
    while context.has_path() {
        let now_ms = context.now_ms();
        let due = {
            let mut connection = context.db.readers().acquire().await?;
            swarm_deletions::due(&mut connection, now_ms, BATCH).await?
        };
        let Some(before) = due.iter().map(|(_, attempts)| *attempts).max() else {
            break;
        };
        let hashes: Vec<String> = due.into_iter().map(|(hash, _)| hash).collect();
        let deleted = tokio::select! {
            () = context.stopped() => return Ok(Duration::ZERO),
            deleted = delete(context, &hashes) => deleted,
        };
        let attempts = match &deleted {
            Ok(()) => before,
            // Without a path nothing is counted.
            Err(error) => before.saturating_add(i64::from(error.had_path())),
        };
        let pause = pace::pause(context.network.times(), attempts);
        let next_ms = context.now_ms().saturating_add(millis(pause));
        let certain_ms = context.certain_ms();
        context
            .db
            .writer()
            .call(move |connection| {
                Box::pin(async move {
                    if deleted.is_ok() {
                        return swarm_deletions::done(connection, &hashes).await;
                    }
                    swarm_deletions::postpone(connection, &hashes, attempts, next_ms, certain_ms)
                        .await
                })
            })
            .await?;
    }
    let mut connection = context.db.readers().acquire().await?;
    let next = swarm_deletions::next_due(&mut connection).await?;
    // Without a path there is nothing to wait for but one.
    Ok(pace::wait(context, next.filter(|_| context.has_path())))
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
