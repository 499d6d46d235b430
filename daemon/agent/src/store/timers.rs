//! Timers of messages that disappear after reading begin when the read position passes them (messages.md 7.6).

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::StoreError;
use super::events::NewEvent;

/// Starts the timers of received messages up to the read positions, given by internal number of the conversation.
/// Returns the events.
pub(super) async fn start_on_read(
    connection: &mut SqliteConnection,
    positions: &[(i64, i64)],
    now_ms: i64,
) -> Result<Vec<NewEvent>, StoreError> {
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new("WITH read (conversation, sent_ms) AS (");
    query.push_values(positions, |mut values, (conversation, sent_ms)| {
        values.push_bind(*conversation).push_bind(*sent_ms);
    });
    query
        .push(") UPDATE message SET expiry_start_ms = ")
        .push_bind(now_ms)
        .push(", expires_at = ")
        .push_bind(now_ms)
        .push(
            " + expiry_timer_s * 1000 WHERE receive_seq IN (
                  SELECT m.receive_seq FROM read CROSS JOIN message m
                  ON m.conversation = read.conversation AND m.sent_ms <= read.sent_ms
                  WHERE m.expiry_type = 1 AND m.expiry_start_ms IS NULL AND m.outgoing = 0)
              RETURNING public_id, (SELECT public_id FROM conversation WHERE id = message.conversation)",
        );
    let rows = query.build().fetch_all(connection).await?;
    let events = rows
        .iter()
        .map(|row| {
            let (message, conversation): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            Ok(NewEvent::message_changed(
                &conversation,
                &message,
                &["expire_time"],
            ))
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(events)
}
