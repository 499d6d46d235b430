//! Adding messages, and following how far outgoing ones have come.

use std::collections::HashMap;

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::StoreError;
use super::details::{self, NewAttachment};
use super::events::{self, NewEvent};
use super::messages::cause;

/// How far ahead of us an author's clock may be before his messages are put where they arrived (messages.md 5.4, with
/// room for our own clock, which steps by some milliseconds: his order must survive that), ms.
pub const AHEAD_MS: i64 = 10_000;

/// A message to be added.
#[derive(Clone, Debug, Default)]
pub struct NewMessage {
    /// Opaque id.
    pub public_id: String,
    /// Internal number of its conversation.
    pub conversation: i64,
    /// Account ID.
    pub author: String,
    /// Written by this account.
    pub outgoing: bool,
    /// Written by this agent. Its place follows its sent timestamp, which only grows, whatever the clock does; that of
    /// every other is not far ahead of now.
    pub written_here: bool,
    /// ms, as the author says.
    pub sent_ms: i64,
    /// See [`super::messages::kind`].
    pub kind: String,
    /// Text.
    pub body: Option<String>,
    /// Content of a kind that is not supported.
    pub raw: Option<Vec<u8>>,
    /// See [`super::messages::NONE`].
    pub send_state: i64,
    /// See [`super::messages::NONE`].
    pub sync_state: i64,
    /// Name of the stored copy in the own swarm and when the swarm drops it, ms.
    pub stored: Option<(String, i64)>,
    /// When the own swarm stored it, ms, by its clock.
    pub stored_ms: Option<i64>,
    /// Type and seconds of a disappearing timer.
    pub expiry: (i64, i64),
    /// When the timer began, ms, and why (see [`super::messages::cause`]); `None`: it does not run yet.
    pub expiry_start: Option<(i64, i64)>,
    /// It is unread while the read position is before it.
    pub counts: bool,
    /// It mentions this account.
    pub mentions_me: bool,
    /// Nothing but author and time is kept.
    pub deleted: bool,
    /// Author and sent timestamp of what it answers.
    pub quote: Option<(String, i64)>,
    /// URL and title.
    pub preview: Option<(String, String)>,
    /// URL and name.
    pub invitation: Option<(String, String)>,
    /// Depends on the kind.
    pub detail: i64,
    /// ms, depends on the kind.
    pub detail_ms: i64,
    /// In their order.
    pub attachments: Vec<NewAttachment>,
}

impl NewMessage {
    /// Its place in the conversation, ms.
    fn order_ms(&self, now_ms: i64) -> i64 {
        if self.written_here {
            self.sent_ms
        } else {
            self.sent_ms.min(now_ms.saturating_add(AHEAD_MS))
        }
    }

    /// When it disappears, as far as is known, ms.
    pub fn expires_at(&self) -> Option<i64> {
        let (start, _) = self.expiry_start?;
        Some(start.saturating_add(self.expiry.1.saturating_mul(1000)))
    }
}

/// A message that was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Place in the order of arrival.
    pub receive_seq: i64,
    /// Opaque id.
    pub public_id: String,
}

/// Fields of a message that change when its timer starts.
pub(super) const TIMER_FIELDS: [&str; 3] = ["expire_time", "timer_start", "timer_start_time"];

/// Rows of one statement: always the same number, so that its text is the same and it is prepared once.
const ROWS: usize = 100;

/// Adds messages with a statement per [`ROWS`], their attachments with another. One that is there already (same
/// conversation, author and sent timestamp) is left out and not returned. Aggregates of the conversations and events are
/// the caller's ([`super::conversations::save`]).
pub async fn add(
    connection: &mut SqliteConnection,
    messages: &[NewMessage],
    now_ms: i64,
) -> Result<Vec<Added>, StoreError> {
    let mut added = Vec::with_capacity(messages.len());
    for rows in messages.chunks(ROWS) {
        added.extend(add_rows(&mut *connection, rows, now_ms).await?);
    }
    let seqs: HashMap<&str, i64> = added
        .iter()
        .map(|added| (&*added.public_id, added.receive_seq))
        .collect();
    let files: Vec<(i64, usize, &NewAttachment)> = messages
        .iter()
        .filter_map(|message| Some((*seqs.get(&*message.public_id)?, message)))
        .flat_map(|(seq, message)| {
            let files = message.attachments.iter().enumerate();
            files.map(move |(position, file)| (seq, position, file))
        })
        .collect();
    // A statement takes 32,766 values; 200 messages of 32 files are more.
    for some in files.chunks(1_000) {
        details::add_attachments(&mut *connection, some).await?;
    }
    Ok(added)
}

async fn add_rows(
    connection: &mut SqliteConnection,
    messages: &[NewMessage],
    now_ms: i64,
) -> Result<Vec<Added>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO message
         (public_id, conversation, author, outgoing, sent_ms, received_ms, order_ms, kind, body, raw,
          send_state, sync_state, hash, server_expiry_ms, expiry_type, expiry_timer_s, expiry_start_ms,
          expires_at, counts, mentions_me, deleted, quote_author, quote_sent_ms, preview_url,
          preview_title, invitation_url, invitation_name, detail, detail_ms, stored_ms, expiry_cause,
          wire_version) ",
    );
    query.push_values(messages, |mut values, message| {
        let (hash, expiry) = message.stored.clone().unzip();
        let (start, cause) = message.expiry_start.unzip();
        let (quote_author, quote_sent_ms) = message.quote.clone().unzip();
        let (preview_url, preview_title) = message.preview.clone().unzip();
        let (invitation_url, invitation_name) = message.invitation.clone().unzip();
        values
            .push_bind(message.public_id.clone())
            .push_bind(message.conversation)
            .push_bind(message.author.clone())
            .push_bind(message.outgoing)
            .push_bind(message.sent_ms)
            .push_bind(now_ms)
            .push_bind(message.order_ms(now_ms))
            .push_bind(message.kind.clone())
            .push_bind(message.body.clone())
            .push_bind(message.raw.clone());
        values
            .push_bind(message.send_state)
            .push_bind(message.sync_state)
            .push_bind(hash)
            .push_bind(expiry)
            .push_bind(message.expiry.0)
            .push_bind(message.expiry.1)
            .push_bind(start);
        values
            .push_bind(message.expires_at())
            .push_bind(message.counts)
            .push_bind(message.mentions_me)
            .push_bind(message.deleted)
            .push_bind(quote_author)
            .push_bind(quote_sent_ms)
            .push_bind(preview_url);
        values
            .push_bind(preview_title)
            .push_bind(invitation_url)
            .push_bind(invitation_name)
            .push_bind(message.detail)
            .push_bind(message.detail_ms)
            .push_bind(message.stored_ms)
            .push_bind(cause.unwrap_or(0))
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
    /// When the timer begins, ms, if it has one that does not run yet.
    pub expiry_start_ms: Option<i64>,
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
        "UPDATE message SET send_state = coalesce(?1, send_state),
             sync_state = coalesce(?2, sync_state),
             failure = CASE WHEN ?1 = ?9 THEN '' ELSE coalesce(?3, failure) END,
             hash = coalesce(?4, hash), server_expiry_ms = coalesce(?5, server_expiry_ms),
             expiry_start_ms = CASE WHEN expiry_type = 0 THEN NULL ELSE coalesce(expiry_start_ms, ?6) END,
             expiry_cause = CASE WHEN expiry_type = 0 OR expiry_start_ms IS NOT NULL OR ?6 IS NULL
                 THEN expiry_cause ELSE ?8 END,
             expires_at = CASE WHEN expiry_type = 0 THEN NULL
                 ELSE coalesce(expires_at, ?6 + expiry_timer_s * 1000) END
         WHERE receive_seq = ?7
         RETURNING public_id, (SELECT public_id FROM conversation WHERE id = message.conversation),
                   expiry_type",
    )
    .bind(change.send_state)
    .bind(change.sync_state)
    .bind(change.failure)
    .bind(hash)
    .bind(expiry)
    .bind(change.expiry_start_ms)
    .bind(receive_seq)
    .bind(cause::SENT)
    // One that was cancelled on its way may have been stored all the same.
    .bind(super::messages::SENT)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let (message, conversation): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let disappears = row.try_get::<i64, _>(2)? != 0;
    let mut fields = Vec::new();
    fields.extend(change.send_state.map(|_| "send_state"));
    fields.extend(change.sync_state.map(|_| "sync_state"));
    fields.extend(change.failure.map(|_| "failure_reason"));
    if disappears && change.expiry_start_ms.is_some() {
        fields.extend(TIMER_FIELDS);
    }
    let event = NewEvent::message_changed(&conversation, &message, &fields);
    events::append(connection, &[event], now_ms).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::tests::memory;

    /// The clock is the median of several nodes, and steps back by some milliseconds now and then.
    #[tokio::test]
    async fn own_messages_keep_their_order_when_the_clock_steps_back() {
        let mut db = memory().await;
        sqlx::query(
            "INSERT INTO conversation (id, public_id, kind, peer, display_name, display_name_ms,
                 last_activity_ms, unread, created_ms)
             VALUES (1, 'c1', 1, '05aa', '', 0, 0, 0, 1)",
        )
        .execute(&mut db)
        .await
        .unwrap();
        for (id, written_here, sent_ms, now_ms) in [
            ("first", true, 100, 100),
            ("second", true, 101, 90),
            ("theirs, first", false, 200, 150),
            ("theirs, second", false, 201, 140),
            ("from a clock far ahead", false, 90_000_000, 180),
            ("third", true, 202, 190),
        ] {
            let message = NewMessage {
                public_id: id.to_owned(),
                conversation: 1,
                author: if written_here { "05me" } else { "05aa" }.to_owned(),
                outgoing: written_here,
                written_here,
                sent_ms,
                kind: "TEXT".to_owned(),
                ..NewMessage::default()
            };
            add(&mut db, &[message], now_ms).await.unwrap();
        }
        let order: Vec<String> =
            sqlx::query_scalar("SELECT public_id FROM message ORDER BY order_ms, receive_seq")
                .fetch_all(&mut db)
                .await
                .unwrap();
        let wanted = [
            "first",
            "second",
            "theirs, first",
            "theirs, second",
            "third",
        ];
        assert_eq!(order[..5], wanted);
        assert_eq!(order[5], "from a clock far ahead");
    }
}
