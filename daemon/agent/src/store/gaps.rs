//! Spans that the agent could not cover: it was away for longer than the swarm keeps messages, so some may have come
//! and gone unseen. Each is on record and stands as an entry in every conversation that was there.
//!
//! Facts: messages.md 5.2 (14 days), 7.6 ("after a long absence").

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::StoreError;
use super::events::{self, NewEvent};
use super::messages;
use crate::random::message_id;

/// How long a swarm keeps messages, ms.
const RETENTION_MS: i64 = 14 * 86_400_000;

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
    let until_ms = now_ms - RETENTION_MS;
    // Before the first time there is no history that could have a gap.
    if covered_ms == 0 || covered_ms >= until_ms {
        return Ok(false);
    }
    sqlx::query("INSERT INTO gap (from_ms, until_ms) VALUES (?, ?)")
        .bind(covered_ms)
        .bind(until_ms)
        .execute(&mut *connection)
        .await?;
    let conversations: Vec<(i64, String)> =
        sqlx::query_as("SELECT id, public_id FROM conversation WHERE created_ms < ? ORDER BY id")
            .bind(until_ms)
            .fetch_all(&mut *connection)
            .await?;
    for some in conversations.chunks(500) {
        let entries: Vec<(i64, &str, String)> = some
            .iter()
            .map(|(number, id)| (*number, id.as_str(), message_id(now_ms)))
            .collect();
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO message (public_id, conversation, author, outgoing, sent_ms, received_ms, order_ms,
                                  kind, send_state, sync_state, detail_ms, wire_version) ",
        );
        query.push_values(&entries, |mut values, (number, _, id)| {
            values
                .push_bind(id.clone())
                .push_bind(*number)
                .push_bind("")
                .push_bind(false);
            values
                .push_bind(until_ms)
                .push_bind(now_ms)
                .push_bind(until_ms)
                .push_bind(messages::kind::GAP);
            values
                .push_bind(messages::NONE)
                .push_bind(messages::NONE)
                .push_bind(covered_ms)
                .push_bind(1_i64);
        });
        query.push(" ON CONFLICT (conversation, author, sent_ms) DO NOTHING");
        query.build().execute(&mut *connection).await?;
        let log: Vec<NewEvent> = entries
            .iter()
            .map(|(_, conversation, id)| NewEvent::message_added(conversation, id))
            .collect();
        events::append(&mut *connection, &log, now_ms).await?;
    }
    Ok(true)
}
