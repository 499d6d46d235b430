//! Telling that we type, or stopped (messages.md 6.11). It lives for a moment: it is sent once, at once, and never waits in
//! the outbox.

use std::time::Duration;

use session_network::StoreItem;
use session_protocol::content::{Destination, Frame, Kind, Typing};
use session_protocol::storage::Namespace;
use session_protocol::{AccountId, Identifier, envelope};
use sqlx::SqliteConnection;

use super::{ActionError, Actor, conversation};
use crate::random::os_rng;
use crate::store::conversations::{ONE_TO_ONE, Selector};
use crate::store::settings;
use crate::sync::Context;

/// Longest that sending may take: the other side drops it soon after.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is to be stored, and for whom.
#[derive(Clone, Debug)]
pub struct Tell {
    /// Account ID.
    pub peer: AccountId,
    /// Sent timestamp, ms.
    pub sent_ms: u64,
    /// Serialised Content.
    pub content: Vec<u8>,
    /// How long it is stored, ms.
    pub ttl_ms: u64,
}

/// What the other side is told; nothing unless the user wants that, and both sides accepted each other.
pub async fn tell(
    connection: &mut SqliteConnection,
    actor: &Actor,
    selector: &Selector,
    started: bool,
) -> Result<Option<Tell>, ActionError> {
    let row = conversation(&mut *connection, selector).await?;
    let may = row.kind == ONE_TO_ONE && row.approved && row.approved_me && !row.blocked;
    if !may || !settings::load(&mut *connection).await?.typing_indicators {
        return Ok(None);
    }
    let peer = row.peer.parse().map_err(|_| ActionError::NoConversation)?;
    let sent_ms = actor.stamp(connection, 1).await?;
    let timestamp_ms = u64::try_from(sent_ms).unwrap_or(0);
    let kind = Kind::Typing(Typing { started });
    let frame = Frame {
        timestamp_ms,
        ..Frame::default()
    };
    Ok(Some(Tell {
        peer,
        sent_ms: timestamp_ms,
        content: kind.write(&frame)?,
        ttl_ms: kind.ttl_ms(None, Destination::Recipient),
    }))
}

/// Stores it for the other side. Returns whether its swarm took it; there is no second attempt.
pub async fn store(context: &Context, tell: &Tell) -> bool {
    let sealed = envelope::seal(
        &mut os_rng(),
        &context.keys,
        &tell.peer,
        tell.sent_ms,
        &tell.content,
    );
    let Ok(bytes) = sealed else { return false };
    let item = StoreItem {
        namespace: Namespace::DEFAULT,
        data: bytes.as_slice().into(),
        ttl_ms: tell.ttl_ms,
    };
    let owner = Identifier::from(tell.peer);
    let storing = context
        .network
        .store(context.isolation, &owner, std::slice::from_ref(&item));
    match tokio::time::timeout(DEADLINE, storing).await {
        Ok(Ok(outcomes)) => outcomes.iter().all(Result::is_ok),
        _ => false,
    }
}
