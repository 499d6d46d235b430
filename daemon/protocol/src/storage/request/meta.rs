//! Several requests in one (network.md 4.12). An error of one is an answer like any other: see
//! [`answer`](crate::storage::answer).

use serde_json::{Map, Value, json};

use super::Request;

/// Most requests in one `batch` or `sequence`.
pub const MAX_BATCH: usize = 20;

/// `batch` of 1 to [`MAX_BATCH`] requests, which run together; `None` for any other number, and where one of them
/// holds others itself.
pub fn batch(requests: &[Request]) -> Option<Request> {
    several("batch", requests)
}

/// `sequence`: as [`batch`], but one after another, and only until one fails.
pub fn sequence(requests: &[Request]) -> Option<Request> {
    several("sequence", requests)
}

fn several(method: &'static str, requests: &[Request]) -> Option<Request> {
    let holds_others =
        |request: &Request| matches!(request.method, "batch" | "sequence" | "ifelse");
    let possible = (1..=MAX_BATCH).contains(&requests.len()) && !requests.iter().any(holds_others);
    possible.then(|| Request::new(method, json!({ "requests": requests })))
}

/// What has to hold at a node; all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Its hard fork is at least this one.
    pub hf_at_least: Option<[u16; 2]>,
    /// Its hard fork is an earlier one.
    pub hf_before: Option<[u16; 2]>,
    /// Its storage server has at least this version.
    pub v_at_least: Option<[u16; 3]>,
    /// Its storage server has an earlier version.
    pub v_before: Option<[u16; 3]>,
    /// Its chain has at least this height.
    pub height_at_least: Option<u64>,
    /// Its chain has a lower height.
    pub height_before: Option<u64>,
}

/// `ifelse`: runs one of two requests, or nothing where that one is missing.
pub fn if_else(condition: &Condition, then: Option<&Request>, other: Option<&Request>) -> Request {
    let conditions = [
        ("hf_at_least", condition.hf_at_least.map(|hf| json!(hf))),
        ("hf_before", condition.hf_before.map(|hf| json!(hf))),
        ("v_at_least", condition.v_at_least.map(|v| json!(v))),
        ("v_before", condition.v_before.map(|v| json!(v))),
        (
            "height_at_least",
            condition.height_at_least.map(Value::from),
        ),
        ("height_before", condition.height_before.map(Value::from)),
    ];
    let conditions: Map<String, Value> = conditions
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    let mut request = Request::new("ifelse", json!({ "if": conditions }));
    for (name, branch) in [("then", then), ("else", other)] {
        if let Some(branch) = branch {
            request.params.insert(name.into(), json!(branch));
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::super::info;
    use super::*;

    fn json(request: &Request) -> Value {
        serde_json::from_slice(&request.to_json()).unwrap()
    }

    #[test]
    fn a_batch_has_one_to_twenty_requests() {
        assert_eq!(batch(&[]), None);
        assert_eq!(batch(&vec![info(); 21]), None);
        let full = json(&batch(&vec![info(); 20]).unwrap());
        assert_eq!(full["method"], "batch");
        assert_eq!(full["params"]["requests"].as_array().unwrap().len(), 20);
        assert_eq!(
            full["params"]["requests"][0],
            json!({"method": "info", "params": {}})
        );
    }

    #[test]
    fn only_a_branch_may_hold_several() {
        let inner = sequence(&[info()]).unwrap();
        assert_eq!(sequence(&[info(), inner.clone()]), None);
        let condition = Condition {
            hf_at_least: Some([19, 4]),
            ..Condition::default()
        };
        let request = json(&if_else(&condition, Some(&inner), None));
        let expected = json!({"method": "ifelse", "params": {"if": {"hf_at_least": [19, 4]}, "then": json(&inner)}});
        assert_eq!(request, expected);
    }
}
