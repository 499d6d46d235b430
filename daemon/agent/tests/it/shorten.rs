//! The own swarm is told how long copies of read messages live: again until it was told, over a death of the process, at
//! most three times, and never once it is too late.

use std::time::Duration;

use session_localnet::Faults;
use sessiond::sync::shorten;
use tokio::task::JoinHandle;

use crate::local::{Home, until};

const HOUR: i64 = 3_600_000;

/// A copy in the own swarm that shall go in an hour.
struct Copy {
    home: Home,
    hash: String,
    expires_ms: i64,
}

impl Copy {
    async fn stored() -> Self {
        let home = Home::start().await;
        home.work();
        home.write(1, "a note").await;
        home.until_sent().await;
        let hash: String = home.rig.one("SELECT hash FROM message").await;
        let expires_ms = home.rig.context.now_ms() + HOUR;
        let copy = Self {
            home,
            hash,
            expires_ms,
        };
        until("all members hold it", async || {
            copy.held().await.len() == copy.home.members(1).len()
        })
        .await;
        copy
    }

    /// Lets all members of its swarm misbehave.
    async fn members(&self, faults: Faults) {
        self.home.swarm_has(1, faults).await;
    }

    /// Asks for it to go at a time, ms.
    async fn ask(&self, expires_ms: i64) {
        let hash = &self.hash;
        let sql =
            format!("INSERT INTO swarm_expiry (hash, expires_ms) VALUES ('{hash}', {expires_ms})");
        self.home.rig.run(sql).await;
    }

    fn work(&self) -> JoinHandle<()> {
        tokio::spawn(shorten::run(self.home.rig.context.clone()))
    }

    /// Attempts made; `None`: it is not asked for any more.
    async fn attempts(&self) -> Option<i64> {
        let attempts = self
            .home
            .rig
            .one("SELECT coalesce(max(attempts), -1) FROM swarm_expiry");
        Some(attempts.await).filter(|attempts| *attempts >= 0)
    }

    /// When each member that has it drops it, ms.
    async fn held(&self) -> Vec<i64> {
        let mut times = Vec::new();
        for member in self.home.members(1) {
            let held = self.home.control.held(member).await.unwrap();
            let found = held.into_iter().find(|it| it.hash == self.hash);
            times.extend(found.map(|it| i64::try_from(it.expiry_ms).unwrap()));
        }
        times
    }

    async fn until_told(&self) {
        until("all members were told", async || {
            self.held().await.iter().all(|at| *at == self.expires_ms)
        })
        .await;
        until("nothing is asked for any more", async || {
            self.attempts().await.is_none()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_asked_again_until_it_is_done() {
    let copy = Copy::stored().await;
    copy.members(Faults::refuse()).await;
    copy.ask(copy.expires_ms).await;
    copy.work();
    until("it was refused", async || copy.attempts().await > Some(0)).await;
    // The pause is bounded, and begins after the attempt.
    let next_ms: i64 = copy
        .home
        .rig
        .one("SELECT next_attempt_ms FROM swarm_expiry")
        .await;
    let longest = copy.home.rig.context.network.times().resend_max;
    let longest_ms = i64::try_from(longest.as_millis()).unwrap();
    assert!(next_ms <= copy.home.rig.context.now_ms() + longest_ms);
    copy.members(Faults::default()).await;
    copy.until_told().await;
    copy.home.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_asked_after_a_death() {
    let copy = Copy::stored().await;
    copy.members(Faults::refuse()).await;
    copy.ask(copy.expires_ms).await;
    let working = copy.work();
    until("it was refused", async || copy.attempts().await > Some(0)).await;
    working.abort();
    assert!(working.await.unwrap_err().is_cancelled());
    let attempts = copy.attempts().await;
    copy.members(Faults::default()).await;
    // Nobody asks meanwhile.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(copy.attempts().await, attempts);
    assert!(copy.held().await.iter().all(|at| *at > copy.expires_ms));
    copy.work();
    copy.until_told().await;
    copy.home.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_refusals_are_enough() {
    let copy = Copy::stored().await;
    copy.members(Faults::refuse()).await;
    copy.ask(copy.expires_ms).await;
    copy.work();
    let mut most = 0;
    until("it is given up", async || {
        let attempts = copy.attempts().await;
        most = most.max(attempts.unwrap_or(0));
        attempts.is_none()
    })
    .await;
    assert_eq!(most, 2, "the third is not put off");
    copy.members(Faults::default()).await;
    assert!(copy.held().await.iter().all(|at| *at > copy.expires_ms));
    copy.home.close().await;
}

/// A swarm takes no time that is over: the copy is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_late_is_deleted_instead() {
    let copy = Copy::stored().await;
    copy.ask(copy.home.rig.context.now_ms() - 1_000).await;
    copy.work();
    until("nobody has it any more", async || {
        copy.held().await.is_empty()
    })
    .await;
    until("nothing is asked for any more", async || {
        copy.attempts().await.is_none()
    })
    .await;
    copy.home.close().await;
}
