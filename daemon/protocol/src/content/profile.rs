//! The sender's profile as messages carry it.
//!
//! Facts: messages.md 6.13 and 11 (27); an invalid picture pair changes nothing. Whether the profile is newer than
//! the one held, and whose it is, is the caller's matter.

use session_wire as wire;

use super::MAX_NAME;
use super::attachment::FileKey;

/// What a sender says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Display name: trimmed, 1 to [`MAX_NAME`] bytes. `None` leaves the name held as it is.
    pub name: Option<String>,
    /// The picture.
    pub picture: Picture,
    /// When the sender last changed it, s; 0 when it does not say.
    pub updated_s: u64,
}

/// The picture of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Picture {
    /// There is none; with a newer time this clears the one held.
    #[default]
    None,
    /// There is one.
    Set {
        /// Where the encrypted file is.
        url: String,
        /// Key of 32 bytes.
        key: FileKey,
    },
    /// URL without key, key without URL, or a key of another length: the picture held stays. Never written.
    Invalid,
}

impl Profile {
    /// From a profile and the key that stands beside it. `None` without a profile: a key alone says nothing.
    pub(super) fn read(profile: Option<&wire::LokiProfile>, key: Option<&[u8]>) -> Option<Self> {
        let profile = profile?;
        let url = profile.profile_picture.as_deref().unwrap_or_default();
        let key = key.unwrap_or_default();
        let picture = match (url, key.len()) {
            ("", 0) => Picture::None,
            ("", _) => Picture::Invalid,
            (url, 32) => FileKey::new(key).map_or(Picture::Invalid, |key| Picture::Set {
                url: url.to_owned(),
                key,
            }),
            _ => Picture::Invalid,
        };
        Some(Self {
            name: profile.display_name.as_deref().and_then(clean_name),
            picture,
            updated_s: profile.last_update_seconds.unwrap_or(0),
        })
    }

    /// The profile and the key beside it.
    pub(super) fn write(&self) -> (wire::LokiProfile, Option<Vec<u8>>) {
        let (url, key) = match &self.picture {
            Picture::Set { url, key } => (Some(url.clone()), Some(key.as_bytes().to_vec())),
            Picture::None | Picture::Invalid => (None, None),
        };
        let profile = wire::LokiProfile {
            display_name: self.name.as_deref().and_then(clean_name),
            profile_picture: url,
            last_update_seconds: (self.updated_s > 0).then_some(self.updated_s),
        };
        (profile, key)
    }
}

/// A display name without space around it and cut at a code point; `None` when nothing is left.
fn clean_name(name: &str) -> Option<String> {
    let name = name.trim();
    let end = name.floor_char_boundary(MAX_NAME);
    let name = name[..end].trim_end();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, url: Option<&str>, key: Option<&[u8]>) -> Profile {
        let profile = wire::LokiProfile {
            display_name: Some(name.into()),
            profile_picture: url.map(Into::into),
            last_update_seconds: None,
        };
        Profile::read(Some(&profile), key).unwrap()
    }

    #[test]
    fn names_are_trimmed_and_cut() {
        assert_eq!(read(" Ann\n", None, None).name, Some("Ann".into()));
        assert_eq!(read(" \u{a0}", None, None).name, None);
        let cut = read(&"é".repeat(51), None, None).name;
        assert_eq!(cut, Some("é".repeat(50)));
        let cut = read(&format!("{} x", "a".repeat(99)), None, None).name;
        assert_eq!(cut, Some("a".repeat(99)));
    }

    #[test]
    fn url_and_key_come_together() {
        let key = [7; 32];
        let set = Picture::Set {
            url: "http://f/1".into(),
            key: FileKey::new(&key).unwrap(),
        };
        assert_eq!(read("", Some("http://f/1"), Some(&key)).picture, set);
        for empty in [read("", None, None), read("", Some(""), Some(&[]))] {
            assert_eq!(empty.picture, Picture::None);
        }
        for (url, key) in [
            (Some("http://f/1"), None),
            (None, Some(&key[..])),
            (Some("http://f/1"), Some(&key[..16])),
            (Some("http://f/1"), Some(&[7; 64][..])),
        ] {
            assert_eq!(read("", url, key).picture, Picture::Invalid);
        }
        assert_eq!(Profile::read(None, Some(&key)), None);
    }
}
