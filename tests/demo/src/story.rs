//! The run from its start to its end: starts the parts, tells what they report, and ends them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use sessiond_client::v1::{
    Account, CreateAccountRequest, DaemonState, Event, GetAccountRequest, GetInfoRequest,
    ListMessagesRequest, ListPathsRequest, SendMessageRequest, StreamStart, SubscribeRequest,
    TextContent, event, list_messages_request::Conversation,
};
use sessiond_client::{Client, Error, EventStream, Update, new_client_token};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::children::Children;
use crate::exchange::{Exchange, Person, body};
use crate::lines;
use crate::parts::READY;
use crate::place::Place;
use crate::screen::{BAD, BOLD, FAINT, GOOD, Screen, paint, shell, visible};

/// Longest from the start to the answer.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at something that reports no events.
const LOOK: Duration = Duration::from_millis(50);
/// Reports that wait to be told; with more, the agents' streams wait.
const REPORTS: usize = 64;

/// What the user asked for.
pub struct Wishes {
    /// End after the first exchange.
    pub once: bool,
    /// Where to keep everything.
    pub state_dir: Option<PathBuf>,
    /// Number of service nodes.
    pub nodes: u16,
}

/// Runs the demo.
pub async fn run(wishes: Wishes) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let place = Place::new(wishes.state_dir)?;
    let mut demo = Demo {
        screen: Screen::new(),
        children: Children::new(place.path("logs")),
        place,
        doing: "starting",
        exchange: Exchange::new(format!(
            "Hello Bob, this text crosses three hops ({})",
            new_client_token()?.get(..6).unwrap_or_default()
        )),
    };
    let outcome = tokio::select! {
        told = demo.tell(wishes.nodes, wishes.once) => told,
        () = signals.next() => match wishes.once {
            true => Err(anyhow!("interrupted while {}", demo.doing)),
            false => Ok(()),
        },
    };
    let stopped = demo.children.stop().await;
    match outcome.and(stopped) {
        Ok(()) => Ok(()),
        Err(error) => {
            let logs = demo.place.path("logs");
            demo.place.keep();
            let hint = format!("the logs are in {}", logs.display());
            demo.screen.line(paint(BAD, hint));
            Err(error)
        }
    }
}

struct Demo {
    screen: Screen,
    place: Place,
    children: Children,
    /// For the message when time is up.
    doing: &'static str,
    exchange: Exchange,
}

/// A person with their agent.
pub struct Party {
    /// Who it is.
    pub person: Person,
    /// Connection to the agent.
    pub client: Client,
    /// Account ID of the agent's account.
    pub account_id: String,
}

/// What an agent's event stream says.
type Report = (Person, Result<Box<Event>, Error>);

impl Demo {
    async fn tell(&mut self, nodes: u16, once: bool) -> anyhow::Result<()> {
        let (reporter, mut reports) = mpsc::channel(REPORTS);
        let told = timeout(DEADLINE, self.first_exchange(nodes, reporter, &mut reports)).await;
        let parties = match told {
            Ok(told) => told?,
            Err(_) => {
                let mut missing = self.exchange.missing().join("; ");
                if missing.is_empty() {
                    missing = self.doing.to_owned();
                }
                let seconds = DEADLINE.as_secs();
                bail!(
                    "not done after {seconds} s, while {}; missing: {missing}",
                    self.doing
                );
            }
        };
        if once {
            self.screen.line(paint(GOOD, "Everything was received."));
            return Ok(());
        }
        self.say_what_to_try(&parties);
        loop {
            tokio::select! {
                report = reports.recv() => self.heed(&parties, report)?,
                failure = self.children.failure() => return Err(failure),
            }
        }
    }

    /// Everything up to the answer. What it returns is connected and reports to `reports`.
    async fn first_exchange(
        &mut self,
        nodes: u16,
        reporter: mpsc::Sender<Report>,
        reports: &mut mpsc::Receiver<Report>,
    ) -> anyhow::Result<[Party; 2]> {
        self.screen.line(paint(
            BOLD,
            "A Session network, two agents and a program that answers, on this machine",
        ));
        self.start_network(nodes).await?;
        let alice = self.start_agent(Person::Alice).await?;
        let bob = self.start_agent(Person::Bob).await?;
        self.start_answer(&bob).await?;
        let parties = [alice, bob];
        self.doing = "waiting for paths";
        for party in &parties {
            self.show_paths(party).await?;
            let events = standing(&party.client).await?;
            tokio::spawn(report(party.person, events, reporter.clone()));
        }
        self.doing = "exchanging texts";
        self.screen.line(paint(
            FAINT,
            "             Agents fetch every 5 s, and every 2 s for a minute after something happened.",
        ));
        let [alice, bob] = &parties;
        let sending = alice.client.send_message(SendMessageRequest {
            recipient: bob.account_id.clone(),
            text: Some(TextContent {
                body: self.exchange.question().to_owned(),
                ..Default::default()
            }),
            client_token: new_client_token()?,
            ..Default::default()
        });
        unless_failure(&mut self.children, async { Ok(sending.await?) }).await?;
        while !self.exchange.missing().is_empty() {
            let report = unless_failure(&mut self.children, async { Ok(reports.recv().await) });
            let report = report.await?;
            self.heed(&parties, report)?;
            if let Some(reason) = self.exchange.failed() {
                bail!("{reason}");
            }
        }
        self.doing = "reading both chats";
        for (own, other) in [(alice, bob), (bob, alice)] {
            let heard = self.read_chat(own, other).await?;
            self.screen.tell(own.person.name(), heard);
        }
        Ok(parties)
    }

    async fn start_network(&mut self, nodes: u16) -> anyhow::Result<()> {
        self.doing = "starting the network";
        let network = self.children.start(
            "network",
            &[
                &"network",
                &"--state-dir",
                &self.place.path("network"),
                &"--network-file",
                &self.place.path("network.toml"),
                &"--nodes",
                &nodes.to_string(),
            ],
        )?;
        let pid = network.pid;
        let line = unless_failure(&mut self.children, network.first_line()).await?;
        let ready: serde_json::Value =
            serde_json::from_str(&line).context("the network's first line")?;
        let count = ready["nodes"].as_array().map_or(0, Vec::len);
        let seed = ready["seedUrl"].as_str().unwrap_or_default();
        self.screen.tell(
            "Network",
            format_args!(
                "{count} service nodes listen, seed {} {}",
                visible(seed),
                lines::process(pid)
            ),
        );
        Ok(())
    }

    async fn start_agent(&mut self, person: Person) -> anyhow::Result<Party> {
        self.doing = "starting the agents";
        let name = match person {
            Person::Alice => "alice",
            Person::Bob => "bob",
        };
        let socket = self.place.path(name).join("agent.sock");
        let agent = self.children.start(
            name,
            &[
                &"agent",
                &"--state-dir",
                &self.place.path(name),
                &"--socket",
                &socket,
                &"--network",
                &self.place.path("network.toml"),
                &"--passphrase-file",
                &self.place.passphrase_file(),
            ],
        )?;
        let ready = async {
            let client = connect(socket).await?;
            let (account, how) = account(&client, person).await?;
            Ok((client, account, how))
        };
        let (client, account, how) = unless_failure(&mut self.children, ready).await?;
        self.screen.tell(
            person.name(),
            format_args!(
                "agent runs, account {how}: {} {}",
                account.account_id,
                lines::process(agent.pid)
            ),
        );
        Ok(Party {
            person,
            client,
            account_id: account.account_id,
        })
    }

    async fn start_answer(&mut self, bob: &Party) -> anyhow::Result<()> {
        self.doing = "starting the program that answers";
        let socket = bob.client.socket().to_owned();
        let answer = self
            .children
            .start("answer", &[&"answer", &"--socket", &socket])?;
        let pid = answer.pid;
        let line = unless_failure(&mut self.children, answer.first_line()).await?;
        if line.trim_end() != READY {
            bail!("the program that answers said {:?}", line.trim_end());
        }
        self.screen.tell(
            bob.person.name(),
            format_args!("a program answers for him {}", lines::process(pid)),
        );
        Ok(())
    }

    async fn show_paths(&mut self, party: &Party) -> anyhow::Result<()> {
        let paths = unless_failure(&mut self.children, async {
            loop {
                let request = ListPathsRequest::default();
                let paths = party.client.list_paths(request).await?.paths;
                if !paths.is_empty() {
                    return Ok(paths);
                }
                sleep(LOOK).await;
            }
        });
        for path in paths.await? {
            self.screen.tell(
                party.person.name(),
                format_args!("path  {}", lines::path(&path)),
            );
        }
        Ok(())
    }

    /// Tells a report and takes note of it.
    fn heed(&mut self, parties: &[Party], report: Option<Report>) -> anyhow::Result<()> {
        let Some((person, event)) = report else {
            bail!("no agent reports any more");
        };
        let event = event.with_context(|| format!("event stream of {}", person.name()))?;
        if let Some(event::State::Message(message)) = &event.state {
            self.exchange.observe(person, message);
            for line in lines::message_event(parties, &event, message) {
                self.screen.tell(person.name(), line);
            }
        }
        Ok(())
    }

    /// Makes sure that a chat holds both texts, each once.
    async fn read_chat(&mut self, own: &Party, other: &Party) -> anyhow::Result<String> {
        let request = ListMessagesRequest {
            conversation: Some(Conversation::AccountId(other.account_id.clone())),
            ..Default::default()
        };
        let listing = own.client.list_messages(request);
        let listed = unless_failure(&mut self.children, async { Ok(listing.await?) }).await?;
        for text in [self.exchange.question(), self.exchange.answer()] {
            let count = listed
                .messages
                .iter()
                .filter(|message| body(message) == Some(text))
                .count();
            if count != 1 {
                bail!("{}'s chat holds {text:?} {count} times", own.person.name());
            }
        }
        Ok(format!(
            "chat with {} holds both texts, each once",
            other.person.name()
        ))
    }

    fn say_what_to_try(&self, parties: &[Party; 2]) {
        let release = if cfg!(debug_assertions) {
            ""
        } else {
            "--release "
        };
        let [alice, bob] = parties;
        let to_bob = &bob.account_id;
        self.screen.line("");
        self.screen.line(paint(
            BOLD,
            "Everything was received. All of it stays up; try in another terminal:",
        ));
        for (party, what) in [
            (alice, "status".to_owned()),
            (alice, "paths".to_owned()),
            (alice, format!("messages {to_bob}")),
            (
                alice,
                format!("send {to_bob} \"Hello again\" --wait stored"),
            ),
            (alice, "--json events --follow".to_owned()),
            (bob, "conversations".to_owned()),
        ] {
            let socket = shell(&party.client.socket().to_string_lossy());
            self.screen.line(format_args!(
                "  cargo run {release}-q -p sessionctl -- --socket {socket} {what}"
            ));
        }
        let dir = self.place.dir().display();
        let then = match self.place.is_temporary() {
            true => format!("Ctrl-C ends it and removes {dir}"),
            false => format!("Ctrl-C ends it; {dir} stays"),
        };
        self.screen.line(paint(FAINT, then));
        self.screen.line("");
    }
}

/// A step, unless a process ends meanwhile.
async fn unless_failure<T>(
    children: &mut Children,
    step: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        outcome = step => outcome,
        failure = children.failure() => Err(failure),
    }
}

/// Connects as soon as the agent listens.
async fn connect(socket: PathBuf) -> anyhow::Result<Client> {
    loop {
        match Client::builder().socket(&socket).connect().await {
            Ok(client) => return Ok(client),
            Err(error) if error.is_transient() => sleep(LOOK).await,
            Err(error) => return Err(anyhow!("{error}: {}", error.advice())),
        }
    }
}

/// The agent's account, made if there is none.
async fn account(client: &Client, person: Person) -> anyhow::Result<(Account, &'static str)> {
    let info = client.get_info(GetInfoRequest::default()).await?;
    let (account, how) = if info.state() == DaemonState::NoAccount {
        let request = CreateAccountRequest {
            display_name: person.name().into(),
            client_token: new_client_token()?,
        };
        (client.create_account(request).await?.account, "made")
    } else {
        let request = GetAccountRequest::default();
        (client.get_account(request).await?.account, "kept")
    };
    Ok((account.context("the agent's answer has no account")?, how))
}

/// An event stream that has begun, at the end of the log.
async fn standing(client: &Client) -> anyhow::Result<EventStream> {
    let mut events = client.events(SubscribeRequest {
        start: StreamStart::Newest.into(),
        ..Default::default()
    });
    match events.next().await {
        Some(Ok(Update::Ready(_))) => Ok(events),
        Some(Err(error)) => Err(error.into()),
        _ => bail!("an event stream did not begin"),
    }
}

async fn report(person: Person, mut events: EventStream, to: mpsc::Sender<Report>) {
    while let Some(update) = events.next().await {
        let report = match update {
            Ok(Update::Event(event)) => Ok(event),
            Ok(_) => continue,
            Err(error) => Err(error),
        };
        if to.send((person, report)).await.is_err() {
            return;
        }
    }
}

/// What asks the demo to end.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
