//! Reactions to a message.
//!
//! Facts: messages.md 6.9 and 11 (12). Which message is meant, and whether the reaction is held already, is the
//! caller's matter; so are the 20 a minute that senders keep to.

use session_wire as wire;
use unicode_segmentation::UnicodeSegmentation as _;
use wire::data_message::reaction::Action;

use super::error::{ContentError, required, required_enum, time};
use crate::identity::Identifier;

/// Most bytes of an emoji. The longest in use have 41.
pub const MAX_EMOJI: usize = 64;

/// An emoji put on a message or taken off it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// Sent timestamp of the message, ms.
    pub timestamp: u64,
    /// Author of the message; in communities a blinded ID.
    pub author: Identifier,
    /// One extended grapheme cluster, see [`is_emoji`].
    pub emoji: String,
    /// Taken off instead of put on.
    pub remove: bool,
}

impl Reaction {
    pub(super) fn read(reaction: &wire::data_message::Reaction) -> Result<Self, ContentError> {
        let action: Action = required_enum("Reaction.action", reaction.action)?;
        let emoji = required("Reaction.emoji", &reaction.emoji)?;
        if !is_emoji(emoji) {
            return Err(ContentError::BadEmoji);
        }
        let author = required("Reaction.author", &reaction.author)?;
        Ok(Self {
            timestamp: time("Reaction.id", *required("Reaction.id", &reaction.id)?)?,
            author: author
                .parse()
                .map_err(|_| ContentError::BadAuthor("Reaction.author"))?,
            emoji: emoji.clone(),
            remove: action == Action::Remove,
        })
    }

    pub(super) fn write(&self) -> wire::data_message::Reaction {
        let action = if self.remove {
            Action::Remove
        } else {
            Action::React
        };
        wire::data_message::Reaction {
            id: Some(self.timestamp),
            author: Some(self.author.to_string()),
            emoji: Some(self.emoji.clone()),
            action: Some(action as i32),
        }
    }
}

/// Whether this can be a reaction: one extended grapheme cluster of at most [`MAX_EMOJI`] bytes that shows something.
/// It need not be an emoji by Unicode's lists, which change every year.
pub fn is_emoji(text: &str) -> bool {
    let mut clusters = text.graphemes(true);
    text.len() <= MAX_EMOJI
        && clusters.next().is_some()
        && clusters.next().is_none()
        && text.chars().all(|c| !c.is_control() && !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cluster_is_an_emoji() {
        for emoji in ["👍", "👍🏽", "❤️", "🏳️‍🌈", "👩‍👩‍👧‍👦", "🇩🇪", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣", "👨🏽‍❤️‍💋‍👨🏿"]
        {
            assert!(is_emoji(emoji), "{emoji}");
        }
        for other in ["", " ", "\n", "\r\n", "👍👍", "ok", "👍 ", "🇩🇪🇫🇷"] {
            assert!(!is_emoji(other), "{other:?}");
        }
        assert!(!is_emoji(&format!("a{}", "\u{301}".repeat(32))));
    }
}
