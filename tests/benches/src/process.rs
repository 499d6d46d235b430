//! Child processes of this same program: a network, or an agent. They end when they are dropped.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sessiond_client::Client;

/// Longest anything may take to start.
const START: Duration = Duration::from_secs(30);

/// A running child.
pub struct Process(Child);

impl Process {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has gone already is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a local network in `dir` and returns it with its network file.
pub fn network(dir: &Path) -> anyhow::Result<(Process, PathBuf)> {
    network_with(dir, &[])
}

/// As [`network`], with more arguments.
pub fn network_with(dir: &Path, args: &[&str]) -> anyhow::Result<(Process, PathBuf)> {
    let file = dir.join("network.toml");
    let mut child = Command::new(std::env::current_exe()?)
        .arg("child-network")
        .arg("--state-dir")
        .arg(dir.join("net"))
        .arg("--network-file")
        .arg(&file)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(File::create(dir.join("net.log"))?)
        .spawn()?;
    let stdout = child.stdout.take().context("no output of the network")?;
    let process = Process(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.is_empty() {
        bail!(
            "the network did not start; see {}",
            dir.join("net.log").display()
        );
    }
    Ok((process, file))
}

/// Where an agent lives.
pub struct Home {
    dir: PathBuf,
    network: PathBuf,
    name: String,
    proxy: Option<SocketAddr>,
}

impl Home {
    /// A home in `dir` for an agent of that name.
    pub fn new(dir: &Path, network: &Path, name: &str) -> anyhow::Result<Self> {
        std::fs::write(dir.join("passphrase"), "benchmark")?;
        Ok(Self {
            dir: dir.to_owned(),
            network: network.to_owned(),
            name: name.to_owned(),
            proxy: None,
        })
    }

    /// Folder of its state.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// File with the passphrase of its vault.
    pub fn passphrase_file(&self) -> PathBuf {
        self.dir.join("passphrase")
    }

    /// The same with everything going through a SOCKS5 proxy.
    pub fn through(self, proxy: SocketAddr) -> Self {
        Self {
            proxy: Some(proxy),
            ..self
        }
    }

    /// Starts the agent and waits until it answers. Returns the time from just before the start.
    pub async fn start(&self) -> anyhow::Result<(Process, Client, Instant)> {
        let path = |suffix: &str| self.dir.join(format!("{}{suffix}", self.name));
        let socket = path(".sock");
        let begin = Instant::now();
        let proxy = self.proxy.map(|proxy| format!("--proxy=socks5h://{proxy}"));
        let child = Command::new(std::env::current_exe()?)
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
            .args(["child-agent", "--vault", "passphrase", "--passphrase-file"])
            .arg(self.dir.join("passphrase"))
            .arg("--state-dir")
            .arg(path(""))
            .arg("--socket")
            .arg(&socket)
            .arg("--network")
            .arg(&self.network)
            .args(proxy)
            .stdout(Stdio::null())
            .stderr(File::create(path(".log"))?)
            .spawn()?;
        let process = Process(child);
        loop {
            match Client::builder().socket(&socket).connect().await {
                Ok(client) => return Ok((process, client, begin)),
                Err(error) if begin.elapsed() > START => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_micros(200)).await,
            }
        }
    }
}

/// Lets the peak of this process's memory begin anew.
pub fn forget_peak() -> anyhow::Result<()> {
    Ok(std::fs::write("/proc/self/clear_refs", "5")?)
}

/// Most memory this process had resident, KiB.
pub fn peak_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("no VmHWM")?.parse()?)
}

/// Processor time of this process so far, all threads, seconds.
pub fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
