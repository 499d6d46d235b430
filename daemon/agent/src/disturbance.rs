//! Notices that the machine slept or that its network changed, and has the onion paths tested at once: after either,
//! connections are dead although nobody has said so (users.md 2.3, 22).

use std::time::Duration;

use session_network::Network;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::platform::{NetworkChanges, suspended};

/// Between two looks at how long the machine has slept: no finer than the poll.
const LOOK: Duration = Duration::from_secs(5);

/// Shorter sleep is none: the two clocks are not read at the same moment.
const NAP: Duration = Duration::from_secs(2);

/// What happens within this time after a change is answered with it, or together after it: a new connection comes
/// with a dozen messages.
const HOLD: Duration = Duration::from_secs(2);

/// Watches until the agent stops.
pub async fn watch(network: Network, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = notice(&network) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn notice(network: &Network) {
    let mut gauge = Gauge::new(suspended());
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changes = match NetworkChanges::open() {
        Ok(changes) => Some(changes),
        Err(error) => {
            tracing::warn!(%error, "changes of the network are not told; found out by failing requests");
            None
        }
    };
    loop {
        tokio::select! {
            _ = look.tick() => {
                if !gauge.slept(suspended()) {
                    continue;
                }
                tracing::debug!("the machine slept; paths are tested");
            }
            outcome = next(&mut changes) => {
                if let Err(error) = outcome {
                    tracing::warn!(%error, "changes of the network are no longer told");
                    changes = None;
                    continue;
                }
                tracing::debug!("the network changed; paths are tested");
            }
        }
        network.disturbed();
        sleep(HOLD).await;
    }
}

async fn next(changes: &mut Option<NetworkChanges>) -> std::io::Result<()> {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

/// Tells sleep by how long the machine has slept in all.
struct Gauge {
    last: Duration,
}

impl Gauge {
    fn new(suspended: Duration) -> Self {
        Self { last: suspended }
    }

    /// Whether it slept since the last time.
    fn slept(&mut self, suspended: Duration) -> bool {
        let slept = suspended.saturating_sub(self.last) >= NAP;
        // Drift of less is taken up, so that it does not add up to a sleep.
        self.last = suspended;
        slept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_clocks_is_a_sleep_and_is_told_once() {
        let ms = Duration::from_millis;
        let mut gauge = Gauge::new(ms(10_000));
        assert!(!gauge.slept(ms(10_000)));
        // The clocks are read one after the other.
        for drift in [10_900, 11_800, 10_001, 11_999] {
            assert!(!gauge.slept(ms(drift)));
        }
        assert!(gauge.slept(ms(60_000)));
        assert!(!gauge.slept(ms(60_000)));
        assert!(!gauge.slept(ms(59_999)));
        assert!(gauge.slept(ms(62_000)));
    }

    #[test]
    fn this_machine_can_tell() {
        let before = suspended();
        std::thread::sleep(Duration::from_millis(20));
        // It does not sleep while it runs this, so that the difference of its clocks stays.
        assert!(suspended().abs_diff(before) < NAP);
    }
}
