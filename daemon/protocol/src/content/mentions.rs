//! Mentions of people in a body.
//!
//! Facts: messages.md 9.3. A body keeps its mentions in raw form; who shows it puts names in their place.

use std::ops::Range;

use crate::identity::{AccountId, Identifier, Prefix};

/// Digits of an identifier.
const DIGITS: usize = 66;

/// Somebody mentioned in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// Bytes of the body, `@` included.
    pub range: Range<usize>,
    /// Who is meant: `05`, in communities also `15` and `25`.
    pub id: Identifier,
}

/// All mentions, in order: an `@` with 66 hex digits of either case behind it.
pub fn mentions(body: &str) -> impl Iterator<Item = Mention> + '_ {
    body.match_indices('@').filter_map(|(at, _)| {
        let range = at..at + 1 + DIGITS;
        let id: Identifier = body.get(at + 1..range.end)?.parse().ok()?;
        let shown = matches!(
            id.prefix,
            Prefix::Standard | Prefix::Blinded15 | Prefix::Blinded25
        );
        shown.then_some(Mention { range, id })
    })
}

/// Whether the body mentions the account by its own ID. Blinded forms occur in communities only.
pub fn mentions_account(body: &str, account: &AccountId) -> bool {
    mentions(body).any(|mention| mention.id == Identifier::from(*account))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(byte: u8) -> AccountId {
        AccountId::from_x25519([byte; 32])
    }

    #[test]
    fn mentions_are_found_in_either_case_and_in_order() {
        let (one, two) = (id(1), id(0xab));
        let upper = two.to_string().to_uppercase();
        let body = format!(
            "héy @{one}@{upper}, @15{} @03{}",
            "0c".repeat(32),
            "0c".repeat(32)
        );
        let found: Vec<_> = mentions(&body).collect();
        let texts: Vec<_> = found
            .iter()
            .map(|mention| &body[mention.range.clone()])
            .collect();
        let blinded = format!("@15{}", "0c".repeat(32));
        assert_eq!(texts, [format!("@{one}"), format!("@{upper}"), blinded]);
        assert!(mentions_account(&body, &one) && mentions_account(&body, &two));
        assert!(!mentions_account(&body, &id(3)));
    }

    #[test]
    fn digits_behind_an_identifier_do_not_hide_it() {
        assert!(mentions_account(&format!("@{}ff", id(1)), &id(1)));
        assert_eq!(mentions(&format!("@{}", "05".repeat(32))).count(), 0);
        assert_eq!(mentions(&format!("@ {}", id(1))).count(), 0);
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer(body in "(@|05|15|[0-9a-f]{2}|é|\\PC){0,200}") {
            for mention in mentions(&body) {
                prop_assert_eq!(body[mention.range].len(), DIGITS + 1);
            }
        }
    }
}
