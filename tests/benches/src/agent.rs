//! What a person waits for: start to ready, start to first message stored, send to stored, send to shown.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use sessiond_client::{Client, Update, new_client_token, v1};

use crate::process::{Home, network};
use crate::summary;

const DEADLINE: Duration = Duration::from_secs(60);

fn text(recipient: &str, body: String) -> anyhow::Result<v1::SendMessageRequest> {
    Ok(v1::SendMessageRequest {
        recipient: recipient.to_owned(),
        text: Some(v1::TextContent {
            body,
            ..Default::default()
        }),
        client_token: new_client_token()?,
        ..Default::default()
    })
}

async fn create(client: &Client, name: &str) -> anyhow::Result<String> {
    let request = v1::CreateAccountRequest {
        display_name: name.to_owned(),
        ..Default::default()
    };
    let answer = client.create_account(request).await?;
    Ok(answer
        .account
        .context("no account in the answer")?
        .account_id)
}

async fn stored(client: &Client, request: v1::SendMessageRequest) -> anyhow::Result<()> {
    let message = client.send_and_wait(request, DEADLINE).await?;
    ensure!(
        message.send_state() == v1::SendState::Sent,
        "failed: {}",
        message.failure_reason
    );
    Ok(())
}

/// Prints the times.
pub async fn run(rounds: usize) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("sdb").tempdir()?;
    let (_network, file) = network(dir.path())?;
    let (alice_home, bob_home) = (
        Home::new(dir.path(), &file, "a")?,
        Home::new(dir.path(), &file, "b")?,
    );
    let (_bob, bob, _) = bob_home.start().await?;
    let bob_id = create(&bob, "Bob").await?;
    let (alice_process, alice, _) = alice_home.start().await?;
    create(&alice, "Alice").await?;

    let mut waits = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let begin = Instant::now();
        stored(&alice, text(&bob_id, format!("stored {round}"))?).await?;
        waits.push(begin.elapsed());
    }
    summary::print("send to stored, warm", waits);
    shown(&alice, &bob, &bob_id, rounds).await?;
    drop(alice_process);

    let (mut ready, mut first) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    for round in 0..rounds {
        let (process, client, begin) = alice_home.start().await?;
        ready.push(begin.elapsed());
        stored(&client, text(&bob_id, format!("first {round}"))?).await?;
        first.push(begin.elapsed());
        drop(process);
    }
    summary::print("start to ready (Argon2id of 64 MiB in it)", ready);
    summary::print("start to first message stored", first);
    Ok(())
}

/// From the call that sends to the event at the other side. The other side polls every 2 s while active, which is
/// most of it; the second line asks it to poll at once.
async fn shown(alice: &Client, bob: &Client, bob_id: &str, rounds: usize) -> anyhow::Result<()> {
    let newest = v1::SubscribeRequest {
        start: v1::StreamStart::Newest.into(),
        ..Default::default()
    };
    let mut events = bob.events(newest);
    // Ready: from here on nothing is missed.
    events.next().await.context("no stream of events")??;
    for ask in [false, true] {
        let mut waits = Vec::with_capacity(rounds);
        for round in 0..rounds {
            let body = format!("shown {ask} {round}");
            let begin = Instant::now();
            stored(alice, text(bob_id, body.clone())?).await?;
            if ask {
                bob.sync(v1::SyncRequest::default()).await?;
            }
            loop {
                let update = tokio::time::timeout(DEADLINE, events.next())
                    .await?
                    .context("the stream of events ended")??;
                let Update::Event(event) = update else {
                    continue;
                };
                let Some(v1::event::State::Message(message)) = event.state else {
                    continue;
                };
                if message.content
                    == Some(v1::message::Content::Text(v1::TextContent {
                        body: body.clone(),
                        ..Default::default()
                    }))
                {
                    break;
                }
            }
            if begin.elapsed() > DEADLINE {
                bail!("a message took longer than {DEADLINE:?}");
            }
            waits.push(begin.elapsed());
        }
        let name = if ask {
            "send to shown, asked to poll"
        } else {
            "send to shown, polling every 2 s"
        };
        summary::print(name, waits);
    }
    Ok(())
}
