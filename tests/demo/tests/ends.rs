//! However the demo ends, nothing of it goes on running, and a part that dies is noticed.
//!
//! Real processes and real signals; which processes still run is read from `/proc`.
#![cfg(target_os = "linux")]
// Helpers of tests fail the test, as the tests themselves do.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Ten times what any of this takes.
const DEADLINE: Duration = Duration::from_secs(150);

/// What the demo says last before it waits for the command line.
const UP: &str = "Ctrl-C ends it";

struct Demo {
    process: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Demo {
    fn start(args: &[&str], state_dir: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sessiond-demo"))
            .args(args)
            .arg("--state-dir")
            .arg(state_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = process.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            process,
            lines,
            heard: Vec::new(),
        }
    }

    fn hear(&mut self, words: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("{words:?} was never said, but {:#?}", self.heard);
            };
            self.heard.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Process ids of its parts, as it told them.
    fn parts(&self) -> Vec<i32> {
        self.heard.iter().filter_map(|line| part(line)).collect()
    }

    fn signal(&self, signal: Signal) {
        send(i32::try_from(self.process.id()).unwrap(), signal);
    }

    /// Waits for its end: whether that was a success, and what it complained about.
    fn end(mut self) -> (bool, String) {
        until(|| self.process.try_wait().unwrap().is_some());
        let output = self.process.wait_with_output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), complaint)
    }
}

fn part(line: &str) -> Option<i32> {
    let (_, rest) = line.split_once("(process ")?;
    rest.strip_suffix(')')?.parse().ok()
}

fn send(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Whether a process runs; one that has ended and that nobody asked about does not.
fn runs(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(')')?.1.trim_start().chars().next())
        .is_some_and(|state| !"ZX".contains(state))
}

#[track_caller]
fn until(mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < until, "waited in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn all_gone(parts: &[i32]) {
    until(|| parts.iter().all(|pid| !runs(*pid)));
}

fn state_dir() -> tempfile::TempDir {
    // Short, because sockets lie in it.
    tempfile::Builder::new()
        .prefix("sd-ends-")
        .tempdir_in("/tmp")
        .unwrap()
}

#[test]
fn killed_it_leaves_nothing_running_and_the_next_run_goes_on() {
    let dir = state_dir();
    let mut demo = Demo::start(&[], dir.path());
    demo.hear(UP);
    let parts = demo.parts();
    assert_eq!(parts.len(), 4, "{:#?}", demo.heard);
    assert!(parts.iter().all(|pid| runs(*pid)));
    demo.signal(Signal::KILL);
    assert!(!demo.end().0);
    all_gone(&parts);

    let mut demo = Demo::start(&[], dir.path());
    demo.hear("account kept");
    demo.hear(UP);
    let parts = demo.parts();
    assert_eq!(parts.len(), 4, "{:#?}", demo.heard);
    demo.signal(Signal::TERM);
    assert_eq!(demo.end(), (true, String::new()));
    // It waits for its parts.
    assert!(parts.iter().all(|pid| !runs(*pid)));
    for name in ["alice", "bob"] {
        assert!(!dir.path().join(name).join("agent.sock").exists());
    }
}

#[test]
fn a_part_that_dies_is_named_and_ends_it() {
    let dir = state_dir();
    let mut demo = Demo::start(&["--once"], dir.path());
    let line = demo.hear("a program answers");
    let parts = demo.parts();
    send(part(&line).unwrap(), Signal::KILL);
    let (success, complaint) = demo.end();
    assert!(!success);
    assert!(complaint.contains("answer ended (signal: 9"), "{complaint}");
    assert!(dir.path().join("logs/answer.log").exists());
    all_gone(&parts);
}

#[test]
fn interrupted_before_the_answer_once_is_no_success() {
    let dir = state_dir();
    let mut demo = Demo::start(&["--once"], dir.path());
    demo.hear("a program answers");
    let parts = demo.parts();
    demo.signal(Signal::INT);
    let (success, complaint) = demo.end();
    assert!(!success);
    assert!(complaint.contains("interrupted while"), "{complaint}");
    all_gone(&parts);
}
