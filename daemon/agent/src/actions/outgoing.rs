//! Sending a failed message again, and cancelling one that waits (design.md promise 1).

use sqlx::SqliteConnection;

use super::send::visible;
use super::{ActionError, Actor, Of, head, message};
use crate::store::conversations::NOTE_TO_SELF;
use crate::store::entries::{self, Progress};
use crate::store::messages::{self, FAILED, MessageRow, NONE, SENDING, kind};
use crate::store::outbox;

/// Longest after it was written that a message can be sent again, ms: a swarm takes nothing older (messages.md 5.5).
const SENDABLE_MS: i64 = 13 * 86_400_000;
/// Failure reason of what was cancelled.
const CANCELLED: &str = "CANCELLED";

/// Sends a failed message again, with the sent timestamp that it has. Returns it and the place in the event log before.
pub async fn retry(
    connection: &mut SqliteConnection,
    actor: &Actor,
    id: &str,
) -> Result<(MessageRow, i64), ActionError> {
    let seq = head(&mut *connection).await?;
    let (row, mut conversation) = message(&mut *connection, id, actor.now_ms).await?;
    if conversation.blocked {
        return Err(ActionError::Blocked);
    }
    let again = matches!(&*row.kind, kind::TEXT | kind::COMMUNITY_INVITATION);
    if !row.outgoing || row.deleted || row.send_state != FAILED || !again {
        return Err(ActionError::NotPossible(
            "only messages that could not be sent can be sent again",
        ));
    }
    if row.sent_ms.saturating_add(SENDABLE_MS) < actor.now_ms {
        return Err(ActionError::NotPossible(
            "this message is too old for the network; write it anew",
        ));
    }
    let quote = row.quote.as_ref();
    let quote = quote.and_then(|quote| Some((quote.author.parse().ok()?, quote.sent_ms)));
    let body = row.body.clone().unwrap_or_default();
    let sent = visible(body, quote, row.preview.clone(), row.invitation.clone());
    // It disappears as it was to, whatever is set by now.
    conversation.expiry = row.expiry;
    let of = Of::Message(row.receive_seq);
    actor
        .enqueue(&mut *connection, &sent, &conversation, row.sent_ms, of)
        .await?;
    let to_self = conversation.kind == NOTE_TO_SELF;
    let progress = Progress {
        send_state: Some(SENDING),
        sync_state: Some(if to_self { NONE } else { SENDING }),
        failure: Some(""),
        ..Progress::default()
    };
    entries::progress(&mut *connection, row.receive_seq, &progress, actor.now_ms).await?;
    let row = messages::get(connection, id, actor.now_ms).await?;
    Ok((row.ok_or(ActionError::NoMessage)?, seq))
}

/// Takes a message back that was not stored yet; it ends as failed. One that is on its way this very moment may arrive
/// nevertheless, and then ends as sent. Returns it and the place in the event log before.
pub async fn cancel(
    connection: &mut SqliteConnection,
    actor: &Actor,
    id: &str,
) -> Result<(MessageRow, i64), ActionError> {
    let seq = head(&mut *connection).await?;
    let (row, _) = message(&mut *connection, id, actor.now_ms).await?;
    if row.send_state != SENDING {
        return Err(ActionError::NotPossible(
            "only messages that wait to be sent can be cancelled",
        ));
    }
    outbox::take_back(&mut *connection, row.receive_seq).await?;
    let progress = Progress {
        send_state: Some(FAILED),
        sync_state: Some(NONE),
        failure: Some(CANCELLED),
        ..Progress::default()
    };
    entries::progress(&mut *connection, row.receive_seq, &progress, actor.now_ms).await?;
    let row = messages::get(connection, id, actor.now_ms).await?;
    Ok((row.ok_or(ActionError::NoMessage)?, seq))
}
