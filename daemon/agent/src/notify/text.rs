//! The words of a notification. What people wrote is cut, freed of control characters, and escaped where the server reads
//! markup (messages.md 9.1 and 9.3).

use session_protocol::Prefix;
use session_protocol::content::mentions;

use super::decide::Shown;
use crate::store::messages::{MessageRow, kind};

/// Most characters of a body that are shown.
const BODY: usize = 300;
/// Most characters of a name.
const NAME: usize = 60;

/// Summary and body of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// One line, never markup.
    pub summary: String,
    /// May be read as markup.
    pub body: String,
}

/// Names for account IDs.
pub trait Names {
    /// Name of an account; `None`: nobody we know.
    fn name(&self, account_id: &str) -> Option<String>;
}

/// Something that a notification is about.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// A message.
    Message(&'a MessageRow),
    /// A reaction to a message of ours.
    Reaction(&'a str),
}

/// Words for one conversation: its newest subject, and how many there are.
pub fn conversation(
    title: &str,
    newest: Subject<'_>,
    count: usize,
    shown: Shown,
    names: &dyn Names,
    markup: bool,
) -> Words {
    let more = match count {
        0 | 1 => String::new(),
        count => format!(" ({count})"),
    };
    match shown {
        Shown::Count => counted(count, None),
        Shown::Name => Words {
            summary: format!("{}{more}", cut(title, NAME)),
            body: "New message".to_owned(),
        },
        Shown::Text => Words {
            summary: format!("{}{more}", cut(title, NAME)),
            body: escaped(cut(&said(newest, names), BODY), markup),
        },
    }
}

/// Words for a stranger's first message: no name, no text.
pub fn request() -> Words {
    Words {
        summary: "New message request".to_owned(),
        body: "Somebody who is not among your contacts wrote to you.".to_owned(),
    }
}

/// Words for what came while the agent did not run.
pub fn backlog(messages: usize, conversations: usize) -> Words {
    counted(messages, Some(conversations))
}

fn counted(messages: usize, conversations: Option<usize>) -> Words {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let place = match conversations {
        Some(count) if count > 1 => format!(" in {count} conversations"),
        _ => String::new(),
    };
    Words {
        summary: "Session".to_owned(),
        body: format!("{messages} new message{}{place}", plural(messages)),
    }
}

/// What is shown as a conversation's name.
pub fn title(nickname: &str, display_name: &str, account_id: &str) -> String {
    [nickname, display_name]
        .into_iter()
        .map(|name| clean(name).trim().to_owned())
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| short(account_id))
}

/// An account ID as people recognise it.
pub fn short(account_id: &str) -> String {
    match (
        account_id.get(..6),
        account_id.get(account_id.len().saturating_sub(4)..),
    ) {
        (Some(head), Some(tail)) if account_id.len() > 12 => format!("{head}…{tail}"),
        _ => account_id.to_owned(),
    }
}

fn said(subject: Subject<'_>, names: &dyn Names) -> String {
    let message = match subject {
        Subject::Message(message) => message,
        Subject::Reaction(emoji) => return format!("Reacted {}", clean(emoji)),
    };
    match message.kind.as_str() {
        kind::COMMUNITY_INVITATION => "Invitation to a community".to_owned(),
        kind::REQUEST_ACCEPTED => "Accepted your message request".to_owned(),
        kind::CALL => "Missed call".to_owned(),
        _ => {
            let body = message.body.as_deref().unwrap_or_default();
            let body = clean(&named(body, names));
            match (body.trim(), message.attachments.first()) {
                ("", Some(first)) if first.voice => "Voice message".to_owned(),
                ("", Some(first)) if first.content_type.starts_with("image/") => {
                    "Picture".to_owned()
                }
                ("", Some(_)) => "File".to_owned(),
                (text, _) => text.to_owned(),
            }
        }
    }
}

/// The body with names in place of account IDs.
fn named(body: &str, names: &dyn Names) -> String {
    let mut text = String::with_capacity(body.len());
    let mut rest = 0;
    for mention in mentions(body) {
        if mention.id.prefix != Prefix::Standard {
            continue;
        }
        let id = mention.id.to_string();
        text += &body[rest..mention.range.start];
        text.push('@');
        text += &names.name(&id).unwrap_or_else(|| short(&id));
        rest = mention.range.end;
    }
    text += &body[rest..];
    text
}

/// Without characters that steer a terminal or turn the direction of writing.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c == '\n' || c == '\t' { ' ' } else { c })
        .filter(|c| {
            !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        })
        .collect()
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn escaped(text: String, markup: bool) -> String {
    if !markup {
        return text;
    }
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::text as message;
    use proptest::prelude::*;

    struct Known(String);

    impl Names for Known {
        fn name(&self, account_id: &str) -> Option<String> {
            (account_id == self.0).then(|| "You".to_owned())
        }
    }

    fn words(body: &str, shown: Shown, markup: bool) -> Words {
        let row = message("m", 1, body);
        conversation(
            "Bob",
            Subject::Message(&row),
            1,
            shown,
            &Known(id(7)),
            markup,
        )
    }

    fn id(byte: u8) -> String {
        session_protocol::AccountId::from_x25519([byte; 32]).to_string()
    }

    #[test]
    fn no_more_is_shown_than_is_allowed() {
        let secret = "the code is 1234";
        assert_eq!(words(secret, Shown::Text, false).body, secret);
        let name = words(secret, Shown::Name, false);
        assert_eq!(
            (name.summary.as_str(), name.body.as_str()),
            ("Bob", "New message")
        );
        let count = words(secret, Shown::Count, false);
        assert_eq!(
            (count.summary.as_str(), count.body.as_str()),
            ("Session", "1 new message")
        );
        assert!(!format!("{:?}", request()).contains("Bob"));
        assert_eq!(backlog(5, 2).body, "5 new messages in 2 conversations");
        assert_eq!(backlog(5, 1).body, "5 new messages");
    }

    #[test]
    fn mentions_become_names() {
        let body = format!("@{} ask @{}!", id(7), id(8));
        let expected = format!("@You ask @{}!", short(&id(8)));
        assert_eq!(words(&body, Shown::Text, false).body, expected);
    }

    #[test]
    fn markup_is_escaped_where_the_server_reads_it_and_names_are_not() {
        let text = "<b>a</b> & \u{1b}[31m\u{202e}b";
        assert_eq!(
            words(text, Shown::Text, true).body,
            "&lt;b&gt;a&lt;/b&gt; &amp; [31mb"
        );
        assert_eq!(words(text, Shown::Text, false).body, "<b>a</b> & [31mb");
    }

    #[test]
    fn a_name_is_found_for_everyone() {
        assert_eq!(title("Nick", "Name", "05aa"), "Nick");
        assert_eq!(title("", " Name ", "05aa"), "Name");
        assert_eq!(title("", "\u{202e}", &id(8)), short(&id(8)));
    }

    proptest! {
        #[test]
        fn any_body_gives_bounded_words(body in any::<String>(), markup: bool) {
            let words = words(&body, Shown::Text, markup);
            prop_assert!(words.body.chars().count() <= 5 * (BODY + 1));
            prop_assert!(!words.body.contains(char::is_control));
            if markup {
                prop_assert!(!words.body.contains(['<', '>']));
            }
        }
    }
}
