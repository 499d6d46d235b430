//! `sessiond-demo`: a Session network, two agents and a program that answers, on this machine.
//!
//! Each of them is a process of its own: this program starts itself again for every part, so that all are of
//! one build and talk to each other only over sockets. It tells what happens as the agents' event streams
//! report it, then stays up for the command line. With `--once` it ends after the first exchange, with exit
//! code 0 only if everything was really received. Facts: design.md ("Top level").

mod children;
mod exchange;
mod lines;
mod parts;
mod place;
mod screen;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A Session network, two agents and a program that answers, on this machine.
#[derive(Parser)]
#[command(name = "sessiond-demo", version)]
struct Cli {
    /// End after the first exchange; exit code 0 only if everything was received
    #[arg(long)]
    once: bool,
    /// Keep everything here instead of in a directory that is removed at the end; the next run goes on with it
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Number of service nodes
    #[arg(long, default_value_t = 12, value_name = "N", value_parser = clap::value_parser!(u16).range(6..=254))]
    nodes: u16,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the program starts itself again for.
#[derive(Subcommand)]
enum Part {
    /// The local network
    #[command(hide = true)]
    Network(parts::NetworkArgs),
    /// An agent
    #[command(hide = true)]
    Agent(parts::AgentArgs),
    /// The program that answers
    #[command(hide = true)]
    Answer(parts::AnswerArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("sessiond-demo: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = match cli.part {
        Some(part) => {
            parts::end_with_parent();
            // Without a file there is nothing that can fail.
            drop(sessiond::log::init(&sessiond::log::LogArgs::from_env()));
            runtime.block_on(async {
                match part {
                    Part::Network(args) => parts::network(args).await,
                    Part::Agent(args) => parts::agent(args).await,
                    Part::Answer(args) => parts::answer(args).await,
                }
            })
        }
        None => runtime.block_on(story::run(story::Wishes {
            once: cli.once,
            state_dir: cli.state_dir,
            nodes: cli.nodes,
        })),
    };
    // A blocking call that hangs must not hold the process.
    runtime.shutdown_background();
    sessiond::log::flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sessiond-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
