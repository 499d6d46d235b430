//! A new list of nodes from nodes themselves, over the onion.
//!
//! Three nodes in different /24 are asked, others in place of those that do not answer; only with three lists is there
//! a result. A node belongs to it if two lists name its Ed25519 key (network.md 1.4, 1.5). So one liar among the three
//! can neither bring in a node nor take one out, nor send anyone to another address: where lists agree on a key and on
//! nothing else, what was known before counts, if one of them confirms it.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use session_protocol::storage::answer::{self, NodeRecord};
use session_protocol::storage::{active_nodes::active_nodes, request};

use crate::engine::Engine;
use crate::isolation::Class;
use crate::pool::{Node, NodeKey, Pool};
use crate::state::{Asked, Route};
use crate::sync::lock;

/// Lists compared.
const SOURCES: usize = 3;

/// Of them, how many must agree.
const AGREEING: usize = 2;

/// Most nodes asked to come by that many lists.
const MOST_ASKED: usize = 9;

/// The new list, unless too few nodes answered or agreed.
pub(crate) async fn from_nodes(engine: &Engine) -> Option<Vec<Node>> {
    let mut choice = Choice::default();
    let mut lists: Vec<Vec<Node>> = Vec::new();
    let mut left = MOST_ASKED;
    while lists.len() < SOURCES {
        let sources = choice.next(engine, (SOURCES - lists.len()).min(left));
        if sources.is_empty() {
            tracing::debug!(lists = lists.len(), "too few nodes gave a list of nodes");
            return None;
        }
        left -= sources.len();
        let asked = sources.iter().map(|(route, node)| ask(engine, route, node));
        lists.extend(join_all(asked).await.into_iter().flatten());
    }
    let nodes = {
        let state = lock(&engine.state);
        agreed(&lists, |key| state.pool.get(key).cloned())
    };
    let enough = is_enough(engine, &nodes);
    if !enough {
        tracing::debug!(nodes = nodes.len(), "nodes agree on too few nodes");
    }
    enough.then_some(nodes)
}

fn is_enough(engine: &Engine, nodes: &[Node]) -> bool {
    let usable = Pool::new(nodes.to_vec(), engine.config.public_addresses_only);
    usable.len() >= engine.config.min_nodes
}

/// The list of one node. Newer ones give it in binary; others pass the question on to their chain daemon.
async fn ask(engine: &Engine, route: &Route, node: &Node) -> Option<Vec<Node>> {
    let limit = engine.config.times.request;
    let payload = request::active_nodes().to_json();
    let (answer, _) = engine
        .send(route, node, &payload, limit, false)
        .await
        .ok()?;
    let records: Vec<NodeRecord> = match answer.status {
        200 => active_nodes(&answer.body).ok()?,
        400 => {
            let payload = request::service_nodes().to_json();
            let (answer, _) = engine
                .send(route, node, &payload, limit, false)
                .await
                .ok()?;
            let result = answer.body.get("result").filter(|_| answer.status == 200)?;
            answer::service_nodes(result).ok()?
        }
        _ => return None,
    };
    let nodes: Vec<Node> = records.into_iter().map(Node::from).collect();
    is_enough(engine, &nodes).then_some(nodes)
}

/// Whom to ask: never one twice, and never two in a /24.
#[derive(Default)]
struct Choice {
    asked: Asked,
    subnets: HashSet<[u8; 3]>,
}

impl Choice {
    fn next(&mut self, engine: &Engine, count: usize) -> Vec<(Route, Node)> {
        let now = engine.now();
        let state = lock(&engine.state);
        let mut chosen = Vec::new();
        while chosen.len() < count {
            let rng = &mut *engine.choices.get();
            let next = state.choose_any(rng, Class::OWN, &self.asked, now);
            let Some((route, node)) = next else {
                break;
            };
            self.asked.refused.insert(node.ed25519);
            if self.subnets.insert(node.subnet()) || !engine.config.subnet_diversity {
                chosen.push((route, node));
            }
        }
        chosen
    }
}

/// Nodes that enough of the lists name. `known` is what was known of a node before.
fn agreed(lists: &[Vec<Node>], known: impl Fn(&NodeKey) -> Option<Node>) -> Vec<Node> {
    let mut votes: HashMap<NodeKey, Vec<&Node>> = HashMap::new();
    for list in lists {
        let mut named = HashSet::new();
        for node in list {
            // Naming a node twice is one vote.
            if named.insert(node.ed25519) {
                votes.entry(node.ed25519).or_default().push(node);
            }
        }
    }
    let settle = |(key, votes): (NodeKey, Vec<&Node>)| {
        let alike = |node: &Node| votes.iter().filter(|vote| **vote == node).count();
        let majority = votes.iter().find(|node| alike(node) >= AGREEING);
        match majority {
            Some(node) => Some((*node).clone()),
            None if votes.len() >= AGREEING => known(&key).filter(|node| alike(node) > 0),
            None => None,
        }
    };
    votes.into_iter().filter_map(settle).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pool::tests::node;

    fn moved(number: u8) -> Node {
        let mut node = node(number);
        node.port += 1;
        node
    }

    fn found(lists: &[Vec<Node>], known: &[Node]) -> HashSet<Node> {
        let known = |key: &NodeKey| known.iter().find(|node| node.ed25519 == *key).cloned();
        agreed(lists, known).into_iter().collect()
    }

    #[test]
    fn two_of_three_must_agree() {
        let lists = [
            vec![node(1), node(2), node(3), node(4), node(4)],
            vec![node(1), node(2), moved(3)],
            vec![node(1), node(5)],
        ];
        assert_eq!(found(&lists, &[]), [node(1), node(2)].into());
        assert!(found(&[vec![node(1)]], &[node(1)]).is_empty());
    }

    #[test]
    fn a_disputed_address_is_the_known_one_if_a_list_confirms_it() {
        let lists = [vec![node(1), node(2)], vec![moved(1), moved(2)], vec![]];
        let mut elsewhere = node(2);
        elsewhere.port += 7;
        assert_eq!(found(&lists, &[node(1), elsewhere]), [node(1)].into());
        // Two that agree on something new are believed.
        let lists = [vec![moved(1)], vec![moved(1)], vec![node(1)]];
        assert_eq!(found(&lists, &[node(1)]), [moved(1)].into());
    }

    proptest! {
        /// Whatever a third list says, two honest and equal ones decide.
        #[test]
        fn one_liar_changes_nothing(
            honest in prop::collection::hash_set(1_u8..60, 0..40),
            lie in prop::collection::vec((1_u8..60, any::<bool>()), 0..80),
            known in prop::collection::vec((1_u8..60, any::<bool>()), 0..40),
            place in 0_usize..3,
        ) {
            let bend = |(number, bent): &(u8, bool)| if *bent { moved(*number) } else { node(*number) };
            let list: Vec<Node> = honest.iter().map(|number| node(*number)).collect();
            let known: Vec<Node> = known.iter().map(bend).collect();
            let mut lists = vec![list.clone(), list.clone()];
            lists.insert(place, lie.iter().map(bend).collect());
            prop_assert_eq!(found(&lists, &known), list.into_iter().collect::<HashSet<_>>());
        }

        /// Honest lists that differ for a moment, and a liar: nobody comes in whom no honest list names.
        #[test]
        fn nobody_is_brought_in_by_one(
            first in prop::collection::hash_set(1_u8..30, 0..30),
            second in prop::collection::hash_set(1_u8..30, 0..30),
            lie in prop::collection::vec((1_u8..60, any::<bool>()), 0..80),
        ) {
            let honest = |numbers: &HashSet<u8>| numbers.iter().map(|number| node(*number)).collect::<Vec<_>>();
            let lie: Vec<Node> = lie.iter().map(|(number, bent)| if *bent { moved(*number) } else { node(*number) }).collect();
            let lists = [honest(&first), lie, honest(&second)];
            let found = found(&lists, &[]);
            for node in &found {
                prop_assert!(lists[0].contains(node) || lists[2].contains(node));
            }
            for number in first.intersection(&second) {
                prop_assert!(found.contains(&node(*number)));
            }
        }
    }
}
