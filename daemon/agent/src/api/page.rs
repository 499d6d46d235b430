//! Page sizes and page tokens of List calls.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tonic::Status;

use super::error::invalid;

/// Size of a page when the caller names none.
const DEFAULT: i64 = 50;
/// Largest page.
const MAX: i64 = 200;

/// The size a request means: 0 is 50, more than 200 is 200.
pub fn size(requested: i32) -> Result<i64, Status> {
    match i64::from(requested) {
        0 => Ok(DEFAULT),
        size if size < 0 => Err(invalid(
            "PAGE_SIZE_INVALID",
            "page_size must not be negative",
        )),
        size => Ok(size.min(MAX)),
    }
}

/// Place after which a page goes on, and which list it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Distinguishes lists and orders, so that a token is not used for another.
    pub list: u8,
    /// Two numbers that name a place in it.
    pub place: (i64, i64),
}

impl Token {
    /// Text for the API.
    pub fn encode(self) -> String {
        let mut bytes = [0; 17];
        bytes[0] = self.list;
        bytes[1..9].copy_from_slice(&self.place.0.to_be_bytes());
        bytes[9..].copy_from_slice(&self.place.1.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place a page token of this list names; `None` for the first page.
    pub fn decode(text: &str, list: u8) -> Result<Option<(i64, i64)>, Status> {
        if text.is_empty() {
            return Ok(None);
        }
        let refused = || invalid("PAGE_TOKEN_INVALID", "page_token is not one of this list");
        let bytes: [u8; 17] = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(refused)?;
        let number = |at: usize| {
            bytes[at..]
                .first_chunk::<8>()
                .map_or(0, |bytes| i64::from_be_bytes(*bytes))
        };
        if bytes[0] == list {
            Ok(Some((number(1), number(9))))
        } else {
            Err(refused())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_one_list() {
        let text = Token {
            list: 2,
            place: (-5, 7),
        }
        .encode();
        assert_eq!(Token::decode(&text, 2).unwrap(), Some((-5, 7)));
        assert!(Token::decode(&text, 1).is_err());
        assert!(Token::decode("nonsense", 2).is_err());
        assert_eq!(Token::decode("", 2).unwrap(), None);
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(size(0).unwrap(), 50);
        assert_eq!(size(10_000).unwrap(), 200);
        assert!(size(-1).is_err());
    }
}
