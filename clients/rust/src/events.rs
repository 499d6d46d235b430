//! The event log as a stream that survives broken connections and restarts of the agent.
//!
//! The place of the last event that was handed out is kept; after a break the stream goes on
//! strictly after it, so that nothing is missed and nothing comes twice. Nothing is read ahead
//! beyond the connection's own window: a slow reader holds the agent's stream back, not memory.
//! An agent that locks itself ends its streams with FAILED_PRECONDITION (`LOCKED`); a stream that stood
//! waits, at one cheap attempt per pause, and goes on when somebody has unlocked it. What cannot be
//! mended by trying again ends the stream with that error: OUT_OF_RANGE (`LOG_REPLACED`,
//! `CURSOR_EXPIRED`), ABORTED (`SUBSCRIBER_REPLACED`) and every other refusal.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{FutureExt as _, Stream, StreamExt, future::BoxFuture};
use sessiond_proto::v1::{
    Event, Ready, SubscribeRequest, SubscribeResponse, subscribe_response::Item,
};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tonic::Streaming;

use crate::{Client, Error};

/// What an [`EventStream`] yields.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// The stream stands. Comes once, first.
    Ready(Ready),
    /// Something happened.
    Event(Box<Event>),
    /// The connection is gone, or the agent is locked; the stream tries again after `retry_in`. Live signals (transient
    /// events) that happen meanwhile are missed.
    Disconnected {
        /// Why, for people.
        reason: String,
        /// Pause before the next attempt.
        retry_in: Duration,
    },
    /// The stream stands again, where it broke off.
    Resumed(Ready),
}

/// Pauses between attempts to connect again: doubling from `first` to `longest`.
///
/// There is no last attempt: a frontend waits for its agent as long as it runs, at one cheap
/// attempt per `longest`, and keeps nothing while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Before the first attempt: 100 ms.
    pub first: Duration,
    /// At most: 5 s.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(5),
        }
    }
}

impl Backoff {
    fn pause(&self, attempt: u32) -> Duration {
        self.first
            .saturating_mul(1_u32 << attempt.min(16))
            .min(self.longest)
    }
}

type Live = Streaming<SubscribeResponse>;
type Opening = BoxFuture<'static, Result<(Ready, Box<Live>), Error>>;

enum State {
    Opening(Opening),
    Live(Box<Live>),
    Waiting(Pin<Box<Sleep>>),
    Ended,
}

/// Events from the agent; see the module's head. Dropping a `next` future loses nothing.
///
/// The very first attempt is not repeated: when the agent cannot be reached or is locked, the stream
/// yields that error and ends.
pub struct EventStream {
    client: Client,
    /// Its `after_cursor` follows what was handed out.
    request: SubscribeRequest,
    backoff: Backoff,
    /// Attempts since the stream last proved useful.
    attempt: u32,
    stood_before: bool,
    live_since: Instant,
    state: State,
}

impl Client {
    /// Subscribes to the event log.
    ///
    /// ```no_run
    /// # async fn example(client: sessiond_client::Client) -> Result<(), sessiond_client::Error> {
    /// use sessiond_client::{Update, v1};
    /// let subscriber = "my-program".to_owned();
    /// let mut events = client.events(v1::SubscribeRequest {
    ///     subscriber: subscriber.clone(),
    ///     ..Default::default()
    /// });
    /// while let Some(update) = events.next().await {
    ///     if let Update::Event(event) = update? {
    ///         // Deal with it, then say so: what is not acknowledged comes again next time.
    ///         let request = v1::AcknowledgeRequest {
    ///             subscriber: subscriber.clone(),
    ///             cursor: event.cursor,
    ///             ..Default::default()
    ///         };
    ///         client.acknowledge(request).await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn events(&self, request: SubscribeRequest) -> EventStream {
        self.events_with(request, Backoff::default())
    }

    /// Subscribes to the event log with other pauses between attempts.
    #[must_use]
    pub fn events_with(&self, request: SubscribeRequest, backoff: Backoff) -> EventStream {
        let state = State::Opening(open(self.clone(), request.clone()));
        EventStream {
            client: self.clone(),
            request,
            backoff,
            attempt: 0,
            stood_before: false,
            live_since: Instant::now(),
            state,
        }
    }
}

fn open(client: Client, request: SubscribeRequest) -> Opening {
    let deadline = client.deadlines().call;
    async move {
        let opening = async {
            let mut live = client.event_log().subscribe(request).await?.into_inner();
            let first = live.message().await?;
            Ok((first, live))
        };
        let (first, live) = timeout(deadline, opening)
            .await
            .map_err(|_| Error::Deadline { after: deadline })?
            .map_err(|status: tonic::Status| Error::from_status(&status, deadline))?;
        match first {
            Some(SubscribeResponse {
                item: Some(Item::Ready(ready)),
            }) if !ready.cursor.is_empty() => Ok((ready, Box::new(live))),
            // An agent that is about to end may close the stream before it says anything.
            None => Err(Error::ConnectionLost {
                detail: "the agent ended the stream".into(),
            }),
            Some(_) => Err(Error::Protocol {
                detail: "an event stream must start with Ready",
            }),
        }
    }
    .boxed()
}

impl EventStream {
    /// The next update; `None` after the end, which only a `replay_only` stream reaches without an
    /// error.
    pub async fn next(&mut self) -> Option<Result<Update, Error>> {
        StreamExt::next(self).await
    }

    /// Place of the last event handed out, or where the stream started; empty before it stands.
    #[must_use]
    pub fn cursor(&self) -> &str {
        &self.request.after_cursor
    }

    fn opened(&mut self, ready: Ready, live: Box<Live>) -> Update {
        self.state = State::Live(live);
        self.live_since = Instant::now();
        self.request.after_cursor.clone_from(&ready.cursor);
        if std::mem::replace(&mut self.stood_before, true) {
            Update::Resumed(ready)
        } else {
            Update::Ready(ready)
        }
    }

    fn happened(&mut self, event: Event) -> Update {
        if !event.transient && !event.cursor.is_empty() {
            self.request.after_cursor.clone_from(&event.cursor);
        }
        // An agent that answers and falls over at once must not be asked ten times a second.
        self.attempt = 0;
        Update::Event(Box::new(event))
    }

    fn broke(&mut self, error: Error) -> Result<Update, Error> {
        if !self.stood_before || !(error.is_transient() || error.is_locked()) {
            self.state = State::Ended;
            return Err(error);
        }
        if matches!(self.state, State::Live(_)) && self.live_since.elapsed() > self.backoff.longest
        {
            self.attempt = 0;
        }
        let retry_in = self.backoff.pause(self.attempt);
        self.attempt = self.attempt.saturating_add(1);
        self.state = State::Waiting(Box::pin(sleep(retry_in)));
        Ok(Update::Disconnected {
            reason: error.to_string(),
            retry_in,
        })
    }
}

impl Stream for EventStream {
    type Item = Result<Update, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Opening(opening) => {
                    return Poll::Ready(Some(match ready!(opening.poll_unpin(cx)) {
                        Ok((ready, live)) => Ok(this.opened(ready, live)),
                        Err(error) => this.broke(error),
                    }));
                }
                State::Live(live) => match ready!(live.poll_next_unpin(cx)) {
                    Some(Ok(SubscribeResponse {
                        item: Some(Item::Event(event)),
                    })) => {
                        return Poll::Ready(Some(Ok(this.happened(event))));
                    }
                    // An arm of a newer schema: nothing that we could hand out.
                    Some(Ok(_)) => {}
                    Some(Err(status)) => {
                        let error = Error::from_status(&status, this.client.deadlines().call);
                        return Poll::Ready(Some(this.broke(error)));
                    }
                    None if this.request.replay_only => this.state = State::Ended,
                    None => {
                        let detail = "the agent ended the stream".to_owned();
                        return Poll::Ready(Some(this.broke(Error::ConnectionLost { detail })));
                    }
                },
                State::Waiting(pause) => {
                    ready!(pause.poll_unpin(cx));
                    this.state = State::Opening(open(this.client.clone(), this.request.clone()));
                }
                State::Ended => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff::default();
        let pauses: Vec<u128> = (0..8).map(|n| backoff.pause(n).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.pause(u32::MAX), Duration::from_secs(5));
    }
}
