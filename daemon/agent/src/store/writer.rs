//! The writer: one task that owns the connection that writes.
//!
//! What waits is put into one transaction, a savepoint each, so that many small writes share one flush to disk; each
//! caller gets its own outcome after the commit. Calls of frontends go before units from the network. A caller that
//! goes away cannot cancel a write half-way. Queues are bounded: a full one makes callers wait.
//!
//! At rest it gives back what it kept to be fast: decrypted pages and prepared statements.
//!
//! When the disk is full, cannot be written or gives back a damaged page, the whole group is taken back and every caller
//! is told that reason. After a damaged page the writer connects anew: SQLCipher's connection is of no more use then.
//! Facts: design.md "The writer".

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::StoreError;
use super::health::{self, Health, Trouble};
use super::scrub::Pending;
use crate::time::until;

/// Calls that may wait; more callers wait for a place.
const CALL_QUEUE: usize = 256;
/// Units from the network that may wait.
const UNIT_QUEUE: usize = 2;
/// Most writes in one transaction.
const GROUP: usize = 128;
/// How long after an act others are expected, ms.
const DEMAND: u64 = 1_000;
/// How long after the last write there is rest.
const REST: Duration = Duration::from_secs(30);

/// Hands writes to the writer task. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    calls: mpsc::Sender<Box<dyn Job>>,
    units: mpsc::Sender<Box<dyn Job>>,
    began: Instant,
    /// When somebody last asked for something, ms from the beginning.
    last_act: Arc<AtomicU64>,
    scrubs: mpsc::Sender<oneshot::Sender<bool>>,
    looks: mpsc::Sender<oneshot::Sender<()>>,
}

/// Questions whether it lives that may wait.
const LOOK_QUEUE: usize = 16;
/// Requests to empty the log that may wait; one attempt answers all.
const SCRUB_QUEUE: usize = 16;

/// A write on its way: runs once, answers once.
trait Job: Send {
    fn run<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> BoxFuture<'c, bool>;
    /// Answers; `Err`: it is not on disk, because of this or because of its own failure.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Write<T, E, F> {
    write: Option<F>,
    outcome: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for Write<T, E, F>
where
    T: Send,
    E: From<StoreError> + Send,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>> + Send,
{
    fn run<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> BoxFuture<'c, bool> {
        Box::pin(async move {
            let Some(write) = self.write.take() else {
                return false;
            };
            let outcome = write(connection).await;
            let done = outcome.is_ok();
            self.outcome = Some(outcome);
            done
        })
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let outcome = match (self.outcome, committed) {
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::NotCommitted.into()),
            // What went wrong with the disk says more than what it made of this write.
            (_, Err(error)) if error.trouble().is_some() => Err(error.into()),
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error.into()),
        };
        // Nobody listening any more is fine: the write stands.
        drop(self.answer.send(outcome));
    }
}

impl Writer {
    /// Starts the task. `connect` makes another connection like this one. `committed` counts up after every commit. The
    /// task ends when all handles are gone or `stop` turns true; what was accepted by then is still written.
    pub(super) fn spawn(
        connection: SqliteConnection,
        connect: Connect,
        health: Arc<Health>,
        pending: Pending,
        committed: watch::Sender<u64>,
        stop: watch::Receiver<bool>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (calls, call_queue) = mpsc::channel(CALL_QUEUE);
        let (units, unit_queue) = mpsc::channel(UNIT_QUEUE);
        let write = Connection {
            connection,
            connect,
            health,
        };
        let (scrubs, scrub_queue) = mpsc::channel(SCRUB_QUEUE);
        let (looks, look_queue) = mpsc::channel(LOOK_QUEUE);
        let queues = Queues {
            calls: call_queue,
            units: unit_queue,
            scrubs: scrub_queue,
            looks: look_queue,
        };
        let task = tokio::spawn(run(write, queues, committed, pending, stop));
        let writer = Self {
            calls,
            units,
            scrubs,
            looks,
            began: Instant::now(),
            last_act: Arc::default(),
        };
        (writer, task)
    }

    /// Takes what was removed out of the write-ahead log as well. True when it is out; otherwise a reader holds that back,
    /// and it is tried again until it is done. See [`super::scrub`].
    pub async fn scrub(&self) -> Result<bool, StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.scrubs
            .send(answer)
            .await
            .map_err(|_| StoreError::Closed)?;
        outcome.await.map_err(|_| StoreError::Closed)
    }

    /// Resolves when the task turns its loop, or has ended: at once while it is not busy. Nothing is written for it.
    pub async fn alive(&self) {
        let (answer, outcome) = oneshot::channel();
        if self.looks.send(answer).await.is_ok() {
            drop(outcome.await);
        }
    }

    /// Commits a write of the agent's own work, and answers after it is on disk.
    pub async fn call<T, F>(&self, write: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + 'static,
    {
        submit(&self.calls, write).await
    }

    /// As [`Writer::call`], for what somebody asked for and waits for, and which fails in ways of its own; a failed one
    /// leaves nothing behind.
    pub async fn act<T, E, F>(&self, write: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
    {
        self.last_act.store(self.age_ms(), Ordering::Relaxed);
        submit(&self.calls, write).await
    }

    /// Commits a unit from the network, after all calls that wait.
    pub async fn unit<T, F>(&self, write: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + 'static,
    {
        submit(&self.units, write).await
    }

    /// Whether somebody waits for writes at present, which long units would hold up.
    pub fn is_in_demand(&self) -> bool {
        let last = self.last_act.load(Ordering::Relaxed);
        last > 0 && self.age_ms().saturating_sub(last) < DEMAND
    }

    fn age_ms(&self) -> u64 {
        // The first millisecond counts as the second: zero is never.
        u64::try_from(self.began.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    }
}

async fn submit<T, E, F>(queue: &mpsc::Sender<Box<dyn Job>>, write: F) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
{
    let (answer, outcome) = oneshot::channel();
    let job = Box::new(Write {
        write: Some(write),
        outcome: None,
        answer,
    });
    queue.send(job).await.map_err(|_| StoreError::Closed)?;
    outcome.await.map_err(|_| StoreError::Closed)?
}

/// Makes a connection that writes.
pub type Connect =
    Box<dyn Fn() -> BoxFuture<'static, Result<SqliteConnection, StoreError>> + Send + Sync>;

/// What the task writes with.
struct Connection {
    connection: SqliteConnection,
    connect: Connect,
    health: Arc<Health>,
}

/// What the task is asked for.
struct Queues {
    calls: mpsc::Receiver<Box<dyn Job>>,
    units: mpsc::Receiver<Box<dyn Job>>,
    scrubs: mpsc::Receiver<oneshot::Sender<bool>>,
    looks: mpsc::Receiver<oneshot::Sender<()>>,
}

async fn run(
    mut write: Connection,
    queues: Queues,
    committed: watch::Sender<u64>,
    mut pending: Pending,
    mut stop: watch::Receiver<bool>,
) {
    let Queues {
        mut calls,
        mut units,
        mut scrubs,
        mut looks,
    } = queues;
    let mut asked: Vec<oneshot::Sender<bool>> = Vec::new();
    let mut rest_at = None;
    loop {
        while let Ok(answer) = scrubs.try_recv() {
            asked.push(answer);
        }
        // However much there is to write.
        if !asked.is_empty() || pending.next().is_some_and(|at| at <= Instant::now()) {
            let done = pending.attempt(&mut write.connection).await;
            for answer in asked.drain(..) {
                // Nobody may wait for it any more.
                let _ = answer.send(done);
            }
        }
        if rest_at.is_some_and(|at| at <= Instant::now()) {
            write.give_back().await;
            rest_at = None;
        }
        let mut group = Vec::new();
        tokio::select! {
            biased;
            Some(answer) = looks.recv() => {
                // Nobody may wait for it any more.
                let _ = answer.send(());
                continue;
            }
            Some(job) = calls.recv() => group.push(job),
            Some(job) = units.recv() => group.push(job),
            Some(answer) = scrubs.recv() => {
                asked.push(answer);
                continue;
            }
            () = until(pending.next()) => continue,
            () = until(rest_at) => continue,
            _ = stop.wait_for(|stop| *stop) => {
                // No new writes; the queued ones are drained below.
                calls.close();
                units.close();
            }
            else => break,
        }
        while group.len() < GROUP {
            match calls.try_recv() {
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        if group.is_empty() {
            match units.try_recv() {
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        if write.commit(group).await {
            committed.send_modify(|count| *count += 1);
        }
        rest_at = Some(Instant::now() + REST);
    }
    if let Err(error) = pending.finish(&mut write.connection).await {
        tracing::warn!(%error, "what was removed is taken out at the next start");
    }
    if let Err(error) = write.connection.close().await {
        tracing::warn!(%error, "the account database did not close cleanly");
    }
}

impl Connection {
    /// Keeps no more than it must.
    async fn give_back(&mut self) {
        let cleared = self.connection.clear_cached_statements().await;
        let shrunk = sqlx::query("PRAGMA shrink_memory")
            .persistent(false)
            .execute(&mut self.connection)
            .await;
        if let Some(error) = cleared.err().or(shrunk.err()) {
            tracing::debug!(%error, "the writer keeps its memory");
        }
    }

    /// Runs a group in one transaction and answers every member. True when something was committed.
    async fn commit(&mut self, mut group: Vec<Box<dyn Job>>) -> bool {
        let (kept, failure) = match self.transaction(&mut group).await {
            Ok(kept) => (kept, None),
            Err(failure) => {
                // Nothing to roll back is the usual cause of an error here.
                drop(sqlx::query("ROLLBACK").execute(&mut self.connection).await);
                if matches!(failure, Failure::Trouble(Trouble::Damaged)) {
                    self.connect_anew().await;
                }
                (false, Some(failure))
            }
        };
        for job in group {
            job.finish(match failure {
                None => Ok(()),
                Some(Failure::Trouble(trouble)) => Err(trouble.into()),
                Some(Failure::Other) => Err(StoreError::NotCommitted),
            });
        }
        kept
    }

    /// Says whether anything of the group is on disk now.
    async fn transaction(&mut self, group: &mut [Box<dyn Job>]) -> Result<bool, Failure> {
        self.run("BEGIN IMMEDIATE").await?;
        if let [alone] = group {
            // The transaction itself can take it back; a savepoint would copy every page first.
            if alone.run(&mut self.connection).await {
                self.run("COMMIT").await?;
                return Ok(true);
            }
            if let Some(trouble) = self.last_trouble().await {
                return Err(Failure::Trouble(trouble));
            }
            self.run("ROLLBACK").await?;
            return Ok(false);
        }
        let mut kept = false;
        for job in group {
            self.run("SAVEPOINT job").await?;
            if job.run(&mut self.connection).await {
                kept = true;
            } else {
                if let Some(trouble) = self.last_trouble().await {
                    return Err(Failure::Trouble(trouble));
                }
                self.run("ROLLBACK TO job").await?;
            }
            self.run("RELEASE job").await?;
        }
        self.run("COMMIT").await?;
        Ok(kept)
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), Failure> {
        let outcome = sqlx::query(sql).execute(&mut self.connection).await;
        let Err(error) = outcome else { return Ok(()) };
        let trouble = match health::code(&error) {
            Some(code) => self.health.judge(code).await,
            None => None,
        };
        // Trouble is told once, by `Health`: a full disk does not fill the log.
        match trouble {
            Some(trouble) => Err(Failure::Trouble(trouble)),
            None => {
                tracing::error!(%error, "a group of writes was not committed");
                Err(Failure::Other)
            }
        }
    }

    /// What the statement that failed last says about the data.
    async fn last_trouble(&mut self) -> Option<Trouble> {
        let last = self.connection.lock_handle().await.ok()?.last_error()?;
        let code = health::code(&sqlx::Error::from(last))?;
        self.health.judge(code).await
    }

    async fn connect_anew(&mut self) {
        match (self.connect)().await {
            Ok(fresh) => {
                let broken = std::mem::replace(&mut self.connection, fresh);
                // It cannot close cleanly any more.
                drop(broken.close_hard().await);
            }
            Err(error) => tracing::error!(%error, "the database does not open any more"),
        }
    }
}

/// Why a group is not on disk.
#[derive(Clone, Copy)]
enum Failure {
    Trouble(Trouble),
    Other,
}
