//! Nothing accepted is lost, nothing is doubled, whenever the processes die.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sessiond_client::{Client, v1};
use tokio::time::Instant;
use v1::{MessageDirection, SendState};

use crate::harness::{
    Agent, LONG, Localnet, Rng, bodies, body, send_request, sent_ms, until_within,
};

/// Sends a text until it is accepted, however often the agent dies; gives its id and whether a call broke.
async fn send(client: &Client, to: &str, text: &str) -> (String, bool) {
    let request = send_request(to, text, text);
    let end = Instant::now() + LONG;
    let mut broke = false;
    loop {
        match client.send_message(request.clone()).await {
            Ok(answer) => return (answer.message.unwrap().id, broke),
            // The agent died under the call, or has not come up again.
            Err(error) if error.is_transient() => broke = true,
            Err(error) => panic!("{text} was refused: {error:?}"),
        }
        assert!(Instant::now() < end, "{text} is not accepted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends numbered messages until told to stop; a call that broke is repeated with the same token. Gives the id that
/// every number got.
async fn keep_sending(
    client: Client,
    name: &'static str,
    to: String,
    mut rng: Rng,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let mut accepted: Vec<String> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = accepted.len();
        let (id, broke) = send(&client, &to, &format!("{name} {number}")).await;
        // What was accepted last before a death is known after it.
        if broke && let Some(last) = accepted.last() {
            let again = send(&client, &to, &format!("{name} {}", number - 1)).await;
            assert_eq!(again.0, *last);
        }
        accepted.push(id);
        tokio::time::sleep(Duration::from_millis(rng.within(10..60))).await;
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill() {
    let kills: u32 = std::env::var("SESSIOND_E2E_KILLS").map_or(10, |text| {
        text.parse().expect("SESSIOND_E2E_KILLS is a number")
    });
    let mut rng = Rng::from_environment();
    let net = Localnet::start().await;
    let (mut a, a_id) = Agent::with_account(&net, "a").await;
    let (mut b, b_id) = Agent::with_account(&net, "b").await;
    let stop = Arc::new(AtomicBool::new(false));
    let start = |agent: &Agent, name, to: &str, rng| {
        let client = agent.client().clone();
        tokio::spawn(keep_sending(
            client,
            name,
            to.to_owned(),
            rng,
            Arc::clone(&stop),
        ))
    };
    let senders = [
        start(&a, "from a", &b_id, rng.fork()),
        start(&b, "from b", &a_id, rng.fork()),
    ];
    for kill in 0..kills {
        let victim = if kill % 2 == 0 { &mut a } else { &mut b };
        // A random moment is the point here, not waiting for something.
        tokio::time::sleep(Duration::from_millis(rng.within(50..900))).await;
        victim.kill();
        victim.up().await;
    }
    stop.store(true, Ordering::Relaxed);
    let [from_a, from_b] = senders;
    let (from_a, from_b) = (from_a.await.unwrap(), from_b.await.unwrap());
    println!(
        "{kills} kills, {} and {} messages",
        from_a.len(),
        from_b.len()
    );
    let least = kills as usize;
    assert!(
        from_a.len() >= least && from_b.len() >= least,
        "too little was sent"
    );

    let deadline = LONG + Duration::from_secs(2 * u64::from(kills));
    let total = from_a.len() + from_b.len();
    for (agent, peer) in [(&a, &b_id), (&b, &a_id)] {
        until_within(deadline, "everything is sent and received", async || {
            let messages = agent.messages(peer).await;
            for message in &messages {
                assert_ne!(message.send_state(), SendState::Failed, "{message:?}");
                assert_ne!(message.sync_state(), SendState::Failed, "{message:?}");
            }
            let settled = messages.iter().all(|message| {
                message.send_state() != SendState::Sending
                    && message.sync_state() != SendState::Sending
            });
            (settled && messages.len() >= total).then_some(())
        })
        .await;
    }
    // What a further poll finds was applied already.
    for agent in [&a, &b] {
        agent.sync().await;
        agent.sync().await;
    }
    let of_a = a.messages(&b_id).await;
    let of_b = b.messages(&a_id).await;
    check(&of_a, "from a", &from_a, "from b", from_b.len());
    check(&of_b, "from b", &from_b, "from a", from_a.len());
    // Both say the same about when each was written.
    let times = |messages: &[v1::Message]| -> BTreeMap<String, i64> {
        messages
            .iter()
            .map(|message| (body(message).to_owned(), sent_ms(message)))
            .collect()
    };
    assert_eq!(times(&of_a), times(&of_b));
}

/// One side's conversation: each number of each side once, in its sender's order.
fn check(messages: &[v1::Message], own: &str, ids: &[String], other: &str, count: usize) {
    let numbered = |name: &str, count: usize| -> Vec<String> {
        (0..count)
            .map(|number| format!("{name} {number}"))
            .collect()
    };
    let of = |direction: MessageDirection| -> Vec<v1::Message> {
        let mut side: Vec<_> = messages
            .iter()
            .filter(|message| message.direction() == direction)
            .cloned()
            .collect();
        side.sort_by_key(sent_ms);
        side
    };
    let outgoing = of(MessageDirection::Outgoing);
    assert_eq!(bodies(&outgoing), numbered(own, ids.len()));
    let of_outgoing: Vec<&str> = outgoing.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(of_outgoing, ids);
    assert_eq!(
        bodies(&of(MessageDirection::Incoming)),
        numbered(other, count)
    );
    assert_eq!(messages.len(), ids.len() + count);
}
