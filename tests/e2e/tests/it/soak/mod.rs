//! Two agents and twelve nodes for as long as is wanted: faults by chance, an agent that is killed now and then,
//! frontends that attach, stall and die. Nothing is lost, nothing is doubled, and the other agent, which lives all the
//! time, needs as much memory, as many files, threads and tasks at the end as at the beginning.
//!
//! Time goes in rounds: a spell of everything at once, then health, until all that was written has arrived; the figures
//! are read at that moment of rest, when they depend on nothing that is under way.
//! `SESSIOND_E2E_SOAK` sets how many seconds (60; 1200 is the large run), `SESSIOND_E2E_SEED` the seed.

mod figures;
mod frontends;
mod writer;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use session_localnet::scenario::{Kind, Plan, Scenario, swarms};
use session_localnet::{Hits, Order, Status};

use crate::harness::{Agent, Localnet, Nodes, Rng, found_within, until_within};
use figures::Figures;
use frontends::Crowd;
use writer::{Follower, Writer, check};

/// Longest it may take until all that was written in a round has arrived.
const PATIENCE: Duration = Duration::from_secs(420);
/// Length of a spell, in the time of the network's faults.
const SPELL: Duration = Duration::from_secs(20);
/// As all times of the network are scaled.
const SCALE: f64 = 0.2;
/// After so many rounds the figures so far are printed.
const REPORT: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak() {
    let seconds: u64 = std::env::var("SESSIOND_E2E_SOAK").map_or(60, |text| {
        text.parse().expect("SESSIOND_E2E_SOAK is a number")
    });
    let mut rng = Rng::from_environment();
    let net = Localnet::start().await;
    let nodes = Nodes::of(&net);
    let (lasting, lasting_id) = Agent::with_account(&net, "a").await;
    let (mut mortal, mortal_id) = Agent::with_account(&net, "b").await;
    let mut followers = [
        Follower::start(&lasting).await,
        Follower::start(&mortal).await,
    ];
    // Each accepts the other, which timers and reactions need.
    lasting.send_stored(&mortal_id, "hello").await;
    mortal.until_messages(&lasting_id, 1).await;
    mortal.send_stored(&lasting_id, "hello").await;
    lasting.until_messages(&mortal_id, 2).await;
    let mut writers = [
        Writer::new("a", lasting.client(), &mortal_id, &mut rng),
        Writer::new("b", mortal.client(), &lasting_id, &mut rng),
    ];
    let mut crowd = Crowd::new(&net.room, &lasting, &mortal, &mut rng).await;
    let mut figures = Figures::default();

    let began = Instant::now();
    let mut kills = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        let mut plan = Plan::new(rng.within(0..u64::MAX), SPELL);
        if rng.within(0..4) != 0 {
            // A change of swarms hands on everything that is stored, which in time becomes all that the nodes do.
            let changes = [Kind::Moved, Kind::Decommissioned];
            plan.kinds.retain(|kind| !changes.contains(kind));
        }
        let status = insist(&nodes, &Order::Status).await;
        let scenario = Scenario::random(&plan, &swarms(&status));
        let end = Instant::now() + SPELL.mul_f64(SCALE);
        let [of_lasting, of_mortal] = &mut writers;
        let play = async {
            let began = tokio::time::Instant::now();
            for step in scenario.steps() {
                tokio::time::sleep_until(began + step.at.mul_f64(SCALE)).await;
                insist(&nodes, &step.order()).await;
            }
        };
        let kill = async {
            if kills == 0 || rng.within(0..2) == 0 {
                // A random moment is the point here, not waiting for something.
                tokio::time::sleep(Duration::from_millis(rng.within(200..3_000))).await;
                mortal.kill();
                mortal.up().await;
                kills += 1;
            }
        };
        tokio::join!(
            play,
            kill,
            of_lasting.write_until(end, &followers[0]),
            of_mortal.write_until(end, &followers[1]),
            crowd.come_and_go_until(end),
        );
        insist(&nodes, &Order::Reset).await;
        crowd.die();
        let expected = 2 + writers.iter().map(Writer::count).sum::<usize>();
        until_arrived([&lasting, &mortal], &writers, &followers, expected).await;
        for writer in &mut writers {
            writer.all_arrived();
        }
        for follower in &mut followers {
            follower.all_arrived();
        }
        figures.add_at_rest(&lasting).await;
        if figures.count().is_multiple_of(REPORT) {
            println!("after {:?}: {figures}", began.elapsed());
        }
    }

    for agent in [&lasting, &mortal] {
        // What further polls find was applied already.
        agent.sync().await;
        agent.sync().await;
    }
    let nodes = insist(&nodes, &Order::Status).await.nodes;
    let hits: Vec<Hits> = nodes.into_iter().map(|node| node.hits).collect();
    println!(
        "{kills} kills, {} and {}, {}; nodes that met a request while faulty: {}",
        writers[0],
        writers[1],
        crowd,
        hits.iter().filter(|hits| **hits != Hits::default()).count()
    );
    println!("{figures}");
    assert!(hits.iter().any(|hits| *hits != Hits::default()), "{hits:?}");
    check(
        &lasting,
        &mortal_id,
        &writers[0],
        &writers[1],
        &followers[0],
    )
    .await;
    check(
        &mortal,
        &lasting_id,
        &writers[1],
        &writers[0],
        &followers[1],
    )
    .await;
    figures.must_be_flat();
}

/// Gives an order until it is carried out, however busy the machine is.
async fn insist(nodes: &Nodes, order: &Order) -> Status {
    until_within(PATIENCE, "the network obeys", async || {
        nodes.0.run(order).await.ok()
    })
    .await
}

/// Waits until every follower heard of everything and nothing is left to be sent; says what is lacking where that takes
/// too long.
async fn until_arrived(
    agents: [&Agent; 2],
    writers: &[Writer; 2],
    followers: &[Follower; 2],
    expected: usize,
) {
    let arrived = found_within(PATIENCE, async || {
        for (agent, follower) in agents.iter().zip(followers) {
            // What is to be sent includes copies for the own devices.
            if follower.heard() < expected || agent.network_status().await.outbox_count > 0 {
                return None;
            }
        }
        Some(())
    });
    if arrived.await.is_some() {
        return;
    }
    let mut lacking = String::new();
    for (agent, follower) in agents.iter().zip(followers) {
        let heard = follower.heard();
        let status = agent.network_status().await;
        writeln!(lacking, "heard {heard} of {expected}; {status:?}").unwrap();
        for (author, writer) in agents.iter().zip(writers) {
            for (text, id) in writer.not_heard(follower) {
                let steps = author.explain(&id).await;
                writeln!(lacking, "{text} did not arrive: {steps:?}").unwrap();
            }
        }
    }
    panic!("not all that was written has arrived within {PATIENCE:?}:\n{lacking}");
}
