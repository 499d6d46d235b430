//! macOS: never compiled here.

use std::env;
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// By how much more the wall clock moved than the one that stands while the machine sleeps. A clock that is set
/// forward looks like sleep, which costs a test of the paths.
pub fn suspended() -> Duration {
    static START: OnceLock<(SystemTime, Instant)> = OnceLock::new();
    let (wall, awake) = START.get_or_init(|| (SystemTime::now(), Instant::now()));
    wall.elapsed()
        .unwrap_or_default()
        .saturating_sub(awake.elapsed())
}

/// What the system says about this process, which is not asked here.
pub fn figures() -> Option<super::Figures> {
    None
}

/// Changes of the network, which are not told yet here.
pub struct NetworkChanges(());

impl NetworkChanges {
    /// Never fails.
    pub fn open() -> std::io::Result<Self> {
        Ok(Self(()))
    }

    /// Waits for ever.
    pub async fn next(&mut self) -> std::io::Result<()> {
        std::future::pending().await
    }
}

use rustix::process::{Resource, Rlimit, setrlimit};

/// The program that runs here.
pub fn own_program() -> io::Result<PathBuf> {
    env::current_exe()
}

/// No image of this process's memory reaches a disk.
pub fn forbid_dumps() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    Ok(setrlimit(Resource::Core, none)?)
}

/// Timers that go on while the machine sleeps: here, ones that resolve early.
pub struct Alarm(());

impl Alarm {
    /// Resolves after a time, or early: whoever waits looks again.
    pub async fn after(pause: Duration) {
        tokio::time::sleep(pause.min(Duration::from_secs(60))).await;
    }
}
