//! `store` (network.md 4.5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Map;
use session_protocol::Identifier;
use session_protocol::storage::hash::message_hash;
use session_protocol::storage::namespace::Namespace;
use session_protocol::storage::signed;

use super::answer::Answer;
use super::auth::{Access, Auth, is_current};
use super::params::{BASE64, BadParam, Params, required};
use super::recursive::Element;
use crate::node::Node;
use crate::node::store::Message;

/// Largest `data` in bytes.
const MAX_DATA: usize = 76_800;
/// Shortest time a message may be stored, ms.
const MIN_TTL_MS: u64 = 10_000;
/// How far the sender's clock may be off, ms.
const CLOCK_TOLERANCE_MS: u64 = 10_000;

pub(super) struct Store {
    pub account: Identifier,
    namespace: Namespace,
    data: Vec<u8>,
    timestamp: u64,
    expiry: u64,
    sig_timestamp: u64,
    auth: Auth,
}

impl Store {
    pub(super) fn parse(params: &Params<'_>) -> Result<Self, BadParam> {
        let account = params.account(true)?;
        let auth = Auth::parse(params, &account)?;
        let namespace = params.namespace()?.unwrap_or(Namespace::DEFAULT);
        let timestamp = required("timestamp", params.lenient_ms("timestamp")?)?;
        let expiry = match (params.lenient_ms("ttl")?, params.plain_ms("expiry")?) {
            (Some(ttl), None) => timestamp.saturating_add(ttl),
            (None, Some(expiry)) => expiry,
            (None, None) => return Err(BadParam("Required field 'ttl' missing".into())),
            (Some(_), Some(_)) => {
                return Err(BadParam("'ttl' and 'expiry' exclude each other".into()));
            }
        };
        let sig_timestamp = params.timestamp("sig_timestamp")?.unwrap_or(timestamp);
        let data = required("data", params.text("data")?)?;
        if data.len() > MAX_DATA / 3 * 4 {
            let text = format!("Message body exceeds maximum allowed length of {MAX_DATA} bytes");
            return Err(BadParam(text));
        }
        let data = BASE64
            .decode(data)
            .map_err(|_| BadParam::invalid("data", "base64"))?;
        Ok(Self {
            account,
            namespace,
            data,
            timestamp,
            expiry,
            sig_timestamp,
            auth,
        })
    }

    pub(super) async fn check(&self, node: &Node) -> Result<(), Answer> {
        let now_ms = node.now_ms();
        // A message that expires before it was sent has no TTL at all.
        let ttl = self.expiry.saturating_sub(self.timestamp);
        if !(MIN_TTL_MS..=self.namespace.max_ttl_ms()).contains(&ttl) {
            return Err(Answer::text(403, "Provided expiry/TTL is not valid."));
        }
        if self.timestamp > now_ms + CLOCK_TOLERANCE_MS || self.expiry + CLOCK_TOLERANCE_MS < now_ms
        {
            return Err(Answer::text(406, "Timestamp error: check your clock"));
        }
        if self.namespace.is_public_inbox() {
            return Ok(());
        }
        if self.auth.signature.is_none() {
            let text = format!(
                "store: signature required to store to namespace {}",
                self.namespace
            );
            return Err(Answer::text(401, text));
        }
        if !is_current(now_ms, self.sig_timestamp) {
            let text = "store signature timestamp too far from current time";
            return Err(Answer::text(406, text));
        }
        // What is stored to an outbox takes the place of what was there.
        let access = if self.namespace.is_public_outbox() {
            Access::WRITE_AND_DELETE
        } else {
            Access::WRITE
        };
        let signed = signed::store(self.namespace, self.sig_timestamp);
        self.auth
            .demand(
                node,
                &self.account,
                access,
                signed.as_bytes(),
                "store signature verification failed",
            )
            .await
    }

    pub(super) async fn apply(&self, node: &Node) -> Result<Element, sqlx::Error> {
        let hash = message_hash(&self.account, self.namespace, &self.data);
        let message = Message {
            hash,
            namespace: self.namespace,
            timestamp: self.timestamp,
            expiry: self.expiry,
            data: self.data.clone(),
        };
        let stored = node.store.put(&self.account, &message).await?;
        let mut element = Map::new();
        let signature = STANDARD.encode(node.keys.sign(message.hash.as_bytes()));
        element.insert("hash".into(), message.hash.into());
        element.insert("signature".into(), signature.into());
        element.insert("expiry".into(), stored.expiry.into());
        if stored.already {
            element.insert("already".into(), true.into());
        }
        Ok(element)
    }
}
