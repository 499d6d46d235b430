//! The read position: reading up to a message, and marking a conversation as unread.
//!
//! Reading starts the timers of what disappears after reading, and tells the other side if the user wants that and the
//! other side is accepted on both sides (messages.md 6.10, 7.6, 8.2).

use session_protocol::content::{Kind, ReadReceipt};
use sqlx::SqliteConnection;

use super::{ActionError, Actor, Of, conversation, head, message};
use crate::store::conversations::{self, ConversationRow, Edit, Selector};
use crate::store::{StoreError, settings};

/// Messages that one receipt names.
const RECEIPT: usize = 1_000;
/// Newest messages that receipts are sent for at most when much is read at once.
const RECEIPTS: i64 = 10_000;

/// Reads up to a message, or everything. Returns the conversation and the place in the event log before it.
pub async fn mark_read(
    connection: &mut SqliteConnection,
    actor: &Actor,
    selector: &Selector,
    up_to: Option<&str>,
) -> Result<(ConversationRow, i64), ActionError> {
    let seq = head(&mut *connection).await?;
    let row = conversation(&mut *connection, selector).await?;
    let position = match up_to {
        Some(id) => {
            let (message, of) = message(&mut *connection, id, actor.now_ms).await?;
            if of.id != row.id {
                return Err(ActionError::NoMessage);
            }
            message.sent_ms
        }
        None => newest(&mut *connection, row.id).await?,
    };
    let receipts = receipts(&mut *connection, &row, position).await?;
    for some in receipts.chunks(RECEIPT) {
        let sent_ms = actor.stamp(&mut *connection, 1).await?;
        let timestamps = some
            .iter()
            .filter_map(|ms| u64::try_from(*ms).ok())
            .collect();
        let kind = Kind::ReadReceipt(ReadReceipt { timestamps });
        actor
            .enqueue(&mut *connection, &kind, &row, sent_ms, Of::Nothing)
            .await?;
    }
    let mut edit = Edit::new(row);
    edit.read_to(position);
    let id = edit.row.public_id.clone();
    conversations::save(&mut *connection, vec![edit], actor.now_ms).await?;
    let row = conversation(connection, &Selector::Id(id)).await?;
    Ok((row, seq))
}

/// Shows a conversation as unread until it is read again.
pub async fn mark_unread(
    connection: &mut SqliteConnection,
    actor: &Actor,
    selector: &Selector,
) -> Result<(ConversationRow, i64), ActionError> {
    let seq = head(&mut *connection).await?;
    let row = conversation(&mut *connection, selector).await?;
    let mut edit = Edit::new(row);
    edit.row.marked_unread = true;
    let row = edit.row.clone();
    conversations::save(connection, vec![edit], actor.now_ms).await?;
    Ok((row, seq))
}

/// Sent timestamp of the newest message that counts, or that waits for reading to disappear, which a notice of theirs
/// may do without counting; 0 when there is none.
async fn newest(connection: &mut SqliteConnection, number: i64) -> Result<i64, StoreError> {
    let newest: Option<i64> = sqlx::query_scalar(
        "SELECT max(sent_ms) FROM (
             SELECT max(sent_ms) AS sent_ms FROM message WHERE conversation = ?1 AND counts = 1
             UNION ALL
             SELECT max(sent_ms) FROM message WHERE conversation = ?1 AND expiry_type = 1
                 AND expiry_start_ms IS NULL AND outgoing = 0)",
    )
    .bind(number)
    .fetch_one(connection)
    .await?;
    Ok(newest.unwrap_or(0))
}

/// Sent timestamps of the messages that the other side is told of, ascending.
async fn receipts(
    connection: &mut SqliteConnection,
    row: &ConversationRow,
    position: i64,
) -> Result<Vec<i64>, StoreError> {
    if !row.is_mutual() || !settings::load(&mut *connection).await?.read_receipts {
        return Ok(Vec::new());
    }
    let mut times: Vec<i64> = sqlx::query_scalar(
        "SELECT sent_ms FROM message WHERE conversation = ? AND counts = 1 AND sent_ms > ? AND sent_ms <= ?
             AND kind NOT IN ('CALL', 'REQUEST_ACCEPTED')
         ORDER BY sent_ms DESC LIMIT ?",
    )
    .bind(row.id)
    .bind(row.last_read_ms)
    .bind(position)
    .bind(RECEIPTS)
    .fetch_all(connection)
    .await?;
    times.reverse();
    Ok(times)
}
