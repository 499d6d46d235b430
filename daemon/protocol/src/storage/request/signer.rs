//! Who asks, and what proves it (network.md 4.2, groups.md 1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::identity::{AccountKeys, Identifier, Prefix};
use crate::subaccount::AuthData;

/// The owner of an account's storage.
#[derive(Clone, Copy)]
pub enum Owner<'a> {
    /// A `05` account, by its keys.
    Account(&'a AccountKeys),
    /// A `03` group, by its keys: an admin.
    Group(&'a AccountKeys),
}

/// Someone who may use an account's storage.
#[derive(Clone, Copy)]
pub enum Signer<'a> {
    /// Its owner.
    Owner(Owner<'a>),
    /// A member of a group.
    Member {
        /// Ed25519 key of the group.
        group: [u8; 32],
        /// The member's own keys.
        keys: &'a AccountKeys,
        /// What an admin gave to it.
        auth: &'a AuthData,
    },
}

impl<'a> From<&'a AccountKeys> for Owner<'a> {
    fn from(keys: &'a AccountKeys) -> Self {
        Self::Account(keys)
    }
}

impl<'a> From<Owner<'a>> for Signer<'a> {
    fn from(owner: Owner<'a>) -> Self {
        Self::Owner(owner)
    }
}

impl<'a> From<&'a AccountKeys> for Signer<'a> {
    fn from(keys: &'a AccountKeys) -> Self {
        Self::Owner(keys.into())
    }
}

impl Owner<'_> {
    /// Whose storage it is.
    pub fn id(&self) -> Identifier {
        match self {
            Self::Account(keys) => keys.account_id().into(),
            Self::Group(keys) => group(keys.ed25519_public()),
        }
    }
}

impl Signer<'_> {
    /// Whose storage it is.
    pub fn owner(&self) -> Identifier {
        match self {
            Self::Owner(owner) => owner.id(),
            Self::Member { group: key, .. } => group(*key),
        }
    }

    /// Adds the fields that prove that the signer asks for what `message` says. Auth data whose factor is no scalar
    /// proves nothing: the request then goes without signature and is refused by any node.
    pub(super) fn add_proof(&self, params: &mut Map<String, Value>, message: &[u8]) {
        let mut insert = |name: &str, value: String| params.insert(name.into(), value.into());
        match self {
            Self::Owner(Owner::Account(keys)) => {
                insert("pubkey_ed25519", hex::encode(keys.ed25519_public()));
                insert("signature", STANDARD.encode(keys.sign(message)));
            }
            // `pubkey_ed25519` is forbidden here: the group's key is in its identifier.
            Self::Owner(Owner::Group(keys)) => {
                insert("signature", STANDARD.encode(keys.sign(message)));
            }
            Self::Member { keys, auth, .. } => {
                if let Some(proof) = auth.prove(keys, message) {
                    insert("subaccount", STANDARD.encode(proof.token.as_bytes()));
                    insert("subaccount_sig", STANDARD.encode(proof.token_signature));
                    insert("signature", STANDARD.encode(proof.signature));
                }
            }
        }
    }
}

fn group(key: [u8; 32]) -> Identifier {
    Identifier {
        prefix: Prefix::Group,
        key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::verify_ed25519;
    use crate::subaccount::Permissions;

    fn proof(signer: Signer<'_>) -> Vec<String> {
        let mut params = Map::new();
        signer.add_proof(&mut params, b"text");
        params.keys().cloned().collect()
    }

    #[test]
    fn each_kind_of_signer_sends_the_fields_that_nodes_want() {
        let (own, keys) = (
            AccountKeys::from_ed25519_seed(&[1; 32]),
            AccountKeys::from_ed25519_seed(&[2; 32]),
        );
        let key = keys.ed25519_public();
        let auth = AuthData::make(&keys, &own.account_id(), Permissions::MEMBER).unwrap();
        let member = Signer::Member {
            group: key,
            keys: &own,
            auth: &auth,
        };
        assert_eq!(proof((&own).into()), ["pubkey_ed25519", "signature"]);
        assert_eq!(proof(Owner::Group(&keys).into()), ["signature"]);
        assert_eq!(proof(member), ["signature", "subaccount", "subaccount_sig"]);
        assert_eq!(member.owner(), Owner::Group(&keys).id());
        let mut params = Map::new();
        member.add_proof(&mut params, b"text");
        let bytes = |name: &str| STANDARD.decode(params[name].as_str().unwrap()).unwrap();
        let token = auth.token(&own).unwrap();
        assert_eq!(bytes("subaccount"), token.as_bytes());
        let signature = bytes("signature").try_into().unwrap();
        assert!(verify_ed25519(&token.key(), b"text", &signature));
        let granted = bytes("subaccount_sig").try_into().unwrap();
        assert!(verify_ed25519(&key, token.as_bytes(), &granted));
    }
}
