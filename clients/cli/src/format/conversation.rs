//! A conversation: everything that is set for it, and in a word for the list.

use std::time::SystemTime;

use sessiond_client::v1::{
    Conversation, DisappearingMode, DisappearingSetting, NotifyMode, conversation::Target,
};

use super::{chat, event, overview::labelled, safe, time::Clock};

/// How much of a last message is shown.
const LAST_MESSAGE_LIMIT: usize = 60;

/// The name to show: the one that the user gave, else the one that the other side gave itself.
#[must_use]
pub fn name(conversation: &Conversation) -> &str {
    match conversation.nickname.as_str() {
        "" => &conversation.display_name,
        nickname => nickname,
    }
}

/// How much is unread, and how many of it mention the user.
#[must_use]
pub fn unread(conversation: &Conversation) -> String {
    match (conversation.unread_count, conversation.unread_mention_count) {
        (0, _) if conversation.marked_unread => "marked".to_owned(),
        (count, 0) => count.to_string(),
        (count, mentions) => format!("{count} (@{mentions})"),
    }
}

/// In a word each what is not usual about it.
#[must_use]
pub fn marks(conversation: &Conversation, now: SystemTime) -> String {
    let muted = muted(conversation, now) || conversation.notify_mode() == NotifyMode::None;
    let marks = [
        (conversation.pin_priority > 0, "pinned"),
        (conversation.request, "request"),
        (conversation.blocked, "blocked"),
        (conversation.hidden, "hidden"),
        (muted, "muted"),
        (conversation.disappearing.is_some(), "disappearing"),
    ];
    let words: Vec<&str> = marks
        .iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, word)| *word)
        .collect();
    words.join(",")
}

fn muted(conversation: &Conversation, now: SystemTime) -> bool {
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    conversation
        .mute_until_time
        .as_ref()
        .is_some_and(|until| u64::try_from(until.seconds).is_ok_and(|until| until > now.as_secs()))
}

/// A conversation on its own, with everything that is set for it.
#[must_use]
pub fn conversation(it: &Conversation, clock: &Clock, now: SystemTime, full: bool) -> String {
    let mut lines = vec![("With", event::with(it, full))];
    if full {
        lines.push(("ID", safe::line(&it.id)));
    }
    if !it.nickname.is_empty() {
        lines.push(("Nickname", safe::line(&it.nickname)));
    }
    if !it.display_name.is_empty() {
        lines.push(("Name", safe::line(&it.display_name)));
    }
    let to_self = matches!(it.target, Some(Target::NoteToSelf(_)));
    if !to_self {
        lines.push(("Accepted", accepted(it).to_owned()));
        lines.push(("Blocked", yes(it.blocked)));
    }
    lines.push(("Unread", unread(it)));
    lines.push(("Read up to", clock.date_time(it.last_read_time.as_ref())));
    lines.push((
        "Pinned",
        match it.pin_priority {
            0 => yes(false),
            priority => format!("yes, {priority}"),
        },
    ));
    lines.push(("Hidden", yes(it.hidden)));
    if !to_self {
        lines.push(("Notifications", notifications(it, clock, now)));
    }
    lines.push(("Own messages", disappear(it.disappearing.as_ref())));
    if !to_self {
        lines.push(("Their messages", disappear(it.peer_disappearing.as_ref())));
    }
    let activity = clock.date_time(it.last_activity_time.as_ref());
    lines.push(("Last activity", activity));
    if let Some(message) = &it.last_message {
        lines.push(("Last message", chat::summary(message, LAST_MESSAGE_LIMIT)));
    }
    labelled(&lines)
}

fn yes(holds: bool) -> String {
    if holds { "yes" } else { "no" }.to_owned()
}

fn accepted(it: &Conversation) -> &'static str {
    match (it.approved, it.approved_me) {
        _ if it.request => "they wrote and wait: accept, decline or block them",
        (true, true) => "on both sides",
        (true, false) => "by you; they have not answered yet",
        (false, true) => "by them",
        (false, false) => "on neither side",
    }
}

fn notifications(it: &Conversation, clock: &Clock, now: SystemTime) -> String {
    let mode = match it.notify_mode() {
        NotifyMode::Unspecified => "as the settings say",
        NotifyMode::All => "all",
        NotifyMode::None => "none",
        NotifyMode::Mentions => "mentions",
    };
    if muted(it, now) {
        let until = clock.date_time(it.mute_until_time.as_ref());
        format!("{mode}; muted until {until}")
    } else {
        mode.to_owned()
    }
}

/// When messages disappear, as `expire` takes it.
fn disappear(setting: Option<&DisappearingSetting>) -> String {
    let Some(setting) = setting else {
        return "stay".to_owned();
    };
    let seconds = setting.timer.map_or(0, |timer| timer.seconds);
    let time = match seconds {
        s if s >= 3_600 && s % 3_600 == 0 => format!("{} h", s / 3_600),
        s if s >= 60 && s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    };
    match setting.mode() {
        DisappearingMode::AfterRead => format!("disappear {time} after being read"),
        _ => format!("disappear {time} after being sent"),
    }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use jiff::tz::TimeZone;
    use sessiond_client::v1::{NoteToSelf, OneToOne};

    use super::*;

    fn time(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    fn timer(mode: DisappearingMode, seconds: i64) -> Option<DisappearingSetting> {
        Some(DisappearingSetting {
            mode: mode.into(),
            timer: Some(prost_types::Duration { seconds, nanos: 0 }),
        })
    }

    fn full() -> Conversation {
        Conversation {
            id: "c1".into(),
            target: Some(Target::OneToOne(OneToOne {
                account_id: format!("05abcd{}1234", "0".repeat(56)),
            })),
            display_name: "Bob".into(),
            nickname: "Bobby".into(),
            approved: true,
            approved_me: true,
            unread_count: 3,
            unread_mention_count: 1,
            last_read_time: time(60),
            pin_priority: 2,
            notify_mode: NotifyMode::Mentions.into(),
            mute_until_time: time(120),
            disappearing: timer(DisappearingMode::AfterSend, 43_200),
            peer_disappearing: timer(DisappearingMode::AfterRead, 300),
            last_activity_time: time(61),
            ..Conversation::default()
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
    }

    fn shown(it: &Conversation, now: u64, full: bool) -> String {
        let text = conversation(it, &Clock::new(TimeZone::UTC), at(now), full);
        strip_str(&text).to_string()
    }

    #[test]
    fn everything_that_is_set_is_shown() {
        assert_eq!(
            shown(&full(), 100, false),
            "With            05abcd…1234\n\
             Nickname        Bobby\n\
             Name            Bob\n\
             Accepted        on both sides\n\
             Blocked         no\n\
             Unread          3 (@1)\n\
             Read up to      1970-01-01 00:01:00\n\
             Pinned          yes, 2\n\
             Hidden          no\n\
             Notifications   mentions; muted until 1970-01-01 00:02:00\n\
             Own messages    disappear 12 h after being sent\n\
             Their messages  disappear 5 min after being read\n\
             Last activity   1970-01-01 00:01:01\n"
        );
        assert!(shown(&full(), 100, true).contains("ID              c1\n"));
        let notes = Conversation {
            target: Some(Target::NoteToSelf(NoteToSelf {})),
            ..Conversation::default()
        };
        assert_eq!(
            shown(&notes, 0, false),
            "With           note to self\n\
             Unread         0\n\
             Read up to     -\n\
             Pinned         no\n\
             Hidden         no\n\
             Own messages   stay\n\
             Last activity  -\n"
        );
    }

    #[test]
    fn the_list_marks_what_is_not_usual() {
        let one = full();
        assert_eq!(marks(&one, at(100)), "pinned,muted,disappearing");
        assert_eq!(marks(&one, at(120)), "pinned,disappearing");
        assert_eq!((name(&one), unread(&one)), ("Bobby", "3 (@1)".to_owned()));
        let other = Conversation {
            display_name: "Eve".into(),
            request: true,
            blocked: true,
            hidden: true,
            marked_unread: true,
            notify_mode: NotifyMode::None.into(),
            ..Conversation::default()
        };
        assert_eq!(marks(&other, at(0)), "request,blocked,hidden,muted");
        assert_eq!((name(&other), unread(&other)), ("Eve", "marked".to_owned()));
        assert_eq!(marks(&Conversation::default(), at(0)), "");
    }

    #[test]
    fn every_stand_of_acceptance_is_told() {
        let stands = [
            (true, true, false),
            (true, false, false),
            (false, true, false),
            (false, false, false),
            (false, true, true),
        ]
        .map(|(approved, approved_me, request)| {
            accepted(&Conversation {
                approved,
                approved_me,
                request,
                ..Conversation::default()
            })
        });
        let different: std::collections::BTreeSet<_> = stands.into_iter().collect();
        assert_eq!(different.len(), stands.len());
    }
}
