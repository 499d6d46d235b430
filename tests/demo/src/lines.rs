//! How the story words what agents report.

use std::time::Duration;

use sessiond_client::v1::{self, Event, EventKind, Message, MessageDirection, Path, SendState};

use crate::exchange::body;
use crate::screen::{BAD, FAINT, GOOD, duration, paint, short, visible};
use crate::story::Party;

/// What is to be told about a message event of one of the parties; nothing about changes that say little.
pub fn message_event(parties: &[Party], event: &Event, message: &Message) -> Vec<String> {
    let text = body(message).map_or_else(
        || "(not a text)".to_owned(),
        |body| format!("\"{}\"", visible(body)),
    );
    let outgoing = message.direction() == MessageDirection::Outgoing;
    let sent = message.send_time.map(|t| millis(t.seconds, t.nanos));
    let since = |later: Option<i64>| match (sent, later) {
        (Some(sent), Some(later)) => {
            let passed = later.saturating_sub(sent);
            duration(Duration::from_millis(u64::try_from(passed).unwrap_or(0)))
        }
        _ => "?".to_owned(),
    };
    let at = event.create_time.map(|t| millis(t.seconds, t.nanos));
    match (event.kind(), outgoing) {
        (EventKind::MessageAdded, true) => vec![format!("writes {text}: SENDING")],
        (EventKind::MessageAdded, false) => {
            let author = parties
                .iter()
                .find(|party| party.account_id == message.author)
                .map_or_else(
                    || short(&message.author),
                    |party| party.person.name().to_owned(),
                );
            let received = message.receive_time.map(|t| millis(t.seconds, t.nanos));
            let after = since(received);
            let received = paint(GOOD, "RECEIVED");
            vec![format!(
                "{received} {after} after {author} wrote it: {text}"
            )]
        }
        (EventKind::MessageChanged, true) => {
            let changed = |field: &str| event.changed_fields.iter().any(|f| f == field);
            let outcome = |state: SendState, what: &str| match state {
                SendState::Sent => Some(format!(
                    "{} after {}: {what}",
                    paint(GOOD, "SENT"),
                    since(at)
                )),
                SendState::Failed => Some(format!(
                    "{} ({}): {what}",
                    paint(BAD, "FAILED"),
                    visible(&message.failure_reason)
                )),
                _ => None,
            };
            let sent = changed("send_state")
                .then(|| outcome(message.send_state(), &text))
                .flatten();
            let copied = changed("sync_state")
                .then(|| outcome(message.sync_state(), "the copy for other devices"))
                .flatten();
            sent.into_iter().chain(copied).collect()
        }
        _ => Vec::new(),
    }
}

/// A path by hop, the guard first, and how long the last request over it took.
pub fn path(path: &Path) -> String {
    let hops: Vec<String> = path
        .hops
        .iter()
        .map(|hop: &v1::Hop| {
            let address = format!("{}:{}", visible(&hop.ip_address), hop.port);
            format!("{} {}", short(&hop.node_key), paint(FAINT, address))
        })
        .collect();
    let latency = path
        .latency
        .and_then(|l| Some((u64::try_from(l.seconds).ok()?, u32::try_from(l.nanos).ok()?)))
        .map(|(seconds, nanos)| format!(" ({})", duration(Duration::new(seconds, nanos))))
        .unwrap_or_default();
    format!("{}{latency}", hops.join(" → "))
}

/// Which process it is.
pub fn process(pid: u32) -> String {
    paint(FAINT, format_args!("(process {pid})"))
}

fn millis(seconds: i64, nanos: i32) -> i64 {
    seconds
        .saturating_mul(1_000)
        .saturating_add(i64::from(nanos) / 1_000_000)
}
