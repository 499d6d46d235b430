//! What the processes that the demo starts do: the network, an agent, the program that answers.
//!
//! Network and agent are the real ones, called through the functions behind their own command lines. All
//! three end when their standard input does: the demo holds the other end, and it closes when the demo wants
//! them to end and also when the demo is killed.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use rustix::process::{Signal, getpid, kill_process};
use sessiond_client::v1::{
    AcknowledgeRequest, Message, MessageDirection, SendMessageRequest, SubscribeRequest,
    TextContent, event, message,
};
use sessiond_client::{Client, Update, v1};
use tokio::signal::unix::{SignalKind, signal};

/// What a part prints on standard output when it is ready, unless it has more to say.
pub const READY: &str = "ready";

/// Longest an orderly end may take after the parent is gone.
const END: Duration = Duration::from_secs(20);

/// Most characters of a text that an answer repeats; with its own words it stays below the limit of 2,000.
const REPEATED: usize = 1_000;

/// Arguments of the network's process.
#[derive(Args)]
pub struct NetworkArgs {
    #[arg(long)]
    state_dir: PathBuf,
    #[arg(long)]
    network_file: PathBuf,
    #[arg(long)]
    nodes: usize,
}

/// Arguments of an agent's process.
#[derive(Args)]
pub struct AgentArgs {
    #[arg(long)]
    state_dir: PathBuf,
    #[arg(long)]
    socket: PathBuf,
    #[arg(long)]
    network: String,
    #[arg(long)]
    passphrase_file: PathBuf,
}

/// Arguments of the process that answers.
#[derive(Args)]
pub struct AnswerArgs {
    #[arg(long)]
    socket: PathBuf,
}

/// Ends this process, in the orderly way first, once its standard input has ended.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        // An input that cannot be read is as good as ended.
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        let _ = kill_process(getpid(), Signal::TERM);
        std::thread::sleep(END);
        std::process::exit(1);
    });
}

/// Runs the network.
pub async fn network(args: NetworkArgs) -> anyhow::Result<()> {
    session_localnet::cli::run(session_localnet::cli::RunArgs {
        nodes: args.nodes,
        network_file: Some(args.network_file),
        ..session_localnet::cli::RunArgs::new(args.state_dir)
    })
    .await
}

/// Runs an agent.
pub async fn agent(args: AgentArgs) -> anyhow::Result<()> {
    sessiond::cli::run(sessiond::cli::RunArgs {
        state_dir: Some(args.state_dir),
        socket: Some(args.socket),
        network: args.network,
        allow_same_subnet: false,
        vault: sessiond::cli::VaultKind::Passphrase,
        passphrase_file: Some(args.passphrase_file),
        node_list: None,
        proxy: None,
        proxy_login_file: None,
        log: sessiond::log::LogArgs::default(),
    })
    .await
}

/// Answers every text that an agent receives, once, whatever is restarted in between: the agent remembers how
/// far the subscriber has come, and an answer repeated with its token is not sent again.
pub async fn answer(args: AnswerArgs) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    tokio::select! {
        ended = answer_all(args) => ended,
        _ = terminate.recv() => Ok(()),
    }
}

async fn answer_all(args: AnswerArgs) -> anyhow::Result<()> {
    const SUBSCRIBER: &str = "demo-answer";
    let client = Client::builder().socket(args.socket).connect().await?;
    let mut events = client.events(SubscribeRequest {
        subscriber: SUBSCRIBER.into(),
        ..Default::default()
    });
    while let Some(update) = events.next().await {
        let reached = match update? {
            // Acknowledged at once, so that from now on nothing is missed.
            Update::Ready(ready) => {
                acknowledge(&client, SUBSCRIBER, ready.cursor).await?;
                let mut stdout = std::io::stdout();
                writeln!(stdout, "{READY}").and_then(|()| stdout.flush())?;
                continue;
            }
            Update::Disconnected { .. } | Update::Resumed(_) => continue,
            Update::Event(event) => event,
        };
        if reached.kind() == v1::EventKind::MessageAdded
            && let Some(event::State::Message(message)) = reached.state
            && let Some(answer) = answer_to(&message)
        {
            client.send_message(answer).await?;
        }
        if !reached.transient {
            acknowledge(&client, SUBSCRIBER, reached.cursor).await?;
        }
    }
    anyhow::bail!("the event stream ended")
}

async fn acknowledge(client: &Client, name: &str, cursor: String) -> anyhow::Result<()> {
    client
        .acknowledge(AcknowledgeRequest {
            subscriber: name.into(),
            cursor,
            ..Default::default()
        })
        .await?;
    Ok(())
}

fn answer_to(message: &Message) -> Option<SendMessageRequest> {
    let Some(message::Content::Text(text)) = &message.content else {
        return None;
    };
    (message.direction() == MessageDirection::Incoming).then(|| SendMessageRequest {
        recipient: message.author.clone(),
        text: Some(TextContent {
            body: answer_text(&text.body),
            ..Default::default()
        }),
        client_token: format!("answer-{}", message.id),
        ..Default::default()
    })
}

/// What is answered to a text.
pub fn answer_text(text: &str) -> String {
    let mut repeated: String = text.chars().take(REPEATED).collect();
    if repeated.len() < text.len() {
        repeated.push('…');
    }
    format!("Bob's program read: {repeated}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_fit_into_a_message() {
        assert_eq!(answer_text("hi"), "Bob's program read: hi");
        let long = answer_text(&"ä".repeat(2_000));
        assert!(long.ends_with('…') && long.chars().count() < 2_000);
    }

    #[test]
    fn only_texts_of_others_are_answered() {
        let text = |direction: MessageDirection| Message {
            id: "m1".into(),
            author: "05aa".into(),
            direction: direction.into(),
            content: Some(message::Content::Text(TextContent {
                body: "hi".into(),
                ..Default::default()
            })),
            ..Default::default()
        };
        let answer = answer_to(&text(MessageDirection::Incoming)).unwrap();
        assert_eq!(
            (answer.recipient.as_str(), answer.client_token.as_str()),
            ("05aa", "answer-m1")
        );
        assert_eq!(answer_to(&text(MessageDirection::Outgoing)), None);
        let mut other = text(MessageDirection::Incoming);
        other.content = Some(message::Content::Unsupported(v1::UnsupportedContent {
            kind: "CALL".into(),
        }));
        assert_eq!(answer_to(&other), None);
    }
}
