//! What the service manager is told: readiness, a line of status, reloads, the end, and that the agent is alive.
//!
//! The sd_notify protocol: a datagram to `$NOTIFY_SOCKET`. Without that variable nothing is sent.
//!
//! A manager gives a start its time (`TimeoutStartSec=`), and a process that began anew after a lock is still watched. A
//! start that is at work, as with a check of the whole database, or that waits for room therefore asks for more time and
//! feeds the watchdog, round by round. It does so from the task that starts: one that does not turn asks for nothing.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, interval};

use crate::agent::Agent;

/// How long the manager is asked to wait for the next round of a start.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two rounds of a start, at most.
const ROUND: Duration = Duration::from_secs(5);
/// One piece of work is not waited for longer: then the manager's own limits hold again.
const LONGEST: Duration = Duration::from_secs(3600);

/// The socket stands and calls are answered. Also ends a reload.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Not ready yet, and why.
pub fn waits(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Does a piece of a start, and asks for time meanwhile.
pub async fn bear_with<T>(work: impl Future<Output = T>) -> T {
    let round = feeding().unwrap_or(ROUND).min(ROUND);
    in_rounds(round, work, || {
        let micros = u32::try_from(PATIENCE.as_micros()).unwrap_or(u32::MAX);
        tell(&[
            NotifyState::ExtendTimeoutUsec(micros),
            NotifyState::Watchdog,
        ]);
    })
    .await
}

async fn in_rounds<T>(round: Duration, work: impl Future<Output = T>, ask: impl Fn()) -> T {
    let mut work = pin!(work);
    let mut rounds = interval(round);
    let end = Instant::now() + LONGEST;
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            _ = rounds.tick(), if Instant::now() < end => ask(),
        }
    }
}

/// Settings are being read again.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no time for the service manager"),
    }
}

/// What is under way is being finished.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Feeds the watchdog, if there is one, as long as every task turns. A stall is logged once, by the task's name.
pub async fn feed(agent: Arc<Agent>) {
    let Some(pause) = feeding() else {
        return;
    };
    let mut stalled = None;
    loop {
        let now = agent.stalled().await;
        match now {
            None => tell(&[NotifyState::Watchdog]),
            Some(task) if stalled != now => {
                tracing::error!(
                    task,
                    "a task does not turn any more: the watchdog is not fed"
                );
            }
            Some(_) => {}
        }
        stalled = now;
        tokio::time::sleep(pause).await;
    }
}

/// How often a watchdog wants to be fed, if there is one.
fn feeding() -> Option<Duration> {
    let interval = sd_notify::watchdog_enabled()?;
    Some((interval / 2).max(Duration::from_millis(10)))
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn long_work_asks_for_time_in_every_round_and_not_for_ever() {
        let asked = Cell::new(0);
        let ask = || asked.set(asked.get() + 1);
        let work = async {
            tokio::time::sleep(ROUND * 10 + ROUND / 2).await;
            7
        };
        assert_eq!(in_rounds(ROUND, work, ask).await, 7);
        assert_eq!(asked.take(), 11);
        in_rounds(ROUND, tokio::time::sleep(LONGEST * 2), ask).await;
        let rounds = LONGEST.as_secs() / ROUND.as_secs();
        assert!((rounds..=rounds + 1).contains(&asked.get()), "{asked:?}");
    }
}
