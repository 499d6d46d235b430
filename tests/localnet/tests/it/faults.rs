//! Each fault, as others see it, and that it ends.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use session_localnet::{Faults, Hits, LocalnetError, Target};
use session_protocol::onion::{self, Destination, EncType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Account, Net, START_MS, hop, rng, tls};

/// Long enough for an answer that comes, with ten times what it takes.
const SOON: Duration = Duration::from_secs(2);

async fn set(net: &Net, index: usize, faults: Faults) {
    net.network.control().set_node(index, faults).await.unwrap();
}

/// Whether a node answers at all.
async fn answers(net: &Net, index: usize) -> bool {
    let info = net.rpc(index, "info", json!({}));
    tokio::time::timeout(SOON, info).await.is_ok()
}

async fn held(net: &Net, index: usize, account: &Account) -> usize {
    let params = account.retrieve(0, START_MS);
    let (status, answer) = net.rpc(index, "retrieve", params).await;
    assert_eq!(status, 200, "{answer}");
    answer["messages"].as_array().unwrap().len()
}

async fn store(net: &Net, index: usize, account: &Account, data: &[u8]) -> (u16, Value) {
    let params = account.store(data, START_MS, 60_000);
    net.rpc(index, "store", params).await
}

/// What the entry node says about another member.
fn element<'a>(net: &Net, answer: &'a Value, index: usize) -> &'a Value {
    &answer["swarm"][hex::encode(net.node(index).ed25519)]
}

/// Sends `info` through a path; the plain answer of the guard, and whether it opens.
async fn through(net: &Net, path: [usize; 3], to: usize) -> (u16, Vec<u8>, bool) {
    let hops = path.map(|index| hop(net.node(index)));
    let destination = Destination::Node(hop(net.node(to)));
    let payload = json!({"method": "info", "params": {}}).to_string();
    let request = onion::build(
        &mut rng(),
        EncType::XChaCha20,
        &hops,
        &destination,
        payload.as_bytes(),
    )
    .unwrap();
    let (status, body) = net.post(path[0], "/onion_req/v2", request.body).await;
    let opens = request.reply.open_node(&body).is_ok();
    (status, body.to_vec(), opens)
}

#[tokio::test]
async fn down_means_that_nobody_listens() {
    let net = Net::start().await;
    let account = Account::new();
    let member = net.members(account.id())[0];
    assert_eq!(store(&net, member, &account, b"kept").await.0, 200);
    set(&net, member, Faults::down()).await;
    let address = net.node(member).address();
    assert!(TcpStream::connect(address).await.is_err());
    set(&net, member, Faults::default()).await;
    assert_eq!(held(&net, member, &account).await, 1);
}

#[tokio::test]
async fn frozen_means_accepted_and_never_answered() {
    let net = Net::with(|options| options.time_scale = 0.2).await;
    let account = Account::new();
    let members = net.members(account.id());
    let frozen = members[1];
    let mut open = tls(net.node(frozen).address()).await;
    set(&net, frozen, Faults::frozen()).await;

    // The kernel accepts; TLS does not begin.
    let address = net.node(frozen).address();
    TcpStream::connect(address).await.unwrap();
    assert!(tokio::time::timeout(SOON, tls(address)).await.is_err());
    // Nor is anything answered on a connection that was there before.
    let request = "POST /ping_test/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    open.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let read = tokio::time::timeout(SOON, open.read_exact(&mut answer));
    assert!(read.await.is_err());

    // A store takes as long as the entry node waits, and stands at the other members.
    let (status, answer) = store(&net, members[0], &account, b"missed").await;
    assert_eq!(status, 200);
    let expected = json!({"failed": true, "timeout": true});
    assert_eq!(element(&net, &answer, frozen), &expected);

    set(&net, frozen, Faults::default()).await;
    let mut answer = [0; 12];
    let read = tokio::time::timeout(SOON * 10, open.read_exact(&mut answer));
    read.await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert!(answers(&net, frozen).await);
    assert_eq!(held(&net, frozen, &account).await, 0);
    assert_eq!(held(&net, members[2], &account).await, 1);
}

#[tokio::test]
async fn a_slow_node_waits_before_each_request() {
    let net = Net::start().await;
    set(&net, 3, Faults::delay(700)).await;
    let start = Instant::now();
    assert_eq!(net.rpc(3, "info", json!({})).await.0, 200);
    assert!(start.elapsed() >= Duration::from_millis(700));
}

#[tokio::test]
async fn lost_requests_stay_unanswered_and_half_of_them_are_done() {
    let net = Net::with(|options| options.fault_seed = 5).await;
    let account = Account::new();
    let members = net.members(account.id());
    let lossy = members[0];
    set(&net, lossy, Faults::loss(1.0)).await;
    let stores = (0..24_u8).map(|number| {
        let (net, account) = (&net, &account);
        async move {
            let data = [number];
            let stored = store(net, lossy, account, &data);
            tokio::time::timeout(SOON, stored).await.is_ok()
        }
    });
    let answered = join_all(stores).await;
    assert!(answered.iter().all(|answered| !answered));
    set(&net, lossy, Faults::default()).await;
    // Which ones follows from the seed, however they overtook each other.
    let done = held(&net, members[1], &account).await;
    assert!((6..=18).contains(&done), "{done}");
    assert_eq!(held(&net, lossy, &account).await, done);
}

#[tokio::test]
async fn a_wrong_clock_shows_in_answers_checks_and_sweeps() {
    let net = Net::start().await;
    let account = Account::new();
    let members = net.members(account.id());
    let wrong = members[1];
    assert_eq!(store(&net, members[0], &account, b"early").await.0, 200);
    for hour in [3_600_000, -3_600_000] {
        set(&net, wrong, Faults::clock_offset(hour)).await;
        let (_, info) = net.rpc(wrong, "info", json!({})).await;
        assert_eq!(info["t"], json!(START_MS.saturating_add_signed(hour)));
        assert_eq!(info["timestamp"], info["t"]);
        let text = json!("Timestamp error: check your clock");
        assert_eq!(
            store(&net, wrong, &account, b"x").await,
            (406, text.clone())
        );
        let params = account.retrieve(0, START_MS);
        assert_eq!(net.rpc(wrong, "retrieve", params).await.0, 406);
        // Its swarm notices, and nobody else.
        let (status, answer) = store(&net, members[0], &account, b"x").await;
        assert_eq!(status, 200);
        let refused = json!({"failed": true, "code": "406", "reason": text});
        assert_eq!(element(&net, &answer, wrong), &refused);
    }
    // To a node that is ahead messages expire sooner.
    set(&net, wrong, Faults::clock_offset(3_600_000)).await;
    net.network.sweep().await;
    set(&net, wrong, Faults::default()).await;
    assert_eq!(held(&net, wrong, &account).await, 0);
    assert_eq!(held(&net, members[0], &account).await, 2);
}

#[tokio::test]
async fn a_node_that_is_not_ready_says_so_in_each_role() {
    let net = Net::start().await;
    let account = Account::new();
    let members = net.members(account.id());
    let bad = members[1];
    set(&net, bad, Faults::refuse()).await;
    let text = "Service node is not ready: not done syncing\n";
    assert_eq!(net.rpc(bad, "info", json!({})).await, (503, json!(text)));
    let others: Vec<usize> = (0..12).filter(|index| *index != bad).collect();
    let (status, body, _) = through(&net, [bad, others[0], others[1]], others[2]).await;
    assert_eq!((status, body.as_slice()), (503, text.as_bytes()));
    let named = format!("Snode not ready: {}", hex::encode(net.node(bad).ed25519));
    for (path, to) in [
        ([others[0], bad, others[1]], others[2]),
        ([others[0], others[1], bad], others[2]),
        ([others[0], others[1], others[2]], bad),
    ] {
        let (status, body, _) = through(&net, path, to).await;
        assert_eq!((status, body.as_slice()), (503, named.as_bytes()));
    }
    let (_, answer) = store(&net, members[0], &account, b"x").await;
    let refused = json!({"failed": true, "code": "503", "reason": text});
    assert_eq!(element(&net, &answer, bad), &refused);
    set(&net, bad, Faults::default()).await;
    assert!(
        through(&net, [bad, others[0], others[1]], others[2])
            .await
            .2
    );
}

#[tokio::test]
async fn garbage_opens_for_nobody_though_the_request_was_done() {
    let net = Net::start().await;
    let account = Account::new();
    let members = net.members(account.id());
    let bad = members[1];
    set(&net, bad, Faults::garbage()).await;
    let (status, answer) = store(&net, bad, &account, b"done").await;
    assert!(status == 200 && answer.is_string(), "{answer}");
    assert_eq!(held(&net, members[0], &account).await, 1);
    let (_, answer) = store(&net, members[0], &account, b"more").await;
    let unreadable = json!({"failed": true, "bad_peer_response": true});
    assert_eq!(element(&net, &answer, bad), &unreadable);

    let others: Vec<usize> = (0..12).filter(|index| *index != bad).collect();
    for (path, to) in [
        ([bad, others[0], others[1]], others[2]),
        ([others[0], bad, others[1]], others[2]),
        ([others[0], others[1], bad], others[2]),
        ([others[0], others[1], others[2]], bad),
    ] {
        let (status, body, opens) = through(&net, path, to).await;
        assert!(status == 200 && !opens && body.len() >= 64);
        let (_, other, _) = through(&net, path, to).await;
        assert_ne!(body, other);
    }
    set(&net, bad, Faults::default()).await;
    assert!(
        through(&net, [others[0], bad, others[1]], others[2])
            .await
            .2
    );
    assert_eq!(held(&net, bad, &account).await, 2);
}

#[tokio::test]
async fn a_member_can_miss_what_others_pass_on() {
    let net = Net::with(|options| options.time_scale = 0.1).await;
    let account = Account::new();
    let members = net.members(account.id());
    set(&net, members[1], Faults::misses_forwards()).await;
    let (_, answer) = store(&net, members[0], &account, b"passed on").await;
    let expected = json!({"failed": true, "timeout": true});
    assert_eq!(element(&net, &answer, members[1]), &expected);
    // It serves clients all the same.
    let (status, answer) = store(&net, members[1], &account, b"asked").await;
    assert_eq!((status, answer["hash"].is_string()), (200, true));
    assert_eq!(held(&net, members[1], &account).await, 1);
    assert_eq!(held(&net, members[0], &account).await, 2);
}

#[tokio::test]
async fn storage_is_lost_whether_the_node_runs_or_not() {
    let net = Net::start().await;
    let account = Account::new();
    let members = net.members(account.id());
    let control = net.network.control();
    assert_eq!(store(&net, members[0], &account, b"x").await.0, 200);
    control.lose_storage(members[1]).await.unwrap();
    assert_eq!(held(&net, members[1], &account).await, 0);
    set(&net, members[2], Faults::down()).await;
    control.lose_storage(members[2]).await.unwrap();
    set(&net, members[2], Faults::default()).await;
    assert_eq!(held(&net, members[2], &account).await, 0);
    assert_eq!(held(&net, members[0], &account).await, 1);
    // It goes on as a node that never had anything.
    let again = store(&net, members[1], &account, b"x").await.1;
    assert!(element(&net, &again, members[1])["hash"].is_string());
    assert_eq!(held(&net, members[1], &account).await, 1);
}

#[tokio::test]
async fn the_seed_has_faults_too() {
    let net = Net::start().await;
    let control = net.network.control();
    let url = net.network.seed_url();
    let address: std::net::SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
    let ask = async || {
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "get_n_service_nodes"}).to_string();
        let request =
            hyper::Request::post("/json_rpc").body(http_body_util::Full::new(body.into()));
        let asked = crate::support::http(address, request.unwrap());
        let (parts, body) = tokio::time::timeout(SOON, asked).await.ok()?;
        Some((parts.status.as_u16(), crate::support::json_or_text(&body)))
    };
    assert!(ask().await.unwrap().1["result"].is_object());
    control.set(Target::Seed, Faults::refuse()).await.unwrap();
    assert_eq!(ask().await.unwrap().0, 503);
    control.set(Target::Seed, Faults::garbage()).await.unwrap();
    assert!(ask().await.unwrap().1.is_string());
    control.set(Target::Seed, Faults::frozen()).await.unwrap();
    assert_eq!(ask().await, None);
    control.set(Target::Seed, Faults::down()).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    control.reset().await.unwrap();
    assert!(ask().await.unwrap().1["result"].is_object());
}

#[tokio::test]
async fn what_meets_a_fault_is_counted() {
    type Count = fn(&Hits) -> u64;
    let net = Net::start().await;
    let control = net.network.control();
    let hits = async |faults: Faults| {
        let before = control.hits(Target::Node(0)).unwrap();
        set(&net, 0, faults).await;
        drop(tokio::time::timeout(SOON, net.rpc(0, "info", json!({}))).await);
        set(&net, 0, Faults::default()).await;
        (before, control.hits(Target::Node(0)).unwrap())
    };
    let (before, after) = hits(Faults::default()).await;
    assert_eq!((before, after), (Hits::default(), Hits::default()));
    let counts: [(Faults, Count); 6] = [
        (Faults::frozen(), |hits| hits.frozen),
        (Faults::delay(1), |hits| hits.delayed),
        (Faults::loss(1.0), |hits| hits.lost),
        (Faults::clock_offset(9), |hits| hits.wrong_clock),
        (Faults::refuse(), |hits| hits.refused),
        (Faults::garbage(), |hits| hits.garbage),
    ];
    let all = |hits: &Hits| counts.iter().map(|(_, count)| count(hits)).sum::<u64>();
    for (faults, count) in counts {
        let (before, after) = hits(faults).await;
        let own = count(&after) - count(&before);
        assert!(own > 0, "{faults}: {after:?}");
        assert_eq!(all(&after) - all(&before), own, "{faults}: {after:?}");
    }
    assert_eq!(control.status().unwrap().nodes[0].hits.garbage, 1);
}

#[tokio::test]
async fn impossible_faults_and_nodes_are_refused_and_an_ended_network_stays_so() {
    let net = Net::start().await;
    let control = net.network.control();
    for faults in [Faults::loss(1.5), Faults::delay(u64::MAX)] {
        let refused = control.set_node(0, faults).await;
        assert!(matches!(refused, Err(LocalnetError::Faults(_))));
    }
    let refused = control.set_node(12, Faults::down()).await;
    assert!(matches!(refused, Err(LocalnetError::NoSuchNode(12))));
    control.set_node(1, Faults::down()).await.unwrap();
    let address = net.node(1).address();
    net.network.shutdown().await;
    // A node that is down would start now.
    let _ = control.set_node(1, Faults::default()).await;
    assert!(TcpStream::connect(address).await.is_err());
}
