//! A full disk and a read-only directory are states: told with a reason, without loss, and over by themselves.

use sessiond_client::{new_client_token, v1};
use tokio::net::UnixDatagram;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use v1::{DaemonState, DatabaseCheck};

use crate::harness::{
    Agent, Disk, DiskKind, LONG, Localnet, assert_refused, bodies, ctl, run, send_request, until,
};

/// Messages that do not fit into what a write-ahead log has left.
const MANY: usize = 150;

fn storage(info: &v1::GetInfoResponse) -> &v1::StorageStatus {
    info.storage.as_ref().unwrap()
}

async fn problem(agent: &Agent) -> String {
    storage(&agent.info().await).problem.clone()
}

/// What grpc.health.v1 says about accepting messages.
async fn serving(agent: &Agent) -> ServingStatus {
    let url = format!("unix:{}", agent.socket().display());
    let channel = tonic::transport::Endpoint::try_from(url).unwrap();
    let channel = channel.connect().await.unwrap();
    let request = HealthCheckRequest {
        service: "sessiond.v1.MessageService".to_owned(),
    };
    let answer = HealthClient::new(channel).check(request).await.unwrap();
    answer.into_inner().status()
}

/// Waits until a service manager is told this line; gives what was told with it.
async fn told(manager: &UnixDatagram, line: &str) -> String {
    let mut bytes = [0; 4096];
    let looked = async {
        loop {
            let length = manager.recv(&mut bytes).await.unwrap();
            let said = String::from_utf8_lossy(&bytes[..length]);
            if said.lines().any(|said| said == line) {
                return said.into_owned();
            }
        }
    };
    tokio::time::timeout(LONG, looked).await.expect(line)
}

/// Sends until it is refused; gives the error, and what was accepted.
async fn send_until_refused(agent: &Agent, to: &str) -> (sessiond_client::Error, Vec<String>) {
    let mut accepted = Vec::new();
    loop {
        let text = format!("{} {}", accepted.len(), "x".repeat(1_500));
        let request = send_request(to, &text, &new_client_token().unwrap());
        match agent.client().send_message(request).await {
            Ok(_) => accepted.push(text),
            Err(error) => return (error, accepted),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_nothing_for_good() {
    let net = Localnet::start().await;
    let mut a = Agent::new(&net.room, "a", &net.file);
    let Some(disk) = Disk::mount(&a.state_dir(), &DiskKind::Memory(24)) else {
        return;
    };
    a.up().await;
    let a_id = a.create("a").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    a.send_stored(&b_id, "before").await;
    assert_eq!(problem(&a).await, "");
    assert_eq!(serving(&a).await, ServingStatus::Serving);

    disk.fill();
    let (error, accepted) = send_until_refused(&a, &b_id).await;
    assert_eq!(
        (error.code(), error.reason()),
        (Code::ResourceExhausted, Some("DISK_FULL")),
        "{error}"
    );
    assert_eq!(problem(&a).await, "DISK_FULL");
    assert_eq!(serving(&a).await, ServingStatus::NotServing);
    let status = run(ctl(&a.socket(), &["status"]), b"").await;
    assert!(status.out.contains("DISK_FULL"), "{status:?}");
    let doctor = run(ctl(&a.socket(), &["--json", "doctor"]), b"").await;
    let line = doctor.out.lines().find(|line| line.contains("\"storage\""));
    assert!(line.unwrap().contains("FAILED"), "{doctor:?}");
    assert_eq!(doctor.code, Some(1));

    // What arrives meanwhile stays in the swarm. Reading goes on.
    for number in 0..MANY {
        b.send_stored(&a_id, &format!("meanwhile {number}")).await;
    }
    assert_refused(
        a.client().sync(v1::SyncRequest::default()).await,
        Code::ResourceExhausted,
        "DISK_FULL",
    );
    assert!(a.messages(&b_id).await.len() > accepted.len());

    // It is over by itself.
    disk.empty();
    until("there is room", async || {
        problem(&a).await.is_empty().then_some(())
    })
    .await;
    let received = a.until_messages(&b_id, 1 + accepted.len() + MANY).await;
    let meanwhile: Vec<String> = (0..MANY)
        .map(|number| format!("meanwhile {number}"))
        .collect();
    let incoming: Vec<_> = received
        .iter()
        .filter(|message| message.direction() == v1::MessageDirection::Incoming)
        .cloned()
        .collect();
    assert_eq!(bodies(&incoming), meanwhile);
    assert_eq!(serving(&a).await, ServingStatus::Serving);
    // What was accepted is sent, what was refused is not.
    let sent = b.until_messages(&a_id, 1 + accepted.len() + MANY).await;
    assert_eq!(sent.len(), 1 + accepted.len() + MANY);
    a.send_stored(&b_id, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_room_comes_up_and_opens_the_account_later() {
    let net = Localnet::start().await;
    let mut a = Agent::new(&net.room, "a", &net.file);
    let Some(disk) = Disk::mount(&a.state_dir(), &DiskKind::Memory(24)) else {
        return;
    };
    a.up().await;
    let a_id = a.create("a").await;
    a.send_stored(&a_id, "kept").await;
    a.stop().await;
    disk.fill();
    a.up().await;
    let info = a.info().await;
    assert_eq!(
        (info.state(), info.locked_reason.as_str()),
        (DaemonState::Locked, "DISK_FULL")
    );
    disk.empty();
    a.until_ready().await;
    assert_eq!(bodies(&a.messages(&a_id).await), ["kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_directory_is_told_and_is_over_by_itself() {
    let net = Localnet::start().await;
    let mut a = Agent::new(&net.room, "a", &net.file);
    let Some(disk) = Disk::mount(&a.state_dir(), &DiskKind::Ext4(32)) else {
        return;
    };
    a.up().await;
    let a_id = a.create("a").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    a.send_stored(&b_id, "before").await;

    disk.freeze(true);
    let (error, accepted) = send_until_refused(&a, &b_id).await;
    assert_eq!(
        (error.code(), error.reason()),
        (Code::FailedPrecondition, Some("STORAGE_READ_ONLY")),
        "{error}"
    );
    assert_eq!(accepted, Vec::<String>::new());
    assert_eq!(problem(&a).await, "STORAGE_READ_ONLY");
    b.send_stored(&a_id, "meanwhile").await;
    assert_eq!(bodies(&a.messages(&b_id).await), ["before"]);

    disk.freeze(false);
    until("it can be written", async || {
        problem(&a).await.is_empty().then_some(())
    })
    .await;
    let messages = a.until_messages(&b_id, 2).await;
    assert_eq!(bodies(&messages), ["before", "meanwhile"]);
    a.send_stored(&b_id, "after").await;

    // From the start.
    a.stop().await;
    disk.read_only(true);
    let manager = net.room.path().join("manager");
    a.tells(&manager);
    let manager = UnixDatagram::bind(manager).unwrap();
    a.begin();
    until("it says why it waits", async || {
        let log = std::fs::read_to_string(a.log()).unwrap();
        log.contains("the start waits").then_some(())
    })
    .await;
    // A service manager would end it after its time for a start, which is asked for anew again and again.
    for round in 0..3 {
        let said = told(&manager, "EXTEND_TIMEOUT_USEC=60000000").await;
        assert!(said.contains("WATCHDOG=1"), "round {round}: {said}");
    }
    disk.read_only(false);
    a.until_up().await;
    told(&manager, "READY=1").await;
    a.until_ready().await;
    assert_eq!(a.messages(&b_id).await.len(), 3);
}

#[tokio::test]
async fn an_unclean_stop_is_noticed_and_the_database_checked() {
    let net = Localnet::start().await;
    let (mut a, a_id) = Agent::with_account(&net, "a").await;
    a.send_stored(&a_id, "kept").await;
    let checked = async |agent: &Agent| {
        until("the database is checked", async || {
            let info = agent.info().await;
            (storage(&info).check() == DatabaseCheck::Sound).then_some(info)
        })
        .await
    };
    assert!(!storage(&checked(&a).await).unclean_stop);
    a.stop().await;
    a.up().await;
    let info = checked(&a).await;
    let before = storage(&info).check_time;
    assert!(!storage(&info).unclean_stop, "a clean stop");
    a.kill();
    a.up().await;
    let info = checked(&a).await;
    assert!(storage(&info).unclean_stop, "a kill");
    assert_eq!(info.state(), DaemonState::Ready);
    until("it is checked again", async || {
        (storage(&a.info().await).check_time != before).then_some(())
    })
    .await;
    let status = run(ctl(&a.socket(), &["status"]), b"").await;
    assert!(status.out.contains("did not end cleanly"), "{status:?}");
    // Locking closes it.
    a.client().lock(v1::LockRequest::default()).await.unwrap();
    until("it is locked", async || {
        let info = a.client().get_info(v1::GetInfoRequest {}).await.ok()?;
        (info.state() == DaemonState::Locked).then_some(())
    })
    .await;
    a.unlock("").await.unwrap();
    assert!(!storage(&a.info().await).unclean_stop);
}
