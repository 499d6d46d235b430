//! `revoke_subaccount`, `unrevoke_subaccount` and `revoked_subaccounts` (network.md 4.11).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use session_protocol::Identifier;
use session_protocol::storage::signed;
use session_protocol::subaccount::Token;

use super::answer::Answer;
use super::auth::{Auth, is_current};
use super::params::{BadParam, Params, required};
use super::recursive::Element;
use super::{stamped, wrong_swarm};
use crate::node::Node;
use crate::node::store::MAX_REVOKED;

/// Takes tokens back, or takes that back.
pub(super) struct Revoke {
    pub account: Identifier,
    undo: bool,
    tokens: Vec<Token>,
    timestamp: u64,
    auth: Auth,
}

impl Revoke {
    pub(super) fn parse(undo: bool, params: &Params<'_>) -> Result<Self, BadParam> {
        let account = params.account(false)?;
        let auth = Auth::parse(params, &account)?;
        let name = if undo { "unrevoke" } else { "revoke" };
        let tokens = params.tokens(name)?;
        if !(1..=MAX_REVOKED).contains(&tokens.len()) {
            return Err(BadParam::invalid(name, "1 to 50 subaccount tokens"));
        }
        let timestamp = required("timestamp", params.timestamp("timestamp")?)?;
        required("signature", auth.signature.as_ref())?;
        Ok(Self {
            account,
            undo,
            tokens,
            timestamp,
            auth,
        })
    }

    /// Only the owner may.
    pub(super) fn check(&self, node: &Node) -> Result<(), Answer> {
        let (method, signed) = if self.undo {
            let signed = signed::unrevoke_subaccount(self.timestamp, &self.tokens);
            ("unrevoke_subaccount", signed)
        } else {
            let signed = signed::revoke_subaccount(self.timestamp, &self.tokens);
            ("revoke_subaccount", signed)
        };
        if !is_current(node.now_ms(), self.timestamp) {
            let text = format!("{method} timestamp too far from current time");
            return Err(Answer::text(406, text));
        }
        if !self.auth.verify_owner(&self.account, &signed) {
            let text = format!("{method} signature verification failed");
            return Err(Answer::text(401, text));
        }
        Ok(())
    }

    pub(super) async fn apply(&self, node: &Node) -> Result<Element, sqlx::Error> {
        let mut element = Map::new();
        if self.undo {
            let count = node.store.unrevoke(&self.account, &self.tokens).await?;
            element.insert("count".into(), count.into());
        } else {
            node.store.revoke(&self.account, &self.tokens).await?;
        }
        let signed = signed::node_revoke(&self.account, self.timestamp, &self.tokens);
        let signature = STANDARD.encode(node.keys.sign(&signed));
        element.insert("signature".into(), signature.into());
        Ok(element)
    }
}

/// Asks a node what it remembers. Official nodes answer it from 2.11 on; here all do. The signature is one of the
/// account's own key bytes, which only groups have.
pub(super) struct Revoked {
    account: Identifier,
    timestamp: u64,
    auth: Auth,
}

impl Revoked {
    pub(super) fn parse(params: &Params<'_>) -> Result<Self, BadParam> {
        let account = params.account(false)?;
        let auth = Auth::parse(params, &account)?;
        let timestamp = required("timestamp", params.timestamp("timestamp")?)?;
        required("signature", auth.signature.as_ref())?;
        Ok(Self {
            account,
            timestamp,
            auth,
        })
    }

    pub(super) async fn run(&self, node: &Node) -> Answer {
        if !node.serves(&self.account) {
            return wrong_swarm(node, &self.account);
        }
        if !is_current(node.now_ms(), self.timestamp) {
            let text = "revoked_subaccounts timestamp too far from current time";
            return Answer::text(406, text);
        }
        let signed = signed::revoked_subaccounts(self.timestamp);
        if !self.auth.is_signed(&self.account.key, signed.as_bytes()) {
            return Answer::text(401, "revoked_subaccounts signature verification failed");
        }
        match node.store.revoked(&self.account).await {
            Ok(tokens) => {
                let tokens: Vec<Value> = tokens
                    .iter()
                    .map(|token| STANDARD.encode(token).into())
                    .collect();
                let mut answer = Map::new();
                answer.insert("revoked_subaccounts".into(), tokens.into());
                Answer::json(200, stamped(node, answer))
            }
            Err(error) => Answer::failed(&error),
        }
    }
}
