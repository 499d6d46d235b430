//! The command line of sessiond: every call of the local API for people and for scripts.
//!
//! People get aligned text in local time with short IDs, and colour only on a terminal; scripts get
//! the API's messages in protobuf's canonical JSON with `--json`, one object a line, and exit codes
//! that do not change (see [`args::EXIT_CODES`]). What came from the network is shown with its
//! control characters escaped, so that no message can drive the terminal.

pub mod account_id;
pub mod args;
mod commands;
pub mod context;
pub mod failure;
pub mod format;
mod input;
pub mod json;
pub mod version;

use std::{ffi::OsString, io};

use clap::Parser as _;

use crate::{
    args::Cli,
    context::{Context, Terminal},
    failure::Failure,
};

/// Runs with this process's arguments and terminal; gives the exit code.
#[must_use]
pub fn run_process() -> u8 {
    let args: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return refuse_arguments(&args, &error),
    };
    // A worker beside the main thread keeps the connection alive while output is blocked.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(cli, Terminal::of_this_process())),
        Err(error) => report(
            &mut Context::new(&cli, Terminal::of_this_process()),
            &error.into(),
        ),
    }
}

/// Runs one command; gives the exit code after errors were reported.
pub async fn run(cli: Cli, terminal: Terminal) -> u8 {
    let mut context = Context::new(&cli, terminal);
    let outcome = commands::run(&mut context, cli.command).await;
    match outcome.and_then(|()| context.flush()) {
        Ok(()) => 0,
        Err(failure) => report(&mut context, &failure),
    }
}

/// There is no one left to tell when this fails, too.
fn report(context: &mut Context, failure: &Failure) -> u8 {
    if !matches!(failure, Failure::BrokenPipe) {
        let _ = context.flush();
        let _ = context.report(failure);
    }
    failure.exit_code()
}

fn refuse_arguments(args: &[OsString], error: &clap::Error) -> u8 {
    let wants_json = args
        .iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg == "--json");
    if error.use_stderr() && wants_json {
        let message = error.to_string();
        let first = message
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        let failure = Failure::Usage(first.to_owned());
        let _ = context::write_json_error(&mut io::stderr(), &failure);
    } else {
        // To stderr for errors, to stdout for help and version.
        let _ = error.print();
    }
    u8::try_from(error.exit_code()).unwrap_or(failure::WRONG_USAGE)
}
