//! Reads the own swarm: every 5 s, every 2 s for a minute after activity, at once when asked.
//!
//! Members are asked at random, so none can withhold anything for long. Every twelfth poll, and when a member does not know
//! the place where it was read last, a second one is read in the same poll: what the first lost or never got comes from
//! there. Such a member shows by giving again what it gave before that place; what else it lost, [`super::repair`] looks
//! for. A member that lost everything and has nothing new to give looks like one where nothing is new: what comes
//! meanwhile is at the others, and each of them has a place of its own.
//!
//! Facts: network.md 7.1 and 7.2; intervals come from the network's configuration.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream;
use session_network::NetworkError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::receive::{self, UNIT, Unit};
use super::{Context, Progress};
use crate::metrics;
use crate::store::account_db::note_now;
use crate::store::gaps;
use crate::store::received::{self, Place};
use crate::store::{StoreError, Trouble};
use crate::time::millis;

/// Requests to poll at once that may wait; more are answered by the poll under way.
const REQUESTS: usize = 64;

/// How often it is written down that everything stored so far is read, ms.
const COVER_MS: i64 = 600_000;

/// Pages read in one poll at most, so that stopping never waits for a whole backlog.
const PAGES: usize = 500;

/// Every so manieth poll reads a second member.
const SECOND_EVERY: u32 = 12;

/// Why a poll failed.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// The swarm could not be asked.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// What it answered could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PollError {
    /// Stable name of the reason.
    fn reason(&self) -> &'static str {
        match self {
            Self::Network(error) => error.reason(),
            Self::Store(error) => error.trouble().map_or("DATABASE_FAILED", Trouble::reason),
        }
    }
}

/// Outcome of a poll that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Polled {
    /// Messages that were new here.
    pub new_messages: u32,
    /// When the swarm answered, network time in ms.
    pub at_ms: i64,
}

/// The same poll may have been asked for by several.
pub type Outcome = Result<Polled, Arc<PollError>>;

type Request = oneshot::Sender<Outcome>;

/// Asks the poller to poll now.
#[derive(Clone)]
pub struct Poller {
    requests: mpsc::Sender<Request>,
}

impl Poller {
    /// Starts polling for an account.
    pub fn spawn(context: Context) -> (Self, tokio::task::JoinHandle<()>) {
        let (requests, queue) = mpsc::channel(REQUESTS);
        (Self { requests }, tokio::spawn(run(context, queue)))
    }

    /// Polls now and waits for the outcome. `None` when the agent stops.
    pub async fn poll(&self) -> Option<Outcome> {
        let (answer, outcome) = oneshot::channel();
        self.requests.send(answer).await.ok()?;
        outcome.await.ok()
    }
}

/// Name among the agent's tasks.
pub(super) const TASK: &str = "poller";
/// Longest one page may take: its requests have deadlines, and its commit does not depend on the network.
const TURN: Duration = Duration::from_secs(300);

async fn run(context: Context, mut queue: mpsc::Receiver<Request>) {
    let mut status = context.network.watch();
    // The first poll follows the start, or the first path.
    let mut first = status.borrow_and_update().path_count > 0;
    let mut polls: u32 = 0;
    let mut polled = Instant::now();
    let beat = context.progress.beats.register(TASK, TURN);
    loop {
        beat.turn();
        let mut asked = Vec::new();
        tokio::select! {
            biased;
            () = context.stopped() => break,
            Some(request) = queue.recv() => asked.push(request),
            // Nothing is fetched that could not be kept; the cursors stay where they are.
            () = until_writable(&context), if context.db.health().blocked().is_some() => {}
            () = std::future::ready(()), if std::mem::take(&mut first) => {}
            // Since the last one, whatever else happened meanwhile.
            () = tokio::time::sleep_until(polled + pause(&context)) => {}
            // A path that has just come up is worth a poll.
            Ok(()) = status.changed() => {
                if status.borrow_and_update().path_count == 0 || context.progress.last_poll_ms() > 0
                {
                    continue;
                }
            }
        }
        while let Ok(request) = queue.try_recv() {
            asked.push(request);
        }
        polls = polls.wrapping_add(1);
        let second = polls.is_multiple_of(SECOND_EVERY);
        let outcome = match context.db.health().blocked() {
            Some(trouble) => Err(StoreError::from(trouble).into()),
            None => tokio::select! {
                biased;
                () = context.stopped() => break,
                outcome = poll(&context, second) => outcome,
            },
        };
        polled = Instant::now();
        let counted = outcome.as_ref().map(|polled| polled.new_messages);
        metrics::counts().polled(counted.map_err(PollError::reason));
        let outcome = outcome.map_err(|error| {
            tracing::debug!(%error, "a poll failed");
            Arc::new(error)
        });
        for request in asked {
            // Whoever asked may have gone away.
            drop(request.send(outcome.clone()));
        }
    }
}

/// Resolves once what is fetched can be kept.
async fn until_writable(context: &Context) {
    context.db.health().writable().await;
}

/// Time until the next poll.
fn pause(context: &Context) -> Duration {
    let times = context.network.times();
    let since = context
        .now_ms()
        .saturating_sub(Progress::last_activity_ms(&context.progress));
    if since < millis(times.active_for) {
        times.poll_active
    } else {
        times.poll
    }
}

/// Reads until the member has nothing more; with `second`, or if the member lost its place, another one as well. The
/// next page is asked for while the last one is opened and committed.
pub async fn poll(context: &Context, second: bool) -> Result<Polled, PollError> {
    let place = receive::own_inbox(&context.account_id());
    let known = {
        let mut connection = context
            .db
            .readers()
            .acquire()
            .await
            .map_err(StoreError::from)?;
        received::cursors(&mut connection, &place, context.now_ms()).await?
    };
    let (mut cursors, mut anchors) = (HashMap::new(), HashMap::new());
    for (node, cursor) in known {
        cursors.insert(node, cursor.hash);
        anchors.insert(node, cursor.anchor);
    }
    let complete = Arc::new(AtomicBool::new(false));
    let reading = Reading {
        context: context.clone(),
        place,
        cursors,
        anchors,
        pages: PAGES,
        second,
        beside: None,
        units: VecDeque::new(),
        complete: Arc::clone(&complete),
    };
    let units = stream::try_unfold(reading, Reading::next);
    let new_messages = receive::apply_all(context, units).await?;
    if complete.load(Ordering::Relaxed) {
        cover(context).await?;
    }
    let at_ms = context.now_ms();
    if new_messages > 0 {
        context.progress.active(at_ms);
    }
    Ok(Polled {
        new_messages,
        at_ms,
    })
}

/// Where reading stands. The cursors here run ahead of those on disk, which move with the commits: after a failure the
/// next poll begins at those.
struct Reading {
    context: Context,
    place: Place,
    cursors: HashMap<[u8; 32], String>,
    /// Messages that members with a cursor will not give again, unless they have lost their place.
    anchors: HashMap<[u8; 32], String>,
    /// Pages that may still be asked for.
    pages: usize,
    /// Another member is to be read, too.
    second: bool,
    /// The member read before, once it is another's turn.
    beside: Option<[u8; 32]>,
    units: VecDeque<Unit>,
    /// The member has nothing more.
    complete: Arc<AtomicBool>,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Unit, Self)>, PollError> {
        while self.units.is_empty() && self.pages > 0 {
            let asked = self.context.network.retrieve(
                self.context.isolation,
                &self.context.keys,
                self.place.namespace,
                &self.cursors,
                self.beside,
            );
            let page = match (asked.await, self.beside) {
                (Ok(page), _) => page,
                // The first one was read all the same.
                (Err(error), Some(_)) => {
                    tracing::debug!(%error, "a second member could not be read");
                    break;
                }
                (Err(error), None) => return Err(error.into()),
            };
            self.context.polled();
            let anchor = self.anchors.get(&page.node);
            let mut given = page.messages.iter().map(|message| &message.hash);
            if page.cursor_lost || given.any(|hash| Some(hash) == anchor) {
                self.second = true;
                self.context.copies_doubted.notify_one();
            }
            let mut messages = page.messages;
            let more = page.more && !messages.is_empty();
            self.complete.store(!more, Ordering::Relaxed);
            self.pages = match (more, self.beside) {
                (true, _) => self.pages - 1,
                (false, None) if self.second => {
                    self.beside = Some(page.node);
                    self.pages - 1
                }
                _ => 0,
            };
            if let Some(last) = messages.last() {
                self.cursors.insert(page.node, last.hash.clone());
            }
            while !messages.is_empty() {
                let rest = messages.split_off(messages.len().min(UNIT));
                self.units.push_back(Unit {
                    node: page.node,
                    path: page.path_id.clone(),
                    place: self.place.clone(),
                    messages,
                });
                messages = rest;
            }
        }
        Ok(self.units.pop_front().map(|unit| (unit, self)))
    }
}

/// Everything stored so far is read. What may be missing before is written down as a gap.
async fn cover(context: &Context) -> Result<(), StoreError> {
    let now_ms = context.now_ms();
    let measured = context.network.clock_is_measured();
    let written_ms = context.progress.covered_ms();
    if written_ms > 0 && now_ms.saturating_sub(written_ms) < COVER_MS {
        return Ok(());
    }
    let gap = context
        .db
        .writer()
        .unit(move |connection| {
            Box::pin(async move {
                if measured {
                    note_now(&mut *connection, now_ms).await?;
                }
                gaps::cover(connection, now_ms).await
            })
        })
        .await?;
    if gap {
        tracing::warn!("messages may be missing: the agent was away for longer than they are kept");
    }
    context.progress.covered(now_ms);
    Ok(())
}
