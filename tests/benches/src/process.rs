//! Child processes of this same program: a network, or an agent. They end when they are dropped.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use sessiond_client::{Client, v1};

use crate::keyring::Keyring;

/// Longest anything may take to start.
const START: Duration = Duration::from_secs(30);

/// A running child.
pub struct Process(Child);

impl Process {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for the end of one that was told to end.
    pub fn until_ended(mut self) -> anyhow::Result<()> {
        let status = self.0.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
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
    /// Address of the bus with the keyring that has the keys; a file with a passphrase has them otherwise.
    keyring: Option<String>,
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
            keyring: None,
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

    /// The same with the keys in the keyring on a bus.
    pub fn with_keyring(self, keyring: &Keyring) -> Self {
        Self {
            keyring: Some(keyring.address.clone()),
            ..self
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.join(format!("{}.sock", self.name))
    }

    /// One more connection to the agent that runs.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        Ok(Client::builder().socket(self.socket()).connect().await?)
    }

    /// Starts the agent and waits until it answers. Returns the time from just before the start.
    pub async fn start(&self) -> anyhow::Result<(Process, Client, Instant)> {
        let path = |suffix: &str| self.dir.join(format!("{}{suffix}", self.name));
        let socket = self.socket();
        let begin = Instant::now();
        let proxy = self.proxy.map(|proxy| format!("--proxy=socks5h://{proxy}"));
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("child-agent").arg("--vault");
        match &self.keyring {
            Some(bus) => command.arg("keyring").env("DBUS_SESSION_BUS_ADDRESS", bus),
            None => command
                .args(["passphrase", "--passphrase-file"])
                .arg(self.passphrase_file())
                .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus"),
        };
        let child = command
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

/// Makes an account; a keyring that has just been started may need a moment. Returns the account ID.
pub async fn create_account(client: &Client) -> anyhow::Result<String> {
    let begin = Instant::now();
    loop {
        match client
            .create_account(v1::CreateAccountRequest::default())
            .await
        {
            Ok(made) => return Ok(made.account.context("no account")?.account_id),
            Err(error) if begin.elapsed() > START => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Lets the peak of this process's memory begin anew.
pub fn forget_peak() -> anyhow::Result<()> {
    Ok(std::fs::write("/proc/self/clear_refs", "5")?)
}

/// Most memory this process had resident, KiB.
pub fn peak_kib() -> anyhow::Result<u64> {
    let peak = memory(std::process::id())?.get("VmHWM").copied();
    peak.context("no VmHWM")
}

/// Sizes that the kernel tells of a process, by their names, KiB.
pub fn memory(pid: u32) -> anyhow::Result<HashMap<String, u64>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(status
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let size = rest.trim().strip_suffix(" kB")?;
            Some((name.to_owned(), size.trim().parse().ok()?))
        })
        .collect())
}

/// Processor time of this process so far, all threads, seconds.
pub fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Processor time of another process so far, all threads, seconds.
pub fn time_of(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may have blanks; it ends with the last bracket.
    let (_, rest) = stat.rsplit_once(')').context("no name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| -> anyhow::Result<f64> {
        Ok(fields.get(at).context("too short")?.parse::<f64>()?)
    };
    // utime and stime, in hundredths on every Linux.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// Voluntary context switches of each thread of a process.
pub fn switches(pid: u32) -> anyhow::Result<HashMap<u32, u64>> {
    let mut all = HashMap::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?;
        let number = thread.file_name().to_string_lossy().parse()?;
        let status = std::fs::read_to_string(thread.path().join("status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        all.insert(number, line.context("no count")?.trim().parse()?);
    }
    Ok(all)
}
