//! What a search found, and the way of a message.

use sessiond_client::v1::{MessageCopy, MessageStep, MessageStepKind, SearchResult};

use super::{
    chat,
    id::id,
    safe,
    style::{BAD, FAINT, GOOD, HEADING, paint},
    time::Clock,
};

/// A line a hit: when, who, and the part of the text that matches. With `full` each is preceded by its whole ID.
#[must_use]
pub fn results(results: &[SearchResult], clock: &Clock, full: bool) -> String {
    let mut text = String::new();
    for result in results {
        let Some(message) = &result.message else {
            continue;
        };
        if full {
            text.push_str(&paint(FAINT, safe::line(&message.id)));
            text.push('\n');
        }
        let time = clock.date_time(message.send_time.as_ref());
        let who = chat::author(message, full);
        text.push_str(&format!("{time}  {who}  {}\n", snippet(result)));
    }
    text
}

/// The snippet on one line, its matches in bold.
fn snippet(result: &SearchResult) -> String {
    let letters: Vec<char> = result.snippet.chars().collect();
    let part = |from: usize, until: usize| -> String {
        let letters = letters.get(from..until).unwrap_or_default();
        safe::line(&letters.iter().collect::<String>())
    };
    let mut line = String::from(if result.cut_before { "…" } else { "" });
    let mut at = 0;
    for range in &result.matches {
        let (start, length) = (range.start as usize, range.length as usize);
        line.push_str(&part(at, start));
        line.push_str(&paint(HEADING, part(start, start.saturating_add(length))));
        at = start.saturating_add(length);
    }
    line.push_str(&part(at, letters.len()));
    line.push_str(if result.cut_after { "…" } else { "" });
    line
}

/// The way of a message, a line a step.
#[must_use]
pub fn steps(steps: &[MessageStep], clock: &Clock, full: bool) -> String {
    let mut text = String::new();
    for step in steps {
        let (style, what) = match step.kind() {
            MessageStepKind::Accepted => (HEADING, "accepted"),
            MessageStepKind::Sealed => (HEADING, "sealed"),
            MessageStepKind::AttemptFailed => (BAD, "not stored"),
            MessageStepKind::Stored => (GOOD, "stored"),
            MessageStepKind::StoredAgain => (GOOD, "stored again"),
            MessageStepKind::Failed => (BAD, "given up"),
            MessageStepKind::ReachedSwarm => (HEADING, "in the swarm"),
            MessageStepKind::Received => (GOOD, "received"),
            MessageStepKind::ReadByRecipient => (GOOD, "read by them"),
            MessageStepKind::Disappears => (HEADING, "disappears"),
            MessageStepKind::Unspecified => (FAINT, "something new"),
        };
        let copy = match step.copy() {
            MessageCopy::Recipient => "message",
            MessageCopy::OwnDevices => "own copy",
            MessageCopy::Unspecified => "",
        };
        let time = clock.date_time(step.time.as_ref());
        text.push_str(&format!("{time}  {copy:<8}  "));
        text.push_str(&paint(style, format_args!("{what:<12}")));
        text.push_str(&details(step, clock, full));
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn details(step: &MessageStep, clock: &Clock, full: bool) -> String {
    let mut parts = Vec::new();
    if !step.reason.is_empty() {
        parts.push(safe::line(&step.reason));
    }
    if step.count > 1 {
        let last = clock.date_time(step.last_time.as_ref());
        parts.push(format!("{} times until {last}", step.count));
    }
    if step.wire_version > 0 {
        parts.push(format!("version {}", step.wire_version));
    }
    if step.asked > 0 {
        let confirmed = step.confirmed_by.len();
        parts.push(format!("signed by {confirmed} of {}", step.asked));
    }
    if !step.missed_by.is_empty() && !full {
        let keys: Vec<String> = step.missed_by.iter().map(|key| id(key, full)).collect();
        parts.push(format!("not by {}", keys.join(", ")));
    }
    if !step.node_key.is_empty() {
        parts.push(format!("node {}", id(&step.node_key, full)));
    }
    if !step.path_id.is_empty() {
        parts.push(format!("path {}", safe::line(&step.path_id)));
    }
    if !step.hash.is_empty() {
        parts.push(format!("hash {}", id(&step.hash, full)));
    }
    if step.expire_time.is_some() {
        let time = clock.date_time(step.expire_time.as_ref());
        parts.push(format!("kept until {time}"));
    }
    if full {
        let keys = step.confirmed_by.iter();
        parts.extend(keys.map(|key| format!("\n    signed by {}", safe::line(key))));
        let keys = step.missed_by.iter();
        parts.extend(keys.map(|key| format!("\n    not by    {}", safe::line(key))));
    }
    format!("  {}", parts.join("  "))
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use jiff::tz::TimeZone;
    use sessiond_client::v1::{Message, TextRange};

    use super::*;

    fn time(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn matches_are_painted_and_cuts_are_marked() {
        let result = SearchResult {
            message: Some(Message {
                id: "m1".into(),
                author: format!("05abcd{}1234", "0".repeat(56)),
                send_time: time(0),
                ..Message::default()
            }),
            snippet: "a\u{1b}b hit\nend".into(),
            matches: vec![TextRange {
                start: 4,
                length: 3,
            }],
            cut_before: true,
            cut_after: false,
        };
        let text = results(
            std::slice::from_ref(&result),
            &Clock::new(TimeZone::UTC),
            true,
        );
        assert!(text.contains(&paint(HEADING, "hit")), "{text}");
        let text = results(&[result], &Clock::new(TimeZone::UTC), false);
        assert_eq!(
            strip_str(&text).to_string(),
            "1970-01-01 00:00:00  05abcd…1234  …a\\x1bb hit\\nend\n"
        );
    }

    #[test]
    fn ranges_out_of_bounds_do_no_harm() {
        let result = SearchResult {
            message: Some(Message::default()),
            snippet: "ab".into(),
            matches: vec![TextRange {
                start: 1,
                length: u32::MAX,
            }],
            ..SearchResult::default()
        };
        assert!(!results(&[result], &Clock::new(TimeZone::UTC), false).is_empty());
    }

    #[test]
    fn a_line_a_step() {
        let failed = MessageStep {
            kind: MessageStepKind::AttemptFailed.into(),
            copy: MessageCopy::Recipient.into(),
            time: time(5),
            last_time: time(65),
            count: 3,
            reason: "NO_PATH".into(),
            ..MessageStep::default()
        };
        let stored = MessageStep {
            kind: MessageStepKind::Stored.into(),
            copy: MessageCopy::OwnDevices.into(),
            time: time(70),
            count: 1,
            hash: "h".into(),
            node_key: "ab".repeat(32),
            path_id: "p1".into(),
            confirmed_by: vec!["cd".repeat(32)],
            missed_by: vec!["ef".repeat(32)],
            asked: 5,
            ..MessageStep::default()
        };
        let again = MessageStep {
            kind: MessageStepKind::StoredAgain.into(),
            time: time(90),
            last_time: time(120),
            count: 2,
            missed_by: Vec::new(),
            ..stored.clone()
        };
        let full = steps(
            std::slice::from_ref(&stored),
            &Clock::new(TimeZone::UTC),
            true,
        );
        let full = strip_str(&full).to_string();
        assert!(
            full.contains(&format!("\n    not by    {}", "ef".repeat(32))),
            "{full}"
        );
        let text = steps(&[failed, stored, again], &Clock::new(TimeZone::UTC), false);
        assert_eq!(
            strip_str(&text).to_string(),
            "1970-01-01 00:00:05  message   not stored    NO_PATH  3 times until 1970-01-01 00:01:05\n\
             1970-01-01 00:01:10  own copy  stored        signed by 1 of 5  not by efefef…efef  node ababab…abab  path p1  hash h\n\
             1970-01-01 00:01:30  own copy  stored again  2 times until 1970-01-01 00:02:00  signed by 1 of 5  \
             node ababab…abab  path p1  hash h\n"
        );
    }
}
