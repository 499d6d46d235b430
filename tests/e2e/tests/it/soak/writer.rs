//! What one side writes, and what must have become of it on both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sessiond_client::{Client, Error, Update, v1};
use tokio::task::JoinHandle;
use v1::message::Content;
use v1::{DisappearingMode, EventKind, MessageDirection, SendState};

use crate::harness::{Agent, LONG, Rng, is_said, send_request};

/// Of so many messages one may be deleted; the others may be reacted to, so that the two never meet.
const DELETABLE: usize = 5;

/// A text as it was written, and what became of it by its author's will.
struct Written {
    text: String,
    setting: Option<v1::DisappearingSetting>,
    deleted: bool,
}

impl Written {
    /// What everybody must see.
    fn said(&self) -> String {
        if self.deleted { GONE } else { &self.text }.to_owned()
    }
}

/// What a deleted message says.
const GONE: &str = "(deleted)";

fn said(message: &v1::Message) -> String {
    match &message.content {
        Some(Content::Text(text)) => text.body.clone(),
        Some(Content::Deleted(_)) => GONE.to_owned(),
        other => panic!("neither a text nor deleted: {other:?}"),
    }
}

/// One side.
pub struct Writer {
    name: &'static str,
    client: Client,
    peer: String,
    rng: Rng,
    written: Vec<Written>,
    /// How many of them were there when the round began; their ids are known, and both sides have them.
    settled: usize,
    /// Own ids, by number.
    ids: Vec<String>,
    /// Texts of the other side that this one reacted to, and whether the reaction is still on.
    reactions: BTreeMap<String, bool>,
    deletions: usize,
}

impl Writer {
    /// Who has written nothing yet.
    pub fn new(name: &'static str, client: &Client, peer: &str, rng: &mut Rng) -> Self {
        Self {
            name,
            client: client.clone(),
            peer: peer.to_owned(),
            rng: rng.fork(),
            written: Vec::new(),
            settled: 0,
            ids: Vec::new(),
            reactions: BTreeMap::new(),
            deletions: 0,
        }
    }

    /// How many texts there are.
    pub fn count(&self) -> usize {
        self.written.len()
    }

    /// Both sides have all texts.
    pub fn all_arrived(&mut self) {
        self.settled = self.written.len();
    }

    /// Texts that a follower did not hear of, with their own ids.
    pub fn not_heard(&self, follower: &Follower) -> Vec<(String, String)> {
        let heard = follower.heard.lock().unwrap();
        let written = self.written.iter().zip(&self.ids);
        written
            .filter(|(written, _)| !heard.ids.contains_key(&written.text))
            .map(|(written, id)| (written.text.clone(), id.clone()))
            .collect()
    }

    /// Writes and changes until then; what a call that broke wanted is asked for again.
    pub async fn write_until(&mut self, end: Instant, follower: &Follower) {
        // The agent takes 20 reactions a minute; a round is longer than 4 s.
        let mut may_react = true;
        while Instant::now() < end {
            match self.rng.within(0..12) {
                0 | 1 if may_react => may_react = !self.react(follower).await,
                2 => self.delete().await,
                3 => {
                    let hour = |mode: DisappearingMode, hours: i64| v1::DisappearingSetting {
                        mode: mode.into(),
                        timer: Some(prost_types::Duration {
                            seconds: hours * 3_600,
                            nanos: 0,
                        }),
                    };
                    let setting = if self.rng.within(0..2) == 0 {
                        hour(DisappearingMode::AfterSend, 12)
                    } else {
                        hour(DisappearingMode::AfterRead, 1)
                    };
                    self.send(Some(setting)).await;
                }
                _ => self.send(None).await,
            }
            tokio::time::sleep(Duration::from_millis(self.rng.within(20..300))).await;
        }
    }

    async fn send(&mut self, setting: Option<v1::DisappearingSetting>) {
        let text = format!("{} {}", self.name, self.written.len());
        let mut request = send_request(&self.peer, &text, &text);
        request.disappearing = setting;
        let answer = insist(&text, || self.client.send_message(request.clone())).await;
        self.ids.push(answer.message.unwrap().id);
        self.written.push(Written {
            text,
            setting,
            deleted: false,
        });
    }

    async fn delete(&mut self) {
        let candidates = self.settled.div_ceil(DELETABLE) as u64;
        if candidates == 0 {
            return;
        }
        let number = usize::try_from(self.rng.within(0..candidates)).unwrap() * DELETABLE;
        let request = v1::DeleteMessageRequest {
            message_id: self.ids[number].clone(),
            scope: v1::DeleteScope::Everyone.into(),
            ..Default::default()
        };
        let what = format!("deleting {}", self.written[number].text);
        insist(&what, || self.client.delete_message(request.clone())).await;
        self.deletions += usize::from(!self.written[number].deleted);
        self.written[number].deleted = true;
    }

    /// Reacts to a text of the other side of an earlier round, or takes that back; gives whether there was one.
    async fn react(&mut self, follower: &Follower) -> bool {
        let candidates = follower.settled_texts(&self.peer_name());
        if candidates.is_empty() {
            return false;
        }
        let (text, id) =
            &candidates[usize::try_from(self.rng.within(0..candidates.len() as u64)).unwrap()];
        let remove = self.reactions.get(text) == Some(&true);
        let request = v1::SetReactionRequest {
            message_id: id.clone(),
            emoji: "👍".into(),
            remove,
            ..Default::default()
        };
        let what = format!("{} reacting to {text}", self.name);
        insist(&what, || self.client.set_reaction(request.clone())).await;
        self.reactions.insert(text.clone(), !remove);
        true
    }

    fn peer_name(&self) -> String {
        if self.name == "a" { "b " } else { "a " }.to_owned()
    }

    /// A listed message of this writer is what it must be, on either side.
    fn check(&self, number: usize, message: &v1::Message, reader: &Self) {
        let written = &self.written[number];
        if written.deleted {
            return;
        }
        assert_eq!(message.disappearing, written.setting, "{message:?}");
        let reacted = reader.reactions.get(&written.text) == Some(&true);
        assert_eq!(message.reactions.len(), usize::from(reacted), "{message:?}");
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timed = self
            .written
            .iter()
            .filter(|it| it.setting.is_some())
            .count();
        write!(
            out,
            "{}: {} texts ({timed} with a timer), {} deletions, {} reactions",
            self.name,
            self.written.len(),
            self.deletions,
            self.reactions.len()
        )
    }
}

/// Makes a call until it is answered, however often the agent dies.
async fn insist<T>(what: &str, call: impl AsyncFn() -> Result<T, Error>) -> T {
    let end = Instant::now() + LONG;
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) if error.is_transient() => {
                assert!(Instant::now() < end, "{what} is not answered: {error}");
            }
            Err(error) => panic!("{what} is refused: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[derive(Default)]
struct Heard {
    /// Added messages, in the order of the log.
    added: Vec<String>,
    /// Their ids by their texts.
    ids: BTreeMap<String, String>,
}

/// A frontend that lives all the time and hears of everything, through restarts of its agent.
pub struct Follower {
    heard: Arc<Mutex<Heard>>,
    /// Texts heard of up to the last moment of rest.
    settled: Vec<(String, String)>,
    task: JoinHandle<()>,
}

impl Follower {
    /// From now on.
    pub async fn start(agent: &Agent) -> Self {
        let mut stream = agent.client().events(v1::SubscribeRequest {
            start: v1::StreamStart::Newest.into(),
            ..Default::default()
        });
        assert!(matches!(stream.next().await, Some(Ok(Update::Ready(_)))));
        let heard: Arc<Mutex<Heard>> = Arc::default();
        let told = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Some(update) = stream.next().await {
                let Update::Event(event) = update.unwrap() else {
                    continue;
                };
                if let (EventKind::MessageAdded, Some(v1::event::State::Message(message))) =
                    (event.kind(), &event.state)
                    && is_said(message)
                {
                    let mut heard = told.lock().unwrap();
                    heard.added.push(message.id.clone());
                    if let Some(Content::Text(text)) = &message.content {
                        heard.ids.insert(text.body.clone(), message.id.clone());
                    }
                }
            }
        });
        Self {
            heard,
            settled: Vec::new(),
            task,
        }
    }

    /// How many messages were added.
    pub fn heard(&self) -> usize {
        assert!(!self.task.is_finished(), "the stream has ended");
        self.heard.lock().unwrap().added.len()
    }

    /// What was heard of so far has arrived on both sides.
    pub fn all_arrived(&mut self) {
        let heard = self.heard.lock().unwrap();
        self.settled = heard.ids.clone().into_iter().collect();
    }

    /// Texts of earlier rounds by one side that may be reacted to, with their ids here.
    fn settled_texts(&self, by: &str) -> Vec<(String, String)> {
        let of_side = self.settled.iter().filter(|(text, _)| {
            let number = text
                .strip_prefix(by)
                .and_then(|number| number.parse::<usize>().ok());
            number.is_some_and(|number| number % DELETABLE != 0)
        });
        of_side.cloned().collect()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An agent has everything of both sides once, in its sender's order, as it was changed; and its follower heard of each
/// message once.
pub async fn check(agent: &Agent, peer: &str, own: &Writer, other: &Writer, follower: &Follower) {
    let all = agent.messages(peer).await;
    for (direction, writer, reader) in [
        (MessageDirection::Outgoing, own, other),
        (MessageDirection::Incoming, other, own),
    ] {
        // As the agent lists them: this order is what users see. The first one is the greeting.
        let side = all
            .iter()
            .filter(|message| message.direction() == direction);
        let side: Vec<&v1::Message> = side.skip(1).collect();
        let shown: Vec<String> = side.iter().map(|message| said(message)).collect();
        let expected: Vec<String> = writer.written.iter().map(Written::said).collect();
        let both = shown.iter().zip(&expected);
        let same = both
            .take_while(|(shown, expected)| shown == expected)
            .count();
        let around = same.saturating_sub(3)..;
        assert!(
            shown == expected,
            "{direction:?}: {} of {}, and from number {} on {:#?} instead of {:?}",
            shown.len(),
            expected.len(),
            around.start,
            side[around.clone()].iter().take(8).collect::<Vec<_>>(),
            expected[around.clone()].iter().take(8).collect::<Vec<_>>(),
        );
        for (number, message) in side.iter().enumerate() {
            writer.check(number, message, reader);
        }
        if direction == MessageDirection::Outgoing {
            for message in side {
                assert_eq!(message.send_state(), SendState::Sent, "{message:?}");
                assert_ne!(message.sync_state(), SendState::Failed, "{message:?}");
            }
        }
    }
    let listed: BTreeSet<&str> = all.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(listed.len(), all.len());
    let heard = follower.heard.lock().unwrap();
    let once: BTreeSet<&str> = heard.added.iter().map(String::as_str).collect();
    assert_eq!(once.len(), heard.added.len(), "an event was repeated");
    assert_eq!(once, listed);
}
