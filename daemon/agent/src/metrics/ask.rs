//! What is looked at when somebody asks, and the text.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::{Labels, counts};
use crate::account::Account;
use crate::agent::{Agent, State};
use crate::health::{self, Level};
use crate::log::Log;
use crate::platform;
use crate::store::account_db::wal_path;
use crate::store::{AccountDb, StoreError, events, received};
use crate::time::wall_clock_ms;

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The database did not say what it holds.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They could not be written as text.
    #[error("metrics cannot be written as text")]
    Format(#[from] fmt::Error),
}

/// Everything that is measured, as OpenMetrics text.
///
/// # Errors
///
/// The database cannot be read.
pub async fn text(agent: &Agent) -> Result<String, MetricsError> {
    let mut registry = Registry::default();
    process(&mut registry);
    let ours = registry.sub_registry_with_prefix("sessiond");
    ours.register(
        "build",
        "What runs here",
        Info::new([("version", env!("CARGO_PKG_VERSION"))]),
    );
    counts().register(ours);
    agent.network().metrics().register(ours);
    log(ours);
    standing(ours, agent).await?;
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// Gauges of agent and network.
async fn standing(ours: &mut Registry, agent: &Agent) -> Result<(), StoreError> {
    let uptime = wall_clock_ms().saturating_sub(agent.started_ms());
    seconds(ours, "uptime", "Time since the start", uptime);
    let runtime = tokio::runtime::Handle::current().metrics();
    gauge(
        ours,
        "tasks",
        "Tasks that have not ended",
        runtime.num_alive_tasks() as u64,
    );
    let status = agent.network().status();
    gauge(
        ours,
        "paths",
        "Onion paths in use",
        status.path_count as u64,
    );
    gauge(
        ours,
        "service_nodes",
        "Service nodes known",
        status.node_count as u64,
    );
    seconds(
        ours,
        "clock_offset",
        "What is added to local time",
        status.clock_offset_ms,
    );

    let health = health::examine(agent).await;
    let checks = Family::<Labels<1>, Gauge>::default();
    for check in &health.checks {
        let works = checks.get_or_create_owned(&[("check", check.subject.name())]);
        works.set(i64::from(check.level < Level::Failed));
    }
    ours.register(
        "healthy",
        "Whether a check of GetHealth finds no failure",
        checks,
    );
    gauge(
        ours,
        "outbox_messages",
        "Messages that wait to be sent",
        u64::try_from(health.outbox_count).unwrap_or(0),
    );
    let oldest = health.outbox_oldest_ms;
    let age = oldest.map_or(0, |oldest| agent.now_ms().saturating_sub(oldest).max(0));
    seconds(ours, "outbox_age", "How long the oldest of them waits", age);
    if let Some(free) = health.disk_free {
        bytes(
            ours,
            "disk_free",
            "Room on the disk that holds the state",
            free,
        );
    }
    if let Some(polled) = health.last_poll_ms {
        seconds(
            ours,
            "last_poll_timestamp",
            "When the own swarm answered last, since 1970",
            polled,
        );
    }
    match agent.state().await {
        State::Ready(account) => of_account(ours, agent, &account).await,
        _ => Ok(()),
    }
}

/// What an account's database says.
async fn of_account(
    ours: &mut Registry,
    agent: &Agent,
    account: &Account,
) -> Result<(), StoreError> {
    let (head, refused) = {
        let mut connection = account.context().db.readers().acquire().await?;
        let head = events::head(&mut connection).await?;
        (head, received::counts(&mut connection).await?)
    };
    let head = u64::try_from(head).unwrap_or(0);
    ours.register(
        "events",
        "Events written to the log, over all starts",
        ConstCounter::new(head),
    );
    let by_reason = Family::<Vec<(&'static str, String)>, Counter>::default();
    for (reason, count) in refused {
        let counter = by_reason.get_or_create_owned(&vec![("reason", reason)]);
        counter.inc_by(u64::try_from(count).unwrap_or(0));
    }
    ours.register(
        "messages_refused",
        "Messages left out or put aside, by reason, over all starts",
        by_reason,
    );
    gauge(
        ours,
        "event_streams",
        "Live event streams",
        account.hub().streams() as u64,
    );
    let path = AccountDb::path(agent.state_dir(), account.handle());
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
    bytes(
        ours,
        "database",
        "Database of the account, with its write-ahead log",
        size(&path) + size(&wal_path(&path)),
    );
    Ok(())
}

fn log(ours: &mut Registry) {
    let Some(log) = Log::get().map(Log::counts) else {
        return;
    };
    let lines = Family::<Labels<1>, Counter>::default();
    let set = |outcome, count: &AtomicU64| {
        let counter = lines.get_or_create_owned(&[("outcome", outcome)]);
        counter.inc_by(count.load(Ordering::Relaxed));
    };
    set("written", &log.written);
    set("collapsed", &log.collapsed);
    set("dropped", &log.dropped);
    ours.register(
        "log_lines",
        "Lines of the log, by what became of them",
        lines,
    );
}

/// The names that every program uses for these.
fn process(registry: &mut Registry) {
    let Some(figures) = platform::figures() else {
        return;
    };
    bytes(
        registry,
        "process_resident_memory",
        "Memory in use",
        figures.memory,
    );
    gauge(
        registry,
        "process_open_fds",
        "Open file descriptors",
        figures.open_files,
    );
    gauge(registry, "process_threads", "Threads", figures.threads);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, exact(value));
}

fn bytes(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register_with_unit(name, help, Unit::Bytes, exact(value));
}

fn exact(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

/// From milliseconds.
fn seconds(registry: &mut Registry, name: &str, help: &str, ms: i64) {
    // Exact to a millisecond for some thousand years.
    let value = ConstGauge::new(ms as f64 / 1_000.0);
    registry.register_with_unit(name, help, Unit::Seconds, value);
}
