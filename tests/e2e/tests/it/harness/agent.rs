//! An agent as a process, and what a frontend does with it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sessiond_client::{Client, Error, v1};

use super::process::{Process, program, program_within};
use super::{Localnet, Room, until};

/// Opens every vault of these tests.
pub const PASSPHRASE: &str = "correct horse battery staple";

/// An agent with a state directory, a socket and a passphrase of its own.
pub struct Agent {
    room: Room,
    name: String,
    network: PathBuf,
    /// Network namespace that it runs in, if not the test's own.
    namespace: Option<String>,
    /// URL and login file of its proxy.
    proxy: Option<(String, Option<PathBuf>)>,
    /// RUST_LOG, if any.
    log_filter: Option<String>,
    /// Its configuration file, if any.
    config: Option<PathBuf>,
    /// `$CREDENTIALS_DIRECTORY`, if any.
    credentials: Option<PathBuf>,
    /// How wrong its clock is, s, and the library that makes it so.
    clock: Option<(i64, PathBuf)>,
    /// Address of its session bus, if any.
    bus: Option<String>,
    /// Socket of its service manager, if any.
    manager: Option<PathBuf>,
    process: Option<Process>,
    client: Option<Client>,
}

impl Agent {
    /// One that is not started yet.
    pub fn new(room: &Room, name: &str, network: &Path) -> Self {
        let agent = Self {
            room: Room::clone(room),
            name: name.to_owned(),
            network: network.to_owned(),
            namespace: None,
            proxy: None,
            log_filter: None,
            config: None,
            credentials: None,
            clock: None,
            bus: None,
            manager: None,
            process: None,
            client: None,
        };
        std::fs::write(agent.passphrase_file(), format!("{PASSPHRASE}\n")).unwrap();
        agent
    }

    /// One that runs.
    pub async fn start(net: &Localnet, name: &str) -> Self {
        let mut agent = Self::new(&net.room, name, &net.file);
        agent.up().await;
        agent
    }

    /// One that runs and has a new account; with its account ID.
    pub async fn with_account(net: &Localnet, name: &str) -> (Self, String) {
        let agent = Self::start(net, name).await;
        let id = agent.create(name).await;
        (agent, id)
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.room.path().join(format!("{}{ending}", self.name))
    }

    /// Where it keeps everything.
    pub fn state_dir(&self) -> PathBuf {
        self.path("")
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.path(".sock")
    }

    /// Its log, over all its starts.
    pub fn log(&self) -> PathBuf {
        self.path(".log")
    }

    /// File that holds its passphrase.
    pub fn passphrase_file(&self) -> PathBuf {
        self.path(".pass")
    }

    /// Uses this network from its next start on.
    pub fn use_network(&mut self, file: &Path) {
        self.network = file.to_owned();
    }

    /// Sets RUST_LOG from its next start on.
    pub fn log_with(&mut self, filter: &str) {
        self.log_filter = Some(filter.to_owned());
    }

    /// Has this configuration file from its next start on.
    pub fn configured_by(&mut self, file: &Path) {
        self.config = Some(file.to_owned());
    }

    /// Runs in a network namespace from its next start on.
    pub fn within(&mut self, namespace: &str) {
        self.namespace = Some(namespace.to_owned());
    }

    /// Goes through a proxy from its next start on.
    pub fn through(&mut self, url: &str, login_file: Option<&Path>) {
        self.proxy = Some((url.to_owned(), login_file.map(Path::to_owned)));
    }

    /// Gives it this systemd credential from its next start on.
    pub fn credential(&mut self, passphrase: &str) {
        let dir = self.path(".credentials");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("sessiond.passphrase"), passphrase).unwrap();
        self.credentials = Some(dir);
    }

    /// Its clock is wrong by so many seconds from its next start on.
    #[cfg(target_os = "linux")]
    pub fn clock_off_by(&mut self, seconds: i64) {
        self.clock = Some((seconds, super::clock::library(&self.room)));
    }

    /// Has a session bus from its next start on.
    pub fn on_bus(&mut self, address: &str) {
        self.bus = Some(address.to_owned());
    }

    /// Tells this socket how it stands, as a service manager's, from its next start on.
    pub fn tells(&mut self, manager: &Path) {
        self.manager = Some(manager.to_owned());
    }

    /// What starts it.
    pub fn command(&self) -> Command {
        let mut command = match &self.namespace {
            None => program("sessiond"),
            Some(namespace) => program_within("sessiond", namespace),
        };
        if let Some(address) = &self.bus {
            command.env("DBUS_SESSION_BUS_ADDRESS", address);
        }
        command.args(["run", "--vault", "passphrase"]);
        command.arg("--state-dir").arg(self.state_dir());
        command.arg("--socket").arg(self.socket());
        command.arg("--network").arg(&self.network);
        command.arg("--passphrase-file").arg(self.passphrase_file());
        if let Some(file) = &self.config {
            command.env("SESSIOND_CONFIG", file);
        }
        if let Some((url, login_file)) = &self.proxy {
            command.arg("--proxy").arg(url);
            if let Some(file) = login_file {
                command.arg("--proxy-login-file").arg(file);
            }
        }
        if let Some(dir) = &self.credentials {
            command.env("CREDENTIALS_DIRECTORY", dir);
        }
        if let Some(socket) = &self.manager {
            command.env("NOTIFY_SOCKET", socket);
        }
        if let Some((seconds, library)) = &self.clock {
            command.env("LD_PRELOAD", library);
            command.env("CLOCK_OFF_BY", seconds.to_string());
        }
        command
    }

    /// Starts it and waits until it answers.
    pub async fn up(&mut self) {
        self.begin();
        self.until_up().await;
    }

    /// Starts it.
    pub fn begin(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let mut command = self.command();
        if let Some(filter) = &self.log_filter {
            command.env("RUST_LOG", filter);
        }
        let name = format!("agent {}", self.name);
        let process = Process::spawn(&name, command, Stdio::null(), &self.log());
        self.process = Some(process);
    }

    /// Waits until it answers.
    pub async fn until_up(&mut self) {
        let name = format!("agent {}", self.name);
        let socket = self.socket();
        let process = self.process.as_mut().expect("runs");
        let client = until("the agent answers", async || {
            assert_eq!(process.ended(), None, "{name} ended");
            let client = Client::builder().socket(&socket).connect().await.ok()?;
            let info = client.get_info(v1::GetInfoRequest {}).await.ok()?;
            assert_eq!(info.pid, process.id());
            Some(client)
        })
        .await;
        self.client = Some(client);
    }

    /// Tries to start it, which must fail; gives what it said.
    pub async fn up_refused(&self) -> String {
        let log = self.path(".refused");
        let name = format!("agent {}", self.name);
        let mut process = Process::spawn(&name, self.command(), Stdio::null(), &log);
        let status = until("the agent refuses to start", async || process.ended()).await;
        let said = std::fs::read_to_string(&log).unwrap();
        assert_eq!(status.code(), Some(1), "{said}");
        std::fs::remove_file(&log).unwrap();
        said
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.take().expect("runs").kill();
    }

    /// SIGTERM, and waits for a clean end.
    pub async fn stop(&mut self) {
        self.process.take().expect("runs").terminate().await;
    }

    /// Waits for the clean end of an agent that was told to end over the API.
    pub async fn until_ended(&mut self) {
        self.process.take().expect("runs").until_ended().await;
    }

    /// SIGHUP.
    pub fn reload(&self) {
        self.process.as_ref().expect("runs").hang_up();
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("runs").id()
    }

    /// A connection, which finds the agent again after a restart.
    pub fn client(&self) -> &Client {
        self.client.as_ref().expect("was started")
    }

    /// Makes an account; gives its account ID.
    pub async fn create(&self, display_name: &str) -> String {
        let request = v1::CreateAccountRequest {
            display_name: display_name.to_owned(),
            client_token: "create".to_owned(),
        };
        let account = self.client().create_account(request).await.unwrap().account;
        account.unwrap().account_id
    }

    /// Brings an account back; gives its account ID.
    pub async fn restore(&self, phrase: &str) -> String {
        self.try_restore(phrase).await.unwrap()
    }

    /// As [`Agent::restore`], which may be refused.
    pub async fn try_restore(&self, phrase: &str) -> Result<String, Error> {
        let request = v1::RestoreAccountRequest {
            recovery_phrase: phrase.to_owned(),
            display_name: String::new(),
            client_token: "restore".to_owned(),
        };
        let answer = self.client().restore_account(request).await?;
        Ok(answer.account.unwrap().account_id)
    }

    /// Both forms of the recovery phrase.
    pub async fn phrases(&self) -> v1::GetRecoveryPhraseResponse {
        let request = v1::GetRecoveryPhraseRequest::default();
        self.client().get_recovery_phrase(request).await.unwrap()
    }

    /// How it stands.
    pub async fn info(&self) -> v1::GetInfoResponse {
        let request = v1::GetInfoRequest {};
        self.client().get_info(request).await.unwrap()
    }

    /// Waits until it has opened its account.
    pub async fn until_ready(&self) {
        until("the account is open", async || {
            (self.info().await.state() == v1::DaemonState::Ready).then_some(())
        })
        .await;
    }

    /// Opens the account; the passphrase comes from its file when it is empty.
    pub async fn unlock(&self, passphrase: &str) -> Result<v1::UnlockResponse, Error> {
        let request = v1::UnlockRequest {
            account: String::new(),
            passphrase: passphrase.to_owned(),
        };
        self.client().unlock(request).await
    }

    /// How it stands towards the network.
    pub async fn network_status(&self) -> v1::GetNetworkStatusResponse {
        let request = v1::GetNetworkStatusRequest {};
        self.client().get_network_status(request).await.unwrap()
    }
}
