//! The handle that the rest of the program holds.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use serde_json::Value;
use session_protocol::storage::answer::{BatchResult, MalformedAnswer};
use session_protocol::storage::request::{self, MAX_BATCH, MAX_DATA, Request, Store};
use session_protocol::storage::{Namespace, answer, message_hash, verify};
use session_protocol::{AccountKeys, Identifier};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cache::Cache;
use crate::calls::{Call, is_success, rejected};
use crate::clock::Clock;
use crate::config::NetworkConfig;
use crate::engine::Engine;
use crate::error::NetworkError;
use crate::https::HttpsTransport;
use crate::isolation::IsolationKey;
use crate::maintain;
use crate::metrics::Metrics;
use crate::onion::Onion;
use crate::pool::NodeKey;
use crate::random::{self, Choices};
use crate::state::State;
use crate::status::{DroppedPath, PathInfo, Status};
use crate::sync::lock;
use crate::times::Times;
use crate::transport::Transport;
use crate::types::{Holder, Retrieved, StoreItem, StoreReceipt, StoredCopy, SwarmReply};

/// Longest that a start waits for what was saved.
const RESTORE: std::time::Duration = std::time::Duration::from_secs(5);

/// Most hashes asked about at once.
const MAX_ASKED: usize = 100;

/// The network layer of one process. Clones share it; it stops with [`Network::shutdown`] or when the last clone
/// is dropped.
#[derive(Clone)]
pub struct Network {
    engine: Arc<Engine>,
    task: Arc<Task>,
}

/// The maintenance task, ended when the last handle goes.
struct Task {
    engine: Arc<Engine>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.engine.stop.send_replace(true);
    }
}

impl Network {
    /// Starts the layer and returns at once. Must be called within a tokio runtime. Being offline is a normal
    /// state: it keeps trying.
    pub fn start(config: NetworkConfig, cache: Arc<dyn Cache>, clock: Arc<dyn Clock>) -> Self {
        let transport = Arc::new(HttpsTransport::new(
            config.times.connect,
            config.proxy.clone(),
        ));
        Self::start_with(config, cache, clock, transport)
    }

    /// The same over another transport.
    pub fn start_with(
        config: NetworkConfig,
        cache: Arc<dyn Cache>,
        clock: Arc<dyn Clock>,
        transport: Arc<dyn Transport>,
    ) -> Self {
        let carrier = Arc::new(Onion(Arc::clone(&transport)));
        let choices = Choices::new(random::system());
        Self::run(Engine::new(
            config, cache, clock, transport, carrier, choices,
        ))
    }

    /// Starts the task of an engine.
    pub(crate) fn run(engine: Engine) -> Self {
        let engine = Arc::new(engine);
        let handle = tokio::spawn(maintain::run(Arc::clone(&engine)));
        let task = Arc::new(Task {
            engine: Arc::clone(&engine),
            handle: Mutex::new(Some(handle)),
        });
        Self { engine, task }
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> std::sync::MutexGuard<'_, crate::state::State> {
        lock(&self.engine.state)
    }

    /// Name of the network.
    pub fn name(&self) -> &str {
        &self.engine.config.name
    }

    /// Intervals and deadlines.
    pub fn times(&self) -> &Times {
        &self.engine.config.times
    }

    /// Network time, ms: the local clock and what it is off by.
    pub fn now_ms(&self) -> u64 {
        self.engine.now_ms()
    }

    /// What is added to local time, ms.
    pub fn clock_offset_ms(&self) -> i64 {
        lock(&self.engine.state).offset.get()
    }

    /// A network time that has come, ms, even if the nodes that told it so far lied: the same as [`Network::now_ms`]
    /// while the clock is measured, else the earliest that anything speaks for.
    pub fn certain_ms(&self) -> u64 {
        self.engine.certain_ms()
    }

    /// Whether enough nodes agree on the time: see [`Status::clock_measured`].
    pub fn clock_is_measured(&self) -> bool {
        lock(&self.engine.state).offset.is_measured()
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.engine.metrics
    }

    /// Whether everything goes through a proxy.
    pub fn uses_proxy(&self) -> bool {
        self.engine.config.proxy.is_some()
    }

    /// State now.
    pub fn status(&self) -> Status {
        lock(&self.engine.state).status()
    }

    /// State now and whenever it changes.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.engine.status.subscribe()
    }

    /// Paths in use.
    pub fn paths(&self) -> Vec<PathInfo> {
        lock(&self.engine.state).path_infos()
    }

    /// Paths that were in use until lately, the newest first; at most twenty.
    pub fn dropped_paths(&self) -> Vec<DroppedPath> {
        lock(&self.engine.state).dropped_infos()
    }

    /// Moves whenever the task that keeps paths and the list of nodes in order goes on: at least once a minute while it has
    /// nothing to do. Whoever watches over tasks sees by it whether this one still lives.
    pub fn turns(&self) -> watch::Receiver<u64> {
        self.engine.turns.subscribe()
    }

    /// Waits until what a restart left is taken over, above all how far the local clock is off; a cache that does not
    /// answer is not waited for for long.
    pub async fn restored(&self) {
        let mut turns = self.turns();
        let restored = turns.wait_for(|turns| *turns > 0);
        if tokio::time::timeout(RESTORE, restored).await.is_err() {
            tracing::warn!("what the network saved cannot be read");
        }
    }

    /// Tries to connect now instead of after the pause that follows a failure: a person asked for it.
    pub fn hurry(&self) {
        self.engine.hurry.notify_one();
    }

    /// The machine slept or its network changed: connections are given up, and all paths are tested at once. Until
    /// something answers, nobody is blamed for silence.
    pub fn disturbed(&self) {
        self.engine.transport.forget_connections();
        self.engine.update(State::disturbed);
        self.hurry();
    }

    /// Stores up to 20 messages in the swarm of one owner as one request. Each item has its own result; an
    /// outer error means that nothing is known to be stored. Safe to repeat: equal bytes are one message.
    pub async fn store(
        &self,
        isolation: IsolationKey,
        owner: &Identifier,
        items: &[StoreItem],
    ) -> Result<Vec<Result<StoreReceipt, NetworkError>>, NetworkError> {
        let items: Vec<Item<'_>> = items
            .iter()
            .map(|item| Item {
                namespace: item.namespace,
                data: &item.data,
                life: Life::For(item.ttl_ms),
            })
            .collect();
        self.store_items(isolation, owner, &items, None).await
    }

    /// As [`Network::store`] for messages that were stored before, with the end of life that they have. `at` is a
    /// member that lacks them: it alone is asked, however it answered before, since what others pass on may not reach it.
    pub async fn store_again(
        &self,
        isolation: IsolationKey,
        owner: &Identifier,
        copies: &[StoredCopy],
        at: Option<[u8; 32]>,
    ) -> Result<Vec<Result<StoreReceipt, NetworkError>>, NetworkError> {
        let items: Vec<Item<'_>> = copies
            .iter()
            .map(|copy| Item {
                namespace: copy.namespace,
                data: &copy.data,
                life: Life::Until(copy.expiry_ms),
            })
            .collect();
        self.store_items(isolation, owner, &items, at).await
    }

    async fn store_items(
        &self,
        isolation: IsolationKey,
        owner: &Identifier,
        items: &[Item<'_>],
        only: Option<NodeKey>,
    ) -> Result<Vec<Result<StoreReceipt, NetworkError>>, NetworkError> {
        if items.is_empty() || items.len() > MAX_BATCH {
            return Err(NetworkError::BadCount);
        }
        if items.iter().any(|item| item.data.len() > MAX_DATA) {
            return Err(NetworkError::TooLarge);
        }
        let make = |timestamp, _: &NodeKey| {
            let mut requests: Vec<Request> = items
                .iter()
                .map(|item| {
                    request::store(&Store {
                        owner: *owner,
                        namespace: item.namespace,
                        data: item.data,
                        timestamp,
                        ttl: item.life.from(timestamp),
                    })
                })
                .collect();
            match requests.len() {
                1 => requests.pop(),
                _ => request::batch(&requests),
            }
            .ok_or(NetworkError::BadCount)
        };
        let hashes: Vec<String> = items
            .iter()
            .map(|item| message_hash(owner, item.namespace, item.data))
            .collect();
        let accept = |results: Vec<BatchResult>, members: &HashSet<NodeKey>| {
            stored(&results, &hashes, members)
        };
        let call = Call {
            isolation,
            owner,
            limit: self.engine.config.times.store,
            first: None,
            last: None,
            only,
            short: false,
            batch: (items.len() > 1).then_some(items.len()),
            make: &make,
            accept: &accept,
        };
        let done = self.engine.call(&call).await?;
        Ok(done
            .answer
            .into_iter()
            .zip(hashes)
            .map(|(Stored { result, at_ms }, hash)| {
                result.map(|confirmed| StoreReceipt {
                    hash,
                    missed: done
                        .members
                        .iter()
                        .filter(|key| !confirmed.nodes.contains(*key))
                        .copied()
                        .collect(),
                    confirmed: confirmed.nodes,
                    asked: confirmed.asked,
                    expiry_ms: confirmed.expiry,
                    stored_ms: at_ms,
                    node: done.node,
                    path_id: done.path_id.clone(),
                })
            })
            .collect())
    }

    /// One page from one swarm member of the account of `keys`. `cursors` maps a node's key to the last hash known
    /// from that node; a member without an entry begins with its oldest message. Members are asked at random, so that
    /// none can withhold anything for long; `beside` is one to pass over this time if there is another.
    pub async fn retrieve(
        &self,
        isolation: IsolationKey,
        keys: &AccountKeys,
        namespace: Namespace,
        cursors: &HashMap<[u8; 32], String>,
        beside: Option<[u8; 32]>,
    ) -> Result<Retrieved, NetworkError> {
        let owner = Identifier::from(keys.account_id());
        let make = |timestamp, node: &NodeKey| {
            let last = cursors.get(node).map(String::as_str);
            Ok(request::retrieve(keys, namespace, last, None, timestamp))
        };
        let accept = of_one(answer::retrieve);
        let call = Call {
            isolation,
            owner: &owner,
            limit: self.engine.config.times.request,
            first: lock(&self.engine.state)
                .swarms
                .unfinished(&owner, namespace)
                .filter(|member| Some(*member) != beside),
            last: beside,
            only: None,
            short: true,
            batch: None,
            make: &make,
            accept: &accept,
        };
        let done = self.engine.call(&call).await?;
        let page = done.answer;
        lock(&self.engine.state)
            .swarms
            .page(&owner, namespace, done.node, page.more);
        // A member that knows the cursor's message gives only what comes after it.
        let cursor = cursors.get(&done.node);
        let cursor_lost = page
            .messages
            .iter()
            .any(|message| Some(&message.hash) == cursor);
        Ok(Retrieved {
            node: done.node,
            cursor_lost,
            messages: page.messages,
            more: page.more,
            path_id: done.path_id,
            latency: done.latency,
        })
    }

    /// What one random member of an owner's swarm holds in a namespace that anyone may read. The account's keys take no
    /// part, so that this says nothing more than that somebody asks.
    pub async fn retrieve_public(
        &self,
        isolation: IsolationKey,
        owner: &Identifier,
        namespace: Namespace,
    ) -> Result<Vec<answer::StoredMessage>, NetworkError> {
        let make = |_, _: &NodeKey| Ok(request::retrieve_public(owner, namespace));
        let accept = of_one(answer::retrieve);
        let call = Call {
            isolation,
            owner,
            limit: self.engine.config.times.request,
            first: None,
            last: None,
            only: None,
            short: true,
            batch: None,
            make: &make,
            accept: &accept,
        };
        let done = self.engine.call(&call).await?;
        Ok(done.answer.messages)
    }

    /// Which of `hashes` (1 to 100) each member of the swarm of `keys` holds. Each is asked itself; those that did not
    /// answer are left out.
    pub async fn holders(
        &self,
        isolation: IsolationKey,
        keys: &AccountKeys,
        hashes: &[String],
    ) -> Result<Vec<Holder>, NetworkError> {
        if hashes.is_empty() || hashes.len() > MAX_ASKED {
            return Err(NetworkError::BadCount);
        }
        let owner = Identifier::from(keys.account_id());
        let members = self.engine.members_of(isolation, &owner).await?;
        let make = |timestamp, _: &NodeKey| Ok(request::get_expiries(keys, hashes, timestamp));
        let accept = of_one(answer::get_expiries);
        let asked = members.iter().map(async |member| {
            let call = Call {
                isolation,
                owner: &owner,
                limit: self.engine.config.times.request,
                first: None,
                last: None,
                only: Some(*member),
                short: true,
                batch: None,
                make: &make,
                accept: &accept,
            };
            let done = self.engine.call(&call).await?;
            let asked_for = done
                .answer
                .into_iter()
                .filter(|(hash, _)| hashes.contains(hash));
            Ok(Holder {
                node: *member,
                expiries: asked_for.collect(),
            })
        });
        let answers: Vec<Result<Holder, NetworkError>> = join_all(asked).await;
        let mut holders = Vec::new();
        let mut failure = NetworkError::NoSwarm;
        for answer in answers {
            match answer {
                Ok(holder) => holders.push(holder),
                Err(error) => failure = error,
            }
        }
        match holders.is_empty() {
            true => Err(failure),
            false => Ok(holders),
        }
    }

    /// Any request to a random member of an account's swarm. `make` is given network time and is called anew for
    /// every attempt. Success is a 2xx of the member; whether members did it, their signatures tell.
    pub async fn swarm_request(
        &self,
        isolation: IsolationKey,
        owner: &Identifier,
        make: &(dyn Fn(u64) -> Request + Sync),
    ) -> Result<SwarmReply, NetworkError> {
        let make = |timestamp, _: &NodeKey| Ok(make(timestamp));
        let call = Call {
            isolation,
            owner,
            limit: self.engine.config.times.store,
            first: None,
            last: None,
            only: None,
            short: false,
            batch: None,
            make: &make,
            accept: &|mut results: Vec<BatchResult>, _| {
                let result = results.pop().ok_or(NetworkError::Malformed)?;
                Ok(result.body)
            },
        };
        let done = self.engine.call(&call).await?;
        Ok(SwarmReply {
            node: done.node,
            body: done.answer,
            members: done.members.into_iter().collect(),
            path_id: done.path_id,
            latency: done.latency,
        })
    }

    /// Saves what a restart needs, drops connections and ends all tasks. Calls under way end with
    /// [`NetworkError::Shutdown`].
    pub async fn shutdown(&self) {
        self.engine.stop.send_replace(true);
        let handle = lock(&self.task.handle).take();
        if let Some(handle) = handle
            && handle.await.is_err()
        {
            tracing::warn!("the network's task did not end in order");
        }
    }
}

/// What is stored of one message.
struct Item<'a> {
    namespace: Namespace,
    data: &'a [u8],
    life: Life,
}

/// How long a message is kept, ms.
#[derive(Clone, Copy)]
enum Life {
    /// From when the request is made.
    For(u64),
    /// Until a moment.
    Until(u64),
}

impl Life {
    /// What is left at a moment. What is over asks for a life that every node refuses.
    fn from(self, now_ms: u64) -> u64 {
        match self {
            Self::For(ttl_ms) => ttl_ms,
            Self::Until(end_ms) => end_ms.saturating_sub(now_ms),
        }
    }
}

/// Reads the answer to a single request.
fn of_one<T>(
    read: impl Fn(&Value) -> Result<T, MalformedAnswer>,
) -> impl Fn(Vec<BatchResult>, &HashSet<NodeKey>) -> Result<T, NetworkError> {
    move |results, _| match &results[..] {
        [result] => read(&result.body).map_err(|_| NetworkError::Malformed),
        _ => Err(NetworkError::Malformed),
    }
}

/// What became of one item at the member that was asked to store it.
struct Stored {
    /// Who signed for it.
    result: Result<verify::Confirmed, NetworkError>,
    /// When that member took it, by its own clock, ms.
    at_ms: Option<u64>,
}

/// Reads the answer to one store or a batch of them. What a member did not sign for may be stored by asking another;
/// what it refused will be refused again.
fn stored(
    results: &[BatchResult],
    hashes: &[String],
    members: &HashSet<NodeKey>,
) -> Result<Vec<Stored>, NetworkError> {
    let confirmed = |result: &BatchResult, hash: &str| {
        if !is_success(result.code) {
            return Err(rejected(result.code, &result.body));
        }
        let answer = answer::store(&result.body).map_err(|_| NetworkError::Malformed)?;
        let confirmed = verify::store(&answer.members, hash, |key| members.contains(key));
        match confirmed.nodes.is_empty() {
            true => Err(NetworkError::Unverified),
            false => Ok(confirmed),
        }
    };
    let stored: Vec<Stored> = results
        .iter()
        .zip(hashes)
        .map(|(result, hash)| Stored {
            result: confirmed(result, hash),
            at_ms: answer::server_time(&result.body),
        })
        .collect();
    // Alone, an answer that makes no sense is the whole call's.
    if let [
        Stored {
            result: Err(NetworkError::Malformed),
            ..
        },
    ] = &stored[..]
    {
        return Err(NetworkError::Malformed);
    }
    let unsigned = |stored: &Stored| matches!(stored.result, Err(NetworkError::Unverified));
    match stored.iter().all(unsigned) {
        true => Err(NetworkError::Unverified),
        false => Ok(stored),
    }
}
