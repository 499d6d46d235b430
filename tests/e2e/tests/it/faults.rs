//! Nodes die, freeze, lose, lie, run on wrong clocks and change swarms: every message arrives exactly once and in its
//! sender's order, each fault alone and many at once by chance.
//!
//! Each test lets two agents talk both ways while something is wrong, and waits until both have everything.
//! `SESSIOND_E2E_MESSAGES` sets how many messages (40; 200 is the large run), `SESSIOND_E2E_SEED` repeats a run of the last test,
//! `SESSIOND_E2E_SCENARIOS` plays more of its scenarios, one seed after the other.

use std::collections::BTreeSet;
use std::time::Duration;

use session_localnet::scenario::{Plan, Scenario, swarms};
use session_localnet::{ControlClient, Faults, Order, Status};
use session_protocol::{AccountId, Identifier, swarm};
use sessiond_client::v1;
use v1::{MessageDirection, SendState};

use crate::harness::{Agent, Localnet, Rng, bodies, body, send_request, until, until_within};

/// Longest a test's messages may take. With faults everywhere most of it is waiting for time-outs.
const PATIENCE: Duration = Duration::from_secs(420);

/// How many messages both sides together send.
fn messages() -> usize {
    std::env::var("SESSIOND_E2E_MESSAGES").map_or(40, |text| {
        text.parse().expect("SESSIOND_E2E_MESSAGES is a number")
    })
}

/// Two agents that know each other, and the network's switches.
struct Pair {
    net: Localnet,
    control: ControlClient,
    agents: [Agent; 2],
    ids: [String; 2],
}

impl Pair {
    async fn start() -> Self {
        let net = Localnet::start().await;
        let control = ControlClient::open(&net.room.path().join("net")).unwrap();
        let (a, a_id) = Agent::with_account(&net, "a").await;
        let (b, b_id) = Agent::with_account(&net, "b").await;
        a.send_stored(&b_id, "hello").await;
        b.send_stored(&a_id, "hello").await;
        Self {
            net,
            control,
            agents: [a, b],
            ids: [a_id, b_id],
        }
    }

    async fn status(&self) -> Status {
        self.control.run(&Order::Status).await.unwrap()
    }

    async fn set(&self, node: usize, faults: Faults) {
        self.control.set(node, faults).await.unwrap();
    }

    /// Indices of the nodes in the swarm of one side.
    async fn members(&self, side: usize) -> Vec<usize> {
        let ids = swarms(&self.status().await);
        let mut all: Vec<u64> = ids
            .iter()
            .copied()
            .filter(|id| *id != swarm::UNASSIGNED)
            .collect();
        all.sort_unstable();
        all.dedup();
        let account: AccountId = self.ids[side].parse().unwrap();
        let place = swarm::swarm_space(&Identifier::from(account));
        let of_account = swarm::nearest_swarm(&all, place).unwrap();
        (0..ids.len())
            .filter(|node| ids[*node] == of_account)
            .collect()
    }

    /// Indices of the hops of the paths of one side, the guards first.
    async fn hops(&self, side: usize) -> Vec<usize> {
        let paths = until("there is a path", async || {
            let request = v1::ListPathsRequest::default();
            let paths = self.agents[side]
                .client()
                .list_paths(request)
                .await
                .unwrap()
                .paths;
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

    /// Sends half of the messages, lets something happen, sends the rest, and waits until both sides have everything.
    async fn exchange(&self, in_between: impl AsyncFnOnce()) {
        let each = messages() / 2;
        self.send(0..each / 2).await;
        in_between().await;
        self.send(each / 2..each).await;
        self.complete(each).await;
    }

    /// Both sides send these numbers at the same time.
    async fn send(&self, numbers: std::ops::Range<usize>) {
        let side = async |from: usize| {
            for number in numbers.clone() {
                let text = text(from, number);
                let request = send_request(&self.ids[1 - from], &text, &text);
                self.agents[from]
                    .client()
                    .send_message(request)
                    .await
                    .unwrap();
            }
        };
        tokio::join!(side(0), side(1));
    }

    /// Waits until each side has all messages once, in the order of their sender, and nothing failed.
    async fn complete(&self, each: usize) {
        for (side, agent) in self.agents.iter().enumerate() {
            let peer = &self.ids[1 - side];
            until_within(PATIENCE, "everything is sent and received", async || {
                let all = agent.messages(peer).await;
                for message in &all {
                    assert_ne!(message.send_state(), SendState::Failed, "{message:?}");
                    assert_ne!(message.sync_state(), SendState::Failed, "{message:?}");
                }
                let sending = |message: &v1::Message| {
                    message.send_state() == SendState::Sending
                        || message.sync_state() == SendState::Sending
                };
                (all.len() >= 2 * each + 2 && !all.iter().any(sending)).then_some(())
            })
            .await;
        }
        // What further polls find was applied already.
        for agent in &self.agents {
            agent.sync().await;
            agent.sync().await;
        }
        for (side, agent) in self.agents.iter().enumerate() {
            let all = agent.messages(&self.ids[1 - side]).await;
            for (direction, from) in [
                (MessageDirection::Outgoing, side),
                (MessageDirection::Incoming, 1 - side),
            ] {
                // As the agent lists them: this order is what users see.
                let shown: Vec<&v1::Message> = all
                    .iter()
                    .filter(|message| message.direction() == direction && body(message) != "hello")
                    .collect();
                let shown: Vec<&str> = shown.into_iter().map(body).collect();
                let expected: Vec<String> = (0..each).map(|number| text(from, number)).collect();
                assert_eq!(shown, expected, "side {side}, {direction:?}");
            }
            assert_eq!(all.len(), 2 * each + 2, "{:?}", bodies(&all));
        }
    }
}

fn text(from: usize, number: usize) -> String {
    format!("{from}: {number}")
}

#[tokio::test]
async fn the_guards_are_dead() {
    let pair = Pair::start().await;
    let hops = pair.hops(0).await;
    pair.exchange(async || {
        for guard in hops.iter().take(2) {
            pair.set(*guard, Faults::down()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn two_of_five_members_are_frozen() {
    let pair = Pair::start().await;
    let members = pair.members(1).await;
    pair.exchange(async || {
        for member in members.iter().take(2) {
            pair.set(*member, Faults::frozen()).await;
        }
    })
    .await;
}

/// A request crosses four nodes: a tenth lost at each is a third lost in all.
#[tokio::test]
async fn a_third_of_requests_is_lost() {
    let pair = Pair::start().await;
    pair.exchange(async || {
        pair.control.set("all", Faults::loss(0.1)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_hop_returns_garbage() {
    let pair = Pair::start().await;
    let hops = pair.hops(0).await;
    let guards: BTreeSet<usize> = hops.iter().take(2).copied().collect();
    let middle = hops
        .iter()
        .find(|hop| !guards.contains(hop))
        .copied()
        .unwrap();
    pair.exchange(async || pair.set(middle, Faults::garbage()).await)
        .await;
}

#[tokio::test]
async fn clocks_refusals_lost_copies_and_moves() {
    let pair = Pair::start().await;
    let members = pair.members(0).await;
    let elsewhere = pair.members(1).await;
    pair.exchange(async || {
        pair.set(members[0], Faults::clock_offset(86_400_000)).await;
        pair.set(members[1], Faults::refuse()).await;
        pair.set(members[2], Faults::misses_forwards()).await;
        let forgets = Order::LoseStorage {
            node: members[3].to_string(),
        };
        pair.control.run(&forgets).await.unwrap();
        if !elsewhere.contains(&members[0]) {
            // A member of the other side's swarm changes sides.
            let swarm_id = pair.status().await.nodes[members[0]].swarm_id.clone();
            let moves = Order::Move {
                node: elsewhere[0].to_string(),
                swarm: swarm_id,
            };
            pair.control.run(&moves).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn everything_at_once_by_chance() {
    let runs: u64 = std::env::var("SESSIOND_E2E_SCENARIOS").map_or(1, |text| {
        text.parse().expect("SESSIOND_E2E_SCENARIOS is a number")
    });
    let mut rng = Rng::from_environment();
    for _ in 0..runs {
        let pair = Pair::start().await;
        let seed = rng.within(0..u64::MAX);
        let plan = Plan::new(seed, Duration::from_secs(60));
        let scenario = Scenario::random(&plan, &swarms(&pair.status().await));
        println!("{scenario}");
        // Times of the network and of agents are scaled by a fifth; so are the spells.
        let each = messages() / 2;
        let play = async {
            scenario.run_remote(&pair.control, 0.2).await.unwrap();
        };
        let talk = async {
            for part in 0..10 {
                pair.send(each * part / 10..each * (part + 1) / 10).await;
                // Spread over the scenario.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::join!(play, talk);
        pair.complete(each).await;
        drop(pair.net);
    }
}
