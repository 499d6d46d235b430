//! How everything stands, as labelled lines.

use sessiond_client::v1::{
    Account, AccountState, AccountWarning, AccountWarningKind, ConnectionState, DaemonState,
    DatabaseCheck, GetInfoResponse, GetNetworkStatusResponse, StorageStatus,
};

use super::{
    id::id,
    safe,
    style::{BAD, GOOD, HEADING, paint},
    time::{Clock, span},
};

/// The agent, its account and the network.
#[must_use]
pub fn overview(
    info: &GetInfoResponse,
    network: &GetNetworkStatusResponse,
    account: Option<&Account>,
    clock: &Clock,
    full: bool,
) -> String {
    let started = clock.date_time(info.start_time.as_ref());
    let state = match info.state() {
        DaemonState::Ready => paint(GOOD, "ready"),
        DaemonState::NoAccount => paint(BAD, "no account yet"),
        DaemonState::Locked => paint(
            BAD,
            format_args!("locked ({})", safe::line(&info.locked_reason)),
        ),
        DaemonState::Unspecified => "unknown".to_owned(),
    };
    let connection = match network.state() {
        ConnectionState::Connected => paint(GOOD, "connected"),
        ConnectionState::Connecting => "connecting".to_owned(),
        ConnectionState::Disconnected => paint(BAD, "disconnected"),
        ConnectionState::Unspecified => "unknown".to_owned(),
    };
    let way = match network.uses_proxy {
        true => ", through a proxy",
        false => "",
    };
    let mut lines = vec![
        ("Agent", state),
        (
            "Version",
            format!("{}, process {}", safe::line(&info.version), info.pid),
        ),
        ("Started", started),
        ("Vault", safe::line(&info.vault)),
    ];
    if info.state() == DaemonState::Locked {
        lines.push(("Locked", clock.date_time(info.locked_since.as_ref())));
        match info.locked_warning.as_str() {
            "" => {}
            "MESSAGES_EXPIRE_SOON" => lines.push((
                "Warning",
                paint(BAD, "unlock soon: swarms drop messages after 14 days"),
            )),
            "MESSAGES_MISSED" => lines.push((
                "Warning",
                paint(
                    BAD,
                    "messages of the time before the last 14 days were missed",
                ),
            )),
            other => lines.push(("Warning", paint(BAD, safe::line(other)))),
        }
    }
    if let Some(storage) = &info.storage {
        lines.extend(stored(storage, clock));
    }
    if let Some(account) = account {
        lines.push(("Account", account_line(account, full)));
        for it in &account.warnings {
            lines.push(("Warning", paint(BAD, warning(it, clock))));
        }
    }
    lines.extend([
        (
            "Network",
            format!("{}, {connection}{way}", safe::line(&network.network)),
        ),
        ("Nodes", network.node_count.to_string()),
        (
            "Paths",
            match network.relaxation.is_empty() {
                true => network.path_count.to_string(),
                false => format!(
                    "{}, rules relaxed: {}",
                    network.path_count,
                    safe::line(&network.relaxation)
                ),
            },
        ),
        (
            "Last poll",
            clock.date_time(network.last_poll_time.as_ref()),
        ),
        ("Clock offset", span(network.clock_offset.as_ref())),
        ("Waiting", format!("{} to be stored", network.outbox_count)),
    ]);
    if !network.last_error.is_empty() {
        lines.push(("Last error", paint(BAD, safe::line(&network.last_error))));
    }
    labelled(&lines)
}

/// What is to be said about the stored data; nothing while all is well.
fn stored(storage: &StorageStatus, clock: &Clock) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if !storage.problem.is_empty() {
        let text = format!(
            "{} since {}: nothing can be stored, nothing is lost",
            safe::line(&storage.problem),
            clock.date_time(storage.problem_time.as_ref())
        );
        lines.push(("Storage", paint(BAD, text)));
    }
    let check = match storage.check() {
        DatabaseCheck::Damaged => Some(paint(BAD, "damaged: see `sessionctl doctor`")),
        DatabaseCheck::Running => Some("being checked".to_owned()),
        DatabaseCheck::Sound if storage.unclean_stop => Some(format!(
            "sound, checked {}",
            clock.date_time(storage.check_time.as_ref())
        )),
        DatabaseCheck::Sound | DatabaseCheck::Unspecified => None,
    };
    lines.extend(check.map(|check| ("Database", check)));
    if storage.unclean_stop {
        lines.push(("Last run", "did not end cleanly".to_owned()));
    }
    if let Some(it) = &storage.salvage {
        let text = format!(
            "{}: {} damaged pages, {} messages kept, {} lost, {} no longer being sent",
            clock.date_time(it.time.as_ref()),
            it.damaged_page_count,
            it.kept_message_count,
            it.lost_message_count,
            it.unsent_message_count
        );
        lines.push(("Salvaged", text));
    }
    lines.extend(storage.copies.iter().map(|copy| {
        let what = match copy.kind.as_str() {
            "BEFORE_MIGRATION" => "of the database before its schema changed".to_owned(),
            "DAMAGED" => "of the damaged database".to_owned(),
            other => safe::line(other),
        };
        let end = clock.date_time(copy.end_time.as_ref());
        ("Copy", format!("{what}, ends {end} at the latest"))
    }));
    lines
}

/// An account on its own; the ID is there to be copied, so it is always whole.
#[must_use]
pub fn account(account: &Account, clock: &Clock) -> String {
    let mut lines = vec![("Account ID", safe::line(&account.account_id))];
    if !account.display_name.is_empty() {
        lines.push(("Name", safe::line(&account.display_name)));
    }
    lines.push(("Since", clock.date_time(account.create_time.as_ref())));
    lines.push(("State", account_state(account).to_owned()));
    for it in &account.warnings {
        lines.push(("Warning", paint(BAD, warning(it, clock))));
    }
    labelled(&lines)
}

/// What a warning says, on one line.
#[must_use]
pub fn warning(warning: &AccountWarning, clock: &Clock) -> String {
    let since = clock.date_time(warning.first_seen_time.as_ref());
    let unreadable = match warning.unreadable_count {
        0 => String::new(),
        count => format!("; {count} so far could not be read"),
    };
    match warning.kind() {
        AccountWarningKind::V2KeysPublished => format!(
            "another device of this account uses the new protocol since {since}: messages to it may not \
             appear here{unreadable}"
        ),
        AccountWarningKind::V2DeviceLinked => format!(
            "another device of this account can use the new protocol since {since}; nothing is missed yet{unreadable}"
        ),
        AccountWarningKind::Unspecified => "something that this version does not know".to_owned(),
    }
}

fn account_line(account: &Account, full: bool) -> String {
    let id = id(&account.account_id, full);
    if account.display_name.is_empty() {
        id
    } else {
        format!("{id} ({})", safe::line(&account.display_name))
    }
}

fn account_state(account: &Account) -> &'static str {
    match account.state() {
        AccountState::Ready => "ready",
        AccountState::Locked => "locked",
        AccountState::Unspecified => "unknown",
    }
}

/// Labels and what stands behind them, lined up.
pub(super) fn labelled(lines: &[(&str, String)]) -> String {
    let width = lines
        .iter()
        .map(|(label, _)| label.len())
        .max()
        .unwrap_or_default();
    lines
        .iter()
        .map(|(label, text)| {
            format!(
                "{}  {text}\n",
                paint(HEADING, format_args!("{label:<width$}"))
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use jiff::tz::TimeZone;
    use sessiond_client::v1::SafetyCopy;

    use super::*;

    #[test]
    fn labels_line_up() {
        let info = GetInfoResponse {
            version: "0.1.0".into(),
            pid: 7,
            vault: "passphrase".into(),
            state: DaemonState::Locked.into(),
            locked_reason: "PASSPHRASE_NEEDED".into(),
            locked_warning: "MESSAGES_EXPIRE_SOON".into(),
            storage: Some(StorageStatus {
                problem: "DISK_FULL".into(),
                unclean_stop: true,
                check: DatabaseCheck::Sound.into(),
                copies: vec![SafetyCopy {
                    kind: "DAMAGED".into(),
                    ..SafetyCopy::default()
                }],
                ..StorageStatus::default()
            }),
            ..GetInfoResponse::default()
        };
        let network = GetNetworkStatusResponse {
            network: "main".into(),
            state: ConnectionState::Disconnected.into(),
            last_error: "NO_SEED".into(),
            uses_proxy: true,
            relaxation: "NEW_GUARD".into(),
            ..GetNetworkStatusResponse::default()
        };
        let text = overview(&info, &network, None, &Clock::new(TimeZone::UTC), false);
        assert_eq!(
            strip_str(&text).to_string(),
            "Agent         locked (PASSPHRASE_NEEDED)\n\
             Version       0.1.0, process 7\n\
             Started       -\n\
             Vault         passphrase\n\
             Locked        -\n\
             Warning       unlock soon: swarms drop messages after 14 days\n\
             Storage       DISK_FULL since -: nothing can be stored, nothing is lost\n\
             Database      sound, checked -\n\
             Last run      did not end cleanly\n\
             Copy          of the damaged database, ends - at the latest\n\
             Network       main, disconnected, through a proxy\n\
             Nodes         0\n\
             Paths         0, rules relaxed: NEW_GUARD\n\
             Last poll     -\n\
             Clock offset  -\n\
             Waiting       0 to be stored\n\
             Last error    NO_SEED\n"
        );
    }
}
