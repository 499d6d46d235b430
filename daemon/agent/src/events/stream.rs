//! One subscriber's stream: pages from the log until it has caught up, then live events; back to pages when it falls
//! behind.

use std::sync::Arc;
use std::time::Duration;

use sessiond_proto::v1;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{mpsc, watch};

use super::Cursor;
use super::hub::{Hub, Live, PAGE};
use super::join::join;
use crate::store::{StoreError, events};

/// Responses that wait for a client that does not read; the stream waits with them.
const BACKLOG: usize = 32;
/// Longest a stream waits to say why it ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// After this place.
    After(Cursor),
    /// After the last acknowledgement of a named subscriber, else at the end.
    Acknowledged,
    /// At the oldest event kept.
    Oldest,
    /// At the end.
    Newest,
}

/// Why a stream ends, or cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StreamEnd {
    /// The cursor is of another log.
    #[error("the cursor belongs to another event log: list what there is, then subscribe after it")]
    LogReplaced,
    /// The log no longer reaches back to the cursor.
    #[error(
        "the event log no longer reaches that far back: list what there is, then subscribe after it"
    )]
    CursorExpired,
    /// Another stream took the subscriber's name.
    #[error("another stream subscribed under this name")]
    SubscriberReplaced,
    /// The agent stops.
    #[error("the agent is stopping")]
    Stopping,
    /// The account was locked.
    #[error("the account was locked: unlock it, then subscribe after the last event")]
    Locked,
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A stream that is being fed.
pub type Subscription = mpsc::Receiver<Result<v1::SubscribeResponse, StreamEnd>>;

impl Hub {
    /// Checks where to begin and starts feeding a stream. It ends when the receiver is dropped.
    pub async fn subscribe(
        self: &Arc<Self>,
        subscriber: String,
        start: Start,
        replay_only: bool,
    ) -> Result<Subscription, StreamEnd> {
        // Listening starts before the log is read, so that nothing falls between the two.
        let live = self.listen();
        let (position, head) = self.place(&subscriber, start).await?;
        let claim = (!subscriber.is_empty()).then(|| self.claim(&subscriber));
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let mut feed = Feed {
            hub: Arc::clone(self),
            sender,
            position,
            live,
        };
        let until = replay_only.then_some(head);
        let hub = Arc::clone(self);
        let last_word = feed.sender.clone();
        tokio::spawn(async move {
            let (number, replaced) = claim.unzip();
            let end = tokio::select! {
                biased;
                () = told(replaced) => Some(StreamEnd::SubscriberReplaced),
                () = hub.context.stopped() => Some(hub.end()),
                () = last_word.closed() => None,
                end = feed.fill(head, until) => end,
            };
            if let Some(number) = number {
                hub.release(&subscriber, number);
            }
            if let Some(end) = end {
                // A client that is gone needs no reason; one that does not read gets none.
                drop(tokio::time::timeout(FAREWELL, last_word.send(Err(end))).await);
            }
        });
        Ok(receiver)
    }

    /// The place a stream begins at, and the end of the log.
    async fn place(&self, subscriber: &str, start: Start) -> Result<(i64, i64), StreamEnd> {
        let db = &self.context.db;
        let mut connection = db.readers().acquire().await.map_err(StoreError::from)?;
        let head = events::head(&mut connection).await?;
        let floor = events::floor(&mut connection).await?;
        let position = match start {
            Start::After(cursor) if cursor.log_id != db.meta().log_id || cursor.seq > head => {
                return Err(StreamEnd::LogReplaced);
            }
            Start::After(cursor) => cursor.seq,
            Start::Oldest => floor,
            Start::Newest => head,
            Start::Acknowledged if subscriber.is_empty() => head,
            Start::Acknowledged => events::acknowledged(&mut connection, subscriber)
                .await?
                .unwrap_or(head),
        };
        if position < floor {
            Err(StreamEnd::CursorExpired)
        } else {
            Ok((position, head))
        }
    }
}

/// Resolves when another stream takes the name; never for a stream without one.
async fn told(replaced: Option<watch::Receiver<bool>>) {
    if let Some(mut replaced) = replaced
        && replaced.wait_for(|replaced| *replaced).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

struct Feed {
    hub: Arc<Hub>,
    sender: mpsc::Sender<Result<v1::SubscribeResponse, StreamEnd>>,
    position: i64,
    live: broadcast::Receiver<Live>,
}

impl Feed {
    /// Feeds the stream. `None` when the client is gone or, with `until`, when everything up to there was sent.
    async fn fill(&mut self, head: i64, until: Option<i64>) -> Option<StreamEnd> {
        if !self
            .send(v1::subscribe_response::Item::Ready(self.ready(head)))
            .await
        {
            return None;
        }
        loop {
            match self.catch_up(until).await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(end) => return Some(end),
            }
            match self.follow().await {
                // Fell behind: what was missed is in the log.
                Some(()) => {}
                None => return None,
            }
        }
    }

    fn ready(&self, head: i64) -> v1::Ready {
        let log_id = self.hub.context.db.meta().log_id;
        let cursor = |seq| Cursor { log_id, seq }.encode();
        v1::Ready {
            cursor: cursor(self.position),
            head_cursor: cursor(head),
        }
    }

    /// Sends pages until the end of the log. False when the stream is done.
    async fn catch_up(&mut self, until: Option<i64>) -> Result<bool, StreamEnd> {
        let db = Arc::clone(&self.hub.context.db);
        loop {
            if until.is_some_and(|until| self.position >= until) {
                return Ok(false);
            }
            let events = {
                let mut connection = db.readers().acquire().await.map_err(StoreError::from)?;
                if self.position < events::floor(&mut connection).await? {
                    return Err(StreamEnd::CursorExpired);
                }
                let mut rows = events::after(&mut connection, self.position, PAGE).await?;
                rows.retain(|row| until.is_none_or(|until| row.seq <= until));
                let Some(last) = rows.last() else {
                    return Ok(until.is_none());
                };
                self.position = last.seq;
                let now_ms = self.hub.context.now_ms();
                join(&mut connection, db.meta().log_id, &rows, now_ms).await?
            };
            for event in events {
                if !self.send(v1::subscribe_response::Item::Event(event)).await {
                    return Ok(false);
                }
            }
        }
    }

    /// Sends live events. `Some` when some were missed, `None` when the client is gone.
    async fn follow(&mut self) -> Option<()> {
        loop {
            match self.live.recv().await {
                Ok(Live { seq: Some(seq), .. }) if seq <= self.position => {}
                // A gap means that nobody listened for a moment.
                Ok(Live { seq: Some(seq), .. }) if seq > self.position + 1 => return Some(()),
                Ok(live) => {
                    self.position = live.seq.unwrap_or(self.position);
                    let event = v1::Event::clone(&live.event);
                    if !self.send(v1::subscribe_response::Item::Event(event)).await {
                        return None;
                    }
                }
                Err(RecvError::Lagged(_)) => return Some(()),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    async fn send(&self, item: v1::subscribe_response::Item) -> bool {
        self.sender
            .send(Ok(v1::SubscribeResponse { item: Some(item) }))
            .await
            .is_ok()
    }
}
