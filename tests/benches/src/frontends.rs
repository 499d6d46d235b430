//! Many frontends at once: how long an event takes to all of them, how fast calls are answered, how fast the log replays.
//!
//! Every subscriber has a connection of its own; all of them live in this one process, so on a small machine a part of
//! what is printed is their own work. The last of the subscribers is the figure that counts.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use sessiond_client::{Client, Update, new_client_token, v1};
use tokio::sync::mpsc;

use crate::process::{Home, create_account, network};
use crate::summary;

/// Longest anything may take.
const DEADLINE: Duration = Duration::from_secs(120);
/// Between two messages whose events are timed.
const PAUSE: Duration = Duration::from_millis(20);

fn note(to: &str, body: String) -> anyhow::Result<v1::SendMessageRequest> {
    Ok(v1::SendMessageRequest {
        recipient: to.to_owned(),
        text: Some(v1::TextContent {
            body,
            ..Default::default()
        }),
        client_token: new_client_token()?,
        ..Default::default()
    })
}

/// Id of the message that an update adds.
fn added(update: Update) -> Option<String> {
    let Update::Event(event) = update else {
        return None;
    };
    let is_new = event.kind() == v1::EventKind::MessageAdded;
    match event.state {
        Some(v1::event::State::Message(message)) if is_new => Some(message.id),
        _ => None,
    }
}

/// Prints the figures.
pub async fn run(subscribers: usize, messages: usize, sends: usize) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("sdb").tempdir()?;
    let (_network, file) = network(dir.path())?;
    let home = Home::new(dir.path(), &file, "a")?;
    let (_agent, client, _) = home.start().await?;
    let own = create_account(&client).await?;
    fan_out(&home, &client, &own, subscribers, messages).await?;
    let total = messages + at_once(&home, &own, sends).await?;
    replay(&home, total, 1).await?;
    replay(&home, total, 10).await
}

/// From the answer of a call to the event at each subscriber.
async fn fan_out(
    home: &Home,
    client: &Client,
    own: &str,
    subscribers: usize,
    messages: usize,
) -> anyhow::Result<()> {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let mut reading = Vec::with_capacity(subscribers);
    for _ in 0..subscribers {
        let client = home.connect().await?;
        let mut events = client.events(v1::SubscribeRequest {
            start: v1::StreamStart::Newest.into(),
            ..Default::default()
        });
        events.next().await.context("no stream")??;
        let arrived = arrived.clone();
        reading.push(tokio::spawn(async move {
            let mut left = messages;
            while left > 0 {
                let update = events.next().await.context("a stream ended")??;
                if let Some(id) = added(update) {
                    left -= 1;
                    // The receiver is there until everything has arrived.
                    drop(arrived.send((id, Instant::now())));
                }
            }
            anyhow::Ok(())
        }));
    }
    drop(arrived);
    let mut answered = HashMap::with_capacity(messages);
    for number in 0..messages {
        let answer = client.send_message(note(own, format!("to all {number}"))?);
        let message = answer.await?.message.context("no message")?;
        answered.insert(message.id, Instant::now());
        tokio::time::sleep(PAUSE).await;
    }
    let mut waits = Vec::with_capacity(messages * subscribers);
    let collect = async {
        while let Some((id, at)) = arrivals.recv().await {
            let answer = answered.get(&id).context("an event of nothing")?;
            // The event may overtake the answer.
            waits.push(at.saturating_duration_since(*answer));
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(DEADLINE, collect).await??;
    for reader in reading {
        reader.await??;
    }
    ensure!(waits.len() == messages * subscribers, "events are missing");
    summary::percentiles(
        &format!("a call's answer to its event at {subscribers} streams"),
        waits,
    );
    Ok(())
}

/// Calls at once, over ten connections.
async fn at_once(home: &Home, own: &str, sends: usize) -> anyhow::Result<usize> {
    let clients = try_join_all((0..10).map(|_| home.connect())).await?;
    let begin = Instant::now();
    let calls = (0..sends).map(|number| {
        let client = &clients[number % clients.len()];
        async move {
            let begin = Instant::now();
            let request = note(own, format!("at once {number}"))?;
            client.send_message(request).await?;
            anyhow::Ok(begin.elapsed())
        }
    });
    let waits = tokio::time::timeout(DEADLINE, try_join_all(calls)).await??;
    let rate = sends as f64 / begin.elapsed().as_secs_f64();
    println!("{sends} sends at once: {rate:.0} accepted and on disk a second");
    summary::percentiles("each of them", waits);
    Ok(sends)
}

/// From the beginning of the log to the last message, so many streams at once.
async fn replay(home: &Home, messages: usize, streams: usize) -> anyhow::Result<()> {
    let clients = try_join_all((0..streams).map(|_| home.connect())).await?;
    let begin = Instant::now();
    let reading = clients.iter().map(|client| async {
        let mut events = client.events(v1::SubscribeRequest {
            start: v1::StreamStart::Oldest.into(),
            ..Default::default()
        });
        let (mut all, mut left) = (0_u64, messages);
        while left > 0 {
            let update = events.next().await.context("a stream ended")??;
            all += u64::from(matches!(update, Update::Event(_)));
            left -= usize::from(added(update).is_some());
        }
        anyhow::Ok(all)
    });
    let counts = tokio::time::timeout(DEADLINE, try_join_all(reading)).await??;
    let rate = counts.iter().sum::<u64>() as f64 / begin.elapsed().as_secs_f64();
    println!("replay of the log, {streams} streams at once: {rate:.0} events a second");
    Ok(())
}
