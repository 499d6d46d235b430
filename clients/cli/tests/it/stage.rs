//! The program under test, the stand-in for the agent it talks to, and what it said.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use sessiond_config::KEYS;

use crate::fake::{Fake, Serving};

/// Far more than anything here takes.
pub const LONG: Duration = Duration::from_secs(60);

/// The program without the settings of the person who runs the tests.
pub fn sessionctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessionctl"));
    let colours = ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"];
    for setting in KEYS.iter().map(|key| key.variable).chain(colours) {
        command.env_remove(setting);
    }
    command.env("SESSIOND_CONFIG", "").env("TZ", "UTC");
    command
}

pub struct Stage {
    pub fake: Fake,
    pub serving: Option<Serving>,
    pub dir: tempfile::TempDir,
}

impl Stage {
    pub fn new() -> Self {
        let mut stage = Self::without_agent();
        stage.serve();
        stage
    }

    /// A stage without an agent.
    pub fn without_agent() -> Self {
        Self {
            fake: Fake::new(),
            serving: None,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("s.sock")
    }

    /// The configuration file, which is not there at first.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    pub fn serve(&mut self) {
        self.serving = Some(self.fake.serve(&self.path()));
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = sessionctl();
        command
            .args(args)
            .env("SESSIOND_SOCKET", self.path())
            .env("SESSIOND_CONFIG", self.config())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command(args).output().unwrap())
    }

    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Outcome {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Outcome::of(child.wait_with_output().unwrap())
    }
}

#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Outcome {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The output of a command that must have worked.
    pub fn ok(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{self:?}");
        self.out
    }

    pub fn json_lines(self) -> Vec<Value> {
        self.ok()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub fn json_error(&self) -> Value {
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.err).unwrap()
    }
}

pub fn until(mut true_now: impl FnMut() -> bool) {
    let start = Instant::now();
    while !true_now() {
        assert!(start.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says that a test cannot run on this machine, and why. With CI=true that is a failure.
#[track_caller]
pub fn cannot(why: &str) {
    let in_ci = std::env::var("CI").as_deref() == Ok("true");
    assert!(!in_ci, "cannot be skipped in CI: {why}");
    eprintln!("skipped: {why}");
}
