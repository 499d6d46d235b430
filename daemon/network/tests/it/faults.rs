//! What breaks is noticed, and the work goes on another way.

use std::collections::HashSet;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::body::Bytes;
use serde_json::Value;
use session_localnet::{Faults, Target};
use session_network::{
    Cache as _, CacheRecord, HopInfo, HttpsTransport, MemoryCache, Network, NetworkConfig, Reply,
    Seed, SystemClock, Transport, TransportError,
};
use session_protocol::storage::Namespace;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_guard_costs_its_path_and_no_message() {
    let mut world = World::start().await;
    let network = world.client();
    let keys = account();
    connected(&network).await;
    let guard = network.paths()[0].hops[0].ed25519;
    world.net.stop_node(world.index(&guard)).await.unwrap();
    for number in 0..8 {
        assert!(store(&network, &keys, &format!("m{number}")).await >= 3);
    }
    until(&network, "all paths without the guard", |status| {
        status.path_count == 4
            && network
                .paths()
                .iter()
                .all(|path| path.hops.iter().all(|hop| hop.ed25519 != guard))
    })
    .await;
    assert_eq!(retrieve(&network, &keys).await.messages.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_behind_the_guard_is_found_out() {
    let mut world = World::start().await;
    let network = world.client();
    let keys = account();
    connected(&network).await;
    let edge = network.paths()[0].hops[2].ed25519;
    world.net.stop_node(world.index(&edge)).await.unwrap();
    for number in 0..8 {
        assert!(store(&network, &keys, &format!("m{number}")).await >= 3);
    }
    until(&network, "all paths without the node", |status| {
        status.path_count == 4
            && network
                .paths()
                .iter()
                .all(|path| path.hops.iter().all(|hop| hop.ed25519 != edge))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_swarm_members_are_passed_over() {
    // Enough other nodes that paths are found soon although no one tells which ones are dead.
    let mut world = World::with(|options| options.nodes = 30).await;
    let network = world.client();
    let keys = account();
    connected(&network).await;
    store(&network, &keys, "before").await;
    let home = retrieve(&network, &keys).await.node;
    let swarm = world.net.nodes()[world.index(&home)].swarm_id;
    let members: Vec<usize> = (0..world.net.nodes().len())
        .filter(|index| world.net.nodes()[*index].swarm_id == swarm)
        .collect();
    for index in &members[1..] {
        world.net.stop_node(*index).await.unwrap();
    }
    // One member is left, and one is enough. Every other one may be on a path or be asked before it.
    let page = eventually(async || {
        network
            .retrieve(
                isolation(),
                &keys,
                Namespace::DEFAULT,
                &Default::default(),
                None,
            )
            .await
            .ok()
    })
    .await;
    assert_eq!(texts(&page), ["before"]);
    assert_eq!(world.index(&page.node), members[0]);
    let stored = eventually(async || {
        let mut results = network
            .store(isolation(), &owner(&keys), &[item("after")])
            .await
            .ok()?;
        results.pop()?.ok()
    })
    .await;
    assert_eq!(stored.confirmed.len(), 1);
    assert_eq!(stored.asked, members.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_swarm_in_the_cache_is_corrected_by_its_nodes() {
    let world = World::start().await;
    let cache = Arc::new(MemoryCache::new());
    let network = world.client_with(cache.clone());
    connected(&network).await;
    network.shutdown().await;

    // Every node is now thought to be in the other swarm.
    let bytes = cache.load(CacheRecord::Nodes).await.unwrap();
    let mut record: Value = serde_json::from_slice(&bytes).unwrap();
    let nodes = record["content"]["nodes"].as_array_mut().unwrap();
    let mut ids: Vec<u64> = nodes
        .iter()
        .map(|node| node["swarm_id"].as_u64().unwrap())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() > 1);
    for node in nodes {
        let at = ids
            .binary_search(&node["swarm_id"].as_u64().unwrap())
            .unwrap();
        node["swarm_id"] = ids[(at + 1) % ids.len()].into();
    }
    let wrong = serde_json::to_vec(&record).unwrap();
    cache.save(CacheRecord::Nodes, wrong).await;

    let network = world.client_with(cache);
    let keys = account();
    assert!(store(&network, &keys, "where do I live").await >= 4);
    assert_eq!(texts(&retrieve(&network, &keys).await), ["where do I live"]);
    // Corrected once, not worked around each time.
    for number in 0..5 {
        store(&network, &keys, &format!("m{number}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_swarms_makes_the_client_ask() {
    let world = World::start().await;
    let cache = Arc::new(MemoryCache::new());
    let network = world.client_with(cache.clone());
    connected(&network).await;
    network.shutdown().await;
    let bytes = cache.load(CacheRecord::Nodes).await.unwrap();
    let mut record: Value = serde_json::from_slice(&bytes).unwrap();
    for node in record["content"]["nodes"].as_array_mut().unwrap() {
        node["swarm_id"] = Value::Null;
    }
    let without = serde_json::to_vec(&record).unwrap();
    cache.save(CacheRecord::Nodes, without).await;
    let network = world.client_with(cache);
    assert!(store(&network, &account(), "who has me").await >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn hops_behind_the_guards_change_and_the_list_is_renewed_over_the_onion() {
    let world = World::start().await;
    let cache = Arc::new(MemoryCache::new());
    let network = world.client_with(cache.clone());
    connected(&network).await;
    network.shutdown().await;
    let bytes = cache.load(CacheRecord::Nodes).await.unwrap();

    let mut config = world.config();
    // No seed from here on: a newer list can only come from nodes.
    config.seeds[0].url = "http://127.0.0.1:9".into();
    config.times.rotate = Duration::from_millis(500);
    config.times.refresh = Duration::from_millis(500);
    let network = Network::start(config, cache.clone(), Arc::new(SystemClock));
    connected(&network).await;
    let first = network.paths();
    eventually(async || {
        let now = network.paths();
        let kept = now.iter().all(|path| {
            let guard = path.hops[0];
            first.iter().any(|old| old.hops[0] == guard)
        });
        let new = now
            .iter()
            .all(|path| first.iter().all(|old| old.id != path.id));
        (now.len() >= 2 && kept && new).then_some(())
    })
    .await;
    eventually(async || {
        let saved = cache.load(CacheRecord::Nodes).await?;
        (saved != bytes).then_some(())
    })
    .await;
    let keys = account();
    for number in 0..10 {
        assert!(store(&network, &keys, &format!("m{number}")).await >= 4);
    }
}

/// Stores until ten are stored, through whatever goes wrong, and reads them all back.
async fn ten_messages_arrive(network: &Network) {
    let keys = account();
    for number in 0..10 {
        let text = format!("m{number}");
        eventually(async || {
            let mut results = network
                .store(isolation(), &owner(&keys), &[item(&text)])
                .await
                .ok()?;
            results.pop()?.ok()
        })
        .await;
    }
    let mut found = HashSet::new();
    eventually(async || {
        let none = Default::default();
        let asked = network.retrieve(isolation(), &keys, Namespace::DEFAULT, &none, None);
        found.extend(texts(&asked.await.ok()?));
        (found.len() == 10).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_frozen_members_stop_nobody() {
    let world = World::with(|options| options.nodes = 20).await;
    let network = world.client();
    connected(&network).await;
    let keys = account();
    store(&network, &keys, "before").await;
    let home = retrieve(&network, &keys).await.node;
    let nodes = world.net.nodes();
    let swarm = nodes[world.index(&home)].swarm_id;
    let members = (0..nodes.len()).filter(|index| nodes[*index].swarm_id == swarm);
    for index in members.take(2) {
        world
            .net
            .control()
            .set_node(index, Faults::frozen())
            .await
            .unwrap();
    }
    for number in 0..4 {
        let text = format!("m{number}");
        let receipt = eventually(async || {
            let mut results = network
                .store(isolation(), &owner(&keys), &[item(&text)])
                .await
                .ok()?;
            results.pop()?.ok()
        })
        .await;
        assert_eq!(receipt.missed.len(), 2);
    }
    ten_messages_arrive(&network).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_of_requests_lost_stops_nobody() {
    let world = World::with(|options| options.nodes = 14).await;
    let mut config = world.config();
    config.times.request = Duration::from_secs(1);
    config.times.store = Duration::from_secs(3);
    config.times.probe = Duration::from_secs(1);
    let cache = Arc::new(MemoryCache::new());
    let network = Network::start(config, cache, Arc::new(SystemClock));
    connected(&network).await;
    // A third of what goes through four nodes, one after the other.
    let lossy = Faults::loss(0.096);
    for index in 0..14 {
        world.net.control().set_node(index, lossy).await.unwrap();
    }
    ten_messages_arrive(&network).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_that_returns_garbage_is_found_out_and_named() {
    let world = World::with(|options| options.nodes = 16).await;
    let network = world.client();
    let keys = account();
    connected(&network).await;
    store(&network, &keys, "before").await;
    connected(&network).await;
    let path = network
        .paths()
        .into_iter()
        .find(|path| path.isolation != "agent")
        .unwrap();
    let middle = path.hops[1].ed25519;
    let faults = Faults::garbage();
    world
        .net
        .control()
        .set_node(world.index(&middle), faults)
        .await
        .unwrap();
    eventually(async || {
        let sent = network
            .store(isolation(), &owner(&keys), &[item("again")])
            .await;
        let mut paths = network.paths().into_iter();
        let gone = !paths.any(|path| path.hops.iter().any(|hop| hop.ed25519 == middle));
        (gone && sent.is_ok()).then_some(())
    })
    .await;
    let dropped = network.dropped_paths();
    let dropped = dropped
        .iter()
        .find(|dropped| dropped.path.id == path.id)
        .unwrap();
    assert_eq!((dropped.reason, dropped.hop), ("GARBAGE", Some(1)));
    ten_messages_arrive(&network).await;
}

/// What a guard does instead of passing a request on.
#[derive(Clone, Copy, PartialEq)]
enum Mischief {
    /// Takes it and is silent.
    Freeze,
    /// Answers by itself, unencrypted.
    Say(u16, &'static str),
    /// Names the destination as gone, whatever is asked.
    Forge,
}

/// The real transport, with one guard that misbehaves once it is told to.
struct BadGuard {
    real: HttpsTransport,
    guard: Mutex<Option<(SocketAddrV4, Mischief)>>,
    asked: AtomicUsize,
}

impl BadGuard {
    fn start(config: NetworkConfig) -> (Arc<Self>, Network) {
        let transport = Arc::new(Self {
            real: HttpsTransport::new(DEADLINE, None),
            guard: Mutex::new(None),
            asked: AtomicUsize::new(0),
        });
        let cache = Arc::new(MemoryCache::new());
        let network = Network::start_with(config, cache, Arc::new(SystemClock), transport.clone());
        (transport, network)
    }

    fn corrupt(&self, guard: HopInfo, mischief: Mischief) {
        let address = SocketAddrV4::new(guard.ip, guard.port);
        *self.guard.lock().unwrap() = Some((address, mischief));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Transport for BadGuard {
    fn onion(
        &self,
        guard: SocketAddrV4,
        body: Bytes,
    ) -> BoxFuture<'_, Result<Reply, TransportError>> {
        let bad = *self.guard.lock().unwrap();
        let Some((_, mischief)) = bad.filter(|(address, _)| *address == guard) else {
            return self.real.onion(guard, body);
        };
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (status, text) = match mischief {
            Mischief::Freeze => return std::future::pending().boxed(),
            Mischief::Say(status, text) => (status, text.to_owned()),
            Mischief::Forge => (502, format!("Next node not found: {}", "77".repeat(32))),
        };
        let body = Bytes::from(text);
        std::future::ready(Ok(Reply { status, body })).boxed()
    }

    fn seed<'a>(
        &'a self,
        seed: &'a Seed,
        body: Bytes,
    ) -> BoxFuture<'a, Result<Reply, TransportError>> {
        self.real.seed(seed, body)
    }

    fn close(&self) {
        self.real.close();
    }
}

/// One guard misbehaves; all messages arrive, over the other path, and nothing it says is believed.
async fn a_guard_that(mischief: Mischief) {
    let world = World::start().await;
    let mut config = world.config();
    config.times.probe = Duration::from_secs(1);
    let (transport, network) = BadGuard::start(config);
    let keys = account();
    connected(&network).await;
    let guard = network.paths()[0].hops[0];
    transport.corrupt(guard, mischief);
    let offset = network.clock_offset_ms();
    let mut number = 0;
    while transport.asked() == 0 || number < 10 {
        let confirmed = store(&network, &keys, &format!("m{number}")).await;
        assert!(confirmed >= 4, "a member was thrown out of the swarm");
        number += 1;
    }
    assert!(network.clock_offset_ms().abs_diff(offset) < 10_000);
    eventually(async || {
        // Requests find out about the path; a retrieve does not, if it happens to take the other one.
        store(&network, &keys, "again").await;
        let mut paths = network.paths().into_iter();
        (!paths.any(|path| path.hops[0] == guard)).then_some(())
    })
    .await;
    assert!(retrieve(&network, &keys).await.messages.len() > number);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_freezes_loses_its_path() {
    a_guard_that(Mischief::Freeze).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_claims_a_wrong_swarm_is_not_believed() {
    let empty = r#"{"snodes":[],"swarm":"ffffffffffffffff","t":4000000000000}"#;
    a_guard_that(Mischief::Say(421, empty)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_claims_a_wrong_clock_is_not_believed() {
    a_guard_that(Mischief::Say(406, r#"{"t":4000000000000}"#)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_claims_success_is_not_believed() {
    let stored = r#"{"status":200,"body":"{\"hash\":\"\",\"swarm\":{}}"}"#;
    a_guard_that(Mischief::Say(200, stored)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_names_strangers_is_not_believed() {
    a_guard_that(Mischief::Forge).await;
}

/// Nodes with a wrong clock refuse our time and tell another one, and whoever is asked for it next may be one of them.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_wrong_clocks_never_move_the_time() {
    let world = World::start().await;
    let mut config = world.config();
    config.times.resync = Duration::from_millis(1);
    let network = Network::start(config, Arc::new(MemoryCache::new()), Arc::new(SystemClock));
    connected(&network).await;
    eventually(async || network.clock_is_measured().then_some(())).await;
    let (control, keys) = (world.net.control(), account());
    let work = async {
        // One third after another.
        for wrong in [0..4, 4..8, 8..12] {
            control.reset().await.unwrap();
            for node in wrong.clone() {
                let hours = i64::try_from(node).unwrap() + 8;
                let faults = Faults::clock_offset(hours * 3_600_000);
                control.set_node(node, faults).await.unwrap();
            }
            for number in 0..20 {
                store(&network, &keys, &format!("m{number} {wrong:?}")).await;
                retrieve(&network, &keys).await;
            }
        }
    };
    let mut most = 0;
    let watch = async {
        loop {
            most = network.clock_offset_ms().unsigned_abs().max(most);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = watch => {}
    }
    let hits = |node| control.hits(Target::Node(node)).unwrap().wrong_clock;
    assert!((0..12).map(hits).sum::<u64>() > 12);
    assert!(most < 10_000, "{most} ms");
}
