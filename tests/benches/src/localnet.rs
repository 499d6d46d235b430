//! What one node of the local network does per second, beside what was measured of an official one.
//!
//! The network of ten nodes is a process of its own; requests go to one node over four connections kept alive.
//! Messages have 200 bytes. Nodes limit direct requests of one address, so a connection is given up for one from
//! another loopback address before that limit is reached. Figures of the official node: observed-nodes.md, a busy
//! machine of two cores.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use getrandom::SysRng;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rand_core::UnwrapErr;
use session_localnet::{ControlClient, NodeStatus, Order, client_config, scenario};
use session_protocol::identity::ed25519_to_x25519;
use session_protocol::onion::{self, Destination, EncType, Hop};
use session_protocol::storage::Namespace;
use session_protocol::storage::request::{self, Store};
use session_protocol::{AccountKeys, AccountSeed, Identifier, swarm};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::{process, summary};

/// How long each measurement runs.
const SPAN: Duration = Duration::from_secs(5);
const CONNECTIONS: u32 = 4;
/// Below the burst of 600 that a node allows an address.
const PER_ADDRESS: u32 = 500;
const MESSAGE: [u8; 200] = [b'x'; 200];
/// Messages in the account that is read from.
const HELD: u8 = 5;
const DAY: u64 = 86_400_000;

/// Prints rates, latencies and memory.
pub async fn run() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let begin = Instant::now();
    let network = process::network_with(dir.path(), &["--nodes", "10"])?.0;
    println!(
        "10 nodes ready after {:.1} s (official: about 4 s)",
        begin.elapsed().as_secs_f64()
    );
    let control = ControlClient::open(&dir.path().join("net"))?;
    let status = control.run(&Order::Status).await?;
    let swarms = scenario::swarms(&status);
    let node = status.nodes.first().context("a node")?;
    let hops = status
        .nodes
        .iter()
        .map(hop)
        .collect::<anyhow::Result<Vec<_>>>()?;
    println!("resident {}", memory(&network, status.nodes.len())?);

    let accounts: Vec<Arc<AccountKeys>> = (0..CONNECTIONS)
        .map(|_| account(&swarms).map(Arc::new))
        .collect::<anyhow::Result<_>>()?;
    let (path, to) = match hops.get(..4) {
        // From the edge to the node that holds the account.
        Some([first, second, third, fourth]) => ([*second, *third, *fourth], *first),
        _ => bail!("four nodes"),
    };
    let guard = status.nodes.get(1).context("a guard")?;

    for keys in &accounts {
        let mut connection = Connection::new(node);
        for number in 0..HELD {
            connection.post(RPC, store(keys, &[number])).await?;
        }
    }
    let retrieved = accounts.clone();
    measure(
        "signed retrieve of 5 messages",
        "2,150 to 2,630/s",
        node,
        move |worker, _| Ok((RPC, retrieve(keys(&retrieved, worker)?)?)),
    )
    .await?;
    let asked = accounts.clone();
    measure(
        "three hops with a retrieve inside",
        "750 to 780/s",
        guard,
        move |worker, _| {
            let payload = retrieve(keys(&asked, worker)?)?;
            let destination = Destination::Node(to);
            let rng = &mut UnwrapErr(SysRng);
            let built = onion::build(rng, EncType::XChaCha20, &path, &destination, &payload)?;
            Ok((ONION, built.body))
        },
    )
    .await?;
    measure(
        "store, with all five members",
        "370 to 507/s",
        node,
        move |worker, number| Ok((RPC, store(keys(&accounts, worker)?, &number.to_be_bytes()))),
    )
    .await?;
    println!("resident {}", memory(&network, status.nodes.len())?);
    Ok(())
}

const RPC: &str = "/storage_rpc/v1";
const ONION: &str = "/onion_req/v2";

/// Has every connection send what `next` makes for it, one after the other, for the whole span.
async fn measure(
    name: &str,
    official: &str,
    node: &NodeStatus,
    next: impl Fn(u32, u64) -> anyhow::Result<(&'static str, Vec<u8>)> + Clone + Send + 'static,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut workers = Vec::new();
    for worker in 0..CONNECTIONS {
        let (mut connection, next) = (Connection::new(node), next.clone());
        workers.push(tokio::spawn(async move {
            let mut times = Vec::new();
            for number in 0.. {
                let (path, body) = next(worker, number)?;
                let sent = Instant::now();
                connection.post(path, body).await?;
                times.push(sent.elapsed());
                if begin.elapsed() > SPAN {
                    break;
                }
            }
            anyhow::Ok(times)
        }));
    }
    let mut times = Vec::new();
    for worker in workers {
        times.extend(worker.await??);
    }
    let rate = times.len() as f64 / begin.elapsed().as_secs_f64();
    println!("{name:<44} {rate:8.0} /s   (official: {official})");
    summary::print("", times);
    Ok(())
}

/// A connection to a node, from an address that is not over its limit.
struct Connection {
    to: SocketAddr,
    open: Option<SendRequest<Full<Bytes>>>,
    left: u32,
}

impl Connection {
    fn new(node: &NodeStatus) -> Self {
        Self {
            to: SocketAddr::from((node.ip, node.port)),
            open: None,
            left: 0,
        }
    }

    /// Sends a request and expects 200.
    async fn post(&mut self, path: &str, body: Vec<u8>) -> anyhow::Result<Bytes> {
        if self.left == 0 {
            self.open = None;
            self.left = PER_ADDRESS;
        }
        self.left -= 1;
        let mut sender = match self.open.take() {
            Some(sender) => sender,
            None => open(self.to).await?,
        };
        let request = Request::post(path)
            .header("host", "localhost")
            .body(Full::new(Bytes::from(body)))?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{status}: {body:?}");
        self.open = Some(sender);
        Ok(body)
    }
}

async fn open(to: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    static ADDRESS: AtomicU32 = AtomicU32::new(0);
    let [.., high, low] = ADDRESS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let from = Ipv4Addr::new(127, 77, high, low.max(1));
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    let tls = TlsConnector::from(Arc::new(client_config()?))
        .connect(ServerName::IpAddress(to.ip().into()), stream)
        .await?;
    let (sender, connection) = handshake(TokioIo::new(tls)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A new account of the first node's swarm.
fn account(swarms: &[u64]) -> anyhow::Result<AccountKeys> {
    let own = swarms.first().copied();
    for _ in 0..10_000 {
        let keys = AccountKeys::from_seed(&AccountSeed::generate(&mut UnwrapErr(SysRng)));
        let space = swarm::swarm_space(&Identifier::from(keys.account_id()));
        if swarm::nearest_swarm(swarms, space) == own {
            return Ok(keys);
        }
    }
    bail!("no account of the first swarm")
}

fn keys(accounts: &[Arc<AccountKeys>], worker: u32) -> anyhow::Result<&AccountKeys> {
    let index = usize::try_from(worker)?;
    Ok(accounts.get(index).context("an account each")?)
}

fn store(keys: &AccountKeys, start: &[u8]) -> Vec<u8> {
    let mut data = MESSAGE;
    data.iter_mut()
        .zip(start)
        .for_each(|(to, from)| *to = *from);
    request::store(&Store {
        owner: keys.account_id().into(),
        namespace: Namespace::DEFAULT,
        data: &data,
        timestamp: now_ms(),
        ttl: DAY,
    })
    .to_json()
}

fn retrieve(keys: &AccountKeys) -> anyhow::Result<Vec<u8>> {
    Ok(request::retrieve(keys, Namespace::DEFAULT, None, None, now_ms()).to_json())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

fn hop(node: &NodeStatus) -> anyhow::Result<Hop> {
    let mut ed25519 = [0; 32];
    hex::decode_to_slice(&node.ed25519, &mut ed25519)?;
    Ok(Hop {
        ed25519,
        x25519: ed25519_to_x25519(&ed25519).context("a key")?,
    })
}

/// What the network's process holds, for each of its nodes.
fn memory(network: &process::Process, nodes: usize) -> anyhow::Result<String> {
    let file = format!("/proc/{}/status", network.id());
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .context("VmRSS")?
        .parse()?;
    let mib = kib / 1024.0;
    Ok(format!(
        "{mib:.0} MiB in one process, {:.1} MiB a node (official: 24 MB a node)",
        mib / nodes as f64
    ))
}
