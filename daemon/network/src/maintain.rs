//! The task that keeps the layer able to work: a list of nodes, two tested paths for each isolation key in use, guards
//! and clock offset saved.
//!
//! It works in rounds. A round that leaves no path is repeated after a pause that doubles, with jitter; calls that
//! find no path shorten the pause to the poll interval as long as there is a list of nodes, because trying a guard
//! bothers nobody, while seeds are spared (network.md 1.4, 6.1, 6.3).

use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rand_core::Rng;
use tokio::time::{Instant, sleep_until};

use crate::cache::CacheRecord;
use crate::engine::Engine;
use crate::guards::Guards;
use crate::isolation::Class;
use crate::pool::{Node, Pool};
use crate::records::NodeList;
use crate::refresh;
use crate::seeds;
use crate::state::{NoHops, Route, millis};
use crate::strikes::Strikes;
use crate::sync::lock;

/// Tries to build one path within a round, each with other hops.
const TRIES: usize = 3;

/// Between two signs of life while nothing is to be done.
const PULSE: Duration = Duration::from_secs(60);

/// A failed refresh or rotation is repeated after this part of its interval.
const RETRY_PART: u32 = 10;

/// Runs until [`Engine::stop`] says so, then saves what a restart needs.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut stop = engine.stop.subscribe();
    let mut maintenance = Maintenance::new(&engine);
    tokio::select! {
        () = maintenance.rounds() => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    engine.save_changes().await;
    maintenance.strikes.save(&engine).await;
    engine.transport.close();
}

struct Maintenance<'a> {
    engine: &'a Engine,
    pause: Duration,
    /// When a seed was last asked.
    asked_seeds: Option<Instant>,
    refresh_at: Instant,
    strikes: Strikes,
}

impl<'a> Maintenance<'a> {
    fn new(engine: &'a Engine) -> Self {
        let now = Instant::now();
        Self {
            engine,
            pause: engine.config.times.backoff_min,
            asked_seeds: None,
            refresh_at: now,
            strikes: Strikes::default(),
        }
    }

    async fn rounds(&mut self) {
        self.restore().await;
        loop {
            self.engine.turn();
            let outcome = self.round().await;
            self.engine.save_changes().await;
            self.strikes.keep(self.engine).await;
            match outcome {
                Ok(()) => {
                    self.pause = self.engine.config.times.backoff_min;
                    self.rest().await;
                }
                Err(reason) => {
                    self.engine.update(|state| {
                        state.failure = Some(reason);
                        state.epoch += 1;
                    });
                    tracing::debug!(reason, "cannot connect");
                    self.wait_to_retry().await;
                }
            }
        }
    }

    /// Takes over list, guards and clock offset of the last run.
    async fn restore(&mut self) {
        if let Some(clock) = self.engine.load(CacheRecord::ClockOffset).await {
            self.engine.restore_clock(&clock);
        }
        let guards: Option<Guards> = self.engine.load(CacheRecord::Guards).await;
        let list: Option<NodeList> = self.engine.load(CacheRecord::Nodes).await;
        let Some(list) = list else {
            return;
        };
        let times = &self.engine.config.times;
        let now = self.engine.now();
        let age = Duration::from_millis(now.local_ms.saturating_sub(list.fetched_ms));
        self.refresh_at = Instant::now() + times.refresh.saturating_sub(age);
        let pool = Pool::new(list.nodes, self.engine.config.public_addresses_only);
        if pool.len() >= self.engine.config.min_nodes {
            self.engine.update(|state| {
                state.guards = guards.unwrap_or_default();
                state.replace_pool(pool, now);
            });
            self.strikes.restore(self.engine).await;
        }
    }

    /// One look at everything. The error says why there is no path.
    async fn round(&mut self) -> Result<(), &'static str> {
        let now = self.engine.now();
        let idle = self.engine.config.times.idle;
        let known = self.engine.update(|state| {
            state.expire_classes(now, idle);
            state.pool.len()
        });
        if known < self.engine.config.min_nodes {
            self.find_list().await?;
        }
        self.engine.verify_guards().await;
        self.check_suspects().await;
        self.engine.turn();
        self.build_missing().await;
        if !self.connected() {
            // Perhaps the list is out of date.
            let spared = self
                .asked_seeds
                .is_some_and(|at| at.elapsed() < self.engine.config.times.backoff_max);
            if spared {
                return Err(self.no_path());
            }
            self.find_list().await?;
            self.build_missing().await;
            if !self.connected() {
                return Err(self.no_path());
            }
        }
        self.engine.seed_clock().await;
        self.refresh().await;
        self.rotate().await;
        Ok(())
    }

    fn connected(&self) -> bool {
        !lock(&self.engine.state).paths.all().is_empty()
    }

    fn no_path(&self) -> &'static str {
        let failure = lock(&self.engine.state).classes.failure(Class::OWN);
        let trouble = self.engine.transport.trouble();
        trouble.or(failure).unwrap_or("NO_PATH")
    }

    /// A list from a seed, else the bundled one, if that leads to a path.
    async fn find_list(&mut self) -> Result<(), &'static str> {
        match self.ask_seeds().await {
            Err(_) if self.connect_over_bundled().await => Ok(()),
            outcome => outcome,
        }
    }

    /// Puts the bundled list in place of what is known. If no path comes of that either, what was known comes back,
    /// guards above all: most likely this machine is offline.
    async fn connect_over_bundled(&mut self) -> bool {
        let config = &self.engine.config;
        let now = self.engine.now();
        let bundled = config.bundled.as_ref().map(|list| {
            let nodes = list.nodes(now.local_ms);
            Pool::new(nodes, config.public_addresses_only)
        });
        let blocked = self.engine.transport.trouble().is_some();
        let usable = bundled.filter(|pool| !blocked && pool.len() >= config.min_nodes);
        let Some(pool) = usable else {
            return false;
        };
        let (known, guards) = self.engine.update(|state| {
            let before = (take(&mut state.pool), take(&mut state.guards));
            state.replace_pool(pool, now);
            before
        });
        self.build_missing().await;
        let connected = self.connected();
        if connected {
            tracing::info!("no seed answers; connected over the bundled list of nodes");
            self.refresh_at = Instant::now();
        } else {
            self.engine.update(|state| {
                state.guards = guards;
                state.replace_pool(known, now);
            });
        }
        connected
    }

    async fn ask_seeds(&mut self) -> Result<(), &'static str> {
        self.asked_seeds = Some(Instant::now());
        let nodes = seeds::fetch(&*self.engine.transport, &self.engine.config)
            .await
            .map_err(seeds::SeedError::reason)?;
        self.take_list(nodes).await;
        Ok(())
    }

    async fn take_list(&mut self, nodes: Vec<Node>) {
        let now = self.engine.now();
        let public_only = self.engine.config.public_addresses_only;
        let mut pool = Pool::new(nodes, public_only);
        let list = NodeList {
            fetched_ms: now.local_ms,
            nodes: pool.all().cloned().collect(),
        };
        tracing::info!(nodes = pool.len(), "list of service nodes updated");
        let least = self.engine.config.min_nodes;
        self.engine.update(|state| {
            pool.keep_strikes_of(&state.pool, least);
            state.replace_pool(pool, now);
        });
        self.engine.save(CacheRecord::Nodes, list).await;
        self.refresh_at = Instant::now() + self.engine.config.times.refresh;
    }

    /// Tests paths over which a request failed, or nothing came for long: that nothing went wrong does not show that
    /// a path works.
    async fn check_suspects(&self) {
        let now = self.engine.now();
        let suspects = lock(&self.engine.state).due_for_test(now);
        join_all(suspects.iter().map(|route| self.engine.test(route))).await;
    }

    async fn build_missing(&self) {
        let missing = lock(&self.engine.state).all_missing();
        let builds = missing
            .into_iter()
            .flat_map(|(class, count)| (0..count).map(move |_| self.build(class)));
        let outcomes = join_all(builds).await;
        // Whoever waits for a path that is not to be had now is told.
        self.engine.update(|state| {
            for (class, failure) in outcomes {
                if state.paths.of(class).next().is_none() {
                    state.classes.set_failure(class, failure);
                    state.epoch += 1;
                }
            }
        });
    }

    /// Builds one path. Says why there is none.
    async fn build(&self, class: Class) -> (Class, Option<&'static str>) {
        for attempt in 0..TRIES {
            let now = self.engine.now();
            let insist = attempt == 0;
            let begun = self.engine.update(|state| {
                let rng = &mut *self.engine.choices.get();
                state.begin_build(rng, class, now, insist, None)
            });
            let route = match begun {
                Ok(route) => route,
                Err(none) => return (class, Some(none.reason())),
            };
            if self.finish(&route, None).await {
                return (class, None);
            }
        }
        (class, Some(NoHops::Nodes.reason()))
    }

    /// Tests a path that was begun and takes it into use if it works.
    async fn finish(&self, route: &Route, replaces: Option<&str>) -> bool {
        let building = Building {
            engine: self.engine,
            route,
        };
        let latency = self.engine.try_out(route).await;
        drop(building);
        let Some(latency) = latency else {
            return false;
        };
        let now = self.engine.now();
        let first = self.engine.update(|state| {
            let rng = &mut *self.engine.choices.get();
            state.built(rng, route, replaces, latency, now);
            state.paths.all().len() == 1
        });
        if first {
            tracing::info!("connected to the network");
        }
        true
    }

    /// Renews the list once it is old: from nodes over the onion, else from a seed.
    async fn refresh(&mut self) {
        if Instant::now() < self.refresh_at {
            return;
        }
        let nodes = match refresh::from_nodes(self.engine).await {
            Some(nodes) => nodes,
            None => {
                self.asked_seeds = Some(Instant::now());
                let asked = seeds::fetch(&*self.engine.transport, &self.engine.config).await;
                match asked {
                    Ok(nodes) => nodes,
                    Err(error) => {
                        tracing::debug!(reason = error.reason(), "list of nodes is not renewed");
                        let interval = self.engine.config.times.refresh;
                        self.refresh_at = Instant::now() + interval / RETRY_PART;
                        return;
                    }
                }
            }
        };
        self.take_list(nodes).await;
        self.build_missing().await;
    }

    /// Gives paths new hops behind their guards when they are due: the new path is tested first.
    async fn rotate(&mut self) {
        let now = self.engine.now();
        let due = lock(&self.engine.state).due_for_rotation(now);
        for old in &due {
            self.engine.turn();
            let now = self.engine.now();
            let begun = self.engine.update(|state| {
                let rng = &mut *self.engine.choices.get();
                state.begin_build(rng, old.class, now, false, Some(old))
            });
            let rotated = match begun {
                Ok(route) => self.finish(&route, Some(&old.id)).await,
                Err(_) => false,
            };
            if !rotated {
                let pause = millis(self.engine.config.times.rotate / RETRY_PART);
                self.engine
                    .update(|state| state.postpone_rotation(&old.id, now, pause));
            }
        }
    }

    /// Until something is due, breaks or is asked for. A missing path is tried again with a pause, and a time that is not
    /// measured is asked for again.
    async fn rest(&mut self) {
        let now = self.engine.now();
        let mut until = self.refresh_at;
        {
            let state = lock(&self.engine.state);
            if let Some(at) = state.next_due_ms() {
                // Whatever is due and could not be done is not tried without a pause.
                let least = self.engine.config.times.backoff_min / RETRY_PART;
                let wait = Duration::from_millis(at.saturating_sub(now.steady_ms));
                until = until.min(Instant::now() + wait.max(least));
            }
            if !state.all_missing().is_empty() || !state.offset.is_measured() {
                until = until.min(Instant::now() + self.engine.config.times.guard_rest);
            }
        }
        loop {
            let pulse = Instant::now() + PULSE;
            tokio::select! {
                biased;
                () = sleep_until(until) => return,
                () = self.engine.wake.notified() => return,
                () = self.engine.hurry.notified() => return,
                // Nothing is due; it is only to be seen that this task lives.
                () = sleep_until(pulse) => self.engine.turn(),
            }
        }
    }

    async fn wait_to_retry(&mut self) {
        let times = &self.engine.config.times;
        let now = Instant::now();
        let mut until = now + jitter(&mut *self.engine.choices.get(), self.pause);
        self.pause = (self.pause * 2).min(times.backoff_max);
        let have_list = lock(&self.engine.state).pool.len() >= self.engine.config.min_nodes;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(until) => return,
                () = self.engine.hurry.notified() => {
                    self.pause = times.backoff_min;
                    return;
                }
                () = self.engine.wake.notified() => {
                    if have_list {
                        until = until.min(now + times.poll);
                    }
                }
            }
        }
    }
}

/// Reserves the hops of a path under construction and frees them, whatever happens.
struct Building<'a> {
    engine: &'a Engine,
    route: &'a Route,
}

impl Drop for Building<'_> {
    fn drop(&mut self) {
        self.engine.update(|state| state.end_build(self.route));
    }
}

/// Three to five quarters of a pause, so that clients that lost the network together do not come back together.
fn jitter<R: Rng + ?Sized>(rng: &mut R, pause: Duration) -> Duration {
    let quarter = f64::from(rng.next_u32()) / f64::from(u32::MAX);
    pause.mul_f64(0.75 + quarter / 2.0)
}
