//! An account on disk whose network cannot be reached, unless a test brings one.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use session_network::{Clock, IsolationKey, MemoryCache, Network, NetworkConfig, SystemClock};
use session_protocol::{AccountKeys, AccountSeed};
use sessiond::actions::{ActionError, Actor};
use sessiond::store::{AccountDb, Meta};
use sessiond::sync::Context;
use sessiond::time::wall_clock_ms;
use sessiond::vault::DatabaseKey;
use sqlx::{AssertSqlSafe, SqliteConnection};
use tempfile::TempDir;
use tokio::sync::watch;

pub const NETWORK: &str = "name = \"nowhere\"\nseeds = [\"http://127.0.0.1:1\"]\nmin_nodes = 12\n";

/// A time of the API, ms; 0: none.
pub fn ms(time: Option<&prost_types::Timestamp>) -> i64 {
    time.map_or(0, |time| {
        time.seconds * 1_000 + i64::from(time.nanos / 1_000_000)
    })
}

/// Keys of a test account.
pub fn keys(byte: u8) -> AccountKeys {
    AccountKeys::from_seed(&AccountSeed::from_bytes([byte; 16]))
}

pub struct Rig {
    pub context: Context,
    pub dir: TempDir,
    pub key: DatabaseKey,
    pub stop: watch::Sender<bool>,
}

/// The system's clock, off by so much, ms.
pub struct WrongClock(pub i64);

impl Clock for WrongClock {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms().saturating_add_signed(self.0)
    }
}

fn nowhere() -> NetworkConfig {
    NetworkConfig::from_toml(NETWORK).unwrap()
}

/// The account of `keys(1)` in a fresh database.
pub async fn rig() -> Rig {
    rig_on(1, nowhere()).await
}

/// The account of some keys in a fresh database, on a network.
pub async fn rig_on(account: u8, config: NetworkConfig) -> Rig {
    fresh(account, config, DatabaseKey::from_bytes([5; 32])).await
}

/// As [`rig`], without a key, so that what is on disk can be read.
#[cfg(debug_assertions)]
pub async fn plain_rig() -> Rig {
    let key = DatabaseKey::from_bytes(sessiond::store::account_db::PLAIN);
    fresh(1, nowhere(), key).await
}

async fn fresh(account: u8, config: NetworkConfig, key: DatabaseKey) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let path = AccountDb::path(dir.path(), "account");
    let meta = Meta {
        network: config.name.clone(),
        account_id: keys(account).account_id().to_string(),
        display_name: "Me".into(),
        profile_s: 0,
        // Nobody confirms the clock here: what is known of the time begins with this.
        created_ms: wall_clock_ms(),
        log_id: [8; 8],
    };
    AccountDb::create(&path, &key, &meta).await.unwrap();
    let (context, stop) = open(dir.path(), account, &key, config, WrongClock(0)).await;
    Rig {
        context,
        dir,
        key,
        stop,
    }
}

/// Opens what is in a directory.
async fn open(
    dir: &Path,
    account: u8,
    key: &DatabaseKey,
    config: NetworkConfig,
    clock: WrongClock,
) -> (Context, watch::Sender<bool>) {
    let path = AccountDb::path(dir, "account");
    let (stop_sender, stop) = watch::channel(false);
    let db = AccountDb::open(&path, key, &config.name, stop.clone())
        .await
        .unwrap();
    let network = Network::start(config, Arc::new(MemoryCache::new()), Arc::new(clock));
    let isolation = IsolationKey::new("account", "test");
    let context = Context::new(keys(account), db, network, isolation, stop);
    (context, stop_sender)
}

/// Opens what another process made without a key; whoever calls is killed before it could close it.
#[cfg(debug_assertions)]
pub async fn open_plain(dir: &Path) -> (Context, watch::Sender<bool>) {
    let key = DatabaseKey::from_bytes(sessiond::store::account_db::PLAIN);
    open(dir, 1, &key, nowhere(), WrongClock(0)).await
}

/// Opens again what a rig left behind.
pub async fn reopen((dir, key): (TempDir, DatabaseKey), clock: WrongClock) -> Rig {
    let (context, stop) = open(dir.path(), 1, &key, nowhere(), clock).await;
    Rig {
        context,
        dir,
        key,
        stop,
    }
}

impl Rig {
    /// Carries out an action as a frontend has it done.
    pub async fn act<T, F>(&self, action: F) -> Result<T, ActionError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(
                &'c mut SqliteConnection,
                &'c Actor,
            ) -> BoxFuture<'c, Result<T, ActionError>>
            + Send
            + 'static,
    {
        let actor = Actor::now(&self.context);
        self.context
            .db
            .writer()
            .act(move |connection| Box::pin(async move { action(connection, &actor).await }))
            .await
    }

    /// Writes past all rules.
    pub async fn run(&self, sql: impl Into<String>) {
        let sql = AssertSqlSafe(sql.into());
        let write = self.context.db.writer().call(move |connection| {
            Box::pin(async move {
                sqlx::raw_sql(sql).execute(connection).await?;
                Ok(())
            })
        });
        write.await.unwrap();
    }

    /// Ends the writer and closes the database: a connection that is still at work while the process ends would meet
    /// cryptography that is being taken down.
    pub async fn close(self) -> (TempDir, DatabaseKey) {
        self.stop.send_replace(true);
        self.context
            .db
            .close(std::time::Duration::from_secs(10))
            .await;
        (self.dir, self.key)
    }

    /// Stops, and starts again with another clock.
    pub async fn restarted(self, clock: WrongClock) -> Self {
        reopen(self.close().await, clock).await
    }

    /// The first column of the first row.
    pub async fn one<T>(&self, sql: &'static str) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        sqlx::query_scalar(sql)
            .fetch_one(self.context.db.readers())
            .await
            .unwrap()
    }

    /// The first column of all rows.
    pub async fn all(&self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql)
            .fetch_all(self.context.db.readers())
            .await
            .unwrap()
    }

    /// Runs a statement through the writer.
    pub async fn execute(&self, sql: &'static str) {
        self.context
            .db
            .writer()
            .call(move |connection| {
                Box::pin(async move {
                    sqlx::query(sql).execute(connection).await?;
                    Ok(())
                })
            })
            .await
            .unwrap();
    }
}
