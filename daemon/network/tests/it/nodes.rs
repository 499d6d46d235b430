//! Which nodes are believed to exist: renewed by what nodes agree on, rebuilt when the cache is worth nothing, begun
//! from a bundled list when no seed answers.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::body::Bytes;
use serde_json::{Value, json};
use session_localnet::NodeInfo;
use session_network::{
    Cache as _, CacheRecord, ConnectionState, HttpsTransport, MemoryCache, Network, NetworkConfig,
    Reply, Seed, SystemClock, Transport, TransportError,
};

use crate::support::*;

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

/// The real transport, counting. A list of nodes can only come from nodes or a bundled list where the seed is dead.
struct Counting {
    real: HttpsTransport,
    onions: AtomicUsize,
    seeds: AtomicUsize,
    guards: Mutex<HashSet<SocketAddrV4>>,
}

impl Transport for Counting {
    fn onion(
        &self,
        guard: SocketAddrV4,
        body: Bytes,
    ) -> BoxFuture<'_, Result<Reply, TransportError>> {
        self.onions.fetch_add(1, Ordering::SeqCst);
        self.guards.lock().unwrap().insert(guard);
        self.real.onion(guard, body)
    }

    fn seed<'a>(
        &'a self,
        seed: &'a Seed,
        body: Bytes,
    ) -> BoxFuture<'a, Result<Reply, TransportError>> {
        self.seeds.fetch_add(1, Ordering::SeqCst);
        self.real.seed(seed, body)
    }

    fn close(&self) {
        self.real.close();
    }
}

fn counting(config: NetworkConfig, cache: Arc<MemoryCache>) -> (Arc<Counting>, Network) {
    let transport = Arc::new(Counting {
        real: HttpsTransport::new(DEADLINE, None),
        onions: AtomicUsize::new(0),
        seeds: AtomicUsize::new(0),
        guards: Mutex::default(),
    });
    let network = Network::start_with(config, cache, Arc::new(SystemClock), transport.clone());
    (transport, network)
}

async fn record(cache: &MemoryCache, record: CacheRecord) -> Option<Value> {
    let bytes = cache.load(record).await?;
    serde_json::from_slice(&bytes).ok()
}

/// Names of the nodes in the saved list.
async fn saved(cache: &MemoryCache) -> HashSet<String> {
    let list = record(cache, CacheRecord::Nodes).await.unwrap();
    let nodes = list["content"]["nodes"].as_array().unwrap();
    let name = |node: &Value| node["ed25519"].as_str().unwrap().to_owned();
    nodes.iter().map(name).collect()
}

async fn renewed_ms(cache: &MemoryCache) -> u64 {
    let list = record(cache, CacheRecord::Nodes).await;
    list.map_or(0, |list| list["content"]["fetched_ms"].as_u64().unwrap())
}

/// A cache with everything that a first run leaves.
async fn used_cache(world: &World) -> Arc<MemoryCache> {
    let cache = Arc::new(MemoryCache::new());
    let network = world.client_with(cache.clone());
    connected(&network).await;
    network.shutdown().await;
    cache
}

/// Changes all nodes of the saved list.
async fn spoil(cache: &MemoryCache, change: impl Fn(usize, &mut Value)) {
    let mut list = record(cache, CacheRecord::Nodes).await.unwrap();
    let nodes = list["content"]["nodes"].as_array_mut().unwrap();
    for (index, node) in nodes.iter_mut().enumerate() {
        change(index, node);
    }
    let bytes = serde_json::to_vec(&list).unwrap();
    cache.save(CacheRecord::Nodes, bytes).await;
}

/// A node that is nowhere.
fn invented(number: u8) -> NodeInfo {
    NodeInfo {
        ip: Ipv4Addr::new(127, 0, 200, number),
        port: 1,
        ed25519: [number; 32],
        x25519: [number; 32],
        swarm_id: 0,
    }
}

/// Renews the list again and again over the onion. Every third node lies as `lie` says; what is saved each time must be
/// the truth. Lists in which two of three sources were liars are nobody's promise, so only one lies at a time.
async fn renewed_against(binary: bool, lie: impl Fn(&[NodeInfo]) -> Vec<NodeInfo>) {
    let world = World::with(|options| {
        options.nodes = 16;
        options.active_nodes_bin = binary;
    })
    .await;
    let cache = used_cache(&world).await;
    let truth: HashSet<String> = saved(&cache).await;
    assert_eq!(truth.len(), 16);
    let mut config = world.config();
    config.min_nodes = 12;
    config.seeds[0].url = NOWHERE.into();
    config.times.refresh = Duration::from_millis(200);
    let (transport, network) = counting(config, cache.clone());
    connected(&network).await;
    for liar in 0..4 {
        let nodes = world.net.nodes().to_vec();
        world.net.lie(liar, Some(lie(&nodes))).unwrap();
        for _ in 0..3 {
            let before = renewed_ms(&cache).await;
            eventually(async || (renewed_ms(&cache).await > before).then_some(())).await;
            assert_eq!(saved(&cache).await, truth);
        }
        world.net.lie(liar, None).unwrap();
    }
    assert_eq!(transport.seeds.load(Ordering::SeqCst), 0);
    assert!(store(&network, &account(), "still there").await >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_liar_brings_no_node_in() {
    let add = |nodes: &[NodeInfo]| {
        let invented = (1..=20).map(invented);
        nodes.iter().cloned().chain(invented).collect()
    };
    renewed_against(false, add).await;
    renewed_against(true, add).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_liar_takes_no_node_out_and_moves_none() {
    // Twelve are enough to be taken seriously.
    renewed_against(true, |nodes| nodes[..12].to_vec()).await;
    renewed_against(false, |nodes| {
        let moved = |node: &NodeInfo| NodeInfo {
            port: 1,
            ..node.clone()
        };
        nodes.iter().map(moved).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_on_which_nodes_do_not_agree_is_not_taken() {
    let world = World::start().await;
    let cache = used_cache(&world).await;
    let before = record(&cache, CacheRecord::Nodes).await;
    // Each node tells something else; any two agree on ten nodes at most.
    for index in 0..world.net.nodes().len() {
        let mut nodes = world.net.nodes().to_vec();
        nodes[index] = invented(u8::try_from(index + 1).unwrap());
        let other = (index + 1) % nodes.len();
        nodes[other] = invented(u8::try_from(index + 101).unwrap());
        world.net.lie(index, Some(nodes)).unwrap();
    }
    let mut config = world.config();
    config.seeds[0].url = NOWHERE.into();
    config.times.refresh = Duration::from_millis(200);
    let (transport, network) = counting(config, cache.clone());
    connected(&network).await;
    // A seed is asked only after nodes were.
    eventually(async || (transport.seeds.load(Ordering::SeqCst) > 1).then_some(())).await;
    let status = network.status();
    assert_eq!((status.node_count, status.path_count), (12, 2));
    let after = record(&cache, CacheRecord::Nodes).await;
    let nodes = |list: Option<Value>| list.unwrap()["content"]["nodes"].clone();
    let names = |list: &Value| -> HashSet<String> {
        let nodes = list.as_array().unwrap().iter();
        nodes.map(|node| node["ed25519"].to_string()).collect()
    };
    assert_eq!(names(&nodes(after)), names(&nodes(before)));
}

/// Most requests to guards that a cache full of nothing may cost: two guards are asked for themselves, each of two paths
/// is tried three times, and each time four more requests tell where it broke, before the list is doubted, and built
/// once from the new one. The rest is for a machine too busy to answer a test in time.
const MOST_ONIONS: usize = 2 + 2 * 3 * (1 + 4) + 2 + 8;

/// With such a cache the layer connects, soon and with a new list.
async fn recovers(world: &World, cache: Arc<MemoryCache>) {
    let (transport, network) = counting(world.config(), cache.clone());
    connected(&network).await;
    let onions = transport.onions.load(Ordering::SeqCst);
    assert!(onions <= MOST_ONIONS, "{onions} requests");
    assert_eq!(transport.seeds.load(Ordering::SeqCst), 1);
    assert!(store(&network, &account(), "recovered").await >= 4);
    network.shutdown().await;
    let truth: HashSet<String> = world
        .net
        .nodes()
        .iter()
        .map(|node| hex::encode(node.ed25519))
        .collect();
    assert_eq!(saved(&cache).await, truth);
    // Rebuilt for good: the next start needs no seed.
    let (transport, network) = counting(world.config(), cache);
    connected(&network).await;
    assert_eq!(transport.seeds.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_of_dead_nodes_does_not_block_a_start() {
    let world = World::start().await;
    let cache = used_cache(&world).await;
    spoil(&cache, |_, node| node["port"] = 9.into()).await;
    recovers(&world, cache).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_of_strangers_does_not_block_a_start() {
    let world = World::start().await;
    let cache = used_cache(&world).await;
    spoil(&cache, |index, node| {
        // Live addresses, wrong keys.
        let key = format!("{:064x}", index + 1);
        node["ed25519"] = key.clone().into();
        node["x25519"] = key.into();
    })
    .await;
    recovers(&world, cache).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strikes_against_every_node_do_not_block_a_start() {
    let world = World::start().await;
    let cache = used_cache(&world).await;
    spoil(&cache, |_, node| node["port"] = 9.into()).await;
    let list = record(&cache, CacheRecord::Nodes).await.unwrap();
    let now = list["content"]["fetched_ms"].clone();
    let nodes = list["content"]["nodes"].as_array().unwrap();
    let struck: Vec<Value> = nodes
        .iter()
        .map(|node| json!({"key": node["ed25519"], "strikes": 3, "last_ms": now}))
        .collect();
    let strikes = json!({"version": 1, "network": "local", "content": struck});
    let bytes = serde_json::to_vec(&strikes).unwrap();
    cache.save(CacheRecord::Strikes, bytes).await;
    recovers(&world, cache).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strikes_survive_a_restart() {
    let mut world = World::with(|options| options.nodes = 24).await;
    let cache = used_cache(&world).await;
    let mut config = world.config();
    config.min_nodes = 12;
    let (_, network) = counting(config.clone(), cache.clone());
    connected(&network).await;
    let dead = network.paths()[0].hops[0];
    world
        .net
        .stop_node(world.index(&dead.ed25519))
        .await
        .unwrap();
    let keys = account();
    eventually(async || {
        store(&network, &keys, "strike").await;
        let paths = network.paths();
        (paths.len() == 4 && paths.iter().all(|path| path.hops[0] != dead)).then_some(())
    })
    .await;
    network.shutdown().await;
    let strikes = record(&cache, CacheRecord::Strikes).await.unwrap();
    let struck = strikes["content"].as_array().unwrap().iter();
    let key = hex::encode(dead.ed25519);
    assert!(
        struck.clone().any(|struck| struck["key"] == key.as_str()),
        "{strikes}"
    );
}

fn bundle(nodes: &[NodeInfo]) -> Vec<u8> {
    let state = |node: &NodeInfo| {
        json!({
            "public_ip": node.ip.to_string(),
            "storage_port": node.port,
            "pubkey_ed25519": hex::encode(node.ed25519),
            "pubkey_x25519": hex::encode(node.x25519),
            "swarm_id": node.swarm_id,
            "requested_unlock_height": 0,
        })
    };
    let states: Vec<Value> = nodes.iter().map(state).collect();
    let list =
        json!({"service_node_states": states, "height": 1_500_000, "build_time": 1_700_000_000});
    serde_json::to_vec(&list).unwrap()
}

fn with_bundle(config: NetworkConfig, nodes: &[NodeInfo]) -> NetworkConfig {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bundle(nodes)).unwrap();
    config.with_node_list(file.path()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundled_list_is_used_when_no_seed_answers() {
    let world = World::start().await;
    let mut config = world.config();
    config.seeds[0].url = NOWHERE.into();
    let config = with_bundle(config, world.net.nodes());
    // Without a past, and with one of which nothing is left.
    let poisoned = used_cache(&world).await;
    spoil(&poisoned, |_, node| node["port"] = 9.into()).await;
    for cache in [Arc::new(MemoryCache::new()), poisoned] {
        let (transport, network) = counting(config.clone(), cache.clone());
        connected(&network).await;
        assert!(transport.seeds.load(Ordering::SeqCst) >= 1);
        assert!(store(&network, &account(), "without seeds").await >= 4);
        // What was bundled is old, so that it is renewed at once, by consensus.
        eventually(async || (renewed_ms(&cache).await > 0).then_some(())).await;
        let guards = transport.guards.lock().unwrap().clone();
        assert!(guards.len() <= 6 + 4, "{guards:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundled_list_is_left_alone_while_a_seed_answers() {
    let world = World::start().await;
    let invented: Vec<NodeInfo> = (1..=12).map(invented).collect();
    let config = with_bundle(world.config(), &invented);
    let (transport, network) = counting(config, Arc::new(MemoryCache::new()));
    connected(&network).await;
    let addresses: HashSet<SocketAddrV4> = world
        .net
        .nodes()
        .iter()
        .map(|node| SocketAddrV4::new(node.ip, node.port))
        .collect();
    assert!(transport.guards.lock().unwrap().is_subset(&addresses));
}

#[tokio::test(flavor = "multi_thread")]
async fn being_offline_costs_neither_list_nor_guards() {
    let mut world = World::start().await;
    let cache = used_cache(&world).await;
    let before = saved(&cache).await;
    let guards = record(&cache, CacheRecord::Guards).await.unwrap();
    for index in 0..12 {
        world.net.stop_node(index).await.unwrap();
    }
    let mut config = world.config();
    config.seeds[0].url = NOWHERE.into();
    let invented: Vec<NodeInfo> = (1..=12).map(invented).collect();
    let (transport, network) = counting(with_bundle(config, &invented), cache.clone());
    until(&network, "offline", |status| {
        status.state == ConnectionState::Disconnected
    })
    .await;
    eventually(async || {
        network.hurry();
        (transport.seeds.load(Ordering::SeqCst) >= 1).then_some(())
    })
    .await;
    for index in 0..12 {
        world.net.start_node(index).await.unwrap();
    }
    network.hurry();
    connected(&network).await;
    network.shutdown().await;
    assert_eq!(saved(&cache).await, before);
    let after = record(&cache, CacheRecord::Guards).await.unwrap();
    let keys = |record: &Value| -> HashSet<String> {
        let list = record["content"]["list"].as_array().unwrap().iter();
        list.map(|guard| guard["key"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(keys(&after).is_superset(&keys(&guards)), "{guards} {after}");
}
