//! The writer: one task that owns the connection that writes.
//!
//! What waits is put into one transaction, a savepoint each, so that many small writes share one flush to disk; each
//! caller gets its own outcome after the commit. Calls of frontends go before units from the network. A caller that
//! goes away cannot cancel a write half-way. Queues are bounded: a full one makes callers wait.
//! Facts: design.md "The writer".

use futures_util::future::BoxFuture;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};

use super::StoreError;

/// Calls that may wait; more callers wait for a place.
const CALL_QUEUE: usize = 256;
/// Units from the network that may wait.
const UNIT_QUEUE: usize = 2;
/// Most writes in one transaction.
const GROUP: usize = 128;

/// Hands writes to the writer task. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    calls: mpsc::Sender<Box<dyn Job>>,
    units: mpsc::Sender<Box<dyn Job>>,
}

/// A write on its way: runs once, answers once.
trait Job: Send {
    fn run<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> BoxFuture<'c, bool>;
    fn finish(self: Box<Self>, committed: bool);
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

    fn finish(self: Box<Self>, committed: bool) {
        let outcome = match self.outcome {
            Some(Ok(value)) if committed => Ok(value),
            Some(Err(error)) => Err(error),
            _ => Err(StoreError::NotCommitted.into()),
        };
        // Nobody listening any more is fine: the write stands.
        drop(self.answer.send(outcome));
    }
}

impl Writer {
    /// Starts the task. `committed` counts up after every commit. The task ends when all handles are gone or
    /// `stop` turns true; what was accepted by then is still written.
    pub fn spawn(
        connection: SqliteConnection,
        committed: watch::Sender<u64>,
        stop: watch::Receiver<bool>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (calls, call_queue) = mpsc::channel(CALL_QUEUE);
        let (units, unit_queue) = mpsc::channel(UNIT_QUEUE);
        let task = tokio::spawn(run(connection, call_queue, unit_queue, committed, stop));
        (Self { calls, units }, task)
    }

    /// Commits a write of a frontend or of the outbox, and answers after it is on disk.
    pub async fn call<T, F>(&self, write: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + 'static,
    {
        submit(&self.calls, write).await
    }

    /// As [`Writer::call`], for a write that fails in ways of its own; a failed one leaves nothing behind.
    pub async fn act<T, E, F>(&self, write: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
    {
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

async fn run(
    mut connection: SqliteConnection,
    mut calls: mpsc::Receiver<Box<dyn Job>>,
    mut units: mpsc::Receiver<Box<dyn Job>>,
    committed: watch::Sender<u64>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let mut group = Vec::new();
        tokio::select! {
            biased;
            Some(job) = calls.recv() => group.push(job),
            Some(job) = units.recv() => group.push(job),
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
        if commit(&mut connection, group).await {
            committed.send_modify(|count| *count += 1);
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the account database did not close cleanly");
    }
}

/// Runs a group in one transaction and answers every member. True when something was committed.
async fn commit(connection: &mut SqliteConnection, mut group: Vec<Box<dyn Job>>) -> bool {
    let committed = match transaction(connection, &mut group).await {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, "a group of writes was not committed");
            // Nothing to roll back is the usual cause of an error here.
            drop(sqlx::query("ROLLBACK").execute(&mut *connection).await);
            false
        }
    };
    group.into_iter().for_each(|job| job.finish(committed));
    committed
}

async fn transaction(
    connection: &mut SqliteConnection,
    group: &mut [Box<dyn Job>],
) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut *connection)
        .await?;
    if let [alone] = group {
        // The transaction itself can take it back; a savepoint would copy every page first.
        let end = if alone.run(&mut *connection).await {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        sqlx::query(end).execute(&mut *connection).await?;
        return Ok(());
    }
    for job in group {
        sqlx::query("SAVEPOINT job")
            .execute(&mut *connection)
            .await?;
        if !job.run(&mut *connection).await {
            sqlx::query("ROLLBACK TO job")
                .execute(&mut *connection)
                .await?;
        }
        sqlx::query("RELEASE job").execute(&mut *connection).await?;
    }
    sqlx::query("COMMIT").execute(&mut *connection).await?;
    Ok(())
}
