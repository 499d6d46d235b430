//! Onion paths: choosing hops, and which paths are in use.
//!
//! Pure: no I/O and no clock. Promises: within one isolation key no node is on two paths; circuits of different keys
//! share guards and, unless that was relaxed, nothing else; with diversity on, no two nodes in use share a /24; a path
//! never contains the node it is asked to reach (network.md 6.1, 6.3).

use std::time::Duration;

use rand_core::Rng;

use crate::isolation::Class;
use crate::ladder::LadderStep;
use crate::pool::{Node, NodeKey, Pool, STRIKES};
use crate::random;

/// Paths kept ready for each isolation key.
pub(crate) const WANTED: usize = 2;

/// Nodes on a path.
pub(crate) const HOPS: usize = 3;

/// Three nodes, the guard first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) id: String,
    /// Whose requests it carries.
    pub(crate) class: Class,
    pub(crate) hops: [Node; HOPS],
    /// How far the rules were relaxed for it.
    pub(crate) step: LadderStep,
    /// Network time, ms.
    pub(crate) created_ms: u64,
    /// Network time, ms.
    pub(crate) last_success_ms: Option<u64>,
    pub(crate) latency: Option<Duration>,
    /// When its hops are due to change, steady ms.
    pub(crate) rotate_at_ms: u64,
    /// When it is due to be tested, unless something comes back over it before, steady ms.
    pub(crate) test_at_ms: u64,
    /// A request over it failed and nothing has come back since.
    pub(crate) suspect: bool,
    /// Failures in a row for nodes that answered over another path.
    strikes: u8,
    /// Tests in a row in which every hop answered and nothing behind the last did.
    pub(crate) dead_ends: u8,
}

impl Path {
    pub(crate) fn new(id: String, class: Class, hops: [Node; HOPS], created_ms: u64) -> Self {
        Self {
            id,
            class,
            hops,
            step: LadderStep::Strict,
            created_ms,
            last_success_ms: None,
            latency: None,
            rotate_at_ms: u64::MAX,
            test_at_ms: u64::MAX,
            suspect: false,
            strikes: 0,
            dead_ends: 0,
        }
    }

    pub(crate) fn contains(&self, key: &NodeKey) -> bool {
        self.hops.iter().any(|hop| hop.ed25519 == *key)
    }

    /// The destination answered.
    pub(crate) fn answered(&mut self, now_ms: u64, latency: Option<Duration>) {
        self.last_success_ms = Some(now_ms);
        self.latency = latency.or(self.latency);
        self.suspect = false;
        self.strikes = 0;
        self.dead_ends = 0;
    }

    /// It passed a test, which does not make up for requests that it failed.
    pub(crate) fn passed(&mut self, now_ms: u64, latency: Duration) {
        let strikes = self.strikes;
        self.answered(now_ms, Some(latency));
        self.strikes = strikes;
    }

    /// Counts a failure for a node that is well. Returns whether there were too many.
    pub(crate) fn strike(&mut self) -> bool {
        self.strikes = self.strikes.saturating_add(1);
        self.strikes >= STRIKES
    }
}

/// How good a path is for a request, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    /// Nothing speaks against it.
    None,
    /// Something failed over it.
    Suspect,
    /// It failed this very request.
    Failed,
}

impl Doubt {
    /// Of a path, for a request that failed over those to `avoid`.
    fn of(path: &Path, avoid: &[String]) -> Self {
        match (avoid.contains(&path.id), path.suspect) {
            (true, _) => Self::Failed,
            (false, true) => Self::Suspect,
            (false, false) => Self::None,
        }
    }
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

    /// Paths of one class.
    pub(crate) fn of(&self, class: Class) -> impl Iterator<Item = &Path> {
        self.ready.iter().filter(move |path| path.class == class)
    }

    /// The least doubt that a path of a class can give a request, wherever it goes.
    pub(crate) fn least_doubt(&self, class: Class, avoid: &[String]) -> Option<Doubt> {
        self.of(class).map(|path| Doubt::of(path, avoid)).min()
    }

    /// A path of a class to `target` that does not contain it: at random among the best.
    pub(crate) fn choose<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
        class: Class,
        target: &NodeKey,
        avoid: &[String],
    ) -> Option<(Doubt, &Path)> {
        let able: Vec<&Path> = self
            .of(class)
            .filter(|path| !path.contains(target))
            .collect();
        let doubt = |path: &&Path| Doubt::of(path, avoid);
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
    /// Nodes of other paths of the same class, also of those being built.
    pub(crate) in_use: &'a [Node],
    /// Guards of other classes' paths: a new path may begin with them as well, but not pass through them.
    pub(crate) other_guards: &'a [Node],
    /// Other hops of other classes' paths.
    pub(crate) other_hops: &'a [Node],
    /// Guards in order of preference.
    pub(crate) guards: &'a [NodeKey],
    /// Guards that may not lead now, for instance because they do not answer.
    pub(crate) resting: &'a [NodeKey],
    /// Any node may be a guard if none of the preferred can.
    pub(crate) new_guards: bool,
    /// No two nodes in use share a /24.
    pub(crate) diversity: bool,
}

impl Rules<'_> {
    fn clash(&self, one: &Node, other: &Node) -> bool {
        one.ed25519 == other.ed25519 || (self.diversity && one.subnet() == other.subnet())
    }

    fn is_guard(&self, node: &Node) -> bool {
        let others = self.in_use.iter().chain(self.other_hops);
        let guards = self.other_guards.iter();
        !self.resting.contains(&node.ed25519)
            && !others.into_iter().any(|other| self.clash(node, other))
            && !guards
                .filter(|other| other.ed25519 != node.ed25519)
                .any(|other| self.clash(node, other))
    }

    fn is_hop(&self, node: &Node, taken: &[&Node]) -> bool {
        let others = self.in_use.iter().chain(self.other_hops);
        let others = others.chain(self.other_guards).chain(taken.iter().copied());
        !others.into_iter().any(|other| self.clash(node, other))
    }
}

/// Chooses three nodes for a new path; `None` if the pool has none that fit.
pub(crate) fn choose_hops<R: Rng + ?Sized>(
    rng: &mut R,
    pool: &Pool,
    rules: &Rules<'_>,
) -> Option<[Node; HOPS]> {
    let mut order: Vec<&Node> = pool.usable().collect();
    // The order of a hash map is no order: a seeded generator gives the same paths for the same list.
    order.sort_unstable_by_key(|node| node.ed25519);
    random::shuffle(rng, &mut order);
    let known = rules.guards.iter().filter_map(|key| pool.get(key));
    let guard = known
        .filter(|node| pool.is_usable(&node.ed25519))
        .chain(order.iter().copied().filter(|_| rules.new_guards))
        .find(|node| rules.is_guard(node))?;
    // Known guards are left for other paths to begin with, if that is possible.
    let (reserved, free): (Vec<&Node>, Vec<&Node>) = order
        .iter()
        .copied()
        .partition(|node| rules.guards.contains(&node.ed25519));
    let rest: Vec<&Node> = free.into_iter().chain(reserved).collect();
    let middle = *rest.iter().find(|node| rules.is_hop(node, &[guard]))?;
    let edge = *rest
        .iter()
        .find(|node| rules.is_hop(node, &[guard, middle]))?;
    Some([guard.clone(), middle.clone(), edge.clone()])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::pool::tests::node;

    fn path(id: &str, numbers: [u8; 3]) -> Path {
        Path::new(id.into(), Class::OWN, numbers.map(node), 0)
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
            assert_eq!(
                paths
                    .choose(&mut rng, Class::OWN, &[2; 32], &[])
                    .unwrap()
                    .1
                    .id,
                "b"
            );
            assert_eq!(
                paths
                    .choose(&mut rng, Class::OWN, &[6; 32], &[])
                    .unwrap()
                    .1
                    .id,
                "a"
            );
        }
        let only_a = ["b".to_owned()];
        assert_eq!(
            paths
                .choose(&mut rng, Class::OWN, &[9; 32], &only_a)
                .unwrap()
                .1
                .id,
            "a"
        );
        // Better the path that failed before than none.
        assert_eq!(
            paths
                .choose(&mut rng, Class::OWN, &[2; 32], &only_a)
                .unwrap()
                .1
                .id,
            "b"
        );
        assert!(
            Paths::default()
                .choose(&mut rng, Class::OWN, &[9; 32], &[])
                .is_none()
        );
    }

    #[test]
    fn a_suspect_is_used_only_when_there_is_no_other() {
        let mut paths = paths();
        let mut rng = random::system();
        paths.get_mut("a").unwrap().suspect = true;
        for _ in 0..50 {
            assert_eq!(
                paths
                    .choose(&mut rng, Class::OWN, &[9; 32], &[])
                    .unwrap()
                    .1
                    .id,
                "b"
            );
        }
        paths.remove("b");
        assert_eq!(
            paths
                .choose(&mut rng, Class::OWN, &[9; 32], &[])
                .unwrap()
                .1
                .id,
            "a"
        );
    }

    #[test]
    fn a_path_serves_its_own_class_alone() {
        let paths = paths();
        let mut classes = crate::isolation::Classes::default();
        let key = crate::isolation::IsolationKey::new("account", "a");
        let (other, _) = classes.touch(key, 0, String::new);
        let mut rng = random::system();
        assert!(paths.choose(&mut rng, other, &[9; 32], &[]).is_none());
    }

    #[test]
    fn a_passed_test_does_not_wash_failures_away() {
        let mut path = path("a", [1, 2, 3]);
        for _ in 0..2 {
            assert!(!path.strike());
            path.passed(1, Duration::ZERO);
        }
        assert!(path.strike());
        path.answered(2, None);
        assert!(!path.strike());
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
            let mut pool = Pool::new(list.collect(), false);
            banned.iter().for_each(|number| pool.ban(&[*number; 32]));
            let guards: Vec<NodeKey> = guards.iter().map(|number| [*number; 32]).collect();
            let resting: Vec<NodeKey> = resting.iter().map(|number| [*number; 32]).collect();
            let mut in_use: Vec<Node> = Vec::new();
            for _ in 0..3 {
                let rules = Rules {
                    in_use: &in_use, other_guards: &[], other_hops: &[], guards: &guards, resting: &resting,
                    new_guards: true, diversity,
                };
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

        /// Circuits of another class begin at the same guards, share no other node, and stay diverse.
        #[test]
        fn other_classes_share_guards_and_nothing_else(
            subnets in prop::collection::vec(1_u8..40, 6..40),
            diversity: bool,
        ) {
            let list = subnets.iter().enumerate().map(|(index, subnet)| {
                let mut node = node(u8::try_from(index + 1).unwrap());
                node.ip = std::net::Ipv4Addr::new(10, 0, *subnet, u8::try_from(index).unwrap());
                node
            });
            let pool = Pool::new(list.collect(), false);
            let mut first = Rules {
                in_use: &[], other_guards: &[], other_hops: &[], guards: &[], resting: &[], new_guards: true, diversity,
            };
            let mut rng = random::system();
            let Some(own) = choose_hops(&mut rng, &pool, &first) else { return Ok(()); };
            let guards = [own[0].ed25519];
            (first.other_guards, first.other_hops) = (&own[..1], &own[1..]);
            (first.guards, first.new_guards) = (&guards, false);
            if let Some(other) = choose_hops(&mut rng, &pool, &first) {
                prop_assert_eq!(&other[0], &own[0]);
                let all: Vec<&Node> = own.iter().chain(&other[1..]).collect();
                let keys: HashSet<NodeKey> = all.iter().map(|node| node.ed25519).collect();
                prop_assert_eq!(keys.len(), 5);
                let subnets: HashSet<[u8; 3]> = all.iter().map(|node| node.subnet()).collect();
                prop_assert!(!diversity || subnets.len() == 5);
            }
        }
    }
}
