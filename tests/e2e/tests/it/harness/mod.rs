//! What the tests stand on: processes, agents as their frontends see them, and waiting with a deadline.

mod agent;
#[cfg(target_os = "linux")]
mod clock;
mod disk;
mod localnet;
mod node_clock;
mod nodes;
mod process;
mod rng;
mod talk;
mod walls;

use std::sync::Arc;
use std::time::Duration;

use sessiond_client::Error;
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::Code;

pub use agent::{Agent, PASSPHRASE};
pub use disk::{Disk, Kind as DiskKind};
pub use localnet::{Localnet, Setup};
pub use node_clock::{CLOCK_SLACK_MS, NodeClock};
pub use nodes::Nodes;
pub use process::{Output, Process, ctl, program, run};
pub use rng::Rng;
pub use talk::{bodies, body, is_said, send_request, sent_ms};
pub use walls::Walls;

/// Far more than anything here takes, also on a machine that is busy with something else.
pub const LONG: Duration = Duration::from_secs(120);

/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// Says that a test, or what is left of it, cannot run on this machine, and why. With CI=true that is a failure.
#[track_caller]
pub fn cannot(why: &str) {
    let in_ci = std::env::var("CI").as_deref() == Ok("true");
    assert!(!in_ci, "cannot be skipped in CI: {why}");
    eprintln!("skipped: {why}");
}

/// A directory with a short path, since that of a socket has at most 107 bytes. Goes with its last holder.
pub type Room = Arc<TempDir>;

/// A new directory.
pub fn room() -> Room {
    let dir = tempfile::Builder::new().prefix("sd-").tempdir_in("/tmp");
    Arc::new(dir.unwrap())
}

/// Looks until there is something, and gives it.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(LONG, what, look).await
}

/// As [`until`], with another deadline.
pub async fn until_within<T>(
    deadline: Duration,
    what: &str,
    look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let found = found_within(deadline, look).await;
    found.unwrap_or_else(|| panic!("{what}: not within {deadline:?}"))
}

/// As [`until_within`], for whoever has more to say when there is nothing.
pub async fn found_within<T>(
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The call must have been refused in exactly this way.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, Error>, code: Code, reason: &str) {
    let error = outcome.expect_err(reason);
    assert_eq!(
        (error.code(), error.reason()),
        (code, Some(reason)),
        "{error}"
    );
}
