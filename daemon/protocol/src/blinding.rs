//! Blinded identities: the pseudonyms under which an account appears on a community server, and the one with which
//! it may ask the file server for the newest version.
//!
//! Facts: messages.md 1.4, communities.md 3 (blinding and signatures), files.md (version check).

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::{EdwardsPoint, Scalar};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha512};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::blake2b::{hash32, hash64, keyed32, keyed64};
use crate::identity::{AccountId, AccountKeys, Identifier, Prefix, x25519_to_ed25519_positive};

/// Which blinding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blinding {
    /// `15`: one factor for a server; the one in use.
    V15,
    /// `25`: a factor for each account; defined, not deployed.
    V25,
}

impl Blinding {
    /// Prefix of its identifiers.
    pub const fn prefix(self) -> Prefix {
        match self {
            Self::V15 => Prefix::Blinded15,
            Self::V25 => Prefix::Blinded25,
        }
    }
}

/// An account's keys under one blinding on one server. Wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct BlindedKeys {
    #[zeroize(skip)]
    blinding: Blinding,
    scalar: Scalar,
    /// What signature nonces are drawn from, beside the message.
    nonce_key: [u8; 32],
    #[zeroize(skip)]
    public: [u8; 32],
}

impl BlindedKeys {
    /// Derives the keys for the server with X25519 key `server`.
    pub fn new(blinding: Blinding, account: &AccountKeys, server: &[u8; 32]) -> Self {
        let factor = signed_factor(
            blinding,
            &account.account_id(),
            &account.ed25519_public(),
            server,
        );
        let scalar = factor * *secret_scalar(account);
        Self {
            blinding,
            scalar,
            nonce_key: nonce_key(blinding, account),
            public: EdwardsPoint::mul_base(&scalar).compress().to_bytes(),
        }
    }

    /// The identifier: prefix and public key.
    pub fn id(&self) -> Identifier {
        Identifier {
            prefix: self.blinding.prefix(),
            key: self.public,
        }
    }

    /// Secret scalar in canonical bytes: the factor times the account's.
    pub fn secret_scalar_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.scalar.to_bytes())
    }

    pub(crate) fn scalar(&self) -> &Scalar {
        &self.scalar
    }

    /// Signature of `message` that verifies as ordinary Ed25519 under the blinded public key.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let draw = match self.blinding {
            Blinding::V15 => sha512(&[&self.nonce_key, &self.public, message]),
            // The hash key has an allowed length. Were it refused, the other hash would be as good a nonce.
            Blinding::V25 => keyed64(
                b"SessCommBlind25_sig",
                &[&self.nonce_key, &self.public, message],
            )
            .unwrap_or_else(|| hash64(&[&self.nonce_key, &self.public, message])),
        };
        sign_with_scalar(&self.scalar, &self.public, &Zeroizing::new(draw), message)
    }
}

/// The factor of 15-blinding on a server.
pub fn factor15(server: &[u8; 32]) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&hash64(&[server]))
}

/// The factor of 25-blinding of an account on a server, before its sign is adapted.
pub fn factor25(account: &AccountId, server: &[u8; 32]) -> Scalar {
    let id = Identifier::from(*account).to_bytes();
    Scalar::from_bytes_mod_order_wide(&hash64(&[&id, server]))
}

/// The factor by which this account's own key is multiplied. `ed25519` is the account's Ed25519 key.
pub fn signed_factor(
    blinding: Blinding,
    account: &AccountId,
    ed25519: &[u8; 32],
    server: &[u8; 32],
) -> Scalar {
    match blinding {
        Blinding::V15 => factor15(server),
        Blinding::V25 if ed25519[31] & 0x80 != 0 => -factor25(account, server),
        Blinding::V25 => factor25(account, server),
    }
}

/// The identifier of the account with Ed25519 key `ed25519`. `None` when that is not the key of an account.
pub fn blind_ed25519(
    blinding: Blinding,
    ed25519: &[u8; 32],
    server: &[u8; 32],
) -> Option<Identifier> {
    let account = AccountId::from_x25519(crate::identity::ed25519_to_x25519(ed25519)?);
    let point = CompressedEdwardsY(*ed25519).decompress()?;
    let blinded = signed_factor(blinding, &account, ed25519, server) * point;
    Some(Identifier {
        prefix: blinding.prefix(),
        key: blinded.compress().to_bytes(),
    })
}

/// The identifiers that an account can have on a server: two for 15-blinding, because the account ID does not tell
/// the sign of its key, and one for 25-blinding. Empty when the ID is not the key of an account.
pub fn candidates(blinding: Blinding, account: &AccountId, server: &[u8; 32]) -> Vec<Identifier> {
    let Some(point) = x25519_to_ed25519_positive(account.x25519())
        .and_then(|key| CompressedEdwardsY(key).decompress())
    else {
        return Vec::new();
    };
    let identifier = |key| Identifier {
        prefix: blinding.prefix(),
        key,
    };
    match blinding {
        Blinding::V15 => {
            let first = (factor15(server) * point).compress().to_bytes();
            let mut second = first;
            second[31] ^= 0x80;
            vec![identifier(first), identifier(second)]
        }
        Blinding::V25 => {
            let key = (factor25(account, server) * point).compress().to_bytes();
            vec![identifier(key)]
        }
    }
}

/// Whether `blinded` is what `account` is called on the server.
pub fn matches(account: &AccountId, blinded: &Identifier, server: &[u8; 32]) -> bool {
    let blinding = match blinded.prefix {
        Prefix::Blinded15 => Blinding::V15,
        Prefix::Blinded25 => Blinding::V25,
        _ => return false,
    };
    candidates(blinding, account, server).contains(blinded)
}

/// Keys with which version checks are authenticated without telling the account.
pub struct VersionCheckKeys(SigningKey);

impl VersionCheckKeys {
    /// Derives them. `None` never happens: the hash key has an allowed length.
    pub fn new(account: &AccountKeys) -> Option<Self> {
        let seed = keyed32(b"VersionCheckKey_sig", &[account.ed25519_seed()])?;
        Some(Self(SigningKey::from_bytes(&Zeroizing::new(seed))))
    }

    /// The identifier with prefix `07`.
    pub fn id(&self) -> Identifier {
        Identifier {
            prefix: Prefix::VersionBlinded,
            key: self.0.verifying_key().to_bytes(),
        }
    }

    /// Signs a request. `timestamp` is in seconds; `path` includes the query.
    pub fn sign(&self, timestamp: u64, method: &str, path: &str, body: &[u8]) -> [u8; 64] {
        let mut message = format!("{timestamp}{method}{path}").into_bytes();
        message.extend_from_slice(body);
        self.0.sign(&message).to_bytes()
    }
}

/// A signature that verifies as ordinary Ed25519 under `public`, which belongs to `scalar`. `draw` has to be secret
/// and another one for each message.
pub(crate) fn sign_with_scalar(
    scalar: &Scalar,
    public: &[u8; 32],
    draw: &[u8; 64],
    message: &[u8],
) -> [u8; 64] {
    let nonce = Zeroizing::new(Scalar::from_bytes_mod_order_wide(draw));
    let r = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
    let hash = Scalar::from_bytes_mod_order_wide(&sha512(&[&r, public, message]));
    let s = *nonce + hash * scalar;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(&s.to_bytes());
    signature
}

/// The account's Ed25519 scalar, reduced.
pub(crate) fn secret_scalar(account: &AccountKeys) -> Zeroizing<Scalar> {
    let bytes = Zeroizing::new(account.x25519_secret().to_bytes());
    Zeroizing::new(Scalar::from_bytes_mod_order(*bytes))
}

fn nonce_key(blinding: Blinding, account: &AccountKeys) -> [u8; 32] {
    let seed = account.ed25519_seed();
    match blinding {
        // The 64-byte secret key, as libsession does; desktop hashes the seed, which verifiers cannot tell.
        Blinding::V15 => {
            let hash = Zeroizing::new(sha512(&[seed, &account.ed25519_public()]));
            let mut key = [0; 32];
            key.copy_from_slice(&hash[32..]);
            key
        }
        // As in `sign`: the hash key has an allowed length, and the other hash would be as good.
        Blinding::V25 => {
            keyed32(b"SessCommBlind25_seed", &[seed]).unwrap_or_else(|| hash32(&[seed]))
        }
    }
}

fn sha512(parts: &[&[u8]]) -> [u8; 64] {
    let mut state = Sha512::new();
    parts.iter().for_each(|part| state.update(part));
    state.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::verify_ed25519;

    fn bytes(text: &str) -> [u8; 32] {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).unwrap();
        bytes
    }

    const SERVER: &str = "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789";
    const ACCOUNTS: [&str; 2] = [
        "fecd9a6034bc9aba273925dee7062b123334587c3c6257341afae2d7fe85e122",
        "8659efdcbe0949e0f81141e6d397e8be75f45d09262f209d5950e97989eb43c7",
    ];

    #[test]
    fn agrees_with_communities_3_4() {
        let server = bytes(SERVER);
        let [first, second] = ACCOUNTS.map(|seed| AccountKeys::from_ed25519_seed(&bytes(seed)));
        let blinded = BlindedKeys::new(Blinding::V15, &first, &server);
        let id15 = "15b74ed205f1f931e1bb1291183778a9456b835937d923b0f2e248aa3a44c07844";
        assert_eq!(blinded.id().to_string(), id15);
        assert_eq!(
            hex::encode(blinded.sign(b"hello")),
            "1a5ade20b43af0e16b3e591d6f86303938d7557c0ac54469dd4f5aea759f82d22cafa42587251756e133acdddd8cbec2f707a9ce09a49f2193f46a91502c5006"
        );
        let both: Vec<String> = candidates(Blinding::V15, &second.account_id(), &server)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            both,
            [
                "1561e070286ff7a71f167e92b18c709882b148d8238c8872caf414b301ba0564fd",
                "1561e070286ff7a71f167e92b18c709882b148d8238c8872caf414b301ba05647d",
            ]
        );
        let id = BlindedKeys::new(Blinding::V15, &second, &server).id();
        assert_eq!(id.to_string(), both[1]);
        let version = VersionCheckKeys::new(&first).unwrap().id();
        assert_eq!(
            hex::encode(version.key),
            "88e8adb27e7b8ce776fcc25bc1501fb2888fcac0308e52fb10044f789ae1a8fa"
        );
    }

    #[test]
    fn signatures_verify_under_the_blinded_key_alone() {
        let server = bytes(SERVER);
        for seed in ACCOUNTS {
            let account = AccountKeys::from_ed25519_seed(&bytes(seed));
            for blinding in [Blinding::V15, Blinding::V25] {
                let keys = BlindedKeys::new(blinding, &account, &server);
                let signature = keys.sign(b"message");
                assert!(verify_ed25519(&keys.id().key, b"message", &signature));
                assert!(!verify_ed25519(&keys.id().key, b"massage", &signature));
                assert!(!verify_ed25519(
                    &account.ed25519_public(),
                    b"message",
                    &signature
                ));
                assert!(matches(&account.account_id(), &keys.id(), &server));
                assert!(!matches(&account.account_id(), &keys.id(), &[9; 32]));
                let again = blind_ed25519(blinding, &account.ed25519_public(), &server);
                assert_eq!(again, Some(keys.id()));
            }
        }
    }
}
