//! The exact strings that clients and service nodes sign (network.md 4.3). All parts are ASCII, joined without
//! separators; numbers are decimal. Only tokens are raw bytes.

use super::namespace::Namespace;
use crate::identity::Identifier;
use crate::subaccount::Token;

/// One namespace or all of them, for methods that allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceSelector {
    /// One namespace.
    One(Namespace),
    /// Every namespace of the account.
    All,
}

impl NamespaceSelector {
    fn signed_form(self) -> String {
        match self {
            Self::One(namespace) => namespace.signed_form(),
            Self::All => "all".into(),
        }
    }
}

/// How `expire` may move an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireMode {
    /// Either way.
    Set,
    /// To an earlier time only.
    Shorten,
    /// To a later time only.
    Extend,
}

impl ExpireMode {
    /// The word in the signed string.
    pub const fn signed_form(self) -> &'static str {
        match self {
            Self::Set => "",
            Self::Shorten => "shorten",
            Self::Extend => "extend",
        }
    }
}

fn join<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect()
}

/// `store` into a namespace that is no public inbox; `sig_timestamp` in ms.
pub fn store(namespace: Namespace, sig_timestamp: u64) -> String {
    format!("store{}{sig_timestamp}", namespace.signed_form())
}

/// `retrieve`; `timestamp` in ms.
pub fn retrieve(namespace: Namespace, timestamp: u64) -> String {
    format!("retrieve{}{timestamp}", namespace.signed_form())
}

/// `delete` of these hashes, in the order of the request.
pub fn delete(hashes: &[String]) -> String {
    format!("delete{}", hashes.concat())
}

/// `delete_all`; `timestamp` in ms.
pub fn delete_all(namespaces: NamespaceSelector, timestamp: u64) -> String {
    format!("delete_all{}{timestamp}", namespaces.signed_form())
}

/// `delete_before`; `before` in ms.
pub fn delete_before(namespaces: NamespaceSelector, before: u64) -> String {
    format!("delete_before{}{before}", namespaces.signed_form())
}

/// `expire`: one expiry for all or one for each hash, in ms.
pub fn expire(mode: ExpireMode, expiries: &[u64], hashes: &[String]) -> String {
    format!(
        "expire{}{}{}",
        mode.signed_form(),
        join(expiries),
        hashes.concat()
    )
}

/// `expire_all`; `expiry` in ms.
pub fn expire_all(namespaces: NamespaceSelector, expiry: u64) -> String {
    format!("expire_all{}{expiry}", namespaces.signed_form())
}

/// `get_expiries`; `timestamp` in ms.
pub fn get_expiries(timestamp: u64, hashes: &[String]) -> String {
    format!("get_expiries{timestamp}{}", hashes.concat())
}

/// `revoke_subaccount`; `timestamp` in ms. Tokens are raw.
pub fn revoke_subaccount(timestamp: u64, tokens: &[Token]) -> Vec<u8> {
    with_tokens(&format!("revoke_subaccount{timestamp}"), tokens)
}

/// `unrevoke_subaccount`; `timestamp` in ms. Tokens are raw.
pub fn unrevoke_subaccount(timestamp: u64, tokens: &[Token]) -> Vec<u8> {
    with_tokens(&format!("unrevoke_subaccount{timestamp}"), tokens)
}

/// `revoked_subaccounts`; `timestamp` in ms.
pub fn revoked_subaccounts(timestamp: u64) -> String {
    format!("revoked_subaccounts{timestamp}")
}

/// What a node signs after `revoke_subaccount` and `unrevoke_subaccount`: account, timestamp, raw tokens in the order
/// of the request.
pub fn node_revoke(account: &Identifier, timestamp: u64, tokens: &[Token]) -> Vec<u8> {
    with_tokens(&format!("{account}{timestamp}"), tokens)
}

fn with_tokens(text: &str, tokens: &[Token]) -> Vec<u8> {
    let tokens = tokens.iter().flat_map(Token::as_bytes);
    text.as_bytes().iter().chain(tokens).copied().collect()
}

/// What a node signs after `delete_all`, `delete_before` and `expire_all`: account, the request's time, and the hashes
/// of all namespaces sorted together.
pub fn node_all(account: &Identifier, time: u64, hashes: &[String]) -> String {
    let mut hashes = hashes.to_vec();
    hashes.sort_unstable();
    format!("{account}{time}{}", hashes.concat())
}

/// What a node signs after `delete`: account, requested hashes, deleted hashes sorted.
pub fn node_delete(account: &Identifier, requested: &[String], deleted: &[String]) -> String {
    let mut deleted = deleted.to_vec();
    deleted.sort_unstable();
    format!("{account}{}{}", requested.concat(), deleted.concat())
}

/// What a node signs after `expire`: account, applied expiries, requested hashes, updated hashes sorted, then
/// hash and expiry of each unchanged message sorted by hash.
pub fn node_expire(
    account: &Identifier,
    applied: &[u64],
    requested: &[String],
    updated: &[String],
    unchanged: &[(String, u64)],
) -> String {
    let mut updated = updated.to_vec();
    updated.sort_unstable();
    let mut unchanged = unchanged.to_vec();
    unchanged.sort_unstable();
    let unchanged = join(
        unchanged
            .iter()
            .map(|(hash, expiry)| format!("{hash}{expiry}")),
    );
    format!(
        "{account}{}{}{}{unchanged}",
        join(applied),
        requested.concat(),
        updated.concat()
    )
}
