//! Onion paths: choosing hops, and which paths are in use.
//!
//! Pure: no I/O and no clock. Promises: no node is on two paths; with diversity on, no two nodes in use share a
//! /24; a path never contains the node it is asked to reach; a path with three strikes is dropped
//! (network.md 6.1, 6.3).

use std::time::Duration;

use rand_core::Rng;

use crate::pool::{Node, NodeKey, Pool, STRIKES};
use crate::random;

/// Paths kept ready.
pub(crate) const WANTED: usize = 2;

/// Nodes on a path.
pub(crate) const HOPS: usize = 3;

/// Three nodes, the guard first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) id: String,
    pub(crate) hops: [Node; HOPS],
    /// Network time, ms.
    pub(crate) created_ms: u64,
    /// Network time, ms.
    pub(crate) last_success_ms: Option<u64>,
    pub(crate) latency: Option<Duration>,
    strikes: u8,
    /// A request over it timed out and nothing has come back since.
    pub(crate) suspect: bool,
}

impl Path {
    pub(crate) fn new(id: String, hops: [Node; HOPS], created_ms: u64) -> Self {
        Self {
            id,
            hops,
            created_ms,
            last_success_ms: None,
            latency: None,
            strikes: 0,
            suspect: false,
        }
    }

    pub(crate) fn contains(&self, key: &NodeKey) -> bool {
        self.hops.iter().any(|hop| hop.ed25519 == *key)
    }

    /// The destination answered.
    pub(crate) fn answered(&mut self, now_ms: u64, latency: Option<Duration>) {
        self.last_success_ms = Some(now_ms);
        self.latency = latency.or(self.latency);
        self.strikes = 0;
        self.suspect = false;
    }
}

/// How good a path is for a request, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    /// Nothing speaks against it.
    None,
    /// Something timed out over it.
    Suspect,
    /// It failed this very request.
    Failed,
}

/// Paths that work.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    ready: Vec<Path>,
}

impl Paths {
    pub(crate) fn all(&self) -> &[Path] {
        &self.ready
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Path> {
        self.ready.iter_mut().find(|path| path.id == id)
    }

    /// Has every path tested before it is trusted again.
    pub(crate) fn doubt_all(&mut self) {
        for path in &mut self.ready {
            path.suspect = true;
        }
    }

    pub(crate) fn add(&mut self, path: Path) {
        self.ready.push(path);
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Path> {
        let index = self.ready.iter().position(|path| path.id == id)?;
        Some(self.ready.remove(index))
    }

    /// Counts a failure; the third in a row removes the path and returns it.
    pub(crate) fn strike(&mut self, id: &str) -> Option<Path> {
        let path = self.get_mut(id)?;
        path.strikes = path.strikes.saturating_add(1);
        if path.strikes < STRIKES {
            return None;
        }
        self.remove(id)
    }

    /// A path to `target` that does not contain it: at random among the best.
    pub(crate) fn choose<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
        target: &NodeKey,
        avoid: &[String],
    ) -> Option<(Doubt, &Path)> {
        let able: Vec<&Path> = self
            .ready
            .iter()
            .filter(|path| !path.contains(target))
            .collect();
        let doubt = |path: &&Path| match (avoid.contains(&path.id), path.suspect) {
            (true, _) => Doubt::Failed,
            (false, true) => Doubt::Suspect,
            (false, false) => Doubt::None,
        };
        let least = able.iter().map(doubt).min()?;
        let best: Vec<&Path> = able
            .into_iter()
            .filter(|path| doubt(path) == least)
            .collect();
        random::pick(rng, &best).map(|path| (least, *path))
    }
}

/// What [`choose_hops`] must respect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// Nodes of other paths, also of those being built.
    pub(crate) in_use: &'a [Node],
    /// Known guards in order of preference.
    pub(crate) guards: &'a [NodeKey],
    /// Guards that may not lead now, for instance because they do not answer.
    pub(crate) resting: &'a [NodeKey],
    /// No two nodes in use share a /24.
    pub(crate) diversity: bool,
}

/// Chooses three nodes for a new path; `None` if the pool has none that fit.
pub(crate) fn choose_hops<R: Rng + ?Sized>(
    rng: &mut R,
    pool: &Pool,
    rules: &Rules<'_>,
) -> Option<[Node; HOPS]> {
    let mut order: Vec<&Node> = pool.usable().collect();
    random::shuffle(rng, &mut order);
    let fits = |node: &Node, taken: &[&Node]| {
        rules
            .in_use
            .iter()
            .chain(taken.iter().copied())
            .all(|other| {
                other.ed25519 != node.ed25519
                    && !(rules.diversity && other.subnet() == node.subnet())
            })
    };
    let known = rules.guards.iter().filter_map(|key| pool.get(key));
    let guard = known
        .filter(|node| pool.is_usable(&node.ed25519))
        .chain(order.iter().copied())
        .find(|node| !rules.resting.contains(&node.ed25519) && fits(node, &[]))?;
    // Known guards are left for the other path to begin with, if that is possible.
    let (reserved, free): (Vec<&Node>, Vec<&Node>) = order
        .iter()
        .copied()
        .partition(|node| rules.guards.contains(&node.ed25519));
    let rest: Vec<&Node> = free.into_iter().chain(reserved).collect();
    let middle = *rest.iter().find(|node| fits(node, &[guard]))?;
    let edge = *rest.iter().find(|node| fits(node, &[guard, middle]))?;
    Some([guard.clone(), middle.clone(), edge.clone()])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::pool::tests::node;

    fn path(id: &str, numbers: [u8; 3]) -> Path {
        Path::new(id.into(), numbers.map(node), 0)
    }

    fn paths() -> Paths {
        let mut paths = Paths::default();
        paths.add(path("a", [1, 2, 3]));
        paths.add(path("b", [4, 5, 6]));
        paths
    }

    #[test]
    fn a_path_never_contains_its_target() {
        let paths = paths();
        let mut rng = random::system();
        for _ in 0..50 {
            assert_eq!(paths.choose(&mut rng, &[2; 32], &[]).unwrap().1.id, "b");
            assert_eq!(paths.choose(&mut rng, &[6; 32], &[]).unwrap().1.id, "a");
        }
        let only_a = ["b".to_owned()];
        assert_eq!(paths.choose(&mut rng, &[9; 32], &only_a).unwrap().1.id, "a");
        // Better the path that failed before than none.
        assert_eq!(paths.choose(&mut rng, &[2; 32], &only_a).unwrap().1.id, "b");
        assert!(Paths::default().choose(&mut rng, &[9; 32], &[]).is_none());
    }

    #[test]
    fn a_suspect_is_used_only_when_there_is_no_other() {
        let mut paths = paths();
        let mut rng = random::system();
        paths.get_mut("a").unwrap().suspect = true;
        for _ in 0..50 {
            assert_eq!(paths.choose(&mut rng, &[9; 32], &[]).unwrap().1.id, "b");
        }
        paths.remove("b");
        assert_eq!(paths.choose(&mut rng, &[9; 32], &[]).unwrap().1.id, "a");
    }

    #[test]
    fn three_failures_in_a_row_drop_a_path() {
        let mut paths = paths();
        assert!(paths.strike("a").is_none());
        assert!(paths.strike("a").is_none());
        paths.get_mut("a").unwrap().answered(1, None);
        assert!(paths.strike("a").is_none());
        assert!(paths.strike("a").is_none());
        assert_eq!(paths.strike("a").unwrap().id, "a");
        assert!(paths.strike("a").is_none());
        assert_eq!(paths.all().len(), 1);
    }

    proptest! {
        /// Whatever the pool looks like, chosen paths are disjoint, diverse and led by a known guard if one can.
        #[test]
        fn chosen_paths_keep_the_rules(
            subnets in prop::collection::vec(1_u8..20, 1..40),
            guards in prop::collection::vec(1_u8..40, 0..4),
            banned in prop::collection::vec(1_u8..40, 0..6),
            resting in prop::collection::vec(1_u8..40, 0..3),
            diversity: bool,
        ) {
            let list = subnets.iter().enumerate().map(|(index, subnet)| {
                let mut node = node(u8::try_from(index + 1).unwrap());
                node.ip = std::net::Ipv4Addr::new(10, 0, *subnet, u8::try_from(index).unwrap());
                node
            });
            let mut pool = Pool::new(list.collect(), 0, false);
            banned.iter().for_each(|number| pool.ban(&[*number; 32]));
            let guards: Vec<NodeKey> = guards.iter().map(|number| [*number; 32]).collect();
            let resting: Vec<NodeKey> = resting.iter().map(|number| [*number; 32]).collect();
            let mut in_use: Vec<Node> = Vec::new();
            for _ in 0..3 {
                let rules = Rules { in_use: &in_use, guards: &guards, resting: &resting, diversity };
                let possible: Vec<Node> = guards.iter()
                    .filter(|key| !resting.contains(key) && pool.is_usable(key))
                    .filter_map(|key| pool.get(key).cloned())
                    .filter(|node| in_use.iter().all(|other| other.ed25519 != node.ed25519
                        && !(diversity && other.subnet() == node.subnet())))
                    .collect();
                let Some(hops) = choose_hops(&mut random::system(), &pool, &rules) else {
                    // With all subnets different and enough nodes there is always a path.
                    let usable: HashSet<[u8; 3]> = pool.usable().map(Node::subnet).collect();
                    prop_assert!(usable.len() < in_use.len() + HOPS + resting.len() + 1 || usable.len() < 7);
                    break;
                };
                prop_assert!(hops.iter().all(|hop| pool.is_usable(&hop.ed25519)));
                prop_assert!(!resting.contains(&hops[0].ed25519));
                if let Some(first) = possible.first() {
                    prop_assert_eq!(&hops[0], first);
                }
                in_use.extend(hops);
            }
            let keys: HashSet<NodeKey> = in_use.iter().map(|node| node.ed25519).collect();
            prop_assert_eq!(keys.len(), in_use.len());
            if diversity {
                let subnets: HashSet<[u8; 3]> = in_use.iter().map(Node::subnet).collect();
                prop_assert_eq!(subnets.len(), in_use.len());
            }
        }
    }
}
