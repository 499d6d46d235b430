//! Copies made for safety: what they hold, who can read them, and that they end.

use std::fs;
use std::path::{Path, PathBuf};

use sessiond::store::copy::{self, KEEP_MS, Kind};
use sessiond::store::{AccountDb, StoreError, account_db};
use sessiond::vault::DatabaseKey;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::watch;

const NOW: i64 = 1_790_000_000_000;
const TEXT: &str = "meet me where the river bends";

fn key() -> DatabaseKey {
    DatabaseKey::from_bytes([5; 32])
}

async fn connect(path: &Path, key: &DatabaseKey) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new()
        .filename(path)
        .pragma("key", format!("\"x'{}'\"", hex::encode(key.as_bytes())))
        .pragma("cipher_log_level", "NONE")
        .create_if_missing(true)
        .connect()
        .await
}

/// A database of the first version of the schema, with one message.
async fn first_version(dir: &Path) -> PathBuf {
    let path = AccountDb::path(dir, "account");
    let mut db = connect(&path, &key()).await.unwrap();
    let script = include_str!("../../migrations/account/0001_initial.sql");
    let migration = sqlx::migrate::Migration::new(
        1,
        "initial".into(),
        sqlx::migrate::MigrationType::Simple,
        sqlx::SqlSafeStr::into_sql_str(script),
        false,
    );
    sqlx::migrate::Migrator::with_migrations(vec![migration])
        .run_direct(None, &mut db, false)
        .await
        .unwrap();
    sqlx::raw_sql(
        "INSERT INTO meta VALUES (1, 'nowhere', '05me', 'Me', 1, x'0808080808080808', 0, 0);
         INSERT INTO conversation (id, public_id, kind, peer, display_name, display_name_ms,
             last_activity_ms, unread, created_ms) VALUES (1, 'c1', 1, '05aa', 'A', 1, 9, 0, 1);",
    )
    .execute(&mut db)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO message (receive_seq, public_id, conversation, author, outgoing, sent_ms, received_ms,
             order_ms, kind, body, send_state, sync_state, read, wire_version)
         VALUES (1, 'm1', 1, '05aa', 0, 100, 200, 100, 'TEXT', ?, 1, 1, 0, 1)",
    )
    .bind(TEXT)
    .execute(&mut db)
    .await
    .unwrap();
    db.close().await.unwrap();
    path
}

async fn body(path: &Path, key: &DatabaseKey) -> Result<String, sqlx::Error> {
    let mut db = connect(path, key).await?;
    let body = sqlx::query_scalar("SELECT body FROM message WHERE receive_seq = 1")
        .fetch_one(&mut db)
        .await;
    drop(db.close().await);
    body
}

#[tokio::test]
async fn a_copy_is_made_before_a_migration_and_nothing_reads_it_after_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = first_version(dir.path()).await;
    assert!(account_db::needs_migration(&path, &key()).await.unwrap());
    let before = fs::read(&path).unwrap();
    copy::before_migration(&path, &key(), NOW).await.unwrap();
    assert_eq!(
        fs::read(&path).unwrap(),
        before,
        "the original is only read"
    );

    let (_stop, stopped) = watch::channel(false);
    let db = AccountDb::open(&path, &key(), "nowhere", stopped)
        .await
        .unwrap();
    _stop.send_replace(true);
    assert!(db.close(std::time::Duration::from_secs(10)).await);
    assert!(!account_db::needs_migration(&path, &key()).await.unwrap());

    // The copy is as it was, whole, and not under the account's key.
    let copied = copy::path(&path, Kind::BeforeMigration);
    let (own, made_ms) = copy::read_key(&path, Kind::BeforeMigration, &key())
        .unwrap()
        .unwrap();
    assert_eq!(made_ms, NOW);
    assert_ne!(own.as_bytes(), key().as_bytes());
    assert_eq!(body(&copied, &own).await.unwrap(), TEXT);
    assert!(body(&copied, &key()).await.is_err());
    let mut db = connect(&copied, &own).await.unwrap();
    let read: i64 = sqlx::query_scalar("SELECT read FROM message")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(read, 0, "a column that a later version drops");
    db.close().await.unwrap();
    // Another account's key does not give the copy's.
    let other = DatabaseKey::from_bytes([6; 32]);
    let read = copy::read_key(&path, Kind::BeforeMigration, &other).unwrap();
    assert!(read.is_none());
    let bytes = fs::read(&copied).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("river"));

    let kept = copy::prune(&path, &key(), NOW + KEEP_MS - 1).unwrap();
    assert_eq!((kept.len(), kept[0].ends_ms), (1, NOW + KEEP_MS));
    // Its end, as seen by somebody who held the files open.
    let held_key = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_str().unwrap().ends_with("copykey"))
        .unwrap();
    let mut held = fs::File::open(&held_key).unwrap();
    assert!(
        copy::prune(&path, &key(), NOW + KEEP_MS)
            .unwrap()
            .is_empty()
    );
    assert!(!copied.exists() && !held_key.exists());
    let mut left = Vec::new();
    std::io::Read::read_to_end(&mut held, &mut left).unwrap();
    assert_eq!(left, vec![0; 24 + 40 + 16], "overwritten where it lay");
    let names = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 1, "nothing but the database is left");
}

#[tokio::test]
async fn a_migration_that_fails_leaves_everything_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = first_version(dir.path()).await;
    let mut db = connect(&path, &key()).await.unwrap();
    // The third script will fail on it, after the second has run.
    sqlx::raw_sql("CREATE TABLE message_words (x)")
        .execute(&mut db)
        .await
        .unwrap();
    db.close().await.unwrap();
    let (_stop, stopped) = watch::channel(false);
    let opened = AccountDb::open(&path, &key(), "nowhere", stopped).await;
    assert!(matches!(opened.err(), Some(StoreError::Migrate(_))));
    let mut db = connect(&path, &key()).await.unwrap();
    let versions: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations")
        .fetch_all(&mut db)
        .await
        .unwrap();
    assert_eq!(versions, [1]);
    let dropped: i64 = sqlx::query_scalar("SELECT read FROM message")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(dropped, 0);
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_sealed_copy_gives_back_every_byte_until_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = AccountDb::path(dir.path(), "account");
    for (length, logged) in [(0, 0), (copy::CHUNK - 8, 0), (3 * copy::CHUNK + 5, 77)] {
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let log: Vec<u8> = (0..logged).map(|at| (at % 13) as u8).collect();
        fs::write(&path, &bytes).unwrap();
        fs::write(account_db::wal_path(&path), &log).unwrap();
        copy::seal_damaged(&path, &key(), NOW).unwrap();
        let opened = copy::unseal_damaged(&path, &key()).unwrap().unwrap();
        let whole = [&(length as u64).to_le_bytes()[..], &bytes, &log].concat();
        assert!(opened == whole, "{length}");
    }
    // A copy that was cut short is noticed.
    let sealed = copy::path(&path, Kind::Damaged);
    let bytes = fs::read(&sealed).unwrap();
    fs::write(&sealed, &bytes[..copy::CHUNK + 16]).unwrap();
    assert!(copy::unseal_damaged(&path, &key()).is_err());
    fs::write(&sealed, &bytes).unwrap();
    copy::end(&path, Kind::Damaged).unwrap();
    fs::write(&sealed, &bytes).unwrap();
    assert!(copy::unseal_damaged(&path, &key()).unwrap().is_none());
    copy::prune(&path, &key(), NOW).unwrap();
    assert!(!sealed.exists(), "a copy without a key is of no use");
}

/// What a death leaves behind is gone after the next start.
#[tokio::test]
async fn leftovers_of_an_interrupted_copy_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = first_version(dir.path()).await;
    copy::before_migration(&path, &key(), NOW).await.unwrap();
    let whole = copy::path(&path, Kind::BeforeMigration);
    let partial = path.with_extension("before-migration.copy-new");
    fs::rename(&whole, &partial).unwrap();
    assert!(copy::prune(&path, &key(), NOW).unwrap().is_empty());
    let names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["account.db"]);
}
