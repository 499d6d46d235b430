//! Entries of which a conversation holds only so many: timer changes (the latest of each author), the acceptance of a
//! request (one), calls (one record each). Facts: messages.md 6.7, 6.14, 7.4.

use std::collections::HashSet;

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::StoreError;
use super::list::push_list;

/// Values of column `call.state`: those of the API's `CallState`.
pub mod call {
    /// Nobody answered.
    pub const MISSED: i64 = 1;
    /// Would not have rung: the caller is not accepted.
    pub const MISSED_NEEDS_PERMISSION: i64 = 2;
    /// Another device of ours answered.
    pub const ANSWERED_ELSEWHERE: i64 = 3;
    /// Another device of ours rejected or ended it.
    pub const ENDED_ELSEWHERE: i64 = 4;
    /// Answered here, or by whom we called.
    pub const ANSWERED: i64 = 5;
    /// Rejected here.
    pub const REJECTED: i64 = 6;
    /// We called, and nobody answered so far.
    pub const CALLED: i64 = 7;
}

/// A timer change that is held.
#[derive(Clone, Debug)]
pub struct TimerChange {
    /// Internal number of the conversation.
    pub conversation: i64,
    /// Account ID.
    pub author: String,
    /// ms.
    pub sent_ms: i64,
    /// Place in the order of arrival.
    pub receive_seq: i64,
    /// Opaque id.
    pub public_id: String,
}

/// Timer changes held in these conversations.
pub async fn timer_changes(
    connection: &mut SqliteConnection,
    conversations: &[i64],
) -> Result<Vec<TimerChange>, StoreError> {
    if conversations.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT conversation, author, sent_ms, receive_seq, public_id FROM message
         WHERE kind = 'TIMER_CHANGE' AND conversation IN (",
    );
    push_list(&mut query, conversations);
    let rows = query.build().fetch_all(connection).await?;
    let held = rows
        .iter()
        .map(|row| {
            Ok(TimerChange {
                conversation: row.try_get(0)?,
                author: row.try_get(1)?,
                sent_ms: row.try_get(2)?,
                receive_seq: row.try_get(3)?,
                public_id: row.try_get(4)?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(held)
}

/// Which of these conversations hold an acceptance already.
pub async fn accepted(
    connection: &mut SqliteConnection,
    conversations: &[i64],
) -> Result<HashSet<i64>, StoreError> {
    if conversations.is_empty() {
        return Ok(HashSet::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT conversation FROM message WHERE kind = 'REQUEST_ACCEPTED' AND conversation IN (",
    );
    push_list(&mut query, conversations);
    let held: Vec<i64> = query.build_query_scalar().fetch_all(connection).await?;
    Ok(held.into_iter().collect())
}

/// A call that is on record.
#[derive(Clone, Debug)]
pub struct CallRow {
    /// `receive_seq` of its entry.
    pub message: i64,
    /// Opaque id of its entry.
    pub public_id: String,
    /// Internal number of the conversation.
    pub conversation: i64,
    /// The caller's UUID.
    pub uuid: String,
    /// See [`call`].
    pub state: i64,
    /// We called.
    pub outgoing: bool,
}

/// Calls with these UUIDs, in whatever conversation.
pub async fn calls(
    connection: &mut SqliteConnection,
    uuids: &[String],
) -> Result<Vec<CallRow>, StoreError> {
    if uuids.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT k.message, m.public_id, k.conversation, k.uuid, k.state, m.outgoing
         FROM call k JOIN message m ON m.receive_seq = k.message WHERE k.uuid IN (",
    );
    push_list(&mut query, uuids);
    let rows = query.build().fetch_all(connection).await?;
    let calls = rows
        .iter()
        .map(|row| {
            Ok(CallRow {
                message: row.try_get(0)?,
                public_id: row.try_get(1)?,
                conversation: row.try_get(2)?,
                uuid: row.try_get(3)?,
                state: row.try_get(4)?,
                outgoing: row.try_get(5)?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(calls)
}

/// Puts calls on record: entry, conversation, UUID, state.
pub async fn add_calls(
    connection: &mut SqliteConnection,
    calls: &[(i64, i64, String, i64)],
) -> Result<(), StoreError> {
    if calls.is_empty() {
        return Ok(());
    }
    let mut query =
        QueryBuilder::<Sqlite>::new("INSERT INTO call (message, conversation, uuid, state) ");
    query.push_values(calls, |mut values, (message, conversation, uuid, state)| {
        values
            .push_bind(*message)
            .push_bind(*conversation)
            .push_bind(uuid.clone())
            .push_bind(*state);
    });
    query.push(" ON CONFLICT DO NOTHING");
    query.build().execute(connection).await?;
    Ok(())
}

/// Changes what became of calls, one state for each entry.
pub async fn set_call_states(
    connection: &mut SqliteConnection,
    states: &[(i64, i64)],
) -> Result<(), StoreError> {
    if states.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new("WITH new (message, state) AS (");
    query.push_values(states, |mut values, (message, state)| {
        values.push_bind(*message).push_bind(*state);
    });
    query.push(") UPDATE call SET state = new.state FROM new WHERE call.message = new.message");
    query.build().execute(connection).await?;
    Ok(())
}
