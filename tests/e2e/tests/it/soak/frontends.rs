//! Frontends that attach, subscribe, read a little or nothing, stand still, and die.

use std::collections::VecDeque;
use std::fmt;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sessiond_client::{Client, EventStream, v1};

use crate::harness::{Agent, Process, Rng, Room, ctl};

/// How many live at once; the oldest dies for a new one.
const MOST: usize = 8;

/// One that lives, until it is dropped.
enum Frontend {
    /// A program that follows the log from its beginning, or stands still.
    Program(#[allow(dead_code)] Process),
    /// A stream that nobody reads any more, and its connection.
    Stalled(#[allow(dead_code)] EventStream),
    /// Says half a greeting and no more.
    Mute(#[allow(dead_code)] UnixStream),
}

/// All of them.
pub struct Crowd {
    room: Room,
    /// Of the agent that lives all the time, then of the other one; with where their logs begin.
    sockets: [(PathBuf, String); 2],
    rng: Rng,
    living: VecDeque<Frontend>,
    /// How many there were of each sort.
    came: [usize; 5],
}

impl Crowd {
    /// Nobody yet.
    pub async fn new(room: &Room, lasting: &Agent, mortal: &Agent, rng: &mut Rng) -> Self {
        Self {
            room: Room::clone(room),
            sockets: [
                (lasting.socket(), beginning(lasting).await),
                (mortal.socket(), beginning(mortal).await),
            ],
            rng: rng.fork(),
            living: VecDeque::new(),
            came: [0; 5],
        }
    }

    /// Some attach and some die until then.
    pub async fn come_and_go_until(&mut self, end: Instant) {
        while Instant::now() < end {
            if self.living.len() >= MOST {
                self.living.pop_front();
            }
            self.attach().await;
            tokio::time::sleep(Duration::from_millis(self.rng.within(50..500))).await;
        }
    }

    /// All die.
    pub fn die(&mut self) {
        self.living.clear();
    }

    async fn attach(&mut self) {
        // Most of them at the agent whose figures are read.
        let which = usize::from(self.rng.within(0..4) == 0);
        let (socket, beginning) = self.sockets[which].clone();
        let sort = self.rng.within(0..5);
        let frontend = match sort {
            0 | 1 => {
                let args = ["--json", "events", "--follow", "--after", &beginning];
                let log = self.room.path().join("frontends.log");
                let program = Process::spawn("frontend", ctl(&socket, &args), Stdio::null(), &log);
                if sort == 1 {
                    // In the middle of whatever it does then.
                    tokio::time::sleep(Duration::from_millis(self.rng.within(20..150))).await;
                    let pid = i32::try_from(program.id()).ok().and_then(Pid::from_raw);
                    kill_process(pid.unwrap(), Signal::STOP).unwrap();
                }
                Some(Frontend::Program(program))
            }
            2 => self.subscribe(&socket).await.map(Frontend::Stalled),
            3 => {
                self.hang_up(&socket).await;
                None
            }
            _ => UnixStream::connect(&socket).ok().map(|mut stream| {
                // The other agent may be dead.
                let _ = stream.write_all(b"PRI * HTTP");
                Frontend::Mute(stream)
            }),
        };
        self.came[usize::try_from(sort).unwrap()] += 1;
        self.living.extend(frontend);
    }

    /// Reads a little from the beginning of the log; under a name that others take over now and then.
    async fn subscribe(&mut self, socket: &std::path::Path) -> Option<EventStream> {
        let client = Client::builder().socket(socket).connect().await.ok()?;
        let number = self.rng.within(0..6);
        let mut events = client.events(v1::SubscribeRequest {
            subscriber: if number < 3 {
                format!("soak.{number}")
            } else {
                String::new()
            },
            start: v1::StreamStart::Oldest.into(),
            ..Default::default()
        });
        for _ in 0..self.rng.within(0..20) {
            // The end of a stream is as good as any of its items.
            let _ = tokio::time::timeout(Duration::from_secs(1), events.next()).await;
        }
        Some(events)
    }

    /// Asks for a lot and hangs up before the answer, or with it.
    async fn hang_up(&mut self, socket: &std::path::Path) {
        let Ok(client) = Client::builder().socket(socket).connect().await else {
            return;
        };
        let patience = Duration::from_millis(self.rng.within(0..30));
        let list = client.list_conversations(v1::ListConversationsRequest::default());
        let search = client.search_messages(v1::SearchMessagesRequest {
            query: "hello".to_owned(),
            ..Default::default()
        });
        let both = async { tokio::join!(list, search) };
        let _ = tokio::time::timeout(patience, both).await;
    }
}

impl fmt::Display for Crowd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [read, stop, stall, hang_up, mute] = self.came;
        write!(
            out,
            "frontends: {read} killed, {stop} stopped and killed, {stall} stalled, {hang_up} hung up, {mute} mute"
        )
    }
}

/// Where an agent's log begins.
async fn beginning(agent: &Agent) -> String {
    let mut events = agent.client().events(v1::SubscribeRequest {
        start: v1::StreamStart::Oldest.into(),
        ..Default::default()
    });
    events.next().await.unwrap().unwrap();
    events.cursor().to_owned()
}
