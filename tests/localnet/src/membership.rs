//! Nodes that change swarms, and the messages that go with them (network.md 8.3 and 8.4).
//!
//! A change comes with a block, for all nodes at once. After it every member hands what it holds of an account to
//! those that have become members for that account: to a newcomer in its swarm, and to all members of another swarm
//! where the account now maps elsewhere because a swarm has appeared or vanished. A node that was moved itself keeps
//! its old messages and answers 421 for them. Nodes that are down or frozen neither hand on nor receive, and nobody
//! makes up for that later.
//!
//! Differs from the official network: nodes move only when someone says so or an uptime check does; swarms below five
//! members are not dissolved. Official nodes hand on with OxenMQ, which clients cannot see. Where each node is does not
//! outlive the network: started again, it has the swarms it began with.

use std::sync::Arc;

use session_protocol::swarm;

use crate::directory::Swarms;
use crate::network::LocalnetError;
use crate::node::Node;
use crate::running::{Running, Target};

/// Messages handed on at a time.
const PAGE: u32 = 200;

impl Running {
    /// Puts a node into a swarm, which may be a new one, or none ([`swarm::UNASSIGNED`]: decommissioned). When this
    /// returns, messages have moved as well.
    pub(crate) async fn set_swarm(&self, index: usize, swarm_id: u64) -> Result<(), LocalnetError> {
        self.switch(Target::Node(index))?;
        let _changing = self.changing.lock().await;
        let directory = &self.shared.directory;
        let before = directory.swarms();
        if before.of_node(index) == swarm_id {
            return Ok(());
        }
        directory.set_swarm(index, swarm_id);
        let after = directory.swarms();
        for holder in 0..directory.founders().len() {
            if let Some(node) = self.moving_node(holder) {
                let handed = self.hand_on(holder, &node, &before, &after).await;
                // As in a real swarm: what could not be handed on is missing there.
                if let Err(error) = handed {
                    tracing::warn!(%error, "messages not handed on");
                }
            }
        }
        Ok(())
    }

    /// The swarm a node joins that has none: the smallest.
    pub(crate) fn smallest_swarm(&self) -> u64 {
        let directory = &self.shared.directory;
        let swarms = directory.swarms();
        let founders = directory.founders().iter().map(|node| node.swarm_id);
        founders
            .min_by_key(|id| (swarms.size(*id), *id))
            .unwrap_or(0)
    }

    fn moving_node(&self, index: usize) -> Option<Arc<Node>> {
        let frozen = self.switch(Target::Node(index)).ok()?.faults().frozen;
        self.node(index).filter(|_| !frozen)
    }

    async fn hand_on(
        &self,
        holder: usize,
        node: &Node,
        before: &Swarms,
        after: &Swarms,
    ) -> Result<(), sqlx::Error> {
        for account in node.store().owners().await? {
            let (old, new) = (before.of_account(&account), after.of_account(&account));
            if old == swarm::UNASSIGNED || before.of_node(holder) != old {
                continue;
            }
            let receivers: Vec<Arc<Node>> = (0..self.shared.directory.founders().len())
                .filter(|index| after.of_node(*index) == new && before.of_node(*index) != old)
                .filter_map(|index| self.moving_node(index))
                .collect();
            if receivers.is_empty() {
                continue;
            }
            let mut last = 0;
            loop {
                let (messages, next) = node.store().page(&account, last, PAGE).await?;
                for receiver in &receivers {
                    receiver.store().receive(&account, &messages).await?;
                }
                match next {
                    Some(next) => last = next,
                    None => break,
                }
            }
        }
        Ok(())
    }
}
