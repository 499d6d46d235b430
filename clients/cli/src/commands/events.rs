//! `events`
//!
//! With a name every event is acknowledged after it was printed and flushed, so that whoever reads
//! the output misses nothing when this program is killed; at worst the last event comes twice.

use clap::Args;
use sessiond_client::{
    Client, Error, Update,
    v1::{AcknowledgeRequest, Event, StreamStart, SubscribeRequest},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{args, context::Context, failure::Failure, format::event};

/// Arguments of `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Go on with new events as they happen, through restarts of the agent; Ctrl-C ends
    #[arg(long)]
    pub follow: bool,
    /// Only events after this place
    #[arg(long, allow_hyphen_values = true, value_name = "CURSOR")]
    pub after: Option<String>,
    /// Subscribe under this name: every event is acknowledged after it was printed and flushed
    #[arg(long = "as", value_name = "NAME", value_parser = args::subscriber)]
    pub name: Option<String>,
}

pub async fn events(context: &mut Context, args: EventsArgs) -> Result<(), Failure> {
    // Without --follow Ctrl-C ends the program in the usual way. One listener for all of it: a signal
    // that comes while an event is printed counts, too.
    let mut interrupt = if args.follow {
        Some(signal(SignalKind::interrupt())?)
    } else {
        None
    };
    let client = context.connect().await?;
    let start = match (&args.name, args.follow) {
        (Some(_), _) => StreamStart::Unspecified,
        (None, true) => StreamStart::Newest,
        (None, false) => StreamStart::Oldest,
    };
    let mut stream = client.events(SubscribeRequest {
        subscriber: args.name.clone().unwrap_or_default(),
        after_cursor: args.after.unwrap_or_default(),
        start: start.into(),
        replay_only: !args.follow,
        ..SubscribeRequest::default()
    });
    let mut place = Place {
        client,
        name: args.name,
        pending: None,
    };
    loop {
        let update = tokio::select! {
            update = stream.next() => update,
            () = interrupted(&mut interrupt) => None,
        };
        match update.transpose()? {
            None => return place.settle().await.map_err(Failure::from),
            Some(Update::Event(event)) => {
                print(context, &event)?;
                place.reached(event.cursor).await?;
            }
            // A new name is remembered from here on, even if nothing happens before we end.
            Some(Update::Ready(ready)) => place.reached(ready.cursor).await?,
            Some(Update::Disconnected { reason, .. }) => {
                context.progress(&format!("{reason}; trying again …"));
            }
            Some(Update::Resumed(_)) => {
                context.progress("connected again");
                place.try_settle().await?;
            }
        }
    }
}

async fn interrupted(interrupt: &mut Option<Signal>) {
    match interrupt {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn print(context: &mut Context, it: &Event) -> Result<(), Failure> {
    if context.json {
        context.object("Event", it)?;
    } else {
        let line = event::event(it, &context.clock, context.full);
        context.print(&format!("{line}\n"))?;
    }
    context.flush()
}

/// How far a named subscriber has come, and whether the agent knows.
struct Place {
    client: Client,
    name: Option<String>,
    pending: Option<String>,
}

impl Place {
    async fn reached(&mut self, cursor: String) -> Result<(), Error> {
        // A live signal has no place.
        if self.name.is_some() && !cursor.is_empty() {
            self.pending = Some(cursor);
        }
        self.try_settle().await
    }

    /// Acknowledges; an agent that is away or locked will be told when it is back.
    async fn try_settle(&mut self) -> Result<(), Error> {
        match self.settle().await {
            Err(error) if error.is_transient() || error.is_locked() => Ok(()),
            outcome => outcome,
        }
    }

    async fn settle(&mut self) -> Result<(), Error> {
        if let (Some(name), Some(cursor)) = (&self.name, &self.pending) {
            let (subscriber, cursor) = (name.clone(), cursor.clone());
            let request = AcknowledgeRequest {
                subscriber,
                cursor,
                ..Default::default()
            };
            self.client.acknowledge(request).await?;
            self.pending = None;
        }
        Ok(())
    }
}
