//! Conversations: finding, making, listing.

use session_protocol::AccountId;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::StoreError;
use super::events::{self, NewEvent};
use crate::random::opaque_id;

/// Values of column `kind`: those of the API's `ConversationKind`.
pub const ONE_TO_ONE: i64 = 1;
/// See [`ONE_TO_ONE`].
pub const NOTE_TO_SELF: i64 = 2;

/// A conversation as it is stored.
#[derive(Clone, Debug)]
pub struct ConversationRow {
    /// Internal number.
    pub id: i64,
    /// Opaque id.
    pub public_id: String,
    /// [`ONE_TO_ONE`] or [`NOTE_TO_SELF`].
    pub kind: i64,
    /// Account ID of the other side.
    pub peer: String,
    /// Name the other side gave; may be empty.
    pub display_name: String,
    /// `receive_seq` of the newest message.
    pub last_message: Option<i64>,
    /// ms.
    pub last_activity_ms: i64,
    /// Received and not read.
    pub unread: i64,
}

const COLUMNS: &str = "SELECT id, public_id, kind, peer, display_name, last_message, last_activity_ms, unread \
     FROM conversation ";

fn row(row: &SqliteRow) -> Result<ConversationRow, sqlx::Error> {
    Ok(ConversationRow {
        id: row.try_get(0)?,
        public_id: row.try_get(1)?,
        kind: row.try_get(2)?,
        peer: row.try_get(3)?,
        display_name: row.try_get(4)?,
        last_message: row.try_get(5)?,
        last_activity_ms: row.try_get(6)?,
        unread: row.try_get(7)?,
    })
}

/// How a conversation is named by a caller.
#[derive(Clone, Debug)]
pub enum Selector {
    /// By its opaque id.
    Id(String),
    /// By the other side's account ID.
    Peer(String),
}

/// One conversation.
pub async fn get(
    connection: &mut SqliteConnection,
    selector: &Selector,
) -> Result<Option<ConversationRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
    match selector {
        Selector::Id(id) => query.push("WHERE public_id = ").push_bind(id.clone()),
        Selector::Peer(peer) => query.push("WHERE peer = ").push_bind(peer.clone()),
    };
    Ok(query
        .build()
        .fetch_optional(connection)
        .await?
        .as_ref()
        .map(row)
        .transpose()?)
}

/// Several conversations by opaque id, in no particular order.
pub async fn by_ids(
    connection: &mut SqliteConnection,
    ids: &[String],
) -> Result<Vec<ConversationRow>, StoreError> {
    select_in(connection, "public_id", ids).await
}

async fn select_in(
    connection: &mut SqliteConnection,
    column: &'static str,
    values: &[String],
) -> Result<Vec<ConversationRow>, StoreError> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
    query.push("WHERE ").push(column).push(" IN (");
    let mut list = query.separated(", ");
    for value in values {
        list.push_bind(value.clone());
    }
    query.push(")");
    let rows = query.build().fetch_all(connection).await?;
    Ok(rows.iter().map(row).collect::<Result<_, _>>()?)
}

/// A page of conversations, newest activity first, strictly after `(last_activity_ms, id)`.
pub async fn page(
    connection: &mut SqliteConnection,
    after: Option<(i64, i64)>,
    limit: i64,
) -> Result<Vec<ConversationRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
    if let Some((activity, id)) = after {
        query
            .push("WHERE (last_activity_ms, id) < (")
            .push_bind(activity);
        query.push(", ").push_bind(id).push(") ");
    }
    query
        .push("ORDER BY last_activity_ms DESC, id DESC LIMIT ")
        .push_bind(limit);
    let rows = query.build().fetch_all(connection).await?;
    Ok(rows.iter().map(row).collect::<Result<_, _>>()?)
}

/// The conversations with these peers; missing ones are made, with their events.
pub async fn ensure(
    connection: &mut SqliteConnection,
    own: &AccountId,
    peers: &[String],
    now_ms: i64,
) -> Result<Vec<ConversationRow>, StoreError> {
    let mut found = select_in(&mut *connection, "peer", peers).await?;
    let mut missing: Vec<&String> = peers
        .iter()
        .filter(|peer| !found.iter().any(|row| row.peer == **peer))
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(found);
    }
    let own = own.to_string();
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO conversation
         (public_id, kind, peer, display_name, display_name_ms, last_activity_ms, created_ms) ",
    );
    let mut fresh = Vec::with_capacity(missing.len());
    query.push_values(missing, |mut values, peer| {
        let id = opaque_id();
        let kind = if *peer == own {
            NOTE_TO_SELF
        } else {
            ONE_TO_ONE
        };
        values
            .push_bind(id.clone())
            .push_bind(kind)
            .push_bind(peer.clone());
        values
            .push_bind("")
            .push_bind(0_i64)
            .push_bind(now_ms)
            .push_bind(now_ms);
        fresh.push(id);
    });
    query.build().execute(&mut *connection).await?;
    let added: Vec<NewEvent> = fresh
        .iter()
        .map(|id| NewEvent::conversation_added(id))
        .collect();
    events::append(&mut *connection, &added, now_ms).await?;
    found.extend(by_ids(connection, &fresh).await?);
    Ok(found)
}

/// What a set of new messages changes in their conversation.
#[derive(Clone, Debug)]
pub struct Change {
    /// Internal number.
    pub id: i64,
    /// Received messages added.
    pub unread: i64,
    /// Name the other side gave in the newest of them, and its sent timestamp.
    pub display_name: Option<(String, i64)>,
}

/// Brings the aggregates of conversations up to date after messages were added: one statement for all.
pub async fn update(
    connection: &mut SqliteConnection,
    changes: &[Change],
    now_ms: i64,
) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new("WITH change (id, unread, name, name_ms) AS (");
    query.push_values(changes, |mut values, change| {
        let (name, name_ms) = change.display_name.clone().unwrap_or_default();
        values
            .push_bind(change.id)
            .push_bind(change.unread)
            .push_bind(name)
            .push_bind(name_ms);
    });
    query.push(
        ") UPDATE conversation SET
             unread = conversation.unread + change.unread,
             display_name = CASE WHEN change.name_ms > display_name_ms
                                 THEN change.name ELSE display_name END,
             display_name_ms = max(display_name_ms, change.name_ms),
             last_message = (SELECT receive_seq FROM message
                             WHERE message.conversation = conversation.id
                             ORDER BY order_ms DESC, receive_seq DESC LIMIT 1),
             last_activity_ms = ",
    );
    query.push_bind(now_ms);
    query.push(" FROM change WHERE conversation.id = change.id");
    query.build().execute(connection).await?;
    Ok(())
}
