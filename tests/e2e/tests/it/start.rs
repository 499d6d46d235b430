//! Starting where something is missing or wrong: no network, a second agent, another network's database.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use sessiond_client::{Client, v1};
use tonic::Code;
use v1::{ConnectionState, SendState};

use crate::harness::{
    Agent, Localnet, PASSPHRASE, Process, Room, Setup, assert_refused, program, room, until,
    until_within,
};

/// Shorter than the 30 s after which the agent looks at a message again that found no path, and many times what a
/// message takes: a path that comes up is what sends it.
const BEFORE_A_RETRY: Duration = Duration::from_secs(15);

/// A port that nobody listens on, outside the range from which the system hands out ports.
fn free_port() -> u16 {
    let candidates =
        std::iter::repeat_with(|| 20_000 + (getrandom::u32().unwrap() % 10_000) as u16);
    candidates
        .take(100)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

fn network_file(room: &Room, name: &str, port: u16) -> std::path::PathBuf {
    let file = room.path().join(format!("{name}.toml"));
    let text = format!(
        "name = \"{name}\"\nseeds = [\"http://127.0.0.1:{port}\"]\nmin_nodes = 12\ntime_scale = 0.2\n"
    );
    std::fs::write(&file, text).unwrap();
    file
}

#[tokio::test]
async fn offline_start() {
    let room = room();
    let port = free_port();
    let file = network_file(&room, "local", port);
    let (mut a, mut b) = (Agent::new(&room, "a", &file), Agent::new(&room, "b", &file));
    a.up().await;
    b.up().await;
    let (_, b_id) = (a.create("a").await, b.create("b").await);
    let sent = a.send(&b_id, "into the dark").await;
    assert_eq!(sent.send_state(), SendState::Sending);
    let sync = a.client().sync(v1::SyncRequest::default()).await;
    assert_refused(sync, Code::Unavailable, "NO_PATH");
    let status = until("the agent says what is wrong", async || {
        let status = a.network_status().await;
        (!status.last_error.is_empty()).then_some(status)
    })
    .await;
    assert_ne!(status.state(), ConnectionState::Connected);
    assert_eq!((status.node_count, status.path_count), (0, 0));
    assert_eq!(status.outbox_count, 2, "message and copy wait");
    assert_eq!(a.message(&sent.id).await.send_state(), SendState::Sending);
    // What was accepted offline outlives the process.
    a.kill();
    a.up().await;
    assert_eq!(a.message(&sent.id).await.send_state(), SendState::Sending);

    let setup = Setup { port, tls: false };
    let _net = Localnet::with(room, setup).await;
    a.until_synced(&sent.id).await;
    b.until_messages(&sent.author, 1).await;
    let status = a.network_status().await;
    assert_eq!(status.state(), ConnectionState::Connected);
    assert_eq!((status.node_count, status.outbox_count), (12, 0));
}

#[tokio::test]
async fn wrong_pin() {
    let setup = Setup { tls: true, port: 0 };
    let net = Localnet::with(room(), setup).await;
    let right = std::fs::read_to_string(&net.file).unwrap();
    let at = right.find("pin = \"").expect("a pin") + "pin = \"".len();
    let other = if right[at..].starts_with('A') {
        "B"
    } else {
        "A"
    };
    let mut wrong = right.clone();
    wrong.replace_range(at..=at, other);
    let file = net.room.path().join("wrong.toml");
    std::fs::write(&file, wrong).unwrap();

    let mut a = Agent::new(&net.room, "a", &file);
    a.up().await;
    let id = a.create("a").await;
    let sent = a.send(&id, "only to whom I trust").await;
    // The poll waits for a path as long as it may, so the seed was asked by then.
    let sync = a.client().sync(v1::SyncRequest::default()).await;
    assert_refused(sync, Code::Unavailable, "NO_PATH");
    let status = until("the agent says what is wrong", async || {
        let status = a.network_status().await;
        (!status.last_error.is_empty()).then_some(status)
    })
    .await;
    println!("last_error with a wrong pin: {}", status.last_error);
    assert_ne!(status.state(), ConnectionState::Connected);
    assert_eq!((status.node_count, status.path_count), (0, 0));
    assert_eq!(a.message(&sent.id).await.send_state(), SendState::Sending);
    assert!(status.last_poll_time.is_none());

    a.stop().await;
    a.use_network(&net.file);
    a.up().await;
    until_within(
        BEFORE_A_RETRY,
        "the first path takes what waited",
        async || (a.message(&sent.id).await.send_state() == SendState::Sent).then_some(()),
    )
    .await;
    assert_eq!(a.network_status().await.node_count, 12);
}

#[tokio::test]
async fn names_alone_are_those_of_the_directory_it_starts_in() {
    let room = room();
    network_file(&room, "local", free_port());
    std::fs::write(room.path().join("pass"), format!("{PASSPHRASE}\n")).unwrap();
    let mut command = program("sessiond");
    command.current_dir(room.path()).arg("run");
    command.args(["--vault", "passphrase", "--passphrase-file", "pass"]);
    command.args(["--state-dir", "state", "--socket", "socket"]);
    command.args(["--network", "local.toml"]);
    let log = room.path().join("agent.log");
    let mut process = Process::spawn("agent", command, Stdio::null(), &log);
    let socket = room.path().join("socket");
    let client = until("it answers", async || {
        Client::builder().socket(&socket).connect().await.ok()
    })
    .await;
    let account = v1::CreateAccountRequest::default();
    client.create_account(account).await.unwrap();
    process.terminate().await;
    assert!(!socket.exists());
    assert!(room.path().join("state").join("daemon.db").exists());
}

/// The state directory belongs to one process, and the one who comes second learns to whom.
#[tokio::test]
async fn a_second_agent_is_refused() {
    let room = room();
    let file = network_file(&room, "local", free_port());
    let mut a = Agent::new(&room, "a", &file);
    a.up().await;
    let said = a.up_refused().await;
    assert!(said.contains(&a.pid().to_string()), "{said}");
    // The first one did not notice, and its death frees the directory.
    a.create("a").await;
    a.kill();
    a.up().await;
}

#[tokio::test]
async fn a_database_of_another_network_is_refused() {
    let room = room();
    let port = free_port();
    let (one, other) = (
        network_file(&room, "one", port),
        network_file(&room, "other", port),
    );
    let mut a = Agent::new(&room, "a", &one);
    a.up().await;
    let id = a.create("a").await;
    a.stop().await;
    a.use_network(&other);
    let said = a.up_refused().await;
    assert!(said.contains("one"), "{said}");
    a.use_network(&one);
    a.up().await;
    let account = a.client().get_account(v1::GetAccountRequest::default());
    assert_eq!(account.await.unwrap().account.unwrap().account_id, id);
}

/// A wrong passphrase makes the account locked, not new.
#[tokio::test]
async fn locked_is_a_state() {
    let room = room();
    let file = network_file(&room, "local", free_port());
    let mut a = Agent::new(&room, "a", &file);
    a.up().await;
    let id = a.create("a").await;
    a.stop().await;
    let right = std::fs::read(a.passphrase_file()).unwrap();
    std::fs::write(a.passphrase_file(), "wrong").unwrap();
    a.up().await;

    let client = a.client();
    let info = client.get_info(v1::GetInfoRequest {}).await.unwrap();
    assert_eq!(info.state(), v1::DaemonState::Locked);
    assert_eq!(info.locked_reason, "WRONG_PASSPHRASE");
    let account = client.get_account(v1::GetAccountRequest::default()).await;
    let account = account.unwrap().account.unwrap();
    assert_eq!(account.state(), v1::AccountState::Locked);
    let locked = |outcome| assert_refused(outcome, Code::FailedPrecondition, "LOCKED");
    let send = crate::harness::send_request(&id, "x", "t");
    locked(client.send_message(send).await.map(drop));
    locked(client.sync(v1::SyncRequest::default()).await.map(drop));
    let list = v1::ListConversationsRequest::default();
    locked(client.list_conversations(list).await.map(drop));
    let phrases = v1::GetRecoveryPhraseRequest::default();
    locked(client.get_recovery_phrase(phrases).await.map(drop));
    let mut events = client.events(v1::SubscribeRequest::default());
    locked(events.next().await.unwrap().map(drop));
    assert_refused(
        a.unlock("").await,
        Code::PermissionDenied,
        "WRONG_PASSPHRASE",
    );
    // Neither a new account nor another one by its phrase may take its place.
    let create = v1::CreateAccountRequest::default();
    locked(client.create_account(create).await.map(drop));
    let other = a.try_restore(&["abbey"; 13].join(" ")).await;
    assert_refused(other, Code::FailedPrecondition, "ACCOUNT_EXISTS");
    a.network_status().await;

    a.stop().await;
    std::fs::write(a.passphrase_file(), right).unwrap();
    a.up().await;
    let account = a.client().get_account(v1::GetAccountRequest::default());
    assert_eq!(account.await.unwrap().account.unwrap().account_id, id);
}
