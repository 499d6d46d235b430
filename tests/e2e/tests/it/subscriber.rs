//! A subscriber can miss nothing, whoever dies meanwhile.

use sessiond_client::{Error, EventStream, Update, v1};
use tonic::Code;
use v1::{EventKind, StreamStart};

use crate::harness::{Agent, LONG, Localnet, assert_refused, body};

const NAME: &str = "backup.1";

/// The next event of a stream that must not break.
async fn next(stream: &mut EventStream) -> v1::Event {
    let update = tokio::time::timeout(LONG, stream.next()).await;
    match update.expect("an event in time").expect("no end").unwrap() {
        Update::Event(event) => *event,
        other => panic!("no event: {other:?}"),
    }
}

/// Where a stream starts.
async fn ready(stream: &mut EventStream) -> Result<String, Error> {
    let update = tokio::time::timeout(LONG, stream.next()).await;
    match update.expect("an answer in time").expect("no end")? {
        Update::Ready(ready) => Ok(ready.cursor),
        other => panic!("not ready first: {other:?}"),
    }
}

/// All that a request replays.
async fn replay(agent: &Agent, request: v1::SubscribeRequest) -> Vec<v1::Event> {
    let mut stream = agent.client().events(v1::SubscribeRequest {
        replay_only: true,
        ..request
    });
    let mut all = Vec::new();
    while let Some(update) = stream.next().await {
        match update.unwrap() {
            Update::Event(event) => all.push(*event),
            Update::Ready(_) => assert!(all.is_empty()),
            other => panic!("the stream broke: {other:?}"),
        }
    }
    all
}

fn from_oldest() -> v1::SubscribeRequest {
    v1::SubscribeRequest {
        start: StreamStart::Oldest.into(),
        ..Default::default()
    }
}

fn named() -> v1::SubscribeRequest {
    v1::SubscribeRequest {
        subscriber: NAME.to_owned(),
        ..Default::default()
    }
}

async fn acknowledge(agent: &Agent, cursor: &str) -> Result<(), Error> {
    let request = v1::AcknowledgeRequest {
        account: String::new(),
        subscriber: NAME.to_owned(),
        cursor: cursor.to_owned(),
    };
    agent.client().acknowledge(request).await.map(drop)
}

/// What an entry of the log is, apart from the present state that is joined to it.
fn entry(event: &v1::Event) -> (String, EventKind, String, String, Vec<String>) {
    (
        event.cursor.clone(),
        event.kind(),
        event.conversation_id.clone(),
        event.message_id.clone(),
        event.changed_fields.clone(),
    )
}

fn entries(events: &[v1::Event]) -> Vec<(String, EventKind, String, String, Vec<String>)> {
    events.iter().map(entry).collect()
}

/// The texts that a log says were added, in its order, each with its present state.
fn added(events: &[v1::Event]) -> Vec<&str> {
    let texts = events
        .iter()
        .filter(|event| event.kind() == EventKind::MessageAdded);
    texts
        .map(|event| match &event.state {
            Some(v1::event::State::Message(message)) => body(message),
            other => panic!("an added message without its state: {other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn subscriber_resumes() {
    let net = Localnet::start().await;
    let (mut a, a_id) = Agent::with_account(&net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    for number in 0..3 {
        b.send_stored(&a_id, &format!("m{number}")).await;
    }
    a.until_messages(&b_id, 3).await;

    // Reads all of it, has dealt with the first two messages, and dies.
    let mut stream = a.client().events(v1::SubscribeRequest {
        start: StreamStart::Oldest.into(),
        ..named()
    });
    ready(&mut stream).await.unwrap();
    let mut read = Vec::new();
    while added(&read).len() < 3 {
        read.push(next(&mut stream).await);
    }
    let second = read
        .iter()
        .filter(|event| event.kind() == EventKind::MessageAdded)
        .nth(1);
    let place = second.unwrap().cursor.clone();
    acknowledge(&a, &place).await.unwrap();
    drop(stream);

    for number in 3..6 {
        b.send_stored(&a_id, &format!("m{number}")).await;
    }
    let before = replay(&a, from_oldest()).await;
    a.kill();
    for number in 6..8 {
        b.send_stored(&a_id, &format!("m{number}")).await;
    }
    a.up().await;
    a.until_messages(&b_id, 8).await;

    let log = replay(&a, from_oldest()).await;
    let expected: Vec<String> = (0..8).map(|number| format!("m{number}")).collect();
    assert_eq!(added(&log), expected);
    assert_eq!(entries(&log)[..before.len()], entries(&before));
    assert_eq!(entries(&log)[..read.len()], entries(&read));
    let missed = log.iter().position(|event| event.cursor == place).unwrap() + 1;
    assert_eq!(entries(&replay(&a, named()).await), entries(&log[missed..]));

    // The same over a stream that stays: first what was missed, then what happens.
    let mut stream = a.client().events(named());
    assert_eq!(ready(&mut stream).await.unwrap(), place);
    for event in &log[missed..] {
        assert_eq!(entry(&next(&mut stream).await), entry(event));
    }
    b.send(&a_id, "live").await;
    let mut live = vec![next(&mut stream).await];
    while added(&live).is_empty() {
        live.push(next(&mut stream).await);
    }
    assert_eq!(added(&live), ["live"]);

    // An acknowledgement never moves backwards, and outlives the agent.
    acknowledge(&a, &live.last().unwrap().cursor).await.unwrap();
    acknowledge(&a, &place).await.unwrap();
    drop(stream);
    a.kill();
    a.up().await;
    let mut stream = a.client().events(named());
    let resumed = ready(&mut stream).await.unwrap();
    assert_eq!(resumed, live.last().unwrap().cursor);
}

#[tokio::test]
async fn a_second_stream_under_one_name_ends_the_first() {
    let net = Localnet::start().await;
    let (a, a_id) = Agent::with_account(&net, "a").await;
    let mut first = a.client().events(named());
    ready(&mut first).await.unwrap();
    let mut second = a.client().events(named());
    ready(&mut second).await.unwrap();
    let end = tokio::time::timeout(LONG, first.next()).await.unwrap();
    assert_refused(end.unwrap(), Code::Aborted, "SUBSCRIBER_REPLACED");
    assert!(first.next().await.is_none());
    // Other names and streams without one are not concerned.
    let mut other = a.client().events(v1::SubscribeRequest::default());
    ready(&mut other).await.unwrap();
    a.send(&a_id, "note").await;
    for stream in [&mut second, &mut other] {
        while next(stream).await.kind() != EventKind::MessageAdded {}
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_one_log() {
    let net = Localnet::start().await;
    let (a, a_id) = Agent::with_account(&net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    a.send(&a_id, "note").await;
    b.send(&b_id, "note").await;
    let foreign = replay(&b, from_oldest()).await[0].cursor.clone();
    let replaced = |outcome| assert_refused(outcome, Code::OutOfRange, "LOG_REPLACED");
    let mut stream = a.client().events(v1::SubscribeRequest {
        after_cursor: foreign.clone(),
        ..Default::default()
    });
    replaced(ready(&mut stream).await.map(drop));
    replaced(acknowledge(&a, &foreign).await);

    // A snapshot's cursor misses nothing that comes after it, and repeats nothing before.
    let list = v1::ListConversationsRequest::default();
    let snapshot = a.client().list_conversations(list).await.unwrap().cursor;
    a.send(&a_id, "after the snapshot").await;
    let after = v1::SubscribeRequest {
        after_cursor: snapshot,
        ..Default::default()
    };
    let seen = replay(&a, after).await;
    assert_eq!(added(&seen), ["after the snapshot"]);
}

/// The log holds no content: an entry is shown with what it is about as that is now.
#[tokio::test]
async fn replay_joins_the_present_state() {
    let net = Localnet::start().await;
    let (a, a_id) = Agent::with_account(&net, "a").await;
    let sent = a.send(&a_id, "note").await;
    a.until_synced(&sent.id).await;
    let log = replay(&a, from_oldest()).await;
    let first = log
        .iter()
        .find(|event| event.kind() == EventKind::MessageAdded)
        .unwrap();
    match first.state.as_ref().unwrap() {
        v1::event::State::Message(message) => {
            assert_eq!(message.send_state(), v1::SendState::Sent);
            assert_eq!(*message, a.message(&sent.id).await);
        }
        other => panic!("not a message: {other:?}"),
    }
    assert_eq!(log[0].kind(), EventKind::AccountChanged);
}
