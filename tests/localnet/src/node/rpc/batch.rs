//! `batch` and `sequence` (network.md 4.12): several requests in one, together or one after another.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::answer::{Answer, Body};
use super::params::{BadParam, Params, required};
use super::{Level, Request, run_single};
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
        super::parse(request.clone(), Level::Single)
            .map_err(|refusal| part(&format!("request {index}"), refusal))
    };
    requests.iter().enumerate().map(read).collect()
}

/// Why the whole is refused when one part is.
pub(super) fn part(name: &str, refusal: Answer) -> BadParam {
    match refusal.body {
        Body::Text(text) => BadParam(format!("{name}: {text}")),
        Body::Json(_) | Body::Bytes(_) => BadParam(format!("{name} is refused")),
    }
}

/// The status is 200 whatever the parts answer.
pub(super) async fn run(node: &Node, requests: &[Request]) -> Answer {
    let answers = join_all(requests.iter().map(|request| run_single(node, request))).await;
    results(answers)
}

/// As [`run`], but each waits for the one before it, and after one that fails there are no more.
pub(super) async fn run_sequence(node: &Node, requests: &[Request]) -> Answer {
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        let answer = run_single(node, request).await;
        let failed = !(200..300).contains(&answer.status);
        answers.push(answer);
        if failed {
            break;
        }
    }
    results(answers)
}

fn results(answers: Vec<Answer>) -> Answer {
    let results: Vec<Value> = answers.into_iter().map(Answer::into_element).collect();
    Answer::json(200, json!({ "results": results }))
}
