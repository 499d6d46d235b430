//! What the layer counts, for monitors.
//!
//! No label holds an identifier: reasons and kinds are names of this program, so that there are only so many series.
//! Counting is an atomic addition; nothing is added up until somebody asks.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::onion::SendError;

/// A count for each value of one label.
type By = Family<[(&'static str, &'static str); 1], Counter>;

/// Upper ends of the buckets of round trips, s. Three hops take some tenths of a second; a request has 10 s or more.
const ROUND_TRIP: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What an onion request is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// A call of the program above, or of the layer itself.
    Call,
    /// A test of a path or a node.
    Test,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Test => "test",
        }
    }
}

/// The counters of a network layer. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<[(&'static str, &'static str); 2], Counter>,
    round_trips: Histogram,
    pub(crate) built: Counter,
    pub(crate) not_built: By,
    pub(crate) dropped: By,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            round_trips: Histogram::new(ROUND_TRIP),
            built: Counter::default(),
            not_built: By::default(),
            dropped: By::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn requested(&self, purpose: Purpose, outcome: Result<Duration, &SendError>) {
        let name = match outcome {
            Ok(took) => {
                self.round_trips.observe(took.as_secs_f64());
                "OK"
            }
            Err(SendError::Fault(fault)) => fault.name(),
            Err(SendError::Malformed) => "MALFORMED_ANSWER",
            Err(SendError::Build(_)) => "REQUEST_INVALID",
        };
        let labels = [("purpose", purpose.name()), ("outcome", name)];
        self.requests.get_or_create(&labels).inc();
    }

    pub(crate) fn count(by: &By, reason: &'static str) {
        by.get_or_create(&[("reason", reason)]).inc();
    }

    /// Adds them to those of a program.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "onion_requests",
            "Onion requests by purpose and outcome",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "onion_round_trip",
            "Time until an onion request was answered",
            Unit::Seconds,
            self.round_trips.clone(),
        );
        registry.register(
            "paths_built",
            "Onion paths that came into use",
            self.built.clone(),
        );
        registry.register(
            "paths_not_built",
            "Onion paths that did not pass their first test, by reason",
            self.not_built.clone(),
        );
        registry.register(
            "paths_dropped",
            "Onion paths that are no longer used, by reason",
            self.dropped.clone(),
        );
    }
}
