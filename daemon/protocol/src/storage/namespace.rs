//! Namespaces: compartments of an account's storage, with rules that follow from the number (network.md 4.4).

use std::fmt;

/// Number of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(pub i16);

impl Namespace {
    /// Messages from others, and copies of the own ones.
    pub const DEFAULT: Self = Self(0);

    /// The number in signed strings and hashes: empty for 0.
    pub fn signed_form(self) -> String {
        if self.0 == 0 {
            String::new()
        } else {
            self.0.to_string()
        }
    }

    /// Anyone may store here.
    pub fn is_public_inbox(self) -> bool {
        self.0 % 10 == 0
    }

    /// Anyone may read here, the owner stores, and there is one message.
    pub fn is_public_outbox(self) -> bool {
        self.0 < 0 && -i32::from(self.0) % 20 == 1
    }

    /// Longest time a message may be stored, in ms.
    pub fn max_ttl_ms(self) -> u64 {
        const DAY: u64 = 86_400_000;
        if self.is_public_inbox() {
            14 * DAY
        } else {
            30 * DAY
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
