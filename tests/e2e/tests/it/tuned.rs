//! What the user sets for a conversation, between two real agents, and over a restart.

use futures_util::future::join_all;
use serde_json::Value;
use sessiond_client::{Update, v1};
use v1::message::Content;

use crate::harness::{Agent, Localnet, ctl, run, until};

/// Runs `sessionctl --json` and gives the objects it prints.
async fn json(agent: &Agent, args: &[&str]) -> Vec<Value> {
    let args = [&["--json"], args].concat();
    let output = run(ctl(&agent.socket(), &args), b"").await;
    assert_eq!(output.code, Some(0), "{args:?}: {output:?}");
    let lines = output.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Two people who accepted each other.
async fn friends(net: &Localnet) -> ((Agent, String), (Agent, String)) {
    let (a, a_id) = Agent::with_account(net, "Alice").await;
    let (b, b_id) = Agent::with_account(net, "Bob").await;
    a.send_stored(&b_id, "hello").await;
    b.until_messages(&a_id, 1).await;
    b.send_stored(&a_id, "hello yourself").await;
    a.until_messages(&b_id, 2).await;
    ((a, a_id), (b, b_id))
}

fn seconds(setting: Option<v1::DisappearingSetting>) -> i64 {
    setting.and_then(|it| it.timer).map_or(0, |it| it.seconds)
}

#[tokio::test]
async fn a_timer_is_each_sides_own_and_told_to_the_other() {
    let net = Localnet::start().await;
    let ((a, a_id), (b, b_id)) = friends(&net).await;
    let tablet = Agent::start(&net, "tablet").await;
    tablet.restore(&a.phrases().await.recovery_phrase).await;
    tablet.until_messages(&b_id, 1).await;

    let set = json(&a, &["expire", &b_id, "5m-after-read"]).await;
    assert_eq!(set[0]["disappearing"]["timer"], "300s");
    // Both sides and the own devices have an entry of it; only the own devices have the setting.
    let change = |message: &v1::Message| match &message.content {
        Some(Content::TimerChange(it)) => Some(seconds(it.setting)),
        _ => None,
    };
    let told = async |agent: &Agent, with: &str, expected: i64| {
        until("the entry is there", async || {
            let shown = agent.messages(with).await;
            let changes: Vec<i64> = shown.iter().filter_map(change).collect();
            (changes == [expected]).then_some(())
        })
        .await;
    };
    told(&a, &b_id, 300).await;
    told(&b, &a_id, 300).await;
    told(&tablet, &b_id, 300).await;
    let at_b = b.conversation(&a_id).await.unwrap();
    assert_eq!(
        (seconds(at_b.disappearing), seconds(at_b.peer_disappearing)),
        (0, 300)
    );
    let at_tablet = tablet.conversation(&b_id).await.unwrap();
    assert_eq!(seconds(at_tablet.disappearing), 300);

    // What follows carries it; what the other side writes does not.
    let sent = a.send_stored(&b_id, "in passing").await;
    assert_eq!(seconds(sent.disappearing), 300);
    let last = async |agent: &Agent, with: &str, body: &str| {
        until(body, async || {
            let shown = agent.messages(with).await;
            shown.into_iter().rev().find(|message| {
                matches!(&message.content, Some(Content::Text(text)) if text.body == body)
            })
        })
        .await
    };
    let arrived = last(&b, &a_id, "in passing").await;
    assert_eq!(seconds(arrived.disappearing), 300);
    assert!(arrived.expire_time.is_none(), "it waits for reading");
    // One message of it that stays.
    json(&a, &["send", &b_id, "to stay", "--expire", "off"]).await;
    for (agent, with) in [(&a, &b_id), (&b, &a_id), (&tablet, &b_id)] {
        assert_eq!(last(agent, with, "to stay").await.disappearing, None);
    }
    b.send_stored(&a_id, "for good").await;
    let for_good = last(&a, &b_id, "for good").await;
    assert_eq!(seconds(for_good.disappearing), 0);

    // Reading it starts the timer there.
    json(&b, &["read", &a_id]).await;
    assert!(b.message(&arrived.id).await.expire_time.is_some());

    // Off again: one entry of each side stays, the newest.
    json(&a, &["expire", &b_id, "off"]).await;
    told(&a, &b_id, 0).await;
    told(&b, &a_id, 0).await;
    told(&tablet, &b_id, 0).await;
    let at_b = b.conversation(&a_id).await.unwrap();
    assert_eq!(seconds(at_b.peer_disappearing), 0);
}

#[tokio::test]
async fn settings_of_a_conversation_stay_here_and_outlive_a_restart() {
    let net = Localnet::start().await;
    let ((mut a, a_id), (b, b_id)) = friends(&net).await;
    json(
        &a,
        &[
            "set",
            &b_id,
            "--nickname",
            "Bobby",
            "--pin",
            "3",
            "--mute",
            "8h",
        ],
    )
    .await;
    json(&a, &["set", &b_id, "--notify", "mentions"]).await;
    a.stop().await;
    a.up().await;
    a.until_ready().await;
    let [shown] = &json(&a, &["conversation", &b_id]).await[..] else {
        panic!("one object");
    };
    assert_eq!(shown["nickname"], "Bobby");
    assert_eq!(shown["pinPriority"], 3);
    assert_eq!(shown["notifyMode"], "NOTIFY_MODE_MENTIONS");
    assert!(shown["muteUntilTime"].is_string());
    assert_eq!(shown["displayName"], "Bob");
    let text = run(ctl(&a.socket(), &["conversation", &b_id]), b"")
        .await
        .out;
    for word in [
        "Bobby",
        "Bob",
        "on both sides",
        "yes, 3",
        "mentions; muted until",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let list = run(ctl(&a.socket(), &["conversations"]), b"").await.out;
    assert!(
        list.contains("pinned,muted") && list.contains("Bobby"),
        "{list}"
    );

    // Nobody else hears of it.
    a.send_stored(&b_id, "do you know?").await;
    b.until_messages(&a_id, 3).await;
    let theirs = b.conversation(&a_id).await.unwrap();
    assert_eq!(
        (theirs.display_name.as_str(), theirs.nickname.as_str()),
        ("Alice", "")
    );
    assert_eq!(theirs.pin_priority, 0);

    // Hidden until somebody writes.
    json(&a, &["set", &b_id, "--hide"]).await;
    assert!(json(&a, &["conversations"]).await.is_empty());
    assert_eq!(json(&a, &["conversations", "--hidden"]).await.len(), 1);
    b.send_stored(&a_id, "are you there?").await;
    a.until_messages(&b_id, 4).await;
    let back = json(&a, &["conversations", "--unread"]).await;
    assert_eq!(back.len(), 1);
    assert_eq!(back[0]["unreadCount"], 1);
    assert!(!a.conversation(&b_id).await.unwrap().hidden);
}

#[tokio::test(flavor = "multi_thread")]
async fn clearing_goes_on_when_its_caller_hangs_up() {
    const NOTES: usize = 1_000;
    let net = Localnet::start().await;
    let (a, a_id) = Agent::with_account(&net, "Alice").await;
    let notes = (0..NOTES).map(|n| {
        let (a, a_id) = (&a, &a_id);
        async move { a.send(a_id, &format!("note {n}")).await }
    });
    join_all(notes).await;
    until("all notes are stored", async || {
        let waiting = a.network_status().await.outbox_count;
        (waiting == 0).then_some(())
    })
    .await;

    let mut events = a.client().events(v1::SubscribeRequest::default());
    assert!(matches!(events.next().await, Some(Ok(Update::Ready(_)))));
    let client = a.client().clone();
    let request = v1::ClearConversationRequest {
        account: a_id.clone(),
        selector: Some(v1::clear_conversation_request::Selector::AccountId(
            a_id.clone(),
        )),
    };
    let call = tokio::spawn(async move { client.clear_conversation(request).await });
    // It has begun: now the caller goes.
    while let Some(update) = events.next().await {
        if matches!(update, Ok(Update::Event(event)) if event.kind() == v1::EventKind::MessageRemoved)
        {
            break;
        }
    }
    call.abort();
    until("the conversation is empty", async || {
        a.messages(&a_id).await.is_empty().then_some(())
    })
    .await;
}
