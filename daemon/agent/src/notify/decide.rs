//! Which messages raise a notification, and how much of them it may show: the table of messages.md 9.2, top down, the
//! first match decides. Pure: everything it goes by is given.

use sessiond_proto::v1::{NotificationPrivacy, NotifyMode};

use crate::store::control::call;
use crate::store::conversations::ConversationRow;
use crate::store::messages::{MessageRow, cause, kind};
use crate::store::settings::Settings;

/// Values of `notification_privacy`.
const NAME_AND_TEXT: i64 = NotificationPrivacy::NameAndText as i64;
const NAME_ONLY: i64 = NotificationPrivacy::NameOnly as i64;
const COUNT_ONLY: i64 = NotificationPrivacy::CountOnly as i64;
const NONE: i64 = NotificationPrivacy::None as i64;

/// Values of `notify_mode`.
const MODE_NONE: i64 = NotifyMode::None as i64;
const MODE_MENTIONS: i64 = NotifyMode::Mentions as i64;

/// How much may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Who wrote, and what.
    Text,
    /// Who wrote.
    Name,
    /// How many messages.
    Count,
}

/// What a message does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is part of its conversation's notification.
    Notify,
    /// It is a stranger's first: said without name and text.
    Request,
    /// It raises nothing.
    Quiet,
}

/// What else decides.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Own account ID.
    pub own: &'a str,
    /// Network time, ms.
    pub now_ms: i64,
    /// Everything sent before came with a restore, ms.
    pub since_ms: i64,
    /// A frontend shows this conversation right now.
    pub focused: bool,
    /// Nothing older lies in the conversation.
    pub is_first: bool,
}

/// How much a conversation's notification may show; `None`: there is none.
pub fn shown(settings: &Settings, conversation: &ConversationRow) -> Option<Shown> {
    let timer = |(mode, seconds): (i64, i64)| mode != 0 && seconds > 0;
    match settings.notification_privacy {
        NONE => None,
        COUNT_ONLY => Some(Shown::Count),
        NAME_ONLY => Some(Shown::Name),
        NAME_AND_TEXT => Some(Shown::Text),
        // By default nothing that disappears is handed to a program that keeps it.
        _ if timer(conversation.expiry)
            || timer((conversation.peer_expiry.0, conversation.peer_expiry.1)) =>
        {
            Some(Shown::Name)
        }
        _ => Some(Shown::Text),
    }
}

/// What a message does.
pub fn message(
    message: &MessageRow,
    conversation: &ConversationRow,
    settings: &Settings,
    at: &Circumstances<'_>,
) -> Verdict {
    if message.outgoing || message.author.is_empty() || conversation.blocked {
        return Verdict::Quiet;
    }
    let read = message.read
        || message
            .expiry_start
            .is_some_and(|(_, why)| why == cause::READ_ELSEWHERE);
    if read || message.deleted || message.sent_ms < at.since_ms {
        return Verdict::Quiet;
    }
    if silenced(conversation, settings, at.now_ms) {
        return Verdict::Quiet;
    }
    let quotes_me = message
        .quote
        .as_ref()
        .is_some_and(|quote| quote.author == at.own);
    if mode(conversation, settings) == MODE_MENTIONS && !message.mentions_me && !quotes_me {
        return Verdict::Quiet;
    }
    let worth_it = match message.kind.as_str() {
        kind::TEXT | kind::COMMUNITY_INVITATION | kind::REQUEST_ACCEPTED => true,
        kind::CALL => matches!(
            message.call,
            Some((_, call::MISSED | call::MISSED_NEEDS_PERMISSION))
        ),
        _ => false,
    };
    if conversation.is_request() {
        return match worth_it && at.is_first {
            true => Verdict::Request,
            false => Verdict::Quiet,
        };
    }
    if at.focused || !worth_it {
        return Verdict::Quiet;
    }
    Verdict::Notify
}

/// Whether a reaction of the other side to a message of ours raises a notification.
pub fn reaction(
    message: &MessageRow,
    reacted_ms: i64,
    conversation: &ConversationRow,
    settings: &Settings,
    at: &Circumstances<'_>,
) -> bool {
    message.outgoing
        && !conversation.blocked
        && !conversation.is_request()
        && reacted_ms > conversation.last_read_ms
        && reacted_ms >= at.since_ms
        && !silenced(conversation, settings, at.now_ms)
        && mode(conversation, settings) != MODE_MENTIONS
        && !at.focused
}

fn mode(conversation: &ConversationRow, settings: &Settings) -> i64 {
    match conversation.notify_mode {
        0 => settings.notify_mode,
        mode => mode,
    }
}

fn silenced(conversation: &ConversationRow, settings: &Settings, now_ms: i64) -> bool {
    conversation.mute_until_ms > now_ms || mode(conversation, settings) == MODE_NONE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::{conversation, text};
    use crate::store::messages::QuoteRow;

    const OWN: &str = "05own";

    fn at() -> Circumstances<'static> {
        Circumstances {
            own: OWN,
            now_ms: 10_000,
            since_ms: 0,
            focused: false,
            is_first: false,
        }
    }

    /// Each row of the table, by a change of an otherwise ordinary message.
    #[test]
    fn the_first_row_that_matches_decides() {
        type Change =
            fn(&mut MessageRow, &mut ConversationRow, &mut Settings, &mut Circumstances<'_>);
        let cases: &[(&str, Verdict, Change)] = &[
            ("ordinary", Verdict::Notify, |_, _, _, _| {}),
            ("own", Verdict::Quiet, |m, _, _, _| m.outgoing = true),
            ("the agent's own entry", Verdict::Quiet, |m, _, _, _| {
                m.author.clear()
            }),
            ("blocked", Verdict::Quiet, |_, c, _, _| c.blocked = true),
            ("read elsewhere", Verdict::Quiet, |m, _, _, _| m.read = true),
            ("unsent", Verdict::Quiet, |m, _, _, _| m.deleted = true),
            ("older than the restore", Verdict::Quiet, |_, _, _, at| {
                at.since_ms = 6_000
            }),
            ("muted", Verdict::Quiet, |_, c, _, _| {
                c.mute_until_ms = 10_001
            }),
            ("no longer muted", Verdict::Notify, |_, c, _, _| {
                c.mute_until_ms = 10_000
            }),
            ("mode none", Verdict::Quiet, |_, c, _, _| c.notify_mode = 2),
            ("the account's mode none", Verdict::Quiet, |_, _, s, _| {
                s.notify_mode = 2
            }),
            (
                "the conversation's mode wins",
                Verdict::Notify,
                |_, c, s, _| {
                    s.notify_mode = 2;
                    c.notify_mode = 1;
                },
            ),
            ("mentions only, none", Verdict::Quiet, |_, c, _, _| {
                c.notify_mode = 3
            }),
            ("mentions only, one", Verdict::Notify, |m, c, _, _| {
                c.notify_mode = 3;
                m.mentions_me = true;
            }),
            ("mentions only, quotes us", Verdict::Notify, |m, c, _, _| {
                c.notify_mode = 3;
                m.quote = Some(QuoteRow {
                    author: OWN.into(),
                    sent_ms: 1,
                    message: None,
                });
            }),
            (
                "mentions only, quotes another",
                Verdict::Quiet,
                |m, c, _, _| {
                    c.notify_mode = 3;
                    m.quote = Some(QuoteRow {
                        author: "05bb".into(),
                        sent_ms: 1,
                        message: None,
                    });
                },
            ),
            ("a stranger's first", Verdict::Request, |_, c, _, at| {
                c.approved = false;
                at.is_first = true;
            }),
            ("a stranger's second", Verdict::Quiet, |_, c, _, _| {
                c.approved = false
            }),
            (
                "a stranger's first, muted",
                Verdict::Quiet,
                |_, c, _, at| {
                    c.approved = false;
                    at.is_first = true;
                    c.mute_until_ms = i64::MAX;
                },
            ),
            ("focused", Verdict::Quiet, |_, _, _, at| at.focused = true),
            ("missed call", Verdict::Notify, |m, _, _, _| {
                m.kind = kind::CALL.into();
                m.call = Some(("u".into(), 1));
            }),
            ("call answered elsewhere", Verdict::Quiet, |m, _, _, _| {
                m.kind = kind::CALL.into();
                m.call = Some(("u".into(), 3));
            }),
            ("timer change", Verdict::Quiet, |m, _, _, _| {
                m.kind = kind::TIMER_CHANGE.into()
            }),
            ("screenshot", Verdict::Quiet, |m, _, _, _| {
                m.kind = kind::DATA_EXTRACTION.into()
            }),
            ("invitation", Verdict::Notify, |m, _, _, _| {
                m.kind = kind::COMMUNITY_INVITATION.into()
            }),
            ("accepted", Verdict::Notify, |m, _, _, _| {
                m.kind = kind::REQUEST_ACCEPTED.into()
            }),
        ];
        for (what, verdict, change) in cases {
            let (mut m, mut c, mut s, mut at) = (
                text("m", 5_000, "hi"),
                conversation(),
                Settings::default(),
                at(),
            );
            change(&mut m, &mut c, &mut s, &mut at);
            assert_eq!(message(&m, &c, &s, &at), *verdict, "{what}");
        }
    }

    #[test]
    fn reactions_count_on_our_messages_until_the_conversation_is_read() {
        let (mut m, mut c, s) = (text("m", 5_000, "hi"), conversation(), Settings::default());
        assert!(!reaction(&m, 6_000, &c, &s, &at()), "not ours");
        m.outgoing = true;
        assert!(reaction(&m, 6_000, &c, &s, &at()));
        c.last_read_ms = 6_000;
        assert!(!reaction(&m, 6_000, &c, &s, &at()), "read");
    }

    #[test]
    fn what_disappears_is_shown_by_name_unless_the_user_says_otherwise() {
        let (mut c, mut s) = (conversation(), Settings::default());
        assert_eq!(shown(&s, &c), Some(Shown::Text));
        c.peer_expiry = (1, 60, 1);
        assert_eq!(shown(&s, &c), Some(Shown::Name));
        c.peer_expiry = (0, 0, 1);
        c.expiry = (2, 60);
        assert_eq!(shown(&s, &c), Some(Shown::Name));
        for (privacy, expected) in [
            (1, Some(Shown::Text)),
            (2, Some(Shown::Name)),
            (3, Some(Shown::Count)),
            (4, None),
        ] {
            s.notification_privacy = privacy;
            assert_eq!(shown(&s, &c), expected);
        }
    }
}
