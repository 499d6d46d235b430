//! The nodes of the local network: their faults, what met them, and which nodes an account depends on.

use session_localnet::scenario::swarms;
use session_localnet::{ControlClient, Faults, Hits, Order, Status};
use session_protocol::{AccountId, Identifier, swarm};
use sessiond_client::v1;

use super::{Agent, Localnet, until};

/// Switches of all nodes, which are named by their index.
pub struct Nodes(pub ControlClient);

impl Nodes {
    /// Those of a network.
    pub fn of(net: &Localnet) -> Self {
        Self(ControlClient::open(&net.room.path().join("net")).unwrap())
    }

    /// Carries out an order.
    pub async fn run(&self, order: Order) -> Status {
        self.0.run(&order).await.unwrap()
    }

    /// How all are.
    pub async fn status(&self) -> Status {
        self.run(Order::Status).await
    }

    /// From now on a node has exactly these faults.
    pub async fn set(&self, node: usize, faults: Faults) {
        self.0.set(node, faults).await.unwrap();
    }

    /// All are healthy.
    pub async fn heal(&self) {
        self.run(Order::Reset).await;
    }

    /// What a node stores is gone.
    pub async fn lose_storage(&self, node: usize) {
        let node = node.to_string();
        self.run(Order::LoseStorage { node }).await;
    }

    /// What met faults of a node so far.
    pub async fn hits(&self, node: usize) -> Hits {
        self.status().await.nodes[node].hits
    }

    /// What met faults of any node so far.
    pub async fn all_hits(&self) -> Vec<Hits> {
        let nodes = self.status().await.nodes;
        nodes.into_iter().map(|node| node.hits).collect()
    }

    /// Those in the swarm of an account.
    pub async fn members(&self, account_id: &str) -> Vec<usize> {
        let ids = swarms(&self.status().await);
        let mut all: Vec<u64> = ids
            .iter()
            .copied()
            .filter(|id| *id != swarm::UNASSIGNED)
            .collect();
        all.sort_unstable();
        all.dedup();
        let account: AccountId = account_id.parse().unwrap();
        let place = swarm::swarm_space(&Identifier::from(account));
        let of_account = swarm::nearest_swarm(&all, place).unwrap();
        (0..ids.len())
            .filter(|node| ids[*node] == of_account)
            .collect()
    }

    /// Hops of the paths of an agent, the guards first.
    pub async fn hops(&self, agent: &Agent) -> Vec<usize> {
        let paths = until("there is a path", async || {
            let request = v1::ListPathsRequest::default();
            let paths = agent.client().list_paths(request).await.unwrap().paths;
            (!paths.is_empty()).then_some(paths)
        })
        .await;
        let nodes = self.status().await.nodes;
        let index = |key: &str| nodes.iter().position(|node| node.ed25519 == key).unwrap();
        (0..3)
            .flat_map(|place| paths.iter().map(move |path| (place, path)))
            .filter_map(|(place, path)| path.hops.get(place))
            .map(|hop| index(&hop.node_key))
            .collect()
    }
}
