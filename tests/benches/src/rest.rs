//! What an agent keeps after a large backlog, and what it costs while nothing happens: memory, processor time, wake-ups.
//!
//! A second agent writes the backlog while the first is down; the first then fetches it with one frontend subscribed, and
//! is left alone. Memory is the kernel's: `VmHWM`, the most that was resident, and `RssAnon`, what is its own now. A
//! wake-up is a voluntary context switch of any of its threads.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures_util::future::try_join_all;
use sessiond_client::{Client, Update, new_client_token, v1};

use crate::keyring::Keyring;
use crate::process::{self, Home, create_account, network_with};

/// Longest the backlog may take to be written, and to be read.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
/// Messages given to the agent that writes at once.
const AT_ONCE: usize = 200;
/// Most that may wait in its outbox meanwhile.
const WAITING: u32 = 2_000;

/// Prints the figures.
pub async fn run(messages: usize, minutes: u64, nodes: u16) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("sdb").tempdir()?;
    let number = nodes.to_string();
    let (_network, file) = network_with(dir.path(), &["--nodes", &number])?;
    let (mut reader, writer) = (
        Home::new(dir.path(), &file, "a")?,
        Home::new(dir.path(), &file, "b")?,
    );
    let keyring = Keyring::start(dir.path())?;
    match &keyring {
        Some(keyring) => reader = reader.with_keyring(keyring),
        None => println!("no keyring is installed: VmHWM has the 64 MiB of Argon2id in it"),
    }
    let (agent, client, _) = reader.start().await?;
    let id = create_account(&client).await?;
    client.shutdown(v1::ShutdownRequest::default()).await?;
    drop(client);
    agent.until_ended()?;

    let (writing, client, _) = writer.start().await?;
    create_account(&client).await?;
    let begin = Instant::now();
    write(&client, &id, messages).await?;
    println!(
        "a backlog of {messages} messages written in {:.0} s",
        begin.elapsed().as_secs_f64()
    );
    drop((client, writing));

    let (agent, client, begin) = reader.start().await?;
    let mut events = client.events(v1::SubscribeRequest {
        start: v1::StreamStart::Oldest.into(),
        ..Default::default()
    });
    let mut left = messages;
    let read = async {
        while left > 0 {
            let update = events.next().await.context("the stream ended")??;
            if let Update::Event(event) = update {
                left -= usize::from(event.kind() == v1::EventKind::MessageAdded);
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(DEADLINE, read).await??;
    println!(
        "start to all of them at a frontend: {:.1} s",
        begin.elapsed().as_secs_f64()
    );
    tokio::time::sleep(Duration::from_secs(minutes * 60)).await;
    let status = client
        .get_network_status(v1::GetNetworkStatusRequest::default())
        .await?;
    let memory = process::memory(agent.id())?;
    let kib = |name: &str| memory.get(name).copied().unwrap_or_default();
    println!(
        "{minutes} min later, {} nodes in the pool, one frontend: RssAnon {:.1} MiB, VmHWM {:.1} MiB, RssFile {:.1} MiB",
        status.node_count,
        mib(kib("RssAnon")),
        mib(kib("VmHWM")),
        mib(kib("RssFile")),
    );
    rest(agent.id(), Duration::from_secs(minutes.max(1) * 60)).await
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Lets another agent write, never more at once than its outbox takes.
async fn write(client: &Client, to: &str, messages: usize) -> anyhow::Result<()> {
    let end = Instant::now() + DEADLINE;
    let mut written = 0;
    loop {
        let status = client
            .get_network_status(v1::GetNetworkStatusRequest::default())
            .await?;
        if status.outbox_count == 0 && written == messages {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("the backlog is not written in time");
        }
        if status.outbox_count > WAITING || written == messages {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        let some = written..(written + AT_ONCE).min(messages);
        written = some.end;
        try_join_all(some.map(|number| async move {
            let request = v1::SendMessageRequest {
                recipient: to.to_owned(),
                text: Some(v1::TextContent {
                    body: format!("message {number} of a backlog, about as long as people write"),
                    ..Default::default()
                }),
                client_token: new_client_token()?,
                ..Default::default()
            };
            anyhow::Ok(client.send_message(request).await?)
        }))
        .await?;
    }
}

/// Processor time and wake-ups while nothing happens.
async fn rest(pid: u32, span: Duration) -> anyhow::Result<()> {
    let (time, switches) = (process::time_of(pid)?, process::switches(pid)?);
    tokio::time::sleep(span).await;
    let minutes = span.as_secs_f64() / 60.0;
    let used = (process::time_of(pid)? - time) / minutes;
    let after = process::switches(pid)?;
    // A thread that ended meanwhile is not counted.
    let woken = |before: &HashMap<u32, u64>| -> u64 {
        after
            .iter()
            .map(|(thread, count)| count - before.get(thread).copied().unwrap_or(0).min(*count))
            .sum()
    };
    println!(
        "at rest, one frontend: {:.0} ms of processor time and {:.0} wake-ups a minute",
        used * 1000.0,
        woken(&switches) as f64 / minutes
    );
    Ok(())
}
