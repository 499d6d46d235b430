//! An account on disk whose network cannot be reached, unless a test brings one.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use session_network::{IsolationKey, MemoryCache, Network, NetworkConfig, SystemClock};
use session_protocol::{AccountKeys, AccountSeed};
use sessiond::actions::{ActionError, Actor};
use sessiond::store::{AccountDb, Meta};
use sessiond::sync::Context;
use sessiond::vault::DatabaseKey;
use sqlx::SqliteConnection;
use tempfile::TempDir;
use tokio::sync::watch;

pub const NETWORK: &str = "name = \"nowhere\"\nseeds = [\"http://127.0.0.1:1\"]\nmin_nodes = 12\n";

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

/// The account of `keys(1)` in a fresh database.
pub async fn rig() -> Rig {
    let config = NetworkConfig::from_toml(NETWORK).unwrap();
    rig_on(1, config).await
}

/// The account of some keys in a fresh database, on a network.
pub async fn rig_on(account: u8, config: NetworkConfig) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let key = DatabaseKey::from_bytes([5; 32]);
    let path = AccountDb::path(dir.path(), "account");
    let meta = Meta {
        network: config.name.clone(),
        account_id: keys(account).account_id().to_string(),
        display_name: "Me".into(),
        profile_s: 0,
        created_ms: 1,
        log_id: [8; 8],
    };
    AccountDb::create(&path, &key, &meta).await.unwrap();
    let (stop_sender, stop) = watch::channel(false);
    let db = AccountDb::open(&path, &key, &config.name, stop.clone())
        .await
        .unwrap();
    let network = Network::start(config, Arc::new(MemoryCache::new()), Arc::new(SystemClock));
    let isolation = IsolationKey::new("account", "test");
    let context = Context::new(keys(account), db, network, isolation, stop);
    Rig {
        context,
        dir,
        key,
        stop: stop_sender,
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
        let meta = self.context.db.meta();
        let actor = Actor {
            own: self.context.account_id(),
            name: meta.display_name.clone(),
            profile_s: meta.profile_s,
            now_ms: self.context.now_ms(),
        };
        self.context
            .db
            .writer()
            .act(move |connection| Box::pin(async move { action(connection, &actor).await }))
            .await
    }

    /// Ends the writer and closes the database: a connection that is still at work while the process ends would meet
    /// cryptography that is being taken down.
    pub async fn close(self) {
        self.stop.send_replace(true);
        self.context
            .db
            .close(std::time::Duration::from_secs(10))
            .await;
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
