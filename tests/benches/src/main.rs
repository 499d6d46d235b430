//! Benchmarks of sessiond: see README.md in this folder for the commands and what the figures mean.
//!
//! Speed is printed here and asserted nowhere. Agents and networks are real processes: the program runs itself again
//! for each.

mod agent;
mod crypto;
mod frontends;
mod idle;
mod inbox;
mod keyring;
mod localnet;
mod process;
mod rest;
mod scale;
mod start;
mod summary;
mod texts;

use clap::{Parser, Subcommand};

/// The agent's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Benchmarks of sessiond
#[derive(Parser)]
#[command(name = "sessiond-benches", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant)] // there is one, parsed once
enum Command {
    /// Everything
    All,
    /// Sealing, opening and wrapping in onion layers, per second
    Crypto,
    /// Start to ready, start to first message stored, send to stored, send to shown
    Agent {
        /// Runs or messages of each measurement
        #[arg(long, default_value_t = 20)]
        rounds: usize,
    },
    /// Start to ready with the keys in a real keyring
    Start {
        /// Starts
        #[arg(long, default_value_t = 20)]
        rounds: usize,
    },
    /// A backlog: opened, judged, committed and indexed, beside the rate of opening alone
    Inbox {
        /// Messages
        #[arg(long, default_value_t = 10_000)]
        messages: usize,
        /// How often
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// The same calls on a short and on a long history
    Scale {
        /// Messages of the long one; the short one has a hundredth
        #[arg(long, default_value_t = 1_000_000)]
        messages: u64,
        /// Calls of each kind
        #[arg(long, default_value_t = 200)]
        rounds: usize,
    },
    /// Many frontends: an event to all streams, calls at once, replay of the log
    Frontends {
        /// Streams
        #[arg(long, default_value_t = 100)]
        subscribers: usize,
        /// Messages whose events are timed
        #[arg(long, default_value_t = 200)]
        messages: usize,
        /// Messages sent at once
        #[arg(long, default_value_t = 1_000)]
        sends: usize,
    },
    /// Memory, processor time and wake-ups of an agent at rest after a backlog
    Rest {
        /// Messages of the backlog
        #[arg(long, default_value_t = 10_000)]
        messages: usize,
        /// How long it is left alone before memory is read, and again while it is watched
        #[arg(long, default_value_t = 5)]
        minutes: u64,
        /// Nodes of the network
        #[arg(long, default_value_t = 2_000)]
        nodes: u16,
    },
    /// One node of the local network, beside an official one
    Localnet,
    /// Requests and bytes per hour of an agent that nobody uses
    Idle {
        /// How long, in time of the network
        #[arg(long, default_value_t = 10)]
        minutes: u32,
        /// Factor for all times but those of TCP connections
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
    },
    #[command(hide = true)]
    ChildNetwork(session_localnet::cli::RunArgs),
    #[command(hide = true)]
    ChildAgent(sessiond::cli::RunArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::All => {
            crypto::run()?;
            localnet::run().await?;
            agent::run(20).await?;
            inbox::run(10_000, 5).await
        }
        Command::Crypto => crypto::run(),
        Command::Localnet => localnet::run().await,
        Command::Agent { rounds } => agent::run(rounds).await,
        Command::Inbox { messages, rounds } => inbox::run(messages, rounds).await,
        Command::Scale { messages, rounds } => scale::run(messages, rounds).await,
        Command::Start { rounds } => start::run(rounds).await,
        Command::Frontends {
            subscribers,
            messages,
            sends,
        } => frontends::run(subscribers, messages, sends).await,
        Command::Rest {
            messages,
            minutes,
            nodes,
        } => rest::run(messages, minutes, nodes).await,
        Command::Idle { minutes, scale } => idle::run(minutes, scale).await,
        Command::ChildNetwork(args) => session_localnet::cli::run(args).await,
        Command::ChildAgent(args) => sessiond::cli::run(args).await,
    }
}
