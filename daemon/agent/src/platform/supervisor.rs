//! What the service manager is told: readiness, a line of status, reloads, the end, and that the agent is alive.
//!
//! The sd_notify protocol: a datagram to `$NOTIFY_SOCKET`. Without that variable nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::agent::Agent;

/// The socket stands and calls are answered. Also ends a reload.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Not ready yet, and why.
pub fn waits(status: &str) {
    tell(&[NotifyState::Status(status)]);
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
    let Some(interval) = sd_notify::watchdog_enabled() else {
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
        tokio::time::sleep((interval / 2).max(Duration::from_millis(10))).await;
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
