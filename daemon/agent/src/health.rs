//! Whether the agent does its job: the checks behind `GetHealth` and `grpc.health.v1`.
//!
//! Everything is looked at when it is asked for; nothing runs in between. A check says what is wrong by a stable reason
//! and since when, so that a monitor can wait as long as it likes before it wakes somebody. Facts: `users.md`, a daemon
//! that runs and receives nothing shows no error anywhere.

use crate::account::Account;
use crate::agent::{Agent, State};
use crate::store::health::{Check as Found, Condition, Trouble};
use crate::store::{StoreError, outbox, space};
use crate::sync::Context;

/// Polls come every few seconds; after this something is wrong, ms.
const POLL_LATE_MS: i64 = 5 * 60_000;
/// With a working network a message leaves within seconds; after this something is wrong, ms.
const OUTBOX_LATE_MS: i64 = 5 * 60_000;
/// With less the agent may soon be unable to store, bytes.
const DISK_LOW: u64 = 256 * 1024 * 1024;
/// With less it must be expected at any moment, bytes.
const DISK_FULL: u64 = 16 * 1024 * 1024;

/// Nothing is received or sent while the account is locked.
const LOCKED: &str = "LOCKED";
/// Nothing can be received or sent yet.
const NO_ACCOUNT: &str = "NO_ACCOUNT";
/// The database did not say.
const NOT_READ: &str = "DATABASE_NOT_READ";

/// How a check went, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, and somebody should look at it, or it cannot be told yet.
    Warning,
    /// Does not work.
    Failed,
}

/// What is checked. Its name is also the last part of the name in `grpc.health.v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The agent's tasks turn their loops.
    Tasks,
    /// There is room where the agent keeps its state.
    Disk,
    /// The state can be written, and the database is sound as far as is known.
    Storage,
    /// There is an account and the vault has given its keys.
    Vault,
    /// The own swarm is polled.
    Receiving,
    /// What was accepted leaves.
    Sending,
}

impl Subject {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 6] = [
        Self::Tasks,
        Self::Disk,
        Self::Storage,
        Self::Vault,
        Self::Receiving,
        Self::Sending,
    ];

    /// In lower case, as in `grpc.health.v1`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Vault => "vault",
            Self::Disk => "disk",
            Self::Storage => "storage",
            Self::Receiving => "receiving",
            Self::Sending => "sending",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was checked.
    pub subject: Subject,
    /// How it went.
    pub level: Level,
    /// UPPER_SNAKE; empty when all is well.
    pub reason: &'static str,
    /// For people; empty when there is nothing to say.
    pub detail: String,
    /// Since when it is so, ms, where that is known.
    pub since_ms: Option<i64>,
}

impl Check {
    fn new(subject: Subject, level: Level, reason: &'static str) -> Self {
        Self {
            subject,
            level,
            reason,
            detail: String::new(),
            since_ms: None,
        }
    }

    fn ok(subject: Subject) -> Self {
        Self::new(subject, Level::Ok, "")
    }

    fn since(self, since_ms: i64) -> Self {
        Self {
            since_ms: Some(since_ms),
            ..self
        }
    }

    fn saying(self, detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            ..self
        }
    }
}

/// All checks and the figures they rest on.
#[derive(Clone, Debug)]
pub struct Health {
    /// One for each [`Subject`].
    pub checks: Vec<Check>,
    /// Last answer of the own swarm, ms.
    pub last_poll_ms: Option<i64>,
    /// Messages that wait to be sent.
    pub outbox_count: i64,
    /// When the oldest of them was accepted, ms.
    pub outbox_oldest_ms: Option<i64>,
    /// Room on the disk that holds the state, bytes; `None` where the system does not say.
    pub disk_free: Option<u64>,
}

impl Health {
    /// The worst of all checks.
    pub fn level(&self) -> Level {
        let levels = self.checks.iter().map(|check| check.level);
        levels.max().unwrap_or(Level::Ok)
    }

    /// How one check went.
    pub fn of(&self, subject: Subject) -> Level {
        let check = self.checks.iter().find(|check| check.subject == subject);
        check.map_or(Level::Ok, |check| check.level)
    }
}

/// Looks at everything.
pub async fn examine(agent: &Agent) -> Health {
    let disk_free = space::free(agent.state_dir()).ok();
    let mut health = Health {
        checks: vec![tasks(agent).await, disk(disk_free)],
        last_poll_ms: None,
        outbox_count: 0,
        outbox_oldest_ms: None,
        disk_free,
    };
    let of_account = match agent.state().await {
        State::Ready(account) => examine_account(&account, agent.started_ms(), &mut health).await,
        State::Locked(locked) => {
            let failed =
                |subject, reason| Check::new(subject, Level::Failed, reason).since(locked.since_ms);
            [
                failed(Subject::Vault, locked.reason),
                failed(Subject::Receiving, LOCKED),
                failed(Subject::Sending, LOCKED),
            ]
        }
        State::NoAccount => [Subject::Vault, Subject::Receiving, Subject::Sending]
            .map(|subject| Check::new(subject, Level::Warning, NO_ACCOUNT)),
    };
    // Last, since looking may have met damage.
    health.checks.push(storage(&agent.health().now()));
    health.checks.extend(of_account);
    health
}

async fn tasks(agent: &Agent) -> Check {
    match agent.stalled().await {
        None => Check::ok(Subject::Tasks),
        Some(name) => Check::new(Subject::Tasks, Level::Failed, "TASK_STALLED")
            .saying(format!("{name} hangs")),
    }
}

fn disk(free: Option<u64>) -> Check {
    let (level, reason) = match free {
        None => (Level::Warning, "DISK_UNKNOWN"),
        Some(0..DISK_FULL) => (Level::Failed, "DISK_FULL"),
        Some(DISK_FULL..DISK_LOW) => (Level::Warning, "DISK_LOW"),
        Some(_) => (Level::Ok, ""),
    };
    let check = Check::new(Subject::Disk, level, reason);
    match free {
        Some(free) => check.saying(format!("{} MiB free", free / (1024 * 1024))),
        None => check,
    }
}

fn storage(condition: &Condition) -> Check {
    let damaged = Trouble::Damaged.reason();
    let failed = |reason| Check::new(Subject::Storage, Level::Failed, reason);
    match (condition.blocked, condition.check) {
        (Some((trouble, since_ms)), _) => failed(trouble.reason()).since(since_ms),
        (None, Found::Damaged(found_ms)) => failed(damaged).since(found_ms),
        (None, _) if condition.damage_met => failed(damaged),
        (None, Found::Sound(at_ms)) => Check::ok(Subject::Storage).since(at_ms),
        (None, Found::None | Found::Running) => Check::ok(Subject::Storage),
    }
}

async fn examine_account(account: &Account, started_ms: i64, health: &mut Health) -> [Check; 3] {
    let context = account.context();
    let now_ms = context.now_ms();
    let polled = context.progress.last_poll_ms();
    health.last_poll_ms = (polled > 0).then_some(polled);
    let sending = match look_at_outbox(context).await {
        Ok((count, oldest_ms)) => {
            (health.outbox_count, health.outbox_oldest_ms) = (count, oldest_ms);
            sending(oldest_ms, now_ms)
        }
        Err(error) => unreadable(Subject::Sending, &error),
    };
    [
        Check::ok(Subject::Vault),
        receiving(health.last_poll_ms, started_ms, now_ms),
        sending,
    ]
}

/// How many items wait, and since when the oldest does, ms.
async fn look_at_outbox(context: &Context) -> Result<(i64, Option<i64>), StoreError> {
    let mut connection = context.db.readers().acquire().await?;
    let count = outbox::count(&mut connection).await?;
    Ok((count, outbox::oldest_ms(&mut connection).await?))
}

/// What the database does not tell is no reason to tell nothing.
fn unreadable(subject: Subject, error: &StoreError) -> Check {
    let reason = error.trouble().map_or(NOT_READ, Trouble::reason);
    Check::new(subject, Level::Failed, reason).saying(error.to_string())
}

fn receiving(last_poll_ms: Option<i64>, started_ms: i64, now_ms: i64) -> Check {
    let (reason, since_ms) = match last_poll_ms {
        Some(polled) => ("POLL_LATE", polled),
        None => ("NOT_POLLED_YET", started_ms),
    };
    let late = now_ms.saturating_sub(since_ms) > POLL_LATE_MS;
    match (last_poll_ms, late) {
        (Some(polled), false) => Check::ok(Subject::Receiving).since(polled),
        (None, false) => Check::new(Subject::Receiving, Level::Warning, reason).since(since_ms),
        (_, true) => Check::new(Subject::Receiving, Level::Failed, reason).since(since_ms),
    }
}

fn sending(oldest_ms: Option<i64>, now_ms: i64) -> Check {
    match oldest_ms {
        Some(oldest) if now_ms.saturating_sub(oldest) > OUTBOX_LATE_MS => {
            Check::new(Subject::Sending, Level::Failed, "OUTBOX_LATE").since(oldest)
        }
        Some(oldest) => Check::ok(Subject::Sending).since(oldest),
        None => Check::ok(Subject::Sending),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_poll_fails() {
        let at = |last: Option<i64>, now: i64| {
            let check = receiving(last, 1_000, now);
            (check.level, check.reason)
        };
        assert_eq!(at(Some(9_000), 10_000), (Level::Ok, ""));
        assert_eq!(at(None, 10_000), (Level::Warning, "NOT_POLLED_YET"));
        assert_eq!(at(None, 400_000), (Level::Failed, "NOT_POLLED_YET"));
        assert_eq!(at(Some(9_000), 310_000), (Level::Failed, "POLL_LATE"));
        // A clock that was set back is no failure.
        assert_eq!(at(Some(9_000), 0), (Level::Ok, ""));
    }

    #[test]
    fn what_waits_too_long_fails() {
        assert_eq!(sending(None, 10).level, Level::Ok);
        assert_eq!(sending(Some(0), OUTBOX_LATE_MS).level, Level::Ok);
        assert_eq!(sending(Some(0), OUTBOX_LATE_MS + 1).reason, "OUTBOX_LATE");
    }

    #[test]
    fn damage_and_no_way_to_write_fail() {
        let mut condition = Condition::default();
        assert_eq!(storage(&condition).level, Level::Ok);
        condition.damage_met = true;
        assert_eq!(storage(&condition).reason, "DATABASE_DAMAGED");
        condition.check = Found::Damaged(7);
        assert_eq!(storage(&condition).since_ms, Some(7));
        condition.blocked = Some((Trouble::ReadOnly, 9));
        let check = storage(&condition);
        assert_eq!(
            (check.reason, check.since_ms),
            ("STORAGE_READ_ONLY", Some(9))
        );
    }

    #[test]
    fn a_full_disk_fails_before_it_is_full() {
        assert_eq!(disk(None).reason, "DISK_UNKNOWN");
        assert_eq!(disk(Some(DISK_FULL - 1)).reason, "DISK_FULL");
        assert_eq!(disk(Some(DISK_FULL)).level, Level::Warning);
        assert_eq!(disk(Some(DISK_LOW)).level, Level::Ok);
    }
}
