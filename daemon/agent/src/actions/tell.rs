//! What lives for a moment only, typing and steps of calls: stored at once or not at all. It never waits in the outbox,
//! where it would outlive what it speaks of.

use std::time::Duration;

use session_network::{NetworkError, StoreItem};
use session_protocol::content::{Destination, Expiration, Frame, Kind};
use session_protocol::storage::{Namespace, message_hash};
use session_protocol::{AccountId, Identifier, envelope};

use super::ActionError;
use crate::random::os_rng;
use crate::store::received;
use crate::sync::Context;
use crate::sync::receive::own_inbox;

/// Longest that storing one may take: the other side drops it soon after.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is to be stored, and for whom.
#[derive(Clone, Debug)]
pub struct Tell {
    /// Whose swarm gets it.
    pub peer: AccountId,
    /// Sent timestamp, ms.
    pub sent_ms: i64,
    /// Serialised Content.
    pub content: Vec<u8>,
    /// How long it is stored, ms.
    pub ttl_ms: u64,
}

impl Tell {
    /// For the other side of a conversation with this timer.
    pub fn write(
        kind: &Kind,
        peer: AccountId,
        sent_ms: i64,
        expiration: Option<Expiration>,
    ) -> Result<Self, ActionError> {
        let frame = frame(sent_ms, expiration);
        Ok(Self {
            peer,
            sent_ms,
            content: kind.write(&frame)?,
            ttl_ms: kind.ttl_ms(expiration, Destination::Recipient),
        })
    }

    /// The copy for the devices of `own`, when this kind has one.
    pub fn write_copy(
        kind: &Kind,
        own: AccountId,
        peer: AccountId,
        sent_ms: i64,
        expiration: Option<Expiration>,
    ) -> Result<Option<Self>, ActionError> {
        let content = kind.write_sync_copy(&frame(sent_ms, expiration), &peer)?;
        Ok(content.map(|content| Self {
            peer: own,
            sent_ms,
            content,
            ttl_ms: kind.ttl_ms(expiration, Destination::OwnSwarm),
        }))
    }
}

fn frame(sent_ms: i64, expiration: Option<Expiration>) -> Frame<'static> {
    Frame {
        timestamp_ms: u64::try_from(sent_ms).unwrap_or(0),
        expiration,
        profile: None,
    }
}

/// Stores it; there is no second attempt. A copy for the own devices is dealt with here before it is stored: it comes back
/// with the next poll.
pub async fn store(context: &Context, tell: &Tell) -> Result<(), NetworkError> {
    let sent_ms = u64::try_from(tell.sent_ms).unwrap_or(0);
    let bytes = envelope::seal(
        &mut os_rng(),
        &context.keys,
        &tell.peer,
        sent_ms,
        &tell.content,
    )
    .map_err(|_| NetworkError::NoSwarm)?;
    let owner = Identifier::from(tell.peer);
    if tell.peer == context.account_id() {
        let hash = message_hash(&owner, Namespace::DEFAULT, &bytes);
        let (place, now_ms) = (own_inbox(&tell.peer), context.now_ms());
        let marked = context.db.writer().call(move |connection| {
            Box::pin(async move {
                received::mark(connection, &place, &[(&hash, now_ms)], now_ms).await?;
                Ok(())
            })
        });
        marked.await.map_err(|_| NetworkError::Shutdown)?;
    }
    let item = StoreItem {
        namespace: Namespace::DEFAULT,
        data: bytes.as_slice().into(),
        ttl_ms: tell.ttl_ms,
    };
    let items = std::slice::from_ref(&item);
    let storing = context.network.store(context.isolation, &owner, items);
    let outcomes = tokio::time::timeout(DEADLINE, storing)
        .await
        .map_err(|_| NetworkError::Timeout)??;
    outcomes
        .into_iter()
        .try_for_each(|outcome| outcome.map(drop))
}
