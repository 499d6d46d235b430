//! Spans that the agent could not cover: it was away for longer than the swarm keeps messages, so some may have come
//! and gone unseen. Each stands as an entry in every conversation that was there.
//!
//! Facts: messages.md 5.2 (14 days), 7.6 ("after a long absence").

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::StoreError;
use super::events::{self, NewEvent};
use super::messages;
use super::received::INBOX_MS;
use crate::random::message_id;

/// A span in which messages of a conversation are missing, as an entry in it.
pub(super) struct Gap {
    /// Internal number of the conversation.
    pub(super) conversation: i64,
    /// Where it begins, ms.
    pub(super) from_ms: i64,
    /// Where it ends, ms: the place of the entry.
    pub(super) until_ms: i64,
    /// Why: value of `detail`; 0: the agent was away.
    pub(super) cause: i64,
}

/// Rows of one statement.
const ROWS: usize = 500;

/// Writes entries for gaps, save where there is one already. Returns the id of each, in their order.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    gaps: &[Gap],
    now_ms: i64,
) -> Result<Vec<String>, StoreError> {
    let ids: Vec<String> = gaps.iter().map(|_| message_id(now_ms)).collect();
    let rows: Vec<(&Gap, &String)> = gaps.iter().zip(&ids).collect();
    for some in rows.chunks(ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO message (public_id, conversation, author, outgoing, sent_ms, received_ms, order_ms,
                                  kind, send_state, sync_state, detail, detail_ms, wire_version) ",
        );
        query.push_values(some, |mut values, (gap, id)| {
            values
                .push_bind(*id)
                .push_bind(gap.conversation)
                .push_bind("")
                .push_bind(false);
            values
                .push_bind(gap.until_ms)
                .push_bind(now_ms)
                .push_bind(gap.until_ms)
                .push_bind(messages::kind::GAP);
            values
                .push_bind(messages::NONE)
                .push_bind(messages::NONE)
                .push_bind(gap.cause)
                .push_bind(gap.from_ms)
                .push_bind(1_i64);
        });
        query.push(" ON CONFLICT (conversation, author, sent_ms) DO NOTHING");
        query.build().execute(&mut *connection).await?;
    }
    Ok(ids)
}

/// Everything that was stored up to now is read. Writes down a gap when the last such moment is too long ago, and says
/// whether there was one.
pub async fn cover(connection: &mut SqliteConnection, now_ms: i64) -> Result<bool, StoreError> {
    let covered_ms: i64 = sqlx::query_scalar("SELECT covered_ms FROM meta WHERE id = 1")
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query("UPDATE meta SET covered_ms = max(covered_ms, ?) WHERE id = 1")
        .bind(now_ms)
        .execute(&mut *connection)
        .await?;
    let until_ms = now_ms - INBOX_MS;
    // Before the first time there is no history that could have a gap.
    if covered_ms == 0 || covered_ms >= until_ms {
        return Ok(false);
    }
    let conversations: Vec<(i64, String)> =
        sqlx::query_as("SELECT id, public_id FROM conversation WHERE created_ms < ? ORDER BY id")
            .bind(until_ms)
            .fetch_all(&mut *connection)
            .await?;
    let gap = |conversation| Gap {
        conversation,
        from_ms: covered_ms,
        until_ms,
        cause: 0,
    };
    let gaps: Vec<Gap> = conversations.iter().map(|(id, _)| gap(*id)).collect();
    let ids = write(&mut *connection, &gaps, now_ms).await?;
    let log: Vec<NewEvent> = conversations
        .iter()
        .zip(&ids)
        .map(|((_, conversation), id)| NewEvent::message_added(conversation, id))
        .collect();
    events::append(connection, &log, now_ms).await?;
    Ok(true)
}
