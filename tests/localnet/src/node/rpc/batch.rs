//! `batch` (network.md 4.12): several requests, started together, answered together.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::answer::{Answer, Body};
use super::params::{BadParam, Params, required};
use super::{Request, run_single};
use crate::node::Node;

const MAX_REQUESTS: usize = 20;

/// One request that cannot be read refuses all of them, before any runs.
pub(super) fn parse(params: &Params<'_>) -> Result<Vec<Request>, BadParam> {
    let expected = || BadParam::invalid("requests", "a list of 1 to 20 requests");
    let requests = required("requests", params.get("requests"))?
        .as_array()
        .ok_or_else(expected)?;
    if !(1..=MAX_REQUESTS).contains(&requests.len()) {
        return Err(expected());
    }
    let read = |(index, request): (usize, &Value)| {
        super::parse(request.clone(), false).map_err(|refusal| match refusal.body {
            Body::Text(text) => BadParam(format!("request {index}: {text}")),
            Body::Json(_) => BadParam(format!("request {index} is refused")),
        })
    };
    requests.iter().enumerate().map(read).collect()
}

/// The status is 200 whatever the parts answer.
pub(super) async fn run(node: &Node, requests: &[Request]) -> Answer {
    let answers = join_all(requests.iter().map(|request| run_single(node, request))).await;
    let results: Vec<Value> = answers.into_iter().map(Answer::into_element).collect();
    Answer::json(200, json!({ "results": results }))
}
