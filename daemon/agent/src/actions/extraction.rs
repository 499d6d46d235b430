//! Telling that the user kept a file of somebody (messages.md 6.16).
//!
//! Only whoever wrote the message is told, in a conversation in which both sides accepted each other, and unless the user
//! turned it off. Screenshots are told by nobody any more.

use session_protocol::blake2b;
use session_protocol::content::{DataExtraction, Kind};
use sqlx::SqliteConnection;

use super::{ActionError, Actor, Of, head, message};
use crate::store::settings;
use crate::store::tokens::{self, Earlier};

/// Puts a notice into the outbox if somebody is to be told. The same token, unless it is empty, tells once. Returns
/// whether a notice is on its way.
pub async fn saved(
    connection: &mut SqliteConnection,
    actor: &Actor,
    id: &str,
    token: &str,
) -> Result<bool, ActionError> {
    let (row, conversation) = message(&mut *connection, id, actor.now_ms).await?;
    if row.attachments.is_empty() {
        return Err(ActionError::NotPossible("this message has no files"));
    }
    let fingerprint = blake2b::hash32(&[b"saved", id.as_bytes()]);
    if !token.is_empty()
        && tokens::earlier(&mut *connection, token, &fingerprint)
            .await?
            .is_some()
    {
        return Ok(true);
    }
    let off = settings::load(&mut *connection)
        .await?
        .media_saved_notices_off;
    if row.outgoing || !conversation.is_mutual() || off {
        return Ok(false);
    }
    let cursor_seq = head(&mut *connection).await?;
    let sent_ms = actor.stamp(&mut *connection, 1).await?;
    let notice = Kind::DataExtraction(DataExtraction {
        screenshot: false,
        timestamp: u64::try_from(row.sent_ms).ok(),
    });
    actor
        .enqueue(
            &mut *connection,
            &notice,
            &conversation,
            sent_ms,
            Of::Nothing,
        )
        .await?;
    if !token.is_empty() {
        let outcome = Earlier {
            message: row.public_id,
            cursor_seq,
        };
        tokens::remember(connection, token, &fingerprint, &outcome, actor.now_ms).await?;
    }
    Ok(true)
}
