//! The handle.

use std::collections::HashMap;
use std::sync::Arc;

use session_protocol::storage::Namespace;
use session_protocol::storage::request::Request;
use session_protocol::{AccountKeys, Identifier};
use tokio::sync::watch;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::NetworkConfig;
use crate::error::NetworkError;
use crate::status::{PathInfo, Status};
use crate::times::Times;
use crate::types::{Retrieved, StoreItem, StoreReceipt, SwarmReply};

struct Inner {
    config: NetworkConfig,
    clock: Arc<dyn Clock>,
    status: watch::Sender<Status>,
}

/// The network layer of one process.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

impl Network {
    /// Starts the layer and returns at once. Must be called within a tokio runtime. Being offline is a normal
    /// state: it keeps trying.
    pub fn start(config: NetworkConfig, cache: Arc<dyn Cache>, clock: Arc<dyn Clock>) -> Self {
        drop(cache);
        let status = watch::Sender::new(Status::default());
        Self {
            inner: Arc::new(Inner {
                config,
                clock,
                status,
            }),
        }
    }

    /// Name of the network.
    pub fn name(&self) -> &str {
        &self.inner.config.name
    }

    /// Intervals and deadlines.
    pub fn times(&self) -> &Times {
        &self.inner.config.times
    }

    /// Network time, ms: the local clock and what it is off by.
    pub fn now_ms(&self) -> u64 {
        self.inner
            .clock
            .now_ms()
            .saturating_add_signed(self.clock_offset_ms())
    }

    /// What is added to local time, ms.
    pub fn clock_offset_ms(&self) -> i64 {
        self.status().clock_offset_ms
    }

    /// State now.
    pub fn status(&self) -> Status {
        *self.inner.status.borrow()
    }

    /// State now and whenever it changes.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.inner.status.subscribe()
    }

    /// Working paths.
    pub fn paths(&self) -> Vec<PathInfo> {
        Vec::new()
    }

    /// Tries to connect now instead of after the pause that follows a failure: a person asked for it.
    pub fn hurry(&self) {}

    /// Stores up to 20 messages in the swarm of one owner as one request. Each item has its own result; an
    /// outer error means that nothing is known to be stored.
    pub async fn store(
        &self,
        _owner: &Identifier,
        _items: &[StoreItem],
    ) -> Result<Vec<Result<StoreReceipt, NetworkError>>, NetworkError> {
        Err(NetworkError::NoPath)
    }

    /// One page from one swarm member of the account of `keys`. `cursors` maps a node's key to the last hash known
    /// from that node.
    pub async fn retrieve(
        &self,
        _keys: &AccountKeys,
        _namespace: Namespace,
        _cursors: &HashMap<[u8; 32], String>,
    ) -> Result<Retrieved, NetworkError> {
        Err(NetworkError::NoPath)
    }

    /// Any request to a random member of an account's swarm. `make` is given network time and is called anew for
    /// every attempt.
    pub async fn swarm_request(
        &self,
        _owner: &Identifier,
        _make: &(dyn Fn(u64) -> Request + Sync),
    ) -> Result<SwarmReply, NetworkError> {
        Err(NetworkError::NoPath)
    }

    /// Saves what a restart needs, drops connections and ends all tasks. Calls under way end with
    /// [`NetworkError::Shutdown`].
    pub async fn shutdown(&self) {}
}
