//! `get_expiries` (network.md 4.10): asked of one node only, and answered without its time.

use serde_json::{Map, Value, json};
use session_protocol::Identifier;
use session_protocol::storage::signed;

use super::answer::Answer;
use super::auth::{Access, Auth, is_current};
use super::params::{BadParam, Params, required};
use super::wrong_swarm;
use crate::node::Node;

pub(super) struct GetExpiries {
    account: Identifier,
    hashes: Vec<String>,
    timestamp: u64,
    auth: Auth,
}

impl GetExpiries {
    pub(super) fn parse(params: &Params<'_>) -> Result<Self, BadParam> {
        let account = params.account(false)?;
        let auth = Auth::parse(params, &account)?;
        let hashes = params.hashes("messages")?;
        let timestamp = required("timestamp", params.timestamp("timestamp")?)?;
        required("signature", auth.signature.as_ref())?;
        Ok(Self {
            account,
            hashes,
            timestamp,
            auth,
        })
    }

    pub(super) async fn run(&self, node: &Node) -> Answer {
        if !node.serves(&self.account) {
            return wrong_swarm(node, &self.account);
        }
        if !is_current(node.now_ms(), self.timestamp) {
            return Answer::text(406, "get_expiries timestamp too far from current time");
        }
        let signed = signed::get_expiries(self.timestamp, &self.hashes);
        let refusal = "get_expiries signature verification failed";
        let demanded = self
            .auth
            .demand(
                node,
                &self.account,
                Access::READ,
                signed.as_bytes(),
                refusal,
            )
            .await;
        if let Err(refusal) = demanded {
            return refusal;
        }
        match node.store.expiries(&self.account, &self.hashes).await {
            Ok(expiries) => {
                let expiries: Map<String, Value> = expiries
                    .into_iter()
                    .map(|(hash, expiry)| (hash, expiry.into()))
                    .collect();
                Answer::json(200, json!({ "expiries": expiries }))
            }
            Err(error) => Answer::failed(&error),
        }
    }
}
