//! Requests about the network itself: `get_swarm` (network.md 3.2), `info` and `oxend_request` (4.13).

use serde_json::{Map, Value};
use session_protocol::Identifier;

use super::answer::{Answer, Body};
use super::params::{BadParam, Params, required};
use super::stamped;
use crate::node::{Node, VERSION};
use crate::service_nodes::get_service_nodes;

pub(super) struct GetSwarm(Identifier);

impl GetSwarm {
    pub(super) fn parse(params: &Params<'_>) -> Result<Self, BadParam> {
        params.account(true).map(Self)
    }

    pub(super) fn run(&self, node: &Node) -> Answer {
        Answer::json(
            200,
            stamped(node, node.shared.directory.swarm_answer(&self.0)),
        )
    }
}

pub(super) fn info(node: &Node) -> Answer {
    let mut answer = Map::new();
    answer.insert("version".into(), VERSION.to_vec().into());
    answer.insert("timestamp".into(), node.now_ms().into());
    Answer::json(200, stamped(node, answer))
}

/// The list of active nodes in binary form (network.md 1.5), which nodes do not know unless the network is to have
/// newer ones.
pub(super) fn active_nodes(node: &Node) -> Answer {
    if !node.shared.active_nodes_bin {
        return Answer::text(400, "no method active_nodes_bin");
    }
    let mut bytes = Vec::new();
    for listed in node.listed().nodes() {
        bytes.extend(listed.ed25519);
        bytes.extend(listed.swarm_id.to_be_bytes());
        bytes.extend(listed.ip.octets());
        bytes.extend(listed.port.to_be_bytes());
        bytes.extend(listed.port.to_be_bytes());
        bytes.extend(VERSION);
    }
    Answer {
        status: 200,
        body: Body::Bytes(bytes),
    }
}

enum Endpoint {
    GetServiceNodes,
    OnsResolve,
}

/// A request passed to the chain.
pub(super) struct Oxend {
    endpoint: Endpoint,
    params: Map<String, Value>,
}

impl Oxend {
    pub(super) fn parse(params: &Params<'_>) -> Result<Self, BadParam> {
        let endpoint = match required("endpoint", params.text("endpoint")?)? {
            "get_service_nodes" => Endpoint::GetServiceNodes,
            "ons_resolve" => Endpoint::OnsResolve,
            other => return Err(BadParam(format!("Invalid oxend endpoint '{other}'"))),
        };
        let params = match params.get("params") {
            None => Map::new(),
            Some(Value::Object(params)) => params.clone(),
            Some(_) => return Err(BadParam::invalid("params", "an object")),
        };
        Ok(Self { endpoint, params })
    }

    pub(super) fn run(&self, node: &Node) -> Answer {
        let result = match self.endpoint {
            Endpoint::GetServiceNodes => {
                get_service_nodes(&node.listed(), node.now_ms(), &self.params)
            }
            // No name is registered on this network.
            Endpoint::OnsResolve => Ok(Value::Object(Map::new())),
        };
        match result {
            Ok(result) => {
                let mut answer = Map::new();
                answer.insert("result".into(), result);
                Answer::json(200, stamped(node, answer))
            }
            Err(bad) => Answer::text(400, format!("Invalid params: {}", bad.0)),
        }
    }
}
