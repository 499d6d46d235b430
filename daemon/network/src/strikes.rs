//! Strikes survive restarts, and are forgotten two days after the last (network.md 1.4).
//!
//! Saved seldom, because only what lasts is worth it: at most every five minutes, and at the end.

use tokio::time::{Duration, Instant};

use crate::cache::CacheRecord;
use crate::engine::Engine;
use crate::pool::Struck;
use crate::sync::lock;

/// Least time between two savings.
const EVERY: Duration = Duration::from_secs(300);

/// When strikes were last saved, and which.
#[derive(Default)]
pub(crate) struct Strikes {
    at: Option<Instant>,
    saved: Vec<Struck>,
}

impl Strikes {
    /// Takes over those of the last run.
    pub(crate) async fn restore(&mut self, engine: &Engine) {
        let list: Option<Vec<Struck>> = engine.load(CacheRecord::Strikes).await;
        if let Some(list) = list {
            lock(&engine.state).pool.restore_strikes(&list);
            self.saved = list;
        }
    }

    /// Dates new strikes, drops old ones, and saves the rest if it is time.
    pub(crate) async fn keep(&mut self, engine: &Engine) {
        if self.at.is_none_or(|at| at.elapsed() >= EVERY) {
            self.save(engine).await;
        }
    }

    /// The same, now.
    pub(crate) async fn save(&mut self, engine: &Engine) {
        let now = engine.now().local_ms;
        let struck = {
            let pool = &mut lock(&engine.state).pool;
            pool.age(now);
            pool.struck()
        };
        if struck != self.saved {
            engine.save(CacheRecord::Strikes, &struck).await;
            self.saved = struck;
        }
        self.at = Some(Instant::now());
    }
}
