//! A simulated network under the real engine: thousands of little worlds, each from one number, in virtual time.
//!
//! Only encryption and HTTPS are left out: [`Sim`] stands in for them, and the engine, its task and its calls are the
//! real ones. A world has nodes with faults that change once; an account polls all the while. What must hold is said
//! by the tests. A failing world is named by its seed: `SESSION_SIM_SEED=n` repeats it alone, `SESSION_SIM_WORLDS=n`
//! runs more of them.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, pending};
use hyper::body::Bytes;
use rand_core::{Infallible, TryRng};
use serde_json::json;
use session_localnet::SplitMix;
use session_protocol::onion::NodeAnswer;
use session_protocol::storage::request;
use session_protocol::{Identifier, Prefix};
use tokio::time::{Instant, sleep};

use crate::cache::{Cache, CacheRecord, MemoryCache};
use crate::clock::Clock;
use crate::config::NetworkConfig;
use crate::engine::Engine;
use crate::fault::Fault;
use crate::isolation::IsolationKey;
use crate::network::Network;
use crate::onion::{Carrier, SendError};
use crate::pool::{Node, NodeKey};
use crate::random::{self, Choices};
use crate::state::millis;
use crate::sync::lock;
use crate::times::Times;
use crate::transport::{Reply, Transport, TransportError};

/// When the simulated nodes' clocks start, Unix ms.
const EPOCH: u64 = 1_790_000_000_000;

/// Worlds of one kind in an ordinary run.
const WORLDS: u64 = 200;

/// A generator that gives the same numbers everywhere.
struct Seeded(SplitMix);

impl TryRng for Seeded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let wide = self.try_next_u64()?;
        Ok(u32::try_from(wide >> 32).unwrap())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.draw())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = self.try_next_u64()?.to_be_bytes()[0];
        }
        Ok(())
    }
}

/// What a node does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Vice {
    /// Refuses connections; the node before it says so, or only after half a minute.
    Dead,
    /// Takes everything and is silent.
    Frozen,
    /// Answers garbage to everything.
    Garbage,
    /// Answers for itself, and says of what it should pass on that the next node is gone.
    Liar,
    /// Answers for itself and loses what it should pass on.
    BlackHole,
    /// Loses a third of everything.
    Lossy,
    /// Takes a second for everything.
    Slow,
    /// Passes everything on, and as a destination is silent, or answers garbage, or accuses the node before it.
    BadEnd,
}

impl Vice {
    /// A path through such a node does not work.
    fn breaks_paths(self) -> bool {
        use Vice::{BlackHole, Dead, Frozen, Garbage, Liar};
        matches!(self, Dead | Frozen | Garbage | Liar | BlackHole)
    }
}

struct Sim {
    nodes: Vec<Node>,
    vices: Mutex<HashMap<NodeKey, Vice>>,
    rng: Mutex<Seeded>,
    began: Instant,
    /// Whether the machine has no network at all.
    offline: Mutex<bool>,
    requests: AtomicUsize,
    /// How far the local clock is off, ms.
    clock_error: Mutex<i64>,
}

impl Sim {
    fn new(seed: u64, count: usize) -> Arc<Self> {
        let nodes = (1..=count).map(|number| {
            let number = u8::try_from(number).unwrap();
            Node {
                ip: [10, 0, number, 1].into(),
                ..crate::pool::tests::node(number)
            }
        });
        Arc::new(Self {
            nodes: nodes.collect(),
            vices: Mutex::default(),
            rng: Mutex::new(Seeded(SplitMix::new(seed))),
            began: Instant::now(),
            offline: Mutex::new(false),
            requests: AtomicUsize::new(0),
            clock_error: Mutex::new(0),
        })
    }

    fn vice(&self, node: &Node) -> Option<Vice> {
        lock(&self.vices).get(&node.ed25519).copied()
    }

    fn below(&self, bound: usize) -> usize {
        random::below(&mut *lock(&self.rng), bound)
    }

    fn elapsed_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }

    /// Gives `count` random nodes of those that `may` random vices.
    fn corrupt(&self, count: usize, vices: &[Vice], may: impl Fn(&Node) -> bool) {
        let mut keys: Vec<NodeKey> = self
            .nodes
            .iter()
            .filter(|node| may(node))
            .map(|node| node.ed25519)
            .collect();
        random::shuffle(&mut *lock(&self.rng), &mut keys);
        let chosen: HashMap<NodeKey, Vice> = keys
            .into_iter()
            .take(count)
            .map(|key| (key, vices[self.below(vices.len())]))
            .collect();
        *lock(&self.vices) = chosen;
    }

    /// What comes of a request, by the rules of network.md 5.5.
    async fn travel(&self, hops: &[Node], target: &Node) -> Result<NodeAnswer, SendError> {
        let fault = |fault| Err(SendError::Fault(fault));
        self.requests.fetch_add(1, Ordering::Relaxed);
        if *lock(&self.offline) {
            return fault(Fault::GuardUnreachable);
        }
        for (index, node) in hops.iter().chain([target]).enumerate() {
            let next = hops.get(index + 1).unwrap_or(target);
            let last = index == hops.len();
            sleep(Duration::from_millis(10)).await;
            match self.vice(node) {
                Some(Vice::Dead) if index == 0 => return fault(Fault::GuardUnreachable),
                Some(Vice::Dead) if self.below(2) == 0 => {
                    sleep(Duration::from_secs(30)).await;
                    return fault(Fault::Timeout);
                }
                Some(Vice::Dead) => return fault(Fault::NodeGone(node.ed25519)),
                Some(Vice::Frozen) => return pending().await,
                Some(Vice::Garbage) => return fault(Fault::NotFromDestination),
                Some(Vice::Liar) if !last => {
                    let named = [next.ed25519, target.ed25519, [0xee; 32]];
                    return fault(Fault::NodeGone(named[self.below(3)]));
                }
                Some(Vice::BlackHole) if !last => return pending().await,
                Some(Vice::Lossy) if self.below(3) == 0 => return pending().await,
                Some(Vice::Slow) => sleep(Duration::from_secs(1)).await,
                Some(Vice::BadEnd) if last => match self.below(3) {
                    0 => return pending().await,
                    1 => return fault(Fault::NotFromDestination),
                    _ => {
                        let before = hops.last().unwrap_or(target);
                        return fault(Fault::NodeGone(before.ed25519));
                    }
                },
                _ => {}
            }
        }
        let now = EPOCH + self.elapsed_ms();
        Ok(NodeAnswer {
            status: 200,
            body: json!({"version": [2, 8, 0], "timestamp": now, "t": now, "hf": [19, 6]}),
        })
    }
}

impl Carrier for Sim {
    fn carry<'a>(
        &'a self,
        hops: &'a [Node],
        target: &'a Node,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<NodeAnswer, SendError>> {
        self.travel(hops, target).boxed()
    }
}

impl Clock for Sim {
    fn now_ms(&self) -> u64 {
        (EPOCH + self.elapsed_ms()).saturating_add_signed(*lock(&self.clock_error))
    }

    fn steady_ms(&self) -> u64 {
        self.elapsed_ms()
    }
}

/// The seed's side of a world: the list of nodes.
struct Lists(Arc<Sim>);

impl Transport for Lists {
    fn onion(&self, _: SocketAddrV4, _: Bytes) -> BoxFuture<'_, Result<Reply, TransportError>> {
        unreachable!("the simulated carrier stands in for it")
    }

    fn seed<'a>(
        &'a self,
        _: &'a crate::config::Seed,
        _: Bytes,
    ) -> BoxFuture<'a, Result<Reply, TransportError>> {
        let states: Vec<_> = self
            .0
            .nodes
            .iter()
            .map(|node| {
                json!({
                    "public_ip": node.ip.to_string(), "storage_port": node.port,
                    "pubkey_ed25519": hex::encode(node.ed25519), "pubkey_x25519": hex::encode(node.x25519),
                    "swarm_id": node.swarm_id,
                })
            })
            .collect();
        let body = json!({"result": {"service_node_states": states}}).to_string();
        let offline = *lock(&self.0.offline);
        let answer = match offline {
            true => Err(TransportError::Unreachable),
            false => Ok(Reply {
                status: 200,
                body: Bytes::from(body),
            }),
        };
        std::future::ready(answer).boxed()
    }

    fn close(&self) {}
}

/// A world in motion.
struct World {
    sim: Arc<Sim>,
    network: Network,
    isolation: IsolationKey,
    owner: Identifier,
}

impl World {
    fn start(seed: u64, sim: &Arc<Sim>, cache: Arc<dyn Cache>) -> Self {
        Self::start_with(seed, sim, cache, |_| {})
    }

    fn start_with(
        seed: u64,
        sim: &Arc<Sim>,
        cache: Arc<dyn Cache>,
        change: impl FnOnce(&mut Times),
    ) -> Self {
        let mut config = NetworkConfig::from_toml("seeds = [\"http://127.0.0.1:1\"]").unwrap();
        change(&mut config.times);
        let transport = Arc::new(Lists(Arc::clone(sim)));
        let choices = Choices::new(Seeded(SplitMix::new(!seed)));
        let engine = Engine::new(config, cache, sim.clone(), transport, sim.clone(), choices);
        Self {
            sim: Arc::clone(sim),
            network: Network::run(engine),
            isolation: IsolationKey::new("account", "a"),
            owner: Identifier {
                prefix: Prefix::Standard,
                key: [0; 32],
            },
        }
    }

    /// One request to the account's swarm, and whether it was answered.
    async fn poll(&self) -> bool {
        let make = |_| request::info();
        let asked = self
            .network
            .swarm_request(self.isolation, &self.owner, &make);
        asked.await.is_ok()
    }

    /// Polls every 10 s; how many of `count` were answered.
    async fn polls(&self, count: usize) -> usize {
        let mut answered = 0;
        for _ in 0..count {
            answered += usize::from(self.poll().await);
            sleep(Duration::from_secs(10)).await;
        }
        answered
    }

    fn guards(&self) -> Vec<NodeKey> {
        self.network.state().guards.keys()
    }

    fn requests(&self) -> usize {
        self.sim.requests.load(Ordering::Relaxed)
    }
}

/// Runs worlds, each in virtual time on a thread of its own kind, and says which one failed.
fn worlds<F: Future<Output = ()>>(world: impl Fn(u64) -> F) {
    let env = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match env("SESSION_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..env("SESSION_SIM_WORLDS").unwrap_or(WORLDS),
    };
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let run = std::panic::AssertUnwindSafe(|| runtime.block_on(world(seed)));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("the failing world is SESSION_SIM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Vices that last as long as the world.
const ALL: [Vice; 8] = [
    Vice::Dead,
    Vice::Frozen,
    Vice::Garbage,
    Vice::Liar,
    Vice::BlackHole,
    Vice::Lossy,
    Vice::Slow,
    Vice::BadEnd,
];

/// Up to two fifths of the nodes go bad in any way, others than before after a while: what can be answered is answered
/// again, and paths avoid bad nodes, for a bounded number of requests.
#[test]
fn a_working_path_is_found_and_bad_nodes_are_avoided() {
    worlds(|seed| async move {
        let mut rng = Seeded(SplitMix::new(seed));
        let count = 20 + random::below(&mut rng, 21);
        let sim = Sim::new(seed, count);
        let bad = random::below(&mut rng, count * 2 / 5 + 1);
        // One member of the swarm, which holds every second node, stays good.
        let spared = |node: &Node| node.ed25519 != [2; 32];
        sim.corrupt(bad, &ALL, spared);
        let world = World::start(seed, &sim, Arc::new(MemoryCache::new()));
        for _ in 0..2 {
            world.polls(30).await;
            assert!(world.polls(4).await > 0, "nothing is answered");
            for path in world.network.paths() {
                for hop in &path.hops {
                    let vices = lock(&sim.vices);
                    let vice = vices.get(&hop.ed25519);
                    let breaks = vice.is_some_and(|vice| vice.breaks_paths());
                    assert!(!breaks, "{vice:?} is on a path: {path:?}");
                }
            }
            sim.corrupt(bad, &ALL, spared);
        }
        let requests = world.requests();
        assert!(
            requests < 4_000,
            "{requests} requests in a quarter of an hour"
        );
    });
}

/// A cache that never answers once it is told so.
#[derive(Default)]
struct Stuck {
    inner: MemoryCache,
    is_stuck: std::sync::atomic::AtomicBool,
}

impl Cache for Stuck {
    fn load(&self, record: CacheRecord) -> BoxFuture<'_, Option<Vec<u8>>> {
        self.inner.load(record)
    }

    fn save(&self, record: CacheRecord, bytes: Vec<u8>) -> BoxFuture<'_, ()> {
        match self.is_stuck.load(Ordering::Relaxed) {
            true => pending().boxed(),
            false => self.inner.save(record, bytes),
        }
    }
}

/// The maintenance task shows that it lives, whether all is well, nobody answers, or there is nothing to do; one that
/// hangs shows that it does not.
#[test]
fn maintenance_turns_unless_it_hangs() {
    worlds(|seed| async move {
        // Hours of each world: a few of them will do.
        if seed >= WORLDS / 10 {
            return;
        }
        let sim = Sim::new(seed, 24);
        let cache = Arc::new(Stuck::default());
        // With times that would let it sleep for hours.
        let world = World::start_with(seed, &sim, cache.clone(), |times| {
            times.test = Duration::from_secs(36_000);
            times.rotate = Duration::from_secs(36_000);
        });
        let mut turns = world.network.turns();
        let mut longest = async |span: u64| {
            let (end, mut last) = (Instant::now() + Duration::from_secs(span), Instant::now());
            let mut longest = Duration::ZERO;
            while Instant::now() < end {
                let changed = tokio::time::timeout_at(end, turns.changed()).await;
                longest = longest.max(last.elapsed());
                if changed.is_ok() {
                    last = Instant::now();
                }
            }
            longest
        };
        for (offline, bad) in [(false, 0), (true, 0), (false, 9)] {
            *lock(&sim.offline) = offline;
            sim.corrupt(bad, &ALL, |_| true);
            let longest = longest(3600).await;
            assert!(longest < Duration::from_secs(300), "{longest:?}");
        }
        // The list of nodes is renewed within two hours, and then to be saved.
        sim.corrupt(0, &ALL, |_| true);
        cache.is_stuck.store(true, Ordering::Relaxed);
        let longest = longest(4 * 3600).await;
        assert!(longest > Duration::from_secs(3600), "{longest:?}");
    });
}

/// Members of the account's swarm are bad as destinations, in every way, and all nodes pass things on: no guard is
/// replaced.
#[test]
fn a_destinations_error_never_costs_a_guard() {
    worlds(|seed| async move {
        let sim = Sim::new(seed, 24);
        let world = World::start(seed, &sim, Arc::new(MemoryCache::new()));
        assert!(world.poll().await);
        let before = world.guards();
        assert!(before.len() >= 2);
        // Every second node is a member.
        sim.corrupt(9, &[Vice::BadEnd], |node| node.ed25519[0] % 2 == 0);
        world.polls(30).await;
        let after = world.guards();
        assert!(before.iter().all(|guard| after.contains(guard)));
    });
}

/// One member is always asked and always bad: not even a path is dropped for it.
#[test]
fn a_destinations_error_never_costs_a_path() {
    worlds(|seed| async move {
        let sim = Sim::new(seed, 24);
        sim.corrupt(1, &[Vice::BadEnd], |node| node.ed25519[0] % 2 == 0);
        let world = World::start(seed, &sim, Arc::new(MemoryCache::new()));
        world.polls(30).await;
        let dropped = world.network.dropped_paths();
        let failed = dropped.iter().find(|path| path.reason != "ROTATED");
        assert!(failed.is_none(), "{failed:?}");
    });
}

/// The network goes and comes back: guards stay, and little is asked meanwhile.
#[test]
fn being_offline_costs_no_guard() {
    worlds(|seed| async move {
        let sim = Sim::new(seed, 24);
        let world = World::start(seed, &sim, Arc::new(MemoryCache::new()));
        assert!(world.poll().await);
        world.polls(6).await;
        let (before, asked) = (world.guards(), world.requests());
        *lock(&sim.offline) = true;
        assert_eq!(world.polls(20).await, 0);
        let tried = world.requests() - asked;
        assert!(tried < 2_000, "{tried} requests while offline");
        *lock(&sim.offline) = false;
        world.polls(12).await;
        assert_eq!(world.polls(3).await, 3);
        let used: Vec<NodeKey> = world
            .network
            .paths()
            .iter()
            .map(|path| path.hops[0].ed25519)
            .collect();
        assert!(
            used.iter().all(|guard| before.contains(guard)),
            "a new guard was taken"
        );
    });
}

/// A guard of a former run that is bad now is found out at the next start, a good one is used again.
#[test]
fn guards_of_a_former_run_are_tested_first() {
    worlds(|seed| async move {
        let sim = Sim::new(seed, 24);
        let cache = Arc::new(MemoryCache::new());
        let world = World::start(seed, &sim, cache.clone());
        assert!(world.poll().await);
        world.polls(3).await;
        let before = world.guards();
        world.network.shutdown().await;
        let vices = [
            Vice::Dead,
            Vice::Frozen,
            Vice::Garbage,
            Vice::Liar,
            Vice::BlackHole,
        ];
        sim.corrupt(1, &vices, |node| node.ed25519 == before[0]);
        let world = World::start(!seed, &sim, cache);
        assert!(world.poll().await);
        world.polls(3).await;
        let used: Vec<NodeKey> = world
            .network
            .paths()
            .iter()
            .map(|path| path.hops[0].ed25519)
            .collect();
        assert!(used.contains(&before[1]) && !used.contains(&before[0]));
    });
}

/// The local clock is an hour or a day off, and is set while running: network time stays true.
#[test]
fn a_wrong_local_clock_moves_network_time_nowhere() {
    worlds(|seed| async move {
        let sim = Sim::new(seed, 20);
        let errors = [3_600_000, -3_600_000, 86_400_000, -86_400_000];
        let mut rng = Seeded(SplitMix::new(seed));
        let any = |rng: &mut Seeded| errors[random::below(rng, errors.len())];
        *lock(&sim.clock_error) = any(&mut rng);
        let world = World::start(seed, &sim, Arc::new(MemoryCache::new()));
        assert!(world.poll().await);
        for _ in 0..3 {
            let off = world.network.now_ms().abs_diff(EPOCH + sim.elapsed_ms());
            assert!(off < 1_000, "{off} ms off");
            world.polls(random::below(&mut rng, 3)).await;
            // Nothing is asked between this and the next look.
            *lock(&sim.clock_error) = any(&mut rng);
        }
    });
}

/// The same number makes the same world.
#[test]
fn worlds_are_repeatable() {
    let trace = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let sim = Sim::new(7, 30);
            sim.corrupt(12, &ALL, |_| true);
            let world = World::start(7, &sim, Arc::new(MemoryCache::new()));
            let answered = world.polls(30).await;
            (answered, world.requests(), world.guards())
        })
    };
    assert_eq!(trace(), trace());
}
