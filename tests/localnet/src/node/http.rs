//! The endpoints of a node (network.md 2.3), and the two on which other nodes reach it.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::json;

use super::{Node, VERSION, onion, rpc};
use crate::http::{Call, Reply, Service};
use crate::peers;

static PUBKEY: HeaderName = HeaderName::from_static("x-oxen-snode-pubkey");

impl Service for Node {
    async fn answer(self: Arc<Self>, call: Call) -> Reply {
        if call.headers.contains_key("x-loki-long-poll") {
            return Reply::text(410, "Long polling is no longer supported");
        }
        let path = call.target.split('?').next().unwrap_or_default();
        match (&call.method, path) {
            (&Method::POST, "/storage_rpc/v1") => {
                if !self.limiter.allow(call.from, Instant::now()) {
                    return Reply::text(429, "Too Many Requests\n");
                }
                rpc::handle(&self, &call.body).await.into_reply()
            }
            (&Method::POST, "/onion_req/v2") => onion::from_client(&self, &call.body).await,
            (&Method::POST, "/ping_test/v1") => {
                let key = STANDARD.encode(self.info.ed25519);
                let header = HeaderValue::from_str(&key)
                    .ok()
                    .map(|key| (PUBKEY.clone(), key));
                Reply {
                    header,
                    ..Reply::text(200, "")
                }
            }
            (&Method::GET, "/get_stats/v1") => {
                let [major, minor, patch] = VERSION;
                Reply::json(200, &json!({"version": format!("{major}.{minor}.{patch}")}))
            }
            (&Method::POST, peers::STORAGE) if self.shared.peers.is_peer(&call) => {
                rpc::recursive::from_peer(&self, &call.body)
                    .await
                    .into_reply()
            }
            (&Method::POST, peers::ONION) if self.shared.peers.is_peer(&call) => {
                onion::from_peer(&self, &call.body).await
            }
            _ => Reply::text(404, format!("{} {} Not Found", call.method, call.target)),
        }
    }
}
