//! Every duration of the network layer, in one place, so that a test network can scale them together.
//!
//! Facts: network.md 6.1, 6.4, 7.1 and 10; messages.md 5.6; observed-nodes.md 1 and 15.

use std::time::Duration;

/// Intervals and deadlines. The values of [`Times::default`] are those for the real network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Between two polls of the own swarm.
    pub poll: Duration,
    /// The same while someone is writing or was just written to.
    pub poll_active: Duration,
    /// How long after activity [`Times::poll_active`] holds.
    pub active_for: Duration,
    /// Deadline of one attempt of a request.
    pub request: Duration,
    /// Deadline of one attempt of a store. A swarm with a frozen member answers after 5.25 s.
    pub store: Duration,
    /// Deadline of the `info` that tells whether a path works.
    pub probe: Duration,
    /// Deadline of the TCP connection to a guard or seed.
    pub connect: Duration,
    /// Deadline of a seed's answer.
    pub seed: Duration,
    /// Deadline of a call with all its attempts, waiting for a first path included. Three stores fit into it.
    pub call: Duration,
    /// Age at which the node list is fetched again.
    pub refresh: Duration,
    /// Age at which the hops behind a guard are replaced.
    pub rotate: Duration,
    /// How long nothing need come back over a path before it is tested.
    pub test: Duration,
    /// How long circuits of an isolation key that nobody uses are kept.
    pub idle: Duration,
    /// Pause after the first failed try to build a path or get a node list; doubles up to
    /// [`Times::backoff_max`].
    pub backoff_min: Duration,
    /// Longest such pause.
    pub backoff_max: Duration,
    /// How long a guard that could not be reached is left alone, a silent destination asked last, and nobody else asked for
    /// the time.
    pub guard_rest: Duration,
    /// Least time between two resynchronisations of the clock.
    pub resync: Duration,
    /// Pause after the first failed attempt to send what waits; doubles up to [`Times::resend_max`].
    pub resend_min: Duration,
    /// Longest such pause.
    pub resend_max: Duration,
    /// The same while there is no path. A path that comes up ends it.
    pub resend_no_path: Duration,
    /// Pause before the swarm is asked about a copy that members missed; doubles up to [`Times::repair_max`]. Also the
    /// least time between two such rounds.
    pub repair_min: Duration,
    /// Longest such pause.
    pub repair_max: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            poll: seconds(5),
            poll_active: seconds(2),
            active_for: seconds(60),
            request: seconds(10),
            store: seconds(10),
            probe: seconds(5),
            connect: seconds(5),
            seed: seconds(5),
            call: seconds(32),
            refresh: seconds(2 * 3600),
            rotate: seconds(600),
            test: seconds(120),
            idle: seconds(900),
            backoff_min: seconds(1),
            backoff_max: seconds(60),
            guard_rest: seconds(60),
            resync: seconds(10),
            resend_min: seconds(5),
            resend_max: seconds(300),
            resend_no_path: seconds(30),
            repair_min: seconds(30),
            repair_max: seconds(86_400),
        }
    }
}

impl Times {
    /// Deadlines for a way through a proxy such as Tor, which takes seconds to reach a host it has not spoken to.
    pub(crate) fn through_proxy(self) -> Self {
        Self {
            request: self.request * 2,
            store: self.store * 2,
            probe: self.probe * 3,
            connect: self.connect * 2,
            seed: self.seed * 4,
            call: self.call * 2,
            ..self
        }
    }

    /// All durations multiplied by `factor`, which must be positive and finite.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        let scale = |duration: Duration| {
            Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(duration)
        };
        Self {
            poll: scale(self.poll),
            poll_active: scale(self.poll_active),
            active_for: scale(self.active_for),
            request: scale(self.request),
            store: scale(self.store),
            probe: scale(self.probe),
            connect: scale(self.connect),
            seed: scale(self.seed),
            call: scale(self.call),
            refresh: scale(self.refresh),
            rotate: scale(self.rotate),
            test: scale(self.test),
            idle: scale(self.idle),
            backoff_min: scale(self.backoff_min),
            backoff_max: scale(self.backoff_max),
            guard_rest: scale(self.guard_rest),
            resync: scale(self.resync),
            resend_min: scale(self.resend_min),
            resend_max: scale(self.resend_max),
            resend_no_path: scale(self.resend_no_path),
            repair_min: scale(self.repair_min),
            repair_max: scale(self.repair_max),
        }
    }
}
