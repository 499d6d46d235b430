//! Moves and deletions that were cut short, at every step, as they stand on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use session_network::NetworkConfig;
use sessiond::agent::{Agent, AgentError, Options, State};
use sessiond::store::DaemonDb;
use sessiond::vault::{Ask, VaultKind, VaultRecord, Vaults};
use tempfile::TempDir;

use crate::common::NETWORK;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A state directory with both kinds of vault files usable.
pub(crate) struct Home {
    pub(crate) dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("passphrase"), "a passphrase").unwrap();
        std::fs::write(dir.path().join("sessiond.passphrase"), "a credential").unwrap();
        Self { dir }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn vaults(&self) -> Vaults {
        let passphrase = self.dir.path().join("passphrase");
        let credentials = self.dir.path().to_owned();
        Vaults::new(&self.state(), Some(passphrase), Some(credentials))
    }

    pub(crate) async fn start(&self) -> Arc<Agent> {
        self.try_start()
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) async fn try_start(&self) -> Result<Arc<Agent>, AgentError> {
        // The directory is let go of when the last task of the agent before has ended.
        for _ in 0..3_000 {
            let options = Options {
                state_dir: self.state(),
                network: NetworkConfig::from_toml(NETWORK).unwrap(),
                vaults: self.vaults(),
                vault: VaultKind::Passphrase,
                locked_by_user: false,
            };
            match Agent::start(options).await {
                Err(AgentError::Lock(_)) => tokio::time::sleep(LOOK).await,
                started => return started,
            }
        }
        panic!("the state directory stays taken");
    }

    /// Names of what is in the state directory, the daemon's own files aside.
    pub(crate) fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.state()).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with("daemon.db") && name != "lock")
            .collect();
        names.sort();
        names
    }

    /// Which vaults hold the record.
    pub(crate) async fn holders(&self, handle: &str) -> Vec<&'static str> {
        let vaults = self.vaults();
        let mut holders = Vec::new();
        for kind in [VaultKind::Passphrase, VaultKind::Credential] {
            let loaded = vaults.load(kind, handle, None, Ask::Nobody);
            if loaded.await.is_ok() {
                holders.push(kind.name());
            }
        }
        holders
    }
}

/// An account in the passphrase vault, not running; its handle and record.
pub(crate) async fn account(home: &Home) -> (String, VaultRecord) {
    let agent = home.start().await;
    let account = agent
        .create_account(None, "name".into(), String::new())
        .await
        .unwrap();
    let found = (account.handle().to_owned(), account.record().clone());
    drop(account);
    agent.close().await;
    found
}

async fn daemon_db(state: &Path) -> DaemonDb {
    DaemonDb::open(state).await.unwrap()
}

/// Waits until only this vault holds the record.
async fn until_only(home: &Home, handle: &str, vault: &str) {
    for _ in 0..3_000 {
        if home.holders(handle).await == [vault] {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    panic!(
        "held by {:?}, not by {vault} alone",
        home.holders(handle).await
    );
}

#[tokio::test]
async fn a_move_cut_short_at_any_step_leaves_one_vault() {
    for (step, before, in_charge) in [
        ("noted", &["passphrase"][..], "passphrase"),
        ("copied", &["passphrase", "credential"], "passphrase"),
        ("in charge", &["passphrase", "credential"], "credential"),
        ("emptied", &["credential"], "credential"),
    ] {
        let home = Home::new();
        let (handle, record) = account(&home).await;
        let db = daemon_db(&home.state()).await;
        let vaults = home.vaults();
        let credential = VaultKind::Credential;
        // What Agent::move_vault does, up to this step.
        db.begin_move(&handle, credential.name()).await.unwrap();
        if step != "noted" {
            let stored = vaults.store(credential, &handle, &record, None, Ask::Nobody);
            stored.await.unwrap();
        }
        if ["in charge", "emptied"].contains(&step) {
            db.finish_move(&handle, credential.name()).await.unwrap();
        }
        if step == "emptied" {
            let removed = vaults.remove(VaultKind::Passphrase, &handle, Ask::Nobody);
            removed.await.unwrap();
        }
        db.close().await;
        assert_eq!(home.holders(&handle).await, before, "{step}");

        let agent = home.start().await;
        assert!(matches!(agent.state().await, State::Ready(_)), "{step}");
        until_only(&home, &handle, in_charge).await;
        let status = agent.vault_status().await.unwrap();
        assert_eq!(
            (status.vault.name(), status.problem),
            (in_charge, ""),
            "{step}"
        );
        // And the whole move, as it is done: to the other one.
        let other = match in_charge {
            "credential" => VaultKind::Passphrase,
            _ => credential,
        };
        agent.move_vault(other, None).await.unwrap();
        assert_eq!(home.holders(&handle).await, [other.name()], "{step}");
        agent.close().await;
    }
}

#[tokio::test]
async fn a_move_that_fails_changes_nothing() {
    let home = Home::new();
    let (handle, _) = account(&home).await;
    std::fs::remove_file(home.dir.path().join("sessiond.passphrase")).unwrap();
    let agent = home.start().await;
    let moved = agent.move_vault(VaultKind::Credential, None).await;
    assert!(moved.is_err());
    let status = agent.vault_status().await.unwrap();
    assert_eq!(
        (status.vault, status.leftover, status.problem),
        (VaultKind::Passphrase, None, "")
    );
    assert_eq!(home.holders(&handle).await, ["passphrase"]);
    agent.close().await;
}

#[tokio::test]
async fn a_deletion_cut_short_is_brought_to_its_end() {
    let home = Home::new();
    let (handle, _) = account(&home).await;
    let db = daemon_db(&home.state()).await;
    db.begin_deletion(&handle).await.unwrap();
    db.close().await;
    assert_eq!(home.files().len(), 3, "{:?}", home.files());

    let agent = home.start().await;
    assert!(matches!(agent.state().await, State::NoAccount));
    let mut left = home.files();
    for _ in 0..3_000 {
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(LOOK).await;
        left = home.files();
    }
    assert_eq!(left, Vec::<String>::new());
    let created = agent.create_account(None, "next".into(), String::new());
    assert_ne!(created.await.unwrap().handle(), handle);
    agent.close().await;
}

/// Rows of the first version are read as they were.
#[tokio::test]
async fn accounts_of_before_have_one_vault() {
    let home = Home::new();
    std::fs::create_dir(home.state()).unwrap();
    let path = home.state().join("daemon.db");
    let url = format!("sqlite://{}?mode=rwc", path.display());
    use sqlx::Connection as _;
    let mut old = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(include_str!("../../migrations/daemon/0001_initial.sql"))
        .execute(&mut old)
        .await
        .unwrap();
    sqlx::raw_sql("INSERT INTO account VALUES ('h', 'ready', 'keyring', 'main', 5, 't', x'01')")
        .execute(&mut old)
        .await
        .unwrap();
    sqlx::raw_sql(include_str!("../../migrations/daemon/0002_vaults.sql"))
        .execute(&mut old)
        .await
        .unwrap();
    let row: (String, String, Option<String>, i64, i64) = sqlx::query_as(
        "SELECT state, vault, leftover_vault, locked_since_ms, created_ms FROM account",
    )
    .fetch_one(&mut old)
    .await
    .unwrap();
    assert_eq!(row, ("ready".into(), "keyring".into(), None, 0, 5));
}
