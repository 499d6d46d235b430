//! A damaged database: noticed, salvaged, and told, without anybody's help.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sessiond::store::AccountDb;
use sessiond::vault::DatabaseKey;
use sessiond_client::{new_client_token, v1};
use tokio::sync::watch;
use v1::list_messages_request::Conversation;
use v1::{DatabaseCheck, SendState};

use crate::at_rest::{assert_clean, keys_of, secrets};
use crate::harness::{Agent, Localnet, bodies, ctl, run, send_request, until};

const TEXT: &str = "the heron stands in the reeds";
const MESSAGES: usize = 60;

/// The root page of a table.
async fn root(path: &Path, key: &DatabaseKey, network: &str, table: &str) -> u64 {
    let (stop, stopped) = watch::channel(false);
    let db = AccountDb::open(path, key, network, stopped).await.unwrap();
    let root: i64 = sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = ?")
        .bind(table)
        .fetch_one(db.readers())
        .await
        .unwrap();
    stop.send_replace(true);
    assert!(db.close(Duration::from_secs(10)).await);
    u64::try_from(root).unwrap()
}

fn damage(path: &Path, page: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(b"?!?!?!?!", (page - 1) * 4096 + 1_234)
        .unwrap();
}

fn storage(info: &v1::GetInfoResponse) -> &v1::StorageStatus {
    info.storage.as_ref().unwrap()
}

fn files(agent: &Agent) -> Vec<PathBuf> {
    let all = fs::read_dir(agent.state_dir()).unwrap();
    all.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_salvaged_and_everybody_is_told() {
    let net = Localnet::start().await;
    let (mut a, a_id) = Agent::with_account(&net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    for number in 0..MESSAGES {
        a.send_stored(&b_id, &format!("{TEXT} {number}")).await;
    }
    b.send_stored(&a_id, "answer").await;
    a.until_messages(&b_id, MESSAGES + 1).await;
    let keys = keys_of(&a).await;
    // Nothing leaves any more.
    drop(net);
    let request = send_request(&b_id, "never sent", &new_client_token().unwrap());
    let waits = a.client().send_message(request).await.unwrap();
    let cursor = waits.cursor.clone();
    let waits = waits.message.unwrap().id;
    let network = a.info().await.network;
    a.stop().await;
    let (handle, key) = secrets(&a).await;
    let path = AccountDb::path(&a.state_dir(), &handle);

    // The first page: the right key does not open it any more.
    damage(&path, 1);
    a.up().await;
    a.until_ready().await;
    let messages = a.messages(&b_id).await;
    assert_eq!(messages.len(), MESSAGES + 2);
    let info = a.info().await;
    let told = storage(&info).salvage.as_ref().unwrap();
    assert_eq!(
        (
            told.damaged_page_count,
            told.lost_message_count,
            told.unsent_message_count
        ),
        (1, 0, 1)
    );
    // A message, its copy and what waits is not sent behind anybody's back.
    let unsent = a.message(&waits).await;
    assert_eq!(
        (unsent.send_state(), unsent.failure_reason.as_str()),
        (SendState::Failed, "DATABASE_SALVAGED")
    );
    assert_eq!(a.network_status().await.outbox_count, 0);
    // Who followed the log is told that it is another one.
    let events = run(ctl(&a.socket(), &["events", "--after", &cursor]), b"").await;
    assert!(events.err.contains("LOG_REPLACED"), "{events:?}");
    let status = run(ctl(&a.socket(), &["status"]), b"").await;
    assert!(status.out.contains("1 damaged pages"), "{status:?}");
    assert!(status.out.contains("of the damaged database"), "{status:?}");
    let kept = &storage(&info).copies;
    assert_eq!((kept.len(), kept[0].kind.as_str()), (1, "DAMAGED"));
    // Nothing of it can be read.
    let mut secrets = keys;
    secrets.push(("a text", TEXT.as_bytes().to_vec()));
    secrets.push(("an account ID", b_id.clone().into_bytes()));
    for file in files(&a) {
        assert_clean(&file, &secrets);
    }

    // A page of messages, met while the agent runs: by the check after a kill, or by whoever reads them.
    a.stop().await;
    let page = root(&path, &key, &network, "message").await;
    damage(&path, page);
    a.up().await;
    let opened_ms = storage(&a.info().await).salvage.as_ref().unwrap().time;
    let list = v1::ListMessagesRequest {
        conversation: Some(Conversation::AccountId(b_id.clone())),
        page_size: 200,
        ..Default::default()
    };
    let refused = a.client().list_messages(list.clone()).await;
    if let Err(error) = &refused {
        let reason = error.reason();
        assert!(
            matches!(reason, Some("DATABASE_DAMAGED" | "LOCKED")),
            "{error}"
        );
    }
    let info = until("it was salvaged again", async || {
        let info = a.info().await;
        let salvaged = storage(&info).salvage.as_ref()?;
        (info.state() == v1::DaemonState::Ready && salvaged.time != opened_ms).then_some(info)
    })
    .await;
    assert_eq!(info.pid, a.pid(), "within the same process");
    let all = a.messages(&b_id).await;
    let mut texts: Vec<&str> = bodies(&all);
    texts.sort_unstable();
    let mut wanted: Vec<String> = (0..MESSAGES)
        .map(|number| format!("{TEXT} {number}"))
        .collect();
    wanted.extend(["answer".to_owned(), "never sent".to_owned()]);
    wanted.sort_unstable();
    assert_eq!(texts, wanted);
    until("the new one is checked", async || {
        (storage(&a.info().await).check() == DatabaseCheck::Sound).then_some(())
    })
    .await;
    let log = fs::read_to_string(a.log()).unwrap();
    assert!(log.contains("a page of the database is damaged"), "{log}");
    for file in files(&a) {
        assert_clean(&file, &secrets);
    }
}
