//! Two devices of one account and somebody they talk to, one of the devices away for a while: all three agree on what is
//! gone, and when. Nobody waits for a timer: the clocks of all nodes are set, and agents follow them.

use sessiond_client::{Update, v1};
use v1::{DisappearingMode, RemovalReason, TimerStart};

use crate::harness::{Agent, CLOCK_SLACK_MS as SLACK_MS, Localnet, NodeClock, bodies, body, until};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn ms(time: Option<&prost_types::Timestamp>) -> Option<i64> {
    time.map(|time| time.seconds * 1_000 + i64::from(time.nanos / 1_000_000))
}

/// Deadlines and what started them, by text; control entries left out.
async fn deadlines(agent: &Agent, with: &str) -> Vec<(String, Option<i64>, TimerStart)> {
    let all = agent.messages(with).await;
    let of = |message: &v1::Message| {
        let at = ms(message.expire_time.as_ref());
        (body(message).to_owned(), at, message.timer_start())
    };
    all.iter().map(of).collect()
}

async fn deadline(agent: &Agent, with: &str, text: &str) -> (Option<i64>, TimerStart) {
    let all = deadlines(agent, with).await;
    let found = all.into_iter().find(|(body, ..)| body == text);
    let (_, at, why) = found.unwrap();
    (at, why)
}

#[track_caller]
fn assert_near(one: Option<i64>, other: Option<i64>) {
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!((one - other).abs() < SLACK_MS, "{one} is not {other}");
}

async fn until_bodies(agent: &Agent, with: &str, wanted: &[&str]) {
    until(&format!("{wanted:?} is left"), async || {
        (bodies(&agent.messages(with).await) == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn all_devices_agree_on_what_is_gone_and_when() {
    let net = Localnet::start().await;
    let mut clock = NodeClock::of(&net);
    let (first, id) = Agent::with_account(&net, "first").await;
    let (peer, peer_id) = Agent::with_account(&net, "peer").await;
    first.send_stored(&peer_id, "hello").await;
    peer.until_messages(&id, 1).await;
    peer.send_stored(&id, "hi").await;
    first.until_messages(&peer_id, 2).await;
    let mut second = Agent::start(&net, "second").await;
    let phrase = first.phrases().await.recovery_phrase;
    assert_eq!(second.restore(&phrase).await, id);
    second.until_messages(&peer_id, 2).await;

    let (after_read, after_send) = (DisappearingMode::AfterRead, DisappearingMode::AfterSend);
    peer.send_disappearing(&id, "read by one", after_read, 3_600)
        .await;
    peer.send_disappearing(&id, "after sending", after_send, 43_200)
        .await;
    for device in [&first, &second] {
        device.until_messages(&peer_id, 4).await;
        assert_eq!(
            deadline(device, &peer_id, "read by one").await,
            (None, TimerStart::Unspecified)
        );
    }
    // What goes after sending has one deadline everywhere.
    let (sent_here, why) = deadline(&peer, &id, "after sending").await;
    assert_eq!(why, TimerStart::Sent);
    for device in [&first, &second] {
        let (at, why) = deadline(device, &peer_id, "after sending").await;
        assert_eq!(why, TimerStart::Sent);
        assert_near(at, sent_here);
    }

    // One device is away while the other one reads, also something that the first has never seen.
    second.stop().await;
    peer.send_disappearing(&id, "never seen by it", after_read, 3_600)
        .await;
    first.until_messages(&peer_id, 5).await;
    first.read(&peer_id).await;
    peer.send_disappearing(&id, "read by nobody", after_read, 300)
        .await;
    first.until_messages(&peer_id, 6).await;
    let mut read_at = Vec::new();
    for text in ["read by one", "never seen by it"] {
        let (at, why) = deadline(&first, &peer_id, text).await;
        assert_eq!(why, TimerStart::ReadHere);
        read_at.push(at);
    }

    // Back in the middle of the timers: it learns of the reading, and when it was.
    clock.advance(20 * MINUTE, &[&first, &peer]).await;
    second.up().await;
    second.until_ready().await;
    clock.until_told(&second).await;
    for (text, at) in ["read by one", "never seen by it"]
        .into_iter()
        .zip(&read_at)
    {
        until("the device learns of the reading", async || {
            let all = deadlines(&second, &peer_id).await;
            let found = all.into_iter().find(|(body, ..)| body == text)?;
            found.1.map(|_| ())
        })
        .await;
        let (learnt, why) = deadline(&second, &peer_id, text).await;
        assert_eq!(why, TimerStart::ReadElsewhere, "{text}");
        assert_near(learnt, *at);
    }
    let waits = (None, TimerStart::Unspecified);
    for device in [&first, &second] {
        assert_eq!(deadline(device, &peer_id, "read by nobody").await, waits);
    }

    // Away again, over the deadline: nothing of it is served afterwards, not even at first.
    second.stop().await;
    clock.advance(50 * MINUTE, &[&first, &peer]).await;
    let left = ["hello", "hi", "after sending", "read by nobody"];
    until_bodies(&first, &peer_id, &left).await;
    // Their own copies went a time after they were sent.
    until_bodies(&peer, &id, &["hello", "hi", "after sending"]).await;
    second.up().await;
    second.until_ready().await;
    clock.until_told(&second).await;
    until_bodies(&second, &peer_id, &left).await;

    // All that goes after sending goes everywhere; what nobody has read waits.
    clock.advance(12 * HOUR, &[&first, &second, &peer]).await;
    for device in [&first, &second] {
        until_bodies(device, &peer_id, &["hello", "hi", "read by nobody"]).await;
    }
    until_bodies(&peer, &id, &["hello", "hi"]).await;
    for (agent, count) in [(&first, 3), (&second, 3), (&peer, 4)] {
        // Reads leave out what is over before it is removed.
        until("what is over is removed", async || {
            (expirations(agent).await >= count).then_some(())
        })
        .await;
        assert_eq!(expirations(agent).await, count);
    }
}

/// How many removals the event log gives to a timer. It says nothing of what was said.
async fn expirations(agent: &Agent) -> usize {
    let request = v1::SubscribeRequest {
        start: v1::StreamStart::Oldest.into(),
        replay_only: true,
        ..Default::default()
    };
    let mut stream = agent.client().events(request);
    let mut count = 0;
    while let Some(update) = stream.next().await {
        if let Update::Event(event) = update.unwrap() {
            assert!(!format!("{event:?}").contains("after sending"));
            let expired = event.removal_reason() == RemovalReason::Expired;
            count += usize::from(expired && event.kind() == v1::EventKind::MessageRemoved);
        }
    }
    count
}
