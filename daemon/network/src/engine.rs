//! The parts that calls and maintenance share: state, transport, and one request over one path.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use session_protocol::onion::{
    self, AnswerError, BuildError, Destination, EncType, Hop, LayerError, NodeAnswer,
};
use session_protocol::storage::{answer, request};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::cache::{Cache, CacheRecord};
use crate::clock::Clock;
use crate::config::NetworkConfig;
use crate::fault::{Fault, classify};
use crate::pool::Node;
use crate::random;
use crate::records;
use crate::state::{Asked, Route, State};
use crate::status::Status;
use crate::sync::lock;
use crate::transport::{Transport, TransportError};

/// Nodes asked for the time when our timestamps are refused.
const CLOCK_SOURCES: usize = 3;

/// A clock offset that moved by less than this is neither told nor saved, ms.
const OFFSET_NOISE: u64 = 500;

/// Why a request over a path has no usable answer.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The path failed.
    Fault(Fault),
    /// The destination answered nonsense.
    Malformed,
    /// The request cannot be wrapped.
    Build(BuildError),
}

/// Shared by all handles and the maintenance task.
pub(crate) struct Engine {
    pub(crate) config: NetworkConfig,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) state: std::sync::Mutex<State>,
    pub(crate) status: watch::Sender<Status>,
    /// Something is to be repaired, or a call found no path.
    pub(crate) wake: Notify,
    /// A person wants it now.
    pub(crate) hurry: Notify,
    /// `true` ends everything.
    pub(crate) stop: watch::Sender<bool>,
    cache: Arc<dyn Cache>,
    clock: Arc<dyn Clock>,
    resynced: tokio::sync::Mutex<Option<Instant>>,
    saved_offset: std::sync::Mutex<i64>,
}

impl Engine {
    pub(crate) fn new(
        config: NetworkConfig,
        cache: Arc<dyn Cache>,
        clock: Arc<dyn Clock>,
        transport: Arc<dyn Transport>,
    ) -> Self {
        Self {
            config,
            transport,
            state: std::sync::Mutex::default(),
            status: watch::Sender::new(Status::default()),
            wake: Notify::new(),
            hurry: Notify::new(),
            stop: watch::Sender::new(false),
            cache,
            clock,
            resynced: tokio::sync::Mutex::new(None),
            saved_offset: std::sync::Mutex::new(0),
        }
    }

    /// Local time, ms.
    pub(crate) fn local_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Network time, ms.
    pub(crate) fn now_ms(&self) -> u64 {
        let offset = lock(&self.state).offset.get();
        self.local_ms().saturating_add_signed(offset)
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
        result
    }

    /// One request over one path, without any accounting.
    async fn exchange(
        &self,
        route: &Route,
        target: &Node,
        payload: &[u8],
        limit: Duration,
    ) -> Result<(NodeAnswer, Duration), SendError> {
        let hops: Vec<Hop> = route.hops.iter().map(Node::hop).collect();
        let destination = Destination::Node(target.hop());
        let built = onion::build(
            &mut random::system(),
            EncType::XChaCha20,
            &hops,
            &destination,
            payload,
        );
        let request = match built {
            Ok(request) => request,
            // A node published a key that is none: its fault, and we cannot tell which.
            Err(BuildError::Layer(LayerError::WeakKey)) => {
                return Err(SendError::Fault(Fault::Plain));
            }
            Err(error) => return Err(SendError::Build(error)),
        };
        let began = Instant::now();
        let sent = self
            .transport
            .onion(route.hops[0].address(), Bytes::from(request.body));
        let fault = match timeout(limit, sent).await {
            Ok(Ok(reply)) if reply.status == 200 => match request.reply.open_node(&reply.body) {
                Ok(answer) => return Ok((answer, began.elapsed())),
                Err(AnswerError::Malformed) => return Err(SendError::Malformed),
                Err(AnswerError::NotFromDestination) => Fault::NotFromDestination,
            },
            Ok(Ok(reply)) => classify(reply.status, &reply.body),
            Ok(Err(error)) if error.proxy_reason().is_some() => Fault::ProxyDown,
            Ok(Err(TransportError::Unreachable)) => Fault::GuardUnreachable,
            Ok(Err(TransportError::TooLarge)) => Fault::Plain,
            Ok(Err(_)) => Fault::ConnectionLost,
            Err(_) => Fault::Timeout,
        };
        Err(SendError::Fault(fault))
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
        let outcome = self.exchange(route, target, payload, limit).await;
        let now = self.local_ms();
        let rest = self.config.times.guard_rest;
        let key = &target.ed25519;
        let repair = self.update(|state| match &outcome {
            Ok((answer, latency)) => {
                state.answered(route, key, *latency, clock, now);
                if let Some(time) = answer::server_time(&answer.body).filter(|_| clock) {
                    state.offset.sample(time, *latency, now);
                }
                false
            }
            Err(SendError::Malformed) => {
                state.strike_target(key);
                false
            }
            Err(SendError::Fault(fault)) => state.failed(route, key, *fault, now, rest),
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

    /// Whether something comes back over a path: an `info` to a random node beside it. Says how long it took.
    pub(crate) async fn probe(&self, route: &Route) -> Option<Duration> {
        let target = lock(&self.state).choose_beside(&mut random::system(), route)?;
        let payload = request::info().to_json();
        let limit = self.config.times.probe;
        let outcome = self.exchange(route, &target, &payload, limit).await;
        let now = self.local_ms();
        let rest = self.config.times.guard_rest;
        let key = &target.ed25519;
        self.update(|state| match outcome {
            // Also a refusal has come all the way from the destination.
            Ok((answer, latency)) => {
                state.answered(route, key, latency, true, now);
                if let Ok(info) = answer::info(&answer.body) {
                    state.offset.sample(info.timestamp, latency, now);
                }
                Some(latency)
            }
            Err(error) => {
                let fault = match error {
                    SendError::Fault(fault) => fault,
                    SendError::Malformed | SendError::Build(_) => Fault::Plain,
                };
                tracing::debug!(?fault, path = %route.id, "a path did not pass its test");
                state.probe_failed(route, key, fault, now, rest);
                None
            }
        })
    }

    /// Asks a few nodes for the time, because one refused our timestamps. At most once in a while; others wait
    /// for a resynchronisation under way.
    pub(crate) async fn resync(&self) {
        let mut last = self.resynced.lock().await;
        if last.is_some_and(|at| at.elapsed() < self.config.times.resync) {
            return;
        }
        lock(&self.state).offset.forget();
        let mut asked = Asked::default();
        let mut chosen = Vec::new();
        for _ in 0..CLOCK_SOURCES {
            let Some((route, node)) =
                lock(&self.state).choose_any(&mut random::system(), &asked, self.local_ms())
            else {
                break;
            };
            asked.refused.insert(node.ed25519);
            chosen.push((route, node));
        }
        let payload = request::info().to_json();
        let limit = self.config.times.probe;
        let sent = chosen
            .iter()
            .map(|(route, node)| self.send(route, node, &payload, limit, true));
        futures_util::future::join_all(sent).await;
        *last = Some(Instant::now());
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

    /// Takes over what a restart left of the clock.
    pub(crate) fn restore_offset(&self, offset_ms: i64) {
        *lock(&self.saved_offset) = offset_ms;
        self.update(|state| state.offset.restore(offset_ms));
    }

    /// Saves guards and clock offset if they changed.
    pub(crate) async fn save_changes(&self) {
        let (guards, offset) = {
            let mut state = lock(&self.state);
            let changed = std::mem::take(&mut state.guards_changed);
            let guards = changed.then(|| serde_json::to_value(&state.guards).ok());
            (guards.flatten(), state.offset.get())
        };
        if let Some(guards) = guards {
            self.save(CacheRecord::Guards, guards).await;
        }
        let moved = {
            let mut saved = lock(&self.saved_offset);
            let moved = saved.abs_diff(offset) >= OFFSET_NOISE;
            if moved {
                *saved = offset;
            }
            moved
        };
        if moved {
            self.save(CacheRecord::ClockOffset, offset).await;
        }
    }
}
