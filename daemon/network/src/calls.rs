//! Requests to the swarm of an account, with everything that can go wrong on the way.
//!
//! A call makes at most three attempts, each over another path and to another member where there is one, within
//! one deadline. Refused timestamps and a wrong swarm are put right once without counting as an attempt
//! (network.md 3.3, 6.2, 6.4, 11).

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;
use session_protocol::Identifier;
use session_protocol::onion::NodeAnswer;
use session_protocol::storage::answer::{self, BatchResult};
use session_protocol::storage::request::{self, Request};
use tokio::time::{Instant, timeout_at};

use crate::engine::Engine;
use crate::error::NetworkError;
use crate::fault::Fault;
use crate::isolation::{Class, IsolationKey};
use crate::onion::SendError;
use crate::pool::{Node, NodeKey};
use crate::state::{Asked, Route};
use crate::sync::lock;

/// Attempts of one call.
const ATTEMPTS: usize = 3;

/// Pause before a repeated attempt.
const PAUSE: Duration = Duration::from_millis(100);

/// Most characters of a refusal that are passed on.
const MAX_TEXT: usize = 200;

/// Makes the request for a member at a network time, ms.
pub(crate) type Make<'a> = dyn Fn(u64, &NodeKey) -> Result<Request, NetworkError> + Sync + 'a;

/// Reads an answer, the result of each request in it, given the known members of the swarm. What it gives ends the call;
/// after an error another member is tried.
pub(crate) type Accept<'a, T> =
    dyn Fn(Vec<BatchResult>, &HashSet<NodeKey>) -> Result<T, NetworkError> + Sync + 'a;

/// A request to a swarm, whose answer is read as a `T`.
pub(crate) struct Call<'a, T> {
    /// Whose circuits it goes over.
    pub(crate) isolation: IsolationKey,
    pub(crate) owner: &'a Identifier,
    /// Deadline of one attempt.
    pub(crate) limit: Duration,
    /// Member to be asked first.
    pub(crate) first: Option<NodeKey>,
    /// Member to be asked last.
    pub(crate) last: Option<NodeKey>,
    /// No other member will do.
    pub(crate) only: Option<NodeKey>,
    /// The answer comes at once, so that the node's clock in it can be used.
    pub(crate) short: bool,
    /// Number of requests, if it is a batch.
    pub(crate) batch: Option<usize>,
    pub(crate) make: &'a Make<'a>,
    pub(crate) accept: &'a Accept<'a, T>,
}

/// A successful answer.
pub(crate) struct Done<T> {
    pub(crate) node: NodeKey,
    pub(crate) path_id: String,
    pub(crate) latency: Duration,
    pub(crate) answer: T,
    /// Known members of the swarm.
    pub(crate) members: HashSet<NodeKey>,
}

/// What to do after an answer.
enum Verdict<T> {
    Good(T),
    WrongClock,
    WrongSwarm(Value),
    /// No member will say anything else.
    Final(NetworkError),
    /// This member cannot, another may.
    Member(NetworkError),
}

impl Engine {
    /// Makes a call; ends early when the layer shuts down.
    pub(crate) async fn call<T>(&self, call: &Call<'_, T>) -> Result<Done<T>, NetworkError> {
        let mut stop = self.stop.subscribe();
        let deadline = Instant::now() + self.config.times.call;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Err(NetworkError::Shutdown),
            outcome = self.attempts(call, deadline) => outcome,
        }
    }

    async fn attempts<T>(
        &self,
        call: &Call<'_, T>,
        deadline: Instant,
    ) -> Result<Done<T>, NetworkError> {
        let mut asked = Asked::default();
        asked.tried.extend(call.last);
        let mut failure = None;
        let mut left = ATTEMPTS;
        let (mut resynced, mut corrected) = (false, false);
        while left > 0 {
            left -= 1;
            if failure.is_some() {
                tokio::time::sleep(PAUSE).await;
            }
            // Without a path the last failure says more than that there is none.
            let class = match self.wait_for_path(call.isolation, deadline).await {
                Ok(class) => class,
                Err(error) => return Err(failure.unwrap_or(error)),
            };
            let members = match self.members(call.owner, class, deadline).await {
                Ok(members) => members,
                Err(error) => return Err(failure.unwrap_or(error)),
            };
            let now = self.now();
            let only: Option<HashSet<NodeKey>> = call.only.map(|only| [only].into());
            let chosen = lock(&self.state).choose_member(
                &mut *self.choices.get(),
                class,
                only.as_ref().unwrap_or(&members),
                call.first.as_ref(),
                &asked,
                now,
            );
            let Some((route, node)) = chosen else {
                return Err(failure.unwrap_or(NetworkError::NoSwarm));
            };
            let limit = call
                .limit
                .min(deadline.saturating_duration_since(Instant::now()));
            if limit.is_zero() {
                return Err(failure.unwrap_or(NetworkError::Timeout));
            }
            let payload = (call.make)(self.now_ms(), &node.ed25519)?.to_json();
            let sent = self.send(&route, &node, &payload, limit, call.short).await;
            let (answer, latency) = match sent {
                Ok(sent) => sent,
                Err(error) => {
                    failure = Some(note(&mut asked, &route, &node, error)?);
                    continue;
                }
            };
            match judge(answer, call, &members) {
                Verdict::Good(answer) => {
                    return Ok(Done {
                        node: node.ed25519,
                        path_id: route.id,
                        latency,
                        answer,
                        members,
                    });
                }
                Verdict::WrongClock if !resynced => {
                    resynced = true;
                    left += 1;
                    // Whose clock is wrong is not known yet: another one is asked next.
                    asked.tried.insert(node.ed25519);
                    self.resync().await;
                }
                Verdict::WrongClock => {
                    // Everyone else agreed on the time: it is this node's clock.
                    self.update(|state| state.strike_target(&node.ed25519));
                    asked.refused.insert(node.ed25519);
                    failure = Some(NetworkError::ClockOff);
                }
                Verdict::WrongSwarm(body) => {
                    if !corrected {
                        corrected = true;
                        left += 1;
                    }
                    self.replace_swarm(call.owner, &body, &node);
                    asked.refused.insert(node.ed25519);
                    failure = Some(NetworkError::NoSwarm);
                }
                Verdict::Final(error) => return Err(error),
                Verdict::Member(error) => {
                    self.update(|state| state.strike_target(&node.ed25519));
                    asked.refused.insert(node.ed25519);
                    failure = Some(error);
                }
            }
        }
        Err(failure.unwrap_or(NetworkError::NoSwarm))
    }

    /// Known members of the swarm of `owner`, asked for if need be.
    pub(crate) async fn members_of(
        &self,
        isolation: IsolationKey,
        owner: &Identifier,
    ) -> Result<HashSet<NodeKey>, NetworkError> {
        let mut stop = self.stop.subscribe();
        let deadline = Instant::now() + self.config.times.call;
        let found = async {
            let class = self.wait_for_path(isolation, deadline).await?;
            self.members(owner, class, deadline).await
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Err(NetworkError::Shutdown),
            members = found => members,
        }
    }

    /// Waits while the first path of an isolation key is being built; says at once that there is none after that
    /// failed.
    async fn wait_for_path(
        &self,
        key: IsolationKey,
        deadline: Instant,
    ) -> Result<Class, NetworkError> {
        let mut epoch = self.epoch.subscribe();
        loop {
            let now = self.now();
            epoch.mark_unchanged();
            let (class, ready, failure, nodes) = self.update(|state| {
                let class = state.touch(key, now);
                let ready = state.paths.of(class).next().is_some();
                let failure = state.classes.failure(class).or(state.failure);
                (class, ready, failure, state.pool.len())
            });
            if ready {
                return Ok(class);
            }
            self.wake.notify_one();
            if failure.is_some() || timeout_at(deadline, epoch.changed()).await.is_err() {
                return Err(if nodes < self.config.min_nodes {
                    NetworkError::NoNodes
                } else {
                    NetworkError::NoPath
                });
            }
        }
    }

    /// Members of the swarm of `owner`: told, computed, or asked for (network.md 3.2).
    async fn members(
        &self,
        owner: &Identifier,
        class: Class,
        deadline: Instant,
    ) -> Result<HashSet<NodeKey>, NetworkError> {
        if let Some(members) = lock(&self.state).members(owner) {
            return Ok(members);
        }
        let payload = request::get_swarm(owner).to_json();
        let mut asked = Asked::default();
        let mut failure = NetworkError::NoSwarm;
        for _ in 0..ATTEMPTS {
            let limit = self.config.times.request;
            let limit = limit.min(deadline.saturating_duration_since(Instant::now()));
            let now = self.now();
            let chosen = lock(&self.state).choose_any(&mut *self.choices.get(), class, &asked, now);
            let Some((route, node)) = chosen.filter(|_| !limit.is_zero()) else {
                return Err(failure);
            };
            match self.send(&route, &node, &payload, limit, true).await {
                Ok((answer, _)) if answer.status == 200 => {
                    asked.refused.insert(node.ed25519);
                    self.replace_swarm(owner, &answer.body, &node);
                    if let Some(members) = lock(&self.state).members(owner) {
                        return Ok(members);
                    }
                }
                Ok(_) => {
                    asked.refused.insert(node.ed25519);
                }
                Err(error) => failure = note(&mut asked, &route, &node, error)?,
            }
        }
        Err(failure)
    }

    /// Takes what a decrypted answer says about a swarm.
    fn replace_swarm(&self, owner: &Identifier, body: &Value, teller: &Node) {
        let told: Vec<NodeKey> = answer::swarm(body)
            .map(|swarm| swarm.nodes.iter().map(|node| node.ed25519).collect())
            .unwrap_or_default();
        self.update(|state| {
            state
                .swarms
                .replace(owner, &told, &teller.ed25519, &state.pool)
        });
    }
}

/// Notes a failed attempt. The error is final if repeating cannot help.
fn note(
    asked: &mut Asked,
    route: &Route,
    node: &Node,
    error: SendError,
) -> Result<NetworkError, NetworkError> {
    match error {
        SendError::Build(error) => Err(NetworkError::Build(error)),
        SendError::Malformed => {
            asked.refused.insert(node.ed25519);
            Ok(NetworkError::Malformed)
        }
        SendError::Fault(fault) => {
            asked.paths.push(route.id.clone());
            // The way may be broken, or its end: next time both are others.
            asked.tried.insert(node.ed25519);
            Ok(match fault {
                // Nothing left this machine: as if there had been no path.
                Fault::GuardUnreachable | Fault::ProxyDown => NetworkError::NoPath,
                Fault::Timeout => NetworkError::Timeout,
                _ => NetworkError::PathFailed,
            })
        }
    }
}

fn judge<T>(answer: NodeAnswer, call: &Call<'_, T>, members: &HashSet<NodeKey>) -> Verdict<T> {
    let NodeAnswer { status, body } = answer;
    let results = match call.batch.filter(|_| is_success(status)) {
        None => vec![BatchResult { code: status, body }],
        Some(count) => match answer::batch(&body, count) {
            Ok(results) => results,
            Err(_) => return Verdict::Member(NetworkError::Malformed),
        },
    };
    let Some((status, body)) = failure(&results) else {
        return match (call.accept)(results, members) {
            Ok(answer) => Verdict::Good(answer),
            Err(error) => Verdict::Member(error),
        };
    };
    match status {
        406 => Verdict::WrongClock,
        421 => Verdict::WrongSwarm(body.clone()),
        400 | 401 | 403 | 404 | 413 => Verdict::Final(rejected(status, body)),
        _ => Verdict::Member(rejected(status, body)),
    }
}

/// How all requests failed, if they failed alike. A batch of such failed as a whole with that status; its own is always
/// 200 (network.md 6.2, observed-nodes.md 12).
fn failure(results: &[BatchResult]) -> Option<(u16, &Value)> {
    let first = results.first()?;
    let alike = results.iter().all(|result| result.code == first.code);
    (alike && !is_success(first.code)).then_some((first.code, &first.body))
}

pub(crate) fn is_success(code: u16) -> bool {
    (200..300).contains(&code)
}

/// A refusal in the destination's words.
pub(crate) fn rejected(code: u16, body: &Value) -> NetworkError {
    let text = match body {
        Value::String(text) => text.chars().take(MAX_TEXT).collect(),
        _ => String::new(),
    };
    NetworkError::Rejected { code, text }
}
