//! The command line of the agent.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use anyhow::Context as _;
use clap::builder::TypedValueParser as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use session_network::{NetworkConfig, Proxy};
use zeroize::Zeroizing;

use crate::agent::{Agent, Options};
use crate::api::{Api, server};
use crate::configured::{self, Reread};
use crate::log::{self, Log, LogArgs};
use crate::platform;
use crate::platform::listener::{Listener, Origin};
use crate::platform::supervisor;
use crate::service::ServiceCommand;
use crate::store::{Trouble, space};
use crate::vault::Vaults;

pub use crate::vault::VaultKind;

/// A Session account as a background service.
#[derive(Parser)]
#[command(name = "sessiond", version, about, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "sessiond holds one Session account and serves it to local programs over gRPC on a Unix socket.\n\
    Drive it with sessionctl. It ends cleanly on SIGTERM and SIGINT.\n\n\
    Logs go to the journal where standard error leads there, else to standard error, or into --log-file (at most 16 MiB).\n\
    Lines repeated within a minute are told once; what the log does not take in time is lost and counted. At error, warn\n\
    and info no line holds a text, an account ID, a key or a node's address. SIGHUP rereads the level from the\n\
    configuration file.";

/// What sessiond can be told to do.
#[derive(Subcommand)]
#[allow(clippy::large_enum_variant)] // there is one, parsed once
pub enum Command {
    /// Run the agent in the foreground
    Run(RunArgs),
    /// Install, remove or look at the service that runs the agent
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Print the man page, or write those of all commands into a directory
    ///
    /// For example: sessiond man --dir ~/.local/share/man/man1
    Man {
        /// Where to write sessiond.1, sessiond-run.1 and so on
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// How to run.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Where everything is kept [default: $XDG_STATE_HOME/sessiond or ~/.local/state/sessiond]
    #[arg(long, env = "SESSIOND_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Socket to serve on [default: $XDG_RUNTIME_DIR/sessiond/sessiond.sock]
    #[arg(long, env = "SESSIOND_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Session network: main, test, or a file that describes another one
    #[arg(
        long,
        env = "SESSIOND_NETWORK",
        value_name = "main|test|FILE",
        default_value = "main"
    )]
    pub network: String,
    /// List of nodes to begin with when no seed answers: JSON as seeds give it
    #[arg(long, env = "SESSIOND_NODE_LIST", value_name = "FILE")]
    pub node_list: Option<PathBuf>,
    /// SOCKS5 proxy for everything: socks5h://[user:password@]host[:port]; it also resolves all names
    // The value may hold a password, so --help does not show it.
    #[arg(
        long,
        env = "SESSIOND_PROXY",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub proxy: Option<String>,
    /// File with the proxy's user:password; others can read a command line, but not this file
    #[arg(
        long,
        env = "SESSIOND_PROXY_LOGIN_FILE",
        value_name = "PATH",
        value_parser = clap::builder::OsStringValueParser::new().map(PathBuf::from),
        requires = "proxy"
    )]
    pub proxy_login_file: Option<PathBuf>,
    /// Let onion paths use nodes of one subnet rather than have none: one operator may see more than it should
    #[arg(
        long,
        env = "SESSIOND_ALLOW_SAME_SUBNET",
        value_name = "true|false",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true"
    )]
    pub allow_same_subnet: bool,
    /// Where the keys of a new account are kept while sessiond does not run
    ///
    /// An account that exists stays in its vault; `sessionctl vault move` moves it.
    #[arg(long, env = "SESSIOND_VAULT", value_enum, default_value_t = VaultKind::Keyring)]
    pub vault: VaultKind,
    /// File that holds the passphrase of the passphrase vault; without it, `sessionctl unlock` asks
    #[arg(long, env = "SESSIOND_PASSPHRASE_FILE", value_name = "PATH")]
    pub passphrase_file: Option<PathBuf>,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

impl RunArgs {
    pub(crate) fn proxy(&self) -> anyhow::Result<Option<Proxy>> {
        // An empty variable is how one says "none" in a service file.
        let Some(url) = self.proxy.as_deref().filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        let proxy = Proxy::from_url(url).context("--proxy")?;
        let file = self.proxy_login_file.as_ref();
        let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(Some(proxy));
        };
        let named = || format!("proxy login file {}", path.display());
        let login = Zeroizing::new(std::fs::read_to_string(path).with_context(named)?);
        Ok(Some(proxy.with_login(&login).with_context(named)?))
    }

    fn options(&self, locked_by_user: bool) -> anyhow::Result<Options> {
        let state_dir = match &self.state_dir {
            Some(dir) => std::path::absolute(dir)?,
            None => sessiond_config::state_dir()
                .context("no home directory: say where to keep everything with --state-dir")?,
        };
        let mut network = NetworkConfig::load(&self.network)
            .with_context(|| format!("network \"{}\"", self.network))?;
        network.allow_same_subnet |= self.allow_same_subnet;
        let network = match &self.node_list {
            Some(path) => network.with_node_list(path)?,
            None => network,
        };
        let network = match self.proxy()? {
            Some(proxy) => network.through(proxy),
            None => network,
        };
        let absolute = |path: &PathBuf| std::path::absolute(path);
        let passphrase_file = self.passphrase_file.as_ref().map(absolute).transpose()?;
        let credentials_dir = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Ok(Options {
            vaults: Vaults::new(&state_dir, passphrase_file, credentials_dir),
            state_dir,
            network,
            vault: self.vault,
            locked_by_user,
        })
    }
}

/// Man pages, made of the definition of the command line.
pub fn man(dir: Option<&Path>) -> io::Result<()> {
    let command = Cli::command();
    match dir {
        None => clap_mangen::Man::new(command).render(&mut io::stdout()),
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            clap_mangen::generate_to(command, dir)
        }
    }
}

/// Runs the agent until it is told to stop. After a lock the process begins anew, locked, with the same socket: that
/// leaves nothing of the account in its memory.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    platform::forbid_dumps().context("memory cannot be kept from being dumped")?;
    let socket = sessiond_proto::socket::socket_path(args.socket.as_deref())?;
    // A name alone is one in the directory it was said in.
    let socket =
        std::path::absolute(&socket).with_context(|| format!("socket {}", socket.display()))?;
    let handed_over = Listener::handed_over().context("the socket of before the lock")?;
    let agent = start(&args, handed_over.is_some()).await?;
    let listener = match handed_over {
        Some(listener) => Ok(listener),
        None => listener(&socket).with_context(|| format!("socket {}", socket.display())),
    };
    let outcome = match &listener {
        Ok(listener) => serve(&agent, listener, &socket).await,
        Err(_) => Ok(()),
    };
    agent.close().await;
    let listener = listener?;
    if agent.wants_restart() {
        outcome?;
        log::flush();
        return Err(begin_anew(&listener)).context("locked, but the agent cannot begin anew");
    }
    // Only a socket of ours is left here: the state directory is still held.
    if listener.origin() == Origin::Bound
        && let Err(error) = std::fs::remove_file(&socket)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "the socket stays behind");
    }
    outcome
}

/// Starts the agent. Where not even `daemon.db` can be opened because there is no room, or nothing can be written, it
/// waits until that is over.
async fn start(args: &RunArgs, locked_by_user: bool) -> anyhow::Result<Arc<Agent>> {
    let mut told = None;
    loop {
        let options = args.options(locked_by_user)?;
        let dir = options.state_dir.clone();
        let error = match supervisor::bear_with(Agent::start(options)).await {
            Ok(agent) => return Ok(agent),
            Err(error) => error,
        };
        let trouble = error.trouble_in(&dir).await;
        let trouble = trouble.filter(|found| *found != Trouble::Damaged);
        let Some(trouble) = trouble else {
            return Err(error.into());
        };
        if told != Some(trouble) {
            tracing::error!(reason = trouble.reason(), %error, "the start waits");
            supervisor::waits(&format!("{}: the start waits", trouble.reason()));
            told = Some(trouble);
        }
        supervisor::bear_with(tokio::time::sleep(space::LOOK)).await;
    }
}

/// The socket that the service manager made, else one of ours.
fn listener(socket: &Path) -> io::Result<Listener> {
    match Listener::from_manager()? {
        Some(listener) => Ok(listener),
        None => Listener::bind(socket),
    }
}

/// Executes this program in place of itself, with the same arguments. Returns only when that fails.
fn begin_anew(listener: &Listener) -> io::Error {
    let mut args = std::env::args_os();
    let anew = platform::own_program().and_then(|program| {
        let mut command = process::Command::new(program);
        if let Some(name) = args.next() {
            command.arg0(name);
        }
        command.args(args);
        listener.hand_over(&mut command)?;
        Ok(command)
    });
    match anew {
        Ok(mut command) => command.exec(),
        Err(error) => error,
    }
}

async fn serve(agent: &Arc<Agent>, listener: &Listener, socket: &Path) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let acceptor = listener.acceptor()?;
    tracing::info!(socket = %socket.display(), "ready");
    supervisor::ready("answers on its socket");
    let feeding = tokio::spawn(supervisor::feed(Arc::clone(agent)));
    let stopper = Arc::clone(agent);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                // Settings live in the database and count at once; what a person wants by a reload is what the
                // configuration file says now, and a fresh look at the network.
                _ = hangup.recv() => {
                    supervisor::reloading();
                    reload().await;
                    stopper.network().disturbed();
                    supervisor::ready("answers on its socket");
                }
            }
        }
        tracing::info!("stopping");
        supervisor::stopping();
        stopper.request_stop();
    });
    let served = server::serve(acceptor, Api::new(Arc::clone(agent)), agent.stop_signal()).await;
    feeding.abort();
    served
}

/// Opens the log anew if it was moved away, takes from the configuration file what can change while the agent runs, and
/// says what cannot.
async fn reload() {
    // First, and whatever the file says: what is said about it belongs into the new log.
    if let Some(log) = Log::get() {
        log.reopen();
    }
    // Files may be slow.
    let reread = tokio::task::spawn_blocking(configured::reread).await;
    let Reread { log, waiting } = match reread {
        Ok(Ok(Some(reread))) => reread,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(error)) => {
            let error = session_network::Private(error);
            tracing::warn!(%error, "the configuration file is not right and changes nothing: see `sessionctl config check`");
            return;
        }
    };
    let changed = Log::get().is_some_and(|current| current.set(&log));
    for key in &waiting {
        tracing::warn!(
            key,
            "changed in the configuration file; counts after a restart"
        );
    }
    if !changed && waiting.is_empty() {
        tracing::info!("the configuration file says what it said");
    }
}
