//! Reads parameters as official nodes do: `null` is absent, unknown keys are ignored, wrong types are
//! refused (network.md 4.1).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use session_protocol::Identifier;
use session_protocol::storage::hash::HASH_LENGTH;
use session_protocol::storage::namespace::Namespace;
use session_protocol::storage::signed::NamespaceSelector;
use session_protocol::subaccount::{TOKEN_LENGTH, Token};

/// Standard alphabet, padding optional.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Smaller values are seconds, or nonsense.
const MIN_MS: u64 = 1_000_000_000;
/// Keeps sums of times within range.
const MAX_MS: u64 = 1 << 62;

/// Why parameters are refused; the text follows `invalid request: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadParam(pub String);

impl BadParam {
    pub(super) fn invalid(name: &str, expected: &str) -> Self {
        Self(format!("Invalid value of '{name}': expected {expected}"))
    }
}

/// Parameters of one request.
pub(super) struct Params<'a>(&'a Map<String, Value>);

impl<'a> Params<'a> {
    pub(super) fn new(map: &'a Map<String, Value>) -> Self {
        Self(map)
    }

    /// The value of `name` unless it is absent or `null`.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, BadParam> {
        self.get(name)
            .map(|value| read(value).ok_or_else(|| BadParam::invalid(name, expected)))
            .transpose()
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, BadParam> {
        self.read(name, "a string", Value::as_str)
    }

    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, BadParam> {
        self.read(name, "a boolean", Value::as_bool)
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, BadParam> {
        self.read(name, "an integer", Value::as_i64)
    }

    /// A number of ms, without the guard against seconds.
    pub(super) fn plain_ms(&self, name: &str) -> Result<Option<u64>, BadParam> {
        self.read(name, "an integer", |value| {
            value.as_u64().filter(|ms| *ms <= MAX_MS)
        })
    }

    /// A number of ms that may also be written as a decimal string.
    pub(super) fn lenient_ms(&self, name: &str) -> Result<Option<u64>, BadParam> {
        self.read(name, "an integer", |value| {
            let number = match value {
                Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                    text.parse().ok()
                }
                value => value.as_u64(),
            };
            number.filter(|ms| *ms <= MAX_MS)
        })
    }

    /// A time in ms.
    pub(super) fn timestamp(&self, name: &str) -> Result<Option<u64>, BadParam> {
        match self.plain_ms(name)? {
            Some(ms) if ms < MIN_MS => Err(BadParam(format!("{name} must be in milliseconds"))),
            other => Ok(other),
        }
    }

    pub(super) fn namespace(&self) -> Result<Option<Namespace>, BadParam> {
        self.read("namespace", "an integer from -32768 to 32767", |value| {
            value
                .as_i64()
                .and_then(|number| i16::try_from(number).ok())
                .map(Namespace)
        })
    }

    /// One namespace, or the word `all`.
    pub(super) fn namespaces(&self) -> Result<NamespaceSelector, BadParam> {
        match self.get("namespace") {
            Some(Value::String(all)) if all == "all" => Ok(NamespaceSelector::All),
            _ => {
                let one = self.namespace()?.unwrap_or(Namespace::DEFAULT);
                Ok(NamespaceSelector::One(one))
            }
        }
    }

    /// Base64 of 64 bytes, with or without padding.
    pub(super) fn signature(&self, name: &str) -> Result<Option<[u8; 64]>, BadParam> {
        self.read(name, "base64 of 64 bytes", |value| {
            let text = value
                .as_str()
                .filter(|text| matches!(text.len(), 86 | 88))?;
            BASE64.decode(text).ok()?.try_into().ok()
        })
    }

    /// A subaccount's token in base64 or hex.
    pub(super) fn token(&self, name: &str) -> Result<Option<Token>, BadParam> {
        self.read(name, TOKEN, |value| token(value.as_str()?))
    }

    /// Tokens in a list, or one.
    pub(super) fn tokens(&self, name: &str) -> Result<Vec<Token>, BadParam> {
        let tokens = required(name, self.texts(name)?)?;
        let tokens: Option<Vec<Token>> = tokens.iter().map(|text| token(text)).collect();
        tokens.ok_or_else(|| BadParam::invalid(name, TOKEN))
    }

    /// Numbers of a version, in a list of exactly `N`.
    pub(super) fn version<const N: usize>(&self, name: &str) -> Result<Option<[u64; N]>, BadParam> {
        self.read(name, "a list of integers", |value| {
            let numbers: Option<Vec<u64>> = value.as_array()?.iter().map(Value::as_u64).collect();
            numbers?.try_into().ok()
        })
    }

    /// The account a request is about; `alias` where `pubKey` is another name for `pubkey`.
    pub(super) fn account(&self, alias: bool) -> Result<Identifier, BadParam> {
        let text = match self.text("pubkey")? {
            None if alias => self.text("pubKey")?,
            other => other,
        };
        required("pubkey", text)?
            .parse()
            .map_err(|_| BadParam::invalid("pubkey", "66 hex digits of an account"))
    }

    /// Strings in a list, or one string.
    fn texts(&self, name: &str) -> Result<Option<Vec<String>>, BadParam> {
        self.read(name, "a list of strings", |value| match value {
            Value::String(one) => Some(vec![one.clone()]),
            Value::Array(many) => many
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect(),
            _ => None,
        })
    }

    /// Times in a list, or one; and whether there was one outside a list.
    pub(super) fn plain_ms_list(&self, name: &str) -> Result<Option<Vec<u64>>, BadParam> {
        let ms = |value: &Value| value.as_u64().filter(|ms| *ms <= MAX_MS);
        self.read(
            name,
            "an integer or a list of integers",
            |value| match value {
                Value::Array(many) => many.iter().map(ms).collect(),
                one => Some(vec![ms(one)?]),
            },
        )
    }

    /// At least one message hash.
    pub(super) fn hashes(&self, name: &str) -> Result<Vec<String>, BadParam> {
        let hashes = required(name, self.texts(name)?)?;
        if hashes.is_empty() || !hashes.iter().all(|hash| is_hash(hash)) {
            return Err(BadParam::invalid(name, "a list of message hashes"));
        }
        Ok(hashes)
    }
}

const TOKEN: &str = "a subaccount token in base64 or hex";

fn token(text: &str) -> Option<Token> {
    let bytes = match text.len() {
        48 => BASE64.decode(text).ok()?,
        72 => hex::decode(text).ok()?,
        _ => return None,
    };
    Some(Token::from_bytes(
        <[u8; TOKEN_LENGTH]>::try_from(bytes).ok()?,
    ))
}

/// Fails for an absent value.
pub(super) fn required<T>(name: &str, value: Option<T>) -> Result<T, BadParam> {
    value.ok_or_else(|| BadParam(format!("Required field '{name}' missing")))
}

/// Whether text has the shape of a message hash.
pub(super) fn is_hash(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    text.len() == HASH_LENGTH && text.bytes().all(digit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_strict_and_null_is_absent() {
        let value = json!({
            "float": 1.0, "text": "1", "null": null, "seconds": 999_999_999, "ms": 1_000_000_000,
            "negative": -1, "wide": 1_u64 << 63, "namespace": 32768,
        });
        let params = Params::new(value.as_object().unwrap());
        assert!(params.integer("float").is_err());
        assert!(params.integer("text").is_err());
        assert_eq!(params.integer("null"), Ok(None));
        assert_eq!(params.integer("absent"), Ok(None));
        assert!(params.plain_ms("negative").is_err());
        assert!(params.plain_ms("wide").is_err());
        assert!(params.plain_ms("text").is_err());
        assert_eq!(params.lenient_ms("text"), Ok(Some(1)));
        assert!(params.lenient_ms("float").is_err());
        assert_eq!(
            params.timestamp("seconds"),
            Err(BadParam("seconds must be in milliseconds".into()))
        );
        assert_eq!(params.timestamp("ms"), Ok(Some(1_000_000_000)));
        assert!(params.namespace().is_err());
    }
}
