//! Changes to all messages of a namespace, or of all namespaces: `delete_all`, `delete_before` (network.md 4.9) and
//! `expire_all` (4.10).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use session_protocol::Identifier;
use session_protocol::storage::signed::{self, NamespaceSelector};

use super::answer::Answer;
use super::auth::{Access, Auth, tolerance_ms};
use super::params::{BadParam, Params, required};
use super::recursive::Element;
use crate::node::Node;
use crate::node::store::InNamespace;

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    DeleteAll,
    DeleteBefore,
    ExpireAll,
}

pub(super) struct Over {
    pub account: Identifier,
    kind: Kind,
    namespaces: NamespaceSelector,
    /// When it was asked, up to when is deleted, or what expires later gets: ms.
    time: u64,
    auth: Auth,
}

impl Over {
    pub(super) fn parse(kind: Kind, params: &Params<'_>) -> Result<Self, BadParam> {
        let account = params.account(false)?;
        let auth = Auth::parse(params, &account)?;
        let namespaces = params.namespaces()?;
        let name = match kind {
            Kind::DeleteAll => "timestamp",
            Kind::DeleteBefore => "before",
            Kind::ExpireAll => "expiry",
        };
        let time = required(name, params.timestamp(name)?)?;
        required("signature", auth.signature.as_ref())?;
        Ok(Self {
            account,
            kind,
            namespaces,
            time,
            auth,
        })
    }

    pub(super) async fn check(&self, node: &Node, forwarded: bool) -> Result<(), Answer> {
        let (now_ms, tolerance) = (node.now_ms(), tolerance_ms(forwarded));
        let (bad_time, signed, refusal) = match self.kind {
            Kind::DeleteAll => (
                (now_ms.abs_diff(self.time) > tolerance)
                    .then_some((406, "delete_all timestamp too far from current time")),
                signed::delete_all(self.namespaces, self.time),
                "delete_all signature verification failed",
            ),
            Kind::DeleteBefore => (
                (self.time > now_ms + tolerance_ms(false))
                    .then_some((401, "delete_before timestamp too far in the future")),
                signed::delete_before(self.namespaces, self.time),
                "delete_before signature verification failed",
            ),
            Kind::ExpireAll => (
                (self.time + tolerance < now_ms)
                    .then_some((406, "expire_all timestamp should be >= current time")),
                signed::expire_all(self.namespaces, self.time),
                "expire_all signature verification failed",
            ),
        };
        if let Some((status, text)) = bad_time {
            return Err(Answer::text(status, text));
        }
        self.auth
            .demand(
                node,
                &self.account,
                Access::DELETE,
                signed.as_bytes(),
                refusal,
            )
            .await
    }

    pub(super) async fn apply(&self, node: &Node) -> Result<Element, sqlx::Error> {
        let (account, namespaces) = (&self.account, self.namespaces);
        let (name, changed) = match self.kind {
            Kind::DeleteAll => {
                let deleted = node.store.delete_until(account, namespaces, None).await?;
                ("deleted", deleted)
            }
            Kind::DeleteBefore => {
                let until = Some(self.time);
                let deleted = node.store.delete_until(account, namespaces, until).await?;
                ("deleted", deleted)
            }
            Kind::ExpireAll => {
                let shortened = node.store.shorten(account, namespaces, self.time).await?;
                ("updated", shortened)
            }
        };
        let hashes: Vec<String> = changed.iter().map(|one| one.hash.clone()).collect();
        let signed = signed::node_all(&self.account, self.time, &hashes);
        let mut element = Map::new();
        element.insert(name.into(), self.listed(changed));
        let signature = STANDARD.encode(node.keys.sign(signed.as_bytes()));
        element.insert("signature".into(), signature.into());
        Ok(element)
    }

    /// Sorted hashes; for all namespaces an object of such lists.
    fn listed(&self, changed: Vec<InNamespace>) -> Value {
        let mut lists: BTreeMap<i16, Vec<String>> = BTreeMap::new();
        for one in changed {
            lists.entry(one.namespace.0).or_default().push(one.hash);
        }
        lists.values_mut().for_each(|list| list.sort_unstable());
        match self.namespaces {
            NamespaceSelector::One(namespace) => {
                lists.remove(&namespace.0).unwrap_or_default().into()
            }
            NamespaceSelector::All => lists
                .into_iter()
                .map(|(namespace, list)| (namespace.to_string(), Value::from(list)))
                .collect::<Map<_, _>>()
                .into(),
        }
    }
}
