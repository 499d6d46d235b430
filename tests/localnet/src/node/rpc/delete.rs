//! `delete` (network.md 4.9).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use session_protocol::Identifier;
use session_protocol::storage::signed;

use super::answer::Answer;
use super::auth::{Access, Auth};
use super::params::{BadParam, Params, required};
use super::recursive::Element;
use crate::node::Node;

pub(super) struct Delete {
    pub account: Identifier,
    hashes: Vec<String>,
    /// Nothing deleted anywhere is 404.
    pub required: bool,
    auth: Auth,
}

impl Delete {
    pub(super) fn parse(params: &Params<'_>) -> Result<Self, BadParam> {
        let account = params.account(false)?;
        let auth = Auth::parse(params, &account)?;
        let hashes = params.hashes("messages")?;
        required("signature", auth.signature.as_ref())?;
        let required = params.boolean("required")?.unwrap_or(false);
        Ok(Self {
            account,
            hashes,
            required,
            auth,
        })
    }

    pub(super) async fn check(&self, node: &Node) -> Result<(), Answer> {
        let refusal = "delete_msgs signature verification failed";
        let signed = signed::delete(&self.hashes);
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
        let deleted = node.store.delete(&self.account, &self.hashes).await?;
        let signed = signed::node_delete(&self.account, &self.hashes, &deleted);
        let mut element = Map::new();
        element.insert("deleted".into(), deleted.into());
        let signature = STANDARD.encode(node.keys.sign(signed.as_bytes()));
        element.insert("signature".into(), signature.into());
        Ok(element)
    }
}

/// Whether some member deleted something.
pub(super) fn any_deleted(swarm: &Map<String, Value>) -> bool {
    let deleted = |element: &Value| element.get("deleted").and_then(Value::as_array).cloned();
    swarm
        .values()
        .filter_map(deleted)
        .any(|deleted| !deleted.is_empty())
}
