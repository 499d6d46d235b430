//! What the agent counts, as OpenMetrics text (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
//!
//! No label holds an identifier: methods, codes, reasons and kinds are names of this program, so that there are only so
//! many series. Counters belong to the process and begin at 0 with it, save those that the database keeps; they are
//! atomic additions. Gauges are looked at when somebody asks, and nothing runs in between.

mod ask;
mod calls;

pub use ask::{MetricsError, text};
pub use calls::Counted;

use std::sync::LazyLock;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Label values that this program has names for.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Counters of this process.
#[derive(Default)]
pub struct Counts {
    received: Counter,
    stored: Family<Labels<1>, Counter>,
    store_failures: Family<Labels<1>, Counter>,
    failed: Family<Labels<1>, Counter>,
    polls: Family<Labels<1>, Counter>,
    calls: Family<Vec<(&'static str, String)>, Counter>,
}

static COUNTS: LazyLock<Counts> = LazyLock::new(Counts::default);

/// The counters.
pub fn counts() -> &'static Counts {
    &COUNTS
}

impl Counts {
    /// A poll ended, with so many new messages or for a reason without.
    pub fn polled(&self, outcome: Result<u32, &'static str>) {
        let name = match outcome {
            Ok(new) => {
                self.received.inc_by(u64::from(new));
                "OK"
            }
            Err(reason) => reason,
        };
        self.polls.get_or_create(&[("outcome", name)]).inc();
    }

    /// A swarm confirmed what the outbox had: for the `recipient`, or the `copy` for the own devices.
    pub fn stored(&self, purpose: &'static str) {
        self.stored.get_or_create(&[("purpose", purpose)]).inc();
    }

    /// An attempt to store failed.
    pub fn not_stored(&self, reason: &'static str) {
        self.store_failures
            .get_or_create(&[("reason", reason)])
            .inc();
    }

    /// Something in the outbox was given up.
    pub fn given_up(&self, reason: &'static str) {
        self.failed.get_or_create(&[("reason", reason)]).inc();
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "messages_received",
            "Messages that polls brought and that were new",
            self.received.clone(),
        );
        registry.register(
            "messages_stored",
            "Messages that a swarm confirmed, for the recipient or as a copy for the own devices",
            self.stored.clone(),
        );
        registry.register(
            "store_failures",
            "Attempts to store a message that failed, by reason",
            self.store_failures.clone(),
        );
        registry.register(
            "messages_failed",
            "Messages that were given up, by reason",
            self.failed.clone(),
        );
        registry.register(
            "polls",
            "Polls of the own swarm, by outcome",
            self.polls.clone(),
        );
        registry.register(
            "calls",
            "Calls of the local API, by method and by the code with which the answer began",
            self.calls.clone(),
        );
    }
}
