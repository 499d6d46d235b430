//! The processes that the demo starts: this program again, one for every part.
//!
//! Their standard error goes to a log file each. They are in process groups of their own, so that Ctrl-C
//! reaches only the demo, which then ends them in the reverse order of their start, the orderly way: by
//! closing their standard input. The same happens when the demo is killed, as the system closes it then.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Longest an orderly end may take before a process is killed.
const END: Duration = Duration::from_secs(20);
/// Most bytes of a first line.
const LINE: u64 = 1 << 20;

/// The running processes. Dropped, it kills those that are left.
pub struct Children {
    logs: PathBuf,
    /// In the order of their start.
    running: Vec<(&'static str, ChildStdin)>,
    waiting: JoinSet<(&'static str, std::io::Result<ExitStatus>)>,
    ended: HashMap<&'static str, String>,
}

/// A process that was started.
pub struct Started {
    /// Process id.
    pub pid: u32,
    name: &'static str,
    stdout: BufReader<ChildStdout>,
}

impl Children {
    /// None yet; their logs go to the directory `logs`.
    pub fn new(logs: PathBuf) -> Self {
        Self {
            logs,
            running: Vec::new(),
            waiting: JoinSet::new(),
            ended: HashMap::new(),
        }
    }

    /// Starts this program again.
    pub fn start(
        &mut self,
        name: &'static str,
        args: &[&dyn AsRef<OsStr>],
    ) -> anyhow::Result<Started> {
        let program = std::env::current_exe().context("this program does not know its own path")?;
        let log = self.log(name);
        let stderr = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("log file {}", log.display()))?;
        let mut command = Command::new(program);
        for arg in args {
            command.arg(arg);
        }
        // Nothing of the demo shows up on the desktop.
        command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("process of {name}"))?;
        let (Some(stdin), Some(stdout), Some(pid)) =
            (child.stdin.take(), child.stdout.take(), child.id())
        else {
            bail!("process of {name}: no pipes");
        };
        self.running.push((name, stdin));
        self.waiting
            .spawn(async move { (name, child.wait().await) });
        Ok(Started {
            pid,
            name,
            stdout: BufReader::new(stdout),
        })
    }

    /// The log file of a process.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Returns when a process has ended by itself, with the error that this is.
    pub async fn failure(&mut self) -> anyhow::Error {
        match self.waiting.join_next().await {
            Some(Ok((name, status))) => {
                let how = describe(status);
                let log = self.log(name);
                let last = last_line(&log).unwrap_or_default();
                self.ended.insert(name, how.clone());
                anyhow::anyhow!("{name} ended ({how}); see {}: {last}", log.display())
            }
            Some(Err(error)) => error.into(),
            None => std::future::pending().await,
        }
    }

    /// Ends all processes; an error when one of them did not end as it should.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        while let Some((name, stdin)) = self.running.pop() {
            drop(stdin);
            while !self.ended.contains_key(name) {
                match timeout(END, self.waiting.join_next()).await {
                    Ok(Some(ended)) => {
                        let (ended, status) = ended?;
                        self.ended.insert(ended, describe(status));
                    }
                    Ok(None) => bail!("{name} was never started"),
                    // Dropping what is left kills it.
                    Err(_) => bail!("{name} did not end; see {}", self.log(name).display()),
                }
            }
        }
        for (name, how) in &self.ended {
            if how != ORDERLY {
                bail!("{name} ended ({how}); see {}", self.log(name).display());
            }
        }
        Ok(())
    }
}

impl Started {
    /// The first line that the process prints.
    pub async fn first_line(self) -> anyhow::Result<String> {
        let mut line = String::new();
        let mut reader = self.stdout.take(LINE);
        reader.read_line(&mut line).await?;
        if !line.ends_with('\n') {
            bail!("{} said nothing", self.name);
        }
        Ok(line)
    }
}

const ORDERLY: &str = "exit status: 0";

fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// The last line of a log, as far as its end shows it.
fn last_line(path: &Path) -> Option<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(2_000)))
        .ok()?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).ok()?;
    let end = String::from_utf8_lossy(&end);
    end.lines().last().map(str::to_owned)
}
