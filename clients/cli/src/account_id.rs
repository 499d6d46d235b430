//! An account ID as somebody typed or pasted it.

use std::{fmt, str::FromStr};

/// 66 lower-case hex digits that begin with 05. Whether such an account exists is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountId(String);

/// Why a text is no account ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAccountId {
    /// Too short or too long.
    #[error("an account ID has 66 hex digits, this has {0} characters")]
    Length(usize),
    /// Something else than hex digits.
    #[error("an account ID has only the digits 0-9 and a-f")]
    NotHex,
    /// Another kind of ID.
    #[error("an account ID begins with 05, this begins with {0}")]
    Prefix(String),
}

impl AccountId {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccountId {
    type Err = NoAccountId;

    /// Takes upper case and blanks around it as they come from copying.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = text.trim().to_ascii_lowercase();
        if id.chars().count() != 66 {
            return Err(NoAccountId::Length(id.chars().count()));
        }
        if !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NoAccountId::NotHex);
        }
        if !id.starts_with("05") {
            return Err(NoAccountId::Prefix(id.chars().take(2).collect()));
        }
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasted_ids_are_taken_and_others_explained() {
        let id = format!("05{}", "ab".repeat(32));
        let parse = |text: &str| text.parse::<AccountId>();
        assert_eq!(parse(&id).unwrap().as_str(), id);
        assert_eq!(
            parse(&format!("  {}\n", id.to_uppercase()))
                .unwrap()
                .as_str(),
            id
        );
        assert_eq!(parse("05ab"), Err(NoAccountId::Length(4)));
        assert_eq!(parse(&format!("{id}0")), Err(NoAccountId::Length(67)));
        assert_eq!(parse(&id.replace('b', "g")), Err(NoAccountId::NotHex));
        assert_eq!(
            parse(&id.replacen("05", "15", 1)),
            Err(NoAccountId::Prefix("15".into()))
        );
        // 66 characters, but more bytes.
        assert_eq!(parse(&"ä".repeat(66)), Err(NoAccountId::NotHex));
    }
}
