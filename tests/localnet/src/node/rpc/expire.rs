//! `expire` (network.md 4.10).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use session_protocol::Identifier;
use session_protocol::storage::signed::{self, ExpireMode};

use super::answer::Answer;
use super::auth::{Access, Auth};
use super::params::{BadParam, Params, required};
use super::recursive::Element;
use crate::node::Node;

/// A message may live this long from now, in any namespace, ms.
const MAX_EXPIRY_MS: u64 = 30 * 86_400_000;
/// How far an expiry may lie in the past, ms.
const TOLERANCE_MS: u64 = 60_000;

pub(super) struct Expire {
    pub account: Identifier,
    hashes: Vec<String>,
    /// One for all hashes, or one for each.
    expiries: Vec<u64>,
    mode: ExpireMode,
    auth: Auth,
}

impl Expire {
    pub(super) fn parse(params: &Params<'_>) -> Result<Self, BadParam> {
        let account = params.account(false)?;
        let auth = Auth::parse(params, &account)?;
        let hashes = params.hashes("messages")?;
        let expiries = required("expiry", params.plain_ms_list("expiry")?)?;
        if expiries.len() != 1 && expiries.len() != hashes.len() {
            return Err(BadParam::invalid(
                "expiry",
                "one value, or one for each message",
            ));
        }
        let flag = |name| params.boolean(name).map(Option::unwrap_or_default);
        let mode = match (flag("shorten")?, flag("extend")?) {
            (false, false) => ExpireMode::Set,
            (true, false) => ExpireMode::Shorten,
            (false, true) => ExpireMode::Extend,
            (true, true) => {
                return Err(BadParam("'shorten' and 'extend' exclude each other".into()));
            }
        };
        if mode == ExpireMode::Shorten && auth.is_limited() {
            let text = "'shorten' needs a subaccount that may delete";
            return Err(BadParam(text.into()));
        }
        required("signature", auth.signature.as_ref())?;
        Ok(Self {
            account,
            hashes,
            expiries,
            mode,
            auth,
        })
    }

    pub(super) async fn check(&self, node: &Node) -> Result<(), Answer> {
        if self
            .expiries
            .iter()
            .any(|expiry| expiry + TOLERANCE_MS < node.now_ms())
        {
            return Err(Answer::text(
                401,
                "expire: timestamp should be >= current time",
            ));
        }
        let signed = signed::expire(self.mode, &self.expiries, &self.hashes);
        let refusal = "expire: signature verification failed";
        self.auth
            .demand(
                node,
                &self.account,
                Access::WRITE,
                signed.as_bytes(),
                refusal,
            )
            .await
    }

    /// What is done: a subaccount that may not delete can only prolong, though it signs what it asked for.
    fn effective_mode(&self) -> ExpireMode {
        if self.auth.is_limited() {
            ExpireMode::Extend
        } else {
            self.mode
        }
    }

    pub(super) async fn apply(&self, node: &Node) -> Result<Element, sqlx::Error> {
        let mode = self.effective_mode();
        let latest = node.now_ms() + MAX_EXPIRY_MS;
        let capped: Vec<u64> = self
            .expiries
            .iter()
            .map(|expiry| (*expiry).min(latest))
            .collect();
        // A single value serves all hashes.
        let wanted: Vec<(String, u64)> = self
            .hashes
            .iter()
            .cloned()
            .zip(capped.iter().copied().cycle())
            .collect();
        let outcome = node.store.expire(&self.account, &wanted, mode).await?;

        let applied: Vec<u64> = if self.expiries.len() == 1 {
            capped
        } else {
            outcome.updated.iter().map(|(_, expiry)| *expiry).collect()
        };
        let updated: Vec<String> = outcome.updated.into_iter().map(|(hash, _)| hash).collect();
        let says_unchanged = mode != ExpireMode::Set;
        let unchanged = if says_unchanged {
            outcome.unchanged
        } else {
            Vec::new()
        };
        let signed =
            signed::node_expire(&self.account, &applied, &self.hashes, &updated, &unchanged);

        let mut element = Map::new();
        let expiry = match (self.expiries.len(), applied.as_slice()) {
            (1, [single]) => Value::from(*single),
            _ => Value::from(applied),
        };
        element.insert("expiry".into(), expiry);
        element.insert("updated".into(), updated.into());
        if says_unchanged {
            let unchanged: Map<String, Value> = unchanged
                .into_iter()
                .map(|(hash, expiry)| (hash, expiry.into()))
                .collect();
            element.insert("unchanged".into(), unchanged.into());
        }
        let signature = STANDARD.encode(node.keys.sign(signed.as_bytes()));
        element.insert("signature".into(), signature.into());
        Ok(element)
    }
}
