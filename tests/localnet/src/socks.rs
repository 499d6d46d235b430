//! A small SOCKS5 proxy that tells whom it was asked for, for tests of clients that use one.
//!
//! CONNECT only, to names of its own table and to addresses; a name that is not in the table is unknown, so that a
//! client that resolves names itself is found out. Dropped, it stops at once and cuts all connections.
//! Facts: RFC 1928, RFC 1929.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Whom the proxy was asked to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A host by name.
    Name(String, u16),
    /// A host by address.
    Address(SocketAddr),
}

/// What has passed through the proxy, its own words left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections made.
    pub connections: u64,
    /// Bytes from clients.
    pub sent: u64,
    /// Bytes to clients.
    pub received: u64,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// How the proxy is to be.
#[derive(Clone, Debug)]
pub struct SocksOptions {
    /// Where it listens; port 0 for a free one.
    pub listen: SocketAddr,
    /// The names it knows, and where they lead whatever port was asked for.
    pub names: HashMap<String, SocketAddr>,
    /// User and password that it insists on.
    pub login: Option<(String, String)>,
}

/// A running proxy.
pub struct SocksProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Target>>>,
    frozen: watch::Sender<()>,
    traffic: Arc<Counters>,
    task: JoinHandle<()>,
}

impl SocksProxy {
    /// Starts it.
    pub async fn start(options: SocksOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let frozen = watch::Sender::new(());
        let traffic = Arc::new(Counters::default());
        let shared = Shared {
            options,
            asked: Arc::clone(&asked),
            traffic: Arc::clone(&traffic),
        };
        let task = tokio::spawn(serve(listener, Arc::new(shared), frozen.subscribe()));
        Ok(Self {
            address,
            asked,
            frozen,
            traffic,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whom it was asked for, in order, whether or not it could connect.
    pub fn asked(&self) -> Vec<Target> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }

    /// What has passed so far.
    pub fn traffic(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            connections: read(&self.traffic.connections),
            sent: read(&self.traffic.sent),
            received: read(&self.traffic.received),
        }
    }

    /// From now on nothing passes over the connections that are open; they stay open. New ones work. So it is when a
    /// machine has slept or changed its network.
    pub fn freeze(&self) {
        self.frozen.send_replace(());
    }

    /// Stops it and waits until its port is free again.
    pub async fn stop(mut self) {
        self.task.abort();
        // Cancelled, as wished.
        let _ = (&mut self.task).await;
    }
}

impl Drop for SocksProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What connections share.
struct Shared {
    options: SocksOptions,
    asked: Arc<Mutex<Vec<Target>>>,
    traffic: Arc<Counters>,
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, frozen: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                let shared = Arc::clone(&shared);
                let mut frozen = frozen.clone();
                frozen.mark_unchanged();
                connections.spawn(async move {
                    // Whatever breaks ends this connection and nothing else.
                    let _ = connection(stream, &shared, frozen).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(
    mut client: TcpStream,
    shared: &Shared,
    mut frozen: watch::Receiver<()>,
) -> io::Result<()> {
    const CONNECT: u8 = 1;
    const REFUSED: u8 = 5;
    const UNKNOWN_HOST: u8 = 4;
    const OTHER_COMMAND: u8 = 7;
    let Shared {
        options,
        asked,
        traffic,
    } = shared;
    client.set_nodelay(true)?;
    if !greet(&mut client, options.login.as_ref()).await? {
        return Ok(());
    }
    let mut head = [0; 3];
    client.read_exact(&mut head).await?;
    let target = read_target(&mut client).await?;
    asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(target.clone());
    if head[1] != CONNECT {
        return answer(&mut client, OTHER_COMMAND).await;
    }
    let address = match target {
        Target::Address(address) => address,
        Target::Name(name, _) => match options.names.get(&name) {
            Some(address) => *address,
            None => return answer(&mut client, UNKNOWN_HOST).await,
        },
    };
    let Ok(mut server) = TcpStream::connect(address).await else {
        return answer(&mut client, REFUSED).await;
    };
    server.set_nodelay(true)?;
    answer(&mut client, 0).await?;
    traffic.connections.fetch_add(1, Ordering::Relaxed);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let both = async {
        tokio::try_join!(
            pump(from_client, to_server, &traffic.sent),
            pump(from_server, to_client, &traffic.received),
        )
    };
    tokio::select! {
        copied = both => copied.map(drop),
        Ok(()) = frozen.changed() => std::future::pending().await,
    }
}

/// Passes on what comes, and its end.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    counter: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let bytes = buffer.get(..length).unwrap_or_default();
        counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        to.write_all(bytes).await?;
    }
}

/// Agrees on how to log in. `false` if the client may not.
async fn greet(client: &mut TcpStream, login: Option<&(String, String)>) -> io::Result<bool> {
    const NONE: u8 = 0;
    const LOGIN: u8 = 2;
    const NO_METHOD: u8 = 0xff;
    let mut head = [0; 2];
    client.read_exact(&mut head).await?;
    let mut methods = vec![0; usize::from(head[1])];
    client.read_exact(&mut methods).await?;
    let wanted = if login.is_some() { LOGIN } else { NONE };
    if !methods.contains(&wanted) {
        client.write_all(&[5, NO_METHOD]).await?;
        return Ok(false);
    }
    client.write_all(&[5, wanted]).await?;
    let Some((user, password)) = login else {
        return Ok(true);
    };
    client.read_u8().await?;
    let given = (
        read_text(client).await?.into_bytes(),
        read_text(client).await?.into_bytes(),
    );
    let good = given.0 == user.as_bytes() && given.1 == password.as_bytes();
    client.write_all(&[1, u8::from(!good)]).await?;
    Ok(good)
}

async fn read_target(client: &mut TcpStream) -> io::Result<Target> {
    match client.read_u8().await? {
        1 => {
            let ip = Ipv4Addr::from(client.read_u32().await?);
            let port = client.read_u16().await?;
            Ok(Target::Address(SocketAddr::from((ip, port))))
        }
        3 => {
            let name = read_text(client).await?;
            Ok(Target::Name(name, client.read_u16().await?))
        }
        4 => {
            let ip = Ipv6Addr::from(client.read_u128().await?);
            let port = client.read_u16().await?;
            Ok(Target::Address(SocketAddr::from((ip, port))))
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A text after its length in one byte.
async fn read_text(client: &mut TcpStream) -> io::Result<String> {
    let mut bytes = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut bytes).await?;
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

async fn answer(client: &mut TcpStream, status: u8) -> io::Result<()> {
    client.write_all(&[5, status, 0, 1, 0, 0, 0, 0, 0, 0]).await
}
