//! Sets faults of a running network, moves nodes, loses what they store.
//!
//! Within the process by [`Control`], from another one by [`ControlClient`] or the command `session-localnet fault`.
//! The interface is HTTP on a free port of 127.0.0.1; where it is and the token it wants are in `control.json` in the
//! network's state directory, which only its owner can read. A request is an [`Order`] in JSON, posted to `/control`;
//! the answer is a [`Status`], or 400 with the reason in text.

mod client;
pub(crate) mod server;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use session_protocol::swarm;

pub use client::{ControlClient, ControlError};

use crate::directory::NodeInfo;
use crate::faults::{Faults, Hits};
use crate::network::LocalnetError;
use crate::running::{Running, Target};

/// File in the state directory.
const FILE: &str = "control.json";
/// Path of the interface.
const PATH: &str = "/control";
/// Header with the token.
const TOKEN: &str = "x-localnet-control";

/// What `control.json` says.
#[derive(Serialize, Deserialize)]
struct Contact {
    url: String,
    token: String,
}

/// What can be ordered. Nodes are named by index, by Ed25519 key in hex or by address; where faults are set, also `seed`
/// and `all`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Nothing but the answer.
    Status,
    /// From now on exactly these faults.
    Faults {
        /// Which node.
        node: String,
        /// Its faults; none make it healthy.
        #[serde(default)]
        faults: Faults,
    },
    /// Seed and all nodes healthy. Swarms stay as they are.
    Reset,
    /// What the node stores is gone.
    LoseStorage {
        /// Which node.
        node: String,
    },
    /// Into another swarm, or a new one.
    Move {
        /// Which node.
        node: String,
        /// Which swarm, in hex.
        swarm: String,
    },
    /// Into no swarm.
    Decommission {
        /// Which node.
        node: String,
    },
    /// A decommissioned node back, into the smallest swarm.
    Recommission {
        /// Which node.
        node: String,
    },
}

/// How the network is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Height of the top block; it grows with each change of a swarm.
    pub height: u64,
    /// Faults of the seed.
    pub seed: Faults,
    /// All nodes.
    pub nodes: Vec<NodeStatus>,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its index.
    pub index: usize,
    /// Hex of its Ed25519 key.
    pub ed25519: String,
    /// Address.
    pub ip: Ipv4Addr,
    /// HTTPS port.
    pub port: u16,
    /// Hex of its swarm, as JSON numbers lose the last digits; `ffffffffffffffff` when it is decommissioned.
    pub swarm_id: String,
    /// What is wrong with it.
    pub faults: Faults,
    /// What met a fault of it so far.
    pub hits: Hits,
}

/// A message that a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub hash: String,
    /// When the node drops it, ms.
    pub expiry_ms: u64,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// Sets faults within the process. Cheap to clone; good until the network ends, then everything is refused.
#[derive(Clone)]
pub struct Control(Arc<Running>);

impl Control {
    pub(crate) fn new(running: Arc<Running>) -> Self {
        Self(running)
    }

    /// From now on seed or node has exactly these faults. When this returns they are in force.
    pub async fn set(&self, target: Target, faults: Faults) -> Result<(), LocalnetError> {
        self.0.set(target, faults).await
    }

    /// As [`Control::set`] for a node by its index.
    pub async fn set_node(&self, index: usize, faults: Faults) -> Result<(), LocalnetError> {
        self.set(Target::Node(index), faults).await
    }

    /// What is wrong with seed or node now.
    pub fn faults(&self, target: Target) -> Result<Faults, LocalnetError> {
        Ok(self.0.switch(target)?.faults())
    }

    /// What met a fault of seed or node so far.
    pub fn hits(&self, target: Target) -> Result<Hits, LocalnetError> {
        Ok(self.0.switch(target)?.hits())
    }

    /// What a node holds, in its order; it must run.
    pub async fn held(&self, index: usize) -> Result<Vec<Held>, LocalnetError> {
        self.0.held(index).await
    }

    /// Seed and all nodes healthy. Swarms stay as they are.
    pub async fn reset(&self) -> Result<(), LocalnetError> {
        for target in self.all() {
            self.set(target, Faults::default()).await?;
        }
        Ok(())
    }

    /// What a node stores is gone, revoked tokens included; down or not.
    pub async fn lose_storage(&self, index: usize) -> Result<(), LocalnetError> {
        self.0.lose_storage(index).await
    }

    /// Puts a node into another swarm, or a new one. Messages have moved when this returns.
    pub async fn move_node(&self, index: usize, swarm_id: u64) -> Result<(), LocalnetError> {
        self.0.set_swarm(index, swarm_id).await
    }

    /// Takes a node out of its swarm: it stays known to others and answers 503.
    pub async fn decommission(&self, index: usize) -> Result<(), LocalnetError> {
        self.0.set_swarm(index, swarm::UNASSIGNED).await
    }

    /// Puts a decommissioned node into the smallest swarm, where it gets the messages.
    pub async fn recommission(&self, index: usize) -> Result<(), LocalnetError> {
        self.0.switch(Target::Node(index))?;
        if self.0.shared.directory.swarms().of_node(index) != swarm::UNASSIGNED {
            return Ok(());
        }
        self.0.set_swarm(index, self.0.smallest_swarm()).await
    }

    /// All nodes in the swarms they are in now.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.0.shared.directory.nodes()
    }

    /// Index of the node with this Ed25519 key.
    pub fn index(&self, ed25519: &[u8; 32]) -> Option<usize> {
        self.0.shared.directory.index(ed25519)
    }

    /// How everything is.
    pub fn status(&self) -> Result<Status, LocalnetError> {
        let nodes = self.nodes().into_iter().enumerate().map(|(index, node)| {
            Ok(NodeStatus {
                index,
                ed25519: hex::encode(node.ed25519),
                ip: node.ip,
                port: node.port,
                swarm_id: format!("{:x}", node.swarm_id),
                faults: self.faults(Target::Node(index))?,
                hits: self.hits(Target::Node(index))?,
            })
        });
        Ok(Status {
            height: self.0.shared.directory.height(),
            seed: self.faults(Target::Seed)?,
            nodes: nodes.collect::<Result<_, LocalnetError>>()?,
        })
    }

    /// Carries out an order.
    pub async fn run(&self, order: &Order) -> Result<Status, LocalnetError> {
        match order {
            Order::Status => {}
            Order::Faults { node, faults } => {
                for target in self.targets(node)? {
                    self.set(target, *faults).await?;
                }
            }
            Order::Reset => self.reset().await?,
            Order::LoseStorage { node } => self.lose_storage(self.named(node)?).await?,
            Order::Move { node, swarm } => {
                let index = self.named(node)?;
                let swarm_id = u64::from_str_radix(swarm, 16)
                    .map_err(|_| LocalnetError::Faults("a swarm is a number in hex"))?;
                self.move_node(index, swarm_id).await?;
            }
            Order::Decommission { node } => self.decommission(self.named(node)?).await?,
            Order::Recommission { node } => self.recommission(self.named(node)?).await?,
        }
        self.status()
    }

    fn all(&self) -> impl Iterator<Item = Target> + use<> {
        let count = self.0.shared.directory.founders().len();
        std::iter::once(Target::Seed).chain((0..count).map(Target::Node))
    }

    fn targets(&self, name: &str) -> Result<Vec<Target>, LocalnetError> {
        match name {
            "seed" => Ok(vec![Target::Seed]),
            "all" => Ok(self
                .all()
                .filter(|target| *target != Target::Seed)
                .collect()),
            node => Ok(vec![Target::Node(self.named(node)?)]),
        }
    }

    fn named(&self, name: &str) -> Result<usize, LocalnetError> {
        let nodes = self.0.shared.directory.founders();
        let found = match name.parse::<usize>() {
            Ok(index) => Some(index).filter(|index| *index < nodes.len()),
            Err(_) => nodes.iter().position(|node| {
                node.ip.to_string() == name
                    || node.address().to_string() == name
                    || hex::encode(node.ed25519) == name
            }),
        };
        found.ok_or(LocalnetError::Faults(
            "no such node: give its index, its Ed25519 key in hex, or its address",
        ))
    }
}

fn contact_file(state_dir: &std::path::Path) -> PathBuf {
    state_dir.join(FILE)
}
