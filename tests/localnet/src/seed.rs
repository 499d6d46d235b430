//! The seed: JSON-RPC of the chain, as far as clients use it (network.md 1.3).

use std::sync::Arc;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::clock::Clock;
use crate::directory::Directory;
use crate::faults::Switch;
use crate::http::{Call, Reply, Service};
use crate::service_nodes::get_service_nodes;

/// Serves the node list.
pub(crate) struct Seed {
    pub directory: Arc<Directory>,
    pub clock: Arc<dyn Clock>,
    pub switch: Arc<Switch>,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    id: Value,
    method: Value,
    #[serde(default)]
    params: Value,
}

impl Seed {
    fn call(&self, body: &[u8]) -> Value {
        let failure = |id: Value, code: i64, message: &str| json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}});
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return failure(Value::Null, -32700, "Parse error");
        };
        let Ok(request) = Request::deserialize(value) else {
            return failure(Value::Null, -32600, "Invalid Request");
        };
        let params = match request.params {
            Value::Object(params) => params,
            Value::Null => Map::new(),
            _ => return failure(request.id, -32602, "Invalid params"),
        };
        match request.method.as_str() {
            Some("get_n_service_nodes" | "get_service_nodes" | "get_all_service_nodes") => {
                match get_service_nodes(&self.directory, self.clock.now_ms(), &params) {
                    Ok(result) => json!({"jsonrpc": "2.0", "id": request.id, "result": result}),
                    Err(bad) => failure(request.id, -32602, &format!("Invalid params: {}", bad.0)),
                }
            }
            Some(_) => failure(request.id, -32601, "Method not found"),
            None => failure(request.id, -32600, "Invalid Request"),
        }
    }
}

impl Service for Seed {
    async fn answer(self: Arc<Self>, call: Call) -> Option<Reply> {
        self.switch.delay().await;
        let faults = self.switch.faults();
        if self.switch.lost().is_some() {
            return None;
        }
        let path = call.target.split('?').next().unwrap_or_default();
        Some(if faults.refuse {
            Reply::text(503, "Service Unavailable")
        } else if faults.garbage {
            Reply::text(200, "garbage")
        } else if call.method == Method::POST && path == "/json_rpc" {
            Reply::json(200, &self.call(&call.body))
        } else {
            Reply::text(404, "Not found")
        })
    }

    async fn moving(&self) {
        self.switch.moving().await;
    }
}
