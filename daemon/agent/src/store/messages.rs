//! Messages as they are read: one, several, pages. Each comes with everything the API shows of it: attachments,
//! reactions, the call it records, the message it quotes. [`super::entries`] adds them.
//!
//! Every read leaves out what has disappeared by now (design.md promise 3).

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::StoreError;
use super::details::{self, AttachmentRow, ReactionRow};
use super::list::push_list;

/// Values of `send_state` and `sync_state`: those of the API's `SendState`.
pub const NONE: i64 = 1;
/// See [`NONE`].
pub const SENDING: i64 = 2;
/// See [`NONE`].
pub const SENT: i64 = 3;
/// See [`NONE`].
pub const FAILED: i64 = 4;

/// Values of `kind`. Every other value names a kind that this version does not understand and keeps as bytes.
pub mod kind {
    /// Text, or nothing but attachments.
    pub const TEXT: &str = "TEXT";
    /// An invitation to a community.
    pub const COMMUNITY_INVITATION: &str = "COMMUNITY_INVITATION";
    /// A call; its state is in table `call`.
    pub const CALL: &str = "CALL";
    /// The other side kept something; `detail` is the API's `DataExtractionKind`, `detail_ms` the media's sent timestamp.
    pub const DATA_EXTRACTION: &str = "DATA_EXTRACTION";
    /// The other side accepted our first message.
    pub const REQUEST_ACCEPTED: &str = "REQUEST_ACCEPTED";
    /// The author changed its disappearing setting; the new one is the message's own.
    pub const TIMER_CHANGE: &str = "TIMER_CHANGE";
    /// Messages may be missing; from `detail_ms` until `sent_ms`; `detail` says why.
    pub const GAP: &str = "GAP";
}

/// Values of `expiry_cause`: those of the API's `TimerStart`.
pub mod cause {
    /// It was sent: its storing, or the time its author gave.
    pub const SENT: i64 = 1;
    /// It was read here.
    pub const READ_HERE: i64 = 2;
    /// It was read on another device of this account.
    pub const READ_ELSEWHERE: i64 = 3;
}

/// Values of `expiry_type`.
pub const AFTER_READ: i64 = 1;
/// See [`AFTER_READ`].
pub const AFTER_SEND: i64 = 2;

/// Reference to another message of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuoteRow {
    /// Account ID.
    pub author: String,
    /// ms.
    pub sent_ms: i64,
    /// Opaque id, when the message is here.
    pub message: Option<String>,
}

/// A message as it is stored.
#[derive(Clone, Debug)]
pub struct MessageRow {
    /// Place in the order of arrival here.
    pub receive_seq: i64,
    /// Opaque id.
    pub public_id: String,
    /// Opaque id of its conversation.
    pub conversation: String,
    /// Account ID; empty for an entry of the agent's own.
    pub author: String,
    /// Written by this account.
    pub outgoing: bool,
    /// ms, as the author says.
    pub sent_ms: i64,
    /// ms.
    pub received_ms: i64,
    /// The earlier of the two: messages are ordered by it.
    pub order_ms: i64,
    /// See [`kind`].
    pub kind: String,
    /// Text.
    pub body: Option<String>,
    /// See [`NONE`].
    pub send_state: i64,
    /// See [`NONE`].
    pub sync_state: i64,
    /// UPPER_SNAKE reason, or empty.
    pub failure: String,
    /// Passed by the read position, or own.
    pub read: bool,
    /// Type and seconds of the disappearing timer; zeros: none.
    pub expiry: (i64, i64),
    /// When its timer began, ms, and why: see [`cause`].
    pub expiry_start: Option<(i64, i64)>,
    /// When it disappears, ms.
    pub expires_at: Option<i64>,
    /// Nothing but author and time is left.
    pub deleted: bool,
    /// It mentions this account.
    pub mentions_me: bool,
    /// What it answers.
    pub quote: Option<QuoteRow>,
    /// URL and title of a link preview.
    pub preview: Option<(String, String)>,
    /// URL and name of a community.
    pub invitation: Option<(String, String)>,
    /// Depends on the kind.
    pub detail: i64,
    /// ms, depends on the kind.
    pub detail_ms: i64,
    /// When the recipient says to have read it, ms; 0: it does not.
    pub read_by_peer_ms: i64,
    /// UUID and state of the call it records.
    pub call: Option<(String, i64)>,
    /// In their order.
    pub attachments: Vec<AttachmentRow>,
    /// By emoji in the order of first use, then by author.
    pub reactions: Vec<ReactionRow>,
}

const COLUMNS: &str = "SELECT m.receive_seq, m.public_id, c.public_id, m.author, m.outgoing, \
     m.sent_ms, m.received_ms, m.order_ms, m.kind, m.body, m.send_state, m.sync_state, m.failure, \
     m.outgoing OR m.sent_ms <= c.last_read_ms, m.expiry_type, m.expiry_timer_s, m.expires_at, m.deleted, \
     m.mentions_me, m.quote_author, m.quote_sent_ms, q.public_id, q.expires_at, m.preview_url, m.preview_title, \
     m.invitation_url, m.invitation_name, m.detail, m.detail_ms, m.read_by_peer_ms, k.uuid, k.state, \
     m.expiry_start_ms, m.expiry_cause FROM message m JOIN conversation c ON c.id = m.conversation \
     LEFT JOIN message q ON q.conversation = m.conversation AND q.author = m.quote_author \
         AND q.sent_ms = m.quote_sent_ms \
     LEFT JOIN call k ON k.message = m.receive_seq ";

fn row(row: &SqliteRow, now_ms: i64) -> Result<MessageRow, sqlx::Error> {
    let quote = match row.try_get::<Option<String>, _>(19)? {
        Some(author) => {
            let gone = row.try_get::<Option<i64>, _>(22)?;
            let message = row.try_get::<Option<String>, _>(21)?;
            Some(QuoteRow {
                author,
                sent_ms: row.try_get(20)?,
                message: message.filter(|_| gone.is_none_or(|at| at > now_ms)),
            })
        }
        None => None,
    };
    let pair = |first: usize, second: usize| -> Result<Option<(String, String)>, sqlx::Error> {
        let head: Option<String> = row.try_get(first)?;
        let tail: Option<String> = row.try_get(second)?;
        Ok(head.map(|head| (head, tail.unwrap_or_default())))
    };
    let call: Option<String> = row.try_get(30)?;
    let state: Option<i64> = row.try_get(31)?;
    let start: Option<i64> = row.try_get(32)?;
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
        expiry: (row.try_get(14)?, row.try_get(15)?),
        expiry_start: start.zip(row.try_get(33)?),
        expires_at: row.try_get(16)?,
        deleted: row.try_get(17)?,
        mentions_me: row.try_get(18)?,
        quote,
        preview: pair(23, 24)?,
        invitation: pair(25, 26)?,
        detail: row.try_get(27)?,
        detail_ms: row.try_get(28)?,
        read_by_peer_ms: row.try_get(29)?,
        call: call.zip(state),
        attachments: Vec::new(),
        reactions: Vec::new(),
    })
}

/// How many messages a conversation has, counted no further than `most`.
pub async fn count_up_to(
    connection: &mut SqliteConnection,
    conversation: i64,
    most: i64,
) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT 1 FROM message WHERE conversation = ? LIMIT ?)",
    )
    .bind(conversation)
    .bind(most)
    .fetch_one(connection)
    .await?;
    Ok(count)
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
    push_list(&mut query, ids);
    not_gone(&mut query, now_ms);
    fetch(connection, query, now_ms).await
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
    push_list(&mut query, seqs);
    not_gone(&mut query, now_ms);
    fetch(connection, query, now_ms).await
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
    not_gone(&mut query, now_ms);
    query.push(if newest_first {
        " ORDER BY m.order_ms DESC, m.receive_seq DESC LIMIT "
    } else {
        " ORDER BY m.order_ms, m.receive_seq LIMIT "
    });
    query.push_bind(limit);
    fetch(connection, query, now_ms).await
}

fn not_gone(query: &mut QueryBuilder<Sqlite>, now_ms: i64) {
    query
        .push(" AND (m.expires_at IS NULL OR m.expires_at > ")
        .push_bind(now_ms)
        .push(")");
}

async fn fetch(
    connection: &mut SqliteConnection,
    mut query: QueryBuilder<Sqlite>,
    now_ms: i64,
) -> Result<Vec<MessageRow>, StoreError> {
    let rows = query.build().fetch_all(&mut *connection).await?;
    let mut rows = rows
        .iter()
        .map(|found| row(found, now_ms))
        .collect::<Result<Vec<_>, _>>()?;
    details::load(connection, &mut rows).await?;
    Ok(rows)
}
