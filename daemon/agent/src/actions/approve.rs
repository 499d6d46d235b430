//! Accepting, declining and blocking people (messages.md 6.7, 8.3, 8.4).

use session_protocol::content::Kind;
use sqlx::SqliteConnection;

use super::change::CLEARED;
use super::{ActionError, Actor, Of, conversation, head};
use crate::store::conversations::{self, ConversationRow, Edit, HIDDEN, NOTE_TO_SELF, Selector};
use crate::store::events::{self, NewEvent};
use crate::store::{messages, scrub};

/// Accepts somebody who wrote, and tells them. Returns the conversation and the place in the event log before.
pub async fn accept(
    connection: &mut SqliteConnection,
    actor: &Actor,
    selector: &Selector,
) -> Result<(ConversationRow, i64), ActionError> {
    let seq = head(&mut *connection).await?;
    let row = person(&mut *connection, selector).await?;
    if row.blocked {
        return Err(ActionError::Blocked);
    }
    let mut edit = Edit::new(row);
    approve(&mut *connection, actor, &mut edit).await?;
    let row = edit.row.clone();
    conversations::save(connection, vec![edit], actor.now_ms).await?;
    Ok((row, seq))
}

/// Accepts in a conversation that is being changed anyway. Whoever wrote first is told, before anything else that is
/// sent in the same go.
pub(super) async fn approve(
    connection: &mut SqliteConnection,
    actor: &Actor,
    edit: &mut Edit,
) -> Result<(), ActionError> {
    if edit.row.kind == NOTE_TO_SELF || edit.row.approved {
        return Ok(());
    }
    if edit.row.approved_me {
        let sent_ms = actor.stamp(&mut *connection, 1).await?;
        actor
            .enqueue(
                connection,
                &Kind::RequestResponse,
                &edit.row,
                sent_ms,
                Of::Nothing,
            )
            .await?;
    }
    edit.row.approved = true;
    Ok(())
}

/// Blocks or unblocks. Nobody is told.
pub async fn set_blocked(
    connection: &mut SqliteConnection,
    actor: &Actor,
    selector: &Selector,
    blocked: bool,
) -> Result<(ConversationRow, i64), ActionError> {
    let seq = head(&mut *connection).await?;
    let row = person(&mut *connection, selector).await?;
    let mut edit = Edit::new(row);
    edit.row.blocked = blocked;
    let row = edit.row.clone();
    conversations::save(connection, vec![edit], actor.now_ms).await?;
    Ok((row, seq))
}

/// Declines a request, some of its messages at a time, the oldest first: they go; nothing is sent. A later message is a
/// request again, unless `block`. Returns whether there is more to do, as long as there is it stays a request, and the
/// place in the event log before.
pub async fn decline(
    connection: &mut SqliteConnection,
    actor: &Actor,
    selector: &Selector,
    block: bool,
) -> Result<(bool, i64), ActionError> {
    let seq = head(&mut *connection).await?;
    let row = person(&mut *connection, selector).await?;
    if !row.is_request() {
        return Err(ActionError::NotPossible(
            "this conversation is not a request",
        ));
    }
    scrub::removed(&mut *connection).await?;
    let gone: Vec<String> = sqlx::query_scalar(
        "DELETE FROM message WHERE receive_seq IN (
             SELECT receive_seq FROM message WHERE conversation = ? ORDER BY order_ms, receive_seq LIMIT ?)
         RETURNING public_id",
    )
    .bind(row.id)
    .bind(CLEARED)
    .fetch_all(&mut *connection)
    .await?;
    let more = messages::count_up_to(&mut *connection, row.id, 1).await? > 0;
    let id = row.public_id.clone();
    let mut log: Vec<NewEvent> = gone
        .iter()
        .map(|message| NewEvent::message_removed(&id, message))
        .collect();
    if !block && !more {
        sqlx::query("DELETE FROM conversation WHERE id = ?")
            .bind(row.id)
            .execute(&mut *connection)
            .await?;
        log.push(NewEvent::conversation_removed(&id));
    }
    events::append(&mut *connection, &log, actor.now_ms).await?;
    if block || more {
        let mut edit = Edit::new(row);
        edit.removed();
        if !more {
            edit.row.blocked = true;
            edit.row.priority = HIDDEN;
            edit.row.cleared_before_ms = actor.now_ms;
        }
        conversations::save(connection, vec![edit], actor.now_ms).await?;
    }
    Ok((more, seq))
}

/// The conversation that a caller names, unless it is with oneself.
async fn person(
    connection: &mut SqliteConnection,
    selector: &Selector,
) -> Result<ConversationRow, ActionError> {
    let row = conversation(connection, selector).await?;
    if row.kind == NOTE_TO_SELF {
        return Err(ActionError::NotPossible("note to self is with nobody else"));
    }
    Ok(row)
}
