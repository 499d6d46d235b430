//! What survives a restart, and the trait through which it does.
//!
//! Promise: what a cache gives back is a hint. It is parsed as foreign bytes; what does not parse is ignored.

use std::collections::HashMap;
use std::sync::Mutex;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::sync::lock;

/// Which record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheRecord {
    /// The list of nodes.
    Nodes,
    /// The guards in use.
    Guards,
    /// Nodes that failed.
    Strikes,
    /// How far the local clock is off.
    ClockOffset,
}

impl CacheRecord {
    /// Stable name, for use as a database key.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Guards => "guards",
            Self::Strikes => "strikes",
            Self::ClockOffset => "clock_offset",
        }
    }
}

/// Keeps the network layer's own records. A failure to do so costs time at the next start and nothing else, so
/// it is for the implementation to report.
pub trait Cache: Send + Sync + 'static {
    /// The bytes last saved, if any.
    fn load(&self, record: CacheRecord) -> BoxFuture<'_, Option<Vec<u8>>>;
    /// Replaces the record.
    fn save(&self, record: CacheRecord, bytes: Vec<u8>) -> BoxFuture<'_, ()>;
}

/// A cache that lasts as long as the process: for tests and throw-away clients.
#[derive(Debug, Default)]
pub struct MemoryCache {
    records: Mutex<HashMap<CacheRecord, Vec<u8>>>,
}

impl MemoryCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Cache for MemoryCache {
    fn load(&self, record: CacheRecord) -> BoxFuture<'_, Option<Vec<u8>>> {
        let bytes = lock(&self.records).get(&record).cloned();
        std::future::ready(bytes).boxed()
    }

    fn save(&self, record: CacheRecord, bytes: Vec<u8>) -> BoxFuture<'_, ()> {
        lock(&self.records).insert(record, bytes);
        std::future::ready(()).boxed()
    }
}
