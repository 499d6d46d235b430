//! Joins log entries with the present state of what they are about: two queries for a page.

use std::collections::{BTreeSet, HashMap};

use sessiond_proto::v1;
use sqlx::SqliteConnection;

use super::Cursor;
use crate::convert;
use crate::store::StoreError;
use crate::store::events::{EventRow, kind};
use crate::store::{conversations, messages};
use crate::time::timestamp;

/// Events for the API, in order.
pub async fn join(
    connection: &mut SqliteConnection,
    log_id: [u8; 8],
    rows: &[EventRow],
    now_ms: i64,
) -> Result<Vec<v1::Event>, StoreError> {
    let ids = |pick: fn(&EventRow) -> &String| -> Vec<String> {
        let set: BTreeSet<&String> = rows.iter().map(pick).filter(|id| !id.is_empty()).collect();
        set.into_iter().cloned().collect()
    };
    let found = messages::by_ids(&mut *connection, &ids(|row| &row.message), now_ms).await?;
    let found: HashMap<&str, &messages::MessageRow> = found
        .iter()
        .map(|row| (row.public_id.as_str(), row))
        .collect();
    let about: Vec<String> = {
        let set: BTreeSet<&String> = rows
            .iter()
            .filter(|row| row.message.is_empty() && !row.conversation.is_empty())
            .map(|row| &row.conversation)
            .collect();
        set.into_iter().cloned().collect()
    };
    let rows_about = conversations::by_ids(&mut *connection, &about).await?;
    let joined = convert::conversations(connection, rows_about, now_ms).await?;
    let joined: HashMap<&str, &v1::Conversation> = joined
        .iter()
        .map(|conversation| (conversation.id.as_str(), conversation))
        .collect();
    Ok(rows
        .iter()
        .map(|row| event(log_id, row, &found, &joined))
        .collect())
}

fn event(
    log_id: [u8; 8],
    row: &EventRow,
    found: &HashMap<&str, &messages::MessageRow>,
    conversations: &HashMap<&str, &v1::Conversation>,
) -> v1::Event {
    let mut kind = row.kind;
    let state = match row.kind {
        kind::MESSAGE_ADDED | kind::MESSAGE_CHANGED => match found.get(row.message.as_str()) {
            Some(message) => Some(v1::event::State::Message(convert::message(message))),
            None => {
                kind = kind::MESSAGE_REMOVED;
                None
            }
        },
        kind::CONVERSATION_ADDED | kind::CONVERSATION_CHANGED => {
            match conversations.get(row.conversation.as_str()) {
                Some(conversation) => Some(v1::event::State::Conversation((*conversation).clone())),
                None => {
                    kind = kind::CONVERSATION_REMOVED;
                    None
                }
            }
        }
        _ => None,
    };
    v1::Event {
        cursor: Cursor {
            log_id,
            seq: row.seq,
        }
        .encode(),
        kind: i32::try_from(kind).unwrap_or(0),
        create_time: timestamp(row.created_ms),
        conversation_id: row.conversation.clone(),
        message_id: row.message.clone(),
        changed_fields: if kind == row.kind {
            row.fields.clone()
        } else {
            Vec::new()
        },
        state,
        transient: false,
        removal_reason: i32::try_from(row.reason).unwrap_or(0),
    }
}
