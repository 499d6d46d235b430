//! LOCKED is a state: nothing is polled, sent or expired, nothing secret is in memory, and the socket stays.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use memchr::memmem::Finder;
use sessiond_client::v1;
use tonic::Code;

use crate::at_rest::{Secrets, keys_of};
use crate::harness::{
    Agent, Localnet, PASSPHRASE, assert_refused, bodies, cannot, ctl, run, until,
};

/// Everything that can be read of a process's memory. Needs root that may trace: the agent lets nobody else.
fn memory(pid: u32) -> Vec<Vec<u8>> {
    let mut memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        // What the kernel maps for itself cannot be read.
        if !rest.starts_with('r') || rest.contains("[vvar") || rest.contains("[vsyscall") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let (from, to) = (number(from), number(to));
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        memory.seek(SeekFrom::Start(from)).unwrap();
        // A mapping may reach beyond its file.
        let mut read = 0;
        while read < bytes.len() {
            match memory.read(&mut bytes[read..]) {
                Ok(0) | Err(_) => break,
                Ok(count) => read += count,
            }
        }
        bytes.truncate(read);
        all.push(bytes);
    }
    assert!(!all.is_empty(), "no memory of {pid} can be read");
    all
}

/// Which of the secrets are in a memory, by what they are.
fn found(memory: &[Vec<u8>], secrets: &Secrets) -> Vec<&'static str> {
    let mut found: Vec<&str> = secrets
        .iter()
        .filter(|(_, secret)| {
            let finder = Finder::new(secret);
            memory.iter().any(|bytes| finder.find(bytes).is_some())
        })
        .map(|(what, _)| *what)
        .collect();
    found.dedup();
    found
}

#[tokio::test]
async fn a_locked_process_holds_no_secret() {
    let net = Localnet::start().await;
    let (a, a_id) = Agent::with_account(&net, "a").await;
    if let Err(error) = File::open(format!("/proc/{}/mem", a.pid())) {
        return cannot(&format!(
            "the agent's memory, for root with CAP_SYS_PTRACE alone: {error}"
        ));
    }
    let (b, b_id) = Agent::with_account(&net, "b").await;
    let mut secrets = keys_of(&a).await;
    let mut sent = Vec::new();
    for number in 0..50 {
        let (out, back) = (
            format!("outgoing secret number {number:02} of fifty"),
            format!("incoming secret number {number:02} of fifty"),
        );
        sent.push(a.send(&b_id, &out).await.id);
        b.send(&a_id, &back).await;
        for text in [out, back] {
            secrets.push(("a text", text.into_bytes()));
        }
    }
    a.until_messages(&b_id, 100).await;
    for id in &sent {
        a.until_synced(id).await;
    }
    // That the search finds what is there: an open agent has its keys in memory, and texts it has just read.
    a.phrases().await;
    let open = found(&memory(a.pid()), &secrets);
    for what in ["the seed", "the database key", "a text"] {
        assert!(
            open.contains(&what),
            "an open agent has {what} in memory: {open:?}"
        );
    }

    let pid = a.pid();
    a.client().lock_and_wait().await.unwrap();
    assert_eq!(a.info().await.pid, pid);
    let locked = found(&memory(pid), &secrets);
    assert!(
        locked.is_empty(),
        "a locked agent has in memory: {locked:?}"
    );

    // A wrong passphrase leaves nothing either, and the right one brings all back.
    let wrong = a.unlock("not the passphrase").await;
    assert_refused(wrong, Code::PermissionDenied, "WRONG_PASSPHRASE");
    let locked = found(&memory(pid), &secrets);
    assert!(
        locked.is_empty(),
        "a locked agent has in memory: {locked:?}"
    );
    a.unlock("").await.unwrap();
    assert_eq!(a.messages(&b_id).await.len(), 100);
}

#[tokio::test]
async fn locked_is_deaf() {
    let net = Localnet::start().await;
    let (mut a, a_id) = Agent::with_account(&net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    b.send_stored(&a_id, "before").await;
    let before = a.until_messages(&b_id, 1).await;

    // As the API says it; the client library waits for the account instead.
    let mut events = a.client().event_log();
    let stream = events.subscribe(v1::SubscribeRequest::default()).await;
    let mut stream = stream.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    // Whoever knocks while the agent begins anew is let in.
    let knocking = Arc::new(AtomicBool::new(true));
    let (socket, go_on) = (a.socket(), Arc::clone(&knocking));
    let knocks = std::thread::spawn(move || {
        let mut knocks = 0;
        while go_on.load(Ordering::Relaxed) {
            if let Err(error) = std::os::unix::net::UnixStream::connect(&socket) {
                panic!("connection {knocks} was refused: {error}");
            }
            knocks += 1;
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        knocks
    });
    let locked = run(ctl(&a.socket(), &["lock"]), b"").await;
    assert_eq!(locked.code, Some(0), "{}", locked.err);
    knocking.store(false, Ordering::Relaxed);
    println!("{} connections while locking", knocks.join().unwrap());
    let end = loop {
        match stream.message().await {
            Ok(event) => assert!(event.is_some(), "a reason for the end"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::FailedPrecondition);
    let details = String::from_utf8_lossy(end.details()).into_owned();
    assert!(details.contains("LOCKED"), "{details}");

    let info = a.info().await;
    assert_eq!(
        (
            info.state(),
            info.locked_reason.as_str(),
            info.locked_warning.as_str()
        ),
        (v1::DaemonState::Locked, "LOCKED_BY_USER", "")
    );
    let since = info.locked_since.expect("since when");
    // Paths come up again, so that an unlock finds them; the swarm is not asked.
    until("paths while locked", async || {
        (a.network_status().await.path_count > 0).then_some(())
    })
    .await;
    b.send_stored(&a_id, "while locked").await;
    let send = crate::harness::send_request(&b_id, "x", "t");
    let refused = a.client().send_message(send).await;
    assert_refused(refused, Code::FailedPrecondition, "LOCKED");
    // Some polls long: a poll comes every second here.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert!(
        a.network_status().await.last_poll_time.is_none(),
        "it polled"
    );
    // Once more is no error, and starts nothing.
    a.client().lock_and_wait().await.unwrap();
    assert_eq!(a.info().await.locked_since, Some(since));

    // The right passphrase, typed.
    std::fs::remove_file(a.passphrase_file()).unwrap();
    let input = format!("{PASSPHRASE}\n");
    let unlocked = run(ctl(&a.socket(), &["unlock"]), input.as_bytes()).await;
    assert_eq!(unlocked.code, Some(0), "{}", unlocked.err);
    assert!(unlocked.out.contains(&a_id), "{}", unlocked.out);
    let messages = a.until_messages(&b_id, 2).await;
    assert_eq!(bodies(&messages), ["before", "while locked"]);
    assert_eq!(messages[0], before[0]);
    assert_eq!(a.info().await.locked_since, None);
    a.unlock("whatever, it is open").await.unwrap();

    // A lock ends with the service; without its passphrase it then waits for one.
    a.client().lock_and_wait().await.unwrap();
    a.kill();
    a.up().await;
    let info = a.info().await;
    assert_eq!(info.locked_reason, "VAULT_IO");
    a.stop().await;
    std::fs::write(a.passphrase_file(), PASSPHRASE).unwrap();
    a.up().await;
    a.until_ready().await;
}
