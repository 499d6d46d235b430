//! Whom to ask, and over which path.

use std::collections::HashSet;

use rand_core::Rng;
use session_protocol::Identifier;

use super::{Now, Route, State};
use crate::isolation::Class;
use crate::paths::{Doubt, Path};
use crate::pool::{Node, NodeKey};
use crate::random;

/// What one call has tried.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Members that answered, but cannot help.
    pub(crate) refused: HashSet<NodeKey>,
    /// Members from which nothing came.
    pub(crate) tried: HashSet<NodeKey>,
    /// Paths that failed.
    pub(crate) paths: Vec<String>,
}

impl State {
    /// One of `members` and a path of `class` to it. Those that refused are left out. The best path decides: a member
    /// that only a doubtful path leads to is no choice as long as there is another. Then those asked before come last,
    /// as do silent ones and those with strikes; `first` comes first.
    pub(crate) fn choose_member<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
        class: Class,
        members: &HashSet<NodeKey>,
        first: Option<&NodeKey>,
        asked: &Asked,
        now: Now,
    ) -> Option<(Route, Node)> {
        let least = self.paths.least_doubt(class, &asked.paths)?;
        let mut candidates: Vec<&Node> = members
            .iter()
            .filter(|key| !asked.refused.contains(*key))
            .filter_map(|key| self.pool.get(key))
            .collect();
        candidates.sort_unstable_by_key(|node| node.ed25519);
        random::shuffle(rng, &mut candidates);
        candidates.sort_by_key(|node| {
            (
                asked.tried.contains(&node.ed25519),
                self.is_silent(&node.ed25519, now),
                !self.pool.is_usable(&node.ed25519),
                first != Some(&node.ed25519),
            )
        });
        let mut best: Option<(Doubt, &Path, &Node)> = None;
        for node in candidates {
            let chosen = self.paths.choose(rng, class, &node.ed25519, &asked.paths);
            let Some((doubt, path)) = chosen else {
                continue;
            };
            // The first of equals.
            if best.is_none_or(|(other, ..)| doubt < other) {
                best = Some((doubt, path, node));
            }
            if doubt == least {
                break;
            }
        }
        let (_, path, node) = best?;
        Some((path.into(), node.clone()))
    }

    /// A random node to ask something that any node can answer, and a path to it.
    pub(crate) fn choose_any<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
        class: Class,
        asked: &Asked,
        now: Now,
    ) -> Option<(Route, Node)> {
        let all: HashSet<NodeKey> = self.pool.usable().map(|node| node.ed25519).collect();
        self.choose_member(rng, class, &all, None, asked, now)
    }

    /// Random nodes that are not on this path, to test it with. Silent ones are a last resort, and after them those that
    /// failed often: where few others are left, a path that cannot be tested would never come into use.
    pub(crate) fn choose_beside<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
        route: &Route,
        count: usize,
        now: Now,
    ) -> Vec<Node> {
        let mut others: Vec<&Node> = self
            .pool
            .all()
            .filter(|node| !route.contains(&node.ed25519))
            .collect();
        others.sort_unstable_by_key(|node| node.ed25519);
        random::shuffle(rng, &mut others);
        others.sort_by_key(|node| {
            (
                !self.pool.is_usable(&node.ed25519),
                self.is_silent(&node.ed25519, now),
            )
        });
        others.into_iter().take(count).cloned().collect()
    }

    /// Members of an account's swarm, if they are known.
    pub(crate) fn members(&self, owner: &Identifier) -> Option<HashSet<NodeKey>> {
        self.swarms.members(owner, &self.pool)
    }

    pub(super) fn is_silent(&self, key: &NodeKey, now: Now) -> bool {
        let silent = self.silent.get(key);
        silent.is_some_and(|silence| silence.until_ms > now.steady_ms)
    }
}
