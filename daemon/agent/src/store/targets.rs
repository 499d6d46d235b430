//! Messages that other messages speak of: found by conversation, author and sent timestamp; emptied, marked as read.
//!
//! Facts: messages.md 5.3 (what names a message), 6.6 (what is left of a deleted one), 6.10.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::list::push_list;
use super::{StoreError, scrub};

/// Values of a list that one statement takes, well below SQLite's limit of 32,766.
pub(super) const CHUNK: usize = 5_000;

/// What names a message: internal number of its conversation, account ID of its author, sent timestamp in ms.
pub type Name = (i64, String, i64);

/// A message that was found.
#[derive(Clone, Debug)]
pub struct Target {
    /// What names it.
    pub name: Name,
    /// Place in the order of arrival.
    pub receive_seq: i64,
    /// Opaque id.
    pub public_id: String,
    /// See [`super::messages::kind`].
    pub kind: String,
    /// Only author and time are left.
    pub deleted: bool,
    /// Written by this account.
    pub outgoing: bool,
    /// Of the copy in the own swarm.
    pub hash: Option<String>,
}

fn target(row: &SqliteRow) -> Result<Target, sqlx::Error> {
    Ok(Target {
        name: (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?),
        receive_seq: row.try_get(3)?,
        public_id: row.try_get(4)?,
        kind: row.try_get(5)?,
        deleted: row.try_get(6)?,
        outgoing: row.try_get(7)?,
        hash: row.try_get(8)?,
    })
}

const COLUMNS: &str = "m.conversation, m.author, m.sent_ms, m.receive_seq, m.public_id, m.kind, \
     m.deleted, m.outgoing, m.hash";

/// A query that begins with a table `want` of names: conversation, author, sent_ms. At most [`CHUNK`].
pub(super) fn wanted(names: &[Name]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::<Sqlite>::new("WITH want (conversation, author, sent_ms) AS (");
    query.push_values(names, |mut values, (conversation, author, sent_ms)| {
        values
            .push_bind(*conversation)
            .push_bind(author.clone())
            .push_bind(*sent_ms);
    });
    query.push(")");
    query
}

/// The messages of these names that are here, in no particular order.
pub async fn find(
    connection: &mut SqliteConnection,
    names: &[Name],
) -> Result<Vec<Target>, StoreError> {
    let mut found = Vec::new();
    for some in names.chunks(CHUNK) {
        let mut query = wanted(some);
        query.push(" SELECT ").push(COLUMNS).push(
            " FROM want CROSS JOIN message m ON m.conversation = want.conversation
              AND m.author = want.author AND m.sent_ms = want.sent_ms",
        );
        let rows = query.build().fetch_all(&mut *connection).await?;
        for row in &rows {
            found.push(target(row)?);
        }
    }
    Ok(found)
}

/// Messages of our own, sent at these times, in whatever conversation: we never use a time twice.
pub async fn own_by_time(
    connection: &mut SqliteConnection,
    times: &[i64],
) -> Result<Vec<Target>, StoreError> {
    if times.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new("SELECT ");
    query
        .push(COLUMNS)
        .push(" FROM message m WHERE m.outgoing = 1 AND m.sent_ms IN (");
    push_list(&mut query, times);
    let rows = query.build().fetch_all(connection).await?;
    Ok(rows.iter().map(target).collect::<Result<_, _>>()?)
}

/// Empties messages: nothing but author and time is left, which still keep the same message from coming again. What
/// waits in the outbox for them goes, too, and they are no longer being sent.
pub async fn erase(connection: &mut SqliteConnection, seqs: &[i64]) -> Result<(), StoreError> {
    if !seqs.is_empty() {
        scrub::removed(&mut *connection).await?;
    }
    for head in [
        "UPDATE message SET deleted = 1, counts = 0, mentions_me = 0, body = NULL, raw = NULL,
             msg_id = NULL, quote_author = NULL, quote_sent_ms = NULL, preview_url = NULL,
             preview_title = NULL, invitation_url = NULL, invitation_name = NULL
         WHERE receive_seq IN (",
        // SENDING ends as FAILED, and the copy for the own devices as NONE: what a cancelled one ends as.
        "UPDATE message SET send_state = iif(send_state = 2, 4, send_state),
             failure = iif(send_state = 2, 'CANCELLED', failure), sync_state = 1
         WHERE (send_state = 2 OR sync_state = 2) AND receive_seq IN (",
        "DELETE FROM attachment WHERE message IN (",
        "DELETE FROM reaction WHERE message IN (",
        "DELETE FROM outbox WHERE message IN (",
        "DELETE FROM outbox WHERE about IN (",
    ] {
        for some in seqs.chunks(CHUNK) {
            let mut query = QueryBuilder::<Sqlite>::new(head);
            push_list(&mut query, some);
            query.build().execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// Marks messages as read by their recipient, each at a time, ms; the first time stands. Returns those that were not
/// marked yet, in their order: internal number of the conversation and opaque id.
pub async fn read_by_peer(
    connection: &mut SqliteConnection,
    marks: &[(i64, i64)],
) -> Result<Vec<(i64, String)>, StoreError> {
    let mut marked: Vec<(i64, i64, String)> = Vec::new();
    for some in marks.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new("WITH read (seq, at_ms) AS (");
        query.push_values(some, |mut values, (seq, at_ms)| {
            values.push_bind(*seq).push_bind(*at_ms);
        });
        query.push(
            ") UPDATE message SET read_by_peer_ms = read.at_ms FROM read
             WHERE message.receive_seq = read.seq AND read_by_peer_ms = 0
             RETURNING receive_seq, conversation, public_id",
        );
        let rows = query.build_query_as().fetch_all(&mut *connection).await?;
        marked.extend(rows);
    }
    marked.sort_unstable();
    let marked = marked.into_iter();
    Ok(marked.map(|(_, number, id)| (number, id)).collect())
}
