//! Benchmarks of sessiond: see README.md in this folder for the commands and what the figures mean.
//!
//! Speed is printed here and asserted nowhere. Agents and networks are real processes: the program runs itself again
//! for each.

mod agent;
mod crypto;
mod process;
mod summary;

use clap::{Parser, Subcommand};

/// Benchmarks of sessiond
#[derive(Parser)]
#[command(name = "sessiond-benches", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
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
            agent::run(20).await
        }
        Command::Crypto => crypto::run(),
        Command::Agent { rounds } => agent::run(rounds).await,
        Command::ChildNetwork(args) => session_localnet::cli::run(args).await,
        Command::ChildAgent(args) => sessiond::cli::run(args).await,
    }
}
