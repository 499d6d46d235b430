//! Faults over time, drawn from a seed: the same seed and the same network give the same faults at the same times.
//!
//! In each swarm a few members are victims, drawn once; the others stay healthy all the time, so that whatever happens
//! a message stored while it happens is held by somebody who never loses it. A victim has spells: one or two faults at a
//! time, or a move to another swarm, or decommissioning, or the loss of its storage, then health again. At the end
//! everybody is healthy and where they were. The schedule is text ([`std::fmt::Display`]): print it with a failing test.
//!
//! Which requests a lossy node loses is decided by the network's own seed ([`Options::fault_seed`](crate::Options)).

use std::fmt;
use std::time::Duration;

use session_protocol::swarm;

use crate::control::{Control, ControlClient, ControlError, Order, Status};
use crate::faults::Faults;
use crate::network::LocalnetError;
use crate::random::SplitMix;

/// Shortest spell, ms.
const MIN_SPELL: u64 = 3_000;
/// Longest spell, ms.
const MAX_SPELL: u64 = 20_000;
/// Longest time a victim is healthy, ms.
const MAX_HEALTH: u64 = 10_000;

/// What a scenario draws from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// When the last fault has ended.
    pub duration: Duration,
    /// Victims in each swarm.
    pub victims: usize,
    /// What may happen to them.
    pub kinds: Vec<Kind>,
}

impl Plan {
    /// Everything there is, to two members of each swarm.
    pub fn new(seed: u64, duration: Duration) -> Self {
        Self {
            seed,
            duration,
            victims: 2,
            kinds: Kind::ALL.to_vec(),
        }
    }
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Stopped.
    Down,
    /// Accepts and answers nothing.
    Frozen,
    /// Waits up to 2 s before each request.
    Slow,
    /// Loses from a tenth to six tenths of requests.
    Lossy,
    /// Wrong by one minute to one day, either way.
    WrongClock,
    /// Not ready.
    Refusing,
    /// Random answers.
    Garbage,
    /// Gets nothing that others pass on.
    MissesForwards,
    /// Forgets everything.
    LosesStorage,
    /// In another swarm for a while.
    Moved,
    /// In no swarm for a while.
    Decommissioned,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Down,
        Self::Frozen,
        Self::Slow,
        Self::Lossy,
        Self::WrongClock,
        Self::Refusing,
        Self::Garbage,
        Self::MissesForwards,
        Self::LosesStorage,
        Self::Moved,
        Self::Decommissioned,
    ];
}

/// What happens to one node at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Since the start.
    pub at: Duration,
    /// Index of the node.
    pub node: usize,
    /// What happens.
    pub action: Action,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// It has exactly these faults from now on.
    Faults(Faults),
    /// It forgets everything.
    LoseStorage,
    /// It is in this swarm from now on; [`swarm::UNASSIGNED`] is none.
    Swarm(u64),
}

/// A schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    seed: u64,
    steps: Vec<Step>,
}

impl Scenario {
    /// Draws a schedule for a network whose nodes are in these swarms, by index.
    pub fn random(plan: &Plan, swarms: &[u64]) -> Self {
        let mut random = SplitMix::new(plan.seed);
        let end = u64::try_from(plan.duration.as_millis()).unwrap_or(u64::MAX);
        let mut steps = Vec::new();
        for node in victims(&mut random, plan.victims, swarms) {
            let mut at = random.below(MAX_HEALTH);
            while at < end && !plan.kinds.is_empty() {
                let until = (at + MIN_SPELL + random.below(MAX_SPELL - MIN_SPELL)).min(end);
                let step = |at, action| Step {
                    at: Duration::from_millis(at),
                    node,
                    action,
                };
                for (begin, heal) in spell(&mut random, &plan.kinds, node, swarms) {
                    steps.push(step(at, begin));
                    steps.extend(heal.map(|heal| step(until, heal)));
                }
                at = until + 1 + random.below(MAX_HEALTH);
            }
        }
        // Stable: a node's own steps keep their order.
        steps.sort_by_key(|step| step.at);
        Self {
            seed: plan.seed,
            steps,
        }
    }

    /// All steps in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Carries it out with times multiplied by `scale`, in this process.
    pub async fn run(&self, control: &Control, scale: f64) -> Result<(), LocalnetError> {
        let start = tokio::time::Instant::now();
        for step in &self.steps {
            tokio::time::sleep_until(start + step.at.mul_f64(scale)).await;
            control.run(&step.order()).await?;
        }
        Ok(())
    }

    /// As [`Scenario::run`], with a network in another process.
    pub async fn run_remote(
        &self,
        control: &ControlClient,
        scale: f64,
    ) -> Result<(), ControlError> {
        let start = tokio::time::Instant::now();
        for step in &self.steps {
            tokio::time::sleep_until(start + step.at.mul_f64(scale)).await;
            control.run(&step.order()).await?;
        }
        Ok(())
    }
}

/// Swarms of all nodes by index, as a status tells them.
pub fn swarms(status: &Status) -> Vec<u64> {
    let id = |text: &str| u64::from_str_radix(text, 16).unwrap_or(swarm::UNASSIGNED);
    status.nodes.iter().map(|node| id(&node.swarm_id)).collect()
}

/// Nodes that suffer: some of each swarm, but never all.
fn victims(random: &mut SplitMix, wanted: usize, swarms: &[u64]) -> Vec<usize> {
    let mut ids = swarms.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids.retain(|id| *id != swarm::UNASSIGNED);
    let mut victims = Vec::new();
    for id in ids {
        let of_swarm = swarms.iter().enumerate().filter(|(_, own)| **own == id);
        let mut members: Vec<usize> = of_swarm.map(|(index, _)| index).collect();
        for _ in 0..wanted.min(members.len().saturating_sub(1)) {
            let drawn = random.below(members.len() as u64);
            victims.push(members.swap_remove(usize::try_from(drawn).unwrap_or(0)));
        }
    }
    victims
}

/// What happens to a node in one spell, and what ends it.
fn spell(
    random: &mut SplitMix,
    kinds: &[Kind],
    node: usize,
    swarms: &[u64],
) -> Vec<(Action, Option<Action>)> {
    let mut faults = Faults::default();
    let own = swarms.get(node).copied().unwrap_or(swarm::UNASSIGNED);
    for _ in 0..=random.below(2) {
        let Some(kind) = pick(random, kinds) else {
            break;
        };
        match kind {
            Kind::Down => faults.down = true,
            Kind::Frozen => faults.frozen = true,
            Kind::Slow => faults.delay_ms = 100 + random.below(1900),
            // Tenths, so that the schedule tells all of it.
            Kind::Lossy => {
                faults.loss = f64::from(u8::try_from(1 + random.below(6)).unwrap_or(1)) / 10.0;
            }
            Kind::WrongClock => {
                let offset = i64::try_from(60_000 + random.below(86_340_000)).unwrap_or(60_000);
                faults.clock_offset_ms = if random.below(2) == 0 {
                    offset
                } else {
                    -offset
                };
            }
            Kind::Refusing => faults.refuse = true,
            Kind::Garbage => faults.garbage = true,
            Kind::MissesForwards => faults.misses_forwards = true,
            Kind::LosesStorage => return vec![(Action::LoseStorage, None)],
            Kind::Decommissioned => {
                let away = Action::Swarm(swarm::UNASSIGNED);
                return vec![(away, Some(Action::Swarm(own)))];
            }
            Kind::Moved => {
                let mut others = swarms.to_vec();
                others.retain(|id| *id != own && *id != swarm::UNASSIGNED);
                if let Some(other) = pick(random, &others) {
                    return vec![(Action::Swarm(other), Some(Action::Swarm(own)))];
                }
            }
        }
    }
    vec![(
        Action::Faults(faults),
        Some(Action::Faults(Faults::default())),
    )]
}

fn pick<T: Copy>(random: &mut SplitMix, from: &[T]) -> Option<T> {
    let drawn = usize::try_from(random.below(from.len() as u64)).ok()?;
    from.get(drawn).copied()
}

impl Step {
    /// As an order for the control interface.
    pub fn order(&self) -> Order {
        let node = self.node.to_string();
        match self.action {
            Action::Faults(faults) => Order::Faults { node, faults },
            Action::LoseStorage => Order::LoseStorage { node },
            Action::Swarm(swarm::UNASSIGNED) => Order::Decommission { node },
            Action::Swarm(id) => Order::Move {
                node,
                swarm: format!("{id:x}"),
            },
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "faults of seed {}", self.seed)?;
        for step in &self.steps {
            let at = step.at.as_secs_f64();
            writeln!(f, "{at:8.3} s  node {:>3}  {}", step.node, step.action)?;
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Faults(faults) => faults.fmt(f),
            Self::LoseStorage => f.write_str("loses its storage"),
            Self::Swarm(swarm::UNASSIGNED) => f.write_str("decommissioned"),
            Self::Swarm(id) => write!(f, "into swarm {id:x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SWARMS: [u64; 12] = [0, 9, 0, 9, 0, 9, 0, 9, 0, 9, 0, 9];

    fn scenario(seed: u64) -> Scenario {
        Scenario::random(&Plan::new(seed, Duration::from_secs(120)), &SWARMS)
    }

    #[test]
    fn a_schedule_follows_from_its_seed() {
        let first = scenario(1);
        assert_eq!(first, scenario(1));
        assert_eq!(first.to_string(), scenario(1).to_string());
        assert_ne!(first.steps(), scenario(2).steps());
        assert!(first.to_string().lines().count() > 10, "{first}");
    }

    #[test]
    fn only_victims_suffer_and_all_are_well_in_the_end() {
        for seed in 0..300 {
            let scenario = scenario(seed);
            let mut faults = BTreeMap::new();
            let mut swarms = BTreeMap::new();
            for step in scenario.steps() {
                assert!(step.at <= Duration::from_secs(120));
                match step.action {
                    Action::Faults(now) => drop(faults.insert(step.node, now)),
                    Action::Swarm(id) => drop(swarms.insert(step.node, id)),
                    Action::LoseStorage => {}
                }
            }
            let mut victims: Vec<usize> = scenario.steps().iter().map(|step| step.node).collect();
            victims.sort_unstable();
            victims.dedup();
            for id in [0, 9] {
                let hit = victims.iter().filter(|node| SWARMS[**node] == id).count();
                assert!(hit <= 2, "{scenario}");
            }
            assert!(faults.values().all(|last| *last == Faults::default()));
            assert!(swarms.iter().all(|(node, last)| SWARMS[*node] == *last));
        }
    }

    #[test]
    fn every_kind_comes_and_small_swarms_keep_a_member() {
        let text: String = (0..50).map(|seed| scenario(seed).to_string()).collect();
        for word in [
            "down",
            "frozen",
            "delay",
            "loss",
            "clock",
            "refuse",
            "garbage",
            "misses forwards",
            "loses its storage",
            "into swarm",
            "decommissioned",
            "healthy",
        ] {
            assert!(text.contains(word), "{word}");
        }
        assert!(victims(&mut SplitMix::new(1), 5, &[3]).is_empty());
        assert_eq!(victims(&mut SplitMix::new(1), 5, &[3, 3]).len(), 1);
    }
}
