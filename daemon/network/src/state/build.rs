//! New paths: which nodes, and how far the rules give way for them.

use std::time::Duration;

use rand_core::Rng;

use super::{Now, Route, State};
use crate::dropped::Reason;
use crate::isolation::Class;
use crate::ladder::LadderStep;
use crate::paths::{HOPS, Path, Rules, WANTED, choose_hops};
use crate::pool::{Node, NodeKey};
use crate::random;

/// Why no hops could be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHops {
    /// There are not enough nodes.
    Nodes,
    /// There are, but they share subnets, and the user did not allow that.
    Diversity,
}

impl NoHops {
    /// Stable name.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Nodes => "NO_PATH",
            Self::Diversity => "NO_DIVERSE_PATH",
        }
    }
}

impl State {
    /// Paths of a class still missing, those being built not counted.
    pub(crate) fn missing(&self, class: Class) -> usize {
        let building = self.building.iter().filter(|route| route.class == class);
        WANTED.saturating_sub(self.paths.of(class).count() + building.count())
    }

    /// Classes without enough paths, and how many each lacks.
    pub(crate) fn all_missing(&self) -> Vec<(Class, usize)> {
        let missing = self.classes.all().map(|class| (class, self.missing(class)));
        missing.filter(|(_, count)| *count > 0).collect()
    }

    /// Paths whose hops are due to change.
    pub(crate) fn due_for_rotation(&self, now: Now) -> Vec<Route> {
        let paths = self.paths.all().iter();
        paths
            .filter(|path| path.rotate_at_ms <= now.steady_ms && !path.suspect)
            .map(Route::from)
            .collect()
    }

    /// Paths that something failed over, and those that nothing came back over for long.
    pub(crate) fn due_for_test(&self, now: Now) -> Vec<Route> {
        let paths = self.paths.all().iter();
        paths
            .filter(|path| path.suspect || path.test_at_ms <= now.steady_ms)
            .map(Route::from)
            .collect()
    }

    /// When the next path is due to change or to be tested, steady ms.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        let paths = self.paths.all().iter();
        paths
            .map(|path| path.rotate_at_ms.min(path.test_at_ms))
            .min()
    }

    /// Puts the change of a path's hops off.
    pub(crate) fn postpone_rotation(&mut self, id: &str, now: Now, by_ms: u64) {
        if let Some(path) = self.paths.get_mut(id) {
            path.rotate_at_ms = now.steady_ms.saturating_add(by_ms);
        }
    }

    /// Chooses hops for a new path of `class` and reserves them until [`State::end_build`]. With `replacing`, the
    /// guard is that path's and the other hops are new. With `insist`, and no path at all, known guards are tried
    /// although they did not answer a moment ago: most likely it was this machine that was offline, and every new
    /// guard would learn its address.
    pub(crate) fn begin_build<R: Rng + ?Sized>(
        &mut self,
        rng: &mut R,
        class: Class,
        now: Now,
        insist: bool,
        replacing: Option<&Route>,
    ) -> Result<Route, NoHops> {
        self.resting.retain(|_, rest| rest.until_ms > now.steady_ms);
        for step in LadderStep::ALL {
            if !self.may_take(step, class, insist, replacing) {
                continue;
            }
            if step == LadderStep::ForgivenNodes {
                self.pool.forgive_all();
                self.resting.clear();
            }
            let Some(hops) = self.hops(rng, class, step, insist, replacing) else {
                continue;
            };
            self.announced.tried(step);
            let route = Route {
                id: random::name(rng),
                class,
                hops,
                step,
            };
            self.building.push(route.clone());
            return Ok(route);
        }
        let last = LadderStep::SameSubnet;
        let diverse = self.policy.diversity && !self.policy.allow_same_subnet;
        if diverse && self.hops(rng, class, last, insist, replacing).is_some() {
            Err(NoHops::Diversity)
        } else {
            Err(NoHops::Nodes)
        }
    }

    fn may_take(
        &self,
        step: LadderStep,
        class: Class,
        insist: bool,
        replacing: Option<&Route>,
    ) -> bool {
        let alone = self.paths.of(class).next().is_none()
            && self.building.iter().all(|route| route.class != class);
        match step {
            LadderStep::Strict | LadderStep::SharedHops => true,
            _ if replacing.is_some() => false,
            LadderStep::RetriedGuards => insist && self.paths.all().is_empty(),
            LadderStep::NewGuard => true,
            // Nothing is left to try: better a node that failed before than none.
            LadderStep::ForgivenNodes => alone,
            LadderStep::SameSubnet => self.policy.diversity && self.policy.allow_same_subnet,
        }
    }

    fn hops<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
        class: Class,
        step: LadderStep,
        insist: bool,
        replacing: Option<&Route>,
    ) -> Option<[Node; HOPS]> {
        let keep = replacing.map(|route| route.hops[0].ed25519);
        let hops = self.used();
        let own = hops.iter().filter(|(other, ..)| *other == class);
        let in_use: Vec<Node> = own
            .filter(|(_, _, node)| Some(node.ed25519) != keep)
            .map(|(_, _, node)| (*node).clone())
            .collect();
        let of_others = |place: fn(usize) -> bool| -> Vec<Node> {
            let others = hops.iter().filter(|(other, ..)| *other != class);
            let others = others.filter(|(_, index, _)| place(*index));
            others.map(|(_, _, node)| (*node).clone()).collect()
        };
        let strict = step < LadderStep::SharedHops;
        let other_guards = of_others(|index| index == 0);
        let other_hops = if strict {
            of_others(|index| index > 0)
        } else {
            Vec::new()
        };
        let known = self.guards.keys();
        let retried = step >= LadderStep::RetriedGuards && insist && self.paths.all().is_empty();
        let resting: Vec<NodeKey> = self
            .resting
            .keys()
            .filter(|key| !(retried && known.contains(key)))
            .copied()
            .collect();
        // A guard that another class is about to take is better than one more.
        let mut guards: Vec<NodeKey> = keep.into_iter().collect();
        let counts = |key: &NodeKey| retried || self.guards.is_verified(key);
        let counting = known.iter().copied().filter(counts);
        for key in counting.chain(other_guards.iter().map(|node| node.ed25519)) {
            if !guards.contains(&key) {
                guards.push(key);
            }
        }
        let rules = Rules {
            in_use: &in_use,
            other_guards: if strict { &other_guards } else { &[] },
            other_hops: &other_hops,
            guards: &guards,
            resting: &resting,
            new_guards: keep.is_none() && (known.len() < WANTED || step >= LadderStep::NewGuard),
            diversity: self.policy.diversity && step < LadderStep::SameSubnet,
        };
        let hops = choose_hops(rng, &self.pool, &rules)?;
        keep.is_none_or(|keep| hops[0].ed25519 == keep)
            .then_some(hops)
    }

    /// All nodes of paths in use or under construction, with class and place.
    fn used(&self) -> Vec<(Class, usize, &Node)> {
        let ready = self.paths.all().iter().map(|path| (path.class, &path.hops));
        let building = self.building.iter().map(|route| (route.class, &route.hops));
        ready
            .chain(building)
            .flat_map(|(class, hops)| {
                let hops = hops.iter().enumerate();
                hops.map(move |(index, node)| (class, index, node))
            })
            .collect()
    }

    /// Frees the hops of a path whose building ended, one way or the other.
    pub(crate) fn end_build(&mut self, route: &Route) {
        self.building.retain(|other| other.id != route.id);
    }

    /// A new path works. `replaces` is the path whose place it takes. Its hops change in three to five quarters of
    /// the interval, so that not all paths change at once.
    pub(crate) fn built<R: Rng + ?Sized>(
        &mut self,
        rng: &mut R,
        route: &Route,
        replaces: Option<&str>,
        latency: Duration,
        now: Now,
    ) {
        if let Some(old) = replaces {
            self.drop_path(old, Reason::Rotated, None, now);
        }
        if !self.classes.is_known(route.class) {
            return;
        }
        let network_now = self.network_ms(now);
        let mut path = Path::new(
            route.id.clone(),
            route.class,
            route.hops.clone(),
            network_now,
        );
        path.step = route.step;
        let interval = self.policy.rotate_ms;
        let spread = usize::try_from(interval / 2).unwrap_or(usize::MAX);
        let spread = u64::try_from(random::below(rng, spread)).unwrap_or(0);
        path.rotate_at_ms = now.steady_ms.saturating_add(interval / 4 * 3 + spread);
        path.answered(network_now, Some(latency));
        path.test_at_ms = now.steady_ms.saturating_add(self.policy.test_ms);
        self.announced.built(route.step);
        self.paths.add(path);
        self.metrics.built.inc();
        self.classes.clear_failures();
        self.failure = None;
        self.epoch += 1;
        self.worked(&route.hops, now);
    }
}
