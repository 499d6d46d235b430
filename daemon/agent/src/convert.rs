//! Rows of the database as messages of the API.

use std::collections::HashMap;

use sessiond_proto::v1;
use sqlx::SqliteConnection;

use crate::store::StoreError;
use crate::store::conversations::{ConversationRow, NOTE_TO_SELF};
use crate::store::messages::{self, MessageRow};
use crate::time::timestamp;

/// A message.
pub fn message(row: &MessageRow) -> v1::Message {
    use v1::message::Content;
    let content = match row.kind.as_str() {
        messages::TEXT => Content::Text(v1::TextContent {
            body: row.body.clone().unwrap_or_default(),
        }),
        kind => Content::Unsupported(v1::UnsupportedContent {
            kind: kind.to_owned(),
        }),
    };
    let direction = if row.outgoing {
        v1::MessageDirection::Outgoing
    } else {
        v1::MessageDirection::Incoming
    };
    v1::Message {
        id: row.public_id.clone(),
        conversation_id: row.conversation.clone(),
        author: row.author.clone(),
        direction: direction.into(),
        send_time: timestamp(row.sent_ms),
        receive_time: timestamp(row.received_ms),
        send_state: i32::try_from(row.send_state).unwrap_or(0),
        sync_state: i32::try_from(row.sync_state).unwrap_or(0),
        failure_reason: row.failure.clone(),
        content: Some(content),
        attachments: Vec::new(),
        expire_time: row.expires_at.and_then(timestamp),
        read: row.read,
    }
}

/// Conversations with their last messages: one query for all.
pub async fn conversations(
    connection: &mut SqliteConnection,
    rows: Vec<ConversationRow>,
    now_ms: i64,
) -> Result<Vec<v1::Conversation>, StoreError> {
    let seqs: Vec<i64> = rows.iter().filter_map(|row| row.last_message).collect();
    let last: HashMap<i64, MessageRow> = messages::by_receive_seqs(connection, &seqs, now_ms)
        .await?
        .into_iter()
        .map(|row| (row.receive_seq, row))
        .collect();
    Ok(rows
        .into_iter()
        .map(|row| {
            let last = row.last_message.and_then(|seq| last.get(&seq)).map(message);
            conversation(row, last)
        })
        .collect())
}

fn conversation(row: ConversationRow, last_message: Option<v1::Message>) -> v1::Conversation {
    use v1::conversation::Target;
    let (kind, target) = if row.kind == NOTE_TO_SELF {
        (
            v1::ConversationKind::NoteToSelf,
            Target::NoteToSelf(v1::NoteToSelf {}),
        )
    } else {
        let peer = v1::OneToOne {
            account_id: row.peer,
        };
        (v1::ConversationKind::OneToOne, Target::OneToOne(peer))
    };
    v1::Conversation {
        id: row.public_id,
        kind: kind.into(),
        target: Some(target),
        display_name: row.display_name,
        last_message,
        last_activity_time: timestamp(row.last_activity_ms),
        unread_count: u32::try_from(row.unread).unwrap_or(0),
    }
}
