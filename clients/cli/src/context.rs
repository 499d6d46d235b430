//! What every command has at hand: the terminal, the way to the agent, and how output is wanted.

use std::{
    io::{self, IsTerminal as _, Read, Write},
    path::PathBuf,
};

use jiff::tz::TimeZone;
use prost::Message;
use serde_json::{Value, json};
use sessiond_client::Client;

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
}

impl Context {
    /// For one run.
    #[must_use]
    pub fn new(cli: &Cli, terminal: Terminal) -> Self {
        let clock = Clock::new(terminal.zone.clone());
        Self {
            terminal,
            clock,
            json: cli.json,
            full: cli.full,
            socket: cli.socket.clone(),
        }
    }

    /// Connects to the agent.
    ///
    /// # Errors
    ///
    /// When there is none to talk to.
    pub async fn connect(&self) -> Result<Client, Failure> {
        let mut builder = Client::builder();
        if let Some(socket) = &self.socket {
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
