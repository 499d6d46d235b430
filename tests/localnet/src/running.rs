//! The processes of the network, as far as they are some here: seed and nodes, each with a listener that comes and
//! goes with the fault `down`, and a node with its database.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use session_protocol::AccountKeys;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::control::Held;
use crate::directory::{Directory, NodeInfo};
use crate::faults::{Faults, Switch};
use crate::http;
use crate::network::{LocalnetError, Options};
use crate::node::store::Store;
use crate::node::{Node, Shared, Times};
use crate::peers::Peers;
use crate::seed::Seed;
use crate::state::{NodeState, State, StateError};

/// Between removals of expired messages (network.md 10).
const SWEEP: Duration = Duration::from_secs(10);

/// Who has faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The seed.
    Seed,
    /// The node with this index.
    Node(usize),
}

/// Everything that runs.
pub(crate) struct Running {
    pub options: Options,
    pub state: State,
    pub shared: Shared,
    pub seed_address: SocketAddr,
    seed: Slot<Vec<JoinHandle<()>>>,
    nodes: Vec<Slot<RunningNode>>,
    /// One change at a time.
    pub changing: tokio::sync::Mutex<()>,
}

/// A place for something that runs or not.
struct Slot<T> {
    switch: Arc<Switch>,
    running: Mutex<Process<T>>,
}

enum Process<T> {
    Runs(T),
    Stopped,
    /// Never starts again.
    Ended,
}

struct RunningNode {
    node: Arc<Node>,
    tasks: [JoinHandle<()>; 2],
}

impl<T> Slot<T> {
    fn new(seed: u64) -> Self {
        Self {
            switch: Arc::new(Switch::new(seed)),
            running: Mutex::new(Process::Stopped),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Process<T>> {
        // Replaced whole, so whole whatever happened elsewhere.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, next: Process<T>) -> Option<T> {
        let mut running = self.lock();
        if matches!(*running, Process::Ended) {
            return None;
        }
        match std::mem::replace(&mut *running, next) {
            Process::Runs(running) => Some(running),
            Process::Stopped | Process::Ended => None,
        }
    }

    /// Answers what could not be put there because the network has ended.
    fn put(&self, started: T) -> Result<(), T> {
        let mut running = self.lock();
        if matches!(*running, Process::Ended) {
            return Err(started);
        }
        *running = Process::Runs(started);
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        matches!(*self.lock(), Process::Stopped)
    }
}

impl Running {
    /// See [`crate::Localnet::lie`].
    pub(crate) fn lie(
        &self,
        index: usize,
        nodes: Option<Vec<NodeInfo>>,
    ) -> Result<(), LocalnetError> {
        let slot = self.nodes.get(index);
        match &*slot.ok_or(LocalnetError::NoSuchNode(index))?.lock() {
            Process::Runs(running) => {
                running.node.lie(nodes);
                Ok(())
            }
            Process::Stopped | Process::Ended => Err(LocalnetError::NoSuchNode(index)),
        }
    }

    /// Binds all ports, keeps them in the state, starts seed and nodes.
    pub(crate) async fn start(
        options: Options,
        mut state: State,
    ) -> Result<Arc<Self>, LocalnetError> {
        // All ports are known before the first node answers.
        let mut listeners = Vec::with_capacity(state.nodes.len());
        for node in &mut state.nodes {
            let listener = listen(node.ip, node.port).await?;
            node.port = listener.1;
            listeners.push(listener.0);
        }
        let seed_port = match options.seed_port {
            0 => state.seed_port,
            wanted => wanted,
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
            active_nodes_bin: options.active_nodes_bin,
            onion_requests: Arc::default(),
        };
        let fault_seed = |number: u64| options.fault_seed.wrapping_add(number << 32);
        let nodes = (1..)
            .take(state.nodes.len())
            .map(|number| Slot::new(fault_seed(number)))
            .collect();
        let network = Arc::new(Self {
            seed: Slot::new(fault_seed(0)),
            nodes,
            options,
            state,
            shared,
            seed_address: SocketAddr::from((Ipv4Addr::LOCALHOST, seed_port)),
            changing: tokio::sync::Mutex::new(()),
        });
        // From here on an error ends what has started already.
        let started = async {
            network.run_seed(seed_listener)?;
            for (index, listener) in listeners.into_iter().enumerate() {
                network.run_node(index, listener).await?;
            }
            Ok(())
        };
        if let Err(error) = started.await {
            network.abort();
            return Err(error);
        }
        Ok(network)
    }

    fn slot(&self, index: usize) -> Result<&Slot<RunningNode>, LocalnetError> {
        self.nodes
            .get(index)
            .ok_or(LocalnetError::NoSuchNode(index))
    }

    /// The faults of seed or node.
    pub(crate) fn switch(&self, target: Target) -> Result<&Arc<Switch>, LocalnetError> {
        match target {
            Target::Seed => Ok(&self.seed.switch),
            Target::Node(index) => Ok(&self.slot(index)?.switch),
        }
    }

    /// The node if it runs.
    pub(crate) fn node(&self, index: usize) -> Option<Arc<Node>> {
        match &*self.slot(index).ok()?.lock() {
            Process::Runs(running) => Some(Arc::clone(&running.node)),
            Process::Stopped | Process::Ended => None,
        }
    }

    /// Sets faults; when this returns the listener is there, or gone.
    pub(crate) async fn set(&self, target: Target, faults: Faults) -> Result<(), LocalnetError> {
        faults.check().map_err(LocalnetError::Faults)?;
        let _changing = self.changing.lock().await;
        self.switch(target)?.set(faults);
        match (target, faults.down) {
            (Target::Seed, true) => {
                for task in self.seed.take(Process::Stopped).into_iter().flatten() {
                    end(task).await;
                }
            }
            (Target::Seed, false) => {
                if self.seed.is_stopped() {
                    let (listener, _) = listen(Ipv4Addr::LOCALHOST, self.state.seed_port).await?;
                    self.run_seed(listener)?;
                }
            }
            (Target::Node(index), true) => {
                if let Some(running) = self.slot(index)?.take(Process::Stopped) {
                    running.stop().await;
                }
            }
            (Target::Node(index), false) => {
                if self.slot(index)?.is_stopped() {
                    let (ip, port) = match self.state.nodes.get(index) {
                        Some(node) => (node.ip, node.port),
                        None => return Err(LocalnetError::NoSuchNode(index)),
                    };
                    let (listener, _) = listen(ip, port).await?;
                    self.run_node(index, listener).await?;
                }
            }
        }
        Ok(())
    }

    /// Empties a node's database, or removes it where the node is down.
    pub(crate) async fn lose_storage(&self, index: usize) -> Result<(), LocalnetError> {
        let _changing = self.changing.lock().await;
        let path = self.database(index);
        if self.slot(index)?.is_stopped() {
            for suffix in ["", "-wal", "-shm"] {
                let mut file = path.as_os_str().to_owned();
                file.push(suffix);
                match std::fs::remove_file(&file) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        let source = sqlx::Error::Io(error);
                        return Err(LocalnetError::Database { path, source });
                    }
                    _ => {}
                }
            }
            return Ok(());
        }
        match self.node(index) {
            Some(node) => node
                .store()
                .clear()
                .await
                .map_err(|source| LocalnetError::Database { path, source }),
            None => Err(LocalnetError::Ended),
        }
    }

    /// What a node that runs holds, in its order.
    pub(crate) async fn held(&self, index: usize) -> Result<Vec<Held>, LocalnetError> {
        let node = self.node(index).ok_or(LocalnetError::NoSuchNode(index))?;
        let path = self.database(index);
        let held = node.store().all().await;
        held.map_err(|source| LocalnetError::Database { path, source })
    }

    /// Removes expired messages of all nodes that run.
    pub(crate) async fn sweep(&self) {
        for node in (0..self.nodes.len()).filter_map(|index| self.node(index)) {
            node.sweep().await;
        }
    }

    /// Ends everything and closes all files.
    pub(crate) async fn stop(&self) {
        let _changing = self.changing.lock().await;
        for task in self.seed.take(Process::Ended).into_iter().flatten() {
            end(task).await;
        }
        for slot in &self.nodes {
            if let Some(running) = slot.take(Process::Ended) {
                running.stop().await;
            }
        }
    }

    /// Ends everything without waiting.
    pub(crate) fn abort(&self) {
        for task in self.seed.take(Process::Ended).into_iter().flatten() {
            task.abort();
        }
        for slot in &self.nodes {
            for task in slot
                .take(Process::Ended)
                .into_iter()
                .flat_map(|running| running.tasks)
            {
                task.abort();
            }
        }
    }

    fn database(&self, index: usize) -> PathBuf {
        let file = format!("node-{:03}.sqlite", index + 1);
        self.options.state_dir.join(file)
    }

    fn run_seed(&self, listener: TcpListener) -> Result<(), LocalnetError> {
        let tls = match self.options.seed_tls {
            true => Some(TlsAcceptor::from(self.state.seed_tls.server_config()?)),
            false => None,
        };
        let seed = Seed {
            directory: Arc::clone(&self.shared.directory),
            clock: Arc::clone(&self.shared.clock),
            switch: Arc::clone(&self.seed.switch),
        };
        let serving = tokio::spawn(http::serve(listener, tls, Arc::new(seed)));
        self.seed.put(vec![serving]).map_err(|tasks| {
            tasks.iter().for_each(JoinHandle::abort);
            LocalnetError::Ended
        })
    }

    async fn run_node(&self, index: usize, listener: TcpListener) -> Result<(), LocalnetError> {
        let missing = || LocalnetError::NoSuchNode(index);
        let slot = self.slot(index)?;
        let state = self.state.nodes.get(index).ok_or_else(missing)?;
        let founders = self.shared.directory.founders();
        let info = founders.get(index).ok_or_else(missing)?.clone();
        let path = self.database(index);
        let store = Store::open(&path)
            .await
            .map_err(|source| LocalnetError::Database { path, source })?;
        let node = Arc::new(Node::new(
            info,
            keys(state)?,
            store,
            Arc::clone(&slot.switch),
            self.shared.clone(),
        ));
        let tls = TlsAcceptor::from(state.tls.server_config()?);
        let serving = tokio::spawn(http::serve(listener, Some(tls), Arc::clone(&node)));
        let swept = Arc::clone(&node);
        let sweeping = tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                swept.moving().await;
                swept.sweep().await;
            }
        });
        let started = RunningNode {
            node,
            tasks: [serving, sweeping],
        };
        match slot.put(started) {
            Ok(()) => Ok(()),
            Err(started) => {
                started.stop().await;
                Err(LocalnetError::Ended)
            }
        }
    }
}

impl RunningNode {
    async fn stop(self) {
        for task in self.tasks {
            end(task).await;
        }
        self.node.store().close().await;
    }
}

async fn end(task: JoinHandle<()>) {
    task.abort();
    // Cancelled, as wished.
    let _ = task.await;
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
