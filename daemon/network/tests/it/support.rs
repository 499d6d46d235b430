//! What the tests share: a local network, an account, and waiting with a deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use session_localnet::{Localnet, Options};
use session_network::{
    Cache, CacheRecord, Clock, ConnectionState, IsolationKey, MemoryCache, Network, NetworkConfig,
    Retrieved, Status, StoreItem, SystemClock,
};
use session_protocol::storage::Namespace;
use session_protocol::{AccountKeys, AccountSeed, Identifier};
use tempfile::TempDir;

/// Ten times what anything here should take.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A message kept for a day.
pub const TTL: u64 = 86_400_000;

/// A local network and the directory it lives in.
pub struct World {
    pub net: Localnet,
    _dir: TempDir,
}

impl World {
    /// Twelve nodes that wait for each other a fifth of what official ones do.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path());
        options.time_scale = 0.2;
        change(&mut options);
        let net = session_localnet::start(options).await.unwrap();
        Self { net, _dir: dir }
    }

    /// Configuration for this network.
    pub fn config(&self) -> NetworkConfig {
        let mut config = NetworkConfig::from_toml(&self.net.network_file().unwrap()).unwrap();
        // A machine busy with other tests is slow, and none of the tests is about short deadlines.
        config.times.seed = DEADLINE;
        config.times.connect = DEADLINE;
        config
    }

    /// A client without a past.
    pub fn client(&self) -> Network {
        self.client_with(Arc::new(MemoryCache::new()))
    }

    pub fn client_with(&self, cache: Arc<dyn Cache>) -> Network {
        Network::start(self.config(), cache, Arc::new(SystemClock))
    }

    /// Index of the node with this key.
    pub fn index(&self, key: &[u8; 32]) -> usize {
        let mut nodes = self.net.nodes().iter();
        nodes.position(|node| node.ed25519 == *key).unwrap()
    }
}

/// Waits until the status is as wanted. `wanted` may ask the network for more.
pub async fn until(network: &Network, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut changes = network.watch();
    let reached = tokio::time::timeout(DEADLINE, async {
        loop {
            // A copy: whoever holds the watch's own keeps the network from changing it.
            let status = *changes.borrow_and_update();
            if wanted(&status) {
                return status;
            }
            changes.changed().await.unwrap();
        }
    })
    .await;
    match reached {
        Ok(status) => status,
        Err(_) => panic!("{what}: {:?}", network.status()),
    }
}

/// Repeats until there is a result.
pub async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let repeated = async {
        loop {
            if let Some(result) = attempt().await {
                return result;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, repeated)
        .await
        .expect("it never happened")
}

/// Waits until everyone who has paths has both.
pub async fn connected(network: &Network) -> Status {
    until(network, "two paths for everyone", |status| {
        let mut users = HashMap::new();
        for path in network.paths() {
            *users.entry(path.isolation).or_insert(0) += 1;
        }
        status.state == ConnectionState::Connected && users.values().all(|count| *count == 2)
    })
    .await
}

/// A new account.
pub fn account() -> AccountKeys {
    AccountKeys::from_seed(&AccountSeed::generate(&mut rand_core::UnwrapErr(
        getrandom::SysRng,
    )))
}

/// The key of the tests' only user.
pub fn isolation() -> IsolationKey {
    IsolationKey::new("account", "test")
}

pub fn owner(keys: &AccountKeys) -> Identifier {
    keys.account_id().into()
}

pub fn item(text: &str) -> StoreItem {
    StoreItem {
        namespace: Namespace::DEFAULT,
        data: text.as_bytes().into(),
        ttl_ms: TTL,
    }
}

/// Stores one message and says how many members signed.
pub async fn store(network: &Network, keys: &AccountKeys, text: &str) -> usize {
    let mut receipts = network
        .store(isolation(), &owner(keys), &[item(text)])
        .await
        .unwrap();
    receipts.pop().unwrap().unwrap().confirmed.len()
}

/// Retrieves without cursors.
pub async fn retrieve(network: &Network, keys: &AccountKeys) -> Retrieved {
    network
        .retrieve(isolation(), keys, Namespace::DEFAULT, &HashMap::new(), None)
        .await
        .unwrap()
}

/// What was retrieved, as text.
pub fn texts(page: &Retrieved) -> Vec<String> {
    page.messages
        .iter()
        .map(|message| String::from_utf8(message.data.clone().unwrap()).unwrap())
        .collect()
}

/// The system's clock, off by as much as a test wants.
#[derive(Default)]
pub struct ShiftedClock(pub AtomicI64);

impl Clock for ShiftedClock {
    fn now_ms(&self) -> u64 {
        SystemClock
            .now_ms()
            .saturating_add_signed(self.0.load(Ordering::SeqCst))
    }
}

/// A cache that counts and can be waited for.
#[derive(Default)]
pub struct CountingCache {
    pub inner: MemoryCache,
    pub loads: AtomicUsize,
}

impl Cache for CountingCache {
    fn load(&self, record: CacheRecord) -> BoxFuture<'_, Option<Vec<u8>>> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.inner.load(record)
    }

    fn save(&self, record: CacheRecord, bytes: Vec<u8>) -> BoxFuture<'_, ()> {
        self.inner.save(record, bytes)
    }
}
