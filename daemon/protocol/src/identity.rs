//! Accounts: from a seed to keys and the account ID, and the identifiers others are known by.
//!
//! Facts: messages.md 1.1 (derivation), 1.2 (prefixes), 1.3 (back to an Ed25519 key).

use std::{fmt, str::FromStr};

use curve25519_dalek::{MontgomeryPoint, scalar::clamp_integer};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The 16 random bytes that are an account. Everything else derives from them (messages.md 1.1).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct AccountSeed([u8; 16]);

impl AccountSeed {
    /// Draws a new seed.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut seed = Self([0; 16]);
        rng.fill_bytes(&mut seed.0);
        seed
    }

    /// A seed from its bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The Ed25519 seed: the 16 bytes and 16 zero bytes.
    pub fn ed25519_seed(&self) -> Zeroizing<[u8; 32]> {
        let mut seed = Zeroizing::new([0; 32]);
        seed[..16].copy_from_slice(&self.0);
        seed
    }
}

/// The key pairs of an account. Both are wiped on drop.
pub struct AccountKeys {
    signing: SigningKey,
    x25519: StaticSecret,
    account_id: AccountId,
}

impl AccountKeys {
    /// Keys of an ordinary account.
    pub fn from_seed(seed: &AccountSeed) -> Self {
        Self::from_ed25519_seed(&seed.ed25519_seed())
    }

    /// Keys from a full 32-byte Ed25519 seed: service nodes, groups, and accounts that very old clients
    /// could make. Restoring such an account from a phrase is refused elsewhere.
    pub fn from_ed25519_seed(seed: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(seed);
        let mut scalar = Zeroizing::new(signing.to_scalar_bytes());
        *scalar = clamp_integer(*scalar);
        let x25519 = StaticSecret::from(*scalar);
        let public = signing.verifying_key().to_montgomery().to_bytes();
        Self {
            signing,
            x25519,
            account_id: AccountId(public),
        }
    }

    /// The account ID.
    pub fn account_id(&self) -> AccountId {
        self.account_id
    }

    /// Ed25519 public key.
    pub fn ed25519_public(&self) -> [u8; 32] {
        self.signing.verifying_key().to_bytes()
    }

    /// X25519 public key: the bytes after the prefix of the account ID.
    pub fn x25519_public(&self) -> [u8; 32] {
        self.account_id.0
    }

    /// X25519 secret key.
    pub fn x25519_secret(&self) -> &StaticSecret {
        &self.x25519
    }

    /// Ed25519 seed, for derivations that hash it.
    pub(crate) fn ed25519_seed(&self) -> &[u8; 32] {
        self.signing.as_bytes()
    }

    /// Ed25519 signature of `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }
}

/// Checks an Ed25519 signature as strictly as the library allows: canonical, and no weak keys.
pub fn verify_ed25519(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(public)
        .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
        .is_ok()
}

/// The X25519 key that belongs to an Ed25519 key (libsodium's `crypto_sign_ed25519_pk_to_curve25519`).
/// `None` for bytes that are no point, and for points of small order.
pub fn ed25519_to_x25519(public: &[u8; 32]) -> Option<[u8; 32]> {
    x25519_of(&VerifyingKey::from_bytes(public).ok()?)
}

/// As [`ed25519_to_x25519`] for a key that is a point.
pub(crate) fn x25519_of(key: &VerifyingKey) -> Option<[u8; 32]> {
    if key.is_weak() || !key.to_edwards().is_torsion_free() {
        return None;
    }
    Some(key.to_montgomery().to_bytes())
}

/// The Ed25519 key with a clear sign bit that belongs to an X25519 key (messages.md 1.3). The account's real
/// key is this one or the same with bit 0x80 of the last byte set.
pub fn x25519_to_ed25519_positive(public: &[u8; 32]) -> Option<[u8; 32]> {
    MontgomeryPoint(*public)
        .to_edwards(0)
        .map(|point| point.compress().to_bytes())
}

/// What kind of key an identifier holds (messages.md 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Prefix {
    /// `05`: an account; X25519.
    Standard,
    /// `03`: a group; Ed25519.
    Group,
    /// `15`: a sender in a community, older blinding; Ed25519.
    Blinded15,
    /// `25`: a sender in a community, newer blinding; Ed25519.
    Blinded25,
    /// `00`: a sender in a community without blinding; Ed25519.
    Unblinded,
    /// `07`: request authentication of the file server's version endpoint; Ed25519.
    VersionBlinded,
}

impl Prefix {
    /// The byte in front of the key.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Standard => 0x05,
            Self::Group => 0x03,
            Self::Blinded15 => 0x15,
            Self::Blinded25 => 0x25,
            Self::Unblinded => 0x00,
            Self::VersionBlinded => 0x07,
        }
    }

    /// The prefix with this byte.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x05 => Self::Standard,
            0x03 => Self::Group,
            0x15 => Self::Blinded15,
            0x25 => Self::Blinded25,
            0x00 => Self::Unblinded,
            0x07 => Self::VersionBlinded,
            _ => return None,
        })
    }
}

/// Why text is no identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Not 66 characters.
    #[error("must have 66 characters, has {0}")]
    Length(usize),
    /// Something other than hex digits.
    #[error("must consist of the digits 0-9 and a-f")]
    NotHex,
    /// A prefix nobody uses, or not the one that is needed here.
    #[error("starts with {0:02x}, which is not the prefix needed here")]
    Prefix(u8),
    /// A key with which no secret can be shared.
    #[error("holds a key that cannot be used")]
    WeakKey,
}

/// Prefix and key of anything that has an address: 66 hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identifier {
    /// What kind of key it is.
    pub prefix: Prefix,
    /// The key.
    pub key: [u8; 32],
}

impl Identifier {
    /// Prefix byte and key.
    pub fn to_bytes(self) -> [u8; 33] {
        let mut bytes = [0; 33];
        bytes[0] = self.prefix.byte();
        bytes[1..].copy_from_slice(&self.key);
        bytes
    }

    /// From prefix byte and key.
    pub fn from_bytes(bytes: &[u8; 33]) -> Result<Self, IdentifierError> {
        let prefix = Prefix::from_byte(bytes[0]).ok_or(IdentifierError::Prefix(bytes[0]))?;
        let mut key = [0; 32];
        key.copy_from_slice(&bytes[1..]);
        Ok(Self { prefix, key })
    }
}

impl FromStr for Identifier {
    type Err = IdentifierError;

    /// Exactly 66 hex digits of either case.
    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        let length = text.chars().count();
        if length != 66 {
            return Err(IdentifierError::Length(length));
        }
        let mut bytes = [0; 33];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| IdentifierError::NotHex)?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.to_bytes()))
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The ID of an account: `05` and an X25519 key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId([u8; 32]);

impl AccountId {
    /// From the X25519 key alone.
    pub fn from_x25519(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Reads what a person typed: trimmed, any case, `05`, and a key with which a secret can be shared.
    pub fn from_input(text: &str) -> Result<Self, IdentifierError> {
        let id: Self = text.trim().parse()?;
        // Any scalar does: a point of small order sends every clamped one to zero.
        let probe = MontgomeryPoint(id.0).mul_clamped([0x5a; 32]);
        if probe.to_bytes() == [0; 32] {
            Err(IdentifierError::WeakKey)
        } else {
            Ok(id)
        }
    }

    /// The X25519 key after the prefix.
    pub fn x25519(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<AccountId> for Identifier {
    fn from(id: AccountId) -> Self {
        Self {
            prefix: Prefix::Standard,
            key: id.0,
        }
    }
}

impl FromStr for AccountId {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        let id: Identifier = text.parse()?;
        match id.prefix {
            Prefix::Standard => Ok(Self(id.key)),
            other => Err(IdentifierError::Prefix(other.byte())),
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Identifier::from(*self), f)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        let mut bytes = [0; N];
        hex::decode_to_slice(text, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn accounts_agree_with_messages_12_1() {
        for (seed, ed25519, account_id) in [
            (
                "00000000000000000000000000000000",
                "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29",
                "055bf55c73b82ebe22be80f3430667af570fae2556a6415e6b30d4065300aa947d",
            ),
            (
                "ffffffffffffffffffffffffffffffff",
                "50a8a21fb13d4d2e03037e393e5c60ddb9f92d97b55c8aa77e95a0624215d7a1",
                "05fbc4b8c9a80643a287c8d7747dd95ae5475acd97ecd5398ea0bfa85393d70e21",
            ),
            (
                "00112233445566778899aabbccddeeff",
                "5ea34e72bb044654a6a23675690ef5ffaaf1656b02f93fb76655f9cbdbe89876",
                "05aa654f00fc39fc69fd0db829410ca38177d7732a8d2f0934ab3872ac56d5aa74",
            ),
        ] {
            let keys = AccountKeys::from_seed(&AccountSeed::from_bytes(bytes(seed)));
            assert_eq!(hex::encode(keys.ed25519_public()), ed25519);
            assert_eq!(keys.account_id().to_string(), account_id);
            assert_eq!(
                ed25519_to_x25519(&keys.ed25519_public()),
                Some(keys.x25519_public())
            );
            let positive = x25519_to_ed25519_positive(&keys.x25519_public()).unwrap();
            let mut cleared = keys.ed25519_public();
            cleared[31] &= 0x7f;
            assert_eq!(positive, cleared);
        }
    }

    /// As libsodium's conversion: no points of small order, none off the prime-order group, no non-points.
    #[test]
    fn keys_that_are_no_accounts_are_not_converted() {
        let order_4 = [0; 32];
        let mut order_1 = [0; 32];
        order_1[0] = 1;
        let order_2 = bytes("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
        let mut no_point = [0; 32];
        no_point[0] = 2;
        for key in [order_4, order_1, order_2, no_point] {
            assert_eq!(ed25519_to_x25519(&key), None);
        }
        // An honest key plus the point of order 2.
        let honest = AccountKeys::from_ed25519_seed(&[1; 32]).ed25519_public();
        let decompress = |key| curve25519_dalek::edwards::CompressedEdwardsY(key).decompress();
        let mixed = decompress(honest).unwrap() + decompress(order_2).unwrap();
        assert_eq!(ed25519_to_x25519(&mixed.compress().to_bytes()), None);
    }

    #[test]
    fn typed_account_ids_are_tolerated_and_checked() {
        let id = AccountKeys::from_ed25519_seed(&[1; 32]).account_id();
        let typed = format!(" {}\n", id.to_string().to_uppercase());
        assert_eq!(AccountId::from_input(&typed), Ok(id));
        for (text, error) in [
            (String::new(), IdentifierError::Length(0)),
            ("05".repeat(32), IdentifierError::Length(64)),
            ("0g".repeat(33), IdentifierError::NotHex),
            ("ä".repeat(66), IdentifierError::NotHex),
            ("03".repeat(33), IdentifierError::Prefix(3)),
            ("ff".repeat(33), IdentifierError::Prefix(0xff)),
            (format!("05{}", "00".repeat(32)), IdentifierError::WeakKey),
            (format!("0501{}", "00".repeat(31)), IdentifierError::WeakKey),
        ] {
            assert_eq!(AccountId::from_input(&text), Err(error), "{text}");
        }
    }

    #[test]
    fn seeds_are_drawn_whole() {
        let mut rng = crate::test_rng::Counting::default();
        let seed = AccountSeed::generate(&mut rng);
        assert_eq!(
            seed.as_bytes(),
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
        );
    }

    proptest! {
        #[test]
        fn identifiers_survive_text_and_bytes(prefix in prop::sample::select(vec![0x05, 0x03, 0x15, 0x25, 0x00, 0x07]), key: [u8; 32]) {
            let id = Identifier { prefix: Prefix::from_byte(prefix).unwrap(), key };
            prop_assert_eq!(id.to_string().parse::<Identifier>(), Ok(id));
            prop_assert_eq!(id.to_string().to_uppercase().parse::<Identifier>(), Ok(id));
            prop_assert_eq!(Identifier::from_bytes(&id.to_bytes()), Ok(id));
            prop_assert_eq!(id.prefix.byte(), prefix);
        }

        #[test]
        fn any_text_gets_an_answer(text in "\\PC{0,80}|[0-9a-fA-F]{60,70}") {
            if let Ok(id) = text.parse::<Identifier>() {
                prop_assert_eq!(id.to_string(), text.to_lowercase());
            }
            let _ = AccountId::from_input(&text);
        }

        #[test]
        fn any_key_gets_an_answer(key: [u8; 32], signature: [u8; 32]) {
            let _ = ed25519_to_x25519(&key);
            let _ = x25519_to_ed25519_positive(&key);
            let signature: [u8; 64] = [signature, key].concat().try_into().unwrap();
            prop_assert!(!verify_ed25519(&key, b"message", &signature));
        }

        #[test]
        fn signatures_verify_and_are_bound_to_all_they_sign(seed: [u8; 32], message: Vec<u8>, at: prop::sample::Index, bit in 0..8) {
            let keys = AccountKeys::from_ed25519_seed(&seed);
            let mut signature = keys.sign(&message);
            prop_assert!(verify_ed25519(&keys.ed25519_public(), &message, &signature));
            signature[at.index(64)] ^= 1_u8 << bit;
            prop_assert!(!verify_ed25519(&keys.ed25519_public(), &message, &signature));
        }
    }
}
