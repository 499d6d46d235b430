//! Lets messages go at their deadline: one task that sleeps until the next one.
//!
//! When a timer begins is decided here, by what is known on arrival (messages.md 7.5): a message that disappears after
//! sending, and our own copies, by the time they were stored; one that disappears after reading not before it is read.

use std::time::Duration;

use super::Context;
use crate::store::messages::AFTER_READ;
use crate::store::{StoreError, expiry};

/// Longest sleep: the clock may be corrected meanwhile.
const LONGEST: Duration = Duration::from_secs(60);
/// Longest one turn may take.
const TURN: Duration = Duration::from_secs(300);
/// Messages removed in one transaction.
const SWEEP: i64 = 500;
/// A stored copy's lifetime is the timer when it began this close to the sent timestamp, ms.
const NEAR_MS: i64 = 3_600_000;
/// How far before its sent timestamp a timer may begin at most, ms.
const EARLY_MS: i64 = 60_000;

/// When the timer of an arriving message began, ms; `None`: it has none, or it waits for reading.
///
/// `expiry` is type and seconds, `own` whether we wrote it, `stored_until_ms` when the swarm drops the copy.
pub fn start_on_arrival(
    expiry: (i64, i64),
    own: bool,
    sent_ms: i64,
    stored_until_ms: i64,
    now_ms: i64,
) -> Option<i64> {
    let (kind, seconds) = expiry;
    if kind == 0 || seconds <= 0 || (kind == AFTER_READ && !own) {
        return None;
    }
    let stored_ms = stored_until_ms.saturating_sub(seconds.saturating_mul(1000));
    Some(if stored_ms.abs_diff(sent_ms) <= NEAR_MS.unsigned_abs() {
        stored_ms.max(sent_ms.saturating_sub(EARLY_MS)).min(now_ms)
    } else {
        sent_ms.min(now_ms)
    })
}

/// Removes everything whose deadline has passed.
pub async fn sweep(context: &Context) -> Result<(), StoreError> {
    loop {
        let now_ms = context.now_ms();
        let gone = context
            .db
            .writer()
            .call(move |connection| Box::pin(expiry::sweep(connection, now_ms, SWEEP)))
            .await?;
        if gone < usize::try_from(SWEEP).unwrap_or(usize::MAX) {
            return Ok(());
        }
    }
}

/// Sleeps until the next deadline, again and again, until the agent stops.
pub async fn run(context: Context) {
    let mut committed = context.db.committed();
    let beat = context.progress.beats.register("expiry", TURN);
    loop {
        beat.turn();
        committed.mark_unchanged();
        let pause = match next(&context).await {
            Ok(Some(at)) => Duration::from_millis(
                u64::try_from(at.saturating_sub(context.now_ms())).unwrap_or(0),
            ),
            Ok(None) => LONGEST,
            Err(error) => {
                tracing::warn!(%error, "the next deadline is not known");
                LONGEST
            }
        };
        if pause.is_zero() {
            match sweep(&context).await {
                Ok(()) => {}
                // Reads leave out what has passed its deadline meanwhile.
                Err(error) if error.trouble().is_some() => tokio::select! {
                    () = context.stopped() => break,
                    () = tokio::time::sleep(Duration::from_secs(5)) => {}
                },
                Err(error) => {
                    tracing::warn!(%error, "messages past their deadline could not be removed");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            continue;
        }
        tokio::select! {
            () = context.stopped() => break,
            () = tokio::time::sleep(pause.min(LONGEST)) => {}
            // A commit may bring an earlier deadline.
            changed = committed.changed() => if changed.is_err() { break },
        }
    }
}

async fn next(context: &Context) -> Result<Option<i64>, StoreError> {
    let mut connection = context.db.readers().acquire().await?;
    expiry::next(&mut connection).await
}

#[cfg(test)]
mod tests {
    use super::start_on_arrival;

    const SENT: i64 = 1_790_000_000_000;
    const HOUR: i64 = 3_600_000;

    #[test]
    fn timers_begin_when_the_rules_say() {
        let two_weeks = SENT + 14 * 24 * HOUR;
        for (expiry, own, stored_until, now, start) in [
            // None, or nonsense.
            ((0, 0), false, two_weeks, SENT, None),
            ((2, 0), false, two_weeks, SENT, None),
            // After reading: ours at once, theirs not yet.
            ((1, 3600), false, two_weeks, SENT, None),
            ((1, 3600), true, two_weeks, SENT + 5, Some(SENT)),
            // After sending: by the storing when the copy lives as long as the timer.
            (
                (2, 3600),
                false,
                SENT + 2_000 + HOUR,
                SENT + 9_000,
                Some(SENT + 2_000),
            ),
            (
                (2, 3600),
                false,
                SENT + 2_000 + HOUR,
                SENT + 1_000,
                Some(SENT + 1_000),
            ),
            (
                (2, 3600),
                false,
                SENT - 90_000 + HOUR,
                SENT,
                Some(SENT - 60_000),
            ),
            // Else by the sent timestamp, never by the future.
            ((2, 3600), false, two_weeks, SENT + 9_000, Some(SENT)),
            (
                (2, 3600),
                false,
                two_weeks,
                SENT - 9_000,
                Some(SENT - 9_000),
            ),
        ] {
            assert_eq!(
                start_on_arrival(expiry, own, SENT, stored_until, now),
                start,
                "{expiry:?} {own} {stored_until} {now}"
            );
        }
    }
}
