//! A loss of power at any moment: what the API had accepted is there, and a write-ahead log of which the end is missing
//! gives an earlier moment, never a damaged database.
//!
//! The agent is stopped in its tracks (SIGSTOP) while it sends and receives, and its database and log are copied as the
//! kernel has them. Then the log is cut at every frame and within frames: what a disk may have kept of it. The database
//! file itself must not have changed since the log began, or a cut would be a state that no loss of power leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sessiond::store::AccountDb;
use sessiond::store::check::{self, Pace};
use sessiond::vault::DatabaseKey;
use sessiond_client::v1::MessageDirection;
use sessiond_client::{Client, new_client_token};
use tokio::sync::{mpsc, watch};

use crate::at_rest::secrets;
use crate::harness::{Agent, Localnet, Rng, bodies, send_request, until};

const FRAME: usize = 24 + 4096;
const HEADER: usize = 32;
/// Moments at which the power fails, unless SESSIOND_E2E_KILLS says otherwise.
const MOMENTS: usize = 6;
/// Every so manieth cut is made within a frame, too.
const WITHIN_EVERY: usize = 8;
/// Every so manieth cut has every page checked; every one is opened and read.
const CHECK_EVERY: usize = 16;

/// Between two messages before the log shall grow: SQLite copies it into the file after some hundred.
const SLOWLY: Duration = Duration::from_millis(300);

/// A database as a loss of power leaves it.
struct Moment {
    file: Vec<u8>,
    log: Vec<u8>,
    /// Messages that were accepted by then, in their order.
    accepted: usize,
}

/// What is in a database.
struct Content {
    outgoing: Vec<String>,
    incoming: Vec<String>,
}

/// Sends numbered messages one after the other, slowly until it may `hurry`; tells each that was accepted.
async fn keep_sending(
    client: Client,
    to: String,
    name: &'static str,
    told: mpsc::UnboundedSender<()>,
    mut hurry: watch::Receiver<bool>,
) {
    for number in 0.. {
        // An error means that nobody holds it back any more.
        drop(tokio::time::timeout(SLOWLY, hurry.wait_for(|hurry| *hurry)).await);
        let request = send_request(
            &to,
            &format!("{name} {number}"),
            &new_client_token().unwrap(),
        );
        if client.send_message(request).await.is_err() || told.send(()).is_err() {
            return;
        }
    }
}

/// Puts a database and a log into a directory, opens it, and gives what it holds after checking that it is consistent;
/// with `check_all`, every page of it.
async fn open(
    dir: &Path,
    key: &DatabaseKey,
    network: &str,
    (file, log): (&[u8], &[u8]),
    check_all: bool,
) -> Content {
    let path = AccountDb::path(dir, "copy");
    let wal = sessiond::store::account_db::wal_path(&path);
    if check_all {
        fs::write(&path, file).unwrap();
        fs::write(&wal, log).unwrap();
        assert!(
            check::is_sound(&path, key, Pace::Full).await.unwrap(),
            "a cut damaged the database"
        );
    }
    fs::write(&path, file).unwrap();
    fs::write(&wal, log).unwrap();
    let (stop, stopped) = watch::channel(false);
    let db = AccountDb::open(&path, key, network, stopped).await.unwrap();
    let texts = async |outgoing: bool| -> Vec<String> {
        sqlx::query_scalar(
            "SELECT body FROM message WHERE kind = 'TEXT' AND outgoing = ? ORDER BY receive_seq",
        )
        .bind(outgoing)
        .fetch_all(db.readers())
        .await
        .unwrap()
    };
    let content = Content {
        outgoing: texts(true).await,
        incoming: texts(false).await,
    };
    // What is being sent is in the outbox, and only that; what stands there is whole.
    for wrong in [
        "SELECT count(*) FROM message m WHERE m.outgoing = 1 AND m.send_state = 2 AND NOT EXISTS
             (SELECT 1 FROM outbox o WHERE o.message = m.receive_seq AND o.purpose = 1)",
        "SELECT count(*) FROM outbox o JOIN message m ON m.receive_seq = o.message
             WHERE o.purpose = 1 AND m.send_state <> 2",
        "SELECT count(*) FROM outbox WHERE sealed IS NULL AND content IS NULL",
        "SELECT count(*) FROM outbox o WHERE follows IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM outbox l WHERE l.id = o.follows)",
        "SELECT count(*) FROM pragma_foreign_key_check",
    ] {
        let count: i64 = sqlx::query_scalar(wrong)
            .fetch_one(db.readers())
            .await
            .unwrap();
        assert_eq!(count, 0, "{wrong}");
    }
    stop.send_replace(true);
    assert!(db.close(Duration::from_secs(10)).await);
    content
}

/// The first `count` numbers of a name, and nothing else.
#[track_caller]
fn assert_prefix(texts: &[String], name: &str) {
    let wanted: Vec<String> = (0..texts.len())
        .map(|number| format!("{name} {number}"))
        .collect();
    assert_eq!(texts, wanted);
}

/// Nothing twice. Messages come in the order in which the swarm got them, which is not always that of sending.
#[track_caller]
fn assert_once(texts: &[String]) {
    let set: std::collections::BTreeSet<&String> = texts.iter().collect();
    assert_eq!(set.len(), texts.len(), "{texts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_of_power_loses_nothing_that_was_accepted() {
    let mut rng = Rng::from_environment();
    let net = Localnet::start().await;
    let (mut a, a_id) = Agent::with_account(&net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    // The log begins anew, so that the file stays as it is while the log grows.
    a.stop().await;
    let (handle, key) = secrets(&a).await;
    let path: PathBuf = AccountDb::path(&a.state_dir(), &handle);
    let wal = sessiond::store::account_db::wal_path(&path);
    let before = fs::read(&path).unwrap();
    a.up().await;
    a.until_ready().await;
    let network = a.info().await.network;

    let (told, mut accepted) = mpsc::unbounded_channel();
    let (quiet, _heard) = mpsc::unbounded_channel();
    let (hurry, slow) = watch::channel(false);
    let sending = tokio::spawn(keep_sending(
        a.client().clone(),
        b_id.clone(),
        "from a",
        told,
        slow.clone(),
    ));
    let answering = tokio::spawn(keep_sending(
        b.client().clone(),
        a_id.clone(),
        "from b",
        quiet,
        slow,
    ));
    until("messages go both ways", async || {
        let all = a.messages(&b_id).await;
        let received = all
            .iter()
            .filter(|message| message.direction() == MessageDirection::Incoming);
        (received.count() >= 3 && accepted.len() >= 5).then_some(())
    })
    .await;
    hurry.send_replace(true);
    let mut moments = Vec::new();
    let mut count = 0;
    let count_of_moments = std::env::var("SESSIOND_E2E_KILLS").map_or(MOMENTS, |text| {
        text.parse().expect("SESSIOND_E2E_KILLS is a number")
    });
    for _ in 0..count_of_moments {
        // A random moment is the point here, not waiting for something.
        tokio::time::sleep(Duration::from_millis(rng.within(20..150))).await;
        let pid = Pid::from_raw(i32::try_from(a.pid()).unwrap()).unwrap();
        // What was answered before the power fails.
        while accepted.try_recv().is_ok() {
            count += 1;
        }
        kill_process(pid, Signal::STOP).unwrap();
        let moment = Moment {
            file: fs::read(&path).unwrap(),
            log: fs::read(&wal).unwrap(),
            accepted: count,
        };
        kill_process(pid, Signal::CONT).unwrap();
        moments.push(moment);
    }
    sending.abort();
    answering.abort();
    a.kill();

    let dir = tempfile::tempdir().unwrap();
    for moment in &moments {
        let state = (&moment.file[..], &moment.log[..]);
        let found = open(dir.path(), &key, &network, state, true).await;
        assert_prefix(&found.outgoing, "from a");
        assert_once(&found.incoming);
        assert!(
            found.outgoing.len() >= moment.accepted,
            "{} of {} accepted messages",
            found.outgoing.len(),
            moment.accepted
        );
    }

    // The last moment before SQLite began to copy the log into the file.
    let last = moments
        .iter()
        .rev()
        .find(|moment| moment.file == before)
        .unwrap();
    let frames = (last.log.len() - HEADER) / FRAME;
    assert!(
        frames > 50 && last.accepted > 5,
        "{frames} frames, {} messages",
        last.accepted
    );
    let state = (&before[..], &last.log[..]);
    let whole = open(dir.path(), &key, &network, state, true).await;
    let mut seen = (0, 0);
    let mut moments_seen = 0;
    let mut middle = None;
    for frame in 0..=frames {
        let mut cuts = vec![HEADER + frame * FRAME];
        if frame % WITHIN_EVERY == 0 && frame < frames {
            cuts.push(HEADER + frame * FRAME + usize::try_from(rng.within(1..4_119)).unwrap());
        }
        for cut in cuts {
            let log = &last.log[..cut];
            let state = (&before[..], log);
            let found = open(dir.path(), &key, &network, state, frame % CHECK_EVERY == 0).await;
            assert_prefix(&found.outgoing, "from a");
            assert!(
                whole.incoming.starts_with(&found.incoming),
                "not what was there before"
            );
            let now = (found.outgoing.len(), found.incoming.len());
            assert!(
                now.0 >= seen.0 && now.1 >= seen.1,
                "a longer log holds less"
            );
            moments_seen += usize::from(now != seen);
            seen = now;
            if seen.0 > 0 && seen.1 > 0 && middle.is_none() {
                middle = Some((cut, seen.1));
            }
        }
    }
    assert!(
        seen.0 >= last.accepted && moments_seen > 5,
        "{seen:?}, {moments_seen} states"
    );
    println!(
        "{} moments; {} frames cut, {} states, {} sent and {} received at the end",
        moments.len(),
        frames,
        moments_seen,
        seen.0,
        seen.1
    );

    // An agent that begins at such a cut fetches what it had received after it, once.
    let (cut, had) = middle.expect("a cut with messages both ways");
    fs::write(&path, &before).unwrap();
    fs::write(&wal, &last.log[..cut]).unwrap();
    a.up().await;
    a.until_ready().await;
    let received = until("what came after the cut is fetched", async || {
        a.sync().await;
        let mut messages = a.messages(&b_id).await;
        messages.retain(|message| message.direction() == MessageDirection::Incoming);
        (messages.len() >= seen.1).then_some(messages)
    })
    .await;
    assert!(received.len() > had || seen.1 == had);
    let texts: Vec<String> = bodies(&received).into_iter().map(str::to_owned).collect();
    assert_once(&texts);
    assert!(
        whole.incoming.iter().all(|text| texts.contains(text)),
        "something is missing"
    );
}
