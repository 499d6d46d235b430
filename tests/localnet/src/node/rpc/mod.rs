//! Storage requests: parsing, dispatch, and the answers that need no swarm (network.md 4).
//!
//! [`params`] reads parameters and refuses mistyped ones, [`auth`] checks who asks, [`recursive`] runs what
//! every member of a swarm has to do, [`batch`] and [`ifelse`] hold other requests; the others are a method or a few
//! each.

pub(super) mod answer;
mod auth;
mod batch;
mod delete;
mod expire;
mod expiries;
mod ifelse;
mod meta;
mod over;
mod params;
pub(super) mod recursive;
mod retrieve;
mod revoke;
mod store;

use serde_json::{Map, Value};

use super::Node;
use answer::Answer;
use params::Params;
use recursive::Change;

/// A request that was understood.
enum Request {
    /// Runs on every member of the swarm. With it the request as received, to pass on.
    Change(Change, Value),
    Retrieve(retrieve::Retrieve),
    GetSwarm(meta::GetSwarm),
    Info,
    ActiveNodes,
    Oxend(meta::Oxend),
    GetExpiries(expiries::GetExpiries),
    Revoked(revoke::Revoked),
    Batch(Vec<Request>),
    Sequence(Vec<Request>),
    IfElse(Box<ifelse::IfElse>),
}

/// What kinds of requests are allowed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Also those that hold others.
    Any,
    /// Only single ones.
    Single,
}

/// Answers a request given as JSON text.
pub(super) async fn handle(node: &Node, body: &[u8]) -> Answer {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return Answer::text(400, "invalid json");
    };
    match parse(value, Level::Any) {
        Ok(request) => run(node, &request).await,
        Err(refusal) => refusal,
    }
}

/// Reads `{"method", "params"}`.
fn parse(value: Value, level: Level) -> Result<Request, Answer> {
    let missing = |field| Answer::text(400, format!("invalid json: no `{field}` field"));
    let method = value
        .get("method")
        .and_then(Value::as_str)
        .ok_or_else(|| missing("method"))?;
    let map = value
        .get("params")
        .and_then(Value::as_object)
        .ok_or_else(|| missing("params"))?;
    let params = Params::new(map);
    let change = match method {
        "store" => Change::Store(store::Store::parse(&params)?),
        "delete" => Change::Delete(delete::Delete::parse(&params)?),
        "expire" => Change::Expire(expire::Expire::parse(&params)?),
        "delete_all" => Change::Over(over::Over::parse(over::Kind::DeleteAll, &params)?),
        "delete_before" => Change::Over(over::Over::parse(over::Kind::DeleteBefore, &params)?),
        "expire_all" => Change::Over(over::Over::parse(over::Kind::ExpireAll, &params)?),
        "revoke_subaccount" => Change::Revoke(revoke::Revoke::parse(false, &params)?),
        "unrevoke_subaccount" => Change::Revoke(revoke::Revoke::parse(true, &params)?),
        "retrieve" => return Ok(Request::Retrieve(retrieve::Retrieve::parse(&params)?)),
        "get_swarm" | "get_snodes_for_pubkey" => {
            return Ok(Request::GetSwarm(meta::GetSwarm::parse(&params)?));
        }
        "info" => return Ok(Request::Info),
        "active_nodes_bin" => return Ok(Request::ActiveNodes),
        "oxend_request" => return Ok(Request::Oxend(meta::Oxend::parse(&params)?)),
        "get_expiries" => {
            return Ok(Request::GetExpiries(expiries::GetExpiries::parse(&params)?));
        }
        "revoked_subaccounts" => {
            return Ok(Request::Revoked(revoke::Revoked::parse(&params)?));
        }
        "batch" | "sequence" | "ifelse" if level == Level::Single => {
            let text = format!("invalid request: {method} inside of batch or sequence");
            return Err(Answer::text(400, text));
        }
        "batch" => return Ok(Request::Batch(batch::parse(&params)?)),
        "sequence" => return Ok(Request::Sequence(batch::parse(&params)?)),
        "ifelse" => return Ok(Request::IfElse(Box::new(ifelse::IfElse::parse(&params)?))),
        _ => return Err(Answer::text(400, format!("no method {method}"))),
    };
    Ok(Request::Change(change, value))
}

async fn run(node: &Node, request: &Request) -> Answer {
    match request {
        Request::Batch(requests) => batch::run(node, requests).await,
        Request::Sequence(requests) => batch::run_sequence(node, requests).await,
        Request::IfElse(ifelse) => ifelse.run(node).await,
        single => run_single(node, single).await,
    }
}

async fn run_single(node: &Node, request: &Request) -> Answer {
    match request {
        Request::Change(change, raw) => recursive::run(node, change, raw).await,
        Request::Retrieve(retrieve) => retrieve.run(node).await,
        Request::GetSwarm(get_swarm) => get_swarm.run(node),
        Request::Info => meta::info(node),
        Request::ActiveNodes => meta::active_nodes(node),
        Request::Oxend(oxend) => oxend.run(node),
        Request::GetExpiries(get_expiries) => get_expiries.run(node).await,
        Request::Revoked(revoked) => revoked.run(node).await,
        // The parser puts none of these where only single requests are allowed.
        Request::Batch(_) | Request::Sequence(_) | Request::IfElse(_) => {
            Answer::text(500, "request failed")
        }
    }
}

/// Adds the node's clock and the hard fork (network.md 4.1).
fn stamped(node: &Node, mut answer: Map<String, Value>) -> Value {
    answer.insert("t".into(), node.now_ms().into());
    answer.insert("hf".into(), super::HARD_FORK.to_vec().into());
    Value::Object(answer)
}

/// The answer to a request for an account of another swarm (network.md 3.3).
fn wrong_swarm(node: &Node, account: &session_protocol::Identifier) -> Answer {
    Answer::json(
        421,
        stamped(node, node.shared.directory.swarm_answer(account)),
    )
}
