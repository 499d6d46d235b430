//! Nodes die, freeze, lose, lie, run on wrong clocks and change swarms: every message arrives exactly once and in its
//! sender's order, each fault alone and many at once by chance.
//!
//! In each test two agents talk both ways: a third of the messages goes out before the fault, a third while it lasts, a
//! third after it. The fault must have been met while messages were on their way (the nodes count that), and what is
//! written while it lasts must be stored while it lasts.
//! `SESSIOND_E2E_MESSAGES` sets how many messages (40; 200 is the large run), `SESSIOND_E2E_SEED` repeats a run of the last
//! test, `SESSIOND_E2E_SCENARIOS` plays more of its scenarios, one seed after the other.

use std::time::{Duration, Instant};

use session_localnet::scenario::{Plan, Scenario, swarms};
use session_localnet::{Faults, Hits, Order};
use sessiond_client::v1;
use v1::{MessageDirection, SendState};

use crate::harness::{Agent, Localnet, Nodes, Rng, bodies, body, send_request, until_within};

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
    nodes: Nodes,
    agents: [Agent; 2],
    ids: [String; 2],
}

impl Pair {
    async fn start() -> Self {
        let net = Localnet::start().await;
        let nodes = Nodes::of(&net);
        let (a, a_id) = Agent::with_account(&net, "a").await;
        let (b, b_id) = Agent::with_account(&net, "b").await;
        a.send_stored(&b_id, "hello").await;
        b.send_stored(&a_id, "hello").await;
        Self {
            net,
            nodes,
            agents: [a, b],
            ids: [a_id, b_id],
        }
    }

    /// A third of the messages goes out; the fault begins while some of them are on their way; another third goes out while
    /// it lasts, until it was met; then all is well again and the rest goes out. In the end both sides have everything.
    async fn exchange(&self, fault: impl AsyncFnOnce(), met: impl AsyncFn() -> bool) {
        let (each, began) = (messages() / 2, Instant::now());
        self.send(0..each / 3).await;
        self.until_stored(each / 6).await;
        fault().await;
        self.send(each / 3..each * 2 / 3).await;
        assert!(self.waiting().await > 0, "nothing was on its way");
        until_within(PATIENCE, "the fault is met", async || {
            met().await.then_some(())
        })
        .await;
        self.until_stored(each * 2 / 3).await;
        self.nodes.heal().await;
        self.send(each * 2 / 3..each).await;
        self.complete(each).await;
        println!("{} messages took {:?}", 2 * each, began.elapsed());
    }

    /// Messages of a side that were stored for the other one.
    async fn stored(&self, side: usize) -> usize {
        let all = self.agents[side].messages(&self.ids[1 - side]).await;
        let sent = all.iter().filter(|message| {
            message.direction() == MessageDirection::Outgoing
                && message.send_state() == SendState::Sent
        });
        // Without the greeting.
        sent.count() - 1
    }

    /// Waits until each side has stored so many.
    async fn until_stored(&self, count: usize) {
        for side in 0..2 {
            until_within(PATIENCE, "messages are stored", async || {
                (self.stored(side).await >= count).then_some(())
            })
            .await;
        }
    }

    /// How many messages are not stored yet.
    async fn waiting(&self) -> usize {
        let mut waiting = 0;
        for (side, agent) in self.agents.iter().enumerate() {
            let all = agent.messages(&self.ids[1 - side]).await;
            let sending = |message: &&v1::Message| message.send_state() == SendState::Sending;
            waiting += all.iter().filter(sending).count();
        }
        waiting
    }

    /// Hops of the paths that one side gave up.
    async fn dropped(&self, side: usize) -> Vec<v1::Path> {
        let request = v1::ListPathsRequest::default();
        let answer = self.agents[side].client().list_paths(request).await;
        answer.unwrap().dropped_paths
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
    let hops = pair.nodes.hops(&pair.agents[0]).await;
    let nodes = pair.nodes.status().await.nodes;
    let guards: Vec<String> = hops[..2]
        .iter()
        .map(|guard| nodes[*guard].ed25519.clone())
        .collect();
    let is_dead = |path: &v1::Path| guards.contains(&path.hops[0].node_key);
    pair.exchange(
        async || {
            for guard in &hops[..2] {
                pair.nodes.set(*guard, Faults::down()).await;
            }
        },
        // Nobody can count what a dead node does not get: the agent gave the paths up because of it.
        async || {
            let dropped = pair.dropped(0).await;
            let blamed = |path: &&v1::Path| {
                let drop = path.drop.as_ref();
                is_dead(path) && drop.is_some_and(|drop| drop.blamed_hop == Some(0))
            };
            dropped.iter().any(|path| blamed(&path))
        },
    )
    .await;
}

#[tokio::test]
async fn two_of_five_members_are_frozen() {
    let pair = Pair::start().await;
    let members = pair.nodes.members(&pair.ids[1]).await;
    pair.exchange(
        async || {
            for member in &members[..2] {
                pair.nodes.set(*member, Faults::frozen()).await;
            }
        },
        async || {
            let hits = pair.nodes.all_hits().await;
            members[..2].iter().all(|member| hits[*member].frozen > 0)
        },
    )
    .await;
}

/// A request crosses four nodes: a tenth lost at each is a third lost in all.
#[tokio::test]
async fn a_third_of_requests_is_lost() {
    let pair = Pair::start().await;
    pair.exchange(
        async || {
            pair.nodes.0.set("all", Faults::loss(0.1)).await.unwrap();
        },
        async || {
            let hits = pair.nodes.all_hits().await;
            hits.iter().map(|hits| hits.lost).sum::<u64>() >= 10
        },
    )
    .await;
}

#[tokio::test]
async fn a_hop_returns_garbage() {
    let pair = Pair::start().await;
    let hops = pair.nodes.hops(&pair.agents[0]).await;
    let middle = hops.iter().find(|hop| !hops[..2].contains(hop)).unwrap();
    pair.exchange(
        async || pair.nodes.set(*middle, Faults::garbage()).await,
        async || pair.nodes.hits(*middle).await.garbage > 0,
    )
    .await;
}

#[tokio::test]
async fn clocks_refusals_lost_copies_and_moves() {
    let pair = Pair::start().await;
    let members = pair.nodes.members(&pair.ids[0]).await;
    let elsewhere = pair.nodes.members(&pair.ids[1]).await;
    let fault = async || {
        let nodes = &pair.nodes;
        nodes
            .set(members[0], Faults::clock_offset(86_400_000))
            .await;
        nodes.set(members[1], Faults::refuse()).await;
        nodes.set(members[2], Faults::misses_forwards()).await;
        nodes.lose_storage(members[3]).await;
        if !elsewhere.contains(&members[0]) {
            // A member of the other side's swarm changes sides.
            let swarm_id = nodes.status().await.nodes[members[0]].swarm_id.clone();
            let moves = Order::Move {
                node: elsewhere[0].to_string(),
                swarm: swarm_id,
            };
            nodes.run(moves).await;
        }
    };
    let met = async || {
        let hits = pair.nodes.all_hits().await;
        let counts: [fn(&Hits) -> u64; 3] = [
            |hits| hits.wrong_clock,
            |hits| hits.refused,
            |hits| hits.missed,
        ];
        let mut each = members.iter().zip(counts);
        each.all(|(member, count)| count(&hits[*member]) > 0)
    };
    pair.exchange(fault, met).await;
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
        let scenario = Scenario::random(&plan, &swarms(&pair.nodes.status().await));
        println!("{scenario}");
        // Times of the network and of agents are scaled by a fifth; so are the spells.
        let (each, began) = (messages() / 2, Instant::now());
        let play = async {
            scenario.run_remote(&pair.nodes.0, 0.2).await.unwrap();
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
        let hits = pair.nodes.all_hits().await;
        println!(
            "{} messages took {:?}; met: {hits:?}",
            2 * each,
            began.elapsed()
        );
        // Two victims in each swarm; hardly any schedule is so kind that fewer than two are met.
        let met = hits.iter().filter(|hits| **hits != Hits::default());
        assert!(met.count() >= 2, "{scenario}{hits:?}");
        drop(pair.net);
    }
}
