//! Requests about whole namespaces, expiries and subaccounts (network.md 4.9 to 4.11).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Owner, Request, Signer};
use crate::storage::signed::{self, NamespaceSelector};
use crate::subaccount::Token;

/// Most tokens in one request, and most that a node remembers as revoked for an account.
pub const MAX_REVOKED: usize = 50;

/// `delete_all`: every message of a namespace, or of all; `timestamp` in ms.
pub fn delete_all<'a>(
    signer: impl Into<Signer<'a>>,
    namespaces: NamespaceSelector,
    timestamp: u64,
) -> Request {
    let text = signed::delete_all(namespaces, timestamp);
    over(
        signer.into(),
        "delete_all",
        namespaces,
        "timestamp",
        timestamp,
        &text,
    )
}

/// `delete_before`: messages whose timestamp is at most `before`, ms. For one namespace at a time: with all of them
/// official nodes are unreliable (network.md 4.9).
pub fn delete_before<'a>(
    signer: impl Into<Signer<'a>>,
    namespaces: NamespaceSelector,
    before: u64,
) -> Request {
    let text = signed::delete_before(namespaces, before);
    over(
        signer.into(),
        "delete_before",
        namespaces,
        "before",
        before,
        &text,
    )
}

/// `expire_all`: moves later expiries to `expiry`, ms; earlier ones stay.
pub fn expire_all<'a>(
    signer: impl Into<Signer<'a>>,
    namespaces: NamespaceSelector,
    expiry: u64,
) -> Request {
    let text = signed::expire_all(namespaces, expiry);
    over(
        signer.into(),
        "expire_all",
        namespaces,
        "expiry",
        expiry,
        &text,
    )
}

fn over(
    signer: Signer<'_>,
    method: &'static str,
    namespaces: NamespaceSelector,
    time: &str,
    ms: u64,
    text: &str,
) -> Request {
    let namespace = match namespaces {
        NamespaceSelector::One(namespace) => Value::from(namespace.0),
        NamespaceSelector::All => "all".into(),
    };
    let params = json!({"pubkey": signer.owner().to_string(), "namespace": namespace, time: ms});
    Request::new(method, params).signed(signer, text)
}

/// `get_expiries`: when messages expire; `timestamp` in ms.
pub fn get_expiries<'a>(
    signer: impl Into<Signer<'a>>,
    hashes: &[String],
    timestamp: u64,
) -> Request {
    let signer = signer.into();
    let pubkey = signer.owner().to_string();
    let params = json!({"pubkey": pubkey, "messages": hashes, "timestamp": timestamp});
    Request::new("get_expiries", params).signed(signer, signed::get_expiries(timestamp, hashes))
}

/// `revoke_subaccount` for 1 to [`MAX_REVOKED`] tokens; `None` for any other number. `timestamp` in ms.
pub fn revoke_subaccounts<'a>(
    owner: impl Into<Owner<'a>>,
    tokens: &[Token],
    timestamp: u64,
) -> Option<Request> {
    let text = signed::revoke_subaccount(timestamp, tokens);
    about(
        owner.into(),
        "revoke_subaccount",
        "revoke",
        tokens,
        timestamp,
        &text,
    )
}

/// `unrevoke_subaccount`: as [`revoke_subaccounts`].
pub fn unrevoke_subaccounts<'a>(
    owner: impl Into<Owner<'a>>,
    tokens: &[Token],
    timestamp: u64,
) -> Option<Request> {
    let text = signed::unrevoke_subaccount(timestamp, tokens);
    about(
        owner.into(),
        "unrevoke_subaccount",
        "unrevoke",
        tokens,
        timestamp,
        &text,
    )
}

fn about(
    owner: Owner<'_>,
    method: &'static str,
    list: &str,
    tokens: &[Token],
    timestamp: u64,
    text: &[u8],
) -> Option<Request> {
    if !(1..=MAX_REVOKED).contains(&tokens.len()) {
        return None;
    }
    let tokens: Vec<String> = tokens
        .iter()
        .map(|token| STANDARD.encode(token.as_bytes()))
        .collect();
    let params = json!({"pubkey": owner.id().to_string(), list: tokens, "timestamp": timestamp});
    Some(Request::new(method, params).signed(owner, text))
}

/// `revoked_subaccounts`: what a node remembers as revoked; `timestamp` in ms. Only newer nodes know it, others answer
/// 400; and only groups can ask, since it is verified against the identifier's own bytes.
pub fn revoked_subaccounts<'a>(owner: impl Into<Owner<'a>>, timestamp: u64) -> Request {
    let owner = owner.into();
    let params = json!({"pubkey": owner.id().to_string(), "timestamp": timestamp});
    Request::new("revoked_subaccounts", params)
        .signed(owner, signed::revoked_subaccounts(timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::AccountKeys;
    use crate::storage::Namespace;
    use crate::subaccount::Permissions;

    fn params(request: &Request) -> Value {
        serde_json::from_slice::<Value>(&request.to_json()).unwrap()["params"].clone()
    }

    #[test]
    fn namespaces_are_numbers_or_all() {
        let keys = AccountKeys::from_ed25519_seed(&[1; 32]);
        let one = NamespaceSelector::One(Namespace::DEFAULT);
        assert_eq!(params(&delete_before(&keys, one, 7))["namespace"], 0);
        assert_eq!(params(&delete_before(&keys, one, 7))["before"], 7);
        let all = params(&expire_all(&keys, NamespaceSelector::All, 9));
        assert_eq!(
            (&all["namespace"], &all["expiry"]),
            (&json!("all"), &json!(9))
        );
    }

    #[test]
    fn one_to_fifty_tokens_are_revoked() {
        let group = AccountKeys::from_ed25519_seed(&[1; 32]);
        let member = AccountKeys::from_ed25519_seed(&[2; 32]).account_id();
        let token = Token::make(&group, &member, Permissions::MEMBER).unwrap();
        let owner = Owner::Group(&group);
        assert_eq!(revoke_subaccounts(owner, &[], 1), None);
        assert_eq!(unrevoke_subaccounts(owner, &vec![token; 51], 1), None);
        let full = revoke_subaccounts(owner, &vec![token; 50], 1).unwrap();
        let params = params(&full);
        assert_eq!(params["revoke"].as_array().unwrap().len(), 50);
        assert_eq!(params["pubkey"], owner.id().to_string());
        assert!(params.get("pubkey_ed25519").is_none());
    }
}
