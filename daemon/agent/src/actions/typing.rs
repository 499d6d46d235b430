//! Telling that we type, or stopped (messages.md 6.11).

use session_protocol::content::{Kind, Typing};
use sqlx::SqliteConnection;

use super::tell::Tell;
use super::{ActionError, Actor, conversation};
use crate::store::conversations::Selector;
use crate::store::settings;

/// What the other side is told; nothing unless the user wants that, and both sides accepted each other.
pub async fn tell(
    connection: &mut SqliteConnection,
    actor: &Actor,
    selector: &Selector,
    started: bool,
) -> Result<Option<Tell>, ActionError> {
    let row = conversation(&mut *connection, selector).await?;
    if !row.is_mutual() || !settings::load(&mut *connection).await?.typing_indicators {
        return Ok(None);
    }
    let peer = row.peer.parse().map_err(|_| ActionError::NoConversation)?;
    let sent_ms = actor.stamp(connection, 1).await?;
    Tell::write(&Kind::Typing(Typing { started }), peer, sent_ms, None).map(Some)
}
