//! A wrong local clock (an hour or a day off, either way, also another way after a restart) changes nothing that users
//! see: messages arrive once, in order, and bear the true time on both sides.
#![cfg(target_os = "linux")]

use std::time::{SystemTime, UNIX_EPOCH};

use session_localnet::Faults;

use crate::harness::{Agent, Localnet, Nodes, bodies, body, sent_ms, until};

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// Farther from the true time no message may be, ms. Far less than any error of a clock here.
const SLACK_MS: i64 = 300_000;

fn true_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Waits until nodes have told it the time, which takes a moment after a start: till then it has nothing to go by but
/// its own clock.
async fn until_told(agent: &Agent, off_by: i64) {
    until("nodes have told the time", async || {
        let offset = agent.network_status().await.clock_offset?;
        ((offset.seconds + off_by) * 1_000)
            .abs()
            .lt(&SLACK_MS)
            .then_some(())
    })
    .await;
}

async fn talk(a: &Agent, b: &Agent, ids: &[String; 2], turn: usize) {
    for (from, to, from_id, to_id) in [(a, b, &ids[0], &ids[1]), (b, a, &ids[1], &ids[0])] {
        let text = format!("{turn} from {from_id}");
        from.send_stored(to_id, &text).await;
        until("the message is there", async || {
            let all = to.messages(from_id).await;
            all.iter()
                .any(|message| body(message) == text)
                .then_some(())
        })
        .await;
    }
}

async fn wrong_clocks(first: [i64; 2], then: [i64; 2]) {
    let net = Localnet::start().await;
    let mut agents = ["a", "b"].map(|name| Agent::new(&net.room, name, &net.file));
    let mut ids = Vec::new();
    for (agent, off_by) in agents.iter_mut().zip(first) {
        agent.clock_off_by(off_by);
        agent.up().await;
        ids.push(agent.create("somebody").await);
        until_told(agent, off_by).await;
    }
    let ids: [String; 2] = ids.try_into().unwrap();
    let began_ms = true_ms();
    for turn in 0..3 {
        let [a, b] = &agents;
        talk(a, b, &ids, turn).await;
    }
    // Set otherwise while they were off: what was known of it is wrong now.
    for (agent, off_by) in agents.iter_mut().zip(then) {
        agent.stop().await;
        agent.clock_off_by(off_by);
        agent.up().await;
        agent.until_ready().await;
        until_told(agent, off_by).await;
    }
    for turn in 3..6 {
        let [a, b] = &agents;
        talk(a, b, &ids, turn).await;
    }
    let span = began_ms - SLACK_MS..true_ms() + SLACK_MS;
    let expected: Vec<String> = (0..6)
        .flat_map(|turn| ids.iter().map(move |id| format!("{turn} from {id}")))
        .collect();
    for (side, agent) in agents.iter().enumerate() {
        let all = agent.messages(&ids[1 - side]).await;
        let shown: Vec<&str> = all.iter().map(body).collect();
        assert_eq!(shown, expected, "side {side}");
        for message in &all {
            let at_ms = sent_ms(message);
            assert!(span.contains(&at_ms), "{at_ms} is not within {span:?}");
        }
    }
}

/// Set while the agent was off, and no node tells the time: what is written then has the right one all the same, before
/// anything else could have told it.
#[tokio::test]
async fn a_clock_set_while_the_agent_was_off_is_not_seen_before_the_network_answers() {
    let net = Localnet::start().await;
    let nodes = Nodes::of(&net);
    let mut agent = Agent::new(&net.room, "a", &net.file);
    let mut id = String::new();
    let began_ms = true_ms();
    let mut expected = Vec::new();
    for off_by in [0, DAY, -HOUR, 0] {
        nodes.0.set("all", Faults::down()).await.unwrap();
        agent.clock_off_by(off_by);
        agent.up().await;
        if id.is_empty() {
            id = agent.create("somebody").await;
        }
        agent.until_ready().await;
        let text = format!("written {off_by} s off");
        let written = agent.send(&id, &text).await;
        expected.push(text);
        nodes.heal().await;
        until_told(&agent, off_by).await;
        agent.until_synced(&written.id).await;
        agent.stop().await;
    }
    agent.up().await;
    agent.until_ready().await;
    let all = agent.messages(&id).await;
    assert_eq!(bodies(&all), expected);
    let span = began_ms - SLACK_MS..true_ms() + SLACK_MS;
    for message in &all {
        let at_ms = sent_ms(message);
        assert!(
            span.contains(&at_ms),
            "{at_ms} is not within {span:?}: {message:?}"
        );
    }
    assert!(all.iter().map(sent_ms).is_sorted());
}

#[tokio::test]
async fn clocks_an_hour_off_are_not_seen() {
    wrong_clocks([HOUR, -HOUR], [-HOUR, HOUR]).await;
}

#[tokio::test]
async fn clocks_a_day_off_are_not_seen() {
    wrong_clocks([DAY, -DAY], [-DAY, DAY]).await;
}
