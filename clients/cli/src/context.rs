//! What every command has at hand: the terminal, the way to the agent, and how output is wanted.

use std::{
    io::{self, IsTerminal as _, Read, Write},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::tz::TimeZone;
use prost::Message;
use serde_json::{Value, json};
use sessiond_client::Client;
use sessiond_config::{Config, ConfigError, Key};

use crate::{
    args::Cli,
    failure::Failure,
    format::{
        id, safe,
        style::{BAD, FAINT, paint},
        time::Clock,
    },
    input, json,
};

/// Between two signs of life; what takes less shows none.
const BEAT: Duration = Duration::from_millis(200);
const TURNS: [&str; 4] = ["|", "/", "-", "\\"];

/// Where output goes and input comes from.
pub struct Terminal {
    /// What was asked for.
    pub out: Box<dyn Write + Send>,
    /// Errors and progress.
    pub err: Box<dyn Write + Send>,
    /// What is read when a command reads.
    pub input: Box<dyn Read + Send>,
    /// Whether a person reads `out`.
    pub out_is_terminal: bool,
    /// Whether a person reads `err`.
    pub err_is_terminal: bool,
    /// Whether a person types `input`.
    pub in_is_terminal: bool,
    /// Times are shown in this zone.
    pub zone: TimeZone,
}

impl Terminal {
    /// This process's; styles reach terminals only and heed `NO_COLOR`.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self {
            out: Box::new(io::BufWriter::new(anstream::stdout())),
            err: Box::new(anstream::stderr()),
            input: input::unbuffered_stdin(),
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
            in_is_terminal: io::stdin().is_terminal(),
            zone: TimeZone::system(),
        }
    }
}

/// What every command has at hand.
pub struct Context {
    /// Where output goes and input comes from.
    pub terminal: Terminal,
    /// Shows times.
    pub clock: Clock,
    /// JSON instead of text.
    pub json: bool,
    /// Whole IDs.
    pub full: bool,
    socket: Option<PathBuf>,
    config: Result<Config, Arc<ConfigError>>,
}

/// Whether whole IDs are wanted by the environment or the file.
fn switch(config: Option<&Config>) -> bool {
    let key = Key::named("full");
    let value = key.and_then(|key| match config {
        Some(config) => config.effective(key),
        None => std::env::var_os(key.variable),
    });
    value.is_some_and(|value| value == "true")
}

/// What fits beside the cursor into a line of the terminal that shows progress. A line that the terminal breaks could not
/// be written over: of it only the last part would go.
fn room() -> usize {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col) - 1,
        _ => usize::MAX,
    }
}

/// That and for how long one waits, in so many characters at most.
fn sign_of_life(turn: &str, text: &str, seconds: u64, room: usize) -> String {
    let time = format!("{seconds} s");
    let left = room.saturating_sub(turn.chars().count() + time.chars().count() + 2);
    let shown = if text.chars().count() <= left {
        text.to_owned()
    } else {
        let begin: String = text.chars().take(left.saturating_sub(1)).collect();
        format!("{begin}…")
    };
    format!("{turn} {shown} {time}")
        .chars()
        .take(room)
        .collect()
}

impl Context {
    /// For one run.
    #[must_use]
    pub fn new(cli: &Cli, terminal: Terminal) -> Self {
        let config = Config::load().map_err(Arc::new);
        let clock = Clock::new(terminal.zone.clone());
        Self {
            terminal,
            clock,
            json: cli.json,
            full: cli.full || switch(config.as_ref().ok()),
            socket: cli.socket.clone(),
            config,
        }
    }

    /// The configuration file.
    ///
    /// # Errors
    ///
    /// When it is there and not right.
    pub fn config(&mut self) -> Result<&mut Config, Failure> {
        match &mut self.config {
            Ok(config) => Ok(config),
            Err(error) => Err(Failure::Config(Arc::clone(error))),
        }
    }

    /// The socket that --socket names.
    #[must_use]
    pub fn named_socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// The socket that counts, as far as somebody said one: by --socket, by the environment or in the file.
    ///
    /// # Errors
    ///
    /// When the file is not right.
    pub fn said_socket(&mut self) -> Result<Option<PathBuf>, Failure> {
        if let Some(socket) = &self.socket {
            return Ok(Some(socket.clone()));
        }
        let key = Key::named("socket");
        let config = self.config()?;
        Ok(key.and_then(|key| config.effective(key)).map(PathBuf::from))
    }

    /// Connects to the agent.
    ///
    /// # Errors
    ///
    /// When there is none to talk to.
    pub async fn connect(&mut self) -> Result<Client, Failure> {
        let mut builder = Client::builder();
        if let Some(socket) = self.said_socket()? {
            builder = builder.socket(socket);
        }
        Ok(builder.connect().await?)
    }

    /// Prints text that is complete with its line breaks.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn print(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.terminal.out.write_all(text.as_bytes())?)
    }

    /// Prints a message of the API as one line of JSON; `name` is its name in the schema.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn object(&mut self, name: &str, message: &impl Message) -> Result<(), Failure> {
        let value = json::value(name, message)?;
        self.value(&value)
    }

    /// Prints one line of JSON.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn value(&mut self, value: &Value) -> Result<(), Failure> {
        Ok(writeln!(self.terminal.out, "{}", json::line(value)?)?)
    }

    /// Makes sure that everything printed has left this process.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.terminal.out.flush()?)
    }

    /// Says how it goes, to a person who waits; to nobody else.
    pub fn progress(&mut self, text: &str) {
        if self.terminal.err_is_terminal && !self.json {
            // Progress that cannot be shown is no reason to stop.
            let _ = writeln!(self.terminal.err, "{}", paint(FAINT, text));
        }
    }

    /// Waits for `work`, and shows a person meanwhile that and for how long.
    pub async fn wait<T>(&mut self, text: &str, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if !self.terminal.err_is_terminal || self.json {
            return work.await;
        }
        let started = Instant::now();
        let mut beat = tokio::time::interval(BEAT);
        beat.tick().await;
        let mut turns = TURNS.iter().cycle();
        let mut width = 0;
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                _ = beat.tick() => {
                    let turn = turns.next().copied().unwrap_or_default();
                    let seconds = started.elapsed().as_secs();
                    let line = sign_of_life(turn, text, seconds, room());
                    width = line.chars().count();
                    // Progress that cannot be shown is no reason to stop.
                    let _ = write!(self.terminal.err, "\r{}", paint(FAINT, line));
                    let _ = self.terminal.err.flush();
                }
            }
        };
        if width > 0 {
            // Blanks, as an escape sequence would not pass where no colours are wanted.
            let _ = write!(self.terminal.err, "\r{:width$}\r", "");
            let _ = self.terminal.err.flush();
        }
        outcome
    }

    /// An ID as this run shows it.
    #[must_use]
    pub fn id(&self, id: &str) -> String {
        id::id(id, self.full)
    }

    /// Reports why the command ended early.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn report(&mut self, failure: &Failure) -> io::Result<()> {
        if self.json {
            return write_json_error(&mut self.terminal.err, failure);
        }
        let message = safe::line(&failure.to_string());
        let reason = match failure {
            Failure::Agent(sessiond_client::Error::Rpc(_)) if !failure.reason().is_empty() => {
                format!(" [{}]", safe::line(failure.reason()))
            }
            _ => String::new(),
        };
        writeln!(
            self.terminal.err,
            "{} {message}{reason}",
            paint(BAD, "sessionctl:")
        )?;
        if let Some(advice) = failure.advice() {
            writeln!(self.terminal.err, "  {advice}")?;
        }
        Ok(())
    }
}

/// An error as one JSON object: `code`, `reason`, `message`, and what to do as `advice`.
pub(crate) fn write_json_error(err: &mut dyn Write, failure: &Failure) -> io::Result<()> {
    let object = json!({
        "code": failure.code(),
        "reason": failure.reason(),
        "message": failure.to_string(),
        "advice": failure.advice().unwrap_or_default(),
    });
    writeln!(err, "{}", json::line(&object)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_fit() {
        for (room, expected) in [
            (usize::MAX, "| Waiting for ö … 12 s"),
            (22, "| Waiting for ö … 12 s"),
            (21, "| Waiting for ö… 12 s"),
            (9, "| W… 12 s"),
            (3, "| …"),
            (0, ""),
        ] {
            let line = sign_of_life("|", "Waiting for ö …", 12, room);
            assert_eq!(line, expected, "{room}");
        }
    }
}
