//! Counts what swarm members really did: each signs with its Ed25519 key (network.md 4.3, 4.6).
//!
//! A status of 200 says nothing (observed-nodes.md 2): only members whose signature verifies count, and only
//! those that are known to belong to the swarm, since anyone can make up a key.

use serde_json::Value;

use super::answer::{Member, MemberOutcome};
use super::signed;
use crate::identity::{Identifier, verify_ed25519};

/// Members that verifiably did it, and how many were asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// Ed25519 keys of members whose signature verified.
    pub nodes: Vec<[u8; 32]>,
    /// Members the answer speaks of.
    pub asked: usize,
    /// Latest expiry one of them gave, ms; only for methods that set one.
    pub expiry: Option<u64>,
}

/// Members that signed that they hold the message `hash`. `is_member` tells known members of the swarm.
pub fn store(members: &[Member], hash: &str, is_member: impl Fn(&[u8; 32]) -> bool) -> Confirmed {
    confirm(members, is_member, |fields| {
        (fields.get("hash").and_then(Value::as_str) == Some(hash)).then(|| hash.to_owned())
    })
}

/// Members that signed that they deleted some of the `requested` hashes.
pub fn delete(
    members: &[Member],
    account: &Identifier,
    requested: &[String],
    is_member: impl Fn(&[u8; 32]) -> bool,
) -> Confirmed {
    confirm(members, is_member, |fields| {
        Some(signed::node_delete(
            account,
            requested,
            &strings(fields.get("deleted")?)?,
        ))
    })
}

/// Members that signed what they did with the expiry of the `requested` hashes.
pub fn expire(
    members: &[Member],
    account: &Identifier,
    requested: &[String],
    is_member: impl Fn(&[u8; 32]) -> bool,
) -> Confirmed {
    confirm(members, is_member, |fields| {
        let applied = match fields.get("expiry")? {
            Value::Array(many) => many.iter().map(Value::as_u64).collect::<Option<Vec<_>>>()?,
            one => vec![one.as_u64()?],
        };
        let updated = strings(fields.get("updated")?)?;
        let unchanged = match fields.get("unchanged") {
            None => Vec::new(),
            Some(map) => map
                .as_object()?
                .iter()
                .map(|(hash, expiry)| Some((hash.clone(), expiry.as_u64()?)))
                .collect::<Option<Vec<_>>>()?,
        };
        Some(signed::node_expire(
            account, &applied, requested, &updated, &unchanged,
        ))
    })
}

fn confirm(
    members: &[Member],
    is_member: impl Fn(&[u8; 32]) -> bool,
    signed_text: impl Fn(&Value) -> Option<String>,
) -> Confirmed {
    let mut confirmed = Confirmed {
        asked: members.len(),
        ..Confirmed::default()
    };
    for member in members {
        let MemberOutcome::Done { signature, fields } = &member.outcome else {
            continue;
        };
        let Some(text) = signed_text(fields).filter(|_| is_member(&member.node)) else {
            continue;
        };
        if verify_ed25519(&member.node, text.as_bytes(), signature) {
            confirmed.nodes.push(member.node);
            let expiry = fields.get("expiry").and_then(Value::as_u64);
            confirmed.expiry = confirmed.expiry.max(expiry);
        }
    }
    confirmed
}

fn strings(list: &Value) -> Option<Vec<String>> {
    list.as_array()?
        .iter()
        .map(|item| Some(item.as_str()?.to_owned()))
        .collect()
}
