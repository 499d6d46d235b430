//! Subaccounts: how members of a group use its storage without its key.
//!
//! An admin makes [`AuthData`] for each member: a factor and the admin's signature of the [`Token`] that names the
//! member's key times that factor. Service nodes check both signatures and the token's [`Permissions`]; an admin
//! takes a token back by revoking it. The token does not tell who the member is.
//!
//! Facts: groups.md 1.2 and 16, network.md 4.2; `tests/vectors/group_auth.json`.

use curve25519_dalek::Scalar;
use curve25519_dalek::edwards::CompressedEdwardsY;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::blake2b::{keyed32, keyed64};
use crate::blinding::{secret_scalar, sign_with_scalar};
use crate::identity::{
    AccountId, AccountKeys, Identifier, Prefix, verify_ed25519, x25519_to_ed25519_positive,
};

/// Bytes of a token.
pub const TOKEN_LENGTH: usize = 36;
/// Bytes of auth data.
pub const AUTH_DATA_LENGTH: usize = 100;

/// What a token allows: bits of its second byte (network.md 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions(pub u8);

impl Permissions {
    /// `retrieve`, `get_expiries`.
    pub const READ: Self = Self(0x01);
    /// `store`, and `expire` to a later time.
    pub const WRITE: Self = Self(0x02);
    /// Deletions, and `expire` to an earlier time.
    pub const DELETE: Self = Self(0x04);
    /// The token is good for accounts of any prefix.
    pub const ANY_PREFIX: Self = Self(0x08);
    /// What ordinary members of a group get.
    pub const MEMBER: Self = Self(0x03);

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether everything in `other` is allowed.
    pub const fn allows(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Names a subaccount: prefix, permissions, two zero bytes, Ed25519 key. Public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token([u8; TOKEN_LENGTH]);

impl Token {
    /// As sent or received. Any bytes make a token; whether it is good for something its checks tell.
    pub fn from_bytes(bytes: [u8; TOKEN_LENGTH]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; TOKEN_LENGTH] {
        &self.0
    }

    /// What it allows.
    pub fn permissions(&self) -> Permissions {
        Permissions(self.0[1])
    }

    /// Key that verifies the signatures of requests made with it.
    pub fn key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(&self.0[4..]);
        key
    }

    /// Whether it is good for accounts with the prefix byte `prefix`.
    pub fn fits_prefix(&self, prefix: u8) -> bool {
        self.0[0] == prefix || self.permissions().allows(Permissions::ANY_PREFIX)
    }

    /// Whether it may be used for `needed` on `owner`'s storage, going by its bytes and the owner's signature of it.
    /// `owner_key` is the owner's Ed25519 key.
    pub fn is_granted(
        &self,
        owner: &Identifier,
        owner_key: &[u8; 32],
        owner_signature: &[u8; 64],
        needed: Permissions,
    ) -> bool {
        self.fits_prefix(owner.prefix.byte())
            && self.permissions().allows(needed)
            && verify_ed25519(owner_key, &self.0, owner_signature)
    }
}

/// Bytes that are no auth data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("auth data has {AUTH_DATA_LENGTH} bytes, not {0}")]
pub struct AuthDataLength(pub usize);

/// What an admin gives to a member: the first four bytes of the token, the factor, the admin's signature.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct AuthData([u8; AUTH_DATA_LENGTH]);

/// What goes with a member's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Whose request.
    pub token: Token,
    /// The admin's signature of the token.
    pub token_signature: [u8; 64],
    /// Signature of the request, which verifies under the token's key.
    pub signature: [u8; 64],
}

impl AuthData {
    /// As received.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, AuthDataLength> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| AuthDataLength(bytes.len()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; AUTH_DATA_LENGTH] {
        &self.0
    }

    /// Made by an admin: `group` are the keys of the group. `None` when `member` is not the key of an account.
    pub fn make(group: &AccountKeys, member: &AccountId, permissions: Permissions) -> Option<Self> {
        let token = Token::make(group, member, permissions)?;
        let mut bytes = [0; AUTH_DATA_LENGTH];
        bytes[..4].copy_from_slice(&token.0[..4]);
        bytes[4..36].copy_from_slice(factor(group, member)?.as_bytes());
        bytes[36..].copy_from_slice(&group.sign(&token.0));
        Some(Self(bytes))
    }

    /// Whether a member may rely on it: it is for this member and this group, and it allows reading and `needed`.
    pub fn is_valid(&self, group: &[u8; 32], member: &AccountKeys, needed: Permissions) -> bool {
        let owner = Identifier {
            prefix: Prefix::Group,
            key: *group,
        };
        self.key_pair(member).is_some_and(|(token, _)| {
            let needed = needed.with(Permissions::READ);
            token.is_granted(&owner, group, &self.token_signature(), needed)
        })
    }

    /// The token of the member it was made for. `None` where its factor is no scalar.
    pub fn token(&self, member: &AccountKeys) -> Option<Token> {
        self.key_pair(member).map(|(token, _)| token)
    }

    /// Proves a request: `message` is the string that the owner would sign. `None` where the factor is no scalar.
    pub fn prove(&self, member: &AccountKeys, message: &[u8]) -> Option<Proof> {
        let (token, scalar) = self.key_pair(member)?;
        let seed = Zeroizing::new(keyed32(b"SubaccountSeed", &[member.ed25519_seed()])?);
        let draw = keyed64(b"SubaccountSig", &[&*seed, &token.key(), message])?;
        Some(Proof {
            token,
            token_signature: self.token_signature(),
            signature: sign_with_scalar(&scalar, &token.key(), &Zeroizing::new(draw), message),
        })
    }

    fn token_signature(&self) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(&self.0[36..]);
        signature
    }

    /// The member's keys times the factor.
    fn key_pair(&self, member: &AccountKeys) -> Option<(Token, Zeroizing<Scalar>)> {
        let mut factor = [0; 32];
        factor.copy_from_slice(&self.0[4..36]);
        let factor: Scalar = Option::from(Scalar::from_canonical_bytes(factor))?;
        // The admin knows the member's X25519 key only, so both use the Ed25519 key with a clear sign bit.
        let mut own = secret_scalar(member);
        if member.ed25519_public()[31] & 0x80 != 0 {
            *own = -*own;
        }
        let token = token(
            Permissions(self.0[1]),
            self.0[0],
            &factor,
            &member.account_id(),
        )?;
        Some((token, Zeroizing::new(factor * *own)))
    }
}

impl Token {
    /// The token of `member` with these permissions, as an admin knows it, for instance to revoke it. `None` when
    /// `member` is not the key of an account.
    pub fn make(group: &AccountKeys, member: &AccountId, permissions: Permissions) -> Option<Self> {
        let prefix = Prefix::Group.byte();
        token(permissions, prefix, &factor(group, member)?, member)
    }
}

fn token(
    permissions: Permissions,
    prefix: u8,
    factor: &Scalar,
    member: &AccountId,
) -> Option<Token> {
    let key = x25519_to_ed25519_positive(member.x25519())?;
    let key = (factor * CompressedEdwardsY(key).decompress()?).compress();
    let mut bytes = [0; TOKEN_LENGTH];
    bytes[0] = prefix;
    bytes[1] = permissions.0;
    bytes[4..].copy_from_slice(key.as_bytes());
    Some(Token(bytes))
}

/// By what the member's key is multiplied. `None` never happens: the hash keys have an allowed length.
fn factor(group: &AccountKeys, member: &AccountId) -> Option<Scalar> {
    let seed = group.ed25519_seed();
    let mask = Zeroizing::new(keyed32(b"SessionGroupSubaccountMask", &[seed])?);
    let member = Identifier::from(*member).to_bytes();
    let prefix = [Prefix::Group.byte()];
    let wide = keyed64(&*mask, &[&member, &prefix, &group.ed25519_public()])?;
    Some(Scalar::from_bytes_mod_order_wide(&wide))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(byte: u8) -> AccountKeys {
        let mut seed = [0; 32];
        seed[0] = byte;
        AccountKeys::from_ed25519_seed(&seed)
    }

    #[test]
    fn a_token_is_bound_to_member_group_and_permissions() {
        let (group, member, other) = (keys(1), keys(10), keys(11));
        let id = group.ed25519_public();
        let auth = AuthData::make(&group, &member.account_id(), Permissions::MEMBER).unwrap();
        assert!(auth.is_valid(&id, &member, Permissions::WRITE));
        assert!(!auth.is_valid(&id, &member, Permissions::DELETE));
        assert!(!auth.is_valid(&id, &other, Permissions::READ));
        assert!(!auth.is_valid(&keys(2).ed25519_public(), &member, Permissions::READ));
        // Nobody can add a permission.
        let mut bytes = *auth.as_bytes();
        bytes[1] = 0x07;
        let forged = AuthData::from_slice(&bytes).unwrap();
        assert!(!forged.is_valid(&id, &member, Permissions::DELETE));
    }

    #[test]
    fn proofs_verify_under_the_tokens_key_whatever_the_sign_of_the_members() {
        let group = keys(1);
        let mut signs = [false; 2];
        for byte in 2..20 {
            let member = keys(byte);
            signs[usize::from(member.ed25519_public()[31] >> 7)] = true;
            let auth = AuthData::make(&group, &member.account_id(), Permissions::MEMBER).unwrap();
            let proof = auth.prove(&member, b"retrieve111").unwrap();
            assert_eq!(auth.token(&member), Some(proof.token));
            assert!(verify_ed25519(
                &proof.token.key(),
                b"retrieve111",
                &proof.signature
            ));
            assert!(!verify_ed25519(
                &proof.token.key(),
                b"retrieve112",
                &proof.signature
            ));
        }
        assert_eq!(signs, [true; 2]);
    }

    #[test]
    fn a_factor_that_is_no_scalar_is_refused() {
        let bytes = [0xff; AUTH_DATA_LENGTH];
        let auth = AuthData::from_slice(&bytes).unwrap();
        assert!(auth.token(&keys(3)).is_none() && auth.prove(&keys(3), b"x").is_none());
        assert!(!auth.is_valid(&keys(1).ed25519_public(), &keys(3), Permissions::READ));
        for length in [0, 99, 101] {
            let error = AuthData::from_slice(&vec![0; length]).err();
            assert_eq!(error, Some(AuthDataLength(length)));
        }
    }

    #[test]
    fn any_prefix_lifts_the_bond_to_groups() {
        let member = Token([3; TOKEN_LENGTH]);
        assert!(member.fits_prefix(3) && !member.fits_prefix(5));
        let mut bytes = [3; TOKEN_LENGTH];
        bytes[1] = Permissions::MEMBER.with(Permissions::ANY_PREFIX).0;
        assert!(Token(bytes).fits_prefix(5));
    }

    proptest! {
        #[test]
        fn any_auth_data_gets_an_answer(bytes in prop::collection::vec(any::<u8>(), 98..103)) {
            let (group, member) = (keys(1), keys(2));
            match AuthData::from_slice(&bytes) {
                Ok(data) => {
                    prop_assert!(!data.is_valid(&group.ed25519_public(), &member, Permissions(0)));
                    let _ = data.token(&member);
                    let _ = data.prove(&member, b"message");
                }
                Err(error) => prop_assert_eq!(error, AuthDataLength(bytes.len())),
            }
        }
    }
}
