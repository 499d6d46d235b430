//! The agent's log.
//!
//! **Where.** With `--log-file` into that file. Else, where standard error leads to systemd's journal, to the journal with
//! priority and fields (`SESSIOND_REASON=`). Else to standard error: for people on a terminal, with colours there and nowhere else;
//! as plain lines for everything else.
//!
//! **How much.** Ours at info, crates of others at warn: nothing chatty. A line that is repeated within a minute is counted and told once
//! ([`collapse`]). A file has at most 8 MiB, and so has the one before it, `PATH.1`: 16 MiB in all. A value has at most
//! 2 KiB, a line 16 of them. Nobody waits for the log: what it does not take in time is lost and counted ([`writer`]).
//!
//! **What.** Lines at error, warn and info name nobody: no text, account ID, key, node's address, also no words of a service
//! node. Three nets hold that. Values that may be such a thing are of a type that prints `…` there
//! ([`session_network::Private`]); what has the shape of a key or an address does not pass ([`strain`]); and a test reads
//! what real agents write. At debug and trace IDs and addresses may be shown. Keys, recovery phrases, passphrases and texts
//! are at no level: their types cannot be printed, or nobody prints them. SQL statements are not logged, and targets that would
//! write down what they carry for us stay at info whatever is asked for ([`CAPPED`]).
//!
//! The level can be changed while the agent runs ([`Log::set`]).

mod collapse;
mod journal;
mod layer;
mod record;
mod sink;
mod strain;
mod writer;

pub use writer::Counts;

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Instant;

use clap::{Args, ValueEnum};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Registry, reload};

use layer::Lines;
use record::Record;
use sink::{Capped, MAX_FILE, Sink};
use writer::Writer;

/// Crates that are ours.
const OURS: [&str; 5] = [
    "sessiond",
    "session_network",
    "session_protocol",
    "session_localnet",
    "sessiond_demo",
];

/// Crates that write down what they carry for us, and how far they are heard at most.
const CAPPED: [(&str, LevelFilter); 2] = [("sqlx", LevelFilter::INFO), ("zbus", LevelFilter::INFO)];

static LOG: OnceLock<Log> = OnceLock::new();

/// What is to be logged, and where.
#[derive(Args, Clone, Debug, Default)]
pub struct LogArgs {
    /// Log at least this; crates of others only warnings
    ///
    /// Read again from the configuration file on SIGHUP.
    #[arg(long, env = "SESSIOND_LOG_LEVEL", value_enum, default_value_t)]
    pub log_level: LogLevel,
    /// Log by module instead, as `warn,sessiond::sync=debug`; beats --log-level
    ///
    /// Read again from the configuration file on SIGHUP.
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", value_parser = filter)]
    pub log_filter: Option<LogFilter>,
    /// Log into this file in place of standard error or the journal
    ///
    /// At 8 MiB it becomes PATH.1, which is replaced: never more than 16 MiB. Only the owner may read it. SIGHUP
    /// opens it anew if it was moved away.
    #[arg(long, env = "SESSIOND_LOG_FILE", value_name = "PATH")]
    pub log_file: Option<PathBuf>,
}

/// How much of ours is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What does not work and needs somebody
    Error,
    /// What does not work and passes by itself
    Warn,
    /// What happens once or seldom
    #[default]
    Info,
    /// How a decision came about; may name accounts and nodes
    Debug,
    /// Everything
    Trace,
}

/// Levels by target.
#[derive(Clone, Debug, PartialEq)]
pub struct LogFilter(Option<Targets>);

fn filter(text: &str) -> Result<LogFilter, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let text = parts.join(",");
    if text.is_empty() {
        // An empty variable is how one says "none".
        return Ok(LogFilter(None));
    }
    match text.parse::<Targets>() {
        Ok(targets) => Ok(LogFilter(Some(targets))),
        Err(_) => {
            Err("give levels by module, separated by commas: warn,sessiond::sync=debug".to_owned())
        }
    }
}

fn standard(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let others = level.min(LevelFilter::WARN);
    Targets::new()
        .with_default(others)
        .with_targets(OURS.map(|target| (target, level)))
}

impl LogArgs {
    /// What the environment alone says, for programs without these options. A filter that nobody understands is none.
    #[must_use]
    pub fn from_env() -> Self {
        let said = std::env::var("RUST_LOG").unwrap_or_default();
        Self {
            log_filter: filter(&said).ok(),
            ..Self::default()
        }
    }

    /// What holds.
    fn targets(&self) -> Targets {
        match &self.log_filter {
            Some(LogFilter(Some(targets))) => targets.clone(),
            _ => standard(self.log_level),
        }
    }
}

/// The log of this process.
pub struct Log {
    filter: reload::Handle<Targets, Registry>,
    writer: Writer,
}

impl Log {
    /// The one that [`init`] began.
    pub fn get() -> Option<&'static Self> {
        LOG.get()
    }

    /// Changes what is logged, and says so if it is something else than before. Whether it is.
    pub fn set(&self, args: &LogArgs) -> bool {
        let new = args.targets();
        let changed = self.filter.with_current(|old| *old != new).unwrap_or(false);
        let text = format!("logged from now on: {new}");
        let changed = changed && self.filter.reload(new).is_ok();
        if changed {
            // Whatever is logged, this is.
            self.writer
                .take(Record::own(Level::INFO, text, Instant::now()));
        }
        changed
    }

    /// Opens the file anew if it was moved away.
    pub fn reopen(&self) {
        self.writer.reopen();
    }

    /// What became of the lines so far.
    pub fn counts(&self) -> &Counts {
        self.writer.counts()
    }
}

/// Begins the log of this process. A second time, as in tests, the first goes on.
///
/// # Errors
///
/// The file cannot be opened.
pub fn init(args: &LogArgs) -> io::Result<()> {
    if LOG.get().is_some() {
        return Ok(());
    }
    let sink = match &args.log_file {
        Some(path) => Sink::File(Capped::open(path, MAX_FILE)?),
        None => Sink::standard(),
    };
    let writer = Writer::start(sink)?;
    let (targets, filter) = reload::Layer::new(args.targets());
    let lines = Lines::new(writer.clone());
    let subscriber = tracing_subscriber::registry().with(targets).with(lines);
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        drop(LOG.set(Log { filter, writer }));
        tell_panics();
    }
    Ok(())
}

/// Waits, within limits, until everything said so far is written: before the process ends or begins anew.
pub fn flush() {
    if let Some(log) = Log::get() {
        log.writer.flush();
    }
}

/// A panic is a line of the log like any other: what it was about may hold anything.
fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let about = panic.payload_as_str().unwrap_or_default();
        let about = session_network::Private(about);
        tracing::error!(place, %about, "a task broke off; this is a fault of the agent");
        // Nothing may follow.
        flush();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(level: LogLevel, said: Option<&str>) -> LogArgs {
        LogArgs {
            log_level: level,
            log_filter: said.map(|text| filter(text).unwrap()),
            log_file: None,
        }
    }

    #[test]
    fn ours_at_the_level_and_others_at_warn() {
        let shown =
            |args: &LogArgs, target: &str, level| args.targets().would_enable(target, &level);
        let usual = LogArgs::default();
        assert!(shown(&usual, "sessiond::cli", Level::INFO));
        assert!(!shown(&usual, "sessiond::cli", Level::DEBUG));
        assert!(shown(&usual, "h2::codec", Level::WARN));
        assert!(!shown(&usual, "h2::codec", Level::INFO));
        let all = args(LogLevel::Trace, None);
        assert!(shown(&all, "session_network::paths", Level::TRACE));
        assert!(!shown(&all, "h2::codec", Level::INFO));
        let few = args(LogLevel::Error, Some(""));
        assert!(!shown(&few, "h2::codec", Level::WARN));
        let chosen = args(LogLevel::Error, Some("warn, sessiond::sync=debug"));
        assert!(shown(&chosen, "sessiond::sync::poller", Level::DEBUG));
        assert!(!shown(&chosen, "sessiond::cli", Level::INFO));
        assert!(filter("sessiond=loud").is_err());
    }
}
