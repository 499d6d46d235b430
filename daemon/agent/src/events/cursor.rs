//! A place in an event log, opaque to callers: identity of the log and sequence number, in URL-safe base64.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A place in a log. Events with greater numbers come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Identity of the log.
    pub log_id: [u8; 8],
    /// Number of the last event before this place.
    pub seq: i64,
}

impl Cursor {
    /// Text for the API.
    pub fn encode(self) -> String {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.log_id);
        bytes[8..].copy_from_slice(&self.seq.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Cursor::encode`] wrote; `None` for anything else.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (log_id, seq) = bytes.split_first_chunk::<8>()?;
        let seq = i64::from_be_bytes(*seq.first_chunk::<8>()?);
        (seq >= 0).then_some(Self {
            log_id: *log_id,
            seq,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn comes_back(log_id: [u8; 8], seq in 0..i64::MAX) {
            let cursor = Cursor { log_id, seq };
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }

        #[test]
        fn nonsense_is_refused(text in "\\PC{0,40}") {
            if let Some(cursor) = Cursor::decode(&text) {
                prop_assert_eq!(cursor.encode(), text);
            }
        }
    }
}
