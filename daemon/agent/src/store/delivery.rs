//! What is known of a message's way: written while it is sent or received, read when somebody asks for it.
//!
//! Metadata alone: times, hashes, node keys, opaque path ids, reasons. It is bounded (equal steps are counted, a unit
//! leaves one row) and goes with the message; the row of a unit goes within the hour after its last message.

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::StoreError;
use super::list::push_list;
use super::outbox::Purpose;

/// Values of `step`: those of the API's `MessageStepKind`.
pub mod step {
    /// Encrypted.
    pub const SEALED: i64 = 2;
    /// An attempt failed.
    pub const ATTEMPT_FAILED: i64 = 3;
    /// Stored.
    pub const STORED: i64 = 4;
    /// Given up.
    pub const FAILED: i64 = 5;
    /// Stored again, because members did not have it.
    pub const STORED_AGAIN: i64 = 9;
}

/// Something that happened to an outgoing message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// `receive_seq` of the message.
    pub message: i64,
    /// 1 the message itself, 2 the copy for the own devices, as in the outbox.
    pub purpose: i64,
    /// See [`step`].
    pub step: i64,
    /// UPPER_SNAKE, or empty.
    pub reason: String,
    /// ms, of the first such step.
    pub first_ms: i64,
    /// ms, of the last.
    pub last_ms: i64,
    /// How many there were.
    pub count: i64,
    /// Name of the stored copy, or empty.
    pub hash: String,
    /// Ed25519 key of the member that took it.
    pub node: Option<Vec<u8>>,
    /// Opaque id of the path, or empty.
    pub path: String,
    /// Ed25519 keys of the members that signed, one after the other.
    pub confirmed: Vec<u8>,
    /// Ed25519 keys of known members that did not sign, one after the other.
    pub missed: Vec<u8>,
    /// Members the answer spoke of.
    pub asked: i64,
    /// When the stored copy is dropped, ms.
    pub expiry_ms: Option<i64>,
}

impl Step {
    /// A step of that kind, at a time in ms.
    pub fn new(message: i64, purpose: Purpose, step: i64, at_ms: i64) -> Self {
        Self {
            message,
            purpose: purpose.to_db(),
            step,
            first_ms: at_ms,
            last_ms: at_ms,
            count: 1,
            ..Self::default()
        }
    }
}

/// Writes steps with one statement. One that happened before for the same reason is counted, with its newest details.
pub async fn record(connection: &mut SqliteConnection, steps: &[Step]) -> Result<(), StoreError> {
    if steps.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "WITH fresh (message, purpose, step, reason, first_ms, last_ms, count, hash, node, path,
                     confirmed, missed, asked, expiry_ms) AS (",
    );
    query.push_values(steps, |mut values, step| {
        values
            .push_bind(step.message)
            .push_bind(step.purpose)
            .push_bind(step.step)
            .push_bind(step.reason.clone());
        values
            .push_bind(step.first_ms)
            .push_bind(step.last_ms)
            .push_bind(step.count)
            .push_bind(step.hash.clone());
        values
            .push_bind(step.node.clone())
            .push_bind(step.path.clone())
            .push_bind(step.confirmed.clone())
            .push_bind(step.missed.clone());
        values.push_bind(step.asked).push_bind(step.expiry_ms);
    });
    // The message may have gone meanwhile.
    query.push(
        ") INSERT INTO delivery (message, purpose, step, reason, first_ms, last_ms, count, hash, node,
                                 path, confirmed, missed, asked, expiry_ms)
           SELECT * FROM fresh WHERE EXISTS (SELECT 1 FROM message WHERE receive_seq = fresh.message)
           ON CONFLICT (message, purpose, step, reason) DO UPDATE SET
              last_ms = excluded.last_ms, count = count + 1, hash = excluded.hash,
              node = excluded.node, path = excluded.path, confirmed = excluded.confirmed,
              missed = excluded.missed, asked = excluded.asked, expiry_ms = excluded.expiry_ms",
    );
    query.build().execute(connection).await?;
    Ok(())
}

/// Writes that these items of the outbox were encrypted, as far as they belong to messages.
pub async fn sealed(
    connection: &mut SqliteConnection,
    items: &[i64],
    now_ms: i64,
) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO delivery (message, purpose, step, reason, first_ms, last_ms, count, hash, path,
                               confirmed, asked)
         SELECT message, purpose, ",
    );
    query.push_bind(step::SEALED).push(", '', ");
    query.push_bind(now_ms).push(", ").push_bind(now_ms);
    query.push(
        ", 1, coalesce(hash, ''), '', x'', 0 FROM outbox WHERE message IS NOT NULL AND id IN (",
    );
    push_list(&mut query, items);
    query.push(" ON CONFLICT (message, purpose, step, reason) DO NOTHING");
    query.build().execute(connection).await?;
    Ok(())
}

/// The way by which messages came from the own swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, ms.
    pub at_ms: i64,
    /// Ed25519 key of the member that gave them.
    pub node: Vec<u8>,
    /// Opaque id of the path.
    pub path: String,
}

/// The last place of arrival that was ever given.
pub async fn last_arrival(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let seq = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'message'")
        .fetch_optional(connection)
        .await?;
    Ok(seq.unwrap_or(0))
}

/// Writes down how the messages of a unit came: all that arrived after the place `before`, in this transaction.
pub async fn arrived(
    connection: &mut SqliteConnection,
    before: i64,
    arrival: &Arrival,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO arrival (first_seq, last_seq, at_ms, node, path)
         SELECT ? + 1, seq, ?, ?, ? FROM sqlite_sequence WHERE name = 'message' AND seq > ?",
    )
    .bind(before)
    .bind(arrival.at_ms)
    .bind(&arrival.node)
    .bind(&arrival.path)
    .bind(before)
    .execute(connection)
    .await?;
    Ok(())
}

/// What is known of one message beyond its row.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Name of the copy in the own swarm.
    pub hash: Option<String>,
    /// When that swarm stored it, ms, by its clock.
    pub stored_ms: Option<i64>,
    /// When that swarm drops it, ms.
    pub server_expiry_ms: Option<i64>,
    /// 1 after read, 2 after send; 0 stays.
    pub expiry_type: i64,
    /// Version of the protocol.
    pub wire_version: i64,
    /// How it came from the own swarm.
    pub arrival: Option<Arrival>,
    /// What happened while it was sent, in order.
    pub steps: Vec<Step>,
}

/// Everything about the message at a place of arrival.
pub async fn explain(
    connection: &mut SqliteConnection,
    receive_seq: i64,
) -> Result<Explanation, StoreError> {
    let row = sqlx::query(
        "SELECT hash, stored_ms, server_expiry_ms, expiry_type, wire_version
         FROM message WHERE receive_seq = ?",
    )
    .bind(receive_seq)
    .fetch_one(&mut *connection)
    .await?;
    let arrival = sqlx::query_as::<_, (i64, i64, Vec<u8>, String)>(
        "SELECT last_seq, at_ms, node, path FROM arrival
         WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1",
    )
    .bind(receive_seq)
    .fetch_optional(&mut *connection)
    .await?
    .filter(|(last_seq, ..)| *last_seq >= receive_seq)
    .map(|(_, at_ms, node, path)| Arrival { at_ms, node, path });
    let steps = sqlx::query(
        "SELECT message, purpose, step, reason, first_ms, last_ms, count, hash, node, path,
                confirmed, missed, asked, expiry_ms
         FROM delivery WHERE message = ? ORDER BY first_ms, step, purpose",
    )
    .bind(receive_seq)
    .fetch_all(connection)
    .await?;
    let steps = steps
        .iter()
        .map(|row| {
            Ok(Step {
                message: row.try_get(0)?,
                purpose: row.try_get(1)?,
                step: row.try_get(2)?,
                reason: row.try_get(3)?,
                first_ms: row.try_get(4)?,
                last_ms: row.try_get(5)?,
                count: row.try_get(6)?,
                hash: row.try_get(7)?,
                node: row.try_get(8)?,
                path: row.try_get(9)?,
                confirmed: row.try_get(10)?,
                missed: row.try_get(11)?,
                asked: row.try_get(12)?,
                expiry_ms: row.try_get(13)?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(Explanation {
        hash: row.try_get(0)?,
        stored_ms: row.try_get(1)?,
        server_expiry_ms: row.try_get(2)?,
        expiry_type: row.try_get(3)?,
        wire_version: row.try_get(4)?,
        arrival,
        steps,
    })
}

/// Drops the ways of units none of whose messages is left.
pub async fn prune(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM arrival WHERE NOT EXISTS
             (SELECT 1 FROM message WHERE receive_seq BETWEEN first_seq AND last_seq)",
    )
    .execute(connection)
    .await?;
    Ok(())
}
