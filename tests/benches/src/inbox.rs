//! A backlog comes in: how fast it is opened, judged and committed, what a frontend waits for meanwhile, and memory.
//!
//! Everything is the agent's own: units of 200 go through the code that follows a retrieve, into an encrypted database
//! on disk with its full-text index and its flushes. Only the network is left out. The measure is the rate of opening
//! alone on one core in the same run.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::stream;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use session_network::{MemoryCache, Network, NetworkConfig, StoredMessage, SystemClock};
use session_protocol::storage::message_hash;
use session_protocol::{AccountKeys, AccountSeed, content, envelope};
use sessiond::account::Account;
use sessiond::actions::ActionError;
use sessiond::actions::send::Draft;
use sessiond::store::{AccountDb, Health, Meta, StoreError};
use sessiond::sync::receive::{self, UNIT, Unit};
use sessiond::vault::{DatabaseKey, VaultRecord};
use tokio::sync::watch;

use crate::texts::{self, Random};
use crate::{process, summary};

/// Sent timestamps begin here, ms.
const NOW: u64 = 1_790_000_000_000;
/// Accounts that wrote.
const SENDERS: u64 = 50;
/// A network that cannot be reached.
const NOWHERE: &str = "name = \"nowhere\"\nseeds = [\"http://127.0.0.1:1\"]\nmin_nodes = 12\n";

fn keys(number: u64) -> AccountKeys {
    let mut seed = [7; 16];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    AccountKeys::from_seed(&AccountSeed::from_bytes(seed))
}

/// Sealed messages in the order of the swarm.
async fn backlog(count: usize) -> anyhow::Result<Vec<StoredMessage>> {
    let share = count.div_ceil(2);
    let tasks: Vec<_> = [0..share, share..count]
        .into_iter()
        .map(|part| tokio::task::spawn_blocking(move || part.map(message).collect()))
        .collect();
    let mut all = Vec::with_capacity(count);
    for task in tasks {
        let part: anyhow::Result<Vec<StoredMessage>> = task.await?;
        all.extend(part?);
    }
    Ok(all)
}

fn message(number: usize) -> anyhow::Result<StoredMessage> {
    let mut random = Random::new(number as u64 + 1);
    let at = NOW + number as u64;
    let from = keys(1 + random.below(SENDERS));
    let content = content::text(&texts::text(&mut random), at, None, Some("Sender"));
    let to = keys(0).account_id();
    let data = envelope::seal(&mut UnwrapErr(SysRng), &from, &to, at, &content)?;
    let namespace = receive::own_inbox(&to).namespace;
    Ok(StoredMessage {
        hash: message_hash(&to.into(), namespace, &data),
        timestamp: at,
        expiration: at + 14 * 86_400_000,
        data: Some(data),
    })
}

/// How fast something went, and what it cost.
struct Speed {
    /// Messages a second.
    rate: f64,
    /// Processor time of all threads a message, seconds.
    cost: f64,
}

/// Measures from now on.
fn watch() -> impl FnOnce(usize) -> Speed {
    let (begin, before) = (Instant::now(), process::processor_time());
    move |messages| Speed {
        rate: messages as f64 / begin.elapsed().as_secs_f64(),
        cost: (process::processor_time() - before) / messages as f64,
    }
}

/// Opens everything on this thread.
fn open_alone(backlog: &[StoredMessage]) -> anyhow::Result<Speed> {
    let keys = keys(0);
    let done = watch();
    for message in backlog {
        black_box(envelope::open(
            &keys,
            message.data.as_deref().context("no data")?,
        )?);
    }
    Ok(done(backlog.len()))
}

/// Lets the backlog in. How fast, and how long writes of a frontend took meanwhile.
async fn let_in(backlog: &[StoredMessage], write: bool) -> anyhow::Result<(Speed, Vec<Duration>)> {
    let dir = tempfile::Builder::new().prefix("sdb").tempdir()?;
    let record = VaultRecord {
        seed: AccountSeed::from_bytes({
            let mut seed = [7; 16];
            seed[..8].copy_from_slice(&0_u64.to_be_bytes());
            seed
        }),
        database_key: DatabaseKey::from_bytes([5; 32]),
    };
    let own = keys(0).account_id();
    let meta = Meta {
        network: "nowhere".into(),
        account_id: own.to_string(),
        display_name: "Me".into(),
        profile_s: 0,
        created_ms: 1,
        log_id: [8; 8],
    };
    let path = AccountDb::path(dir.path(), "account");
    AccountDb::create(&path, &record.database_key, &meta).await?;
    let (stop, stopped) = watch::channel(false);
    let config = NetworkConfig::from_toml(NOWHERE)?;
    let network = Network::start(config, Arc::new(MemoryCache::new()), Arc::new(SystemClock));
    let health = Arc::new(Health::new(dir.path()));
    let net = network.clone();
    let account = Account::start(dir.path(), "account", record, net, health, stopped).await?;
    let context = account.context().clone();

    let units: Vec<Result<Unit, StoreError>> = backlog
        .chunks(UNIT)
        .map(|messages| {
            Ok(Unit {
                node: [1; 32],
                path: "benchmark".to_owned(),
                place: receive::own_inbox(&own),
                messages: messages.to_vec(),
            })
        })
        .collect();
    let (done, over) = watch::channel(false);
    let frontend = write.then(|| {
        let account = Arc::clone(&account);
        tokio::spawn(async move {
            let mut waits = Vec::new();
            while !*over.borrow() {
                let begin = Instant::now();
                let token = format!("{}", waits.len());
                let sent = account
                    .send(
                        own,
                        Draft {
                            body: "a note meanwhile".to_owned(),
                            token,
                            ..Draft::default()
                        },
                    )
                    .await;
                waits.push(begin.elapsed());
                sent?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok::<_, ActionError>(waits)
        })
    });
    let arrived = watch();
    // On a task of its own, as in the agent.
    let applied =
        tokio::spawn(async move { receive::apply_all(&context, stream::iter(units)).await });
    let new = applied.await??;
    let speed = arrived(backlog.len());
    ensure!(new as usize == backlog.len(), "{new} messages were new");
    done.send_replace(true);
    let waits = match frontend {
        Some(frontend) => frontend.await??,
        None => Vec::new(),
    };
    stop.send_replace(true);
    account.close().await;
    network.shutdown().await;
    Ok((speed, waits))
}

/// Prints the rates, their ratio, the waits and the memory.
pub async fn run(count: usize, rounds: usize) -> anyhow::Result<()> {
    let backlog = Arc::new(backlog(count).await?);
    process::forget_peak()?;
    let mut ratios = Vec::with_capacity(rounds);
    let mut all_waits = Vec::new();
    for round in 0..rounds {
        let messages = Arc::clone(&backlog);
        let alone = tokio::task::spawn_blocking(move || open_alone(&messages)).await??;
        let (quiet, _) = let_in(&backlog, false).await?;
        let (busy, waits) = let_in(&backlog, true).await?;
        all_waits.extend(waits);
        ratios.push(quiet.rate / alone.rate);
        println!(
            "round {round}: opening alone on one core {:6.0} /s   backlog of {count} applied {:6.0} /s   \
             ratio {:4.2}   work a message {:4.2} x opening   with a frontend that writes {:6.0} /s",
            alone.rate,
            quiet.rate,
            quiet.rate / alone.rate,
            quiet.cost / alone.cost,
            busy.rate,
        );
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
    println!("ratio, median of {rounds} rounds: {median:.2}");
    summary::percentiles("a frontend's write during the backlog", all_waits);
    println!(
        "most memory resident: {} MiB, of which the backlog itself {} MiB",
        process::peak_kib()? / 1024,
        backlog
            .iter()
            .map(|message| message.data.as_ref().map_or(0, Vec::len) + message.hash.len())
            .sum::<usize>()
            / (1024 * 1024)
    );
    Ok(())
}
