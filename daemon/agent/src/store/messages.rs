//! Messages: adding, reading pages, following their state.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::StoreError;
use super::events::{self, NewEvent};

/// Values of `send_state` and `sync_state`: those of the API's `SendState`.
pub const NONE: i64 = 1;
/// See [`NONE`].
pub const SENDING: i64 = 2;
/// See [`NONE`].
pub const SENT: i64 = 3;
/// See [`NONE`].
pub const FAILED: i64 = 4;

/// Value of `kind` for plain text.
pub const TEXT: &str = "TEXT";

/// A message as it is stored.
#[derive(Clone, Debug)]
pub struct MessageRow {
    /// Place in the order of arrival here.
    pub receive_seq: i64,
    /// Opaque id.
    pub public_id: String,
    /// Opaque id of its conversation.
    pub conversation: String,
    /// Account ID.
    pub author: String,
    /// Written by this account.
    pub outgoing: bool,
    /// ms, as the author says.
    pub sent_ms: i64,
    /// ms.
    pub received_ms: i64,
    /// The earlier of the two: messages are ordered by it.
    pub order_ms: i64,
    /// [`TEXT`] or the name of a kind that is not supported.
    pub kind: String,
    /// Text.
    pub body: Option<String>,
    /// See [`NONE`].
    pub send_state: i64,
    /// See [`NONE`].
    pub sync_state: i64,
    /// UPPER_SNAKE reason, or empty.
    pub failure: String,
    /// Marked as read, or own.
    pub read: bool,
    /// When it disappears, ms.
    pub expires_at: Option<i64>,
}

const COLUMNS: &str = "SELECT m.receive_seq, m.public_id, c.public_id, m.author, m.outgoing, \
     m.sent_ms, m.received_ms, m.order_ms, m.kind, m.body, m.send_state, m.sync_state, m.failure, \
     m.read, m.expires_at FROM message m JOIN conversation c ON c.id = m.conversation ";

fn row(row: &SqliteRow) -> Result<MessageRow, sqlx::Error> {
    Ok(MessageRow {
        receive_seq: row.try_get(0)?,
        public_id: row.try_get(1)?,
        conversation: row.try_get(2)?,
        author: row.try_get(3)?,
        outgoing: row.try_get(4)?,
        sent_ms: row.try_get(5)?,
        received_ms: row.try_get(6)?,
        order_ms: row.try_get(7)?,
        kind: row.try_get(8)?,
        body: row.try_get(9)?,
        send_state: row.try_get(10)?,
        sync_state: row.try_get(11)?,
        failure: row.try_get(12)?,
        read: row.try_get(13)?,
        expires_at: row.try_get(14)?,
    })
}

/// A message to be added.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Opaque id.
    pub public_id: String,
    /// Internal number of its conversation.
    pub conversation: i64,
    /// Account ID.
    pub author: String,
    /// Written by this account.
    pub outgoing: bool,
    /// ms, as the author says.
    pub sent_ms: i64,
    /// [`TEXT`] or the name of a kind that is not supported.
    pub kind: String,
    /// Text.
    pub body: Option<String>,
    /// Content of a kind that is not supported.
    pub raw: Option<Vec<u8>>,
    /// See [`NONE`].
    pub send_state: i64,
    /// See [`NONE`].
    pub sync_state: i64,
    /// Name of the stored copy in the own swarm and when the swarm drops it, ms.
    pub stored: Option<(String, i64)>,
    /// Type and seconds of a disappearing timer.
    pub expiry: (i64, i64),
}

/// A message that was added.
pub struct Added {
    /// Place in the order of arrival.
    pub receive_seq: i64,
    /// Opaque id.
    pub public_id: String,
}

/// Adds messages with one statement. One that is there already (same conversation, author and sent timestamp) is left
/// out and not returned.
pub async fn add(
    connection: &mut SqliteConnection,
    messages: &[NewMessage],
    now_ms: i64,
) -> Result<Vec<Added>, StoreError> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO message
         (public_id, conversation, author, outgoing, sent_ms, received_ms, order_ms, kind, body, raw,
          send_state, sync_state, read, hash, server_expiry_ms, expiry_type, expiry_timer_s,
          wire_version) ",
    );
    query.push_values(messages, |mut values, message| {
        let (hash, expiry) = message.stored.clone().unzip();
        values
            .push_bind(message.public_id.clone())
            .push_bind(message.conversation);
        values
            .push_bind(message.author.clone())
            .push_bind(message.outgoing);
        values.push_bind(message.sent_ms).push_bind(now_ms);
        values
            .push_bind(message.sent_ms.min(now_ms))
            .push_bind(message.kind.clone());
        values
            .push_bind(message.body.clone())
            .push_bind(message.raw.clone());
        values
            .push_bind(message.send_state)
            .push_bind(message.sync_state);
        values
            .push_bind(message.outgoing)
            .push_bind(hash)
            .push_bind(expiry);
        values
            .push_bind(message.expiry.0)
            .push_bind(message.expiry.1)
            .push_bind(1_i64);
    });
    query.push(" ON CONFLICT (conversation, author, sent_ms) DO NOTHING");
    query.push(" RETURNING receive_seq, public_id");
    let rows = query.build().fetch_all(connection).await?;
    let added = rows
        .iter()
        .map(|row| {
            Ok(Added {
                receive_seq: row.try_get(0)?,
                public_id: row.try_get(1)?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(added)
}

/// One message, unless it has disappeared by `now_ms`.
pub async fn get(
    connection: &mut SqliteConnection,
    public_id: &str,
    now_ms: i64,
) -> Result<Option<MessageRow>, StoreError> {
    Ok(by_ids(connection, &[public_id.to_owned()], now_ms)
        .await?
        .pop())
}

/// Several messages by opaque id, in no particular order.
pub async fn by_ids(
    connection: &mut SqliteConnection,
    ids: &[String],
    now_ms: i64,
) -> Result<Vec<MessageRow>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
    query.push("WHERE m.public_id IN (");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id.clone());
    }
    query
        .push(") AND (m.expires_at IS NULL OR m.expires_at > ")
        .push_bind(now_ms)
        .push(")");
    fetch(connection, query).await
}

/// Several messages by place of arrival, in no particular order.
pub async fn by_receive_seqs(
    connection: &mut SqliteConnection,
    seqs: &[i64],
    now_ms: i64,
) -> Result<Vec<MessageRow>, StoreError> {
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
    query.push("WHERE m.receive_seq IN (");
    let mut list = query.separated(", ");
    for seq in seqs {
        list.push_bind(*seq);
    }
    query
        .push(") AND (m.expires_at IS NULL OR m.expires_at > ")
        .push_bind(now_ms)
        .push(")");
    fetch(connection, query).await
}

/// Place of a message in its conversation's order.
pub type Place = (i64, i64);

/// A page of a conversation. `from` is exclusive.
pub async fn page(
    connection: &mut SqliteConnection,
    conversation: i64,
    newest_first: bool,
    from: Option<Place>,
    limit: i64,
    now_ms: i64,
) -> Result<Vec<MessageRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
    query
        .push("WHERE m.conversation = ")
        .push_bind(conversation);
    if let Some((order_ms, receive_seq)) = from {
        query.push(" AND (m.order_ms, m.receive_seq) ");
        query.push(if newest_first { "< (" } else { "> (" });
        query
            .push_bind(order_ms)
            .push(", ")
            .push_bind(receive_seq)
            .push(")");
    }
    query
        .push(" AND (m.expires_at IS NULL OR m.expires_at > ")
        .push_bind(now_ms)
        .push(")");
    query.push(if newest_first {
        " ORDER BY m.order_ms DESC, m.receive_seq DESC LIMIT "
    } else {
        " ORDER BY m.order_ms, m.receive_seq LIMIT "
    });
    query.push_bind(limit);
    fetch(connection, query).await
}

async fn fetch(
    connection: &mut SqliteConnection,
    mut query: QueryBuilder<Sqlite>,
) -> Result<Vec<MessageRow>, StoreError> {
    let rows = query.build().fetch_all(connection).await?;
    Ok(rows.iter().map(row).collect::<Result<_, _>>()?)
}

/// A change in how far a message has come.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// New `send_state`.
    pub send_state: Option<i64>,
    /// New `sync_state`.
    pub sync_state: Option<i64>,
    /// Why it failed.
    pub failure: Option<&'static str>,
    /// Name of the stored copy in the own swarm and when the swarm drops it, ms.
    pub stored: Option<(String, i64)>,
}

/// Applies a change and writes its event.
pub async fn progress(
    connection: &mut SqliteConnection,
    receive_seq: i64,
    change: &Progress,
    now_ms: i64,
) -> Result<(), StoreError> {
    let (hash, expiry) = change.stored.clone().unzip();
    let row = sqlx::query(
        "UPDATE message SET send_state = coalesce(?, send_state),
             sync_state = coalesce(?, sync_state), failure = coalesce(?, failure),
             hash = coalesce(?, hash), server_expiry_ms = coalesce(?, server_expiry_ms)
         WHERE receive_seq = ?
         RETURNING public_id, (SELECT public_id FROM conversation WHERE id = message.conversation)",
    )
    .bind(change.send_state)
    .bind(change.sync_state)
    .bind(change.failure)
    .bind(hash)
    .bind(expiry)
    .bind(receive_seq)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let (message, conversation): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let mut fields = Vec::new();
    fields.extend(change.send_state.map(|_| "send_state"));
    fields.extend(change.sync_state.map(|_| "sync_state"));
    fields.extend(change.failure.map(|_| "failure_reason"));
    let event = NewEvent::message_changed(&conversation, &message, &fields);
    events::append(connection, &[event], now_ms).await
}
