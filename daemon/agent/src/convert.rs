//! Rows of the database as messages of the API.

use std::collections::HashMap;

use session_protocol::content;
use sessiond_proto::v1;
use sqlx::SqliteConnection;

use crate::store::StoreError;
use crate::store::conversations::{ConversationRow, HIDDEN, NOTE_TO_SELF};
use crate::store::details::AttachmentRow;
use crate::store::messages::{self, MessageRow, kind};
use crate::store::salvage::GAP_BY_DAMAGE;
use crate::sync::signal::{Signal, What};
use crate::time::{duration_ms, timestamp};

fn number(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(if value < 0 { 0 } else { u32::MAX })
}

fn enumeration(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(0)
}

/// A message.
pub fn message(row: &MessageRow) -> v1::Message {
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
        send_state: enumeration(row.send_state),
        sync_state: enumeration(row.sync_state),
        failure_reason: row.failure.clone(),
        content: Some(said(row)),
        attachments: row.attachments.iter().map(attachment).collect(),
        expire_time: row.expires_at.and_then(timestamp),
        read: row.read,
        reactions: row
            .reactions
            .iter()
            .map(|reaction| v1::Reaction {
                author: reaction.author.clone(),
                emoji: reaction.emoji.clone(),
                send_time: timestamp(reaction.reacted_ms),
            })
            .collect(),
        recipient_read_time: timestamp(row.read_by_peer_ms),
        disappearing: setting(row.expiry),
        mentions_me: row.mentions_me,
        timer_start: row.expiry_start.map_or(0, |(_, why)| enumeration(why)),
        timer_start_time: row.expiry_start.and_then(|(at_ms, _)| timestamp(at_ms)),
    }
}

fn said(row: &MessageRow) -> v1::message::Content {
    use v1::message::Content;
    if row.deleted {
        return Content::Deleted(v1::DeletedContent {});
    }
    match row.kind.as_str() {
        kind::TEXT => {
            let body = row.body.clone().unwrap_or_default();
            Content::Text(v1::TextContent {
                mentions: mentions(&body),
                body,
                quote: row.quote.as_ref().map(|quote| v1::Quote {
                    message_id: quote.message.clone().unwrap_or_default(),
                    author: quote.author.clone(),
                    send_time: timestamp(quote.sent_ms),
                }),
                preview: row.preview.as_ref().map(|(url, title)| v1::LinkPreview {
                    url: url.clone(),
                    title: title.clone(),
                }),
            })
        }
        kind::COMMUNITY_INVITATION => {
            let (url, name) = row.invitation.clone().unwrap_or_default();
            Content::CommunityInvitation(v1::CommunityInvitationContent { url, name })
        }
        kind::CALL => {
            let (call_id, state) = row.call.clone().unwrap_or_default();
            Content::Call(v1::CallContent {
                call_id,
                state: enumeration(state),
            })
        }
        kind::DATA_EXTRACTION => Content::DataExtraction(v1::DataExtractionContent {
            kind: enumeration(row.detail),
            media_send_time: timestamp(row.detail_ms),
        }),
        kind::REQUEST_ACCEPTED => Content::RequestAccepted(v1::RequestAcceptedContent {}),
        kind::TIMER_CHANGE => Content::TimerChange(v1::TimerChangeContent {
            setting: setting(row.expiry),
        }),
        kind::GAP => Content::Gap(v1::GapContent {
            from_time: timestamp(row.detail_ms),
            until_time: timestamp(row.sent_ms),
            cause: match row.detail {
                GAP_BY_DAMAGE => v1::GapCause::Damage,
                _ => v1::GapCause::Away,
            }
            .into(),
        }),
        kind => Content::Unsupported(v1::UnsupportedContent {
            kind: kind.to_owned(),
        }),
    }
}

/// Account IDs that a text mentions, each once, in its order.
fn mentions(body: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for mention in content::mentions(body) {
        let id = mention.id.to_string();
        if !found.contains(&id) {
            found.push(id);
        }
    }
    found
}

fn attachment(row: &AttachmentRow) -> v1::Attachment {
    v1::Attachment {
        id: row.public_id.clone(),
        file_name: row.file_name.clone(),
        content_type: row.content_type.clone(),
        size_bytes: u64::try_from(row.size).unwrap_or(0),
        width: number(row.width),
        height: number(row.height),
        voice_message: row.voice,
        caption: row.caption.clone(),
    }
}

/// A disappearing setting, type and seconds, unless it is off.
fn setting((mode, seconds): (i64, i64)) -> Option<v1::DisappearingSetting> {
    (mode != 0 && seconds > 0).then(|| v1::DisappearingSetting {
        mode: enumeration(mode),
        timer: Some(duration_ms(seconds.saturating_mul(1000))),
    })
}

/// A live signal.
pub fn signal(signal: &Signal) -> v1::Event {
    use v1::event::State;
    let (kind, state) = match &signal.what {
        What::Typing(typing) => (
            v1::EventKind::Typing,
            Some(State::Typing(v1::TypingSignal {
                author: signal.author.clone(),
                typing: *typing,
            })),
        ),
        What::Opened => (v1::EventKind::NotificationOpened, None),
        What::Call(step) => (
            v1::EventKind::CallSignal,
            Some(State::CallSignal(v1::CallSignal {
                author: signal.author.clone(),
                call_id: step.uuid.clone(),
                kind: step.kind,
                sdps: step.sdps.clone(),
                sdp_m_line_indexes: step.sdp_m_line_indexes.clone(),
                sdp_mids: step.sdp_mids.clone(),
                send_time: timestamp(signal.sent_ms),
            })),
        ),
    };
    v1::Event {
        cursor: String::new(),
        kind: kind.into(),
        create_time: timestamp(signal.sent_ms),
        conversation_id: signal.conversation.clone(),
        message_id: String::new(),
        changed_fields: Vec::new(),
        transient: true,
        removal_reason: 0,
        state,
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
    let request = row.is_request();
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
        unread_count: number(row.unread),
        unread_mention_count: number(row.unread_mentions),
        marked_unread: row.marked_unread,
        last_read_time: timestamp(row.last_read_ms),
        nickname: row.nickname,
        approved: row.approved,
        approved_me: row.approved_me,
        request,
        blocked: row.blocked,
        hidden: row.priority == HIDDEN,
        pin_priority: number(row.priority),
        notify_mode: enumeration(row.notify_mode),
        mute_until_time: timestamp(row.mute_until_ms),
        disappearing: setting(row.expiry),
        peer_disappearing: setting((row.peer_expiry.0, row.peer_expiry.1)),
    }
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn mentions_are_account_ids_after_an_at() {
        let (a, b) = (
            format!("05{}", "ab".repeat(32)),
            format!("15{}", "0C".repeat(32)),
        );
        let body = format!("@{a} and @{b}, again @{a}; @05ab @{} é@", "00".repeat(33));
        assert_eq!(mentions(&body), [a, b.to_ascii_lowercase()]);
        // Cut off in the middle of a character.
        assert!(mentions(&format!("@05{}é", "a".repeat(63))).is_empty());
    }
}
