//! The command line, and what it runs; the demo runs it too, in a process of its own.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::network::{Localnet, Options, start};
use crate::network_file::write_atomically;

/// A small wire-compatible Session network on loopback.
#[derive(Debug, Parser)]
#[command(name = "session-localnet", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a network until SIGINT or SIGTERM. Prints one JSON line when all nodes listen.
    Run(RunArgs),
}

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Number of service nodes, 1 to 254.
    #[arg(long, default_value_t = 12)]
    pub nodes: usize,
    /// Wanted members of a swarm; swarms have 4 to 6 where that is possible.
    #[arg(long, default_value_t = 5)]
    pub swarm_size: usize,
    /// Where keys and messages are kept. Started again with it, the network is the same one.
    #[arg(long, value_name = "DIR")]
    pub state_dir: PathBuf,
    /// Port of the seed on 127.0.0.1; 0: the one it had, or a free one.
    #[arg(long, default_value_t = 0, value_name = "P")]
    pub seed_port: u16,
    /// Serve the seed over HTTPS; the network file then pins its certificate.
    #[arg(long)]
    pub seed_tls: bool,
    /// All nodes on 127.0.0.1 instead of one on 127.0.x.1 each; clients then need /24 diversity off.
    #[arg(long)]
    pub single_ip: bool,
    /// Write the file that tells clients about this network.
    #[arg(long, value_name = "OUT")]
    pub network_file: Option<PathBuf>,
    /// Factor for all waiting times, of nodes and, through the network file, of clients.
    #[arg(long, default_value_t = 1.0, value_name = "F")]
    pub time_scale: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    seed_url: String,
    nodes: Vec<ReadyNode>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReadyNode {
    ip: String,
    port: u16,
    ed25519: String,
    x25519: String,
    /// Hex, as JSON numbers lose the last digits.
    swarm_id: String,
}

/// Runs a network until SIGINT or SIGTERM.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let network = start(Options {
        nodes: args.nodes,
        swarm_size: args.swarm_size,
        seed_port: args.seed_port,
        seed_tls: args.seed_tls,
        single_ip: args.single_ip,
        time_scale: args.time_scale,
        ..Options::new(args.state_dir)
    })
    .await
    .context("the network does not start")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;

    if let Some(path) = &args.network_file {
        write_atomically(path, &network.network_file()?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let line = serde_json::to_string(&ready(&network))?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .context("cannot write the ready line")?;

    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    network.shutdown().await;
    Ok(())
}

fn ready(network: &Localnet) -> Ready {
    let nodes = network.nodes().iter().map(|node| ReadyNode {
        ip: node.ip.to_string(),
        port: node.port,
        ed25519: hex::encode(node.ed25519),
        x25519: hex::encode(node.x25519),
        swarm_id: format!("{:x}", node.swarm_id),
    });
    Ready {
        seed_url: network.seed_url(),
        nodes: nodes.collect(),
    }
}
