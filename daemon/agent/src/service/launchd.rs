//! launchd: an agent of the user. Its property list is checked; no launchd has loaded it yet.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use super::plan::{Plan, Step};
use super::{Subject, User};

const PLIST: &str = include_str!("../../../../systemd/org.sessiond.sessiond.plist");
const LABEL: &str = "org.sessiond.sessiond";
/// Part of the property list that differs by machine.
const ARGUMENTS: &str = "\t\t<string>/usr/local/bin/sessiond</string>\n\t\t<string>run</string>\n";

/// Files of an installed service.
pub(super) fn files(user: &User) -> Vec<PathBuf> {
    vec![
        user.home
            .join(format!("Library/LaunchAgents/{LABEL}.plist")),
    ]
}

/// What installing takes.
pub(super) fn install(subject: &Subject) -> anyhow::Result<Plan> {
    let mut arguments = vec![subject.program.as_os_str()];
    arguments.extend(subject.arguments());
    let mut lines = String::new();
    for argument in arguments {
        let text = argument
            .to_str()
            .with_context(|| format!("{} is not UTF-8", argument.display()))?;
        lines += &format!("\t\t<string>{}</string>\n", escaped(text)?);
    }
    anyhow::ensure!(
        PLIST.contains(ARGUMENTS),
        "the property list lacks its arguments"
    );
    let text = PLIST.replacen(ARGUMENTS, &lines, 1);
    let mut steps = vec![Step::PrivateDir(subject.state_dir.clone())];
    for file in files(&subject.user) {
        steps.push(Step::Try(words(&["bootout", &target()])));
        steps.push(Step::Write(file.clone(), text.clone()));
        steps.push(Step::Run(words(&[
            "bootstrap",
            &domain(),
            &file.to_string_lossy(),
        ])));
    }
    Ok(Plan(steps))
}

/// What removing takes.
pub(super) fn uninstall(user: &User) -> Plan {
    let mut steps = vec![Step::Try(words(&["bootout", &target()]))];
    steps.extend(files(user).into_iter().map(Step::Remove));
    Plan(steps)
}

/// How to ask the manager.
pub(super) fn ask() -> Command {
    let mut command = Command::new("launchctl");
    command.args(["print", &target()]);
    command
}

/// What it answered: whether the service runs, and words for people.
pub(super) fn understand(known: bool, answer: &str) -> (bool, String) {
    let running = known && answer.lines().any(|line| line.trim() == "state = running");
    let words = match (known, running) {
        (_, true) => "running, started at login",
        (true, _) => "loaded, not running",
        _ => "installed, not loaded",
    };
    (running, words.to_owned())
}

fn domain() -> String {
    format!("gui/{}", rustix::process::getuid().as_raw())
}

fn target() -> String {
    format!("{}/{LABEL}", domain())
}

fn words(arguments: &[&str]) -> Vec<String> {
    std::iter::once(&"launchctl")
        .chain(arguments)
        .map(|word| (*word).to_owned())
        .collect()
}

/// Text of an XML element. Control characters cannot stand in one.
fn escaped(text: &str) -> anyhow::Result<String> {
    anyhow::ensure!(
        !text.chars().any(char::is_control),
        "{text:?} has control characters"
    );
    Ok(text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_property_list_names_this_program() {
        let subject = Subject {
            user: User {
                home: "/Users/a & b".into(),
                config_home: "/c".into(),
            },
            program: "/Users/a & b/sessiond".into(),
            state_dir: "/s".into(),
            socket: None,
            run: vec!["--vault".into(), "passphrase".into()],
        };
        let shown = install(&subject).unwrap().to_string();
        assert!(shown.contains(
            "<array>\n\t\t<string>/Users/a &amp; b/sessiond</string>\n\t\t<string>run</string>\n\t\t\
             <string>--state-dir</string>\n\t\t<string>/s</string>\n\t\t\
             <string>--vault</string>\n\t\t<string>passphrase</string>\n\t</array>"
        ));
        assert!(shown.contains("launchctl bootstrap gui/"));
        assert!(escaped("a\nb").is_err());
    }
}
