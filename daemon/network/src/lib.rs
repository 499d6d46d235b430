//! Who we say it to: the node pool, onion paths and the swarm client.
//!
//! Promises: everything goes through onion requests except the list of nodes from the seeds; only answers that
//! decrypted change the swarm cache or the clock; every request has a deadline and a last attempt; logs above
//! debug name no node, account or key.
//!
//! Facts: protocol documents "network" and "observed-nodes"; each module names its section.

mod cache;
mod clock;
mod config;
mod error;
mod network;
mod status;
mod sync;
mod times;
mod types;

pub use cache::{Cache, CacheRecord, MemoryCache};
pub use clock::{Clock, SystemClock};
pub use config::{ConfigError, NetworkConfig, Seed};
pub use error::NetworkError;
pub use network::Network;
pub use session_protocol::storage::answer::StoredMessage;
pub use status::{ConnectionState, HopInfo, PathInfo, Status};
pub use times::Times;
pub use types::{Retrieved, StoreItem, StoreReceipt, SwarmReply};
