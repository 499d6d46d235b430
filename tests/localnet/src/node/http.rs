//! The endpoints of a node (network.md 2.3), the two on which other nodes reach it, and what its faults do to them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use hyper::header::HeaderValue;
use serde_json::json;

use super::{Node, VERSION, onion, rpc};
use crate::faults::Loss;
use crate::http::{Call, Reply, Service};
use crate::peers;

/// Least bytes of a random answer.
const MIN_GARBAGE: usize = 64;

impl Service for Node {
    async fn answer(self: Arc<Self>, call: Call) -> Option<Reply> {
        self.switch.delay().await;
        let faults = self.switch.faults();
        let lost = self.switch.lost();
        let missed = faults.misses_forwards && call.target == peers::STORAGE;
        self.switch.hit(|hits| {
            hits.missed += u64::from(missed);
            hits.refused += u64::from(faults.refuse);
            hits.wrong_clock += u64::from(faults.clock_offset_ms != 0);
        });
        if missed || lost == Some(Loss::Request) {
            return None;
        }
        let reply = self.respond(call).await;
        if lost == Some(Loss::Answer) {
            return None;
        }
        if self.switch.faults().garbage {
            self.switch.hit(|hits| hits.garbage += 1);
            return Some(garbage(&reply));
        }
        Some(reply)
    }

    async fn moving(&self) {
        self.switch.met().await;
    }
}

/// Random base64, about as long as the answer it stands for.
fn garbage(reply: &Reply) -> Reply {
    let mut bytes = vec![0; reply.body.len().max(MIN_GARBAGE)];
    // Without randomness zeros are garbage as well.
    let _ = getrandom::fill(&mut bytes);
    Reply::text(200, STANDARD.encode(bytes))
}

impl Node {
    async fn respond(&self, call: Call) -> Reply {
        if call.headers.contains_key("x-loki-long-poll") {
            return Reply::text(410, "Long polling is no longer supported");
        }
        let path = call.target.split('?').next().unwrap_or_default();
        let not_ready = self.not_ready();
        if let (Some(reasons), "/storage_rpc/v1" | "/onion_req/v2" | peers::STORAGE) =
            (&not_ready, path)
        {
            return Reply::text(503, format!("Service node is not ready: {reasons}\n"));
        }
        match (&call.method, path) {
            (&Method::POST, "/storage_rpc/v1") => {
                if !self.limiter.allow(call.from, Instant::now()) {
                    return Reply::text(429, "Too Many Requests\n");
                }
                rpc::handle(self, &call.body).await.into_reply()
            }
            (&Method::POST, "/onion_req/v2") => {
                self.shared.onion_requests.fetch_add(1, Ordering::Relaxed);
                onion::from_client(self, &call.body).await
            }
            (&Method::POST, peers::PING) => {
                let key = STANDARD.encode(self.info.ed25519);
                let header = HeaderValue::from_str(&key)
                    .ok()
                    .map(|key| (peers::SNODE_PUBKEY.clone(), key));
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
                rpc::recursive::from_peer(self, &call.body)
                    .await
                    .into_reply()
            }
            (&Method::POST, peers::ONION) if self.shared.peers.is_peer(&call) => {
                if not_ready.is_some() {
                    let name = hex::encode(self.info.ed25519);
                    return Reply::text(503, format!("Snode not ready: {name}"));
                }
                onion::from_peer(self, &call.body).await
            }
            _ => Reply::text(404, format!("{} {} Not Found", call.method, call.target)),
        }
    }
}
