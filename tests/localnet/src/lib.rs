//! A small Session network on loopback that speaks the wire protocol of the official one.
//!
//! For what: the daemon, its tests, the demo and the benches need a network that exists without the internet
//! and answers as official nodes do. Every service node has a TLS listener, keys and a database of its own;
//! onion layers are really opened and passed on over HTTPS.
//!
//! Promises: clients can tell the difference from official nodes only where this documentation says so. JSON
//! of requests and answers is read and written here independently of the crate `session-protocol`, so that
//! one misreading is not made twice; shared is only what test vectors cover (keys, signed strings, hashes,
//! the swarm mapping, onion layers). Malformed input is refused, never obeyed.
//!
//! Not served: OxenMQ and QUIC (network.md 2.4, 2.5), the chain, `aes-cbc` layers, exits to `https` servers,
//! accounts with prefixes nobody uses.
//!
//! Nodes misbehave on demand while they run: [`faults`] says how, [`Control`] and [`ControlClient`] set it, and
//! [`scenario`] draws schedules of faults from a seed.
//!
//! Facts: protocol documents "network" (2 to 5, 8) and "observed-nodes"; modules name their sections.

pub mod cli;
mod clock;
mod control;
mod directory;
pub mod faults;
mod http;
mod layout;
mod membership;
mod network;
mod network_file;
mod node;
mod peers;
mod random;
mod running;
pub mod scenario;
mod seed;
mod service_nodes;
pub mod socks;
mod state;
mod tls;
mod uptime;

pub use clock::{Clock, ManualClock, SystemClock};
pub use control::{Control, ControlClient, ControlError, Held, NodeStatus, Order, Status};
pub use directory::NodeInfo;
pub use faults::{Faults, Hits};
pub use network::{Localnet, LocalnetError, Options, start};
pub use random::SplitMix;
pub use running::Target;
pub use scenario::Scenario;
pub use tls::{TlsError, client_config};
