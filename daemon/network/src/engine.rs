//! The parts that calls and maintenance share: state, transport, one request over one path, and tests of paths.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use session_protocol::onion::NodeAnswer;
use session_protocol::storage::{answer, request};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::cache::{Cache, CacheRecord};
use crate::clock::{Clock, MEASURED};
use crate::config::NetworkConfig;
use crate::fault::Fault;
use crate::isolation::Class;
use crate::metrics::{Metrics, Purpose};
use crate::onion::{Carrier, SendError};
use crate::paths::HOPS;
use crate::pool::Node;
use crate::random::Choices;
use crate::records::{self, SavedClock};
use crate::state::{Asked, Finding, Now, Policy, Route, State, millis};
use crate::status::Status;
use crate::sync::lock;
use crate::transport::Transport;

/// A clock offset that moved by less than this is neither told nor saved, ms.
const OFFSET_NOISE: u64 = 500;

/// A local clock that parts from the steady one by more than this between two looks was set, ms.
const CLOCK_SET: u64 = 2_000;

/// How often nodes are asked for the time, one after another, once one has refused ours.
const RESYNC_ROUNDS: usize = 3;

/// Nodes asked for the time when those that were asked do not agree.
const OTHERS: usize = 2;

/// Nodes beside a path under suspicion that are asked over it: one of them may be dead itself.
const BESIDE: usize = 2;

/// Shared by all handles and the maintenance task.
pub(crate) struct Engine {
    pub(crate) config: NetworkConfig,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) state: std::sync::Mutex<State>,
    pub(crate) status: watch::Sender<Status>,
    /// Moves when somebody who waits for a path should look again.
    pub(crate) epoch: watch::Sender<u64>,
    /// Something is to be repaired, or a call found no path.
    pub(crate) wake: Notify,
    /// A person wants it now.
    pub(crate) hurry: Notify,
    /// `true` ends everything.
    pub(crate) stop: watch::Sender<bool>,
    /// Decides wherever the choice is random and no secret.
    pub(crate) choices: Choices,
    pub(crate) metrics: Metrics,
    carrier: Arc<dyn Carrier>,
    cache: Arc<dyn Cache>,
    clock: Arc<dyn Clock>,
    /// Both clocks at the last look.
    looked: std::sync::Mutex<Option<Now>>,
    resynced: tokio::sync::Mutex<Option<Instant>>,
    /// As it was last saved in this run.
    saved_offset: std::sync::Mutex<Option<i64>>,
    /// Moves whenever the maintenance task does, the first time when it has taken over what a restart left.
    pub(crate) turns: watch::Sender<u64>,
}

impl Engine {
    pub(crate) fn new(
        config: NetworkConfig,
        cache: Arc<dyn Cache>,
        clock: Arc<dyn Clock>,
        transport: Arc<dyn Transport>,
        carrier: Arc<dyn Carrier>,
        choices: Choices,
    ) -> Self {
        let metrics = Metrics::default();
        let mut state = State::default();
        state.metrics = metrics.clone();
        state.policy = Policy {
            diversity: config.subnet_diversity,
            allow_same_subnet: config.allow_same_subnet,
            rest_ms: millis(config.times.guard_rest),
            rotate_ms: millis(config.times.rotate),
            test_ms: millis(config.times.test),
        };
        Self {
            config,
            transport,
            state: std::sync::Mutex::new(state),
            status: watch::Sender::new(Status::default()),
            epoch: watch::Sender::new(0),
            wake: Notify::new(),
            hurry: Notify::new(),
            stop: watch::Sender::new(false),
            choices,
            metrics,
            carrier,
            cache,
            clock,
            looked: std::sync::Mutex::new(None),
            resynced: tokio::sync::Mutex::new(None),
            saved_offset: std::sync::Mutex::new(None),
            turns: watch::Sender::new(0),
        }
    }

    /// Both clocks now. A local clock that was set since the last look moves the offset against it. Not to be called
    /// with the state locked.
    pub(crate) fn now(&self) -> Now {
        let (now, by) = {
            let mut looked = lock(&self.looked);
            let mut now = Now::default();
            // Read apart for long, because the machine was busy, they would say nothing about each other.
            for _ in 0..3 {
                let before = self.clock.steady_ms();
                now.local_ms = self.clock.now_ms();
                now.steady_ms = self.clock.steady_ms();
                if now.steady_ms.saturating_sub(before) < CLOCK_SET / 4 {
                    break;
                }
            }
            let by = looked.replace(now).map_or(0, |before| set_by(before, now));
            (now, by)
        };
        if by != 0 {
            tracing::info!("the local clock was set");
            self.update(|state| state.offset.shift(by));
        }
        now
    }

    /// Network time, ms.
    pub(crate) fn now_ms(&self) -> u64 {
        let now = self.now();
        let offset = lock(&self.state).offset.get();
        now.local_ms.saturating_add_signed(offset)
    }

    /// A network time that has come, ms, even if the nodes that told it so far lied.
    pub(crate) fn certain_ms(&self) -> u64 {
        let now = self.now();
        let offset = lock(&self.state).offset.certain();
        now.local_ms.saturating_add_signed(offset)
    }

    /// Works on the state and tells watchers what became of it.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let result = change(&mut state);
        // Under the lock, so that an older status never overtakes a newer one.
        let status = state.status();
        self.status.send_if_modified(|shown| {
            // The offset moves a little with every answer, which interests nobody.
            let moved = shown.clock_offset_ms.abs_diff(status.clock_offset_ms) >= OFFSET_NOISE;
            let clock_offset_ms = status.clock_offset_ms;
            let changed = moved
                || Status {
                    clock_offset_ms,
                    ..*shown
                } != status;
            if changed {
                *shown = status;
            }
            changed
        });
        let epoch = state.epoch;
        self.epoch
            .send_if_modified(|shown| std::mem::replace(shown, epoch) != epoch);
        result
    }

    /// One request through nodes, counted, without any other accounting.
    async fn exchange(
        &self,
        purpose: Purpose,
        hops: &[Node],
        target: &Node,
        payload: &[u8],
        limit: Duration,
    ) -> Result<(NodeAnswer, Duration), SendError> {
        let began = Instant::now();
        let outcome = match timeout(limit, self.carrier.carry(hops, target, payload)).await {
            Ok(outcome) => outcome.map(|answer| (answer, began.elapsed())),
            Err(_) => Err(SendError::Fault(Fault::Timeout)),
        };
        let took = outcome.as_ref().map(|(_, took)| *took);
        self.metrics.requested(purpose, took);
        outcome
    }

    /// One request over a path in use, with all its consequences for path, nodes and, with `clock`, the clock.
    pub(crate) async fn send(
        &self,
        route: &Route,
        target: &Node,
        payload: &[u8],
        limit: Duration,
        clock: bool,
    ) -> Result<(NodeAnswer, Duration), SendError> {
        let outcome = self
            .exchange(Purpose::Call, &route.hops, target, payload, limit)
            .await;
        let now = self.now();
        let key = &target.ed25519;
        let repair = self.update(|state| match &outcome {
            Ok((answer, latency)) => {
                state.answered(route, key, *latency, clock, now);
                if let Some(time) = answer::server_time(&answer.body).filter(|_| clock) {
                    state.offset.sample(*key, time, *latency, now.local_ms);
                }
                false
            }
            Err(SendError::Malformed) => {
                state.strike_target(key);
                false
            }
            Err(SendError::Fault(fault)) => state.failed(route, key, *fault, now),
            Err(SendError::Build(_)) => false,
        });
        if let Err(error) = &outcome {
            tracing::debug!(?error, path = %route.id, "a request over a path failed");
        }
        if repair {
            self.wake.notify_one();
        }
        outcome
    }

    /// `info` of a node through some hops. Any answer of the node counts, also a refusal.
    async fn info(&self, hops: &[Node], target: &Node) -> Result<Duration, Fault> {
        let payload = request::info().to_json();
        let limit = self.config.times.probe;
        match self
            .exchange(Purpose::Test, hops, target, &payload, limit)
            .await
        {
            Ok((answer, latency)) => {
                if let Ok(info) = answer::info(&answer.body) {
                    let local = self.now().local_ms;
                    self.update(|state| {
                        let offset = &mut state.offset;
                        offset.sample(target.ed25519, info.timestamp, latency, local);
                    });
                }
                Ok(latency)
            }
            Err(SendError::Malformed) => Ok(limit),
            Err(SendError::Fault(fault)) => Err(fault),
            Err(SendError::Build(_)) => Err(Fault::Plain),
        }
    }

    fn beside(&self, route: &Route, count: usize) -> Vec<Node> {
        let now = self.now();
        let state = lock(&self.state);
        state.choose_beside(&mut *self.choices.get(), route, count, now)
    }

    /// Asks nodes beside a path over it and, at the same time, each of its hops over those before it.
    async fn examine(&self, route: &Route, beside: &[Node]) -> Finding {
        let tests = beside.iter().map(|node| self.info(&route.hops, node));
        let hops = route.hops.iter().enumerate();
        let hops = hops.map(|(index, hop)| self.info(&route.hops[..index], hop));
        let (tests, hops) = join(join_all(tests), join_all(hops)).await;
        let mut finding = Finding {
            passed: tests.iter().flatten().copied().min(),
            fault: tests
                .into_iter()
                .find_map(Result::err)
                .unwrap_or(Fault::Timeout),
            hops: [Ok(()); HOPS],
        };
        for (found, hop) in finding.hops.iter_mut().zip(hops) {
            *found = hop.map(drop);
        }
        tracing::debug!(?finding, path = %route.id, "a path was examined");
        finding
    }

    /// Tests a path in use that something failed over, or nothing came over for long. One answer is enough; only where
    /// it does not come, everyone on the path is asked.
    pub(crate) async fn test(&self, route: &Route) {
        let beside = self.beside(route, 1 + BESIDE);
        let Some((first, others)) = beside.split_first() else {
            return;
        };
        let finding = match self.info(&route.hops, first).await {
            Ok(latency) => Finding {
                passed: Some(latency),
                fault: Fault::Plain,
                hops: [Ok(()); HOPS],
            },
            Err(fault @ (Fault::GuardUnreachable | Fault::ProxyDown)) => Finding {
                passed: None,
                fault,
                hops: [Err(fault); HOPS],
            },
            Err(_) => self.examine(route, others).await,
        };
        let now = self.now();
        self.update(|state| state.tested(route, &finding, now));
    }

    /// Whether a new path works: something comes back over it. Says how long it took.
    pub(crate) async fn try_out(&self, route: &Route) -> Option<Duration> {
        let beside = self.beside(route, 2);
        let (first, others) = beside.split_first()?;
        let fault = match self.info(&route.hops, first).await {
            Ok(latency) => return Some(latency),
            Err(fault) => fault,
        };
        let mut finding = match fault {
            // First-hand, nothing to find out.
            Fault::GuardUnreachable => Finding {
                passed: None,
                fault,
                hops: [Err(fault); HOPS],
            },
            // Nobody is to blame.
            Fault::Busy | Fault::ProxyDown => return None,
            _ => self.examine(route, others).await,
        };
        if finding.passed.is_none() {
            finding.fault = fault;
            let now = self.now();
            self.update(|state| state.not_built(route, &finding, now));
        }
        finding.passed
    }

    /// Asks guards of a former run for themselves before they count.
    pub(crate) async fn verify_guards(&self) {
        let guards: Vec<Node> = {
            let state = lock(&self.state);
            let keys = state.guards.unverified().into_iter();
            keys.filter_map(|key| state.pool.get(&key).cloned())
                .collect()
        };
        let asked = guards.iter().map(async |guard| {
            let answer = self.info(&[], guard).await.map(drop);
            let now = self.now();
            self.update(|state| state.guard_tested(&guard.ed25519, answer, now));
        });
        join_all(asked).await;
    }

    /// Asks a few nodes for the time, because one refused our timestamps. At most once in a while; others wait
    /// for a resynchronisation under way.
    pub(crate) async fn resync(&self) {
        let mut last = self.resynced.lock().await;
        if last.is_some_and(|at| at.elapsed() < self.config.times.resync) {
            return;
        }
        lock(&self.state).offset.begin_anew();
        for _ in 0..RESYNC_ROUNDS {
            self.ask_time(MEASURED).await;
            if lock(&self.state).offset.is_measured() {
                break;
            }
        }
        *last = Some(Instant::now());
    }

    /// Sees to it that enough nodes agree on the time before it is relied on (messages.md 5.3). Where those asked last do
    /// not, it asks a few others at every round.
    pub(crate) async fn seed_clock(&self) {
        let known = {
            let state = lock(&self.state);
            if state.offset.is_measured() {
                return;
            }
            state.offset.sampled().count()
        };
        tokio::select! {
            biased;
            () = self.ask_time(MEASURED.saturating_sub(known).max(OTHERS)) => {}
            // Something else is to be done at once, for instance after the machine slept; that is left to others.
            () = self.hurry.notified() => self.hurry.notify_one(),
        }
    }

    /// Asks nodes other than those asked last, over circuits that carry no account's requests.
    async fn ask_time(&self, count: usize) {
        let now = self.now();
        let mut asked = Asked::default();
        let mut chosen = Vec::new();
        {
            let state = lock(&self.state);
            asked.refused.extend(state.offset.sampled().take(MEASURED));
            let choices = &mut *self.choices.get();
            while chosen.len() < count {
                let choice = state.choose_any(choices, Class::OWN, &asked, now);
                let Some((route, node)) = choice else {
                    break;
                };
                asked.refused.insert(node.ed25519);
                chosen.push((route, node));
            }
        }
        let payload = request::info().to_json();
        let limit = self.config.times.probe;
        let sent = chosen
            .iter()
            .map(|(route, node)| self.send(route, node, &payload, limit, true));
        join_all(sent).await;
    }

    /// Loads a record of this network.
    pub(crate) async fn load<T: serde::de::DeserializeOwned>(
        &self,
        record: CacheRecord,
    ) -> Option<T> {
        let bytes = self.cache.load(record).await?;
        let content = records::decode(&self.config.name, &bytes);
        if content.is_none() {
            tracing::info!(record = record.as_str(), "a saved record is not usable");
        }
        content
    }

    /// Saves a record of this network.
    pub(crate) async fn save<T: serde::Serialize>(&self, record: CacheRecord, content: T) {
        if let Some(bytes) = records::encode(&self.config.name, content) {
            self.cache.save(record, bytes).await;
        }
    }

    /// The maintenance task goes on.
    pub(crate) fn turn(&self) {
        self.turns.send_modify(|turns| *turns += 1);
    }

    /// Takes over what a restart left of the clock. If the machine was not started anew since then, the clock that nobody
    /// sets tells whether the local one was set meanwhile: the offset moves against that.
    pub(crate) fn restore_clock(&self, saved: &SavedClock) {
        let now = self.now();
        let same_start = saved.boot.is_some() && saved.boot == self.clock.boot();
        let watched = same_start && saved.steady_ms <= now.steady_ms;
        let before = Now {
            local_ms: saved.local_ms,
            steady_ms: saved.steady_ms,
        };
        let by = if watched { set_by(before, now) } else { 0 };
        if by != 0 {
            tracing::info!("the local clock was set since the last run");
        }
        let offset_ms = saved.offset_ms.saturating_sub(by);
        self.update(|state| state.offset.restore(offset_ms, watched));
    }

    /// Saves guards and clock offset if they changed.
    pub(crate) async fn save_changes(&self) {
        let now = self.now();
        let (guards, offset, measured) = {
            let mut state = lock(&self.state);
            let changed = std::mem::take(&mut state.guards_changed);
            let guards = changed.then(|| serde_json::to_value(&state.guards).ok());
            let offset = &state.offset;
            (guards.flatten(), offset.get(), offset.is_measured())
        };
        if let Some(guards) = guards {
            self.save(CacheRecord::Guards, guards).await;
        }
        let moved = {
            let mut saved = lock(&self.saved_offset);
            // Nothing less is worth more than what the last run knew.
            let moved =
                measured && saved.is_none_or(|saved| saved.abs_diff(offset) >= OFFSET_NOISE);
            if moved {
                *saved = Some(offset);
            }
            moved
        };
        if moved {
            let clock = SavedClock {
                offset_ms: offset,
                local_ms: now.local_ms,
                steady_ms: now.steady_ms,
                boot: self.clock.boot(),
            };
            self.save(CacheRecord::ClockOffset, clock).await;
        }
    }
}

/// How far the local clock was set forward between two looks, ms; 0 for what may be mere inaccuracy.
fn set_by(before: Now, now: Now) -> i64 {
    let passed = now.steady_ms.saturating_sub(before.steady_ms);
    let expected = before.local_ms.saturating_add(passed);
    if now.local_ms.abs_diff(expected) <= CLOCK_SET {
        return 0;
    }
    let by = i128::from(now.local_ms) - i128::from(expected);
    i64::try_from(by).unwrap_or(0)
}
