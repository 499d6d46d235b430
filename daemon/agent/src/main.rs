//! `sessiond`: see [`sessiond::cli`].

use std::process::ExitCode;

use sessiond::cli::{self, Command};
use sessiond::{configured, log, service};

fn main() -> ExitCode {
    let cli = configured::parse();
    let args = match cli.command {
        Command::Run(args) => args,
        Command::Service(command) => {
            return service::run(command).unwrap_or_else(|error| {
                eprintln!("sessiond: {error:#}");
                ExitCode::FAILURE
            });
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
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sessiond: {error:#}");
            ExitCode::FAILURE
        }
    }
}
