//! The time of the whole network, set instead of waited for.

use session_localnet::{ControlClient, Faults};

use super::{Agent, Localnet, until};

/// Nodes of a local network.
const NODES: usize = 12;
/// Two agents learn the time of something from different nodes and at different moments, ms.
pub const CLOCK_SLACK_MS: i64 = 20_000;

/// The clocks of all nodes, which agents follow.
pub struct NodeClock {
    control: ControlClient,
    ahead_ms: i64,
}

impl NodeClock {
    /// Of a network whose nodes are right.
    pub fn of(net: &Localnet) -> Self {
        Self {
            control: ControlClient::open(&net.room.path().join("net")).unwrap(),
            ahead_ms: 0,
        }
    }

    /// Sets all nodes forward, and waits until these agents have noticed.
    pub async fn advance(&mut self, ms: i64, agents: &[&Agent]) {
        self.ahead_ms += ms;
        for node in 0..NODES {
            let faults = Faults::clock_offset(self.ahead_ms);
            self.control.set(node, faults).await.unwrap();
        }
        for agent in agents {
            self.until_told(agent).await;
        }
    }

    /// Waits until an agent goes by the network's time.
    pub async fn until_told(&self, agent: &Agent) {
        until("the agent knows the time", async || {
            let offset = agent.network_status().await.clock_offset?;
            let offset_ms = offset.seconds * 1_000 + i64::from(offset.nanos / 1_000_000);
            ((offset_ms - self.ahead_ms).abs() < CLOCK_SLACK_MS).then_some(())
        })
        .await;
    }
}
