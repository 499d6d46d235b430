//! What a damaged database still holds is taken over: bytes of a real, encrypted one are changed, page by page.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sessiond::store::check::{self, Pace};
use sessiond::store::copy::{self, Kind};
use sessiond::store::salvage::{self, FAILURE, Report};
use sessiond::store::{AccountDb, Meta, StoreError, account_db, received};
use sessiond::vault::DatabaseKey;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::common::rig;

const NOW: i64 = 1_790_000_000_000;
const PAGE: u64 = 4096;
/// Messages of the test's database.
const MESSAGES: i64 = 3_000;

fn key() -> DatabaseKey {
    DatabaseKey::from_bytes([5; 32])
}

fn known() -> Meta {
    Meta {
        network: "nowhere".into(),
        account_id: crate::common::keys(1).account_id().to_string(),
        display_name: String::new(),
        profile_s: 0,
        created_ms: 1,
        log_id: [9; 8],
    }
}

/// A database with three conversations, messages of every size, what hangs on them, and an outbox.
struct Whole {
    dir: TempDir,
    path: PathBuf,
    bytes: Vec<u8>,
    /// Root pages of tables and indexes.
    roots: BTreeMap<String, u64>,
}

async fn whole() -> Whole {
    let rig = rig().await;
    for sql in [
        "INSERT INTO conversation (id, public_id, kind, peer, display_name, display_name_ms, last_activity_ms,
             created_ms) VALUES (1, 'c1', 1, '05aa', 'A', 1, 9, 1), (2, 'c2', 1, '05bb', 'B', 1, 9, 1),
             (3, 'c3', 1, '05cc', 'C', 1, 9, 1)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO message (public_id, conversation, author, outgoing, sent_ms, received_ms, order_ms, kind,
             body, send_state, sync_state, counts, wire_version)
         SELECT printf('m%06d', i), 1 + i % 3, CASE WHEN i % 3 = 0 THEN '05aa' WHEN i % 3 = 1 THEN '05bb'
             ELSE '05cc' END, 0, 1000 * i, 1000 * i, 1000 * i, 'TEXT', 'word' || i || ' ' ||
             CASE WHEN i % 50 = 0 THEN hex(zeroblob(4000)) ELSE 'and more of it' END, 1, 1, 1, 1 FROM n",
        "UPDATE message SET outgoing = 1, author = '05me', send_state = 2, sync_state = 2, counts = 0
         WHERE receive_seq IN (100, 200, 300)",
        "UPDATE message SET outgoing = 1, author = '05me', send_state = 3, sync_state = 2, counts = 0
         WHERE receive_seq = 400",
        "INSERT INTO outbox (message, conversation, purpose, kind, owner, namespace, content, sent_ms, ttl_ms,
             created_ms) SELECT receive_seq, conversation, 1, 'TEXT', '05aa', 0, x'01', sent_ms, 1, 1
         FROM message WHERE send_state = 2",
        "INSERT INTO reaction (message, author, emoji, reacted_ms, removed)
         SELECT receive_seq, '05aa', '+', 5, 0 FROM message WHERE receive_seq % 7 = 0",
        "INSERT INTO swarm_deletion (hash, created_ms)
         SELECT hex(randomblob(16)), 9 FROM message LIMIT 500",
        "INSERT INTO event (kind, conversation, message, fields, created_ms)
         SELECT 1, 'c1', public_id, '', 9 FROM message",
        "INSERT INTO subscriber VALUES ('robot', 5, 1)",
        "INSERT INTO client_token VALUES ('t1', x'01', 'm000001', 1, 1)",
    ] {
        rig.execute(sql).await;
    }
    let path = AccountDb::path(rig.dir.path(), "account");
    rig.stop.send_replace(true);
    assert!(rig.context.db.close(Duration::from_secs(10)).await);
    let roots = roots(&path).await;
    let bytes = fs::read(&path).unwrap();
    Whole {
        dir: rig.dir,
        path,
        bytes,
        roots,
    }
}

/// Roots of tables and indexes.
async fn roots(path: &Path) -> BTreeMap<String, u64> {
    let mut db = SqliteConnectOptions::new()
        .filename(path)
        .pragma("key", format!("\"x'{}'\"", hex::encode(key().as_bytes())))
        .connect()
        .await
        .unwrap();
    let roots: Vec<(String, i64)> =
        sqlx::query_as("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0")
            .fetch_all(&mut db)
            .await
            .unwrap();
    db.close().await.unwrap();
    roots
        .into_iter()
        .map(|(name, root)| (name, u64::try_from(root).unwrap()))
        .collect()
}

impl Whole {
    fn pages(&self) -> u64 {
        self.bytes.len() as u64 / PAGE
    }

    /// The database again as it was, with a byte of each of these pages changed.
    fn damage(&self, pages: &[u64], at: u64) {
        for name in fs::read_dir(self.dir.path()).unwrap() {
            fs::remove_file(name.unwrap().path()).unwrap();
        }
        let mut bytes = self.bytes.clone();
        for page in pages {
            let place = usize::try_from((page - 1) * PAGE + at).unwrap();
            bytes[place] ^= 0x10;
        }
        fs::write(&self.path, bytes).unwrap();
    }

    async fn salvage(&self) -> Report {
        assert!(
            !check::is_sound(&self.path, &key(), Pace::Full)
                .await
                .unwrap()
        );
        let report = salvage::run(&self.path, &key(), &known(), NOW)
            .await
            .unwrap();
        assert!(
            check::is_sound(&self.path, &key(), Pace::Full)
                .await
                .unwrap()
        );
        report
    }

    /// Opens what was salvaged, and gives what it holds after checking that it is consistent.
    async fn found(&self) -> Found {
        let (stop, stopped) = watch::channel(false);
        let db = AccountDb::open(&self.path, &key(), "nowhere", stopped)
            .await
            .unwrap();
        let readers = db.readers();
        let broken: Vec<String> =
            sqlx::query_scalar("SELECT \"table\" FROM pragma_foreign_key_check")
                .fetch_all(readers)
                .await
                .unwrap();
        assert_eq!(broken, Vec::<String>::new());
        let messages: Vec<(i64, String, Option<String>, i64)> = sqlx::query_as(
            "SELECT receive_seq, public_id, body, conversation FROM message WHERE kind = 'TEXT' ORDER BY receive_seq",
        )
        .fetch_all(readers)
        .await
        .unwrap();
        for (seq, id, body, conversation) in &messages {
            assert_eq!(*id, format!("m{seq:06}"));
            assert!(body.as_ref().unwrap().starts_with(&format!("word{seq} ")));
            assert_eq!(*conversation, 1 + seq % 3);
        }
        let one = async |sql: &'static str| -> i64 {
            sqlx::query_scalar(sql).fetch_one(readers).await.unwrap()
        };
        // What was salvaged is no refusal.
        let mut connection = readers.acquire().await.unwrap();
        let refused = received::counts(&mut connection).await.unwrap();
        assert!(
            refused.iter().all(|(name, _)| !name.contains("SALVAGE")),
            "{refused:?}"
        );
        drop(connection);
        // The outbox and the log of before are not armed again; numbers go on.
        assert_eq!(one("SELECT count(*) FROM outbox").await, 0);
        assert_eq!(one("SELECT count(*) FROM event").await, 0);
        assert_eq!(one("SELECT count(*) FROM subscriber").await, 0);
        assert_eq!(
            one("SELECT count(*) FROM message WHERE send_state = 2 OR sync_state = 2").await,
            0
        );
        assert_eq!(db.meta().log_id, [9; 8]);
        assert_eq!(db.meta().account_id, known().account_id);
        // Counts of conversations are those of their messages.
        assert_eq!(
            one("SELECT count(*) FROM conversation c WHERE unread <> (SELECT count(*) FROM message m
                 WHERE m.conversation = c.id AND counts = 1)").await,
            0
        );
        // Every word is found again.
        let words: Vec<i64> = sqlx::query_scalar(
            "SELECT rowid FROM message_text WHERE message_text MATCH 'word2999' OR message_text MATCH 'word1'",
        )
        .fetch_all(readers)
        .await
        .unwrap();
        let held: BTreeSet<i64> = messages.iter().map(|(seq, ..)| *seq).collect();
        for seq in [1, 2999] {
            assert_eq!(words.contains(&seq), held.contains(&seq), "{seq}");
        }
        let gaps: Vec<(i64, i64, i64)> = sqlx::query_as(
            "SELECT conversation, detail_ms, sent_ms FROM message WHERE kind = 'GAP' AND detail = 1 ORDER BY 1",
        )
        .fetch_all(readers)
        .await
        .unwrap();
        let found = Found {
            held,
            gaps,
            conversations: one("SELECT count(*) FROM conversation").await,
            reactions: one("SELECT count(*) FROM reaction").await,
            deletions: one("SELECT count(*) FROM swarm_deletion").await,
            failed: one("SELECT count(*) FROM message WHERE send_state = 4 AND failure = 'DATABASE_SALVAGED'").await,
            event_seq: one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'event'").await,
        };
        stop.send_replace(true);
        assert!(db.close(Duration::from_secs(10)).await);
        found
    }
}

struct Found {
    held: BTreeSet<i64>,
    gaps: Vec<(i64, i64, i64)>,
    conversations: i64,
    reactions: i64,
    deletions: i64,
    failed: i64,
    event_seq: i64,
}

/// Any one page: what was not on it is there, and what was on it is counted.
#[tokio::test(flavor = "multi_thread")]
async fn any_damaged_page_costs_what_was_on_it_and_no_more() {
    let whole = whole().await;
    let pages = whole.pages();
    assert!(pages > 300, "{pages}");
    let mut lost_some = 0;
    // Every 43rd, the first ones, and roots of tables and indexes.
    let mut chosen: BTreeSet<u64> = (1..=pages).step_by(43).chain(1..8).collect();
    chosen.extend(whole.roots.values().copied().step_by(4));
    for page in chosen {
        whole.damage(&[page], 2_000);
        if check::is_sound(&whole.path, &key(), Pace::Full)
            .await
            .unwrap()
        {
            // A free page.
            continue;
        }
        let report = whole.salvage().await;
        let found = whole.found().await;
        assert_eq!(report.damaged_pages, 1, "page {page}");
        let held = found.held.len() as i64;
        assert_eq!(report.kept_messages, held, "page {page}");
        assert!(MESSAGES - held <= 60, "page {page}: {held} are left");
        assert!(
            report.lost_messages <= MESSAGES - held,
            "page {page}: {report:?}"
        );
        if held < MESSAGES {
            lost_some += 1;
            // The index is whole, so what is lost is known to the message, and stands where it was.
            assert_eq!(report.lost_messages, MESSAGES - held, "page {page}");
            let lost: Vec<i64> = (1..=MESSAGES)
                .filter(|seq| !found.held.contains(seq))
                .collect();
            for conversation in 1..=3 {
                let times: Vec<i64> = lost
                    .iter()
                    .filter(|seq| 1 + *seq % 3 == conversation)
                    .map(|seq| 1_000 * seq)
                    .collect();
                let gap = found.gaps.iter().find(|gap| gap.0 == conversation);
                assert_eq!(
                    gap.map(|gap| (gap.1, gap.2)),
                    times.first().map(|first| (*first, *times.last().unwrap())),
                    "page {page}"
                );
            }
        } else {
            assert_eq!(found.gaps, [], "page {page}");
        }
        assert_eq!(found.conversations, 3, "page {page}");
        assert!(
            found.reactions >= MESSAGES / 7 - 150,
            "page {page}: {}",
            found.reactions
        );
        assert!(found.deletions >= 350, "page {page}: {}", found.deletions);
        assert!(report.unsent_messages >= 2 && report.unsent_messages == found.failed);
    }
    assert!(lost_some > 1, "no page of messages was among them");
}

/// The root and an inner page of `message`, the first page, the salt, leaves of the schema: nothing but what was on a
/// leaf is lost.
#[tokio::test(flavor = "multi_thread")]
async fn leaves_that_nothing_leads_to_are_found() {
    let whole = whole().await;
    let message = whole.roots["message"];
    for (pages, at) in [
        (vec![message], 2_000),
        (vec![1], 3_000),
        (vec![1], 5),
        (vec![1, message, whole.roots["message_by_order"]], 2_000),
        (vec![whole.roots["swarm_deletion"]], 100),
        (
            vec![
                whole.roots["message_text_data"],
                whole.roots["message_text_idx"],
            ],
            100,
        ),
    ] {
        whole.damage(&pages, at);
        let report = whole.salvage().await;
        let found = whole.found().await;
        assert_eq!(found.held.len() as i64, MESSAGES, "{pages:?}: {report:?}");
        assert_eq!(report.lost_messages, 0, "{pages:?}");
        assert_eq!((found.conversations, found.failed), (3, 3), "{pages:?}");
        if pages[0] != 1 {
            assert_eq!(found.event_seq, MESSAGES, "numbers go on");
        }
    }
}

/// What was committed and is only in the write-ahead log counts; the log of the old database never meets the new one.
#[tokio::test(flavor = "multi_thread")]
async fn the_write_ahead_log_is_read() {
    let whole = whole().await;
    whole.damage(&[], 0);
    let (_stop, stopped) = watch::channel(false);
    let db = AccountDb::open(&whole.path, &key(), "nowhere", stopped)
        .await
        .unwrap();
    db.writer()
        .call(|connection| {
            Box::pin(async move {
                sqlx::query("DELETE FROM message WHERE receive_seq <= 1000")
                    .execute(&mut *connection)
                    .await?;
                Ok(())
            })
        })
        .await
        .unwrap();
    // As a kill leaves them.
    let wal = account_db::wal_path(&whole.path);
    let (file, log) = (fs::read(&whole.path).unwrap(), fs::read(&wal).unwrap());
    _stop.send_replace(true);
    assert!(db.close(Duration::from_secs(10)).await);
    assert!(log.len() > 100_000, "{}", log.len());
    fs::write(&whole.path, &file).unwrap();
    fs::write(&wal, &log).unwrap();
    // A page that the log does not hold.
    let logged: BTreeSet<u64> = log[32..]
        .chunks_exact(24 + 4096)
        .map(|frame| u64::from(u32::from_be_bytes(frame[..4].try_into().unwrap())))
        .collect();
    let root = whole.roots["swarm_deletion"];
    assert!(!logged.contains(&root) && logged.contains(&whole.roots["reaction"]));
    let out = fs::OpenOptions::new()
        .write(true)
        .open(&whole.path)
        .unwrap();
    out.write_all_at(&[0; 64], (root - 1) * PAGE + 500).unwrap();
    let report = whole.salvage().await;
    let found = whole.found().await;
    let left: BTreeSet<i64> = (1_001..=MESSAGES).collect();
    assert!(found.held == left, "{report:?}: not what the log says");
    assert_eq!(report.lost_messages, 0);
    assert!(fs::metadata(&wal).is_ok_and(|log| log.len() == 0) || !wal.exists());
}

/// The original is kept as a sealed copy, nothing else remains, and nothing can be read.
#[tokio::test(flavor = "multi_thread")]
async fn the_damaged_original_is_kept_sealed() {
    let whole = whole().await;
    whole.damage(&[50], 100);
    let before = fs::read(&whole.path).unwrap();
    whole.salvage().await;
    let names: BTreeSet<String> = fs::read_dir(whole.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let wanted = [
        "account.damaged.copy",
        "account.damaged.copykey",
        "account.db",
    ];
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
    let opened = copy::unseal_damaged(&whole.path, &key()).unwrap().unwrap();
    assert!(opened[8..] == before);
    let sealed = fs::read(copy::path(&whole.path, Kind::Damaged)).unwrap();
    let page = &before[8 * 4096..8 * 4096 + 32];
    assert!(
        !sealed.windows(32).any(|bytes| bytes == page),
        "not even as it was encrypted"
    );
    assert_eq!(copy::prune(&whole.path, &key(), NOW).unwrap().len(), 1);
    assert!(
        copy::prune(&whole.path, &key(), NOW + copy::KEEP_MS)
            .unwrap()
            .is_empty()
    );
    assert_eq!(fs::read_dir(whole.dir.path()).unwrap().count(), 1);
}

/// Another key is no damage, and the file is left alone.
#[tokio::test]
async fn another_key_is_not_taken_for_damage() {
    let whole = whole().await;
    whole.damage(&[], 0);
    let other = DatabaseKey::from_bytes([6; 32]);
    let outcome = salvage::run(&whole.path, &other, &known(), NOW).await;
    assert!(matches!(outcome, Err(StoreError::WrongKey)));
    assert!(fs::read(&whole.path).unwrap() == whole.bytes);
    assert!(
        check::is_sound(&whole.path, &key(), Pace::Full)
            .await
            .unwrap()
    );
    assert_eq!(FAILURE, "DATABASE_SALVAGED");
}

/// A death at every step: the next start goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_salvage_that_was_cut_short_goes_on() {
    let whole = whole().await;
    whole.damage(&[50], 100);
    let damaged = fs::read(&whole.path).unwrap();
    whole.salvage().await;
    let salvaged = fs::read(&whole.path).unwrap();
    let with = |extension: &str| whole.path.with_extension(extension);
    let finish = async || salvage::finish(&whole.path, &key(), NOW).await.unwrap();
    let clear = || {
        copy::end_all(&whole.path).unwrap();
        for name in ["db", "salvage", "salvaged", "original", "db-wal"] {
            copy::remove(&with(name)).unwrap();
        }
    };
    // While the new one was being filled: begun anew.
    clear();
    fs::write(&whole.path, &damaged).unwrap();
    fs::write(with("salvage"), &salvaged[..9_000]).unwrap();
    assert!(!finish().await);
    assert!(fs::read(&whole.path).unwrap() == damaged);
    assert!(!with("salvage").exists());
    // Whole, not yet copied.
    fs::write(with("salvaged"), &salvaged).unwrap();
    fs::write(with("db-wal"), b"of the damaged one").unwrap();
    assert!(finish().await);
    assert!(fs::read(&whole.path).unwrap() == salvaged);
    assert!(!with("db-wal").exists() && !with("salvaged").exists());
    let opened = copy::unseal_damaged(&whole.path, &key()).unwrap().unwrap();
    assert!(opened[8..] == [&damaged[..], b"of the damaged one"].concat());
    // Between the two renames.
    fs::rename(&whole.path, with("salvaged")).unwrap();
    fs::write(with("original"), &damaged).unwrap();
    assert!(finish().await);
    assert!(fs::read(&whole.path).unwrap() == salvaged);
    assert!(!with("original").exists());
    // Done but for the original.
    fs::write(with("original"), &damaged).unwrap();
    assert!(!finish().await);
    assert!(!with("original").exists());
    whole.found().await;
}
