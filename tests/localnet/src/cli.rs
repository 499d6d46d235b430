//! The command line, and what it runs; the demo runs it too, in a process of its own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::control::{ControlClient, Order};
use crate::faults::Faults;
use crate::network::{Localnet, Options, start};
use crate::network_file::write_atomically;
use crate::scenario::{Plan, Scenario, swarms};

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
    /// Set what is wrong with a node of a running network; without any fault it is healthy again.
    ///
    /// The node then has exactly the faults given. Prints how all nodes are.
    Fault(FaultArgs),
    /// Make seed and all nodes healthy again; swarms stay as they are.
    Reset(Network),
    /// Let a node lose everything it stores.
    LoseStorage(NodeArgs),
    /// Move a node to another swarm, or a new one; messages move along.
    Move {
        /// Which node.
        #[command(flatten)]
        node: NodeArgs,
        /// The swarm in hex.
        swarm: String,
    },
    /// Take a node out of its swarm; it stays known to others and answers 503.
    Decommission(NodeArgs),
    /// Put a decommissioned node into the smallest swarm.
    Recommission(NodeArgs),
    /// Print how all nodes are, in JSON.
    Status(Network),
    /// Draw faults over time from a seed, print the schedule, carry it out.
    ///
    /// A few members of each swarm suffer, the others stay healthy. In the end all are healthy and where they were.
    Scenario(ScenarioArgs),
}

/// Arguments of `scenario`.
#[derive(Clone, Debug, Args)]
pub struct ScenarioArgs {
    /// Its network.
    #[command(flatten)]
    pub network: Network,
    /// Decides everything.
    #[arg(long, value_name = "N")]
    pub seed: u64,
    /// How long it lasts, s.
    #[arg(long, value_name = "S", default_value_t = 120)]
    pub seconds: u64,
    /// How many members of each swarm suffer.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub victims: usize,
    /// Factor for all its times.
    #[arg(long, default_value_t = 1.0, value_name = "F")]
    pub time_scale: f64,
}

/// Which network is meant.
#[derive(Clone, Debug, Args)]
pub struct Network {
    /// State directory of the running network.
    #[arg(long, value_name = "DIR")]
    pub state_dir: PathBuf,
}

/// Which node is meant.
#[derive(Clone, Debug, Args)]
pub struct NodeArgs {
    /// Its network.
    #[command(flatten)]
    pub network: Network,
    /// Its index in the ready line (from 0), its Ed25519 key in hex, or its address.
    pub node: String,
}

/// Arguments of `fault`.
#[derive(Clone, Debug, Args)]
pub struct FaultArgs {
    /// Its network.
    #[command(flatten)]
    pub network: Network,
    /// Index in the ready line (from 0), Ed25519 key in hex, or address; `seed`; or `all` nodes.
    pub node: String,
    /// Stopped: nobody listens, connections are cut.
    #[arg(long)]
    pub down: bool,
    /// Connections are accepted and nothing is answered.
    #[arg(long)]
    pub frozen: bool,
    /// Every request waits this long, ms.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub delay: u64,
    /// This share of requests is never answered, 0 to 1; half of these are carried out all the same.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub loss: f64,
    /// The node's clock is ahead by this much, or behind if negative: ms.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 0,
        allow_hyphen_values = true
    )]
    pub clock: i64,
    /// 503, not ready.
    #[arg(long)]
    pub refuse: bool,
    /// Answers are random.
    #[arg(long)]
    pub garbage: bool,
    /// What other members of its swarm pass on does not arrive.
    #[arg(long)]
    pub misses_forwards: bool,
}

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Number of service nodes, 1 to 4,000; many need as many threads and seven times as many open files.
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
    /// All nodes on 127.0.0.1 instead of one on 127.x.y.1 each; clients then need /24 diversity off.
    #[arg(long)]
    pub single_ip: bool,
    /// Write the file that tells clients about this network.
    #[arg(long, value_name = "OUT")]
    pub network_file: Option<PathBuf>,
    /// Factor for all waiting times, of nodes and, through the network file, of clients.
    #[arg(long, default_value_t = 1.0, value_name = "F")]
    pub time_scale: f64,
    /// Decides which requests get lost where a node loses some.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub fault_seed: u64,
    /// Check nodes every 10 s and decommission those that fail for 65 min, with these times multiplied by F.
    #[arg(long, value_name = "F")]
    pub uptime_checks: Option<f64>,
}

impl RunArgs {
    /// As the command line has it when only the directory is given.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            nodes: 12,
            swarm_size: 5,
            state_dir: state_dir.into(),
            seed_port: 0,
            seed_tls: false,
            single_ip: false,
            network_file: None,
            time_scale: 1.0,
            fault_seed: 0,
            uptime_checks: None,
        }
    }
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

/// Carries out a command.
pub async fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(args) => run(args).await,
        Command::Fault(args) => {
            let node = args.node.clone();
            let faults = args.faults();
            order(&args.network.state_dir, &Order::Faults { node, faults }).await
        }
        Command::Reset(network) => order(&network.state_dir, &Order::Reset).await,
        Command::Status(network) => order(&network.state_dir, &Order::Status).await,
        Command::Scenario(args) => scenario(args).await,
        Command::LoseStorage(NodeArgs { network, node }) => {
            order(&network.state_dir, &Order::LoseStorage { node }).await
        }
        Command::Move {
            node: NodeArgs { network, node },
            swarm,
        } => order(&network.state_dir, &Order::Move { node, swarm }).await,
        Command::Decommission(NodeArgs { network, node }) => {
            order(&network.state_dir, &Order::Decommission { node }).await
        }
        Command::Recommission(NodeArgs { network, node }) => {
            order(&network.state_dir, &Order::Recommission { node }).await
        }
    }
}

impl FaultArgs {
    fn faults(&self) -> Faults {
        Faults {
            down: self.down,
            frozen: self.frozen,
            delay_ms: self.delay,
            loss: self.loss,
            clock_offset_ms: self.clock,
            refuse: self.refuse,
            garbage: self.garbage,
            misses_forwards: self.misses_forwards,
        }
    }
}

/// Has a running network carry out an order and prints its answer.
async fn order(state_dir: &Path, order: &Order) -> anyhow::Result<()> {
    let status = ControlClient::open(state_dir)?.run(order).await?;
    print(&serde_json::to_string(&status)?)
}

/// Prints and plays a schedule of faults.
async fn scenario(args: ScenarioArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        (0.0..=1000.0).contains(&args.time_scale),
        "the time scale is from 0 to 1000"
    );
    let client = ControlClient::open(&args.network.state_dir)?;
    let status = client.run(&Order::Status).await?;
    let plan = Plan {
        victims: args.victims,
        ..Plan::new(args.seed, Duration::from_secs(args.seconds))
    };
    let scenario = Scenario::random(&plan, &swarms(&status));
    print(scenario.to_string().trim_end())?;
    scenario.run_remote(&client, args.time_scale).await?;
    Ok(())
}

/// As many open files as are allowed: a shell's usual limit is good for some two hundred nodes.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where that is not possible, too many nodes fail with their own words.
    let _ = setrlimit(Resource::Nofile, most);
}

/// Runs a network until SIGINT or SIGTERM.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    allow_files();
    let mut network = start(Options {
        nodes: args.nodes,
        swarm_size: args.swarm_size,
        seed_port: args.seed_port,
        seed_tls: args.seed_tls,
        single_ip: args.single_ip,
        time_scale: args.time_scale,
        fault_seed: args.fault_seed,
        uptime_checks: args.uptime_checks,
        ..Options::new(args.state_dir)
    })
    .await
    .context("the network does not start")?;
    network.serve_control().await?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;

    if let Some(path) = &args.network_file {
        write_atomically(path, &network.network_file()?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    print(&serde_json::to_string(&ready(&network))?)?;

    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    network.shutdown().await;
    Ok(())
}

fn print(line: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .context("cannot write to standard output")
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
