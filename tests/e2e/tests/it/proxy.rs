//! Promise 6: with a proxy set nothing leaves when it is down, and names are resolved by it alone. The agent runs behind
//! [`Walls`], where every packet that is not for the proxy is counted; the proxy tells whom it was asked for.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use session_localnet::socks::{SocksOptions, SocksProxy, Target};
use sessiond_client::v1;
use v1::{ConnectionState, SendState};

use crate::harness::{Agent, Localnet, Setup, Walls, bodies, room, until};

/// No name service has it.
const SEED: &str = "seed.attic.invalid";

/// The network file with the seed under a name that only the proxy knows, and the seed's address.
fn named(net: &Localnet) -> (PathBuf, SocketAddr) {
    let text = std::fs::read_to_string(&net.file).unwrap();
    let url = text.split('"').find(|part| part.starts_with("https://"));
    let url = url.expect("an https seed").to_owned();
    let file = net.room.path().join("named.toml");
    // Slower than usual: a path that misses its deadline on a busy machine would bring in another guard.
    let text = text.replace(&url, &format!("https://{SEED}:4443"));
    let text = text.replace("time_scale = 0.2", "time_scale = 0.5");
    std::fs::write(&file, text).unwrap();
    (file, url.trim_start_matches("https://").parse().unwrap())
}

async fn state(
    agent: &Agent,
    wanted: ConnectionState,
    error: &str,
) -> v1::GetNetworkStatusResponse {
    until("the connection is as it should be", async || {
        let status = agent.network_status().await;
        (status.state() == wanted && status.last_error == error).then_some(status)
    })
    .await
}

/// Guards of the paths in use, as the proxy is asked for them.
async fn guards(agent: &Agent) -> HashSet<Target> {
    let request = v1::ListPathsRequest {};
    let paths = agent.client().list_paths(request).await.unwrap().paths;
    let guard = |path: v1::Path| {
        let hop = &path.hops[0];
        let port = u16::try_from(hop.port).unwrap();
        Target::Address(SocketAddr::new(hop.ip_address.parse().unwrap(), port))
    };
    paths.into_iter().map(guard).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_gets_past_the_proxy() {
    let Some(walls) = Walls::build() else { return };
    let tls = Setup {
        tls: true,
        ..Setup::default()
    };
    let net = Localnet::with(room(), tls).await;
    let (file, seed) = named(&net);
    let listen = |port| SocksOptions {
        listen: SocketAddr::from((walls.proxy(), port)),
        names: HashMap::from([(SEED.to_owned(), seed)]),
        login: Some(("agent".to_owned(), "pass word".to_owned())),
    };
    let proxy = SocksProxy::start(listen(0)).await.unwrap();
    let port = proxy.address().port();
    let login = net.room.path().join("login");
    std::fs::write(&login, "agent:pass word\n").unwrap();

    let mut a = Agent::new(&net.room, "a", &file);
    a.within(walls.name());
    a.through(&format!("socks5h://{}:{port}", walls.proxy()), Some(&login));
    let (b, b_id) = Agent::with_account(&net, "b").await;
    let mut contacts = HashSet::new();

    // A first start, and an exchange.
    a.up().await;
    let a_id = a.create("a").await;
    let status = state(&a, ConnectionState::Connected, "").await;
    assert!(status.uses_proxy);
    a.send_stored(&b_id, "from behind the wall").await;
    b.until_messages(&a_id, 1).await;
    b.send_stored(&a_id, "and back").await;
    assert_eq!(bodies(&a.until_messages(&b_id, 2).await)[1], "and back");
    until("two paths", async || {
        (guards(&a).await.len() == 2).then_some(())
    })
    .await;
    contacts.extend(guards(&a).await);
    let asked = proxy.asked();
    assert_eq!(asked[0], Target::Name(SEED.to_owned(), 4443));
    let asked: HashSet<Target> = asked.into_iter().collect();
    contacts.insert(Target::Name(SEED.to_owned(), 4443));
    assert_eq!(
        asked, contacts,
        "the bootstrap list and guards, nobody else"
    );
    assert_eq!(walls.escaped(), 0);

    // The proxy goes. What is sent waits.
    proxy.stop().await;
    let waiting = a.send(&b_id, "later").await;
    state(&a, ConnectionState::Disconnected, "PROXY_UNREACHABLE").await;
    assert_eq!(
        a.message(&waiting.id).await.send_state(),
        SendState::Sending
    );
    assert_eq!(walls.escaped(), 0);

    // Also a start without it stays within the walls, with nodes and guards known from before.
    a.stop().await;
    let before = walls.to_proxy();
    a.up().await;
    state(&a, ConnectionState::Disconnected, "PROXY_UNREACHABLE").await;
    assert!(walls.to_proxy() > before, "it tried");
    assert_eq!(walls.escaped(), 0);

    // It comes back, and so does everything.
    let proxy = SocksProxy::start(listen(port)).await.unwrap();
    state(&a, ConnectionState::Connected, "").await;
    a.until_synced(&waiting.id).await;
    assert_eq!(bodies(&b.until_messages(&a_id, 3).await)[2], "later");
    assert!(
        proxy.asked().iter().all(|target| contacts.contains(target)),
        "other guards than before"
    );
    assert_eq!(walls.escaped(), 0);
    a.stop().await;
    let log = std::fs::read_to_string(a.log()).unwrap();
    assert!(!log.contains("pass word"));
}

/// What the kernel tells of a change reaches the agent, and its paths are tested, on a network that was idle.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_network_is_noticed() {
    let Some(walls) = Walls::build() else { return };
    let tls = Setup {
        tls: true,
        ..Setup::default()
    };
    let net = Localnet::with(room(), tls).await;
    let (file, seed) = named(&net);
    let proxy = SocksProxy::start(SocksOptions {
        listen: SocketAddr::from((walls.proxy(), 0)),
        names: HashMap::from([(SEED.to_owned(), seed)]),
        login: None,
    })
    .await
    .unwrap();
    let mut a = Agent::new(&net.room, "a", &file);
    a.within(walls.name());
    a.log_with("warn,sessiond::disturbance=debug");
    a.through(&format!("socks5h://{}", proxy.address()), None);
    // Without an account nothing is polled, so that only a test makes a path's last success newer.
    a.up().await;
    state(&a, ConnectionState::Connected, "").await;
    let told = || {
        let log = std::fs::read_to_string(a.log()).unwrap();
        log.matches("the network changed").count()
    };
    for change in [
        "link add far type veth peer name near",
        "addr add 10.99.0.1/24 dev far",
        "link set far up",
    ] {
        let (before, tested) = (told(), tested(&a).await);
        walls.change(change);
        until("the change is noticed", async || {
            (told() > before).then_some(())
        })
        .await;
        until("a path is tested", async || {
            (self::tested(&a).await > tested).then_some(())
        })
        .await;
    }
}

/// When something last came back over any path.
async fn tested(agent: &Agent) -> Option<(i64, i32)> {
    let request = v1::ListPathsRequest {};
    let paths = agent.client().list_paths(request).await.unwrap().paths;
    let times = paths.into_iter().filter_map(|path| path.last_success_time);
    times.map(|time| (time.seconds, time.nanos)).max()
}

/// The walls do notice: without the proxy the seed's name is looked up, and that is counted.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_proxy_the_walls_count() {
    let Some(walls) = Walls::build() else { return };
    let tls = Setup {
        tls: true,
        ..Setup::default()
    };
    let net = Localnet::with(room(), tls).await;
    let (file, _) = named(&net);
    let mut a = Agent::new(&net.room, "a", &file);
    a.within(walls.name());
    assert_eq!(walls.escaped(), 0);
    a.up().await;
    until("a packet is counted", async || {
        (walls.escaped() > 0).then_some(())
    })
    .await;
    assert_eq!(walls.to_proxy(), 0);
}
