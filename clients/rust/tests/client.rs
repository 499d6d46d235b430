//! The library against a real gRPC server on a real Unix socket that is killed and started again.

#![allow(clippy::unwrap_used)] // helpers of a test program may stop it

mod fake;

use std::{
    fs,
    os::unix::net::UnixListener,
    path::PathBuf,
    time::{Duration, Instant},
};

use fake::{BOB, Fake};
use sessiond_client::{
    Backoff, Client, ConnectError, Deadlines, Error, EventStream, Update,
    v1::{
        Event, EventKind, GetAccountRequest, Ready, SendMessageRequest, SendState,
        SubscribeRequest, TextContent,
    },
};
use tonic::Code;

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(60);

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    Place { _dir: dir, path }
}

async fn connect(place: &Place) -> Client {
    Client::builder()
        .socket(&place.path)
        .connect()
        .await
        .unwrap()
}

fn follow(client: &Client, request: SubscribeRequest) -> EventStream {
    let backoff = Backoff {
        first: Duration::from_millis(10),
        longest: Duration::from_millis(100),
    };
    client.events_with(request, backoff)
}

async fn next(events: &mut EventStream) -> Result<Update, Error> {
    tokio::time::timeout(LONG, events.next())
        .await
        .unwrap()
        .unwrap()
}

async fn next_event(events: &mut EventStream) -> Event {
    match next(events).await {
        Ok(Update::Event(event)) => *event,
        other => panic!("{other:?} is no event"),
    }
}

/// Skips what is said while the agent is away.
async fn resumed(events: &mut EventStream) -> Ready {
    let mut said = 0;
    loop {
        match next(events).await {
            Ok(Update::Disconnected { retry_in, .. }) => {
                assert!(retry_in <= Duration::from_millis(100));
                said += 1;
            }
            Ok(Update::Resumed(ready)) => {
                assert!(said > 0);
                return ready;
            }
            other => panic!("{other:?} while the agent is away"),
        }
    }
}

fn message(body: &str) -> SendMessageRequest {
    SendMessageRequest {
        recipient: BOB.into(),
        text: Some(TextContent {
            body: body.into(),
            ..Default::default()
        }),
        ..SendMessageRequest::default()
    }
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_told_apart() {
    let place = place();
    let connect = || Client::builder().socket(&place.path).connect();
    assert!(matches!(
        connect().await,
        Err(ConnectError::NoSocket { .. })
    ));

    drop(UnixListener::bind(&place.path).unwrap());
    assert!(matches!(connect().await, Err(ConnectError::Refused { .. })));

    // A file that is no socket.
    fs::remove_file(&place.path).unwrap();
    fs::write(&place.path, "").unwrap();
    assert!(matches!(connect().await, Err(ConnectError::Refused { .. })));

    let too_long = Client::builder().socket("/x".repeat(200)).connect().await;
    assert!(matches!(too_long, Err(ConnectError::Path(_))));
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_reason() {
    let (place, fake) = (place(), Fake::new());
    let _serving = fake.serve(&place.path);
    let client = connect(&place).await;
    fake.change(|w| w.locked = true);
    let error = client
        .get_account(GetAccountRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Code::FailedPrecondition, Some("LOCKED"))
    );
}

#[tokio::test]
async fn an_agent_that_hangs_meets_the_deadline() {
    let (place, fake) = (place(), Fake::new());
    let _serving = fake.serve(&place.path);
    let deadlines = Deadlines {
        call: Duration::from_millis(50),
        ..Deadlines::default()
    };
    let client = Client::builder()
        .socket(&place.path)
        .deadlines(deadlines)
        .connect()
        .await
        .unwrap();
    fake.change(|w| w.hang = true);
    let error = client
        .get_account(GetAccountRequest::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
    // The generated clients carry the deadline too.
    let status = client
        .accounts()
        .get_account(GetAccountRequest::default())
        .await
        .unwrap_err();
    assert!(
        matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded),
        "{status:?}"
    );
    // And so does the start of a stream.
    let mut events = client.events(SubscribeRequest::default());
    assert!(matches!(
        next(&mut events).await,
        Err(Error::Deadline { .. })
    ));
}

#[tokio::test]
async fn a_call_after_a_restart_connects_again() {
    let (place, fake) = (place(), Fake::new());
    let serving = fake.serve(&place.path);
    let client = connect(&place).await;
    client
        .get_account(GetAccountRequest::default())
        .await
        .unwrap();
    drop(serving);
    let away = client
        .get_account(GetAccountRequest::default())
        .await
        .unwrap_err();
    assert!(away.is_transient(), "{away:?}");
    // The listener may close a moment after the connection.
    let mut again = away;
    for _ in 0..100 {
        if matches!(again, Error::Connect(_)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        again = client
            .get_account(GetAccountRequest::default())
            .await
            .unwrap_err();
        assert!(again.is_transient(), "{again:?}");
    }
    assert!(
        matches!(again, Error::Connect(ConnectError::Refused { .. })),
        "{again:?}"
    );
    let _serving = fake.serve(&place.path);
    client
        .get_account(GetAccountRequest::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stream_goes_on_where_it_stood_through_restarts() {
    let (place, fake) = (place(), Fake::new());
    let mut serving = fake.serve(&place.path);
    let client = connect(&place).await;
    let mut events = follow(&client, SubscribeRequest::default());
    assert!(matches!(next(&mut events).await, Ok(Update::Ready(_))));

    let mut seen = Vec::new();
    for round in 0..5 {
        fake.receive(&format!("m{round}a"), "before the restart");
        seen.push(next_event(&mut events).await.message_id);
        drop(serving);
        // While nobody serves.
        fake.receive(&format!("m{round}b"), "during the restart");
        serving = fake.serve(&place.path);
        let ready = resumed(&mut events).await;
        assert_eq!(ready.cursor, events.cursor());
        seen.push(next_event(&mut events).await.message_id);
    }
    let expected: Vec<String> = (0..5)
        .flat_map(|r| [format!("m{r}a"), format!("m{r}b")])
        .collect();
    assert_eq!(seen, expected);
    drop(serving);
}

#[tokio::test]
async fn a_break_before_the_first_event_loses_nothing() {
    let (place, fake) = (place(), Fake::new());
    let serving = fake.serve(&place.path);
    let client = connect(&place).await;
    let mut events = follow(&client, SubscribeRequest::default());
    assert!(matches!(next(&mut events).await, Ok(Update::Ready(_))));
    drop(serving);
    fake.receive("m1", "while away");
    let _serving = fake.serve(&place.path);
    resumed(&mut events).await;
    assert_eq!(next_event(&mut events).await.message_id, "m1");
}

#[tokio::test]
async fn what_cannot_be_mended_ends_the_stream() {
    for (code, reason) in [
        (Code::OutOfRange, "LOG_REPLACED"),
        (Code::OutOfRange, "CURSOR_EXPIRED"),
        (Code::Aborted, "SUBSCRIBER_REPLACED"),
    ] {
        let (place, fake) = (place(), Fake::new());
        let serving = fake.serve(&place.path);
        let client = connect(&place).await;
        let mut events = follow(&client, SubscribeRequest::default());
        assert!(matches!(next(&mut events).await, Ok(Update::Ready(_))));
        drop(serving);
        fake.change(|w| match reason {
            "LOG_REPLACED" => w.log = "log2".into(),
            "CURSOR_EXPIRED" => w.oldest = 7,
            _ => w.end_streams = Some((code, reason)),
        });
        let _serving = fake.serve(&place.path);
        let start = Instant::now();
        let error = loop {
            assert!(start.elapsed() < LONG, "still trying");
            match next(&mut events).await {
                Ok(Update::Disconnected { .. } | Update::Resumed(_)) => {}
                Ok(other) => panic!("{other:?}"),
                Err(error) => break error,
            }
        };
        assert_eq!((error.code(), error.reason()), (code, Some(reason)));
        assert!(events.next().await.is_none());
    }
}

#[tokio::test]
async fn a_locked_agent_is_waited_for() {
    let (place, fake) = (place(), Fake::new());
    let _serving = fake.serve(&place.path);
    let client = connect(&place).await;
    let mut events = follow(&client, SubscribeRequest::default());
    assert!(matches!(next(&mut events).await, Ok(Update::Ready(_))));
    fake.change(|w| {
        w.locked = true;
        w.end_streams = Some((Code::FailedPrecondition, "LOCKED"));
    });
    // The stream is ended, and opening it again is refused more than once.
    for _ in 0..3 {
        let update = next(&mut events).await;
        assert!(
            matches!(update, Ok(Update::Disconnected { .. })),
            "{update:?}"
        );
    }
    fake.change(|w| (w.locked, w.end_streams) = (false, None));
    fake.receive("m1", "after the lock");
    while !matches!(next(&mut events).await.unwrap(), Update::Resumed(_)) {}
    assert_eq!(next_event(&mut events).await.message_id, "m1");

    // One that never stood says so at once.
    fake.change(|w| w.locked = true);
    let error = next(&mut follow(&client, SubscribeRequest::default())).await;
    assert!(error.unwrap_err().is_locked());
}

#[tokio::test]
async fn a_replay_ends_and_a_first_attempt_is_not_repeated() {
    let (place, fake) = (place(), Fake::new());
    fake.receive("m1", "one");
    fake.receive("m2", "two");
    let serving = fake.serve(&place.path);
    let client = connect(&place).await;
    let request = SubscribeRequest {
        after_cursor: "log1:1".into(),
        replay_only: true,
        ..SubscribeRequest::default()
    };
    let mut events = follow(&client, request);
    assert!(matches!(next(&mut events).await, Ok(Update::Ready(_))));
    assert_eq!(next_event(&mut events).await.message_id, "m2");
    assert!(events.next().await.is_none());

    drop(serving);
    let mut events = follow(&client, SubscribeRequest::default());
    assert!(next(&mut events).await.is_err());
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_reader_that_stops_holds_the_stream_back() {
    let (place, fake) = (place(), Fake::new());
    let body = "x".repeat(10_000);
    for n in 0..1000 {
        fake.receive(&format!("m{n}"), &body);
    }
    let _serving = fake.serve(&place.path);
    let client = connect(&place).await;
    let request = SubscribeRequest {
        after_cursor: "log1:0".into(),
        ..SubscribeRequest::default()
    };
    let mut events = follow(&client, request);
    assert!(matches!(next(&mut events).await, Ok(Update::Ready(_))));
    // What the agent could get rid of while nobody reads: buffers on the way, not the whole log.
    let served = loop {
        let before = fake.change(|w| w.served);
        tokio::time::sleep(Duration::from_millis(300)).await;
        if before > 1 && before == fake.change(|w| w.served) {
            break before;
        }
    };
    assert!(
        served < 500,
        "{served} of 1000 events left without a reader"
    );
    for n in 0..1000 {
        assert_eq!(next_event(&mut events).await.message_id, format!("m{n}"));
    }
}

#[tokio::test]
async fn a_message_is_waited_for_until_it_is_stored_or_given_up() {
    let (place, fake) = (place(), Fake::new());
    let _serving = fake.serve(&place.path);
    let client = connect(&place).await;
    let sent = client.send_and_wait(message("hello"), LONG).await.unwrap();
    assert_eq!(sent.send_state(), SendState::Sent);

    fake.change(|w| w.outcome = Some(SendState::Failed));
    let failed = client.send_and_wait(message("hello"), LONG).await.unwrap();
    assert_eq!(failed.send_state(), SendState::Failed);
    assert_eq!(failed.failure_reason, "STORE_REFUSED");

    fake.change(|w| w.outcome = None);
    let wait = Duration::from_millis(100);
    let error = client
        .send_and_wait(message("hello"), wait)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::StillSending { .. }), "{error:?}");
}

#[tokio::test]
async fn waiting_survives_a_restart_and_sees_a_removal() {
    let (place, fake) = (place(), Fake::new());
    let serving = fake.serve(&place.path);
    let client = connect(&place).await;
    fake.change(|w| w.outcome = None);
    let mut request = message("hello");
    request.client_token = sessiond_client::new_client_token().unwrap();
    let accepted = client.send_message(request).await.unwrap();
    let mut stored = accepted.message.clone().unwrap();
    let waiting = tokio::spawn({
        let (client, accepted) = (client.clone(), accepted.clone());
        async move { client.wait_until_settled("", accepted, LONG).await }
    });
    until(|| fake.change(|w| w.subscriptions) == 1).await;
    drop(serving);
    stored.set_send_state(SendState::Sent);
    fake.log(EventKind::MessageChanged, &stored);
    let _serving = fake.serve(&place.path);
    assert_eq!(
        waiting.await.unwrap().unwrap().send_state(),
        SendState::Sent
    );

    let mut other = accepted.clone();
    other.message.as_mut().unwrap().id = "m2".into();
    fake.log(EventKind::MessageRemoved, other.message.as_ref().unwrap());
    let gone = client
        .wait_until_settled("", other, LONG)
        .await
        .unwrap_err();
    assert!(matches!(gone, Error::MessageRemoved { message_id } if message_id == "m2"));
}

async fn until(mut true_now: impl FnMut() -> bool) {
    tokio::time::timeout(LONG, async {
        while !true_now() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}
