//! The network as a whole: what it is started with, and the handle that keeps it running.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinHandle;

use crate::clock::{Clock, SystemClock};
use crate::control::{self, Control};
use crate::directory::NodeInfo;
use crate::faults::Faults;
use crate::layout::swarm_ids;
use crate::network_file::{NetworkFile, Seed as SeedEntry};
use crate::running::{Running, Target};
use crate::state::{State, StateError};
use crate::tls::TlsError;
use crate::uptime;

/// Twice what the main network has; each node has a thread, files, and a /24 of loopback.
const MAX_NODES: usize = 4_000;

/// What network to start.
#[derive(Clone)]
pub struct Options {
    /// Where keys and messages are kept. A directory that holds a network already must fit the other options.
    pub state_dir: PathBuf,
    /// Number of nodes, 1 to 4,000.
    pub nodes: usize,
    /// Wanted members of a swarm; swarms have 4 to 6 where that is possible.
    pub swarm_size: usize,
    /// Port of the seed on 127.0.0.1; 0 for the one kept in the state directory, or else a free one.
    pub seed_port: u16,
    /// Serve the seed over HTTPS with a certificate to pin.
    pub seed_tls: bool,
    /// All nodes on 127.0.0.1 instead of one on 127.x.y.1 each.
    pub single_ip: bool,
    /// Nodes give the list of nodes in binary form, too, as newer ones do.
    pub active_nodes_bin: bool,
    /// Factor for the times nodes wait for others, and for a client's times.
    pub time_scale: f64,
    /// What nodes take for the time.
    pub clock: Arc<dyn Clock>,
    /// Decides which requests get lost where a node loses some.
    pub fault_seed: u64,
    /// Have nodes checked and decommissioned as the chain does it, with its times (a check every 10 s, 65 min of
    /// failures) multiplied by this. `None`: no checks.
    pub uptime_checks: Option<f64>,
}

impl Options {
    /// Twelve nodes in swarms of about five, on free ports.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            nodes: 12,
            swarm_size: 5,
            seed_port: 0,
            seed_tls: false,
            single_ip: false,
            active_nodes_bin: false,
            time_scale: 1.0,
            clock: Arc::new(SystemClock),
            fault_seed: 0,
            uptime_checks: None,
        }
    }
}

/// Why a network does not start.
#[derive(Debug, thiserror::Error)]
pub enum LocalnetError {
    /// Options that make no network.
    #[error("{0}")]
    Options(&'static str),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address is taken, or does not exist.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A node's database.
    #[error("{path}: {source}")]
    Database {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// There is no node with this index.
    #[error("there is no node {0}")]
    NoSuchNode(usize),
    /// Faults that cannot be.
    #[error("{0}")]
    Faults(&'static str),
    /// The network was shut down.
    #[error("the network has ended")]
    Ended,
    /// The file that tells where the control interface is.
    #[error("{path}: {source}")]
    ControlFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The network file cannot be written as TOML.
    #[error("network file: {0}")]
    NetworkFile(#[from] toml::ser::Error),
}

/// A running network. Dropped, it stops at once; [`Localnet::shutdown`] also closes its files.
pub struct Localnet {
    running: Arc<Running>,
    /// The uptime checks and the control interface.
    helpers: Vec<JoinHandle<()>>,
}

/// Starts a network. When this returns all listeners are bound and all databases open.
pub async fn start(options: Options) -> Result<Localnet, LocalnetError> {
    if !(1..=MAX_NODES).contains(&options.nodes) {
        return Err(LocalnetError::Options("a network has 1 to 4,000 nodes"));
    }
    if options.swarm_size == 0 {
        return Err(LocalnetError::Options("a swarm has at least one member"));
    }
    if !is_factor(options.time_scale) {
        return Err(LocalnetError::Options(
            "the time scale is above 0 and at most 1000",
        ));
    }
    if !options.uptime_checks.is_none_or(is_factor) {
        return Err(LocalnetError::Options(
            "the factor of uptime checks is above 0 and at most 1000",
        ));
    }
    let ids = swarm_ids(options.nodes, options.swarm_size);
    let state = State::open(&options.state_dir, &ids, options.single_ip)?;
    let uptime_checks = options.uptime_checks;
    let running = Running::start(options, state).await?;
    let mut network = Localnet {
        running,
        helpers: Vec::new(),
    };
    if let Some(factor) = uptime_checks {
        let checks = uptime::watch(Arc::clone(&network.running), factor);
        network.helpers.push(tokio::spawn(checks));
    }
    Ok(network)
}

fn is_factor(factor: f64) -> bool {
    factor > 0.0 && factor <= 1000.0
}

impl Localnet {
    /// Base URL of the seed; clients post to `/json_rpc` below it.
    pub fn seed_url(&self) -> String {
        let scheme = if self.running.options.seed_tls {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.running.seed_address)
    }

    /// Padded base64 of the SHA-256 of the seed's public key info, if it serves HTTPS.
    pub fn seed_pin(&self) -> Result<Option<String>, LocalnetError> {
        match self.running.options.seed_tls {
            true => Ok(Some(self.running.state.seed_tls.pin()?)),
            false => Ok(None),
        }
    }

    /// All nodes, running or not, in the swarms the network started with; their order is that of the indices
    /// elsewhere. Where they are now says [`Control::nodes`].
    pub fn nodes(&self) -> &[NodeInfo] {
        self.running.shared.directory.founders()
    }

    /// Text of the network file for clients.
    pub fn network_file(&self) -> Result<String, LocalnetError> {
        let url = self.seed_url();
        let seed = match self.seed_pin()? {
            Some(pin) => SeedEntry::Pinned { url, pin },
            None => SeedEntry::Plain(url),
        };
        let options = &self.running.options;
        Ok(toml::to_string(&NetworkFile {
            name: "local".into(),
            seeds: vec![seed],
            subnet_diversity: !options.single_ip,
            min_nodes: options.nodes,
            time_scale: options.time_scale,
        })?)
    }

    /// What sets faults while the network runs. Clones stay good until the network ends.
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.running))
    }

    /// Serves the control interface on a free port of 127.0.0.1, and says in a file in the state directory where it is;
    /// see [`ControlClient`](crate::ControlClient).
    pub async fn serve_control(&mut self) -> Result<SocketAddr, LocalnetError> {
        let state_dir = &self.running.options.state_dir;
        let (address, serving) = control::server::start(self.control(), state_dir).await?;
        self.helpers.push(serving);
        Ok(address)
    }

    /// Stops a node at once: its listener is gone, its connections are cut, others wait for it in vain.
    /// Nothing happens if it is stopped already. The same as the fault `down`.
    pub async fn stop_node(&mut self, index: usize) -> Result<(), LocalnetError> {
        self.set_down(index, true).await
    }

    /// Starts a stopped node again, with the keys, the address and the messages it had.
    pub async fn start_node(&mut self, index: usize) -> Result<(), LocalnetError> {
        self.set_down(index, false).await
    }

    async fn set_down(&self, index: usize, down: bool) -> Result<(), LocalnetError> {
        let target = Target::Node(index);
        let faults = self.running.switch(target)?.faults();
        self.running.set(target, Faults { down, ..faults }).await
    }

    /// How many onion requests have come from clients, to all nodes together.
    pub fn onion_requests(&self) -> u64 {
        self.running.shared.onion_requests.load(Ordering::Relaxed)
    }

    /// Makes a running node tell that these are the nodes of the network; `None` for the truth. The seed and the
    /// other nodes go on telling the truth, and the node itself goes on working by it.
    pub fn lie(&self, index: usize, nodes: Option<Vec<NodeInfo>>) -> Result<(), LocalnetError> {
        self.running.lie(index, nodes)
    }

    /// Removes expired messages everywhere now, as every node does by itself each 10 s.
    pub async fn sweep(&self) {
        self.running.sweep().await;
    }

    /// Stops everything and closes all files.
    pub async fn shutdown(self) {
        self.end_helpers();
        self.running.stop().await;
    }

    fn end_helpers(&self) {
        for helper in &self.helpers {
            helper.abort();
        }
    }
}

impl Drop for Localnet {
    fn drop(&mut self) {
        self.end_helpers();
        self.running.abort();
    }
}
