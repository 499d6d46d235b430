//! Opening an account: one that stands stays, whatever fails meanwhile; what could not be opened does not run, and the
//! next opening knows how the one before went.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use session_protocol::AccountSeed;
use sessiond::account::Account;
use sessiond::agent::{Agent, AgentError, State};
use sessiond::store::account_db::{AccountDb, wal_path};
use sessiond::store::health::Check;
use sessiond::store::marks::Marks;
use sessiond::store::{DaemonDb, StoreError};
use sessiond::vault::{Ask, VaultKind, VaultRecord};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::sync::watch;

use crate::vaults::{Home, account};

/// Opening the database of an account fails.
const NO_OPENING: &str = "CREATE TRIGGER broken BEFORE INSERT ON storage
    BEGIN SELECT RAISE(ABORT, 'broken'); END";
/// No account can be put on record.
const NO_ACCOUNT: &str = "CREATE TRIGGER broken BEFORE INSERT ON account
    BEGIN SELECT RAISE(ABORT, 'broken'); END";
/// What is locked is not put on record.
const NO_LOCK: &str = "CREATE TRIGGER broken BEFORE UPDATE OF locked_since_ms ON account
    BEGIN SELECT RAISE(ABORT, 'broken'); END";
const MENDED: &str = "DROP TRIGGER broken";

/// Changes `daemon.db`, beside an agent or alone.
async fn change(state: &Path, sql: &str) {
    let options = SqliteConnectOptions::new()
        .filename(state.join("daemon.db"))
        .vfs("unix-excl");
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// Puts a record of somebody else into the vault, with the key of this database.
async fn take_over(home: &Home, handle: &str, record: &VaultRecord, seed: AccountSeed) {
    let record = VaultRecord {
        seed,
        database_key: record.database_key.clone(),
    };
    let (vaults, passphrase) = (home.vaults(), VaultKind::Passphrase);
    let stored = vaults.store(passphrase, handle, &record, None, Ask::Nobody);
    stored.await.unwrap();
}

async fn is_ready(agent: &Agent) -> bool {
    matches!(agent.state().await, State::Ready(_))
}

#[tokio::test]
async fn an_account_that_cannot_be_opened_is_locked_and_stays() {
    let home = Home::new();
    let agent = home.start().await;
    change(&home.state(), NO_OPENING).await;
    let token = String::from("token");
    let created = agent.create_account(None, "name".into(), token.clone());
    let error = created.await.map(drop).unwrap_err();
    assert!(matches!(error, AgentError::Store(_)), "{error}");
    let files = home.files();
    assert_eq!(files.len(), 3, "{files:?}");
    let State::Locked(locked) = agent.state().await else {
        panic!("an account that stands is there");
    };
    assert_eq!(locked.reason, "DATABASE_DAMAGED");
    // Asked again, it is the same account, and no second one.
    let again = agent.create_account(None, "name".into(), token.clone());
    let error = again.await.map(drop).unwrap_err();
    assert!(matches!(error, AgentError::Locked(_)), "{error}");
    assert_eq!(home.files(), files);

    change(&home.state(), MENDED).await;
    agent.unlock(None).await.unwrap();
    let account = agent.create_account(None, "name".into(), token);
    assert_eq!(account.await.unwrap().meta().display_name, "name");
    agent.close().await;
    drop(agent);
    let agent = home.start().await;
    assert!(is_ready(&agent).await);
    agent.close().await;
}

#[tokio::test]
async fn an_account_that_cannot_be_put_on_record_does_not_run() {
    let home = Home::new();
    let (handle, record) = account(&home).await;
    let database = AccountDb::path(&home.state(), &handle);
    for suffix in ["", "-wal"] {
        let path = home.state().join(format!("daemon.db{suffix}"));
        drop(std::fs::remove_file(path));
    }
    let agent = home.start().await;
    change(&home.state(), NO_ACCOUNT).await;
    let restore = || agent.create_account(Some(record.seed.clone()), String::new(), String::new());
    let error = restore().await.map(drop).unwrap_err();
    assert!(matches!(error, AgentError::Store(_)), "{error}");
    assert!(matches!(agent.state().await, State::NoAccount));
    // The last connection takes the log with it.
    assert!(!wal_path(&database).exists(), "it is still open");

    change(&home.state(), MENDED).await;
    assert_eq!(restore().await.unwrap().handle(), handle);
    agent.close().await;
}

#[tokio::test]
async fn an_account_whose_opening_fails_late_is_closed() {
    let home = Home::new();
    let (handle, mut record) = account(&home).await;
    // The database opens, and belongs to somebody else.
    record.seed = AccountSeed::from_bytes([9; 16]);
    let agent = home.start().await;
    agent.close().await;
    let (network, health) = (agent.network().clone(), Arc::clone(agent.health()));
    let (_stop, stopped) = watch::channel(false);
    let state = home.state();
    let started = Account::start(&state, &handle, record, network, health, stopped);
    let error = started.await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::WrongKey), "{error}");
    let database = AccountDb::path(&state, &handle);
    assert!(!wal_path(&database).exists(), "it is still open");
}

#[tokio::test]
async fn an_opening_that_failed_is_no_unclean_stop() {
    let home = Home::new();
    let (handle, record) = account(&home).await;
    take_over(&home, &handle, &record, AccountSeed::from_bytes([9; 16])).await;
    let refused = home.try_start().await.map(drop).unwrap_err();
    assert!(
        matches!(refused, AgentError::Store(StoreError::WrongKey)),
        "{refused}"
    );
    take_over(&home, &handle, &record, record.seed.clone()).await;
    let agent = home.start().await;
    assert!(is_ready(&agent).await);
    assert!(!agent.health().now().unclean_stop);
    agent.close().await;
    drop(agent);
    // One that was cut short is, whatever failed after it.
    let db = DaemonDb::open(&home.state()).await.unwrap();
    let marks = db.marks(&handle).await.unwrap();
    let open = Marks {
        open: true,
        ..marks
    };
    db.set_marks(&handle, open).await.unwrap();
    db.close().await;
    take_over(&home, &handle, &record, AccountSeed::from_bytes([9; 16])).await;
    assert!(home.try_start().await.is_err());
    take_over(&home, &handle, &record, record.seed.clone()).await;
    let agent = home.start().await;
    assert!(agent.health().now().unclean_stop);
    agent.close().await;
}

#[tokio::test]
async fn a_check_before_the_opening_is_the_last_one() {
    let home = Home::new();
    let (handle, _) = account(&home).await;
    let db = DaemonDb::open(&home.state()).await.unwrap();
    // A damaged page was met, and is whole now.
    db.mark_checked(&handle, 7, false).await.unwrap();
    db.close().await;
    let agent = home.start().await;
    assert!(is_ready(&agent).await);
    let now = agent.health().now();
    assert!(
        matches!(now.check, Check::Sound(at_ms) if at_ms > 7),
        "{:?}",
        now.check
    );
    agent.close().await;
    drop(agent);
    let db = DaemonDb::open(&home.state()).await.unwrap();
    let marks = db.marks(&handle).await.unwrap();
    assert!(marks.sound && !marks.damaged && !marks.open, "{marks:?}");
    db.close().await;
}

/// Since when it is locked is forgotten once it is open, however it was opened.
#[tokio::test]
async fn an_account_that_opens_by_itself_is_not_locked_any_more() {
    let home = Home::new();
    let (handle, _) = account(&home).await;
    let name = home.files().into_iter().find(|name| {
        name.starts_with(&handle) && !name.ends_with(".db") && !name.ends_with(".key")
    });
    let (vault, aside) = (
        home.state().join(name.unwrap()),
        home.dir.path().join("aside"),
    );
    std::fs::rename(&vault, &aside).unwrap();
    let agent = home.start().await;
    assert!(!is_ready(&agent).await);
    std::fs::rename(&aside, &vault).unwrap();
    for _ in 0..1_000 {
        if is_ready(&agent).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(is_ready(&agent).await, "it did not open by itself");
    agent.close().await;
    drop(agent);
    let db = DaemonDb::open(&home.state()).await.unwrap();
    assert_eq!(db.account().await.unwrap().unwrap().locked_since_ms, 0);
    db.close().await;
}

/// What only says since when it is locked stops no opening, and nothing runs beside a lock.
#[tokio::test]
async fn an_account_opens_where_the_end_of_its_lock_is_not_written_down() {
    let home = Home::new();
    let (handle, _) = account(&home).await;
    let db = DaemonDb::open(&home.state()).await.unwrap();
    db.set_locked_since(&handle, 5).await.unwrap();
    db.close().await;
    change(&home.state(), NO_LOCK).await;
    let agent = home.start().await;
    let opened = agent.account().await.unwrap();
    agent.lock().await.unwrap();
    let State::Locked(locked) = agent.state().await else {
        panic!("it is locked");
    };
    assert!(locked.since_ms > 5, "since the lock before");
    assert!(!wal_path(&AccountDb::path(&home.state(), &handle)).exists());
    drop(opened);
    agent.close().await;
}
