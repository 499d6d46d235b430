//! `doctor`: every step from this program to the network, what is wrong with it and what to do next.
//!
//! A step that an earlier failure makes impossible is skipped. The exit code is that of the first failure: 2 for the
//! configuration file, 3 without an agent, 4 when it is locked, 1 for everything else.

use std::{
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::json;
use sessiond_client::{
    Client, socket,
    v1::{
        Account, AccountWarningKind, ConnectionState, DaemonState, DatabaseCheck,
        GetAccountRequest, GetHealthRequest, GetHealthResponse, GetInfoRequest, GetInfoResponse,
        GetNetworkStatusRequest, GetNetworkStatusResponse, HealthCheck, HealthState,
    },
};
use sessiond_config::{Key, state_dir};

use crate::{
    context::Context,
    failure::{FAILED, Failure, LOCKED, WRONG_USAGE},
    format::{
        overview, safe,
        style::{BAD, FAINT, GOOD, paint},
        time::{Clock, span},
    },
    version,
};

/// Polls come every few seconds; after this something is wrong.
const POLL_LATE: Duration = Duration::from_secs(5 * 60);
/// The reason of the agent's check of its outbox.
const OUTBOX_LATE: &str = "OUTBOX_LATE";
/// From here on a clock is worth setting: other people see the times.
const CLOCK_OFF: Duration = Duration::from_secs(60);
/// With less the agent may soon be unable to store.
const DISK_LOW: u64 = 256 * 1024 * 1024;
const DISK_FULL: u64 = 16 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    Warning,
    Failed(u8),
    Skipped,
}

/// What a check found.
#[derive(Debug)]
struct Finding {
    check: &'static str,
    state: State,
    detail: String,
    advice: Option<String>,
}

impl Finding {
    fn new(check: &'static str, state: State, detail: impl Into<String>) -> Self {
        Self {
            check,
            state,
            detail: detail.into(),
            advice: None,
        }
    }

    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(check, State::Ok, detail)
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    fn from_failure(check: &'static str, failure: &Failure) -> Self {
        let found = Self::new(
            check,
            State::Failed(failure.exit_code()),
            failure.to_string(),
        );
        match failure.advice() {
            Some(advice) => found.advise(advice),
            None => found,
        }
    }
}

pub async fn doctor(context: &mut Context) -> Result<(), Failure> {
    let mut findings = Vec::new();
    let found = examine(context, &mut findings).await;
    if let Err(finding) = found {
        findings.push(finding);
    }
    let done: Vec<_> = findings.iter().map(|finding| finding.check).collect();
    for check in ALL.iter().filter(|check| !done.contains(check)) {
        findings.push(Finding::new(
            check,
            State::Skipped,
            "depends on the failure above",
        ));
    }
    for finding in &findings {
        show(context, finding)?;
    }
    let code = findings.iter().find_map(|finding| match finding.state {
        State::Failed(code) => Some(code),
        _ => None,
    });
    match code {
        None => Ok(()),
        Some(code) => Err(Failure::Unwell("something is wrong; see above", code)),
    }
}

/// Every check, in the order in which they depend on each other.
const ALL: [&str; 14] = [
    "configuration",
    "socket",
    "permissions",
    "agent",
    "tasks",
    "version",
    "disk",
    "storage",
    "account",
    "protocol",
    "network",
    "clock",
    "last poll",
    "outbox",
];

/// Stops at what makes all that follows impossible.
async fn examine(context: &mut Context, findings: &mut Vec<Finding>) -> Result<(), Finding> {
    findings.push(configuration(context)?);
    let said = context
        .said_socket()
        .map_err(|failure| Finding::from_failure("socket", &failure))?;
    let path = socket::socket_path(said.as_deref()).map_err(|error| {
        Finding::from_failure("socket", &sessiond_client::ConnectError::from(error).into())
    })?;
    findings.push(disk(context));
    // Whoever listens there is asked first: a missing socket has an error that says what to do.
    let client = match context.connect().await {
        Ok(client) => client,
        Err(failure) if path.exists() => {
            findings.push(Finding::ok("socket", path.display().to_string()));
            findings.push(permissions(&path));
            return Err(Finding::from_failure("agent", &failure));
        }
        Err(failure) => return Err(Finding::from_failure("socket", &failure)),
    };
    findings.push(Finding::ok("socket", path.display().to_string()));
    findings.push(permissions(&path));
    let info = ask(&client, "agent").await?;
    findings.push(Finding::ok(
        "agent",
        format!("answers, process {}", info.pid),
    ));
    let health = client.get_health(GetHealthRequest::default()).await;
    let health = health.map_err(|error| Finding::from_failure("tasks", &error.into()))?;
    findings.push(tasks(&health));
    findings.push(versions(&info));
    findings.push(storage(&info));
    let account = account(&info);
    let usable = account.state == State::Ok;
    findings.push(account);
    if usable {
        let known = client.get_account(GetAccountRequest::default()).await;
        let known = known.map_err(|error| Finding::from_failure("protocol", &error.into()))?;
        let clock = &context.clock;
        findings.push(protocol(&known.account.unwrap_or_default(), clock));
    }
    let status = client
        .get_network_status(GetNetworkStatusRequest::default())
        .await
        .map_err(|error| Finding::from_failure("network", &error.into()))?;
    findings.push(network(&status));
    findings.push(clock(&status));
    if usable {
        findings.push(last_poll(&status, SystemTime::now()));
        findings.push(outbox(&status, &health, &context.clock));
    }
    Ok(())
}

async fn ask(client: &Client, check: &'static str) -> Result<GetInfoResponse, Finding> {
    let info = client.get_info(GetInfoRequest::default()).await;
    info.map_err(|error| Finding::from_failure(check, &error.into()))
}

fn configuration(context: &mut Context) -> Result<Finding, Finding> {
    match context.config() {
        Ok(config) => Ok(match config.path() {
            Some(path) if path.exists() => Finding::ok("configuration", path.display().to_string()),
            _ => Finding::ok("configuration", "no file, everything as built in"),
        }),
        Err(failure) => {
            let mut finding = Finding::from_failure("configuration", &failure);
            finding.state = State::Failed(WRONG_USAGE);
            Err(finding)
        }
    }
}

/// Only the owner gets in: a socket of mode 0600 in a directory that nobody else can write to.
fn permissions(path: &Path) -> Finding {
    let check = "permissions";
    let looked = std::fs::symlink_metadata(path).and_then(|socket| {
        let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        Ok((socket, std::fs::metadata(parent.unwrap_or(Path::new(".")))?))
    });
    let (socket, dir) = match looked {
        Ok(found) => found,
        Err(error) => return Finding::new(check, State::Failed(FAILED), error.to_string()),
    };
    let own = rustix::process::geteuid().as_raw();
    let modes = (
        socket.permissions().mode() & 0o777,
        dir.permissions().mode() & 0o1777,
    );
    let shown = format!("socket {:o}, directory {:o}", modes.0, modes.1);
    if !socket.file_type().is_socket() || socket.uid() != own {
        return Finding::new(check, State::Failed(FAILED), "this is no socket of ours")
            .advise("name the socket of your own agent");
    }
    // The agent checks every peer's user as well; this is the door before that.
    if modes.0 & 0o077 != 0 || (modes.1 & 0o022 != 0 && modes.1 & 0o1000 == 0) {
        return Finding::new(check, State::Warning, shown).advise(
            "others can reach the socket: keep it in a directory of your own, mode 0700, and restart the agent",
        );
    }
    Finding::ok(check, shown)
}

fn versions(info: &GetInfoResponse) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    let detail = format!("sessionctl {own}, sessiond {}", info.version);
    match version::skew(own, &info.version) {
        None => Finding::ok("version", detail),
        Some(skew) => Finding::new("version", State::Warning, detail).advise(skew),
    }
}

/// What the agent says about its data.
fn storage(info: &GetInfoResponse) -> Finding {
    let check = "storage";
    let Some(storage) = &info.storage else {
        return Finding::new(check, State::Skipped, "this agent does not tell");
    };
    match storage.problem.as_str() {
        "" => {}
        "DISK_FULL" => {
            return Finding::new(
                check,
                State::Failed(FAILED),
                "DISK_FULL: nothing can be stored",
            )
            .advise("make room; nothing is lost, and the agent goes on by itself");
        }
        "STORAGE_READ_ONLY" => {
            return Finding::new(
                check,
                State::Failed(FAILED),
                "STORAGE_READ_ONLY: nothing can be stored",
            )
            .advise(
                "make the state directory and its file system writable; nothing is lost, and the agent goes on by \
                 itself",
            );
        }
        other => {
            return Finding::new(check, State::Failed(FAILED), other).advise("see the agent's log");
        }
    }
    let stop = match storage.unclean_stop {
        true => "; the last run did not end cleanly",
        false => "",
    };
    match storage.check() {
        DatabaseCheck::Damaged => Finding::new(
            check,
            State::Failed(FAILED),
            format!("the database is damaged{stop}"),
        )
        .advise("see to the disk and restart the agent, which saves what is readable"),
        DatabaseCheck::Running => {
            Finding::ok(check, format!("the database is being checked{stop}"))
        }
        DatabaseCheck::Sound => Finding::ok(check, format!("the database is sound{stop}")),
        DatabaseCheck::Unspecified => {
            Finding::ok(check, format!("the database was not checked yet{stop}"))
        }
    }
}

fn account(info: &GetInfoResponse) -> Finding {
    match info.state() {
        DaemonState::Ready => Finding::ok("account", format!("usable; vault: {}", info.vault)),
        DaemonState::NoAccount => Finding::new("account", State::Warning, "there is none yet").advise(
            "make one with `sessionctl account create`, or bring yours back with `sessionctl account restore`",
        ),
        DaemonState::Locked | DaemonState::Unspecified => {
            let detail = format!("locked: {} (vault: {})", info.locked_reason, info.vault);
            Finding::new("account", State::Failed(LOCKED), detail).advise(
                match info.locked_reason.as_str() {
                    "DISK_FULL" => "make room; the account opens by itself",
                    "STORAGE_READ_ONLY" => {
                        "make the state directory writable; the account opens by itself"
                    }
                    "CHECKING_DATABASE" => "wait: the account opens by itself after the check",
                    "DATABASE_DAMAGED" => "see to the disk, then restart the agent",
                    _ => {
                        "unlock the keyring, or start the agent with its passphrase; nothing is received meanwhile"
                    }
                },
            )
        }
    }
}

/// Whether all devices of the account speak the protocol that the agent speaks.
fn protocol(account: &Account, clock: &Clock) -> Finding {
    let Some(warning) = account.warnings.first() else {
        return Finding::ok("protocol", "no other device uses a newer one");
    };
    let detail = overview::warning(warning, clock);
    let advice = match warning.kind() {
        AccountWarningKind::V2KeysPublished => {
            "read on the other device what is missing here; what you send arrives. What could not be read is kept for a \
             later version of sessiond. To end it, unlink the newer devices; senders follow after two days"
        }
        _ => "go on as before; this warns when messages begin to miss",
    };
    Finding::new("protocol", State::Warning, detail).advise(advice)
}

fn network(status: &GetNetworkStatusResponse) -> Finding {
    let detail = format!(
        "{}: {} paths, {} nodes known{}",
        status.network,
        status.path_count,
        status.node_count,
        if status.last_error.is_empty() {
            String::new()
        } else {
            format!(", last error {}", status.last_error)
        }
    );
    match status.state() {
        ConnectionState::Connected => Finding::ok("network", detail),
        ConnectionState::Connecting => Finding::new("network", State::Warning, detail)
            .advise("paths are being built: ask again in a moment"),
        ConnectionState::Disconnected | ConnectionState::Unspecified => {
            Finding::new("network", State::Failed(FAILED), detail).advise(
                "see whether this machine is online, and a proxy, if one is set, runs; the agent keeps trying, \
                 `sessionctl sync` makes it try now",
            )
        }
    }
}

fn clock(status: &GetNetworkStatusResponse) -> Finding {
    let Some(offset) = &status.clock_offset else {
        return Finding::new(
            "clock",
            State::Skipped,
            "the network has not told the time yet",
        );
    };
    let detail = format!("{} from the network's", span(Some(offset)));
    let off = Duration::from_secs(offset.seconds.unsigned_abs());
    if off < CLOCK_OFF {
        return Finding::ok("clock", detail);
    }
    Finding::new("clock", State::Warning, detail).advise(
        "the agent allows for it, but set this machine's clock, as with `timedatectl set-ntp true`",
    )
}

fn last_poll(status: &GetNetworkStatusResponse, now: SystemTime) -> Finding {
    let advice = "see whether the network works (above), then try `sessionctl sync`";
    let Some(time) = &status.last_poll_time else {
        return Finding::new(
            "last poll",
            State::Warning,
            "the own swarm has not answered yet",
        )
        .advise(advice);
    };
    let at = Duration::new(
        u64::try_from(time.seconds).unwrap_or_default(),
        u32::try_from(time.nanos).unwrap_or_default(),
    );
    let age = now
        .duration_since(SystemTime::UNIX_EPOCH + at)
        .unwrap_or_default();
    let detail = format!("{} s ago", age.as_secs());
    if age < POLL_LATE {
        Finding::ok("last poll", detail)
    } else {
        Finding::new("last poll", State::Failed(FAILED), detail).advise(advice)
    }
}

/// Whether all the agent's tasks turn their loops.
fn tasks(health: &GetHealthResponse) -> Finding {
    match health.checks.iter().find(|check| check.name == "tasks") {
        Some(check) if check.state() == HealthState::Failed => {
            Finding::new("tasks", State::Failed(FAILED), check.detail.clone()).advise(
                "restart the agent, as with `systemctl --user restart sessiond`; nothing that it accepted is lost",
            )
        }
        _ => Finding::ok("tasks", "all at work"),
    }
}

fn outbox(status: &GetNetworkStatusResponse, health: &GetHealthResponse, clock: &Clock) -> Finding {
    let failed =
        |check: &&HealthCheck| check.name == "sending" && check.state() == HealthState::Failed;
    if let Some(check) = health.checks.iter().find(failed) {
        if check.reason != OUTBOX_LATE {
            return Finding::new("outbox", State::Failed(FAILED), check.reason.clone());
        }
        let since = clock.date_time(check.since_time.as_ref());
        let detail = format!("{} wait, the oldest since {since}", status.outbox_count);
        return Finding::new("outbox", State::Failed(FAILED), detail).advise(
            "see whether the network works (above), and `sessionctl explain` for a message that does not leave",
        );
    }
    match status.outbox_count {
        0 => Finding::ok("outbox", "nothing waits"),
        count if status.state() == ConnectionState::Connected => {
            Finding::ok("outbox", format!("{count} on the way"))
        }
        count => Finding::new(
            "outbox",
            State::Warning,
            format!("{count} wait for the network"),
        )
        .advise("nothing is lost: they leave when the network works again"),
    }
}

/// Where the agent keeps everything, as far as this program can know.
fn disk(context: &mut Context) -> Finding {
    let said = Key::named("state_dir").and_then(|key| context.config().ok()?.effective(key));
    let Some(dir) = said.map(PathBuf::from).or_else(state_dir) else {
        return Finding::new(
            "disk",
            State::Skipped,
            "it is not known where the agent keeps its state",
        );
    };
    // Before the agent's first start the directory is not there yet; the disk is.
    let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(&dir);
    match rustix::fs::statvfs(there) {
        Err(error) => Finding::new(
            "disk",
            State::Warning,
            format!("{}: {error}", there.display()),
        ),
        Ok(disk) => space(disk.f_bavail.saturating_mul(disk.f_frsize), &dir),
    }
}

fn space(free: u64, dir: &Path) -> Finding {
    let detail = format!("{} MiB free for {}", free / (1024 * 1024), dir.display());
    let advice = "make room: without it nothing can be received or accepted for sending";
    match free {
        0..DISK_FULL => Finding::new("disk", State::Failed(FAILED), detail).advise(advice),
        DISK_FULL..DISK_LOW => Finding::new("disk", State::Warning, detail).advise(advice),
        _ => Finding::ok("disk", detail),
    }
}

fn show(context: &mut Context, finding: &Finding) -> Result<(), Failure> {
    if context.json {
        let state = match finding.state {
            State::Ok => "OK",
            State::Warning => "WARNING",
            State::Failed(_) => "FAILED",
            State::Skipped => "SKIPPED",
        };
        return context.value(&json!({
            "check": finding.check,
            "state": state,
            "detail": finding.detail,
            "advice": finding.advice.as_deref().unwrap_or_default(),
        }));
    }
    let sign = match finding.state {
        State::Ok => paint(GOOD, "✓"),
        State::Warning => "!".to_owned(),
        State::Failed(_) => paint(BAD, "✗"),
        State::Skipped => paint(FAINT, "-"),
    };
    let detail = safe::line(&finding.detail);
    context.print(&format!("{sign} {:<13}  {detail}\n", finding.check))?;
    match &finding.advice {
        Some(advice) => context.print(&format!("  {:<13}  → {}\n", "", safe::line(advice))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_fill_up() {
        let state = |mib: u64| space(mib * 1024 * 1024, Path::new("/s")).state;
        assert_eq!(state(1000), State::Ok);
        assert_eq!(state(100), State::Warning);
        assert_eq!(state(1), State::Failed(FAILED));
    }

    #[test]
    fn polls_get_late_and_clocks_go_wrong() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut status = GetNetworkStatusResponse {
            last_poll_time: Some(prost_types::Timestamp {
                seconds: 1000,
                nanos: 0,
            }),
            clock_offset: Some(prost_types::Duration {
                seconds: -59,
                nanos: 0,
            }),
            ..Default::default()
        };
        assert_eq!(last_poll(&status, at(1010)).state, State::Ok);
        assert_eq!(last_poll(&status, at(900)).state, State::Ok);
        assert_eq!(last_poll(&status, at(1400)).state, State::Failed(FAILED));
        assert_eq!(clock(&status).state, State::Ok);
        status.clock_offset = Some(prost_types::Duration {
            seconds: -61,
            nanos: 0,
        });
        assert_eq!(clock(&status).state, State::Warning);
        status.last_poll_time = None;
        assert_eq!(last_poll(&status, at(0)).state, State::Warning);
    }

    #[test]
    fn what_waits_is_normal_while_the_network_works() {
        let mut status = GetNetworkStatusResponse {
            outbox_count: 3,
            state: ConnectionState::Connected.into(),
            ..Default::default()
        };
        let mut health = GetHealthResponse::default();
        let clock = Clock::new(jiff::tz::TimeZone::UTC);
        let state = |status: &_, health: &_| outbox(status, health, &clock).state;
        assert_eq!(state(&status, &health), State::Ok);
        status.state = ConnectionState::Disconnected.into();
        assert_eq!(state(&status, &health), State::Warning);
        assert_eq!(tasks(&health).state, State::Ok);
        for name in ["sending", "tasks"] {
            health.checks.push(HealthCheck {
                name: name.to_owned(),
                state: HealthState::Failed.into(),
                reason: OUTBOX_LATE.to_owned(),
                ..Default::default()
            });
        }
        assert_eq!(state(&status, &health), State::Failed(FAILED));
        assert_eq!(tasks(&health).state, State::Failed(FAILED));
        assert_eq!(network(&status).state, State::Failed(FAILED));
    }
}
