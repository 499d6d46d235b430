//! What the user sets for a conversation, and clearing it (messages.md 8.1, 8.3).
//!
//! All of it stays on this device as long as the settings of the account's devices are not synchronised.

use sqlx::SqliteConnection;

use super::{ActionError, Actor, conversation, head};
use crate::store::conversations::{self, ConversationRow, Edit, HIDDEN, Selector};
use crate::store::events::{self, NewEvent};
use crate::store::expiry;
use crate::store::messages::SENDING;

/// Messages that one transaction clears: an inbox or a call never waits for more.
pub(super) const CLEARED: i64 = 200;

/// What shall be different; `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Empty takes it off.
    pub nickname: Option<String>,
    /// Left out of the ordinary list.
    pub hidden: Option<bool>,
    /// 0: not pinned. Pinning shows a hidden one.
    pub pin_priority: Option<u32>,
    /// As [`ConversationRow::notify_mode`].
    pub notify_mode: Option<i64>,
    /// ms; 0: not muted.
    pub mute_until_ms: Option<i64>,
}

/// Changes a conversation. Returns it and the place in the event log before.
pub async fn change(
    connection: &mut SqliteConnection,
    actor: &Actor,
    selector: &Selector,
    changes: Changes,
) -> Result<(ConversationRow, i64), ActionError> {
    let seq = head(&mut *connection).await?;
    let mut edit = Edit::new(conversation(&mut *connection, selector).await?);
    let row = &mut edit.row;
    if let Some(nickname) = changes.nickname {
        row.nickname = nickname;
    }
    match changes.hidden {
        Some(true) => row.priority = HIDDEN,
        Some(false) => row.priority = row.priority.max(0),
        None => {}
    }
    match changes.pin_priority {
        Some(0) => row.priority = row.priority.min(0),
        Some(pin) => row.priority = pin.into(),
        None => {}
    }
    if let Some(mode) = changes.notify_mode {
        row.notify_mode = mode;
    }
    if let Some(until) = changes.mute_until_ms {
        row.mute_until_ms = until;
    }
    let row = row.clone();
    conversations::save(connection, vec![edit], actor.now_ms).await?;
    Ok((row, seq))
}

/// Deletes some of a conversation's messages on this device, the oldest first; they do not come back, since what was
/// received stays known. Those still being sent stay, unless they are deleted already. Returns whether there may be more,
/// and the place in the event log before.
pub async fn clear(
    connection: &mut SqliteConnection,
    actor: &Actor,
    selector: &Selector,
) -> Result<(bool, i64), ActionError> {
    let seq = head(&mut *connection).await?;
    let row = conversation(&mut *connection, selector).await?;
    let gone: Vec<(i64, String)> = sqlx::query_as(
        "SELECT receive_seq, public_id FROM message WHERE conversation = ?1
             AND (deleted = 1 OR send_state <> ?2 AND sync_state <> ?2)
         ORDER BY order_ms, receive_seq LIMIT ?3",
    )
    .bind(row.id)
    .bind(SENDING)
    .bind(CLEARED)
    .fetch_all(&mut *connection)
    .await?;
    let (seqs, ids): (Vec<i64>, Vec<String>) = gone.into_iter().unzip();
    expiry::remove(&mut *connection, &seqs, actor.now_ms).await?;
    let log: Vec<NewEvent> = ids
        .iter()
        .map(|id| NewEvent::message_removed(&row.public_id, id))
        .collect();
    events::append(&mut *connection, &log, actor.now_ms).await?;
    let mut edit = Edit::new(row);
    if !seqs.is_empty() {
        edit.removed();
    }
    conversations::save(connection, vec![edit], actor.now_ms).await?;
    let more = i64::try_from(seqs.len()).is_ok_and(|count| count == CLEARED);
    Ok((more, seq))
}
