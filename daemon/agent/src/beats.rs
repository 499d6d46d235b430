//! Whether the agent's tasks still turn their loops.
//!
//! A task that must not stop registers with the longest time one turn may take, whatever the network does, and says so
//! at each turn. The service manager's watchdog is fed only while all of them do (`users.md` 58: a daemon that hangs
//! for days shows no error). Time is the runtime's: a suspended machine does not count as a stall.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// All tasks of a process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Beats(Arc<Mutex<Registry>>);

#[derive(Default)]
struct Registry {
    next: u64,
    tasks: Vec<Task>,
}

struct Task {
    number: u64,
    name: &'static str,
    limit: Duration,
    last: Instant,
}

/// One task's place. Given back when it is dropped: a task that ends on purpose is not missed.
pub struct Beat {
    beats: Beats,
    number: u64,
    limit: Duration,
}

impl Beats {
    /// A task that turns at least once in `limit` from now on.
    pub fn register(&self, name: &'static str, limit: Duration) -> Beat {
        let mut registry = self.lock();
        let number = registry.next;
        registry.next += 1;
        registry.tasks.push(Task {
            number,
            name,
            limit,
            last: Instant::now(),
        });
        Beat {
            beats: self.clone(),
            number,
            limit,
        }
    }

    /// A task of this name turns: for work deep within one turn of its loop that is bounded, but long.
    pub fn turned(&self, name: &str) {
        let mut registry = self.lock();
        for task in registry.tasks.iter_mut().filter(|task| task.name == name) {
            task.last = Instant::now();
        }
    }

    /// Name of a task that has not turned within its limit.
    pub fn stalled(&self) -> Option<&'static str> {
        let now = Instant::now();
        self.lock()
            .tasks
            .iter()
            .find(|task| now.duration_since(task.last) > task.limit)
            .map(|task| task.name)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beat {
    /// The task turns.
    pub fn turn(&self) {
        let mut registry = self.beats.lock();
        if let Some(task) = registry
            .tasks
            .iter_mut()
            .find(|task| task.number == self.number)
        {
            task.last = Instant::now();
        }
    }

    /// The longest a task with nothing to do may sleep before it turns again.
    pub async fn idle(&self) {
        tokio::time::sleep(self.limit / 2).await;
    }
}

/// Watches over a task that knows nothing of this: it moves a number at each turn. Ends when nobody can move it any more.
pub async fn relay(
    name: &'static str,
    limit: Duration,
    beats: Beats,
    mut turns: watch::Receiver<u64>,
) {
    let beat = beats.register(name, limit);
    while turns.changed().await.is_ok() {
        beat.turn();
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.beats
            .lock()
            .tasks
            .retain(|task| task.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_turn_is_named() {
        let beats = Beats::default();
        let slow = beats.register("slow", Duration::from_secs(100));
        let quick = beats.register("quick", Duration::from_secs(10));
        assert_eq!(beats.stalled(), None);
        quick.idle().await;
        quick.turn();
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(beats.stalled(), None);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(beats.stalled(), Some("quick"));
        quick.turn();
        assert_eq!(beats.stalled(), None);
        drop(quick);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(beats.stalled(), Some("slow"));
        drop(slow);
        assert_eq!(beats.stalled(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_elsewhere_that_does_not_turn_is_named() {
        let beats = Beats::default();
        let turns = watch::Sender::new(0);
        let limit = Duration::from_secs(100);
        let relay = tokio::spawn(relay("elsewhere", limit, beats.clone(), turns.subscribe()));
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(90)).await;
            assert_eq!(beats.stalled(), None);
            turns.send_modify(|turns| *turns += 1);
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_secs(101)).await;
        assert_eq!(beats.stalled(), Some("elsewhere"));
        turns.send_modify(|turns| *turns += 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(beats.stalled(), None);
        // One that has ended is not missed.
        drop(turns);
        relay.await.unwrap();
        tokio::time::sleep(Duration::from_secs(1_000)).await;
        assert_eq!(beats.stalled(), None);
    }
}
