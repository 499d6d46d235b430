//! The real program in a real terminal, with a shell around it: what a person sees, types, and is left with.
//!
//! tmux is the terminal: it takes keys, and tells what stands on its screen and in which colours. Without tmux or bash the
//! tests pass over themselves.

use std::{
    cell::Cell,
    fs,
    path::PathBuf,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use sessiond_client::v1::{EventKind, SendState};

use crate::{
    fake::{BOB, Fake, ME, PHRASE, Serving},
    stage::{LONG, cannot},
};

const ESC: char = '\u{1b}';

/// `run` tells the number of the run, how the program ended, and whether (1) or not (0) it left the terminal without echo.
const SHELL: &str = r#"
PS1='$ '
run() { "$@"; echo "[run $((runs += 1)): $? $(stty -a | grep -ce ' -echo ')]"; }
source <(sessionctl completions bash)
"#;

struct Screen {
    dir: tempfile::TempDir,
    runs: Cell<u32>,
    _serving: Serving,
}

impl Screen {
    /// A shell in a terminal of so many columns. `None` where this machine cannot have one.
    fn open(fake: &Fake, columns: u16) -> Option<Self> {
        for program in ["tmux", "bash"] {
            if Command::new(program).arg("--help").output().is_err() {
                cannot(&format!("{program} is needed"));
                return None;
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s.sock");
        let screen = Self {
            _serving: fake.serve(&socket),
            dir,
            runs: Cell::new(0),
        };
        fs::write(screen.path("rc"), SHELL).unwrap();
        // Only what a login gives, and this build first.
        let own = PathBuf::from(env!("CARGO_BIN_EXE_sessionctl"));
        let own = own.parent().unwrap().display();
        let path = format!("{own}:{}", std::env::var("PATH").unwrap());
        let mut command = screen.tmux();
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", screen.dir.path())
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .env("TZ", "UTC")
            .env("SESSIOND_SOCKET", &socket)
            .env("SESSIOND_CONFIG", "")
            .args(["new-session", "-d", "-y", "24", "-x"])
            .arg(columns.to_string())
            .args(["bash", "--noprofile", "--rcfile"])
            .arg(screen.path("rc"));
        succeeded(&command.output().unwrap());
        screen.until(|shown| shown.ends_with('$'));
        Some(screen)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-u", "-f", "/dev/null", "-S"]);
        command.arg(self.path("tmux"));
        command
    }

    /// Types, and presses no key after it.
    fn types(&self, text: &str) {
        let typed = self.tmux().args(["send-keys", "-l", "--", text]).output();
        succeeded(&typed.unwrap());
    }

    fn press(&self, key: &str) {
        succeeded(&self.tmux().args(["send-keys", key]).output().unwrap());
    }

    /// Types a line.
    fn enter(&self, line: &str) {
        self.types(line);
        self.press("Enter");
    }

    /// Types a command, whose end [`Screen::ended`] waits for.
    fn run(&self, command: &str) {
        self.runs.set(self.runs.get() + 1);
        self.enter(&format!("run {command}"));
    }

    /// All that was shown, what has scrolled away included; lines that the terminal broke are whole.
    fn shown(&self) -> String {
        self.captured(&["-J"])
    }

    /// As [`Screen::shown`], with the sequences that make the colours.
    fn shown_in_colour(&self) -> String {
        self.captured(&["-J", "-e"])
    }

    /// The lines as the terminal has them.
    fn lines(&self) -> Vec<String> {
        let lines = self.captured(&[]);
        lines.lines().map(str::to_owned).collect()
    }

    fn captured(&self, how: &[&str]) -> String {
        let mut command = self.tmux();
        command.args(["capture-pane", "-p", "-S", "-"]).args(how);
        let output = command.output().unwrap();
        succeeded(&output);
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim_end().to_owned()
    }

    fn until(&self, is_there: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let shown = self.shown();
            if is_there(&shown) {
                return shown;
            }
            assert!(start.elapsed() < LONG, "not there:\n{shown}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end of what was run, with this code and the echo on.
    fn ended(&self, code: u8) -> String {
        let told = format!("[run {}: {code} 0]\n$", self.runs.get());
        self.until(|shown| shown.ends_with(&told))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_is_secret_is_typed_unseen_and_the_echo_comes_back() {
    let fake = Fake::new();
    fake.change(|w| w.account = None);
    let Some(screen) = Screen::open(&fake, 80) else {
        return;
    };
    screen.run("sessionctl account restore");
    screen.until(|shown| shown.ends_with("Recovery phrase (not shown):"));
    screen.enter(PHRASE);
    let shown = screen.ended(0);
    assert!(shown.contains(ME), "{shown}");
    for word in PHRASE.split(' ') {
        assert!(!shown.contains(word), "{word}: {shown}");
    }

    screen.run("sessionctl unlock --passphrase");
    screen.until(|shown| shown.ends_with("Passphrase (not shown):"));
    screen.enter("correct horse");
    let shown = screen.ended(0);
    assert!(!shown.contains("horse"), "{shown}");

    // Whoever thinks better of it.
    screen.run("sessionctl unlock --passphrase");
    screen.until(|shown| shown.ends_with("Passphrase (not shown):"));
    screen.types("correct");
    screen.press("C-c");
    let shown = screen.ended(130);
    assert!(!shown.contains("correct"), "{shown}");
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let Some(screen) = Screen::open(&Fake::new(), 100) else {
        return;
    };
    let colours = |line: &str| {
        screen.run(line);
        screen.ended(0);
        let shown = screen.shown_in_colour();
        let (_, latest) = shown.rsplit_once("$ run ").unwrap();
        assert!(latest.contains("ready"), "{shown}");
        latest.contains(ESC)
    };
    assert!(colours("sessionctl account show"));
    assert!(!colours("env NO_COLOR=1 sessionctl account show"));
    assert!(!colours("eval 'sessionctl account show | cat'"));
    assert!(colours(
        "eval 'CLICOLOR_FORCE=1 sessionctl account show | cat'"
    ));
}

#[test]
fn progress_is_one_line_that_goes_however_narrow_the_terminal_is() {
    for columns in [100, 40] {
        let fake = Fake::new();
        fake.change(|w| w.outcome = None);
        let Some(screen) = Screen::open(&fake, columns) else {
            return;
        };
        screen.run(&format!("sessionctl send {BOB} hi --wait stored"));
        let waits = |line: &&String| line.contains("Accepted; waiting");
        let later = |turn: &str| {
            screen.until(|shown| shown.contains(&format!("{turn} Accepted; waiting")));
            let lines = screen.lines();
            assert_eq!(lines.iter().filter(waits).count(), 1, "{lines:#?}");
            let last = lines.last().unwrap();
            assert!(waits(&last) && last.ends_with(" s"), "{lines:#?}");
        };
        // Some rounds of it.
        for turn in ["|", "/", "-", "\\", "|", "/"] {
            later(turn);
        }
        let mut message = fake.change(|w| w.messages[0].clone());
        message.set_send_state(SendState::Sent);
        fake.log(EventKind::MessageChanged, &message);
        let shown = screen.ended(0);
        assert!(shown.contains("✓ stored"), "{shown}");
        assert!(!shown.contains("waiting"), "{shown}");
    }
}

#[test]
fn the_phrase_is_shown_on_a_terminal_and_not_into_a_pipe() {
    let Some(screen) = Screen::open(&Fake::new(), 100) else {
        return;
    };
    screen.run("eval 'sessionctl account phrase | cat; (exit ${PIPESTATUS[0]})'");
    let shown = screen.ended(2);
    assert!(
        shown.contains("--yes") && !shown.contains(PHRASE),
        "{shown}"
    );
    screen.run("sessionctl account phrase");
    let shown = screen.ended(0);
    assert!(
        shown.contains(PHRASE) && shown.contains("one two"),
        "{shown}"
    );
}

#[test]
fn ctrl_c_ends_what_follows_events_and_leaves_the_terminal_as_it_was() {
    let fake = Fake::new();
    let Some(screen) = Screen::open(&fake, 100) else {
        return;
    };
    screen.enter("stty -a >before");
    screen.run("sessionctl events --follow");
    let start = Instant::now();
    while fake.change(|w| w.subscriptions) == 0 {
        assert!(start.elapsed() < LONG);
        thread::sleep(Duration::from_millis(5));
    }
    let message = fake
        .change(|w| w.messages.first().cloned())
        .unwrap_or_default();
    fake.log(EventKind::MessageAdded, &message);
    screen.until(|shown| shown.contains("message"));
    screen.press("C-c");
    screen.ended(0);
    screen.run("eval 'stty -a >after; cmp before after'");
    screen.ended(0);
}

#[test]
fn a_narrow_terminal_breaks_lines_and_loses_nothing() {
    let fake = Fake::new();
    let tables = ["conversations", "config keys", "paths", "status"];
    let [wide, narrow] = [400, 40].map(|columns| {
        let screen = Screen::open(&fake, columns)?;
        Some(tables.map(|table| {
            screen.run(&format!("sessionctl {table}"));
            let shown = screen.ended(0);
            let typed = format!("run sessionctl {table}\n");
            let (_, table) = shown.rsplit_once(&typed).unwrap();
            assert!(table.lines().count() > 2, "{table}");
            table.to_owned()
        }))
    });
    assert_eq!(wide, narrow);
}

#[test]
fn completions_work_in_bash() {
    let Some(screen) = Screen::open(&Fake::new(), 100) else {
        return;
    };
    screen.types("sessionctl acc");
    screen.press("Tab");
    screen.until(|shown| shown.contains("$ sessionctl acc"));
    screen.press("Tab");
    let shown = screen.until(|shown| shown.contains("accept") && shown.contains("account"));
    assert!(!shown.contains("conversations"), "{shown}");
    screen.types("ou");
    screen.press("Tab");
    screen.types("sh");
    screen.press("Tab");
    screen.press("Enter");
    screen.until(|shown| shown.contains("sessionctl account show") && shown.contains(ME));
    // Options and values, too.
    screen.types("sessionctl vault move pass");
    screen.press("Tab");
    screen.types("--pass");
    screen.press("Tab");
    screen.until(|shown| shown.contains("sessionctl vault move passphrase --passphrase"));
}

/// A login that was for one proxy goes to another only with a word about it.
#[test]
fn who_sets_another_proxy_is_told_of_the_login() {
    let Some(screen) = Screen::open(&Fake::new(), 100) else {
        return;
    };
    let set = |key: &str, value: &str| {
        let command = format!("env SESSIOND_CONFIG=$HOME/c sessionctl config set {key} {value}");
        screen.run(&command);
        screen.ended(0)
    };
    let told = "The login in proxy_login_file goes to this proxy now.";
    set("proxy", "socks5h://127.0.0.1:9050");
    assert!(!set("proxy-login-file", "/login").contains(told));
    assert!(set("proxy", "socks5h://192.0.2.1:9050").contains(told));
}
