//! `retrieve` (network.md 4.8, observed-nodes 7 to 9).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use session_protocol::Identifier;
use session_protocol::storage::namespace::Namespace;
use session_protocol::storage::signed;

use super::answer::Answer;
use super::auth::{Access, Auth, is_current};
use super::params::{BadParam, Params, is_hash, required};
use super::{stamped, wrong_swarm};
use crate::node::Node;
use crate::node::store::{Limits, Message};

/// Most that one answer may count, bytes.
const MAX_SIZE: u64 = 7_800_000;
/// Share of it when a request says nothing.
const DEFAULT_SHARE: u64 = 5;
/// Old groups' messages: anyone reads them.
const LEGACY_CLOSED: Namespace = Namespace(-10);

pub(super) struct Retrieve {
    account: Identifier,
    namespace: Namespace,
    last_hash: Option<String>,
    max_count: i64,
    max_size: i64,
    timestamp: Option<u64>,
    auth: Auth,
}

impl Retrieve {
    pub(super) fn parse(params: &Params<'_>) -> Result<Self, BadParam> {
        let account = params.account(true)?;
        let auth = Auth::parse(params, &account)?;
        let explicit = params.namespace()?;
        let namespace = explicit.unwrap_or(Namespace::DEFAULT);
        let last_hash = match params.text("last_hash")? {
            None => params.text("lastHash")?,
            given => given,
        };
        let last_hash = match last_hash {
            None | Some("") => None,
            Some(hash) if is_hash(hash) => Some(hash.to_owned()),
            Some(_) => return Err(BadParam::invalid("last_hash", "a message hash")),
        };
        let timestamp = params.timestamp("timestamp")?;
        if auth.pubkey_ed25519.is_some()
            || auth.signature.is_some()
            || timestamp.is_some()
            || explicit.is_some_and(needs_auth)
        {
            required("signature", auth.signature.as_ref())?;
        }
        Ok(Self {
            account,
            namespace,
            last_hash,
            max_count: params.integer("max_count")?.unwrap_or(0),
            max_size: params.integer("max_size")?.unwrap_or(0),
            timestamp,
            auth,
        })
    }

    pub(super) async fn run(&self, node: &Node) -> Answer {
        if !node.serves(&self.account) {
            return wrong_swarm(node, &self.account);
        }
        if let Err(refusal) = self.check(node).await {
            return refusal;
        }
        // Quirk: exactly -1 asks for nothing, smaller counts for everything.
        let read = if self.max_count == -1 {
            Ok((Vec::new(), false))
        } else {
            let last_hash = self.last_hash.as_deref();
            node.store
                .list(&self.account, self.namespace, last_hash, self.limits())
                .await
        };
        match read {
            Ok((messages, more)) => {
                let messages: Vec<Value> = messages.iter().map(element).collect();
                let mut answer = Map::new();
                answer.insert("messages".into(), messages.into());
                answer.insert("more".into(), more.into());
                Answer::json(200, stamped(node, answer))
            }
            Err(error) => Answer::failed(&error),
        }
    }

    async fn check(&self, node: &Node) -> Result<(), Answer> {
        if self.auth.signature.is_none() {
            return if needs_auth(self.namespace) {
                Err(Answer::text(401, "retrieve: request signature required"))
            } else {
                Ok(())
            };
        }
        // A signature without its time counts as one from 1970.
        let timestamp = self.timestamp.unwrap_or(0);
        if !is_current(node.now_ms(), timestamp) {
            return Err(Answer::text(
                406,
                "retrieve timestamp too far from current time",
            ));
        }
        let access = if self.namespace.is_unrevocable() {
            Access::READ_EVEN_REVOKED
        } else {
            Access::READ
        };
        let signed = signed::retrieve(self.namespace, timestamp);
        let refusal = "retrieve signature verification failed";
        self.auth
            .demand(node, &self.account, access, signed.as_bytes(), refusal)
            .await
    }

    fn limits(&self) -> Limits {
        let count = u64::try_from(self.max_count)
            .ok()
            .filter(|count| *count > 0);
        let size = match self.max_size {
            0 if count.is_none() => MAX_SIZE / DEFAULT_SHARE,
            0 => MAX_SIZE,
            share if share < 0 => MAX_SIZE / share.unsigned_abs(),
            size => size.unsigned_abs().min(MAX_SIZE),
        };
        Limits { count, size }
    }
}

fn needs_auth(namespace: Namespace) -> bool {
    namespace != LEGACY_CLOSED && !namespace.is_public_outbox()
}

fn element(message: &Message) -> Value {
    json!({
        "hash": message.hash,
        "timestamp": message.timestamp,
        "expiration": message.expiry,
        "data": STANDARD.encode(&message.data),
    })
}
