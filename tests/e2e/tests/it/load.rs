//! Under load and among rude clients the agent keeps serving and loses nothing.
//!
//! Small by default; SESSIOND_E2E_SENDS (100) and SESSIOND_E2E_CONNECTS (300) set the sizes. Nothing here asserts how fast
//! anything is; `tests/benches` measures that.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use futures_util::future::join_all;
use sessiond_client::{Client, EventStream, Update, v1};

use crate::harness::{Agent, LONG, Localnet, body, send_request, until};

/// What an HTTP/2 client says first, with empty SETTINGS.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn size(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

async fn connect(agent: &Agent) -> Client {
    let builder = Client::builder().socket(agent.socket());
    builder.connect().await.unwrap()
}

async fn subscribe(client: &Client) -> EventStream {
    let mut events = client.events(v1::SubscribeRequest {
        start: v1::StreamStart::Newest.into(),
        ..Default::default()
    });
    let first = events.next().await.unwrap().unwrap();
    assert!(matches!(first, Update::Ready(_)), "{first:?}");
    events
}

/// What the next `count` new messages say.
async fn added(events: &mut EventStream, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < count {
        let update = tokio::time::timeout(LONG, events.next()).await.unwrap();
        let Update::Event(event) = update.unwrap().unwrap() else {
            continue;
        };
        if event.kind() == v1::EventKind::MessageAdded
            && let Some(v1::event::State::Message(message)) = &event.state
        {
            all.push(body(message).to_owned());
        }
    }
    all
}

#[tokio::test]
async fn sends_at_once_and_clients_killed_in_the_middle_make_each_message_once() {
    let count = size("SESSIOND_E2E_SENDS", 100);
    let net = Localnet::start().await;
    let (agent, id) = Agent::with_account(&net, "a").await;
    let subscribers: Vec<_> = join_all((0..10).map(async |_| {
        let client = connect(&agent).await;
        subscribe(&client).await
    }))
    .await;
    let followers: Vec<_> = subscribers
        .into_iter()
        .map(|mut events| tokio::spawn(async move { added(&mut events, count).await }))
        .collect();

    // Every message is sent over two connections at once; every third one's first caller is killed in the middle.
    let clients = join_all((0..8).map(async |_| connect(&agent).await)).await;
    let doomed: Vec<_> = (0..count)
        .map(|number| {
            let client = clients[number % 4].clone();
            let request = send_request(&id, &number.to_string(), &number.to_string());
            let call = tokio::spawn(async move { client.send_message(request).await });
            if number % 3 == 0 {
                call.abort();
            }
            call
        })
        .collect();
    let answers = join_all((0..count).map(async |number| {
        let request = send_request(&id, &number.to_string(), &number.to_string());
        clients[4 + number % 4].send_message(request).await.unwrap()
    }))
    .await;
    let ids: BTreeSet<String> = answers
        .into_iter()
        .map(|answer| answer.message.unwrap().id)
        .collect();
    assert_eq!(ids.len(), count);
    for call in doomed {
        if let Ok(answer) = call.await {
            let id = answer.unwrap().message.unwrap().id;
            assert!(ids.contains(&id), "a second message for one token");
        }
    }

    let wanted: BTreeSet<String> = (0..count).map(|number| number.to_string()).collect();
    let listed: Vec<_> = agent.messages(&id).await;
    assert_eq!(listed.len(), count);
    for follower in followers {
        let seen: BTreeSet<String> = follower.await.unwrap().into_iter().collect();
        assert_eq!(seen, wanted);
    }
    until("everything left", async || {
        (agent.network_status().await.outbox_count == 0).then_some(())
    })
    .await;
    assert!(
        agent
            .messages(&id)
            .await
            .iter()
            .all(|m| m.send_state() == v1::SendState::Sent)
    );
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Headers of a call, in HPACK without compression.
fn call_headers() -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/sessiond.v1.MessageService/SendMessage"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.bytes());
        }
    }
    block
}

/// What a rude client says; it hangs up afterwards, or stays without reading.
fn rudeness() -> Vec<(&'static str, Vec<u8>)> {
    const HEADERS: u8 = 1;
    const CONTINUATION: u8 = 9;
    const END_HEADERS: u8 = 4;
    let started = |rest: &[Vec<u8>]| [PREFACE.to_vec(), rest.concat()].concat();
    let endless: Vec<Vec<u8>> = std::iter::once(frame(HEADERS, 0, 1, &call_headers()))
        .chain((0..200).map(|_| frame(CONTINUATION, 0, 1, &[0x40, 1, b'a', 1, b'b'].repeat(500))))
        .collect();
    let call = frame(HEADERS, END_HEADERS, 1, &call_headers());
    // A gRPC message that says it has 4 GiB.
    let boast = frame(0, 0, 1, &[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    let flood: Vec<Vec<u8>> = (0..2000_u32)
        .flat_map(|n| {
            let stream = 2 * n + 1;
            [
                frame(HEADERS, END_HEADERS, stream, &call_headers()),
                frame(3, 0, stream, &8_u32.to_be_bytes()),
            ]
        })
        .collect();
    vec![
        ("nothing", Vec::new()),
        (
            "noise",
            (0..50_000_u32).map(|n| (n * 31 % 251) as u8).collect(),
        ),
        ("HTTP/1", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("half a preface", PREFACE[..10].to_vec()),
        (
            "an oversize frame",
            started(&[frame(0, 0, 1, &vec![0; 100_000])]),
        ),
        (
            "bad compression",
            started(&[frame(HEADERS, END_HEADERS, 1, &[0xff; 100])]),
        ),
        ("endless headers", started(&endless)),
        (
            "a call without an end",
            started(std::slice::from_ref(&call)),
        ),
        ("a message of 4 GiB", started(&[call, boast])),
        ("calls reset at once", started(&flood)),
    ]
}

#[tokio::test]
async fn rude_clients_take_nothing_from_the_others() {
    let net = Localnet::start().await;
    let (agent, id) = Agent::with_account(&net, "a").await;
    let polite = connect(&agent).await;
    let mut events = subscribe(&polite).await;

    let mut staying = Vec::new();
    for (what, bytes) in rudeness() {
        for stays in [false, true] {
            let mut stream = UnixStream::connect(agent.socket()).unwrap();
            stream
                .set_write_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            // The agent may hang up in the middle, or stop reading; both are its right.
            let _ = stream.write_all(&bytes);
            if stays {
                staying.push(stream);
            }
        }
        agent.send(&id, what).await;
        assert_eq!(added(&mut events, 1).await, [what]);
    }
    // Two that subscribe and read nothing while much happens.
    let lazy = connect(&agent).await;
    let _first = subscribe(&lazy).await;
    let _second = subscribe(&connect(&agent).await).await;
    for number in 0..50 {
        agent
            .send(&id, &format!("{number} {}", "x".repeat(1900)))
            .await;
    }
    assert_eq!(added(&mut events, 50).await.len(), 50);

    let connects = size("SESSIOND_E2E_CONNECTS", 300);
    for number in 0..connects {
        let mut stream = UnixStream::connect(agent.socket()).unwrap();
        if number % 2 == 0 {
            stream.write_all(PREFACE).unwrap();
            stream.read_exact(&mut [0; 9]).unwrap();
        }
    }
    // Over a connection of before and over a new one.
    agent.send(&id, "after").await;
    assert_eq!(added(&mut events, 1).await, ["after"]);
    connect(&agent)
        .await
        .get_info(v1::GetInfoRequest {})
        .await
        .unwrap();

    // A request larger than the agent takes is refused, and the connection lives.
    let huge = send_request(&id, &"x".repeat(2 * 1024 * 1024), "huge");
    let refused = polite.send_message(huge).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused}");
    polite.get_info(v1::GetInfoRequest {}).await.unwrap();
    assert_eq!(agent.messages(&id).await.len(), rudeness().len() + 51);
}
