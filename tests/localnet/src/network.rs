//! The network as a whole: starts seed and nodes, stops them together or one at a time.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use session_protocol::AccountKeys;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::clock::{Clock, SystemClock};
use crate::directory::{Directory, NodeInfo};
use crate::http;
use crate::layout::swarm_ids;
use crate::network_file::{NetworkFile, Seed as SeedEntry};
use crate::node::store::Store;
use crate::node::{Node, Shared, Times};
use crate::peers::Peers;
use crate::seed::Seed;
use crate::state::{NodeState, State, StateError};
use crate::tls::TlsError;

/// Each node has a /24 of loopback, of which there are this many.
const MAX_NODES: usize = 254;
/// Between removals of expired messages (network.md 10).
const SWEEP: Duration = Duration::from_secs(10);

/// What network to start.
#[derive(Clone)]
pub struct Options {
    /// Where keys and messages are kept. A directory that holds a network already must fit the other options.
    pub state_dir: PathBuf,
    /// Number of nodes, 1 to 254.
    pub nodes: usize,
    /// Wanted members of a swarm; swarms have 4 to 6 where that is possible.
    pub swarm_size: usize,
    /// Port of the seed on 127.0.0.1; 0 for the one kept in the state directory, or else a free one.
    pub seed_port: u16,
    /// Serve the seed over HTTPS with a certificate to pin.
    pub seed_tls: bool,
    /// All nodes on 127.0.0.1 instead of one on 127.0.x.1 each.
    pub single_ip: bool,
    /// Factor for the times nodes wait for others, and for a client's times.
    pub time_scale: f64,
    /// What nodes take for the time.
    pub clock: Arc<dyn Clock>,
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
            time_scale: 1.0,
            clock: Arc::new(SystemClock),
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
    /// The network file cannot be written as TOML.
    #[error("network file: {0}")]
    NetworkFile(#[from] toml::ser::Error),
}

/// A running network. Dropped, it stops at once; [`Localnet::shutdown`] also closes its files.
pub struct Localnet {
    options: Options,
    state: State,
    shared: Shared,
    nodes: Vec<Option<Running>>,
    seed: JoinHandle<()>,
    seed_address: SocketAddr,
}

struct Running {
    node: Arc<Node>,
    tasks: [JoinHandle<()>; 2],
}

/// Starts a network. When this returns all listeners are bound and all databases open.
pub async fn start(options: Options) -> Result<Localnet, LocalnetError> {
    if !(1..=MAX_NODES).contains(&options.nodes) {
        return Err(LocalnetError::Options("a network has 1 to 254 nodes"));
    }
    if options.swarm_size == 0 {
        return Err(LocalnetError::Options("a swarm has at least one member"));
    }
    if !(options.time_scale > 0.0 && options.time_scale <= 1000.0) {
        return Err(LocalnetError::Options(
            "the time scale is above 0 and at most 1000",
        ));
    }
    let ids = swarm_ids(options.nodes, options.swarm_size);
    let mut state = State::open(&options.state_dir, &ids, options.single_ip)?;

    // All ports are known before the first node answers.
    let mut listeners = Vec::with_capacity(state.nodes.len());
    for node in &mut state.nodes {
        let (listener, port) = listen(node.ip, node.port).await?;
        node.port = port;
        listeners.push(listener);
    }
    let seed_port = if options.seed_port == 0 {
        state.seed_port
    } else {
        options.seed_port
    };
    let (seed_listener, seed_port) = listen(Ipv4Addr::LOCALHOST, seed_port).await?;
    state.seed_port = seed_port;
    state.save(&options.state_dir)?;

    let infos = state
        .nodes
        .iter()
        .map(info)
        .collect::<Result<Vec<_>, _>>()?;
    let mut token = [0; 16];
    getrandom::fill(&mut token).map_err(StateError::from)?;
    let shared = Shared {
        directory: Arc::new(Directory::new(infos)),
        peers: Arc::new(Peers::new(token)?),
        clock: Arc::clone(&options.clock),
        times: Times::scaled(options.time_scale),
    };
    let seed_tls = match options.seed_tls {
        true => Some(TlsAcceptor::from(state.seed_tls.server_config()?)),
        false => None,
    };
    let seed = Seed {
        directory: Arc::clone(&shared.directory),
        clock: Arc::clone(&shared.clock),
    };
    let seed = tokio::spawn(http::serve(seed_listener, seed_tls, Arc::new(seed)));
    let mut network = Localnet {
        options,
        state,
        shared,
        nodes: Vec::new(),
        seed,
        seed_address: SocketAddr::from((Ipv4Addr::LOCALHOST, seed_port)),
    };
    for (index, listener) in listeners.into_iter().enumerate() {
        let running = network.run_node(index, listener).await?;
        network.nodes.push(Some(running));
    }
    Ok(network)
}

impl Localnet {
    /// Base URL of the seed; clients post to `/json_rpc` below it.
    pub fn seed_url(&self) -> String {
        let scheme = if self.options.seed_tls {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.seed_address)
    }

    /// Padded base64 of the SHA-256 of the seed's public key info, if it serves HTTPS.
    pub fn seed_pin(&self) -> Result<Option<String>, LocalnetError> {
        match self.options.seed_tls {
            true => Ok(Some(self.state.seed_tls.pin()?)),
            false => Ok(None),
        }
    }

    /// All nodes, running or not; their order is that of the indices elsewhere.
    pub fn nodes(&self) -> &[NodeInfo] {
        self.shared.directory.nodes()
    }

    /// Text of the network file for clients.
    pub fn network_file(&self) -> Result<String, LocalnetError> {
        let url = self.seed_url();
        let seed = match self.seed_pin()? {
            Some(pin) => SeedEntry::Pinned { url, pin },
            None => SeedEntry::Plain(url),
        };
        Ok(toml::to_string(&NetworkFile {
            name: "local".into(),
            seeds: vec![seed],
            subnet_diversity: !self.options.single_ip,
            min_nodes: self.options.nodes,
            time_scale: self.options.time_scale,
        })?)
    }

    /// Stops a node at once: its listener is gone, its connections are cut, others wait for it in vain.
    /// Nothing happens if it is stopped already.
    pub async fn stop_node(&mut self, index: usize) -> Result<(), LocalnetError> {
        let slot = self
            .nodes
            .get_mut(index)
            .ok_or(LocalnetError::NoSuchNode(index))?;
        if let Some(running) = slot.take() {
            running.stop().await;
        }
        Ok(())
    }

    /// Starts a stopped node again, with the keys, the address and the messages it had.
    pub async fn start_node(&mut self, index: usize) -> Result<(), LocalnetError> {
        if self
            .nodes
            .get(index)
            .ok_or(LocalnetError::NoSuchNode(index))?
            .is_some()
        {
            return Ok(());
        }
        let node = self
            .state
            .nodes
            .get(index)
            .ok_or(LocalnetError::NoSuchNode(index))?;
        let (listener, _) = listen(node.ip, node.port).await?;
        let running = self.run_node(index, listener).await?;
        if let Some(slot) = self.nodes.get_mut(index) {
            *slot = Some(running);
        }
        Ok(())
    }

    /// Removes expired messages everywhere now, as every node does by itself each 10 s.
    pub async fn sweep(&self) {
        for running in self.nodes.iter().flatten() {
            sweep(&running.node, &*self.shared.clock).await;
        }
    }

    /// Stops everything and closes all files.
    pub async fn shutdown(mut self) {
        self.seed.abort();
        for running in self.nodes.iter_mut().filter_map(Option::take) {
            running.stop().await;
        }
    }

    async fn run_node(
        &self,
        index: usize,
        listener: TcpListener,
    ) -> Result<Running, LocalnetError> {
        let missing = || LocalnetError::NoSuchNode(index);
        let state = self.state.nodes.get(index).ok_or_else(missing)?;
        let info = self.nodes().get(index).ok_or_else(missing)?.clone();
        let path = self
            .options
            .state_dir
            .join(format!("node-{:03}.sqlite", index + 1));
        let store = Store::open(&path)
            .await
            .map_err(|source| LocalnetError::Database { path, source })?;
        let node = Arc::new(Node::new(info, keys(state)?, store, self.shared.clone()));
        let tls = TlsAcceptor::from(state.tls.server_config()?);
        let serving = tokio::spawn(http::serve(listener, Some(tls), Arc::clone(&node)));
        let clock = Arc::clone(&self.shared.clock);
        let swept = Arc::clone(&node);
        let sweeping = tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                sweep(&swept, &*clock).await;
            }
        });
        Ok(Running {
            node,
            tasks: [serving, sweeping],
        })
    }
}

impl Drop for Localnet {
    fn drop(&mut self) {
        self.seed.abort();
        for task in self
            .nodes
            .iter()
            .flatten()
            .flat_map(|running| &running.tasks)
        {
            task.abort();
        }
    }
}

impl Running {
    async fn stop(self) {
        for task in self.tasks {
            task.abort();
            // Cancelled, as wished.
            let _ = task.await;
        }
        self.node.store().close().await;
    }
}

async fn sweep(node: &Node, clock: &dyn Clock) {
    if let Err(error) = node.store().sweep(clock.now_ms()).await {
        tracing::warn!(%error, "expired messages not removed");
    }
}

async fn listen(ip: Ipv4Addr, port: u16) -> Result<(TcpListener, u16), LocalnetError> {
    let address = SocketAddr::from((ip, port));
    let failed = |source| LocalnetError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok((listener, port))
}

fn info(state: &NodeState) -> Result<NodeInfo, LocalnetError> {
    let keys = keys(state)?;
    Ok(NodeInfo {
        ip: state.ip,
        port: state.port,
        ed25519: keys.ed25519_public(),
        x25519: keys.x25519_public(),
        swarm_id: state.swarm_id,
    })
}

fn keys(state: &NodeState) -> Result<AccountKeys, LocalnetError> {
    let seed: Zeroizing<[u8; 32]> = state
        .ed25519_seed()
        .ok_or_else(|| StateError::Key(Path::new("state").to_owned()))?;
    Ok(AccountKeys::from_ed25519_seed(&seed))
}
