//! The command `session-localnet`.

use clap::Parser as _;
use session_localnet::cli;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    cli::execute(cli::Cli::parse().command).await
}
