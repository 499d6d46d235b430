//! Linux: core dumps, how long the machine slept, changes of the network.

mod netlink;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use netlink::NetworkChanges;

use super::Figures;

/// How long the machine has slept since it was started: one clock goes on meanwhile, the other stands.
pub fn suspended() -> Duration {
    let read = |clock| {
        let time = clock_gettime(clock);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    // In this order, so that the time between the two readings is no sleep.
    let (boot, awake) = (read(ClockId::Boottime), read(ClockId::Monotonic));
    boot.saturating_sub(awake)
}

/// What the system says about this process, if it says anything.
pub fn figures() -> Option<Figures> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let open_files = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(Figures {
        // The kernel says kB and means KiB.
        memory: field("VmRSS:")? * 1024,
        // Without the one that reads the directory.
        open_files: u64::try_from(open_files).ok()?.saturating_sub(1),
        threads: field("Threads:")?,
    })
}

/// The program that runs here, also after its file was replaced or removed.
pub fn own_program() -> io::Result<PathBuf> {
    Ok("/proc/self/exe".into())
}

/// No image of this process's memory reaches a disk, and no other process of the same user may read it or attach to it.
/// Root still may.
pub fn forbid_dumps() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Timers that go on while the machine sleeps.
pub struct Alarm(());

impl Alarm {
    /// Resolves after a time, of which the machine may sleep through a part: it then resolves at once when it wakes.
    pub async fn after(pause: Duration) {
        // Without a descriptor to spare, a timer that stands still meanwhile, looked at now and then.
        if Self::boot(pause).await.is_err() {
            tokio::time::sleep(pause.min(FALLBACK)).await;
        }
    }

    async fn boot(pause: Duration) -> io::Result<()> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        // Zero would turn the timer off.
        let pause = pause.max(Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: i64::try_from(pause.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: pause.subsec_nanos().into(),
        };
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: value,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
        // What replaces it is unsafe and asks for what is so here: the descriptor is owned and never replaced.
        #[allow(deprecated)]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        drop(timer.readable().await?);
        Ok(())
    }
}

/// Longest sleep without a timer of the kernel.
const FALLBACK: Duration = Duration::from_secs(60);
