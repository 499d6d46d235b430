//! What hangs on a message: attachments and reactions.
//!
//! Of several words of one person on one emoji the latest counts (messages.md 6.9); a removal is kept, so that an older
//! reaction that comes late does not return.

use std::collections::HashMap;

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::StoreError;
use super::list::push_list;
use super::messages::MessageRow;
use crate::random::opaque_id;

/// A file that belongs to a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewAttachment {
    /// One path component without control characters.
    pub file_name: String,
    /// As declared.
    pub content_type: String,
    /// As given.
    pub caption: String,
    /// Bytes without padding, as declared.
    pub size: i64,
    /// Pixels, 0 when unknown.
    pub width: i64,
    /// Pixels, 0 when unknown.
    pub height: i64,
    /// A recorded voice message.
    pub voice: bool,
    /// Where it lies.
    pub url: String,
    /// 32 or 64 bytes.
    pub key: Vec<u8>,
    /// SHA-256 of the ciphertext, with legacy encryption.
    pub digest: Option<Vec<u8>>,
}

/// An attachment as it is stored, without what is needed to fetch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentRow {
    /// Opaque id.
    pub public_id: String,
    /// See [`NewAttachment`].
    pub file_name: String,
    /// See [`NewAttachment`].
    pub content_type: String,
    /// See [`NewAttachment`].
    pub caption: String,
    /// See [`NewAttachment`].
    pub size: i64,
    /// See [`NewAttachment`].
    pub width: i64,
    /// See [`NewAttachment`].
    pub height: i64,
    /// See [`NewAttachment`].
    pub voice: bool,
}

/// A reaction that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReactionRow {
    /// Account ID.
    pub author: String,
    /// One emoji.
    pub emoji: String,
    /// Sent timestamp, ms.
    pub reacted_ms: i64,
}

/// Reads attachments and reactions of these messages: two queries for all.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    rows: &mut [MessageRow],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let places: HashMap<i64, usize> = rows
        .iter()
        .enumerate()
        .map(|(place, row)| (row.receive_seq, place))
        .collect();
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT message, public_id, file_name, content_type, caption, size, width, height, voice
         FROM attachment WHERE message IN (",
    );
    push_list(&mut query, rows.iter().map(|row| row.receive_seq));
    query.push(" ORDER BY message, position");
    for found in query.build().fetch_all(&mut *connection).await? {
        let Some(row) = places
            .get(&found.try_get(0)?)
            .and_then(|place| rows.get_mut(*place))
        else {
            continue;
        };
        row.attachments.push(AttachmentRow {
            public_id: found.try_get(1)?,
            file_name: found.try_get(2)?,
            content_type: found.try_get(3)?,
            caption: found.try_get(4)?,
            size: found.try_get(5)?,
            width: found.try_get(6)?,
            height: found.try_get(7)?,
            voice: found.try_get(8)?,
        });
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT message, author, emoji, reacted_ms FROM reaction WHERE NOT removed AND message IN (",
    );
    push_list(&mut query, rows.iter().map(|row| row.receive_seq));
    for found in query.build().fetch_all(&mut *connection).await? {
        let Some(row) = places
            .get(&found.try_get(0)?)
            .and_then(|place| rows.get_mut(*place))
        else {
            continue;
        };
        row.reactions.push(ReactionRow {
            author: found.try_get(1)?,
            emoji: found.try_get(2)?,
            reacted_ms: found.try_get(3)?,
        });
    }
    rows.iter_mut().for_each(|row| sort(&mut row.reactions));
    Ok(())
}

/// By first use of the emoji, then by emoji, time and author: the same on every device.
fn sort(reactions: &mut [ReactionRow]) {
    let mut first: HashMap<String, i64> = HashMap::new();
    for reaction in reactions.iter() {
        let at = first
            .entry(reaction.emoji.clone())
            .or_insert(reaction.reacted_ms);
        *at = (*at).min(reaction.reacted_ms);
    }
    reactions.sort_by(|a, b| {
        let key = |it: &ReactionRow| {
            let used = first.get(&it.emoji).copied().unwrap_or(it.reacted_ms);
            (used, it.emoji.clone(), it.reacted_ms, it.author.clone())
        };
        key(a).cmp(&key(b))
    });
}

/// Adds the attachments of messages, named by `receive_seq`, with one statement.
pub(super) async fn add_attachments(
    connection: &mut SqliteConnection,
    files: &[(i64, usize, &NewAttachment)],
) -> Result<(), StoreError> {
    if files.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO attachment (public_id, message, position, file_name, content_type, caption, size,
                                 width, height, voice, url, key, digest) ",
    );
    query.push_values(files, |mut values, (message, position, file)| {
        values
            .push_bind(opaque_id())
            .push_bind(*message)
            .push_bind(i64::try_from(*position).unwrap_or(i64::MAX));
        values
            .push_bind(file.file_name.clone())
            .push_bind(file.content_type.clone())
            .push_bind(file.caption.clone());
        values
            .push_bind(file.size)
            .push_bind(file.width)
            .push_bind(file.height)
            .push_bind(file.voice);
        values
            .push_bind(file.url.clone())
            .push_bind(file.key.clone())
            .push_bind(file.digest.clone());
    });
    query.build().execute(connection).await?;
    Ok(())
}

/// One person's word on one emoji at one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReaction {
    /// `receive_seq` of the message.
    pub message: i64,
    /// Account ID.
    pub author: String,
    /// One emoji.
    pub emoji: String,
    /// Sent timestamp, ms.
    pub reacted_ms: i64,
    /// The reaction is taken back.
    pub removed: bool,
}

/// Applies reactions with one statement; the later of two words stands. Returns the messages whose reactions changed.
pub async fn react(
    connection: &mut SqliteConnection,
    reactions: &[NewReaction],
) -> Result<Vec<i64>, StoreError> {
    // Of several in one call only the latest may reach the statement: it changes each row once.
    let mut latest: HashMap<(i64, &str, &str), &NewReaction> = HashMap::new();
    for reaction in reactions {
        let key = (reaction.message, &*reaction.author, &*reaction.emoji);
        let held = latest.entry(key).or_insert(reaction);
        if held.reacted_ms < reaction.reacted_ms {
            *held = reaction;
        }
    }
    if latest.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO reaction (message, author, emoji, reacted_ms, removed) ",
    );
    query.push_values(latest.into_values(), |mut values, reaction| {
        values
            .push_bind(reaction.message)
            .push_bind(reaction.author.clone());
        values
            .push_bind(reaction.emoji.clone())
            .push_bind(reaction.reacted_ms)
            .push_bind(reaction.removed);
    });
    query.push(
        " ON CONFLICT (message, author, emoji) DO UPDATE
          SET reacted_ms = excluded.reacted_ms, removed = excluded.removed
          WHERE excluded.reacted_ms > reaction.reacted_ms
          RETURNING message",
    );
    let mut changed: Vec<i64> = query.build_query_scalar().fetch_all(connection).await?;
    changed.sort_unstable();
    changed.dedup();
    Ok(changed)
}
