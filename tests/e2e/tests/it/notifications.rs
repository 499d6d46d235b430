//! Notifications on a real bus: a server of the test records what is shown and presses buttons.
//!
//! Without `dbus-daemon` nothing is tested; `tests/run` says so, and fails in CI.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sessiond_client::v1;
use zbus::object_server::SignalEmitter;
use zbus::zvariant::OwnedValue;

use crate::harness::{Agent, Localnet, NodeClock, assert_refused, cannot, until};

/// A private session bus. Ends with the test.
pub struct Bus {
    process: Child,
    /// Where clients find it.
    pub address: String,
}

impl Bus {
    /// Starts one; `None` where that cannot be had.
    pub fn start() -> Option<Self> {
        let spawned = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut process) = spawned else {
            cannot("dbus-daemon is needed");
            return None;
        };
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        Some(Self {
            process,
            address: address.trim().to_owned(),
        })
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    id: u32,
    summary: String,
    body: String,
    actions: Vec<String>,
    transient: bool,
    silent: bool,
}

#[derive(Default)]
struct Record {
    last_id: u32,
    /// Every call, in order.
    calls: Vec<Shown>,
    closed: Vec<u32>,
}

#[derive(Clone)]
struct Recorder {
    record: Arc<Mutex<Record>>,
    capabilities: Vec<String>,
    hangs: bool,
}

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Recorder {
    #[allow(clippy::too_many_arguments)] // the specification's own
    async fn notify(
        &self,
        _app_name: &str,
        replaces_id: u32,
        _app_icon: &str,
        summary: &str,
        body: &str,
        actions: Vec<String>,
        hints: HashMap<String, OwnedValue>,
        _expire_timeout: i32,
    ) -> u32 {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let mut record = self.record.lock().unwrap();
        let id = if replaces_id == 0 {
            record.last_id += 1;
            record.last_id
        } else {
            replaces_id
        };
        let is_set = |hint: &str| {
            let value = hints.get(hint).cloned();
            value.is_some_and(|value| bool::try_from(value) == Ok(true))
        };
        record.calls.push(Shown {
            id,
            summary: summary.to_owned(),
            body: body.to_owned(),
            actions,
            transient: is_set("transient"),
            silent: is_set("suppress-sound"),
        });
        id
    }

    fn close_notification(&self, id: u32) {
        self.record.lock().unwrap().closed.push(id);
    }

    fn get_capabilities(&self) -> Vec<String> {
        self.capabilities.clone()
    }

    #[zbus(signal)]
    async fn action_invoked(emitter: &SignalEmitter<'_>, id: u32, key: &str) -> zbus::Result<()>;
    #[zbus(signal)]
    async fn notification_replied(
        emitter: &SignalEmitter<'_>,
        id: u32,
        text: &str,
    ) -> zbus::Result<()>;
}

/// A notification server, and buttons to press.
pub struct Server {
    record: Arc<Mutex<Record>>,
    connection: zbus::Connection,
}

impl Server {
    /// Starts one on a bus.
    pub async fn start(bus: &Bus, capabilities: &[&str], hangs: bool) -> Self {
        let record = Arc::new(Mutex::new(Record::default()));
        let recorder = Recorder {
            record: Arc::clone(&record),
            capabilities: capabilities.iter().map(|&name| name.to_owned()).collect(),
            hangs,
        };
        let connection = zbus::connection::Builder::address(bus.address.as_str())
            .unwrap()
            .name("org.freedesktop.Notifications")
            .unwrap()
            .serve_at("/org/freedesktop/Notifications", recorder)
            .unwrap()
            .build()
            .await
            .unwrap();
        Self { record, connection }
    }

    /// Ends it, and with it everything it shows.
    async fn stop(self) {
        self.connection.close().await.unwrap();
    }

    fn calls(&self) -> Vec<Shown> {
        self.record.lock().unwrap().calls.clone()
    }

    /// Waits for so many; gives all.
    pub async fn until_calls(&self, count: usize) -> Vec<Shown> {
        until("a notification is shown", async || {
            let calls = self.calls();
            (calls.len() >= count).then_some(calls)
        })
        .await
    }

    async fn until_closed(&self, id: u32) {
        until("the notification is closed", async || {
            self.record
                .lock()
                .unwrap()
                .closed
                .contains(&id)
                .then_some(())
        })
        .await;
    }

    fn emitter(&self) -> SignalEmitter<'_> {
        SignalEmitter::new(&self.connection, "/org/freedesktop/Notifications").unwrap()
    }
}

async fn unread(agent: &Agent) -> u32 {
    let list = agent.client().list_conversations(Default::default()).await;
    list.unwrap()
        .conversations
        .iter()
        .map(|it| it.unread_count)
        .sum()
}

async fn set(agent: &Agent, privacy: v1::NotificationPrivacy) {
    let request = v1::UpdateSettingsRequest {
        settings: Some(v1::Settings {
            notification_privacy: privacy.into(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["notification_privacy".to_owned()],
        }),
        ..Default::default()
    };
    agent.client().update_settings(request).await.unwrap();
}

/// One that has a bus and an account, and has polled once: what comes now is no backlog.
async fn agent_on(bus: &Bus, net: &Localnet, name: &str) -> (Agent, String) {
    let mut agent = Agent::new(&net.room, name, &net.file);
    agent.on_bus(&bus.address);
    agent.up().await;
    let id = agent.create(name).await;
    agent.sync().await;
    // The task looks every second whether the first poll is done.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    (agent, id)
}

#[tokio::test]
async fn a_conversation_has_one_notification_that_follows_it() {
    let Some(bus) = Bus::start() else { return };
    let server = Server::start(
        &bus,
        &["actions", "body", "body-markup", "inline-reply"],
        false,
    )
    .await;
    let net = Localnet::start().await;
    let (a, a_id) = agent_on(&bus, &net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "Bob").await;
    // A stranger's message says nothing of itself.
    b.send_stored(&a_id, "a <b>secret</b>").await;
    let calls = server.until_calls(1).await;
    assert_eq!(calls[0].summary, "New message request");
    assert!(!format!("{calls:?}").contains("secret") && !format!("{calls:?}").contains("Bob"));
    // Answering accepts and reads: it goes.
    a.send_stored(&b_id, "hello").await;
    server.until_closed(calls[0].id).await;
    b.until_messages(&a_id, 2).await;

    b.send_stored(&a_id, "one & <two>").await;
    let calls = server.until_calls(2).await;
    let first = &calls[1];
    assert_eq!(
        (first.summary.as_str(), first.body.as_str()),
        ("Bob", "one &amp; &lt;two&gt;")
    );
    assert!(first.actions.contains(&"mark-read".to_owned()), "{first:?}");
    assert!(
        first.actions.contains(&"inline-reply".to_owned()),
        "{first:?}"
    );
    assert!(!first.transient);
    b.send_stored(&a_id, "three").await;
    let calls = server.until_calls(3).await;
    assert_eq!(calls[2].id, first.id, "replaced, not a second one");
    assert_eq!(
        (calls[2].summary.as_str(), calls[2].body.as_str()),
        ("Bob (2)", "three")
    );
    assert_eq!(unread(&a).await, 2);

    // "Mark as read" reads, and takes it away.
    Recorder::action_invoked(&server.emitter(), first.id, "mark-read")
        .await
        .unwrap();
    server.until_closed(first.id).await;
    assert_eq!(unread(&a).await, 0);

    // Less is shown when less is wanted.
    set(&a, v1::NotificationPrivacy::NameOnly).await;
    b.send_stored(&a_id, "four").await;
    let calls = server.until_calls(4).await;
    assert_eq!(
        (calls[3].summary.as_str(), calls[3].body.as_str()),
        ("Bob", "New message")
    );

    // A reply is sent, and reads what it answers.
    Recorder::notification_replied(&server.emitter(), calls[3].id, "from the corner")
        .await
        .unwrap();
    server.until_closed(calls[3].id).await;
    until("the reply arrives", async || {
        let is_reply = |message: &v1::Message| match &message.content {
            Some(v1::message::Content::Text(text)) => text.body == "from the corner",
            _ => false,
        };
        b.messages(&a_id).await.iter().any(is_reply).then_some(())
    })
    .await;
    assert_eq!(unread(&a).await, 0);

    // Whoever looks at the conversation needs no notification; afterwards they come again.
    let conversation = all_conversations(&a).await.remove(0);
    let hold = v1::HoldFocusRequest {
        conversation_id: conversation.id.clone(),
        duration: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
        ..Default::default()
    };
    let lease = a.client().hold_focus(hold).await.unwrap().lease;
    b.send_stored(&a_id, "unseen").await;
    until("it is there", async || {
        (unread(&a).await == 1).then_some(())
    })
    .await;
    // Only who looks marks as read.
    let read = |focus_lease: &str| v1::MarkConversationReadRequest {
        selector: Some(v1::mark_conversation_read_request::Selector::AccountId(
            b_id.clone(),
        )),
        focus_lease: focus_lease.to_owned(),
        ..Default::default()
    };
    let refused = a.client().mark_conversation_read(read("")).await;
    assert_refused(
        refused,
        tonic::Code::FailedPrecondition,
        "FOCUS_HELD_BY_OTHER",
    );
    a.client()
        .mark_conversation_read(read(&lease))
        .await
        .unwrap();
    assert_eq!(unread(&a).await, 0);
    let release = v1::ReleaseFocusRequest {
        conversation_id: conversation.id,
        lease,
        ..Default::default()
    };
    // Longer than messages are gathered for.
    tokio::time::sleep(Duration::from_secs(2)).await;
    a.client().release_focus(release).await.unwrap();
    set(&a, v1::NotificationPrivacy::CountOnly).await;
    b.send_stored(&a_id, "five").await;
    let calls = server.until_calls(5).await;
    assert_eq!(
        (calls[4].summary.as_str(), calls[4].body.as_str()),
        ("Session", "1 new message")
    );
    assert_eq!(calls.len(), 5, "none while somebody looked: {calls:?}");
}

async fn all_conversations(agent: &Agent) -> Vec<v1::Conversation> {
    agent
        .client()
        .list_conversations(Default::default())
        .await
        .unwrap()
        .conversations
}

#[tokio::test]
async fn what_came_meanwhile_is_told_once() {
    let Some(bus) = Bus::start() else { return };
    let server = Server::start(&bus, &["body"], false).await;
    let net = Localnet::start().await;
    let (mut a, a_id) = agent_on(&bus, &net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "Bob").await;
    let (c, c_id) = Agent::with_account(&net, "Carol").await;
    for (agent, id) in [(&b, &b_id), (&c, &c_id)] {
        a.send_stored(id, "hello").await;
        agent.until_messages(&a_id, 1).await;
        // The answer accepts, which is an entry of its own.
        agent.send_stored(&a_id, "hi").await;
        a.until_messages(id, 2).await;
    }
    a.stop().await;
    for number in 0..3 {
        b.send_stored(&a_id, &number.to_string()).await;
        c.send_stored(&a_id, &number.to_string()).await;
    }
    let before = server.calls().len();
    a.up().await;
    let calls = server.until_calls(before + 1).await;
    assert_eq!(calls[before].body, "6 new messages in 2 conversations");
    assert!(
        calls[before].actions.is_empty(),
        "the server has no actions"
    );
    assert!(!calls[before].silent);
    // It says less when less is left to be read, without a sound, and goes with the last of it.
    a.read(&b_id).await;
    let calls = server.until_calls(before + 2).await;
    let less = &calls[before + 1];
    assert_eq!(
        (less.id, less.body.as_str(), less.silent),
        (calls[before].id, "3 new messages", true)
    );
    a.read(&c_id).await;
    server.until_closed(less.id).await;
    // What was told is not told again.
    a.sync().await;
    a.kill();
    a.up().await;
    a.sync().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.calls().len(), before + 2);
}

/// What nobody needs to be told does not tell again what was told before.
#[tokio::test]
async fn only_what_is_worth_telling_makes_a_sound() {
    let Some(bus) = Bus::start() else { return };
    let server = Server::start(&bus, &["body"], false).await;
    let net = Localnet::start().await;
    let (a, a_id) = agent_on(&bus, &net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "Bob").await;
    a.send_stored(&b_id, "hello").await;
    b.until_messages(&a_id, 1).await;
    b.send_stored(&a_id, "hi").await;
    server.until_calls(1).await;
    a.read(&b_id).await;
    a.until_messages(&b_id, 2).await;
    let request = v1::UpdateConversationRequest {
        selector: Some(v1::update_conversation_request::Selector::AccountId(
            b_id.clone(),
        )),
        conversation: Some(v1::Conversation {
            notify_mode: v1::NotifyMode::Mentions.into(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["notify_mode".to_owned()],
        }),
        ..Default::default()
    };
    a.client().update_conversation(request).await.unwrap();
    b.send_stored(&a_id, &format!("@{a_id} one")).await;
    let calls = server.until_calls(2).await;
    b.send_stored(&a_id, "not to you").await;
    a.until_messages(&b_id, 4).await;
    // Longer than messages are gathered for.
    tokio::time::sleep(Duration::from_secs(2)).await;
    b.send_stored(&a_id, &format!("@{a_id} two")).await;
    let both = server.until_calls(calls.len() + 1).await;
    assert_eq!(both.len(), 3, "{both:?}");
    assert_eq!(
        (both[2].summary.as_str(), both[2].silent),
        ("Bob (2)", false)
    );
}

/// Reading from a notification is reading like any other: the account's devices learn of it at once.
#[tokio::test]
async fn what_is_read_from_a_notification_is_read_on_all_devices() {
    let Some(bus) = Bus::start() else { return };
    let server = Server::start(&bus, &["actions", "body"], false).await;
    let net = Localnet::start().await;
    let (a, a_id) = agent_on(&bus, &net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "Bob").await;
    let phrase = a.phrases().await.recovery_phrase;
    set(&a, v1::NotificationPrivacy::NameAndText).await;
    a.send_stored(&b_id, "hello").await;
    b.until_messages(&a_id, 1).await;
    b.send_stored(&a_id, "hi").await;
    let mode = v1::DisappearingMode::AfterRead;
    b.send_disappearing(&a_id, "for a day", mode, 86_400).await;
    let shown = until("it is shown", async || {
        let mut calls = server.calls();
        calls.pop().filter(|shown| shown.body == "for a day")
    })
    .await;
    Recorder::action_invoked(&server.emitter(), shown.id, "mark-read")
        .await
        .unwrap();
    server.until_closed(shown.id).await;
    let second = Agent::start(&net, "second").await;
    assert_eq!(second.restore(&phrase).await, a_id);
    until("the other device learns of the reading", async || {
        let all = second.messages(&b_id).await;
        let found = all
            .iter()
            .find(|it| crate::harness::body(it) == "for a day")?;
        (found.timer_start() == v1::TimerStart::ReadElsewhere).then_some(())
    })
    .await;
}

/// A server that never answers costs nothing.
#[tokio::test]
async fn a_hanging_server_holds_nothing_up() {
    let Some(bus) = Bus::start() else { return };
    let _server = Server::start(&bus, &["body"], true).await;
    let net = Localnet::start().await;
    let (mut a, a_id) = agent_on(&bus, &net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "Bob").await;
    b.send_stored(&a_id, "one").await;
    a.until_messages(&b_id, 1).await;
    b.send_stored(&a_id, "two").await;
    a.until_messages(&b_id, 2).await;
    a.send_stored(&b_id, "three").await;
    a.stop().await;
}

/// What is shown of a message goes with it, without anybody touching it.
#[tokio::test]
async fn a_notification_goes_with_its_message() {
    let Some(bus) = Bus::start() else { return };
    let server = Server::start(&bus, &["actions", "body"], false).await;
    let net = Localnet::start().await;
    let mut clock = NodeClock::of(&net);
    let (a, a_id) = agent_on(&bus, &net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "Bob").await;
    set(&a, v1::NotificationPrivacy::NameAndText).await;
    a.send_stored(&b_id, "hello").await;
    b.until_messages(&a_id, 1).await;
    b.send_stored(&a_id, "hi").await;
    let shown = server.until_calls(1).await.remove(0);
    Recorder::action_invoked(&server.emitter(), shown.id, "mark-read")
        .await
        .unwrap();
    server.until_closed(shown.id).await;
    let mode = v1::DisappearingMode::AfterSend;
    b.send_disappearing(&a_id, "soon gone", mode, 43_200).await;
    let shown = server.until_calls(2).await.remove(1);
    assert_eq!(shown.body, "soon gone");
    assert!(shown.transient);
    clock.advance(12 * 3_600_000 + 60_000, &[&a]).await;
    server.until_closed(shown.id).await;
    until("the message is gone", async || {
        (a.messages(&b_id).await.len() == 2).then_some(())
    })
    .await;
}

/// Servers count their notifications anew when they start: a number of before must not be taken for one of now.
#[tokio::test]
async fn another_server_has_numbers_of_its_own() {
    let Some(bus) = Bus::start() else { return };
    let capabilities = ["actions", "body", "inline-reply"];
    let server = Server::start(&bus, &capabilities, false).await;
    let net = Localnet::start().await;
    let (a, a_id) = agent_on(&bus, &net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "Bob").await;
    let (c, c_id) = Agent::with_account(&net, "Carol").await;
    let about = |calls: &[Shown], name: &str| {
        let last = calls.iter().rfind(|shown| shown.summary.starts_with(name));
        last.map(|shown| shown.id)
    };
    for (agent, id) in [(&b, &b_id), (&c, &c_id)] {
        a.send_stored(id, "hello").await;
        agent.until_messages(&a_id, 1).await;
        agent.send_stored(&a_id, "hi").await;
    }
    let shown = until("both are shown", async || {
        let calls = server.calls();
        about(&calls, "Bob").zip(about(&calls, "Carol"))
    });
    let (bobs, carols) = shown.await;
    Recorder::action_invoked(&server.emitter(), carols, "mark-read")
        .await
        .unwrap();
    server.until_closed(carols).await;

    // The next one gives Bob's number to Carol.
    server.stop().await;
    let server = Server::start(&bus, &capabilities, false).await;
    server.record.lock().unwrap().last_id = bobs - 1;
    c.send_stored(&a_id, "are you there?").await;
    let calls = server.until_calls(1).await;
    assert_eq!(about(&calls, "Carol"), Some(bobs));
    Recorder::notification_replied(&server.emitter(), bobs, "to Carol alone")
        .await
        .unwrap();
    let has_it = async |agent: &Agent| {
        let messages = agent.messages(&a_id).await;
        format!("{messages:?}").contains("to Carol alone")
    };
    until("the reply arrives", async || has_it(&c).await.then_some(())).await;
    // Carol's is closed by then; Bob's next one is no replacement of anything that this server shows.
    b.send_stored(&a_id, "and I?").await;
    let calls = server.until_calls(2).await;
    assert!(
        about(&calls, "Bob").is_some_and(|id| id > bobs),
        "{calls:?}"
    );
    a.send_stored(&b_id, "yes").await;
    b.until_messages(&a_id, 4).await;
    assert!(!has_it(&b).await);
}

#[tokio::test]
async fn a_stranger_who_wrote_twice_before_it_was_seen_is_told() {
    let Some(bus) = Bus::start() else { return };
    let server = Server::start(&bus, &["body"], false).await;
    let net = Localnet::start().await;
    let (mut a, a_id) = agent_on(&bus, &net, "a").await;
    let (b, _) = Agent::with_account(&net, "Bob").await;
    a.stop().await;
    for text in ["are you there", "it is me"] {
        b.send_stored(&a_id, text).await;
    }
    a.up().await;
    let calls = server.until_calls(1).await;
    assert_eq!(calls[0].summary, "New message request");
    // Once told, the third is no news: the next is somebody else's.
    b.send_stored(&a_id, "hello?").await;
    let (c, _) = Agent::with_account(&net, "Carol").await;
    c.send_stored(&a_id, "hi").await;
    let calls = server.until_calls(2).await;
    assert_ne!(calls[0].id, calls[1].id);
    assert_eq!(calls.len(), 2);
}
