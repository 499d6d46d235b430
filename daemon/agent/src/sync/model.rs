//! Disappearing messages against a small model: two devices of one account and what a peer writes, in any order of
//! sending, receiving, reading, setting timers, restarting with another clock, and everything coming again.
//!
//! The swarm is perfect here and holds each copy until its time. What must hold whatever happens:
//!
//! * a deadline never moves to a later time, and what has gone never comes back, under the same hash or another;
//! * after a sweep nothing is left whose time is over; nothing goes before its time;
//! * a clock that nobody has confirmed lets nothing go that was more than a day off;
//! * a timer that waits for reading runs on no device before somebody reads;
//! * what one device read and told the swarm, the other one lets go at the same time.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use proptest::sample::Index;
use session_network::{Holder, StoredMessage};
use session_protocol::storage::Namespace;
use session_protocol::{AccountKeys, AccountSeed};
use sqlx::SqliteConnection;

use super::apply::{self, Batch, Item};
use super::elsewhere;
use super::judge::{Action, Entry, Incoming, Judged};
use crate::actions::{Actor, expire, read};
use crate::store::conversations::Selector;
use crate::store::messages::{AFTER_READ, AFTER_SEND, cause, kind};
use crate::store::received::Place;
use crate::store::schema::tests::memory;
use crate::store::{expiry, gone, received, swarm_expiry, timers};

const BEGIN: i64 = 1_790_000_000_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const LIFE: i64 = 14 * DAY;
/// What nodes take is not further ahead of the time than this.
const AHEAD: i64 = 10_000;
const TIMERS_S: [i64; 5] = [30, 300, 3_600, 86_400, 1_209_600];

fn account(byte: u8) -> AccountKeys {
    AccountKeys::from_seed(&AccountSeed::from_bytes([byte; 16]))
}

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    /// The peer writes; it is stored after some seconds.
    PeerWrites {
        mode: i64,
        timer: usize,
        late_s: i64,
    },
    /// A device writes; the copy is stored after some seconds. It is read up to then.
    OwnWrites {
        device: usize,
        mode: i64,
        timer: usize,
        late_s: i64,
    },
    /// The same message, sealed and stored anew.
    StoredAnew(Index),
    /// A device reads its swarm, from the beginning.
    Poll(usize),
    Read(usize),
    /// A device tells the swarm what it read.
    Shorten(usize),
    /// A device asks what was read elsewhere.
    Look(usize),
    Sweep(usize),
    Set {
        device: usize,
        mode: i64,
        timer: usize,
    },
    Wait(i64),
    /// A device starts again with a clock that is off, and sweeps before it has asked anybody.
    Restart {
        device: usize,
        off_ms: i64,
    },
    /// Nodes tell it the time.
    Confirm(usize),
    Prune(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = 0..2_usize;
    let timer = 0..TIMERS_S.len();
    let mode = prop_oneof![Just(0), Just(AFTER_READ), Just(AFTER_SEND)];
    let late = prop_oneof![Just(0), 1..50_i64, Just(7_200)];
    let off = prop_oneof![Just(0), -40 * DAY..40 * DAY, -HOUR..HOUR, Just(400 * DAY)];
    let wait = prop_oneof![1..60_000_i64, 1..2 * HOUR, 1..2 * DAY];
    let step = prop_oneof![
        4 => (mode.clone(), timer.clone(), late.clone())
            .prop_map(|(mode, timer, late_s)| Step::PeerWrites { mode, timer, late_s }),
        1 => (device.clone(), mode.clone(), timer.clone(), late)
            .prop_map(|(device, mode, timer, late_s)| Step::OwnWrites { device, mode, timer, late_s }),
        1 => any::<Index>().prop_map(Step::StoredAnew),
        4 => device.clone().prop_map(Step::Poll),
        3 => device.clone().prop_map(Step::Read),
        2 => device.clone().prop_map(Step::Shorten),
        2 => device.clone().prop_map(Step::Look),
        2 => device.clone().prop_map(Step::Sweep),
        1 => (device.clone(), mode, timer)
            .prop_map(|(device, mode, timer)| Step::Set { device, mode, timer }),
        3 => wait.prop_map(Step::Wait),
        1 => (device.clone(), off).prop_map(|(device, off_ms)| Step::Restart { device, off_ms }),
        2 => device.clone().prop_map(Step::Confirm),
        1 => device.prop_map(Step::Prune),
    ];
    proptest::collection::vec(step, 1..60)
}

/// A copy in the own swarm.
#[derive(Clone)]
struct Copy {
    stored: StoredMessage,
    incoming: Incoming,
}

/// What a device shows of a message: its deadline and why it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    expires_at: Option<i64>,
    cause: i64,
}

/// Sent, received, deadline, start, cause of the start.
type Row = (i64, i64, Option<i64>, Option<i64>, i64);

struct Device {
    db: SqliteConnection,
    /// How far its clock is off, while nobody has told it the time.
    off_ms: Option<i64>,
    /// It was this late for certain.
    floor_ms: i64,
    /// By sent timestamp, as of the last look.
    seen: HashMap<i64, Seen>,
    gone: HashSet<i64>,
}

impl Device {
    fn now_ms(&self, now_ms: i64) -> i64 {
        self.off_ms
            .map_or(now_ms, |off| (now_ms + off).max(self.floor_ms))
    }

    /// As [`super::Context::certain_ms`].
    fn certain_ms(&self, now_ms: i64) -> i64 {
        let shown = self.now_ms(now_ms);
        self.off_ms
            .map_or(shown, |_| shown.min(self.floor_ms + DAY))
    }
}

struct World {
    now_ms: i64,
    last_sent_ms: i64,
    hashes: u32,
    swarm: Vec<Copy>,
    devices: Vec<Device>,
    /// Timer of each message, seconds and mode, and whether the own account wrote it.
    timers: HashMap<i64, (i64, i64, bool)>,
}

impl World {
    async fn new() -> Self {
        let mut devices = Vec::new();
        for _ in 0..2 {
            let mut db = memory().await;
            let own = account(1).account_id();
            let sql = "INSERT INTO meta (id, network, account_id, display_name, created_ms, log_id, last_sent_ms,
                           last_now_ms) VALUES (1, 'n', ?, 'Me', 1, x'00', 0, 0)";
            sqlx::query(sql)
                .bind(own.to_string())
                .execute(&mut db)
                .await
                .unwrap();
            devices.push(Device {
                db,
                off_ms: None,
                floor_ms: BEGIN,
                seen: HashMap::new(),
                gone: HashSet::new(),
            });
        }
        let mut world = Self {
            now_ms: BEGIN,
            last_sent_ms: BEGIN - 1_000,
            hashes: 0,
            swarm: Vec::new(),
            devices,
            timers: HashMap::new(),
        };
        world.peer_writes((0, 0), 0);
        for device in 0..2 {
            world.poll(device).await;
            sqlx::query("UPDATE conversation SET approved = 1, approved_me = 1")
                .execute(&mut world.devices[device].db)
                .await
                .unwrap();
        }
        world
    }

    fn stamp(&mut self) -> i64 {
        self.last_sent_ms = self.now_ms.max(self.last_sent_ms + 1);
        self.last_sent_ms
    }

    fn peer() -> String {
        account(2).account_id().to_string()
    }

    /// Stores a message in the own swarm, for as long as its sender would.
    fn store(&mut self, incoming: Incoming, late_s: i64) {
        let (mode, seconds) = incoming.expiry;
        let life = match mode {
            AFTER_SEND => (seconds * 1_000).min(LIFE),
            AFTER_READ if incoming.own => (seconds * 1_000).min(LIFE),
            _ => LIFE,
        };
        let stored_ms = incoming.sent_ms + late_s * 1_000;
        self.hashes += 1;
        self.swarm.push(Copy {
            stored: StoredMessage {
                hash: format!("{:043}", self.hashes),
                timestamp: u64::try_from(stored_ms).unwrap(),
                expiration: u64::try_from(stored_ms + life).unwrap(),
                data: None,
            },
            incoming,
        });
    }

    fn incoming(&mut self, own: bool, expiry: (i64, i64), action: Action) -> Incoming {
        let sent_ms = self.stamp();
        let author = account(if own { 1 } else { 2 }).account_id();
        self.timers.insert(sent_ms, (expiry.0, expiry.1, own));
        Incoming {
            peer: Self::peer(),
            author: author.to_string(),
            own,
            sent_ms,
            expiry,
            profile: None,
            ignored_kinds: 0,
            action,
        }
    }

    fn text() -> Action {
        Action::Entry(Entry {
            kind: kind::TEXT,
            body: Some("words".into()),
            ..Entry::default()
        })
    }

    fn peer_writes(&mut self, expiry: (i64, i64), late_s: i64) {
        let incoming = self.incoming(false, expiry, Self::text());
        self.store(incoming, late_s);
        // It is there once it is stored.
        self.now_ms += late_s * 1_000;
    }

    async fn apply(&mut self, device: usize, copies: &[Copy]) {
        let device = &mut self.devices[device];
        let now_ms = device.now_ms(self.now_ms);
        let own = account(1).account_id();
        let batch = Batch {
            own,
            place: Place {
                swarm: own.to_string(),
                namespace: Namespace::DEFAULT,
            },
            node: Some([7; 32]),
            path: String::new(),
            now_ms,
            certain_ms: device.certain_ms(self.now_ms),
            pending: Vec::new(),
        };
        let items: Vec<Item> = copies
            .iter()
            .map(|copy| Item {
                stored: copy.stored.clone(),
                judged: Judged::Message(Box::new(copy.incoming.clone())),
            })
            .collect();
        apply::write(&mut device.db, &batch, None, &items)
            .await
            .unwrap();
    }

    /// What the swarm still holds.
    fn held(&self) -> Vec<Copy> {
        let now = u64::try_from(self.now_ms).unwrap();
        let held = self
            .swarm
            .iter()
            .filter(|copy| copy.stored.expiration > now);
        held.cloned().collect()
    }

    async fn poll(&mut self, device: usize) {
        let held = self.held();
        // In more than one unit.
        for some in held.chunks(3) {
            self.apply(device, some).await;
        }
    }

    fn actor(&self, device: usize) -> Actor {
        Actor {
            own: account(1).account_id(),
            name: "Me".into(),
            profile_s: 0,
            now_ms: self.devices[device].now_ms(self.now_ms),
        }
    }

    async fn shorten(&mut self, device: usize) {
        let now_ms = self.devices[device].now_ms(self.now_ms);
        loop {
            let db = &mut self.devices[device].db;
            let Some(due) = swarm_expiry::due(db, now_ms, 100).await.unwrap() else {
                return;
            };
            let mut until = Vec::new();
            for hash in &due.hashes {
                for copy in self.swarm.iter_mut().filter(|it| it.stored.hash == *hash) {
                    let at = u64::try_from(due.expires_ms.max(0)).unwrap();
                    // A time that is over deletes.
                    copy.stored.expiration = copy.stored.expiration.min(at);
                    if due.expires_ms > self.now_ms {
                        until.push((hash.clone(), i64::try_from(copy.stored.expiration).unwrap()));
                    }
                }
            }
            timers::read_elsewhere(db, &until, now_ms).await.unwrap();
            swarm_expiry::done(db, &due.hashes).await.unwrap();
        }
    }

    async fn look(&mut self, device: usize) {
        let now_ms = self.devices[device].now_ms(self.now_ms);
        let held: HashMap<String, u64> = self
            .held()
            .into_iter()
            .map(|copy| (copy.stored.hash, copy.stored.expiration))
            .collect();
        let members = [1, 2].map(|node| Holder {
            node: [node; 32],
            expiries: held.clone(),
        });
        let db = &mut self.devices[device].db;
        let waiting = timers::waiting(db, (i64::MIN, 0), now_ms, 1_000)
            .await
            .unwrap();
        let found = elsewhere::judge(&waiting, &members, now_ms);
        elsewhere::write(db, &found, now_ms).await.unwrap();
    }

    async fn sweep(&mut self, device: usize) {
        let device = &mut self.devices[device];
        let certain_ms = device.certain_ms(self.now_ms);
        while expiry::sweep(&mut device.db, certain_ms, 2).await.unwrap() > 0 {}
    }

    async fn confirm(&mut self, device: usize) {
        let now_ms = self.now_ms;
        let device = &mut self.devices[device];
        if device.off_ms.take().is_some() {
            device.floor_ms = now_ms;
            timers::begin_no_later_than(&mut device.db, now_ms)
                .await
                .unwrap();
        }
    }

    async fn step(&mut self, step: &Step) {
        let expiry = |mode: i64, timer: usize| match mode {
            0 => (0, 0),
            mode => (mode, TIMERS_S[timer]),
        };
        match step {
            Step::PeerWrites {
                mode,
                timer,
                late_s,
            } => {
                self.peer_writes(expiry(*mode, *timer), *late_s);
            }
            Step::OwnWrites {
                device,
                mode,
                timer,
                late_s,
            } => {
                // The device that sends files it as what comes from another one: the rules are the same but for the start.
                let incoming = self.incoming(true, expiry(*mode, *timer), Self::text());
                self.store(incoming, *late_s);
                self.now_ms += late_s * 1_000;
                self.confirm(*device).await;
                let copy = self.swarm.last().unwrap().clone();
                self.apply(*device, &[copy]).await;
            }
            Step::StoredAnew(which) => {
                let copy = which.get(&self.swarm).clone();
                if copy.incoming.sent_ms + LIFE > self.now_ms {
                    let late_s = (self.now_ms - copy.incoming.sent_ms) / 1_000;
                    self.store(copy.incoming, late_s);
                }
            }
            // Whoever talks to nodes is told the time.
            Step::Poll(device) => {
                self.confirm(*device).await;
                self.poll(*device).await;
            }
            Step::Read(device) => {
                let actor = self.actor(*device);
                let db = &mut self.devices[*device].db;
                let selector = Selector::Peer(Self::peer());
                read::mark_read(db, &actor, &selector, None).await.unwrap();
            }
            Step::Shorten(device) => {
                self.confirm(*device).await;
                self.shorten(*device).await;
            }
            Step::Look(device) => {
                self.confirm(*device).await;
                self.look(*device).await;
            }
            Step::Sweep(device) => self.sweep(*device).await,
            Step::Set {
                device,
                mode,
                timer,
            } => {
                let actor = self.actor(*device);
                let db = &mut self.devices[*device].db;
                let selector = Selector::Peer(Self::peer());
                let setting = expiry(*mode, *timer);
                // No two devices write in the same millisecond.
                let taken = "UPDATE meta SET last_sent_ms = max(last_sent_ms, ?)";
                sqlx::query(taken)
                    .bind(self.last_sent_ms)
                    .execute(&mut *db)
                    .await
                    .unwrap();
                expire::set(db, &actor, &selector, setting).await.unwrap();
                let last: i64 = sqlx::query_scalar("SELECT last_sent_ms FROM meta")
                    .fetch_one(&mut *db)
                    .await
                    .unwrap();
                // Whoever is far ahead of the time leads nobody else: nodes take nothing from the future.
                if last <= self.now_ms + AHEAD {
                    self.last_sent_ms = self.last_sent_ms.max(last);
                }
            }
            Step::Wait(ms) => self.now_ms += ms,
            Step::Restart { device, off_ms } => {
                let now_ms = self.now_ms;
                let at = &mut self.devices[*device];
                if at.off_ms.is_none() {
                    at.floor_ms = now_ms;
                }
                at.off_ms = Some(*off_ms);
                self.sweep(*device).await;
            }
            Step::Confirm(device) => self.confirm(*device).await,
            Step::Prune(device) => {
                let now_ms = self.now_ms;
                let at = &mut self.devices[*device];
                if at.off_ms.is_none() {
                    gone::prune(&mut at.db, now_ms).await.unwrap();
                    received::prune(&mut at.db, now_ms).await.unwrap();
                }
            }
        }
    }

    /// Looks at everything and holds it against what was before.
    async fn check(&mut self, step: &Step) {
        for (number, device) in self.devices.iter_mut().enumerate() {
            let rows: Vec<Row> = sqlx::query_as(
                "SELECT sent_ms, received_ms, expires_at, expiry_start_ms, expiry_cause FROM message
                 WHERE kind = 'TEXT'",
            )
            .fetch_all(&mut device.db)
            .await
            .unwrap();
            let at = format!("device {number} after {step:?}");
            let certain_ms = device.certain_ms(self.now_ms);
            let mut seen = HashMap::new();
            for (sent_ms, received_ms, expires_at, start, why) in rows {
                assert!(!device.gone.contains(&sent_ms), "{at}: {sent_ms} came back");
                let (mode, seconds, own) = self.timers[&sent_ms];
                let now = Seen {
                    expires_at,
                    cause: why,
                };
                match device.seen.get(&sent_ms) {
                    Some(before) => {
                        let later = match (before.expires_at, expires_at) {
                            (Some(before), Some(now)) => now > before,
                            (Some(_), None) => true,
                            _ => false,
                        };
                        assert!(!later, "{at}: {sent_ms} goes later: {before:?} {now:?}");
                    }
                    None if mode == AFTER_SEND || (mode == AFTER_READ && own) => {
                        // By its storing, if that was near, else by its sending; never by the future.
                        let start = start.unwrap();
                        assert!(
                            start >= (sent_ms - 60_000).min(received_ms) && start <= received_ms,
                            "{at}"
                        );
                        assert!(start <= sent_ms + HOUR, "{at}: {start}");
                        assert_eq!(why, cause::SENT);
                    }
                    None => {}
                }
                if mode == 0 {
                    assert_eq!(expires_at, None, "{at}: {sent_ms} has no timer");
                } else if let (Some(expires_at), Some(start)) = (expires_at, start) {
                    assert!(
                        expires_at <= start + seconds * 1_000,
                        "{at}: {sent_ms} lives too long"
                    );
                    assert!(expires_at >= start, "{at}");
                } else {
                    assert_eq!(
                        (mode, own),
                        (AFTER_READ, false),
                        "{at}: {sent_ms} does not run"
                    );
                }
                if matches!(step, Step::Sweep(swept) if *swept == number) {
                    assert!(
                        expires_at.is_none_or(|at| at > certain_ms),
                        "{at}: {sent_ms} is left"
                    );
                }
                seen.insert(sent_ms, now);
            }
            for (sent_ms, before) in &device.seen {
                if seen.contains_key(sent_ms) {
                    continue;
                }
                device.gone.insert(*sent_ms);
                let (mode, seconds, _) = self.timers[sent_ms];
                assert_ne!(mode, 0, "{at}: {sent_ms} went without a timer");
                match before.expires_at {
                    Some(deadline) => {
                        assert!(deadline <= certain_ms, "{at}: {sent_ms} went too early");
                        assert!(
                            deadline <= self.now_ms || deadline <= device.floor_ms + DAY,
                            "{at}: a clock let {sent_ms} go"
                        );
                    }
                    // Over by another device's reading, or never read.
                    None => {
                        let old = *sent_ms + expiry::UNREAD_MS <= certain_ms;
                        let read = matches!(step, Step::Look(_));
                        let passed = matches!(step, Step::Restart { .. } | Step::Sweep(_)) && old;
                        assert!(read || passed, "{at}: {sent_ms} of {seconds} s went unread");
                    }
                }
            }
            device.seen = seen;
        }
    }

    /// Everybody learns everything; then what was told is the same everywhere.
    async fn agree(&mut self) {
        for _ in 0..3 {
            for device in 0..2 {
                for step in [
                    Step::Confirm(device),
                    Step::Poll(device),
                    Step::Shorten(device),
                    Step::Look(device),
                    Step::Sweep(device),
                ] {
                    self.step(&step).await;
                    self.check(&step).await;
                }
            }
        }
        let [one, other] = [&self.devices[0].seen, &self.devices[1].seen];
        for (sent_ms, here) in one {
            let Some(there) = other.get(sent_ms) else {
                continue;
            };
            let (_, _, own) = self.timers[sent_ms];
            if own {
                continue;
            }
            let timer_ms = self.timers[sent_ms].1 * 1_000;
            let copies = self
                .swarm
                .iter()
                .filter(|it| it.incoming.sent_ms == *sent_ms);
            let stored: Vec<i64> = copies
                .map(|it| i64::try_from(it.stored.timestamp).unwrap())
                .collect();
            let first = stored.iter().min().map(|at| at + timer_ms);
            for (reader, learner) in [(here, there), (there, here)] {
                // Whoever has not read it learns of the earliest reading that the swarm was told of. Reading before the
                // storing, by a clock that is some ms behind, may show as reading in that moment.
                if learner.cause == cause::READ_ELSEWHERE && reader.cause == cause::READ_HERE {
                    assert!(
                        learner.expires_at <= reader.expires_at.max(first),
                        "{sent_ms}: {here:?} {there:?}"
                    );
                }
                // Reading in the moment of the storing does not show in how long the copy lives, nor does a timer that
                // is as long as a swarm keeps anything.
                let shows = |until: i64| {
                    let mut stored = stored.iter();
                    stored.all(|at| (until - timer_ms - at).abs() > 10 && until < at + LIFE - HOUR)
                };
                if learner.expires_at.is_none() && reader.expires_at.is_some_and(shows) {
                    panic!("{sent_ms}: one has not learnt: {here:?} {there:?}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn deadlines_hold_in_any_order(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in &steps {
                world.step(step).await;
                world.check(step).await;
            }
            world.agree().await;
        });
    }
}
