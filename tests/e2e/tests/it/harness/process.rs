//! Child processes: started under the name of the program they are to be, killed when the test is done with them.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use sessiond_config::KEYS;

use super::until;

/// Every program of these tests, by the name it is called by.
const PROGRAM: &str = env!("CARGO_BIN_EXE_e2e-node");

/// Settings of the person who runs the tests, and of what they run under, that do not reach the programs under test; as
/// everything that the configuration file can say ([`KEYS`]).
const SETTINGS: [&str; 16] = [
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "CREDENTIALS_DIRECTORY",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NO_COLOR",
    "NOTIFY_SOCKET",
    "SESSIOND_HANDOVER",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
];

/// Address of a bus that is not there.
const NO_BUS: &str = "unix:path=/nonexistent/bus";

/// A program of this build.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg0(name);
    without_settings(command)
}

/// The same in a network namespace. Its process is that of the program: `ip` and the shell make way for it.
pub fn program_within(name: &str, namespace: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, "bash", "-c"]);
    command.args(["exec -a \"$0\" \"$@\"", name, PROGRAM]);
    without_settings(command)
}

fn without_settings(mut command: Command) -> Command {
    for setting in KEYS.iter().map(|key| key.variable).chain(SETTINGS) {
        command.env_remove(setting);
    }
    // No notifications on the desktop of whoever runs the tests.
    command.env("DBUS_SESSION_BUS_ADDRESS", NO_BUS);
    // No configuration file.
    command.env("SESSIOND_CONFIG", "");
    command
}

/// A process that runs until it is told to end, and no longer than the test.
pub struct Process {
    name: String,
    child: Child,
    /// Where its standard error goes.
    log: PathBuf,
}

impl Process {
    /// Starts one. Output and error are added to files.
    pub fn spawn(name: &str, mut command: Command, out: Stdio, log: &Path) -> Self {
        let err = File::options().append(true).create(true).open(log).unwrap();
        // It ends when its standard input does, however this process ends.
        let child = command
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap();
        Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        }
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// SIGTERM, and waits for the end, which must be a clean one.
    pub async fn terminate(&mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        self.until_ended().await;
    }

    /// Waits for an end that was asked for otherwise, which must be a clean one.
    pub async fn until_ended(&mut self) {
        let what = format!("{} ends", self.name);
        let status = until(&what, async || self.ended()).await;
        assert!(status.success(), "{} ended with {status}", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(40);
            eprintln!(
                "--- last words of {}:\n{}",
                self.name,
                lines[last..].join("\n")
            );
        }
    }
}

/// What a program that ran to its end said.
#[derive(Debug)]
pub struct Output {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs a program to its end, off the async threads.
pub async fn run(mut command: Command, input: &[u8]) -> Output {
    let input = input.to_vec();
    let work = tokio::task::spawn_blocking(move || {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that reads nothing may be gone by now.
        let _ = child.stdin.take().unwrap().write_all(&input);
        let output = child.wait_with_output().unwrap();
        Output {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    });
    tokio::time::timeout(super::LONG, work)
        .await
        .unwrap()
        .unwrap()
}

/// `sessionctl` for an agent's socket.
pub fn ctl(socket: &Path, args: &[&str]) -> Command {
    let mut command = program("sessionctl");
    command.arg("--socket").arg(socket).args(args);
    command
}
