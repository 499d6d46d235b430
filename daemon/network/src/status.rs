//! What the layer shows about itself (network.md 6.5).

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::ladder::LadderStep;

/// Whether requests can be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionState {
    /// The first path is being built, or a new one after the last was lost.
    #[default]
    Connecting,
    /// At least one path works.
    Connected,
    /// Building a path failed; it is tried again.
    Disconnected,
}

/// State of the layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether requests can be made.
    pub state: ConnectionState,
    /// Service nodes known.
    pub node_count: usize,
    /// Paths in use, over all isolation keys.
    pub path_count: usize,
    /// Why the last try to connect failed, upper snake case; `None` once connected.
    pub last_error: Option<&'static str>,
    /// What is added to local time, ms.
    pub clock_offset_ms: i64,
    /// Enough nodes agree on the time. Until then the offset rests on few of them, or on the last run.
    pub clock_measured: bool,
    /// How far the rules were relaxed for a path in use, at most.
    pub relaxed: LadderStep,
}

/// A path that is or was in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathInfo {
    /// Random name, new with every path.
    pub id: String,
    /// Guard first.
    pub hops: Vec<HopInfo>,
    /// Opaque name of the isolation key whose requests it carries; `agent` for the layer's own.
    pub isolation: String,
    /// Network time at which it was built, ms.
    pub created_ms: u64,
    /// Network time of its last answer, ms.
    pub last_success_ms: Option<u64>,
    /// Round trip of its last short request.
    pub latency: Option<Duration>,
    /// A request over it failed and nothing has come back since.
    pub suspect: bool,
    /// How far the rules were relaxed for it.
    pub relaxed: LadderStep,
}

/// A path that is no longer used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedPath {
    /// As it was.
    pub path: PathInfo,
    /// Why, upper snake case.
    pub reason: &'static str,
    /// The hop to blame, the guard being 0, if one is.
    pub hop: Option<usize>,
    /// Network time, ms.
    pub dropped_ms: u64,
}

/// A node on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopInfo {
    /// Its name.
    pub ed25519: [u8; 32],
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its HTTPS port.
    pub port: u16,
}
