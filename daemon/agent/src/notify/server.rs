//! The notification server on the session bus, as a thing that may be missing, hang, or come back.
//!
//! Every call has a deadline; after a failure the server is left alone for a while, so that a hanging one costs nothing.
//! The calls are made over the bus directly, not with notify-rust: one connection serves all notifications, its signals
//! are subscribed to before the first one is shown and are seen also where a server sends them to its caller alone, an
//! inline reply is heard, and a lost bus is an error instead of a panic.
//!
//! Servers count their notifications from one, so a number means nothing without who gave it ([`Id`]). A connection is
//! to one server, by its unique name on the bus, and ends when another takes its place.
//! Facts: the Desktop Notifications Specification 1.2; environment notes on notification servers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use zbus::fdo::DBusProxy;
use zbus::names::{BusName, UniqueName, WellKnownName};
use zbus::zvariant::Value;

use super::text::Words;

/// Longest a call may take.
const CALL: Duration = Duration::from_secs(3);
/// How long a server that failed is left alone.
const REST: Duration = Duration::from_secs(30);
/// What users do that may wait; more is dropped.
const WAITING: usize = 64;
/// Longest reply that is taken, bytes.
const REPLY: usize = 64 * 1024;

/// Name that every server takes.
const NAME: WellKnownName<'_> =
    WellKnownName::from_static_str_unchecked("org.freedesktop.Notifications");

/// Keys of the actions.
const OPEN: &str = "default";
const OPEN_BUTTON: &str = "open";
const MARK_READ: &str = "mark-read";
const REPLY_INLINE: &str = "inline-reply";

#[zbus::proxy(
    interface = "org.freedesktop.Notifications",
    default_service = "org.freedesktop.Notifications",
    default_path = "/org/freedesktop/Notifications",
    gen_blocking = false
)]
trait Notifications {
    #[allow(clippy::too_many_arguments)] // the specification's own
    fn notify(
        &self,
        app_name: &str,
        replaces_id: u32,
        app_icon: &str,
        summary: &str,
        body: &str,
        actions: &[&str],
        hints: HashMap<&str, Value<'_>>,
        expire_timeout: i32,
    ) -> zbus::Result<u32>;
    fn close_notification(&self, id: u32) -> zbus::Result<()>;
    fn get_capabilities(&self) -> zbus::Result<Vec<String>>;
    #[zbus(signal)]
    fn action_invoked(&self, id: u32, action_key: String) -> zbus::Result<()>;
    #[zbus(signal)]
    fn notification_closed(&self, id: u32, reason: u32) -> zbus::Result<()>;
    #[zbus(signal)]
    fn notification_replied(&self, id: u32, text: String) -> zbus::Result<()>;
}

/// A notification that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// Identity of the bus, and the server's unique name there.
    server: Arc<str>,
    number: u32,
}

/// What a user did with a notification.
#[derive(Clone, PartialEq, Eq)]
pub enum Act {
    /// Wants to see the conversation.
    Open,
    /// Has read it.
    MarkRead,
    /// Answers it.
    Reply(String),
    /// It is no longer shown.
    Closed,
}

/// How a notification is shown beside its words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// May be answered, opened and marked as read.
    pub actions: bool,
    /// Must not be kept by the server: something in it disappears.
    pub transient: bool,
    /// Without sound.
    pub silent: bool,
    /// Shown above others: a missed call.
    pub urgent: bool,
}

/// The way to the server.
#[derive(Default)]
pub struct Server {
    line: Option<Line>,
    rest_until: Option<Instant>,
}

struct Line {
    /// As in [`Id`].
    server: Arc<str>,
    proxy: NotificationsProxy<'static>,
    capabilities: HashSet<String>,
    acts: mpsc::Receiver<(Id, Act)>,
    pump: JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Server {
    /// Shows words, in place of `replaces` if that is of the same server. `None` when there is no server now.
    pub async fn show(
        &mut self,
        replaces: Option<&Id>,
        words: &Words,
        manner: Manner,
    ) -> Option<Id> {
        let line = self.line().await?;
        let replaces = replaces.filter(|id| id.server == line.server);
        let mut actions = Vec::new();
        if manner.actions && line.capabilities.contains("actions") {
            actions.extend([OPEN, "Open", OPEN_BUTTON, "Open", MARK_READ, "Mark as read"]);
            if line.capabilities.contains(REPLY_INLINE) {
                actions.extend([REPLY_INLINE, "Reply"]);
            }
        }
        let mut hints = HashMap::from([
            ("category", Value::from("im.received")),
            ("desktop-entry", Value::from("sessiond")),
            ("urgency", Value::from(if manner.urgent { 2_u8 } else { 1 })),
        ]);
        if manner.transient {
            hints.insert("transient", Value::from(true));
        }
        if manner.silent {
            hints.insert("suppress-sound", Value::from(true));
        } else if line.capabilities.contains("sound") {
            hints.insert("sound-name", Value::from("message-new-instant"));
        }
        let call = line.proxy.notify(
            "Session",
            replaces.map_or(0, |id| id.number),
            "",
            &words.summary,
            &words.body,
            &actions,
            hints,
            -1,
        );
        let server = Arc::clone(&line.server);
        let shown = timeout(CALL, call).await;
        let number = self.settle("show", shown)?;
        Some(Id { server, number })
    }

    /// Takes a notification away. One of an earlier server went with it.
    pub async fn close(&mut self, id: &Id) {
        if let Some(line) = self.line.as_ref().filter(|line| line.server == id.server) {
            let closed = timeout(CALL, line.proxy.close_notification(id.number)).await;
            // One that is gone already is an error for some servers.
            if !matches!(closed, Ok(Err(zbus::Error::MethodError(..)))) {
                self.settle("close", closed);
            }
        }
    }

    /// Whether bodies are read as markup by the server.
    pub async fn reads_markup(&mut self) -> bool {
        self.line()
            .await
            .is_some_and(|line| line.capabilities.contains("body-markup"))
    }

    /// What a user did next. Waits for ever while there is no connection.
    pub async fn act(&mut self) -> (Id, Act) {
        let received = match &mut self.line {
            Some(line) => line.acts.recv().await,
            None => std::future::pending().await,
        };
        match received {
            Some(act) => act,
            None => {
                // The bus or the server is gone, and all notifications with it.
                self.line = None;
                std::future::pending().await
            }
        }
    }

    /// Whether this is of the server that is there now.
    pub fn knows(&self, id: &Id) -> bool {
        self.line
            .as_ref()
            .is_some_and(|line| line.server == id.server)
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.line.is_some()
    }

    async fn line(&mut self) -> Option<&mut Line> {
        if self
            .line
            .as_ref()
            .is_some_and(|line| line.pump.is_finished())
        {
            self.line = None;
        }
        if self.line.is_none() {
            if self.rest_until.is_some_and(|until| Instant::now() < until) {
                return None;
            }
            let connected = timeout(CALL, connect()).await;
            self.line = self.settle("connect", connected);
        }
        self.line.as_mut()
    }

    fn settle<T>(
        &mut self,
        what: &str,
        outcome: Result<zbus::Result<T>, tokio::time::error::Elapsed>,
    ) -> Option<T> {
        let error = match outcome {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        // Not worth a warning: a machine without a desktop has no server.
        tracing::debug!(what, error, "no notification server");
        self.line = None;
        self.rest_until = Some(Instant::now() + REST);
        None
    }
}

async fn connect() -> zbus::Result<Line> {
    let connection = zbus::Connection::session().await?;
    let bus = DBusProxy::new(&connection).await?;
    // Before the owner is asked for, so that no change is missed.
    let mut owners = bus
        .receive_name_owner_changed_with_args(&[(0, NAME.as_str())])
        .await?;
    let owner = match bus.get_name_owner(BusName::from(NAME)).await {
        Ok(owner) => owner,
        // It may be one that starts when it is wanted.
        Err(_) => {
            bus.start_service_by_name(NAME, 0).await?;
            bus.get_name_owner(BusName::from(NAME)).await?
        }
    };
    let proxy = NotificationsProxy::builder(&connection)
        .destination(owner.clone())?
        .build()
        .await?;
    let mut actions = proxy.receive_action_invoked().await?;
    let mut closed = proxy.receive_notification_closed().await?;
    let mut replies = proxy.receive_notification_replied().await?;
    let capabilities = proxy.get_capabilities().await?.into_iter().collect();
    let server: Arc<str> = format!("{} {owner}", connection.server_guid()).into();
    let of = Arc::clone(&server);
    let (sender, acts) = mpsc::channel(WAITING);
    let pump = tokio::spawn(async move {
        loop {
            let act = tokio::select! {
                Some(signal) = actions.next() => signal.args().ok().and_then(|args| {
                    let act = match args.action_key.as_str() {
                        OPEN | OPEN_BUTTON => Act::Open,
                        MARK_READ => Act::MarkRead,
                        _ => return None,
                    };
                    Some((args.id, act))
                }),
                Some(signal) = replies.next() => signal.args().ok().and_then(|args| {
                    (args.text.len() <= REPLY).then_some((args.id, Act::Reply(args.text)))
                }),
                Some(signal) = closed.next() => {
                    signal.args().ok().map(|args| (args.id, Act::Closed))
                }
                Some(signal) = owners.next() => {
                    let new = signal.args().ok().and_then(|args| {
                        args.new_owner.as_ref().map(UniqueName::to_owned)
                    });
                    if new.as_ref() != Some(owner.inner()) {
                        break;
                    }
                    None
                }
                else => break,
            };
            let Some((number, act)) = act else { continue };
            let id = Id {
                server: Arc::clone(&of),
                number,
            };
            if sender.try_send((id, act)).is_err() && sender.is_closed() {
                break;
            }
        }
    });
    Ok(Line {
        server,
        proxy,
        capabilities,
        acts,
        pump,
    })
}
