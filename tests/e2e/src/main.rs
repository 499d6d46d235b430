//! Every program of the end-to-end tests in one: whichever name it is called by, that program it is.
//!
//! For what: `cargo test` builds the binaries of the package under test only. This one belongs to the package and
//! calls the same library functions as the real programs' `main`, so that the tests always run what the sources say.
//!
//! Names: `sessiond`, `session-localnet`, `sessionctl`, and `knock`, which tells what a socket answers to a stranger.
//! The first two end at once when their standard input does: they never outlive the test that started them.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;

/// Longest `knock` waits for an answer.
const KNOCK: Duration = Duration::from_secs(10);

/// What an HTTP/2 client says first, and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The agent's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let outcome = match Path::new(&name).file_name().and_then(OsStr::to_str) {
        Some("sessionctl") => return ExitCode::from(sessionctl::run_process()),
        Some("sessiond") => agent(),
        Some("session-localnet") => localnet(),
        Some("knock") => knock(Path::new(&args.next().unwrap_or_default())),
        _ => Err(anyhow::anyhow!("started by the tests only")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// As the agent's own `main`.
fn agent() -> anyhow::Result<()> {
    let sessiond::cli::Command::Run(args) = sessiond::configured::parse().command else {
        anyhow::bail!("only `run` is tested here");
    };
    sessiond::log::init(&args.log).context("log file")?;
    end_with_stdin();
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(sessiond::cli::run(args));
    runtime.shutdown_background();
    sessiond::log::flush();
    outcome
}

/// As the local network's own `main`.
fn localnet() -> anyhow::Result<()> {
    let command = session_localnet::cli::Cli::parse().command;
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    end_with_stdin();
    tokio::runtime::Runtime::new()?.block_on(session_localnet::cli::execute(command))
}

/// Prints how many bytes a gRPC server at `socket` says to this process before it hangs up or waits.
fn knock(socket: &Path) -> anyhow::Result<()> {
    let mut stream = UnixStream::connect(socket).context("connect")?;
    stream.set_read_timeout(Some(KNOCK))?;
    // A server that hangs up at once may break the write; that is an answer, too.
    let _ = stream.write_all(PREFACE);
    let mut answer = [0; 64];
    println!("{}", stream.read(&mut answer).unwrap_or(0));
    Ok(())
}

fn end_with_stdin() {
    std::thread::spawn(|| {
        let mut rest = [0; 64];
        while !matches!(std::io::stdin().read(&mut rest), Ok(0) | Err(_)) {}
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    });
}
