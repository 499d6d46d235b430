//! Events, one a line.

use sessiond_client::v1::{Conversation, Event, EventKind, RemovalReason, event::State};

use super::{
    chat::{author, state, summary},
    id::id,
    safe,
    style::{FAINT, paint},
    time::Clock,
};

/// How much of a text is shown.
const TEXT_LIMIT: usize = 60;

/// Width of the longest kind.
const KIND_WIDTH: usize = "conversation changed".len();

/// An event as one line: when, what, about what, and with `full` its place in the log.
#[must_use]
pub fn event(event: &Event, clock: &Clock, full: bool) -> String {
    let time = clock.date_time(event.create_time.as_ref());
    let about = match &event.state {
        Some(State::Message(message)) => {
            let (style, state) = state(message);
            let state = if state.is_empty() {
                String::new()
            } else {
                format!("  {}", paint(style, state))
            };
            let (id, who) = (id(&message.id, full), author(message, full));
            format!("{id}  {who}{state}  {}", summary(message, TEXT_LIMIT))
        }
        Some(State::Conversation(conversation)) => with(conversation, full),
        Some(State::Typing(it)) => format!(
            "{}  {}",
            id(&it.author, full),
            if it.typing { "types" } else { "stopped" }
        ),
        Some(State::CallSignal(it)) => format!(
            "{}  {}",
            id(&it.author, full),
            it.kind()
                .as_str_name()
                .trim_start_matches("CALL_SIGNAL_KIND_")
        ),
        None if event.removal_reason() == RemovalReason::Expired => {
            format!("{}  its time was over", id(&event.message_id, full))
        }
        None if !event.message_id.is_empty() => id(&event.message_id, full),
        None => id(&event.conversation_id, full),
    };
    let mut line = format!("{time}  {:<KIND_WIDTH$}  {about}", kind(event));
    if !event.changed_fields.is_empty() {
        line += &paint(
            FAINT,
            format_args!("  ({})", safe::line(&event.changed_fields.join(", "))),
        );
    }
    if full && !event.cursor.is_empty() {
        line += &paint(FAINT, format_args!("  {}", safe::line(&event.cursor)));
    }
    line.trim_end().to_owned()
}

/// Whom a conversation is with.
#[must_use]
pub fn with(conversation: &Conversation, full: bool) -> String {
    use sessiond_client::v1::conversation::Target;
    match &conversation.target {
        Some(Target::OneToOne(other)) => id(&other.account_id, full),
        Some(Target::NoteToSelf(_)) => "note to self".to_owned(),
        None => id(&conversation.id, full),
    }
}

fn kind(event: &Event) -> &'static str {
    match event.kind() {
        EventKind::MessageAdded => "message added",
        EventKind::MessageChanged => "message changed",
        EventKind::MessageRemoved => "message removed",
        EventKind::ConversationAdded => "conversation added",
        EventKind::ConversationChanged => "conversation changed",
        EventKind::ConversationRemoved => "conversation removed",
        EventKind::AccountChanged => "account changed",
        EventKind::Typing => "typing",
        EventKind::CallSignal => "call",
        EventKind::SettingsChanged => "settings changed",
        EventKind::NotificationOpened => "opened",
        EventKind::Unspecified => "something new",
    }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use jiff::tz::TimeZone;
    use sessiond_client::v1::{
        Message, MessageDirection, SendState, TextContent, message::Content,
    };

    use super::*;

    fn shown(it: &Event, full: bool) -> String {
        strip_str(&event(it, &Clock::new(TimeZone::UTC), full)).to_string()
    }

    #[test]
    fn one_line_each() {
        let mut it = Event {
            cursor: "c9".into(),
            create_time: Some(prost_types::Timestamp::default()),
            message_id: "m1".into(),
            changed_fields: vec!["send_state".into()],
            state: Some(State::Message(Message {
                id: "m1".into(),
                direction: MessageDirection::Outgoing.into(),
                send_state: SendState::Sent.into(),
                content: Some(Content::Text(TextContent {
                    body: "a\nb\u{202e}".into(),
                    ..Default::default()
                })),
                ..Message::default()
            })),
            ..Event::default()
        };
        it.set_kind(EventKind::MessageChanged);
        assert_eq!(
            shown(&it, true),
            "1970-01-01 00:00:00  message changed       m1  me  ✓ stored  a b\\u{202e}  \
             (send_state)  c9"
        );
        it.state = None;
        it.changed_fields.clear();
        it.set_kind(EventKind::MessageRemoved);
        assert_eq!(
            shown(&it, false),
            "1970-01-01 00:00:00  message removed       m1"
        );
    }
}
