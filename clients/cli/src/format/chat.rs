//! Messages as a chat log: the day on a line of its own, then time, who, state and text.

use anstyle::Style;
use sessiond_client::v1::{
    CallState, DataExtractionKind, DisappearingMode, DisappearingSetting, GapCause, Message,
    MessageDirection, SendState, TimerStart, message::Content,
};

use super::{
    id::id,
    safe,
    style::{BAD, FAINT, GOOD, HEADING, paint},
    time::Clock,
};

/// Messages, the oldest first, as a chat log. With `full` each is preceded by its whole ID.
#[must_use]
pub fn chat(messages: &[Message], clock: &Clock, full: bool) -> String {
    let who: Vec<String> = messages.iter().map(|m| author(m, full)).collect();
    let states: Vec<(Style, String)> = messages.iter().map(state).collect();
    let width = |texts: &mut dyn Iterator<Item = &String>| {
        texts.map(|t| t.chars().count()).max().unwrap_or_default()
    };
    let who_width = width(&mut who.iter());
    let state_width = width(&mut states.iter().map(|s| &s.1));
    let indent = " ".repeat(
        "00:00:00".len() + 2 + who_width + 2 + if state_width == 0 { 0 } else { state_width + 2 },
    );

    let mut text = String::new();
    let mut day = None;
    for ((message, who), (style, state)) in messages.iter().zip(&who).zip(&states) {
        let date = clock.date(message.send_time.as_ref());
        if day.as_ref() != Some(&date) {
            text.push_str(&paint(HEADING, format_args!("── {date} ──")));
            text.push('\n');
            day = Some(date);
        }
        if full {
            text.push_str(&paint(FAINT, safe::line(&message.id)));
            text.push('\n');
            if let Some(line) = disappears(message, clock) {
                text.push_str(&paint(FAINT, line));
                text.push('\n');
            }
        }
        let time = clock.time(message.send_time.as_ref());
        text.push_str(&format!("{time}  {who:<who_width$}  "));
        if state_width > 0 {
            text.push_str(&paint(*style, format_args!("{state:<state_width$}")));
            text.push_str("  ");
        }
        text.push_str(&body(message).join(&format!("\n{indent}")));
        text.push('\n');
    }
    text
}

/// When a message disappears and why; `None` when it stays.
fn disappears(message: &Message, clock: &Clock) -> Option<String> {
    let setting = message.disappearing.as_ref()?;
    let (seconds, after) = timer(setting);
    let after = format!("{seconds} seconds after {after}");
    Some(match message.expire_time.as_ref() {
        None => format!("disappears {after}"),
        at => {
            let since = match message.timer_start() {
                TimerStart::ReadHere => "; it was read here",
                TimerStart::ReadElsewhere => "; it was read on another device",
                TimerStart::Sent | TimerStart::Unspecified => "",
            };
            format!("disappears {}, {after}{since}", clock.date_time(at))
        }
    })
}

/// A timer: seconds, and after what.
pub(super) fn timer(setting: &DisappearingSetting) -> (i64, &'static str) {
    let after = match setting.mode() {
        DisappearingMode::AfterRead => "being read",
        _ => "being sent",
    };
    (setting.timer.map_or(0, |timer| timer.seconds), after)
}

/// Who wrote a message.
#[must_use]
pub fn author(message: &Message, full: bool) -> String {
    if message.direction() == MessageDirection::Outgoing {
        "me".to_owned()
    } else {
        id(&message.author, full)
    }
}

/// How far an outgoing message has come; empty for others.
#[must_use]
pub fn state(message: &Message) -> (Style, String) {
    match message.send_state() {
        SendState::Sending => (FAINT, "… sending".to_owned()),
        SendState::Sent => (GOOD, "✓ stored".to_owned()),
        SendState::Failed => (
            BAD,
            format!("✗ failed: {}", safe::line(&message.failure_reason)),
        ),
        SendState::None | SendState::Unspecified => (Style::new(), String::new()),
    }
}

/// What a message says, on one line of at most `limit` characters.
#[must_use]
pub fn summary(message: &Message, limit: usize) -> String {
    safe::short(&body(message).join(" "), limit)
}

/// What a message says, safe line by safe line.
fn body(message: &Message) -> Vec<String> {
    let mut lines: Vec<String> = match &message.content {
        Some(Content::Text(text)) if text.body.is_empty() && !message.attachments.is_empty() => {
            Vec::new()
        }
        Some(Content::Text(text)) => safe::lines(&text.body).collect(),
        Some(Content::Unsupported(it)) => {
            vec![format!("[not supported: {}]", safe::line(&it.kind))]
        }
        Some(Content::Deleted(_)) => vec!["[deleted]".to_owned()],
        Some(Content::CommunityInvitation(it)) => vec![format!(
            "[invitation to {}: {}]",
            safe::line(&it.name),
            safe::line(&it.url)
        )],
        Some(Content::Call(it)) => {
            let outgoing = message.direction() == MessageDirection::Outgoing;
            vec![format!("[{}]", call(it.state(), outgoing))]
        }
        Some(Content::DataExtraction(it)) => vec![
            match it.kind() {
                DataExtractionKind::Screenshot => "[took a screenshot]",
                _ => "[saved a file]",
            }
            .to_owned(),
        ],
        Some(Content::RequestAccepted(_)) => vec!["[accepted your request]".to_owned()],
        Some(Content::TimerChange(it)) => vec![timer_change(it.setting.as_ref())],
        Some(Content::Gap(it)) if it.cause() == GapCause::Damage => {
            vec!["[messages are missing here: this part of the database was damaged]".to_owned()]
        }
        Some(Content::Gap(_)) => {
            vec!["[messages may be missing here: this device was away for too long]".to_owned()]
        }
        None if message.attachments.is_empty() => vec!["[empty]".to_owned()],
        None => Vec::new(),
    };
    lines.extend(message.attachments.iter().map(|file| {
        format!(
            "[file: {}, {} bytes]",
            safe::line(&file.file_name),
            file.size_bytes
        )
    }));
    lines
}

fn call(state: CallState, outgoing: bool) -> &'static str {
    match state {
        CallState::Answered if outgoing => "called, and they answered",
        CallState::Answered => "call answered",
        CallState::Rejected => "call rejected",
        CallState::Called => "called",
        CallState::Missed | CallState::Unspecified => "missed call",
        CallState::MissedNeedsPermission => "missed call from somebody not accepted",
        CallState::AnsweredElsewhere => "call answered on another device",
        CallState::EndedElsewhere => "call ended on another device",
    }
}

fn timer_change(setting: Option<&DisappearingSetting>) -> String {
    let Some(setting) = setting else {
        return "[turned disappearing messages off]".to_owned();
    };
    let (seconds, after) = timer(setting);
    format!("[messages disappear {seconds} seconds after {after}]")
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use jiff::tz::TimeZone;
    use sessiond_client::v1::{Attachment, TextContent, UnsupportedContent};

    use super::*;

    fn message(seconds: i64, state: SendState, body: &str) -> Message {
        let outgoing = state != SendState::None;
        Message {
            id: format!("id{seconds}"),
            author: format!("05abcd{}1234", "0".repeat(56)),
            direction: if outgoing {
                MessageDirection::Outgoing
            } else {
                MessageDirection::Incoming
            }
            .into(),
            send_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            send_state: state.into(),
            content: Some(Content::Text(TextContent {
                body: body.into(),
                ..Default::default()
            })),
            ..Message::default()
        }
    }

    fn shown(messages: &[Message], full: bool) -> String {
        strip_str(&chat(messages, &Clock::new(TimeZone::UTC), full)).to_string()
    }

    #[test]
    fn a_log_with_days_states_and_longer_texts() {
        let mut failed = message(86_405, SendState::Failed, "lost");
        failed.failure_reason = "NO_PATH".into();
        let log = [
            message(0, SendState::None, "Hello\nthere"),
            message(5, SendState::Sent, "Hi"),
            message(86_400, SendState::Sending, "more\u{1b}[31m"),
            failed,
        ];
        assert_eq!(
            shown(&log, false),
            "── Thu 1 Jan 1970 ──\n\
             00:00:00  05abcd…1234                     Hello\n\
             \u{20}                                         there\n\
             00:00:05  me           ✓ stored           Hi\n\
             ── Fri 2 Jan 1970 ──\n\
             00:00:00  me           … sending          more\\x1b[31m\n\
             00:00:05  me           ✗ failed: NO_PATH  lost\n"
        );
    }

    #[test]
    fn only_received_messages_need_no_column_for_states() {
        let log = [message(0, SendState::None, "a\nb")];
        assert_eq!(
            shown(&log, false),
            "── Thu 1 Jan 1970 ──\n00:00:00  05abcd…1234  a\n                       b\n"
        );
        assert!(shown(&log, true).contains("\nid0\n00:00:00  05abcd0000"));
        let mut soon = log[0].clone();
        soon.disappearing = Some(DisappearingSetting {
            mode: DisappearingMode::AfterRead.into(),
            timer: Some(prost_types::Duration {
                seconds: 300,
                nanos: 0,
            }),
        });
        let waits = shown(std::slice::from_ref(&soon), true);
        assert!(waits.contains("\ndisappears 300 seconds after being read\n"));
        soon.expire_time = Some(prost_types::Timestamp {
            seconds: 360,
            nanos: 0,
        });
        soon.set_timer_start(TimerStart::ReadElsewhere);
        let runs = shown(&[soon], true);
        assert!(runs.contains("00:06:00"), "{runs}");
        assert!(runs.contains("after being read; it was read on another device\n"));
        assert_eq!(shown(&[], false), "");
    }

    #[test]
    fn files_and_what_is_not_understood() {
        let mut odd = message(0, SendState::None, "");
        odd.content = Some(Content::Unsupported(UnsupportedContent {
            kind: "CALL".into(),
        }));
        assert_eq!(summary(&odd, 80), "[not supported: CALL]");
        let mut file = message(0, SendState::None, "");
        file.attachments = vec![Attachment {
            file_name: "a\u{7}.png".into(),
            size_bytes: 12,
            ..Attachment::default()
        }];
        assert_eq!(summary(&file, 80), "[file: a\\x07.png, 12 bytes]");
        assert_eq!(
            summary(&message(0, SendState::None, "one\ntwo"), 80),
            "one two"
        );
    }
}
