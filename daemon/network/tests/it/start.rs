//! Starting: from seeds, from a cache, without either, and with a clock that is wrong.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use session_network::{
    Cache as _, CacheRecord, Clock as _, ConnectionState, LadderStep, MemoryCache, Network,
    NetworkConfig, NetworkError, SystemClock,
};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn two_disjoint_paths_over_different_subnets_are_built() {
    let world = World::start().await;
    let network = world.client();
    let status = connected(&network).await;
    assert_eq!(status.node_count, 12);
    assert_eq!(status.last_error, None);
    let mut keys = Vec::new();
    let mut subnets = Vec::new();
    for path in network.paths() {
        for hop in path.hops {
            keys.push(hop.ed25519);
            subnets.push(hop.ip.octets()[2]);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    subnets.sort_unstable();
    subnets.dedup();
    assert_eq!((keys.len(), subnets.len()), (6, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_on_one_address_need_diversity_off() {
    let world = World::with(|options| options.single_ip = true).await;
    connected(&world.client()).await;
    let mut config = world.config();
    config.subnet_diversity = true;
    let strict = Network::start(config, Arc::new(MemoryCache::new()), Arc::new(SystemClock));
    let status = until(&strict, "refusal", |status| {
        status.state == ConnectionState::Disconnected
    })
    .await;
    assert_eq!(status.last_error, Some("NO_DIVERSE_PATH"));

    // The user may allow it, and then it is done and said.
    let mut config = world.config();
    config.subnet_diversity = true;
    config.allow_same_subnet = true;
    let lenient = Network::start(config, Arc::new(MemoryCache::new()), Arc::new(SystemClock));
    let status = connected(&lenient).await;
    assert_eq!(status.relaxed, LadderStep::SameSubnet);
    assert_eq!(status.relaxed.name(), Some("SAME_SUBNET"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_needs_no_seed_and_keeps_its_guards() {
    let world = World::start().await;
    let cache = Arc::new(MemoryCache::new());
    let network = world.client_with(cache.clone());
    connected(&network).await;
    let guards = |network: &Network| {
        let mut guards: Vec<_> = network
            .paths()
            .iter()
            .map(|path| path.hops[0].ed25519)
            .collect();
        guards.sort_unstable();
        guards
    };
    let before = guards(&network);
    network.shutdown().await;

    let mut config = world.config();
    config.seeds[0].url = dead_url();
    let network = Network::start(config, cache, Arc::new(SystemClock));
    connected(&network).await;
    assert_eq!(guards(&network), before);
    let keys = account();
    assert!(store(&network, &keys, "without a seed").await >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cache_is_ignored() {
    let world = World::start().await;
    let other = br#"{"version":1,"network":"main","content":-86400000}"#;
    let twisted = br#"{"version":1,"network":"local","content":{"fetched_ms":0,"nodes":[{}]}}"#;
    for garbage in [&b"\xff\x00garbage"[..], b"", other, twisted] {
        let cache = Arc::new(CountingCache::default());
        for record in [
            CacheRecord::Nodes,
            CacheRecord::Guards,
            CacheRecord::ClockOffset,
            CacheRecord::Strikes,
        ] {
            cache.save(record, garbage.to_vec()).await;
        }
        let network = world.client_with(cache.clone());
        connected(&network).await;
        assert_eq!(cache.loads.load(Ordering::SeqCst), 3);
        assert!(network.clock_offset_ms().abs() < 60_000);
        network.shutdown().await;
        // What was damaged is replaced.
        let saved = cache.inner.load(CacheRecord::Nodes).await.unwrap();
        assert_ne!(saved, garbage);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_list_of_nodes_that_are_gone_leads_back_to_the_seed() {
    let old = World::start().await;
    let cache = Arc::new(MemoryCache::new());
    let network = old.client_with(cache.clone());
    connected(&network).await;
    network.shutdown().await;
    old.net.shutdown().await;

    // Another network of the same name: every cached key is wrong now.
    let world = World::start().await;
    let network = world.client_with(cache);
    connected(&network).await;
    assert!(store(&network, &account(), "moved").await >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_by_an_hour_or_a_day_does_no_harm() {
    let world = World::start().await;
    for wrong in [3_600_000, -3_600_000, 86_400_000, -86_400_000] {
        let clock = Arc::new(ShiftedClock::default());
        clock.0.store(wrong, Ordering::SeqCst);
        let cache = Arc::new(MemoryCache::new());
        let network = Network::start(world.config(), cache.clone(), clock.clone());
        let keys = account();
        assert!(store(&network, &keys, "what time is it").await >= 4);
        assert_eq!(texts(&retrieve(&network, &keys).await), ["what time is it"]);
        assert!((network.clock_offset_ms() + wrong).abs() < 30_000);
        network.shutdown().await;
        let saved = cache.load(CacheRecord::ClockOffset).await.unwrap();
        assert!(!saved.is_empty());

        // Known from the first moment of the next run on, also when the clock was set in between.
        for now_wrong in [wrong / 2, wrong] {
            clock.0.store(now_wrong, Ordering::SeqCst);
            let mut config = world.config();
            if now_wrong != wrong {
                // Nobody tells the time.
                config.times.poll = DEADLINE;
                config.seeds.clear();
                cache_without_nodes(&cache).await;
            }
            let network = Network::start(config, cache.clone(), clock.clone());
            network.restored().await;
            assert!((network.clock_offset_ms() + now_wrong).abs() < 30_000);
            assert!(network.now_ms().abs_diff(SystemClock.now_ms()) < 30_000);
            network.shutdown().await;
        }
        let network = Network::start(world.config(), cache, clock.clone());

        // Set while running: known at once, before anything is asked.
        connected(&network).await;
        clock.0.store(-wrong, Ordering::SeqCst);
        assert!(network.now_ms().abs_diff(SystemClock.now_ms()) < 30_000);
        assert!((network.clock_offset_ms() - wrong).abs() < 30_000);
        assert_eq!(texts(&retrieve(&network, &keys).await), ["what time is it"]);
        assert!((network.clock_offset_ms() - wrong).abs() < 30_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_is_a_state_and_ends_when_the_network_appears() {
    let port = free_port();
    let text =
        format!("seeds = [\"http://127.0.0.1:{port}\"]\nname = \"local\"\ntime_scale = 0.05\n");
    let mut config = NetworkConfig::from_toml(&text).unwrap();
    config.times.call = DEADLINE;
    config.times.request = DEADLINE;
    config.times.store = DEADLINE;
    config.times.probe = DEADLINE;
    let network = Network::start(config, Arc::new(MemoryCache::new()), Arc::new(SystemClock));
    let status = until(&network, "offline", |status| {
        status.state == ConnectionState::Disconnected
    })
    .await;
    assert_eq!(status.last_error, Some("SEEDS_UNREACHABLE"));
    let keys = account();
    let error = network
        .store(isolation(), &owner(&keys), &[item("wait")])
        .await
        .unwrap_err();
    assert_eq!(error, NetworkError::NoNodes);
    assert!(!error.had_path() && !error.is_permanent());

    let _world = World::with(|options| options.seed_port = port).await;
    network.hurry();
    connected(&network).await;
    assert!(store(&network, &keys, "wait").await >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_pinned_certificate_is_accepted() {
    let world = World::with(|options| options.seed_tls = true).await;
    assert!(world.config().seeds[0].pin.is_some());
    connected(&world.client()).await;

    let mut config = world.config();
    // A proper pin, of another key.
    config.seeds[0].pin = NetworkConfig::main().seeds[0].pin.clone();
    refused(config).await;
    let mut config = world.config();
    config.seeds[0].fingerprint = Some([7; 32]);
    refused(config).await;
    // Without any pin, which no file can say, nothing is trusted either.
    let mut config = world.config();
    config.seeds[0].pin = None;
    refused(config).await;
}

async fn refused(config: NetworkConfig) {
    let network = Network::start(config, Arc::new(MemoryCache::new()), Arc::new(SystemClock));
    let status = until(&network, "refusal", |status| {
        status.state == ConnectionState::Disconnected
    })
    .await;
    assert_eq!(status.last_error, Some("SEED_CERTIFICATE_REFUSED"));
    assert_eq!(status.node_count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_too_short_is_not_used() {
    let world = World::start().await;
    let mut config = world.config();
    config.min_nodes = 13;
    let network = Network::start(config, Arc::new(MemoryCache::new()), Arc::new(SystemClock));
    let status = until(&network, "refusal", |status| {
        status.state == ConnectionState::Disconnected
    })
    .await;
    assert_eq!(status.last_error, Some("TOO_FEW_NODES"));
}

/// Leaves the clock alone.
async fn cache_without_nodes(cache: &MemoryCache) {
    cache.save(CacheRecord::Nodes, Vec::new()).await;
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn dead_url() -> String {
    format!("http://127.0.0.1:{}", free_port())
}
