//! Namespaces: compartments of an account's storage, with rules that follow from the number (network.md 4.4).

use std::fmt;

/// Number of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(pub i16);

impl Namespace {
    /// Messages from others, and copies of the own ones.
    pub const DEFAULT: Self = Self(0);

    /// Account keys of protocol version 2, for anyone to read. Never stored to, nor deleted from.
    pub const ACCOUNT_PUBKEYS: Self = Self(-21);

    /// Linked devices of protocol version 2. Never stored to, nor deleted from.
    pub const DEVICES: Self = Self(21);

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

    /// A member whose subaccount was revoked may still read here.
    pub fn is_unrevocable(self) -> bool {
        self.0 < 0 && -i32::from(self.0) % 100 == 11
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_from_the_number() {
        for inbox in [0, -10, 10, 20] {
            assert!(Namespace(inbox).is_public_inbox());
            assert_eq!(Namespace(inbox).max_ttl_ms(), 1_209_600_000);
        }
        for outbox in [-1, -21, -41] {
            assert!(Namespace(outbox).is_public_outbox());
        }
        for unrevocable in [-11, -111, -211] {
            assert!(Namespace(unrevocable).is_unrevocable());
        }
        for revocable in [11, -1, -21, 0, -110, i16::MIN] {
            assert!(!Namespace(revocable).is_unrevocable());
        }
        for private in [2, 11, 1, 21, -11, -2, i16::MIN + 1] {
            assert!(!Namespace(private).is_public_inbox());
            assert!(!Namespace(private).is_public_outbox(), "{private}");
            assert_eq!(Namespace(private).max_ttl_ms(), 2_592_000_000);
        }
    }

    #[test]
    fn the_default_namespace_is_not_named_in_signed_strings() {
        assert_eq!(Namespace::DEFAULT.signed_form(), "");
        assert_eq!(Namespace(-11).signed_form(), "-11");
    }
}
