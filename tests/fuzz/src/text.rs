//! Bencode, recovery phrases, and what people write.

use session_protocol::content::attachment::safe_file_name;
use session_protocol::content::mentions;
use session_protocol::content::reaction::is_emoji;
use session_protocol::{AccountId, Identifier, bt, phrase};

/// A bencoded document, by both parsers.
pub fn bencode(data: &[u8]) {
    let strict = bt::parse(data);
    let lenient = bt::parse_lenient(data);
    if let Ok(value) = &strict {
        assert_eq!(value.to_bytes(), data, "only one spelling is read");
        assert_eq!(lenient.as_ref(), Ok(value));
    }
    if let Ok(value) = &lenient {
        let written = value.to_bytes();
        assert_eq!(bt::parse_lenient(&written).as_ref(), Ok(value));
    }
    let _ = bt::read_bytes(data);
}

/// A recovery phrase in either form, as somebody pastes it.
pub fn recovery_phrase(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(seed) = phrase::decode(&text) {
        let again = phrase::decode(&phrase::encode(&seed));
        assert!(again.is_ok_and(|again| again.as_bytes() == seed.as_bytes()));
    }
    if let Ok(seed) = phrase::decode_bip39(&text) {
        let again = phrase::decode_bip39(&phrase::encode_bip39(&seed));
        assert!(again.is_ok_and(|again| again.as_bytes() == seed.as_bytes()));
    }
}

/// Text from others that is looked into: mentions, emoji, file names, identifiers.
pub fn body(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for mention in mentions(text) {
        assert_eq!(text[mention.range].len(), 67);
    }
    if let Some(name) = safe_file_name(text) {
        assert_eq!(safe_file_name(&name), Some(name));
    }
    if is_emoji(text) {
        assert!(!text.is_empty());
    }
    let _ = text.parse::<Identifier>();
    let _ = AccountId::from_input(text);
}
