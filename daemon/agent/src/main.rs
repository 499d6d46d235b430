//! `sessiond`: see [`sessiond::cli`].

use std::process::ExitCode;

use sessiond::cli::{self, Command};
use sessiond::{configured, log, service};

/// Settings: `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = configured::parse();
    let args = match cli.command {
        Command::Run(args) => args,
        Command::Service(command) => return ended(service::run(command)),
        Command::Man { dir } => {
            let made = cli::man(dir.as_deref()).map(|()| ExitCode::SUCCESS);
            return ended(made.map_err(Into::into));
        }
    };
    if let Err(error) = log::init(&args.log) {
        eprintln!("sessiond: the log file cannot be used: {error}");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("sessiond: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(cli::run(args));
    // A vault that hangs must not hold the process.
    runtime.shutdown_background();
    log::flush();
    ended(outcome.map(|()| ExitCode::SUCCESS))
}

fn ended(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("sessiond: {error:#}");
        ExitCode::FAILURE
    })
}
