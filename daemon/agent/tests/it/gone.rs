//! Expired means gone, shown byte by byte: the same store without a key, whose files are read raw.
//!
//! Every column that the schema declares to hold content is filled with a marker of its own; so is the full-text index,
//! whose entries are cut where they share their beginning with the one before: the marker is their end. Also after a kill
//! in the middle of a sweep, after a stop longer than the deadline, and with a reader that stays in an older state.
#![cfg(debug_assertions)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use session_network::StoredMessage;
use session_protocol::content::{ExpirationMode, Kind, Quote, Visible};
use sessiond::events::{Hub, Start};
use sessiond::store::schema::CONTENT;
use sessiond::store::search::{self, Query};
use sessiond::sync::{expiry, receive};
use sqlx::AssertSqlSafe;

use crate::common::{self, Rig, WrongClock, keys, plain_rig};
use crate::say::{say, sealed, stored};

const HOUR: i64 = 3_600_000;
/// What every marker ends with.
const END: &[u8] = b"vanish";
/// Bytes before it that tell markers apart.
const ID: usize = 6;
/// Two characters that stand nowhere else: an entry of the index for scripts without spaces.
const HAN: &str = "葫芦";

/// A marker; its beginning differs early, so that the index keeps its end whole.
fn marker(number: u32) -> String {
    // Odd, hence a permutation: all differ.
    let mixed = number.wrapping_mul(0x9e37_79b1) & 0xff_ffff;
    format!("{:02x}x{mixed:06x}vanish", mixed & 0xff)
}

fn id(number: u32) -> String {
    let marker = marker(number);
    marker[marker.len() - END.len() - ID..marker.len() - END.len()].to_owned()
}

/// Markers that stand anywhere in the files of a directory, and whether [`HAN`] does.
fn on_disk(dir: &Path) -> (BTreeSet<String>, bool) {
    let mut found = BTreeSet::new();
    let mut han = false;
    for entry in std::fs::read_dir(dir).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let first = |byte| bytes.iter().enumerate().filter(move |(_, it)| **it == byte);
        for (at, _) in first(END[0]).filter(|(at, _)| bytes[*at..].starts_with(END)) {
            // One that is cut by a page's end has other bytes before it; the index has it whole.
            let before = bytes.get(at.wrapping_sub(ID)..at).unwrap_or_default();
            if !before.is_empty() && before.iter().all(u8::is_ascii_hexdigit) {
                found.insert(String::from_utf8_lossy(before).into_owned());
            }
        }
        let begin = HAN.as_bytes();
        han |= first(begin[0]).any(|(at, _)| bytes[at..].starts_with(begin));
    }
    (found, han)
}

fn text(body: &str) -> Kind {
    Kind::Visible(Box::new(Visible::text(body)))
}

/// Where the content of a message lies besides its own row, and what makes a row of it for message 1.
const BESIDE: &[(&str, &str)] = &[
    (
        "attachment",
        "INSERT INTO attachment (public_id, message, position, file_name, content_type, caption, size, width,
             height, voice, url, key) VALUES ('f', 1, 0, '', '', '', 1, 1, 1, 0, '', x'')",
    ),
    (
        "reaction",
        "INSERT INTO reaction (message, author, emoji, reacted_ms, removed) VALUES (1, 'a', '', 1, 0)",
    ),
    (
        "outbox",
        "INSERT INTO outbox (message, about, conversation, purpose, kind, owner, namespace, sent_ms, ttl_ms,
             created_ms) VALUES (1, NULL, 1, 2, 'TEXT', 'o', 0, 1, 1, 1), (NULL, 1, 1, 1, 'REACTION', 'o', 0, 1, 1, 1)",
    ),
    (
        "stored_copy",
        "INSERT INTO stored_copy (message, conversation, purpose, kind, owner, watched, sealed, size, hash, expiry_ms,
             signed, missed, turns, next_ms) VALUES (1, 1, 1, 'TEXT', 'o', 1, x'', 0, 'h', 1, x'', x'', 0, 1),
             (NULL, 1, 1, 'REACTION', 'o', 1, x'', 0, 'i', 1, x'', x'', 0, 1)",
    ),
    (
        "quarantine",
        "INSERT INTO quarantine (swarm, namespace, hash, reason, data, received_ms, version, expires_ms)
         SELECT 'o', 0, 'h', 'NO_KIND', x'', 1, '', expires_at FROM message WHERE receive_seq = 1",
    ),
];

/// Content that is not a message's: what people are called, and the index, which follows the messages.
const NOT_OF_MESSAGES: &[&str] = &["conversation", "message_text_data"];

/// A message of each kind of content that goes in an hour, a reply to it that stays, and others around them. Returns
/// which marker stands where.
async fn fill(rig: &Rig) -> BTreeMap<String, String> {
    let now = rig.context.now_ms();
    let body = format!("{} 京{HAN}", marker(1));
    let first = say(2, now - 5_000, text(&body))
        .disappearing(ExpirationMode::AfterSend, 3_600)
        .stored_for(3_600_000);
    let mut reply = Visible::text("a reply that stays");
    reply.quote = Some(Quote {
        timestamp: u64::try_from(now - 5_000).unwrap(),
        author: keys(2).account_id().into(),
    });
    let mut said = vec![first, say(2, now - 4_000, Kind::Visible(Box::new(reply)))];
    said.extend((0..60).map(|n| {
        let words = format!("message {n} of many, which stays as long as nobody deletes it");
        say(2, now - 60_000 + n, text(&words))
    }));
    rig.hear(&said).await;
    let mut markers = BTreeMap::from([(id(1), "message.body and the index".to_owned())]);
    let mut number = 1;
    for (_, insert) in BESIDE {
        rig.run(*insert).await;
    }
    for (table, columns) in CONTENT {
        if NOT_OF_MESSAGES.contains(table) {
            continue;
        }
        let key = match *table {
            "message" => "receive_seq = 1",
            "outbox" => "message = 1 OR about = 1",
            "quarantine" | "stored_copy" => "1",
            table => {
                assert!(
                    BESIDE.iter().any(|(known, _)| *known == table),
                    "say in BESIDE how {table} is filled"
                );
                "message = 1"
            }
        };
        for column in columns.iter().filter(|column| **column != "body") {
            number += 1;
            let blob: String = marker(number)
                .bytes()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let kinds: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
                "SELECT type FROM pragma_table_info('{table}') WHERE name = '{column}'"
            )))
            .fetch_all(rig.context.db.readers())
            .await
            .unwrap();
            let value = match kinds[0].as_str() {
                "BLOB" => format!("x'{blob}'"),
                _ => format!("'{}'", marker(number)),
            };
            rig.run(format!("UPDATE {table} SET {column} = {value} WHERE {key}"))
                .await;
            markers.insert(id(number), format!("{table}.{column}"));
        }
    }
    // The reply answers the message by its author's own ID.
    rig.run(format!(
        "UPDATE message SET quote_author = '{}' WHERE receive_seq = 2",
        keys(2).account_id()
    ))
    .await;
    let (there, han) = on_disk(rig.dir.path());
    for (id, place) in &markers {
        assert!(there.contains(id), "{place} is not on the disk at all");
    }
    assert!(han);
    markers
}

fn assert_gone(rig: &Rig, markers: &BTreeMap<String, String>) {
    let (there, han) = on_disk(rig.dir.path());
    let left: Vec<&String> = there.iter().filter_map(|id| markers.get(id)).collect();
    assert!(left.is_empty(), "still on the disk: {left:?}");
    assert!(!han, "an entry of the index is still on the disk");
}

const DUE: &str = "UPDATE message SET expires_at = 1 WHERE expires_at IS NOT NULL;
     UPDATE quarantine SET expires_ms = 1";

/// Nothing that is served says it any more.
async fn assert_not_served(rig: &Rig) {
    for message in rig.messages(2).await {
        let shown = format!("{message:?}");
        assert!(!shown.contains("vanish"), "{shown}");
    }
    let conversation = rig.conversation(2).await;
    assert!(!format!("{conversation:?}").contains("vanish"));
    let reply = rig.messages(2).await.into_iter().find_map(|message| {
        let shown = format!("{message:?}");
        shown.contains("a reply that stays").then_some(shown)
    });
    // It still says what it answers, which is not there.
    let reply = reply.unwrap();
    assert!(reply.contains("message_id: \"\""), "{reply}");
    let (hub, task) = Hub::spawn(rig.context.clone()).await.unwrap();
    let mut all = hub
        .subscribe(String::new(), Start::Oldest, true)
        .await
        .unwrap();
    let mut events = 0;
    while let Some(item) = all.recv().await {
        let shown = format!("{:?}", item.unwrap());
        assert!(!shown.contains("vanish"), "{shown}");
        events += 1;
    }
    assert!(events > 60);
    task.abort();
    let mut connection = rig.context.db.readers().acquire().await.unwrap();
    for words in [marker(1), HAN.to_owned()] {
        let query = Query::parse(&words).unwrap();
        let now = rig.context.now_ms();
        let hits = search::hits(&mut connection, &query, None, i64::MAX, 10, now)
            .await
            .unwrap();
        assert!(hits.is_empty(), "{words} is found");
    }
}

#[tokio::test]
async fn a_sweep_leaves_no_byte() {
    let rig = plain_rig().await;
    let markers = fill(&rig).await;
    assert!(markers.len() >= 18);
    rig.run(DUE).await;
    assert!(expiry::sweep(&rig.context).await.unwrap() >= 2);
    assert_gone(&rig, &markers);
    assert_not_served(&rig).await;
    rig.close().await;
}

/// A reader that stays in an older state holds the log back; what is served is right meanwhile, and the log is emptied
/// by itself once the reader has gone.
#[tokio::test]
async fn a_long_reader_delays_the_bytes_and_nothing_else() {
    let rig = plain_rig().await;
    let markers = fill(&rig).await;
    let mut reader = rig.context.db.readers().acquire().await.unwrap();
    sqlx::query("BEGIN").execute(&mut *reader).await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM message")
        .fetch_one(&mut *reader)
        .await
        .unwrap();
    assert_eq!(seen, 62);
    rig.run(DUE).await;
    assert!(expiry::sweep(&rig.context).await.unwrap() >= 2);
    assert!(!rig.context.db.writer().scrub().await.unwrap());
    let (there, _) = on_disk(rig.dir.path());
    assert!(there.iter().any(|id| markers.contains_key(id)));
    // Writing goes on.
    let now = rig.context.now_ms();
    assert_eq!(
        rig.hear(&[say(2, now - 4_001, text("written meanwhile"))])
            .await,
        1
    );
    assert_not_served(&rig).await;
    sqlx::query("COMMIT").execute(&mut *reader).await.unwrap();
    drop(reader);
    let gone = async {
        loop {
            let (there, han) = on_disk(rig.dir.path());
            if !han && !there.iter().any(|id| markers.contains_key(id)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone)
        .await
        .expect("the log is emptied once the reader has gone");
    rig.close().await;
}

/// The deadline passes while nobody runs: it is not shown before the sweep, and nothing is left after it.
#[tokio::test]
async fn a_stop_longer_than_the_deadline() {
    let rig = plain_rig().await;
    let markers = fill(&rig).await;
    let rig = rig.restarted(WrongClock(2 * HOUR)).await;
    assert_not_served(&rig).await;
    let (there, _) = on_disk(rig.dir.path());
    assert!(there.iter().any(|id| markers.contains_key(id)));
    assert!(expiry::sweep(&rig.context).await.unwrap() >= 2);
    assert_gone(&rig, &markers);
    assert_not_served(&rig).await;
    rig.close().await;
}

/// Whether bytes stand anywhere in the files of a directory.
fn holds(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let file = std::fs::read(entry.unwrap().path()).unwrap();
        file.windows(bytes.len()).any(|window| window == bytes)
    })
}

/// A Content of a later version: nothing but type (1 after reading, 2 after sending) and seconds of a timer, which must
/// fit into seven bits; as it lies in the swarm.
fn unknown_kind(sent_ms: i64, kind: u8, seconds: u8) -> StoredMessage {
    // Fields 12 and 13 of Content, both varints.
    let content = [12 << 3, kind, 13 << 3, seconds];
    let at = u64::try_from(sent_ms).unwrap();
    stored(at, sealed(&keys(2), at, &content))
}

/// What nobody can read goes by the timer that it carries, as if it waited to be read; where no timer can be known, when
/// the longest one would have ended; and where there is none it stays until a version can read it.
#[tokio::test]
async fn what_cannot_be_read_goes_as_well() {
    let rig = plain_rig().await;
    let sent = rig.context.now_ms() - 14 * 24 * HOUR + HOUR;
    let later = vec![
        0, 2, b'l', b'a', b't', b'e', b'r', 7, 8, 9, 200, 201, 202, 203,
    ];
    let messages = [
        ("after reading", unknown_kind(sent, 1, 60)),
        ("after sending", unknown_kind(sent, 2, 60)),
        ("of version 2", stored(u64::try_from(sent).unwrap(), later)),
        ("without a timer", unknown_kind(sent, 0, 0)),
    ];
    // The end of what was sealed: no two share it.
    let needle = |message: &StoredMessage| {
        let data = message.data.clone().unwrap();
        data[data.len() - 12..].to_vec()
    };
    let needles = messages
        .each_ref()
        .map(|(name, message)| (*name, needle(message)));
    let there = |rig: &Rig| {
        let found = needles
            .iter()
            .filter(|(_, bytes)| holds(rig.dir.path(), bytes));
        found.map(|(name, _)| *name).collect::<Vec<_>>()
    };
    rig.apply(messages.map(|(_, message)| message).to_vec())
        .await;
    assert_eq!(there(&rig).len(), 4);
    let rig = rig.restarted(WrongClock(2 * HOUR)).await;
    assert_eq!(expiry::sweep(&rig.context).await.unwrap(), 2);
    assert_eq!(there(&rig), ["of version 2", "without a timer"]);
    let (ends, received): (i64, i64) = sqlx::query_as(
        "SELECT expires_ms, received_ms FROM quarantine WHERE reason = 'UNSUPPORTED_VERSION'",
    )
    .fetch_one(rig.context.db.readers())
    .await
    .unwrap();
    assert_eq!(ends - received, 28 * 24 * HOUR);
    // A version that cannot read it either gives it no longer life.
    rig.run(
        "UPDATE quarantine SET version = '0.0.0', received_ms = received_ms - 2419200000 + 3600000",
    )
    .await;
    receive::retry_quarantine(&rig.context).await.unwrap();
    assert_eq!(there(&rig), ["of version 2", "without a timer"]);
    let rig = rig.restarted(WrongClock(4 * HOUR)).await;
    assert_eq!(expiry::sweep(&rig.context).await.unwrap(), 1);
    assert_eq!(there(&rig), ["without a timer"]);
    rig.close().await;
}

/// Directory in which [`child`] works.
const CHILD: &str = "SESSIOND_GONE_TEST_DIR";
/// Messages that are due in the test of a kill.
const MANY: u32 = 2_000;

/// Not a test: the process that is killed while it sweeps.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (context, _stop) = common::open_plain(Path::new(&dir)).await;
        println!("sweeping");
        expiry::sweep(&context).await.unwrap();
        println!("done");
        std::future::pending::<()>().await;
    });
}

async fn count(rig: &Rig, sql: &'static str) -> i64 {
    rig.one(sql).await
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_sweep() {
    let mut rig = plain_rig().await;
    let now = rig.context.now_ms();
    rig.hear(&[say(2, now, text("stays"))]).await;
    let fill = async |rig: &Rig, from: u32| {
        let rows: Vec<String> = (from..from + MANY)
            .map(|n| {
                format!(
                    "('m{n}', 1, 'a', 0, {n}, {n}, {n}, 'TEXT', 'words before {} and after', 1, 1, 1, 1, 1)",
                    marker(n)
                )
            })
            .collect();
        for rows in rows.chunks(500) {
            rig.run(format!(
                    "INSERT INTO message (public_id, conversation, author, outgoing, sent_ms, received_ms,
                         order_ms, kind, body, send_state, sync_state, wire_version, expiry_start_ms, expires_at)
                     VALUES {}",
                    rows.join(",")
                ),
            )
            .await;
        }
    };
    // How far it comes before it is killed is up to the machine: until it was in the middle.
    let mut middle = 0;
    for round in 0..20_u32 {
        fill(&rig, 1 + round * MANY).await;
        let left = count(&rig, "SELECT count(*) FROM message WHERE expires_at = 1").await;
        let left_behind = rig.close().await;
        kill_while_sweeping(left_behind.0.path());
        rig = common::reopen(left_behind, WrongClock(0)).await;
        let after = count(&rig, "SELECT count(*) FROM message WHERE expires_at = 1").await;
        if after > 0 && after < left {
            middle += 1;
        }
        // Not served, whatever is left.
        assert_eq!(rig.words(2).await, ["stays"]);
        expiry::sweep(&rig.context).await.unwrap();
        let (there, _) = on_disk(rig.dir.path());
        assert!(there.is_empty(), "{} markers are left", there.len());
        if middle >= 2 {
            break;
        }
    }
    assert!(middle > 0, "no sweep was cut in the middle");
    rig.close().await;
}

/// SIGKILL after the first transaction of a sweep.
fn kill_while_sweeping(dir: &Path) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["gone::child", "--exact", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("sweeping")));
    // The log grows with every transaction.
    let wal = dir.join("account.db-wal");
    for _ in 0..100_000 {
        let size = std::fs::metadata(&wal).map_or(0, |meta| meta.len());
        if size > 200_000 {
            break;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Texts of all lengths come and go in no order: pages are split and joined, and rows move within and between them, which
/// leaves their bytes where they were. The database is written anew, at the latest when the process ends.
#[tokio::test]
async fn what_moved_within_the_file_is_gone_as_well() {
    let mut rig = plain_rig().await;
    let mut moved = 0;
    let now = rig.context.now_ms();
    rig.hear(&[say(2, now, text("stays"))]).await;
    let mut state = 0x1234_5678_u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    let mut alive: BTreeSet<u32> = BTreeSet::new();
    let mut next = 1_u32;
    for round in 0..40 {
        let mut rows = Vec::new();
        for _ in 0..60 {
            let n = next;
            next += 1;
            alive.insert(n);
            // From one word to several pages, with the marker anywhere in it.
            let length = [3, 20, 90, 400, 1_500][usize::try_from(random(5)).unwrap()];
            let before = random(length + 1);
            let words = |count: u32| "word ".repeat(usize::try_from(count).unwrap());
            let body = format!("{}{} {}", words(before), marker(n), words(length - before));
            // Neighbours in the file go at different times.
            rows.push(format!(
                "('m{n}', 1, 'a', 0, {n}, {n}, {n}, 'TEXT', '{body}', 1, 1, 1, 1, 9000000000000)"
            ));
        }
        rig.run(format!(
                "INSERT INTO message (public_id, conversation, author, outgoing, sent_ms, received_ms, order_ms,
                     kind, body, send_state, sync_state, wire_version, expiry_start_ms, expires_at) VALUES {}",
                rows.join(",")
            ),
        )
        .await;
        // Some change, as an unsend empties them; then their deadline comes as well.
        let due: Vec<u32> = alive.iter().copied().filter(|_| random(3) == 0).collect();
        for n in &due {
            alive.remove(n);
        }
        let names: Vec<String> = due.iter().map(|n| format!("'m{n}'")).collect();
        rig.run(format!(
            "UPDATE message SET expires_at = 1 WHERE public_id IN ({})",
            names.join(",")
        ))
        .await;
        assert_eq!(expiry::sweep(&rig.context).await.unwrap(), due.len());
        let expected: BTreeSet<String> = alive.iter().map(|n| id(*n)).collect();
        let (there, _) = on_disk(rig.dir.path());
        moved += there.difference(&expected).count();
        if round % 8 != 7 {
            continue;
        }
        rig = rig.restarted(WrongClock(0)).await;
        let (there, _) = on_disk(rig.dir.path());
        let left: Vec<&String> = there.difference(&expected).collect();
        assert!(
            left.is_empty(),
            "round {round}: {} are still there",
            left.len()
        );
        let lost = expected.difference(&there).count();
        assert_eq!(
            lost, 0,
            "round {round}: the search of the files misses some"
        );
    }
    assert!(moved > 0, "nothing was ever left to be taken out");
    rig.close().await;
}

/// The key is what makes the difference between these files and real ones.
#[tokio::test]
async fn with_a_key_nothing_is_readable_at_any_time() {
    let rig = common::rig().await;
    let now = rig.context.now_ms();
    rig.hear(&[say(2, now, text(&marker(1)))]).await;
    assert!(rig.words(2).await[0].contains("vanish"));
    assert!(on_disk(rig.dir.path()).0.is_empty());
    rig.close().await;
}
