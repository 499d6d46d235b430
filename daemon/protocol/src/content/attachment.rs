//! Pointers to encrypted files: attachments and preview images.
//!
//! Only the pointer is read; nothing here fetches. Types, sizes and names are hints by the sender.
//!
//! Facts: messages.md 4.3, 6.5, 11 (29, 31).

use std::fmt;

use session_wire as wire;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Flag of a voice message.
const FLAG_VOICE: u32 = 1;

/// Bytes kept of a file name.
const MAX_FILE_NAME: usize = 255;

/// Bytes kept of a MIME type.
const MAX_CONTENT_TYPE: usize = 255;

/// Where an encrypted file is and how to open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// File URL with its fragment, not empty.
    pub url: String,
    /// Its key.
    pub key: FileKey,
    /// SHA-256 of the whole ciphertext; goes with a key of 64 bytes.
    pub digest: Option<[u8; 32]>,
    /// MIME type: printable ASCII, at most 255 bytes.
    pub content_type: Option<String>,
    /// Bytes of the plaintext without padding.
    pub size: Option<u32>,
    /// Last component of a path without control and direction characters, at most 255 bytes.
    pub file_name: Option<String>,
    /// A voice message.
    pub voice: bool,
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
    /// Text beside it.
    pub caption: Option<String>,
}

/// Key of an encrypted file; wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct FileKey(Vec<u8>);

impl FileKey {
    /// From 32 bytes (deterministic encryption) or 64 (32 for AES-256-CBC, 32 for HMAC-SHA256).
    pub fn new(bytes: &[u8]) -> Option<Self> {
        matches!(bytes.len(), 32 | 64).then(|| Self(bytes.to_vec()))
    }

    /// The key, 32 or 64 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileKey({} bytes)", self.0.len())
    }
}

impl Attachment {
    /// `None` for a pointer that cannot be used: no URL, or a key or digest of another length.
    pub(super) fn read(pointer: &wire::AttachmentPointer) -> Option<Self> {
        let url = pointer.url.clone().filter(|url| !url.is_empty())?;
        let key = FileKey::new(pointer.key.as_deref()?)?;
        let digest = match pointer.digest.as_deref().unwrap_or_default() {
            [] => None,
            digest => Some(digest.try_into().ok()?),
        };
        Some(Self {
            url,
            key,
            digest,
            content_type: pointer.content_type.clone().filter(|text| is_type(text)),
            size: pointer.size,
            file_name: pointer.file_name.as_deref().and_then(safe_file_name),
            voice: pointer.flags.unwrap_or(0) & FLAG_VOICE != 0,
            width: pointer.width,
            height: pointer.height,
            caption: pointer.caption.clone().filter(|text| !text.is_empty()),
        })
    }

    pub(super) fn write(&self) -> wire::AttachmentPointer {
        wire::AttachmentPointer {
            id: Some(id_of(&self.url)),
            content_type: self.content_type.clone(),
            key: Some(self.key.as_bytes().to_vec()),
            size: self.size,
            digest: self.digest.map(Vec::from),
            file_name: self.file_name.as_deref().and_then(safe_file_name),
            flags: self.voice.then_some(FLAG_VOICE),
            width: self.width,
            height: self.height,
            caption: self.caption.clone(),
            url: Some(self.url.clone()),
        }
    }
}

/// The number at the end of the URL's path, or 0.
fn id_of(url: &str) -> u64 {
    let path = url.split(['#', '?']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    last.parse().unwrap_or(0)
}

fn is_type(text: &str) -> bool {
    (1..=MAX_CONTENT_TYPE).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

/// What may be shown and used as a file name: the last component of a path of either kind, without control
/// characters and those that turn the direction of writing. `None` when no name is left.
pub fn safe_file_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last
        .chars()
        .filter(|c| !c.is_control() && !turns_direction(*c))
        .collect();
    let kept = kept.trim();
    let kept = kept[..kept.floor_char_boundary(MAX_FILE_NAME)].trim_end();
    (!matches!(kept, "" | "." | "..")).then(|| kept.to_owned())
}

fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pointer() -> wire::AttachmentPointer {
        wire::AttachmentPointer {
            id: Some(0),
            key: Some(vec![0; 32]),
            url: Some("http://f/1".into()),
            ..Default::default()
        }
    }

    #[test]
    fn pointers_that_cannot_be_used_are_left_out() {
        let with = |change: fn(&mut wire::AttachmentPointer)| {
            let mut pointer = pointer();
            change(&mut pointer);
            Attachment::read(&pointer).is_some()
        };
        assert!(with(|_| {}));
        assert!(with(|pointer| pointer.key = Some(vec![0; 64])));
        assert!(with(|pointer| pointer.digest = Some(vec![0; 32])));
        assert!(!with(|pointer| pointer.url = None));
        assert!(!with(|pointer| pointer.url = Some(String::new())));
        assert!(!with(|pointer| pointer.key = None));
        assert!(!with(|pointer| pointer.key = Some(vec![0; 33])));
        assert!(!with(|pointer| pointer.digest = Some(vec![0; 31])));
    }

    #[test]
    fn file_names_lead_nowhere() {
        for (name, safe) in [
            ("../../etc/passwd", Some("passwd")),
            ("C:\\Users\\a.exe", Some("a.exe")),
            ("gpj.\u{202e}exe.png", Some("gpj.exe.png")),
            ("a\0b\nc", Some("abc")),
            (" файл.bin ", Some("файл.bin")),
            ("..", None),
            ("a/", None),
            ("\u{200f}", None),
        ] {
            assert_eq!(safe_file_name(name).as_deref(), safe, "{name:?}");
        }
        assert_eq!(
            safe_file_name(&"é".repeat(200)).map(|name| name.len()),
            Some(254)
        );
    }

    #[test]
    fn the_number_comes_from_the_end_of_the_url() {
        assert_eq!(id_of("http://f/file/1002#d="), 1002);
        assert_eq!(id_of("http://f/file/18446744073709551616"), 0);
        assert_eq!(id_of("http://f/file/abc"), 0);
    }

    #[test]
    fn keys_are_not_printed() {
        let key = FileKey::new(&[0xab; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "FileKey(32 bytes)");
    }

    proptest! {
        #[test]
        fn safe_names_stay_as_they_are(name in "(\\PC|[/\\\\.\0\u{202e} ]){0,300}") {
            if let Some(safe) = safe_file_name(&name) {
                prop_assert!(safe.len() <= MAX_FILE_NAME && !safe.contains(['/', '\\']));
                prop_assert_eq!(safe_file_name(&safe), Some(safe));
            }
        }
    }
}
