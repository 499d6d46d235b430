//! systemd: two user units.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::plan::{Plan, Step};
use super::{Subject, User};

const SERVICE: &str = include_str!("../../../../systemd/sessiond.service");
const SOCKET: &str = include_str!("../../../../systemd/sessiond.socket");
/// Lines of the units that differ by machine.
const EXEC: &str = "ExecStart=/usr/bin/sessiond run";
const STATE: &str = "BindPaths=%h/.local/state/sessiond";
const CONFIG: &str = "BindReadOnlyPaths=-%h/.config/sessiond";
const LISTEN: &str = "ListenStream=%t/sessiond/sessiond.sock";

/// Files of an installed service.
pub(super) fn files(user: &User) -> Vec<PathBuf> {
    let units = user.config_home.join("systemd/user");
    vec![
        units.join("sessiond.service"),
        units.join("sessiond.socket"),
    ]
}

/// What installing takes.
pub(super) fn install(subject: &Subject) -> anyhow::Result<Plan> {
    let [service, socket]: [PathBuf; 2] = files(&subject.user)
        .try_into()
        .map_err(|_| anyhow::anyhow!("two units"))?;
    let config = subject.user.config_home.join("sessiond");
    Ok(Plan(vec![
        // Before the sandbox binds them: what is missing then would be lost in a temporary directory.
        Step::PrivateDir(subject.state_dir.clone()),
        Step::PrivateDir(config.clone()),
        Step::Write(service, service_unit(subject, &config)?),
        Step::Write(socket, socket_unit(subject)?),
        systemctl(&["daemon-reload"]),
        systemctl(&["enable", "sessiond.socket", "sessiond.service"]),
        // The socket first: it can only be made while the service does not hold one of its own.
        systemctl(&["stop", "sessiond.service"]),
        systemctl(&["start", "sessiond.socket", "sessiond.service"]),
    ]))
}

/// What removing takes.
pub(super) fn uninstall(user: &User) -> Plan {
    let mut steps = vec![Step::Try(words(&[
        "disable",
        "--now",
        "sessiond.socket",
        "sessiond.service",
    ]))];
    steps.extend(files(user).into_iter().map(Step::Remove));
    steps.push(systemctl(&["daemon-reload"]));
    Plan(steps)
}

/// How to ask the manager.
pub(super) fn ask() -> Command {
    let mut command = Command::new("systemctl");
    command.args([
        "--user",
        "show",
        "sessiond.service",
        "--property=ActiveState,SubState,MainPID,NRestarts,StatusText,UnitFileState,Result",
    ]);
    command
}

/// What it answered: whether the service runs, and words for people.
pub(super) fn understand(answer: &str) -> (bool, String) {
    let value = |name: &str| {
        answer
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
    };
    if answer.trim().is_empty() {
        return (
            false,
            "installed; the service manager does not answer".to_owned(),
        );
    }
    let running = value("ActiveState") == "active";
    let mut words = format!(
        "{} ({}), {} at login",
        value("ActiveState"),
        value("SubState"),
        match value("UnitFileState") {
            "enabled" => "started",
            _ => "not started",
        }
    );
    if running {
        words += &format!(", process {}", value("MainPID"));
    } else if !matches!(value("Result"), "" | "success") {
        words += &format!(
            ", last result: {}; `journalctl --user -u sessiond` says more",
            value("Result")
        );
    }
    if !matches!(value("NRestarts"), "" | "0") {
        words += &format!(", restarted {} times", value("NRestarts"));
    }
    if !value("StatusText").is_empty() {
        words += &format!("\n{}", value("StatusText"));
    }
    (running, words)
}

fn systemctl(arguments: &[&str]) -> Step {
    Step::Run(words(arguments))
}

fn words(arguments: &[&str]) -> Vec<String> {
    ["systemctl", "--user"]
        .iter()
        .chain(arguments)
        .map(|word| (*word).to_owned())
        .collect()
}

/// The service unit for this machine.
fn service_unit(subject: &Subject, config: &Path) -> anyhow::Result<String> {
    let mut exec = format!("ExecStart={}", quoted(&subject.program)?);
    for argument in subject.arguments() {
        exec += " ";
        // Variables are put into arguments; a path in any other line has none.
        exec += &quoted(Path::new(argument))?.replace('$', "$$");
    }
    // A program in the home directory would be hidden with it.
    let mut read_only = format!("BindReadOnlyPaths=-{}", quoted(config)?);
    if subject.program.starts_with(&subject.user.home) {
        read_only += " ";
        read_only += &quoted(&subject.program)?;
    }
    let state = format!("BindPaths={}", quoted(&subject.state_dir)?);
    with(
        SERVICE,
        &[(EXEC, exec), (STATE, state), (CONFIG, read_only)],
    )
}

/// The socket unit for this machine.
fn socket_unit(subject: &Subject) -> anyhow::Result<String> {
    let Some(socket) = &subject.socket else {
        return Ok(SOCKET.to_owned());
    };
    let text = plain(socket)?;
    // The line is one path, which nothing quotes.
    anyhow::ensure!(
        text.trim() == text && !text.ends_with('\\'),
        "the name of the socket {text:?} must not end like this"
    );
    with(
        SOCKET,
        &[(LISTEN, format!("ListenStream={}", text.replace('%', "%%")))],
    )
}

/// A unit with other lines.
fn with(unit: &str, lines: &[(&str, String)]) -> anyhow::Result<String> {
    let mut text = unit.to_owned();
    for (from, to) in lines {
        anyhow::ensure!(text.contains(from), "the unit lacks the line {from}");
        text = text.replacen(from, to, 1);
    }
    Ok(text)
}

/// A word of a unit file: specifiers and quotes escaped.
fn quoted(path: &Path) -> anyhow::Result<String> {
    let text = plain(path)?;
    let escaped = text
        .replace('%', "%%")
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    if escaped == text && !text.contains([' ', '\'', ';', ':', '$']) {
        return Ok(escaped);
    }
    Ok(format!("\"{escaped}\""))
}

/// Text of a unit file. Control characters cannot stand in one.
fn plain(path: &Path) -> anyhow::Result<&str> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    anyhow::ensure!(
        !text.chars().any(char::is_control),
        "{text:?} has control characters"
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(program: &str) -> Subject {
        Subject {
            user: User {
                home: "/home/u".into(),
                config_home: "/home/u/.config".into(),
            },
            program: program.into(),
            state_dir: "/home/u/$state dir".into(),
            socket: None,
            run: vec!["--network".into(), "100%.toml".into()],
        }
    }

    #[test]
    fn the_unit_names_this_program_and_shows_it_in_a_closed_home() {
        let inside = service_unit(&subject("/home/u/bin/sessiond"), Path::new("/c")).unwrap();
        assert!(inside.contains(
            "\nExecStart=/home/u/bin/sessiond run --state-dir \"/home/u/$$state dir\" --network \"100%%.toml\"\n"
        ));
        assert!(inside.contains("\nBindPaths=\"/home/u/$state dir\" %t/sessiond\n"));
        assert!(
            inside.contains(
                "\nBindReadOnlyPaths=-/c /home/u/bin/sessiond -%t/bus -%t/systemd/notify\n"
            )
        );
        let outside = service_unit(&subject("/usr/local/bin/sessiond"), Path::new("/c")).unwrap();
        assert!(outside.contains("\nBindReadOnlyPaths=-/c -%t/bus -%t/systemd/notify\n"));
    }

    #[test]
    fn both_units_name_the_socket_where_it_is_not_the_usual_one() {
        let mut subject = subject("/s");
        assert_eq!(socket_unit(&subject).unwrap(), SOCKET);
        subject.socket = Some("/run/my $ 100%.sock".into());
        let unit = socket_unit(&subject).unwrap();
        assert!(
            unit.contains("\nListenStream=/run/my $ 100%%.sock\n"),
            "{unit}"
        );
        let unit = service_unit(&subject, Path::new("/c")).unwrap();
        assert!(
            unit.contains(" --socket \"/run/my $$ 100%%.sock\" "),
            "{unit}"
        );
        for bad in ["/s ", "/s\\", "/s\nExecStartPre=evil"] {
            subject.socket = Some(bad.into());
            assert!(socket_unit(&subject).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_of_a_unit_are_escaped() {
        let word = |text| quoted(Path::new(text)).unwrap();
        assert_eq!(word("/a/b"), "/a/b");
        assert_eq!(word("/a b"), "\"/a b\"");
        assert_eq!(word("/%h/$x\"\\"), "\"/%%h/$x\\\"\\\\\"");
        assert!(quoted(Path::new("/a\nExecStart=evil")).is_err());
    }

    #[test]
    fn the_managers_answer_is_put_into_words() {
        let (running, words) = understand(
            "ActiveState=active\nSubState=running\nMainPID=7\nNRestarts=2\nUnitFileState=enabled\nStatusText=hi\n",
        );
        assert!(running);
        assert_eq!(
            words,
            "active (running), started at login, process 7, restarted 2 times\nhi"
        );
        let (running, words) = understand("ActiveState=failed\nSubState=failed\nResult=watchdog\n");
        assert!(!running && words.contains("watchdog") && words.contains("journalctl"));
        assert!(!understand("").0);
    }
}
