//! Lets messages go at their deadline: one task with one timer, set to the next deadline. When a timer begins is decided
//! in [`super::start`] and [`crate::store::timers`].
//!
//! While nothing is due and nothing is committed the task does not run at all, however many deadlines there are. The
//! timer goes on while the machine sleeps. What has gone is taken out of the write-ahead log at once, or as soon as no
//! reader holds that back ([`crate::store::Writer::scrub`]).
//!
//! Clocks: until nodes have told the time, a local clock that jumped while the agent did not run lets nothing go that was
//! more than a day off ([`Context::certain_ms`]); reads leave out what should have gone meanwhile. Once they have, timers
//! that a clock ahead of them started begin anew. Facts: messages.md 7.5, design.md promise 3.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Context, pace};
use crate::platform::Alarm;
use crate::store::account_db::note_now;
use crate::store::{StoreError, expiry, timers};

/// Longest sleep.
const LONGEST: Duration = Duration::from_secs(86_400);
/// Longest one turn may take.
const TURN: Duration = Duration::from_secs(300);
/// Messages removed in one transaction.
const SWEEP: i64 = 500;
/// Pause after a failure.
const FAILED: Duration = Duration::from_secs(1);

/// Removes everything whose deadline has passed, from the write-ahead log as well. Returns how many messages went.
pub async fn sweep(context: &Context) -> Result<usize, StoreError> {
    let mut all = 0;
    loop {
        let now_ms = context.certain_ms();
        let measured = context.network.clock_is_measured();
        let gone = context
            .db
            .writer()
            .call(move |connection| {
                Box::pin(async move {
                    let gone = expiry::sweep(&mut *connection, now_ms, SWEEP).await?;
                    if gone > 0 && measured {
                        note_now(connection, now_ms).await?;
                    }
                    Ok(gone)
                })
            })
            .await?;
        all += gone;
        if gone == 0 {
            break;
        }
    }
    if all > 0 {
        context.db.writer().scrub().await?;
    }
    Ok(all)
}

/// Sleeps until the next deadline, again and again, until the agent stops.
pub async fn run(context: Context) {
    let mut committed = context.db.committed();
    let mut status = context.network.watch();
    let beat = context.progress.beats.register("expiry", TURN);
    let mut confirmed = false;
    loop {
        beat.turn();
        committed.mark_unchanged();
        status.mark_unchanged();
        if !confirmed && context.network.clock_is_measured() {
            match confirm(&context).await {
                Ok(()) => confirmed = true,
                Err(error) => tracing::warn!(%error, "timers could not be set right"),
            }
        }
        let pause = match turn(&context).await {
            Ok(pause) => pause,
            // Trouble with the disk is told once, by whoever follows it; reads leave out what is over meanwhile.
            Err(error) if error.trouble().is_some() => pace::TROUBLE,
            Err(error) => {
                tracing::warn!(%error, "messages past their deadline could not be removed");
                FAILED
            }
        };
        let mut alarm = std::pin::pin!(Alarm::after(pause));
        loop {
            tokio::select! {
                () = context.stopped() => return,
                () = &mut alarm => break,
                // A commit may bring an earlier deadline; a clock that is told, or set right, moves all.
                changed = committed.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                Ok(()) = status.changed() => break,
                () = beat.idle() => beat.turn(),
            }
        }
    }
}

/// Removes what is due. Returns how long nothing will be.
async fn turn(context: &Context) -> Result<Duration, StoreError> {
    loop {
        context
            .progress
            .expiry_looks
            .fetch_add(1, Ordering::Relaxed);
        let next = {
            let mut connection = context.db.readers().acquire().await?;
            expiry::next(&mut connection).await?
        };
        let Some(at_ms) = next else {
            return Ok(LONGEST);
        };
        // Where nobody has confirmed the clock yet, that ends the wait as well: it changes the status.
        match u64::try_from(at_ms.saturating_sub(context.certain_ms())) {
            Ok(wait_ms) if wait_ms > 0 => return Ok(Duration::from_millis(wait_ms).min(LONGEST)),
            _ => sweep(context).await?,
        };
    }
}

/// Nodes have told the time: no timer began later than now.
async fn confirm(context: &Context) -> Result<(), StoreError> {
    let now_ms = context.now_ms();
    context
        .db
        .writer()
        .call(move |connection| {
            Box::pin(async move {
                note_now(&mut *connection, now_ms).await?;
                timers::begin_no_later_than(connection, now_ms).await
            })
        })
        .await?;
    context.shorten_filled.notify_one();
    Ok(())
}
