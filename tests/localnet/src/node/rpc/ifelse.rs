//! `ifelse` (network.md 4.12): runs one of two requests by what the node is.

use serde_json::{Map, Value};

use super::answer::Answer;
use super::batch::part;
use super::params::{BadParam, Params, required};
use super::{Level, Request};
use crate::node::{HARD_FORK, Node, VERSION};

pub(super) struct IfElse {
    conditions: Conditions,
    then: Option<Request>,
    other: Option<Request>,
}

struct Conditions {
    hf_at_least: Option<[u64; 2]>,
    hf_before: Option<[u64; 2]>,
    v_at_least: Option<[u64; 3]>,
    v_before: Option<[u64; 3]>,
    height_at_least: Option<i64>,
    height_before: Option<i64>,
}

impl IfElse {
    /// A branch may hold several requests itself.
    pub(super) fn parse(params: &Params<'_>) -> Result<Self, BadParam> {
        let conditions = required("if", params.get("if"))?
            .as_object()
            .ok_or_else(|| BadParam::invalid("if", "an object"))?;
        let conditions = Params::new(conditions);
        let branch = |name: &str| {
            let branch = params.get(name).cloned();
            branch
                .map(|branch| super::parse(branch, Level::Any).map_err(|bad| part(name, bad)))
                .transpose()
        };
        Ok(Self {
            conditions: Conditions {
                hf_at_least: conditions.version("hf_at_least")?,
                hf_before: conditions.version("hf_before")?,
                v_at_least: conditions.version("v_at_least")?,
                v_before: conditions.version("v_before")?,
                height_at_least: conditions.integer("height_at_least")?,
                height_before: conditions.integer("height_before")?,
            },
            then: branch("then")?,
            other: branch("else")?,
        })
    }

    pub(super) async fn run(&self, node: &Node) -> Answer {
        let height = node.shared.directory.height();
        let holds = self.conditions.hold(height);
        let branch = if holds { &self.then } else { &self.other };
        let mut answer = Map::new();
        answer.insert("hf".into(), HARD_FORK.to_vec().into());
        answer.insert("v".into(), VERSION.to_vec().into());
        answer.insert("height".into(), height.into());
        answer.insert("condition".into(), holds.into());
        if let Some(request) = branch {
            // A branch may be an `ifelse` again.
            let result = Box::pin(super::run(node, request)).await;
            answer.insert("result".into(), result.into_element());
        }
        Answer::json(200, Value::Object(answer))
    }
}

impl Conditions {
    /// Whether all of them do.
    fn hold(&self, height: u64) -> bool {
        let (hf, v) = (HARD_FORK.map(u64::from), VERSION.map(u64::from));
        let height = i64::try_from(height).unwrap_or(i64::MAX);
        self.hf_at_least.is_none_or(|least| hf >= least)
            && self.hf_before.is_none_or(|limit| hf < limit)
            && self.v_at_least.is_none_or(|least| v >= least)
            && self.v_before.is_none_or(|limit| v < limit)
            && self.height_at_least.is_none_or(|least| height >= least)
            && self.height_before.is_none_or(|limit| height < limit)
    }
}
