//! Counts what swarm members really did: each signs with its Ed25519 key (network.md 4.3, 4.6).
//!
//! A status of 200 says nothing (observed-nodes.md 2): only members whose signature verifies count, and only
//! those that are known to belong to the swarm, since anyone can make up a key.

use serde_json::Value;

use super::answer::{Member, MemberOutcome};
use super::signed;
use crate::identity::{Identifier, verify_ed25519};
use crate::subaccount::Token;

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

/// Members that signed which messages they deleted, of one namespace or of all. `time` is the `timestamp` of a
/// `delete_all` and the `before` of a `delete_before`.
pub fn delete_all(
    members: &[Member],
    account: &Identifier,
    time: u64,
    is_member: impl Fn(&[u8; 32]) -> bool,
) -> Confirmed {
    confirm(members, is_member, |fields| {
        let deleted = of_all_namespaces(fields.get("deleted")?)?;
        Some(signed::node_all(account, time, &deleted))
    })
}

/// Members that signed which messages got the earlier `expiry` of an `expire_all`.
pub fn expire_all(
    members: &[Member],
    account: &Identifier,
    expiry: u64,
    is_member: impl Fn(&[u8; 32]) -> bool,
) -> Confirmed {
    confirm(members, is_member, |fields| {
        let updated = of_all_namespaces(fields.get("updated")?)?;
        Some(signed::node_all(account, expiry, &updated))
    })
}

/// Members that signed a revocation of `tokens`, or that they take it back: the string is the same.
pub fn revoke_subaccounts(
    members: &[Member],
    account: &Identifier,
    timestamp: u64,
    tokens: &[Token],
    is_member: impl Fn(&[u8; 32]) -> bool,
) -> Confirmed {
    confirm(members, is_member, |_| {
        Some(signed::node_revoke(account, timestamp, tokens))
    })
}

/// Hashes of a namespace, or of all in an object by number.
fn of_all_namespaces(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Object(lists) => {
            let lists = lists.values().map(strings).collect::<Option<Vec<_>>>()?;
            Some(lists.concat())
        }
        list => strings(list),
    }
}

fn confirm<Text: AsRef<[u8]>>(
    members: &[Member],
    is_member: impl Fn(&[u8; 32]) -> bool,
    signed_text: impl Fn(&Value) -> Option<Text>,
) -> Confirmed {
    let mut confirmed = Confirmed {
        asked: members.len(),
        ..Confirmed::default()
    };
    for member in members {
        let MemberOutcome::Done { signature, fields } = &member.outcome else {
            continue;
        };
        // A key can stand in the answer twice, in digits of either case.
        if !is_member(&member.node) || confirmed.nodes.contains(&member.node) {
            continue;
        }
        let Some(text) = signed_text(fields) else {
            continue;
        };
        if verify_ed25519(&member.node, text.as_ref(), signature) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{AccountKeys, AccountSeed};
    use crate::storage::answer;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    const HASH: &str = "tse7cPdGXVWduXXcEKR/FS0RYFBYv/dQ0HmjzQMyqQo";

    fn node(byte: u8) -> AccountKeys {
        AccountKeys::from_ed25519_seed(&[byte; 32])
    }

    fn sign(node: &AccountKeys, text: &str) -> String {
        STANDARD.encode(node.sign(text.as_bytes()))
    }

    fn members(elements: Vec<(String, Value)>) -> Vec<Member> {
        let swarm: serde_json::Map<String, Value> = elements.into_iter().collect();
        answer::members("store", &json!({ "swarm": swarm })).unwrap()
    }

    fn stored(node: &AccountKeys, hash: &str) -> (String, Value) {
        let element = json!({"hash": hash, "signature": sign(node, hash), "expiry": 1_000});
        (hex::encode(node.ed25519_public()), element)
    }

    fn is_known(key: &[u8; 32]) -> bool {
        (1..=5).any(|byte| node(byte).ed25519_public() == *key)
    }

    #[test]
    fn only_members_that_signed_this_hash_count() {
        let mut tampered = stored(&node(2), HASH);
        tampered.1["signature"] = json!(sign(&node(2), "another"));
        let mut renamed = stored(&node(3), HASH);
        renamed.1["hash"] = json!("another");
        let mut failed = stored(&node(4), HASH);
        failed.1["failed"] = json!(1);
        let borrowed = (
            hex::encode(node(5).ed25519_public()),
            stored(&node(1), HASH).1,
        );
        let stranger = stored(&node(9), HASH);
        let answer = members(vec![
            stored(&node(1), HASH),
            tampered,
            renamed,
            failed,
            borrowed,
            stranger,
        ]);
        let confirmed = store(&answer, HASH, is_known);
        assert_eq!(confirmed.nodes, [node(1).ed25519_public()]);
        assert_eq!((confirmed.asked, confirmed.expiry), (6, Some(1_000)));
    }

    #[test]
    fn a_member_named_twice_counts_once() {
        let (key, element) = stored(&node(1), HASH);
        let answer = members(vec![(key.to_uppercase(), element.clone()), (key, element)]);
        assert_eq!(answer.len(), 2);
        assert_eq!(store(&answer, HASH, is_known).nodes.len(), 1);
    }

    #[test]
    fn deletions_are_signed_with_what_was_asked_and_what_was_done() {
        let account = Identifier::from(
            AccountKeys::from_seed(&AccountSeed::from_bytes([7; 16])).account_id(),
        );
        let asked = ["b".to_owned(), "a".to_owned()];
        let element = |deleted: &[&str], text: String| {
            let signature = sign(&node(1), &text);
            let element = json!({"deleted": deleted, "signature": signature});
            members(vec![(hex::encode(node(1).ed25519_public()), element)])
        };
        // The signed list is sorted even where the answer's is not.
        let good = element(&["b", "a"], format!("{account}baab"));
        assert_eq!(delete(&good, &account, &asked, is_known).nodes.len(), 1);
        let claims_more = element(&["a", "b"], format!("{account}baa"));
        assert_eq!(
            delete(&claims_more, &account, &asked, is_known).nodes.len(),
            0
        );
    }

    #[test]
    fn expiries_are_signed_with_what_stayed() {
        let account = Identifier::from(
            AccountKeys::from_seed(&AccountSeed::from_bytes([7; 16])).account_id(),
        );
        let asked = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let signature = sign(&node(1), &format!("{account}500abccab3"));
        let element = |expiry: u64| {
            let element = json!({"expiry": expiry, "updated": ["c"], "unchanged": {"ab": 3},
                "signature": signature});
            members(vec![(hex::encode(node(1).ed25519_public()), element)])
        };
        let confirmed = expire(&element(500), &account, &asked, is_known);
        assert_eq!((confirmed.nodes.len(), confirmed.expiry), (1, Some(500)));
        let confirmed = expire(&element(501), &account, &asked, is_known);
        assert_eq!((confirmed.nodes.len(), confirmed.expiry), (0, None));
    }
    #[test]
    fn deletions_of_all_namespaces_are_signed_together() {
        let account = Identifier::from(
            AccountKeys::from_seed(&AccountSeed::from_bytes([7; 16])).account_id(),
        );
        let element = |name: &str, hashes: Value, text: String| {
            let element = json!({name: hashes, "signature": sign(&node(1), &text)});
            members(vec![(hex::encode(node(1).ed25519_public()), element)])
        };
        let text = || format!("{account}9abc");
        for hashes in [
            json!(["c", "a", "b"]),
            json!({"0": ["b"], "-11": ["a", "c"]}),
        ] {
            let deleted = element("deleted", hashes.clone(), text());
            assert_eq!(delete_all(&deleted, &account, 9, is_known).nodes.len(), 1);
            assert_eq!(delete_all(&deleted, &account, 8, is_known).nodes.len(), 0);
            let updated = element("updated", hashes, text());
            assert_eq!(expire_all(&updated, &account, 9, is_known).nodes.len(), 1);
        }
        let less = element("deleted", json!({"0": ["b"]}), text());
        assert_eq!(delete_all(&less, &account, 9, is_known).nodes.len(), 0);
    }

    #[test]
    fn revocations_are_signed_with_the_raw_tokens() {
        let account = Identifier::from(
            AccountKeys::from_seed(&AccountSeed::from_bytes([7; 16])).account_id(),
        );
        let tokens = [Token::from_bytes([0xfe; 36]), Token::from_bytes([1; 36])];
        let text = signed::node_revoke(&account, 5, &tokens);
        let signature = STANDARD.encode(node(1).sign(&text));
        let element = json!({"count": 2, "signature": signature});
        let answer = members(vec![(hex::encode(node(1).ed25519_public()), element)]);
        let count = |tokens: &[Token]| {
            revoke_subaccounts(&answer, &account, 5, tokens, is_known)
                .nodes
                .len()
        };
        assert_eq!(count(&tokens), 1);
        assert_eq!(count(&tokens[..1]), 0);
    }
}
