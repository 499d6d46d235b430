//! A new list of nodes from nodes themselves, over the onion.
//!
//! Three nodes in different /24 are asked; a node belongs to the new list if two of them agree on its keys, address
//! and swarm (network.md 1.4).

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use session_protocol::storage::{answer, request};

use crate::engine::Engine;
use crate::pool::{Node, Pool};
use crate::random;
use crate::state::{Asked, Route};
use crate::sync::lock;

/// Nodes asked.
const SOURCES: usize = 3;

/// Of them, how many must agree.
const AGREEING: usize = 2;

/// The new list, unless too few nodes answered or agreed.
pub(crate) async fn from_nodes(engine: &Engine) -> Option<Vec<Node>> {
    let payload = request::service_nodes().to_json();
    let sources = choose(engine);
    let limit = engine.config.times.request;
    let asked = sources.iter().map(async |(route, node)| {
        let (answer, _) = engine
            .send(route, node, &payload, limit, false)
            .await
            .ok()?;
        let result = answer.body.get("result").filter(|_| answer.status == 200)?;
        let records = answer::service_nodes(result).ok()?;
        Some(records.into_iter().map(Node::from).collect::<Vec<_>>())
    });
    let lists: Vec<Vec<Node>> = join_all(asked).await.into_iter().flatten().collect();
    let nodes = agreed(lists);
    let usable = Pool::new(nodes.clone(), 0, engine.config.public_addresses_only).len();
    (usable >= engine.config.min_nodes).then_some(nodes)
}

fn choose(engine: &Engine) -> Vec<(Route, Node)> {
    let now = engine.local_ms();
    let state = lock(&engine.state);
    let mut asked = Asked::default();
    let mut subnets = HashSet::new();
    let mut chosen = Vec::new();
    while chosen.len() < SOURCES {
        let Some((route, node)) = state.choose_any(&mut random::system(), &asked, now) else {
            break;
        };
        asked.refused.insert(node.ed25519);
        if subnets.insert(node.subnet()) || !engine.config.subnet_diversity {
            chosen.push((route, node));
        }
    }
    chosen
}

/// Nodes that enough of the lists have, with the same keys, address and swarm.
fn agreed(lists: Vec<Vec<Node>>) -> Vec<Node> {
    let mut votes: HashMap<Node, usize> = HashMap::new();
    for list in lists {
        // Naming a node twice is one vote.
        for node in list.into_iter().collect::<HashSet<_>>() {
            *votes.entry(node).or_default() += 1;
        }
    }
    votes
        .into_iter()
        .filter(|(_, count)| *count >= AGREEING)
        .map(|(node, _)| node)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::tests::node;

    #[test]
    fn two_of_three_must_agree_in_everything() {
        let mut moved = node(3);
        moved.port += 1;
        let lists = vec![
            vec![node(1), node(2), node(3), node(4), node(4)],
            vec![node(1), node(2), moved],
            vec![node(1), node(5)],
        ];
        let found: HashSet<Node> = agreed(lists).into_iter().collect();
        assert_eq!(found, [node(1), node(2)].into());
        assert!(agreed(vec![vec![node(1)]]).is_empty());
    }
}
