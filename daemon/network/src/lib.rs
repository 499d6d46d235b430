//! Who we say it to: the node pool, onion paths and the swarm client.
//!
//! Promises: everything goes through onion requests except the list of nodes from the seeds, and `info` to a guard
//! itself, which says nothing about an account; circuits are shared only within one isolation key; only answers that
//! decrypted change the swarm cache or the clock; every request has a deadline and a last attempt; logs above
//! debug name no node, account or key.
//!
//! Facts: protocol documents "network" and "observed-nodes"; each module names its section.

mod bundle;
mod cache;
mod calls;
mod clock;
mod config;
mod connector;
mod dropped;
mod engine;
mod error;
mod fault;
mod guards;
mod hexkey;
mod https;
mod isolation;
mod ladder;
mod maintain;
mod metrics;
mod network;
mod onion;
mod paths;
mod pool;
mod private;
mod proxy;
mod random;
mod records;
mod refresh;
mod seeds;
#[cfg(test)]
mod sim;
mod state;
mod status;
mod strikes;
mod swarms;
mod sync;
mod times;
mod tls;
mod transport;
mod types;

pub use bundle::{BundleError, BundledNodes};
pub use cache::{Cache, CacheRecord, MemoryCache};
pub use clock::{Clock, SystemClock};
pub use config::{ConfigError, NetworkConfig, Seed};
pub use error::NetworkError;
pub use https::HttpsTransport;
pub use isolation::IsolationKey;
pub use ladder::LadderStep;
pub use metrics::Metrics;
pub use network::Network;
pub use private::{Hiding, Private, hide};
pub use proxy::{Proxy, ProxyError};
pub use session_protocol::storage::answer::StoredMessage;
pub use status::{ConnectionState, DroppedPath, HopInfo, PathInfo, Status};
pub use times::Times;
pub use transport::{Reply, Transport, TransportError};
pub use types::{Holder, Retrieved, StoreItem, StoreReceipt, StoredCopy, SwarmReply};
