//! Deleting messages: here, on all own devices, or for everyone (messages.md 6.6).

use session_protocol::content::{Kind, Unsend};
use sqlx::SqliteConnection;

use super::{ActionError, Actor, Of, head, message};
use crate::store::conversations::{self, Edit, NOTE_TO_SELF};
use crate::store::events::{self, NewEvent};
use crate::store::messages::{FAILED, SENDING};
use crate::store::{expiry, swarm_deletions, targets};

/// Where a message is to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// On this device.
    Here,
    /// On all devices of the own account.
    OwnDevices,
    /// For everyone; own messages alone.
    Everyone,
}

/// Deletes a message; one that is deleted already stays so. Returns the place in the event log before it.
pub async fn delete(
    connection: &mut SqliteConnection,
    actor: &Actor,
    id: &str,
    scope: Scope,
) -> Result<i64, ActionError> {
    let seq = head(&mut *connection).await?;
    let (row, conversation) = message(&mut *connection, id, actor.now_ms).await?;
    if scope == Scope::Everyone && !row.outgoing {
        return Err(ActionError::NotPossible(
            "only messages of this account can be deleted for everyone",
        ));
    }
    let names_author = row.author.parse().ok().zip(u64::try_from(row.sent_ms).ok());
    if scope != Scope::Here && !row.deleted && row.send_state != FAILED {
        // Entries of the agent's own, such as gaps, are nowhere else.
        if let Some((author, timestamp)) = names_author {
            let sent_ms = actor.stamp(&mut *connection, 1).await?;
            let kind = Kind::Unsend(Unsend { timestamp, author });
            if scope == Scope::Everyone && conversation.kind != NOTE_TO_SELF {
                actor
                    .enqueue(&mut *connection, &kind, &conversation, sent_ms, Of::Nothing)
                    .await?;
            } else {
                actor
                    .enqueue_own(&mut *connection, &kind, &conversation, sent_ms)
                    .await?;
            }
        }
        let hash: Option<String> =
            sqlx::query_scalar("SELECT hash FROM message WHERE receive_seq = ?")
                .bind(row.receive_seq)
                .fetch_one(&mut *connection)
                .await?;
        let hashes: Vec<String> = hash.into_iter().collect();
        swarm_deletions::add(&mut *connection, &hashes, actor.now_ms).await?;
    }
    let event = if conversation.kind == NOTE_TO_SELF || names_author.is_none() {
        expiry::remove(&mut *connection, &[row.receive_seq], actor.now_ms).await?;
        NewEvent::message_removed(&row.conversation, &row.public_id)
    } else if row.deleted {
        return Ok(seq);
    } else {
        targets::erase(&mut *connection, &[row.receive_seq]).await?;
        let mut fields = vec!["content", "attachments", "reactions"];
        if row.send_state == SENDING || row.sync_state == SENDING {
            fields.extend(["send_state", "sync_state", "failure_reason"]);
        }
        NewEvent::message_changed(&row.conversation, &row.public_id, &fields)
    };
    events::append(&mut *connection, &[event], actor.now_ms).await?;
    let mut edit = Edit::new(conversation);
    edit.removed();
    conversations::save(connection, vec![edit], actor.now_ms).await?;
    Ok(seq)
}
