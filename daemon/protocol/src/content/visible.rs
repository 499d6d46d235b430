//! Visible messages: text, attachments, a quote, a link preview, a community invitation.
//!
//! Facts: messages.md 6.2 to 6.5, 6.17, 11 (29, 30). A quote or preview that does not hold is left out and the
//! message kept; text and thumbnails of a quote are not read, since the quoted author never signed them.

use session_wire as wire;
use wire::data_message as data;

use super::MAX_RECEIVED_BODY;
use super::attachment::Attachment;
use super::error::{ContentError, is_time};
use crate::identity::Identifier;

/// Attachments looked at; further ones are ignored.
pub const MAX_ATTACHMENTS: usize = 32;

/// Most bytes of a room's token in a join URL; community servers take no longer ones.
const MAX_ROOM: usize = 64;

/// A message to be shown. At least one of body, attachments and invitation is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visible {
    /// At most [`MAX_RECEIVED_BODY`] code points; may be blank when something else is there. Mentions are in it in
    /// raw form, see [`super::mentions`].
    pub body: String,
    /// The message answered to.
    pub quote: Option<Quote>,
    /// A link in the body.
    pub preview: Option<Preview>,
    /// At most [`MAX_ATTACHMENTS`], in the sender's order; only those that can be used.
    pub attachments: Vec<Attachment>,
    /// An invitation to a community.
    pub invitation: Option<Invitation>,
}

/// Which message is quoted. The reader looks it up in its own store, now or when it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Sent timestamp of the quoted message, ms.
    pub timestamp: u64,
    /// Its author; in communities a blinded ID.
    pub author: Identifier,
}

/// What the sender says about a link in the body. Never fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// `https`, literally in the body.
    pub url: String,
    /// Title; there is one when there is no image.
    pub title: Option<String>,
    /// Image.
    pub image: Option<Attachment>,
}

/// An invitation to a community, joined by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Join URL as it came, not empty.
    pub url: String,
    /// Name of the room, not empty.
    pub name: String,
}

impl Visible {
    /// A message with nothing but text.
    pub fn text(body: impl Into<String>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    pub(super) fn read(message: &wire::DataMessage) -> Result<Self, ContentError> {
        let body = cut(message.body.as_deref().unwrap_or_default());
        let attachments: Vec<_> = message
            .attachments
            .iter()
            .take(MAX_ATTACHMENTS)
            .filter_map(Attachment::read)
            .collect();
        let invitation = message
            .community_invitation
            .as_ref()
            .and_then(Invitation::read);
        if body.trim().is_empty() && attachments.is_empty() && invitation.is_none() {
            return Err(ContentError::NothingToShow);
        }
        Ok(Self {
            body: body.to_owned(),
            quote: message.quote.as_ref().and_then(Quote::read),
            preview: message
                .preview
                .first()
                .and_then(|preview| Preview::read(preview, body)),
            attachments,
            invitation,
        })
    }

    pub(super) fn write(&self) -> wire::DataMessage {
        wire::DataMessage {
            body: (!self.body.is_empty()).then(|| self.body.clone()),
            attachments: self.attachments.iter().map(Attachment::write).collect(),
            quote: self.quote.as_ref().map(Quote::write),
            preview: self.preview.iter().map(Preview::write).collect(),
            community_invitation: self.invitation.as_ref().map(Invitation::write),
            ..Default::default()
        }
    }
}

impl Quote {
    fn read(quote: &data::Quote) -> Option<Self> {
        Some(Self {
            timestamp: quote.id.filter(|ms| is_time(*ms))?,
            author: quote.author.as_deref()?.parse().ok()?,
        })
    }

    fn write(&self) -> data::Quote {
        data::Quote {
            id: Some(self.timestamp),
            author: Some(self.author.to_string()),
        }
    }
}

impl Preview {
    fn read(preview: &data::Preview, body: &str) -> Option<Self> {
        let url = preview.url.as_deref()?;
        let title = preview.title.clone().filter(|title| !title.is_empty());
        let image = preview.image.as_ref().and_then(Attachment::read);
        let shown = url.starts_with("https://")
            && body.contains(url)
            && (title.is_some() || image.is_some());
        shown.then(|| Self {
            url: url.to_owned(),
            title,
            image,
        })
    }

    fn write(&self) -> data::Preview {
        data::Preview {
            url: Some(self.url.clone()),
            title: self.title.clone(),
            image: self.image.as_ref().map(Attachment::write),
        }
    }
}

impl Invitation {
    /// Whether a text is the URL by which a community is joined: `http(s)://host/room?public_key=` and 64 hex digits. A
    /// receiver shows whatever came; a sender should write nothing that cannot be joined.
    pub fn is_join_url(text: &str) -> bool {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let parts = rest.and_then(|rest| {
            let (place, query) = rest.split_once('?')?;
            let (host, room) = place.split_once('/')?;
            Some((host, room, query.strip_prefix("public_key=")?))
        });
        let Some((host, room, key)) = parts else {
            return false;
        };
        let host_fits = !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
        let room_fits = (1..=MAX_ROOM).contains(&room.len())
            && room
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        host_fits && room_fits && key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit())
    }

    fn read(invitation: &data::CommunityInvitation) -> Option<Self> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Some(Self {
            url: filled(&invitation.url)?,
            name: filled(&invitation.name)?,
        })
    }

    fn write(&self) -> data::CommunityInvitation {
        data::CommunityInvitation {
            url: Some(self.url.clone()),
            name: Some(self.name.clone()),
        }
    }
}

/// The first [`MAX_RECEIVED_BODY`] code points.
fn cut(body: &str) -> &str {
    match body.char_indices().nth(MAX_RECEIVED_BODY) {
        Some((end, _)) => &body[..end],
        None => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_body(body: &str) -> wire::DataMessage {
        wire::DataMessage {
            body: Some(body.into()),
            ..Default::default()
        }
    }

    fn pointer(number: u64) -> wire::AttachmentPointer {
        wire::AttachmentPointer {
            id: Some(number),
            key: Some(vec![0; 32]),
            url: Some(format!("http://f/{number}")),
            ..Default::default()
        }
    }

    #[test]
    fn what_has_nothing_to_show_is_refused() {
        for body in ["", " \n\t\u{a0}"] {
            assert_eq!(
                Visible::read(&with_body(body)),
                Err(ContentError::NothingToShow)
            );
        }
        let mut message = with_body("");
        message.attachments = vec![pointer(1)];
        assert!(Visible::read(&message).is_ok());
        message.attachments[0].url = None;
        assert_eq!(Visible::read(&message), Err(ContentError::NothingToShow));
        for (url, name, ok) in [("u", "n", true), ("", "n", false), ("u", "", false)] {
            let mut message = with_body("");
            message.community_invitation = Some(data::CommunityInvitation {
                url: Some(url.into()),
                name: Some(name.into()),
            });
            assert_eq!(Visible::read(&message).is_ok(), ok);
        }
    }

    #[test]
    fn join_urls_name_a_server_a_room_and_a_key() {
        let key = "0aB".repeat(21) + "f";
        for place in [
            "https://c.example/room",
            "http://1.2.3.4:8080/a_b-C",
            "http://[::1]/r",
        ] {
            assert!(Invitation::is_join_url(&format!(
                "{place}?public_key={key}"
            )));
        }
        for text in [
            String::new(),
            format!("ftp://c.example/room?public_key={key}"),
            format!("c.example/room?public_key={key}"),
            format!("https:///room?public_key={key}"),
            format!("https://c.example/?public_key={key}"),
            format!("https://c.example?public_key={key}"),
            format!("https://c.example/a/b?public_key={key}"),
            format!("https://u@c.example/room?public_key={key}"),
            format!("https://c.example/ro om?public_key={key}"),
            format!("https://c.example/{}?public_key={key}", "r".repeat(65)),
            format!("https://c.example/room?public_key={key}0"),
            format!("https://c.example/room?public_key={}", &key[1..]),
            format!("https://c.example/room?public_key={}g", &key[1..]),
            format!("https://c.example/room?x=1&public_key={key}"),
            "https://c.example/room".to_owned(),
        ] {
            assert!(!Invitation::is_join_url(&text), "{text}");
        }
    }

    #[test]
    fn long_bodies_are_cut_between_code_points() {
        let read = Visible::read(&with_body(&"é".repeat(10_001))).unwrap();
        assert_eq!(read.body, "é".repeat(MAX_RECEIVED_BODY));
    }

    #[test]
    fn attachments_are_cut_at_32_and_keep_their_order() {
        let mut message = with_body("see");
        message.attachments = (0..40).map(pointer).collect();
        message.attachments[3].key = None;
        let urls: Vec<_> = Visible::read(&message)
            .unwrap()
            .attachments
            .into_iter()
            .map(|attachment| attachment.url)
            .collect();
        let expected: Vec<_> = (0..32)
            .filter(|number| *number != 3)
            .map(|number| format!("http://f/{number}"))
            .collect();
        assert_eq!(urls, expected);
    }

    #[test]
    fn previews_must_be_of_a_secure_link_in_the_body() {
        let shown = |body: &str, url: &str, title: Option<&str>| {
            let mut message = with_body(body);
            message.preview = vec![data::Preview {
                url: Some(url.into()),
                title: title.map(Into::into),
                image: None,
            }];
            Visible::read(&message).unwrap().preview.is_some()
        };
        assert!(shown("see https://a.b/", "https://a.b/", Some("t")));
        assert!(!shown("see http://a.b/", "http://a.b/", Some("t")));
        assert!(!shown("see https://a.b/", "https://a.c/", Some("t")));
        assert!(!shown("see https://a.b/", "https://a.b/", None));
        assert!(!shown("see https://a.b/", "https://a.b/", Some("")));
    }

    #[test]
    fn quotes_that_name_nothing_are_left_out() {
        let author = format!("05{}", "01".repeat(32));
        let quoted = |id, author: &str| {
            let mut message = with_body("yes");
            message.quote = Some(data::Quote {
                id: Some(id),
                author: Some(author.into()),
            });
            Visible::read(&message).unwrap().quote
        };
        assert!(quoted(1, &author).is_some());
        assert!(quoted(1, &author.replacen("05", "15", 1)).is_some());
        assert!(quoted(0, &author).is_none());
        assert!(quoted(1 << 53, &author).is_none());
        assert!(quoted(1, "me").is_none());
    }
}
