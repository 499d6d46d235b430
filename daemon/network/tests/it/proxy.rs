//! Through a SOCKS5 proxy: everything, with names unresolved, and nothing while it is down.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use session_localnet::socks::{SocksOptions, SocksProxy, Target};
use session_network::{ConnectionState, MemoryCache, Network, NetworkConfig, Proxy, SystemClock};

use crate::support::*;

/// A name that no name service has.
const SEED: &str = "seed.attic.invalid";

/// A proxy that alone knows where the seed is.
async fn proxy(world: &World, port: u16, login: Option<(&str, &str)>) -> SocksProxy {
    let seed = world.net.seed_url();
    let seed = seed.trim_start_matches("https://").parse().unwrap();
    SocksProxy::start(SocksOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        names: HashMap::from([(SEED.to_owned(), seed)]),
        login: login.map(|(user, password)| (user.to_owned(), password.to_owned())),
    })
    .await
    .unwrap()
}

async fn world() -> World {
    World::with(|options| options.seed_tls = true).await
}

/// The seed goes by a name.
fn config(world: &World, proxy: &str) -> NetworkConfig {
    let mut config = world.config();
    config.seeds[0].url = format!("https://{SEED}:4443");
    config.through(Proxy::from_url(proxy).unwrap())
}

fn start(config: NetworkConfig) -> Network {
    Network::start(config, Arc::new(MemoryCache::new()), Arc::new(SystemClock))
}

async fn trouble(network: &Network) -> &'static str {
    let status = until(network, "trouble", |status| {
        status.state == ConnectionState::Disconnected
    })
    .await;
    status.last_error.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn seeds_and_guards_and_nobody_else_are_reached_through_the_proxy() {
    let world = world().await;
    let proxy = proxy(&world, 0, None).await;
    let network = start(config(&world, &format!("socks5h://{}", proxy.address())));
    assert!(network.uses_proxy());
    connected(&network).await;
    let keys = account();
    for number in 0..5 {
        assert!(store(&network, &keys, &format!("m{number}")).await >= 4);
    }
    assert_eq!(retrieve(&network, &keys).await.messages.len(), 5);
    let asked = proxy.asked();
    assert_eq!(asked[0], Target::Name(SEED.to_owned(), 4443));
    let others: HashSet<Target> = asked[1..].iter().cloned().collect();
    let guards: HashSet<Target> = network
        .paths()
        .iter()
        .map(|path| Target::Address(SocketAddr::from((path.hops[0].ip, path.hops[0].port))))
        .collect();
    assert_eq!(others, guards);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_may_want_a_login() {
    let world = world().await;
    let proxy = proxy(&world, 0, Some(("alice", "s:cr@t"))).await;
    let address = proxy.address();
    let network = start(config(
        &world,
        &format!("socks5h://alice:s%3Acr%40t@{address}"),
    ));
    connected(&network).await;
    for login in ["", "alice:wrong@"] {
        let network = start(config(&world, &format!("socks5h://{login}{address}")));
        assert_eq!(trouble(&network).await, "PROXY_REFUSED");
        assert_eq!(network.status().node_count, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_goes_and_comes_back_costs_no_guard() {
    let world = world().await;
    let first = proxy(&world, 0, None).await;
    let address = first.address();
    let network = start(config(&world, &format!("socks5h://{address}")));
    connected(&network).await;
    let guards = |network: &Network| -> HashSet<[u8; 32]> {
        let paths = network.paths();
        paths.iter().map(|path| path.hops[0].ed25519).collect()
    };
    let before = guards(&network);
    let keys = account();
    store(&network, &keys, "before").await;

    first.stop().await;
    // The first request finds out.
    let failed = network
        .store(isolation(), &owner(&keys), &[item("lost")])
        .await;
    assert!(failed.is_err());
    assert_eq!(trouble(&network).await, "PROXY_UNREACHABLE");
    for _ in 0..5 {
        network.hurry();
        assert!(
            network
                .store(isolation(), &owner(&keys), &[item("lost")])
                .await
                .is_err()
        );
    }
    assert_eq!(trouble(&network).await, "PROXY_UNREACHABLE");

    let _second = proxy(&world, address.port(), None).await;
    network.hurry();
    connected(&network).await;
    assert_eq!(guards(&network), before);
    assert!(store(&network, &keys, "after").await >= 4);
}

/// A machine that slept has connections over which nothing comes any more, and nobody says so.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_sleep_paths_are_tested_over_new_connections_and_stay() {
    let world = world().await;
    let proxy = proxy(&world, 0, None).await;
    let mut config = config(&world, &format!("socks5h://{}", proxy.address()));
    // Whoever waits for an answer over an old connection waits longer than this test.
    config.times.probe = DEADLINE * 2;
    config.times.request = DEADLINE * 2;
    config.times.rotate = DEADLINE * 4;
    let network = start(config);
    connected(&network).await;
    eventually(async || network.clock_is_measured().then_some(())).await;
    let state = || {
        let paths = network.paths().into_iter();
        let mut state: Vec<_> = paths.map(|path| (path.id, path.last_success_ms)).collect();
        state.sort();
        state
    };
    let before = state();
    let asked = proxy.asked().len();
    proxy.freeze();
    network.disturbed();
    let after = eventually(async || {
        let now = state();
        let tested = now
            .iter()
            .zip(&before)
            .all(|(now, before)| now.1 > before.1);
        tested.then_some(now)
    })
    .await;
    let ids = |state: &[(String, Option<u64>)]| -> Vec<String> {
        state.iter().map(|(id, _)| id.clone()).collect()
    };
    assert_eq!(ids(&after), ids(&before));
    // One for each path.
    assert_eq!(proxy.asked().len() - asked, 2);
    assert_eq!(retrieve(&network, &account()).await.messages.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_proxy_is_never_got_round() {
    let world = world().await;
    // Something listens, hangs up or talks HTTP; the seed itself speaks TLS.
    let seed = world.net.seed_url();
    let seed = seed.trim_start_matches("https://");
    let mut config = world
        .config()
        .through(Proxy::from_url(&format!("socks5h://{seed}")).unwrap());
    config.times.probe = DEADLINE;
    let network = start(config);
    assert_eq!(trouble(&network).await, "PROXY_UNREACHABLE");
    assert_eq!(network.status().node_count, 0);
}
