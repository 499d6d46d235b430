//! What an agent that nobody uses costs the line: requests and bytes per hour.
//!
//! A real agent with an account polls a local network through a relay that counts every byte of TLS and HTTP in both
//! directions, TCP and IP headers left out; nodes count the onion requests that reach them from clients. Hours are those
//! of the network: with a scale below 1 they pass faster, but connections are still closed after 10 s, so that there are
//! fewer handshakes than in reality. The list of nodes here is short; what one of real size adds is computed and said.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::ensure;
use session_localnet::socks::{SocksOptions, SocksProxy};
use sessiond_client::v1;

use crate::process::Home;

/// Time given to the first paths, list and polls, in network time.
const SETTLE: Duration = Duration::from_secs(30);

/// Nodes of the real network, roughly.
const REAL_NODES: u32 = 2_000;

/// Prints the figures of so many minutes of network time.
pub async fn run(minutes: u32, scale: f64) -> anyhow::Result<()> {
    ensure!(minutes > 0 && scale > 0.0, "nothing to measure");
    let dir = tempfile::Builder::new().prefix("sdb").tempdir()?;
    let mut options = session_localnet::Options::new(dir.path().join("net"));
    options.time_scale = scale;
    options.active_nodes_bin = true;
    let net = session_localnet::start(options).await?;
    let file = dir.path().join("network.toml");
    std::fs::write(&file, net.network_file()?)?;
    let relay = SocksProxy::start(SocksOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        names: Default::default(),
        login: None,
    })
    .await?;
    let home = Home::new(dir.path(), &file, "idle")?.through(relay.address());
    let (_agent, client, _) = home.start().await?;
    client
        .create_account(v1::CreateAccountRequest::default())
        .await?;
    client.sync(v1::SyncRequest::default()).await?;
    tokio::time::sleep(SETTLE.mul_f64(scale)).await;

    let (before, requests) = (relay.traffic(), net.onion_requests());
    let span = Duration::from_secs(u64::from(minutes) * 60);
    tokio::time::sleep(span.mul_f64(scale)).await;
    let (after, requests) = (relay.traffic(), net.onion_requests() - requests);

    let hour = 60.0 / f64::from(minutes);
    let per_hour = |count: u64| {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        f64::from(count) * hour
    };
    println!("idle agent, one account, {minutes} min of network time at scale {scale}; per hour:");
    let lines = [
        ("onion requests", requests),
        ("connections", after.connections - before.connections),
        ("bytes sent", after.sent - before.sent),
        ("bytes received", after.received - before.received),
    ];
    for (name, count) in lines {
        println!("{name:<44} {:12.0}   ({count} counted)", per_hour(count));
    }
    // Three sources each two hours; 51 bytes a node, base64 twice: in the answer and around the onion.
    let list = f64::from(REAL_NODES) * 51.0 * 16.0 / 9.0 * 3.0 / 2.0;
    println!(
        "{:<44} {list:12.0}   (computed)",
        "more received with 2,000 nodes"
    );
    Ok(())
}
