//! The tail reader: follows the end of the log and hands each new event to all live streams.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sessiond_proto::v1;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::StreamEnd;
use super::join::join;
use crate::convert;
use crate::store::{AccountDb, StoreError, events};
use crate::sync::Context;
use crate::sync::signal::Signal;
use crate::time::until;

/// Events kept for live streams that fall behind; one that falls further behind reads pages instead.
const LIVE: usize = 1_024;
/// Longest one turn may take: nothing in it waits for the network or for a reader.
const TURN: Duration = Duration::from_secs(120);
/// Pause after the log could not be read.
const AGAIN: Duration = Duration::from_secs(1);
/// Events read at once.
pub(super) const PAGE: i64 = 200;

/// An event on its way to live streams.
#[derive(Clone)]
pub(super) struct Live {
    /// Place in the log; `None` for a signal, which has none.
    pub(super) seq: Option<i64>,
    pub(super) event: Arc<v1::Event>,
}

/// One account's events for all streams.
pub struct Hub {
    pub(super) context: Context,
    live: broadcast::Sender<Live>,
    named: Mutex<HashMap<String, Named>>,
    locking: AtomicBool,
}

/// Why an account's streams end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The agent stops, or the account goes.
    Stopping,
    /// The account was locked.
    Locked,
}

struct Named {
    number: u64,
    replaced: watch::Sender<bool>,
}

impl Hub {
    /// Starts following the log.
    pub async fn spawn(
        context: Context,
    ) -> Result<(Arc<Self>, tokio::task::JoinHandle<()>), StoreError> {
        let position = {
            let mut connection = context.db.readers().acquire().await?;
            events::head(&mut connection).await?
        };
        let (live, _) = broadcast::channel(LIVE);
        let hub = Arc::new(Self {
            context,
            live,
            named: Mutex::new(HashMap::new()),
            locking: AtomicBool::new(false),
        });
        let signals = hub.context.signals.listen();
        let task = tokio::spawn(Arc::clone(&hub).follow(position, signals));
        Ok((hub, task))
    }

    /// To be said before the tasks are told to stop.
    pub fn set_end_reason(&self, reason: EndReason) {
        let locked = reason == EndReason::Locked;
        self.locking.store(locked, Ordering::Release);
    }

    /// What a stream says when the tasks stop.
    pub(super) fn end(&self) -> StreamEnd {
        if self.locking.load(Ordering::Acquire) {
            StreamEnd::Locked
        } else {
            StreamEnd::Stopping
        }
    }

    /// Streams that live now.
    pub fn streams(&self) -> usize {
        self.live.receiver_count()
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Live> {
        self.live.subscribe()
    }

    /// Takes a name; whoever had it is told. Returns a number for [`Hub::release`].
    pub(super) fn claim(&self, name: &str) -> (u64, watch::Receiver<bool>) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let (replaced, receiver) = watch::channel(false);
        let number = named.get(name).map_or(0, |holder| holder.number + 1);
        if let Some(old) = named.insert(name.to_owned(), Named { number, replaced }) {
            old.replaced.send_replace(true);
        }
        (number, receiver)
    }

    /// Gives a name back, unless somebody else has it by now.
    pub(super) fn release(&self, name: &str, number: u64) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named
            .get(name)
            .is_some_and(|holder| holder.number == number)
        {
            named.remove(name);
        }
    }

    async fn follow(self: Arc<Self>, mut position: i64, mut signals: broadcast::Receiver<Signal>) {
        let mut committed = self.context.db.committed();
        let beat = self.context.progress.beats.register("events", TURN);
        let mut again = None;
        loop {
            beat.turn();
            tokio::select! {
                () = self.context.stopped() => break,
                () = beat.idle() => continue,
                signal = signals.recv() => {
                    match signal {
                        Ok(signal) => drop(self.live.send(Live {
                            seq: None,
                            event: Arc::new(convert::signal(&signal)),
                        })),
                        // Too many at once: the oldest are lost, which is what a signal may be.
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => break,
                    }
                    continue;
                }
                changed = committed.changed() => if changed.is_err() { break },
                () = until(again) => {}
            }
            // Without listeners nothing is joined; whoever comes later reads pages up to its own place.
            again = match self.forward(&mut position).await {
                Ok(()) => None,
                Err(error) => {
                    tracing::warn!(%error, "the event log cannot be followed");
                    Some(Instant::now() + AGAIN)
                }
            };
        }
    }

    /// Hands on what is new after a position, and moves that.
    async fn forward(&self, position: &mut i64) -> Result<(), StoreError> {
        let db: &AccountDb = &self.context.db;
        loop {
            let mut connection = db.readers().acquire().await?;
            if self.live.receiver_count() == 0 {
                *position = events::head(&mut connection).await?;
                return Ok(());
            }
            let rows = events::after(&mut connection, *position, PAGE).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            let last = last.seq;
            let now_ms = self.context.now_ms();
            let joined = join(&mut connection, db.meta().log_id, &rows, now_ms).await?;
            drop(connection);
            for (row, event) in rows.iter().zip(joined) {
                // An error means that the last listener has just gone.
                drop(self.live.send(Live {
                    seq: Some(row.seq),
                    event: Arc::new(event),
                }));
            }
            *position = last;
        }
    }
}
