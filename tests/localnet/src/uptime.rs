//! The chain's judgement on nodes: those that do not answer are decommissioned, and come back when they do again
//! (network.md 8.6 and 9).
//!
//! Here one observer stands for the nodes that ping each other and the quorum that votes. It pings each node every
//! 10 s; one that has failed for 65 min is decommissioned, and back in the smallest swarm when it has passed for 5 min
//! without a failure. A node that someone decommissioned by hand comes back the same way. All three times are
//! multiplied by a factor; that of one ping (5 s) is not. Stakes, credit and deregistration have no place here: a
//! decommissioned node stays so until it passes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use session_protocol::swarm;

use crate::directory::NodeInfo;
use crate::running::Running;

const PERIOD: Duration = Duration::from_secs(10);
/// Proof validity less the time between proofs.
const UNREACHABLE: Duration = Duration::from_secs(65 * 60);
/// An older failure does not count as current.
const CURRENT: Duration = Duration::from_secs(5 * 60);
/// Longest a ping waits.
const PING: Duration = Duration::from_secs(5);
/// Least time between pings of one node, however small the factor.
const MIN_PERIOD: Duration = Duration::from_millis(20);

/// What is known of a node. Time is given, never looked up.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// Start of the failures that have not been followed by a success.
    failing_since: Option<Instant>,
    last_failure: Option<Instant>,
}

/// What the quorum decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Decommission,
    Recommission,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    unreachable: Duration,
    current: Duration,
}

impl Record {
    const NEW: Self = Self {
        failing_since: None,
        last_failure: None,
    };

    fn judge(
        &mut self,
        passed: bool,
        active: bool,
        now: Instant,
        limits: Limits,
    ) -> Option<Verdict> {
        if passed {
            self.failing_since = None;
            let failed_lately = self
                .last_failure
                .is_some_and(|last| now.saturating_duration_since(last) < limits.current);
            (!active && !failed_lately).then_some(Verdict::Recommission)
        } else {
            self.last_failure = Some(now);
            let since = *self.failing_since.get_or_insert(now);
            let failed_long = now.saturating_duration_since(since) > limits.unreachable;
            (active && failed_long).then_some(Verdict::Decommission)
        }
    }
}

/// Pings and judges all nodes until dropped.
pub(crate) async fn watch(running: Arc<Running>, factor: f64) {
    let nodes = running.shared.directory.founders().iter().enumerate();
    join_all(nodes.map(|(index, node)| watch_one(&running, index, node, factor))).await;
}

async fn watch_one(running: &Running, index: usize, node: &NodeInfo, factor: f64) {
    let limits = Limits {
        unreachable: UNREACHABLE.mul_f64(factor),
        current: CURRENT.mul_f64(factor),
    };
    let mut record = Record::NEW;
    loop {
        tokio::time::sleep(PERIOD.mul_f64(factor).max(MIN_PERIOD)).await;
        let passed = running.shared.peers.ping(node, PING).await;
        let own = running.shared.directory.swarm_of_node(&node.ed25519);
        let active = own != swarm::UNASSIGNED;
        let swarm_id = match record.judge(passed, active, Instant::now(), limits) {
            None => continue,
            Some(Verdict::Decommission) => swarm::UNASSIGNED,
            Some(Verdict::Recommission) => running.smallest_swarm(),
        };
        // Fails only for a node that is not there.
        if let Err(error) = running.set_swarm(index, swarm_id).await {
            tracing::warn!(%error, "verdict not carried out");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_go_after_long_failure_and_come_back_after_a_while_without() {
        let limits = Limits {
            unreachable: UNREACHABLE,
            current: CURRENT,
        };
        let start = Instant::now();
        let minute = |number: u64| start + Duration::from_secs(60 * number);
        let mut record = Record::NEW;
        let mut judge = |passed, active, time| record.judge(passed, active, minute(time), limits);
        assert_eq!(judge(false, true, 0), None);
        assert_eq!(judge(false, true, 60), None);
        // One success, and it begins anew.
        assert_eq!(judge(true, true, 61), None);
        assert_eq!(judge(false, true, 62), None);
        assert_eq!(judge(false, true, 127), None);
        assert_eq!(judge(false, true, 128), Some(Verdict::Decommission));
        assert_eq!(judge(false, false, 140), None);
        assert_eq!(judge(true, false, 141), None);
        assert_eq!(judge(true, false, 144), None);
        assert_eq!(judge(true, false, 145), Some(Verdict::Recommission));
        assert_eq!(judge(true, true, 146), None);
    }
}
