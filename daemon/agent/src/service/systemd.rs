//! systemd: two user units.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::Subject;
use super::plan::{Plan, Step};

const SERVICE: &str = include_str!("../../../../systemd/sessiond.service");
const SOCKET: &str = include_str!("../../../../systemd/sessiond.socket");
/// Lines of the service unit that differ by machine.
const EXEC: &str = "ExecStart=/usr/bin/sessiond run";
const STATE: &str = "BindPaths=%h/.local/state/sessiond";
const CONFIG: &str = "BindReadOnlyPaths=-%h/.config/sessiond";

/// Files of an installed service.
pub(super) fn files(subject: &Subject) -> Vec<PathBuf> {
    let units = subject.config_home.join("systemd/user");
    vec![
        units.join("sessiond.service"),
        units.join("sessiond.socket"),
    ]
}

/// What installing takes.
pub(super) fn install(subject: &Subject) -> anyhow::Result<Plan> {
    let [service, socket]: [PathBuf; 2] = files(subject)
        .try_into()
        .map_err(|_| anyhow::anyhow!("two units"))?;
    let config = subject.config_home.join("sessiond");
    Ok(Plan(vec![
        // Before the sandbox binds them: what is missing then would be lost in a temporary directory.
        Step::PrivateDir(subject.state_dir.clone()),
        Step::PrivateDir(config.clone()),
        Step::Write(service, unit(subject, &config)?),
        Step::Write(socket, SOCKET.to_owned()),
        systemctl(&["daemon-reload"]),
        systemctl(&["enable", "sessiond.socket", "sessiond.service"]),
        // The socket first: it can only be made while the service does not hold one of its own.
        systemctl(&["stop", "sessiond.service"]),
        systemctl(&["start", "sessiond.socket", "sessiond.service"]),
    ]))
}

/// What removing takes.
pub(super) fn uninstall(subject: &Subject) -> Plan {
    let mut steps = vec![Step::Try(words(&[
        "disable",
        "--now",
        "sessiond.socket",
        "sessiond.service",
    ]))];
    steps.extend(files(subject).into_iter().map(Step::Remove));
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
fn unit(subject: &Subject, config: &Path) -> anyhow::Result<String> {
    let mut exec = format!("ExecStart={} run", quoted(&subject.program)?);
    for argument in &subject.run {
        exec += " ";
        exec += &quoted(Path::new(argument))?;
    }
    // A program in the home directory would be hidden with it.
    let mut read_only = format!("BindReadOnlyPaths=-{}", quoted(config)?);
    if subject.program.starts_with(&subject.home) {
        read_only += " ";
        read_only += &quoted(&subject.program)?;
    }
    let lines = [
        (EXEC, exec),
        (STATE, format!("BindPaths={}", quoted(&subject.state_dir)?)),
        (CONFIG, read_only),
    ];
    let mut text = SERVICE.to_owned();
    for (from, to) in lines {
        anyhow::ensure!(text.contains(from), "the unit lacks the line {from}");
        text = text.replacen(from, &to, 1);
    }
    Ok(text)
}

/// A word of a unit file: specifiers and quotes escaped. Control characters cannot stand in one.
fn quoted(path: &Path) -> anyhow::Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    anyhow::ensure!(
        !text.chars().any(char::is_control),
        "{text:?} has control characters"
    );
    let escaped = text
        .replace('%', "%%")
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('$', "$$");
    if escaped == text && !text.contains([' ', '\'', ';', ':']) {
        return Ok(escaped);
    }
    Ok(format!("\"{escaped}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(program: &str) -> Subject {
        Subject {
            program: program.into(),
            home: "/home/u".into(),
            config_home: "/home/u/.config".into(),
            state_dir: "/home/u/state dir".into(),
            run: vec!["--network".into(), "100%.toml".into()],
        }
    }

    #[test]
    fn the_unit_names_this_program_and_shows_it_in_a_closed_home() {
        let inside = unit(&subject("/home/u/bin/sessiond"), Path::new("/c")).unwrap();
        assert!(inside.contains("\nExecStart=/home/u/bin/sessiond run --network \"100%%.toml\"\n"));
        assert!(inside.contains("\nBindPaths=\"/home/u/state dir\" %t/sessiond\n"));
        assert!(
            inside.contains(
                "\nBindReadOnlyPaths=-/c /home/u/bin/sessiond -%t/bus -%t/systemd/notify\n"
            )
        );
        let outside = unit(&subject("/usr/local/bin/sessiond"), Path::new("/c")).unwrap();
        assert!(outside.contains("\nBindReadOnlyPaths=-/c -%t/bus -%t/systemd/notify\n"));
    }

    #[test]
    fn words_of_a_unit_are_escaped() {
        let word = |text| quoted(Path::new(text)).unwrap();
        assert_eq!(word("/a/b"), "/a/b");
        assert_eq!(word("/a b"), "\"/a b\"");
        assert_eq!(word("/%h/$x\"\\"), "\"/%%h/$$x\\\"\\\\\"");
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
