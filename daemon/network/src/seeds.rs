//! The list of nodes from a seed: the one request that does not go through the onion (network.md 1.3).

use hyper::body::Bytes;
use serde_json::{Value, json};
use session_protocol::storage::answer;
use session_protocol::storage::request::NODE_FIELDS;
use tokio::time::timeout;

use crate::config::NetworkConfig;
use crate::pool::{Node, Pool};
use crate::random;
use crate::transport::{Transport, TransportError};

/// Why no seed gave a usable list; that of the seed asked last, except that a refused certificate is always told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeedError {
    Unreachable,
    Certificate,
    Malformed,
    TooFewNodes,
    /// The proxy's reason: no seed was asked.
    Proxy(&'static str),
}

impl SeedError {
    /// Stable name of the reason.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Unreachable => "SEEDS_UNREACHABLE",
            Self::Certificate => "SEED_CERTIFICATE_REFUSED",
            Self::Malformed => "SEED_ANSWER_MALFORMED",
            Self::TooFewNodes => "TOO_FEW_NODES",
            Self::Proxy(reason) => reason,
        }
    }
}

/// Asks all seeds, one after another in random order, for the list of active nodes.
pub(crate) async fn fetch(
    transport: &dyn Transport,
    config: &NetworkConfig,
) -> Result<Vec<Node>, SeedError> {
    let request = json!({
        "jsonrpc": "2.0",
        "id": 0,
        "method": "get_n_service_nodes",
        "params": { "active_only": true, "fields": NODE_FIELDS },
    });
    let body = Bytes::from(request.to_string());
    let mut seeds: Vec<_> = config.seeds.iter().collect();
    random::shuffle(&mut random::system(), &mut seeds);
    let mut error = SeedError::Unreachable;
    for seed in seeds {
        let asked = timeout(config.times.seed, transport.seed(seed, body.clone())).await;
        let failure = match asked {
            Ok(Ok(reply)) => match read(reply.status, &reply.body, config) {
                Ok(nodes) => return Ok(nodes),
                Err(failure) => failure,
            },
            Ok(Err(TransportError::Certificate)) => SeedError::Certificate,
            Ok(Err(TransportError::TooLarge)) => SeedError::Malformed,
            Ok(Err(error)) => match error.proxy_reason() {
                // The others are behind the same proxy.
                Some(reason) => return Err(SeedError::Proxy(reason)),
                None => SeedError::Unreachable,
            },
            Err(_) => SeedError::Unreachable,
        };
        tracing::debug!(reason = failure.reason(), "a seed gave no list of nodes");
        if error != SeedError::Certificate {
            error = failure;
        }
    }
    Err(error)
}

fn read(status: u16, body: &[u8], config: &NetworkConfig) -> Result<Vec<Node>, SeedError> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| SeedError::Malformed)?;
    if status != 200 {
        return Err(SeedError::Malformed);
    }
    let records = answer
        .get("result")
        .ok_or(SeedError::Malformed)
        .and_then(|result| answer::service_nodes(result).map_err(|_| SeedError::Malformed))?;
    let nodes: Vec<Node> = records.into_iter().map(Node::from).collect();
    if Pool::new(nodes.clone(), config.public_addresses_only).len() < config.min_nodes {
        return Err(SeedError::TooFewNodes);
    }
    Ok(nodes)
}
