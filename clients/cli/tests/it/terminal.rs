//! The real program on a real (pseudo) terminal: a typed phrase is not shown, colours are.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
};

use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

use sessiond_client::v1::{AccountWarning, AccountWarningKind, EventKind, SendState};

use crate::{
    fake::{BOB, Fake, ME, PHRASE, Serving, time},
    stage::{LONG, sessionctl},
};

struct Person {
    keyboard: File,
    /// Kept open so that the screen stays and its modes can be looked at.
    line: File,
    screen: mpsc::Receiver<Vec<u8>>,
    seen: String,
    child: Child,
    _serving: Serving,
    _dir: tempfile::TempDir,
}

impl Person {
    fn at(fake: &Fake, args: &[&str], colours: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let serving = fake.serve(&path);
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let line = OpenOptions::new()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let side = || Stdio::from(line.try_clone().unwrap());
        let mut command = sessionctl();
        command
            .args(args)
            .env("SESSIOND_SOCKET", &path)
            .env("TERM", "xterm")
            .stdin(side())
            .stdout(side())
            .stderr(side());
        if !colours {
            command.env("NO_COLOR", "1");
        }
        let child = command.spawn().unwrap();
        let keyboard = File::from(master);
        let mut reader = keyboard.try_clone().unwrap();
        let (sender, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        let seen = String::new();
        Self {
            keyboard,
            line,
            screen,
            seen,
            child,
            _serving: serving,
            _dir: dir,
        }
    }

    fn wait_for(&mut self, text: &str) {
        while !self.seen.contains(text) {
            let more = self.screen.recv_timeout(LONG);
            let more = more.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.seen));
            self.seen.push_str(&String::from_utf8(more).unwrap());
        }
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.line)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO)
    }
}

#[test]
fn a_typed_phrase_is_not_shown() {
    let fake = Fake::new();
    fake.change(|w| w.account = None);
    let mut person = Person::at(&fake, &["account", "restore"], true);
    person.wait_for("Recovery phrase (not shown): ");
    assert!(!person.echoes());
    writeln!(person.keyboard, "{PHRASE}").unwrap();
    person.wait_for(ME);
    person.wait_for("ready");
    assert_eq!(person.child.wait().unwrap().code(), Some(0));
    assert!(!person.seen.contains("bravo"), "{:?}", person.seen);
    assert!(
        person.seen.contains("\u{1b}[1mAccount ID\u{1b}[0m"),
        "{:?}",
        person.seen
    );
    assert!(person.echoes());
}

#[test]
fn ctrl_c_at_the_prompt_gives_the_echo_back() {
    let fake = Fake::new();
    fake.change(|w| w.account = None);
    let mut person = Person::at(&fake, &["account", "restore"], true);
    person.wait_for("Recovery phrase (not shown): ");
    kill_process(Pid::from_child(&person.child), Signal::INT).unwrap();
    assert_eq!(person.child.wait().unwrap().code(), Some(130));
    assert!(person.echoes());
}

#[test]
fn a_person_sees_both_forms_of_the_phrase_and_no_colours_if_unwanted() {
    let mut person = Person::at(&Fake::new(), &["account", "phrase"], true);
    person.wait_for("one two");
    assert!(person.seen.contains(PHRASE));
    assert_eq!(person.child.wait().unwrap().code(), Some(0));

    let mut person = Person::at(&Fake::new(), &["account", "show"], false);
    person.wait_for("ready");
    assert!(!person.seen.contains('\u{1b}'), "{:?}", person.seen);
    assert_eq!(person.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_person_who_waits_sees_that_and_for_how_long() {
    let fake = Fake::new();
    fake.change(|w| w.outcome = None);
    let args = ["send", BOB, "hi", "--wait", "stored"];
    let mut person = Person::at(&fake, &args, false);
    person.wait_for("| Accepted; waiting until the recipient's swarm has it … 0 s\r/ Accepted");
    let mut message = fake.change(|w| w.messages[0].clone());
    message.set_send_state(SendState::Sent);
    fake.log(EventKind::MessageChanged, &message);
    person.wait_for(" \r✓ stored");
    assert_eq!(person.child.wait().unwrap().code(), Some(0));
    assert!(!person.seen.contains('\u{1b}'), "{:?}", person.seen);
}

/// Whoever clears the swarm knows what else is lost by it.
#[test]
fn a_newer_device_is_named_before_the_swarm_is_cleared() {
    let fake = Fake::new();
    fake.change(|w| {
        w.account.as_mut().unwrap().warnings = vec![AccountWarning {
            kind: AccountWarningKind::V2KeysPublished.into(),
            first_seen_time: time(1_700_000_000),
            last_seen_time: time(1_700_000_000),
            unreadable_count: 3,
        }];
    });
    let args = ["account", "delete", ME, "--network"];
    let mut person = Person::at(&fake, &args, false);
    person.wait_for("newer device: what it keeps in the swarm was last seen on 2023-11-14");
    person.wait_for("[y/N]");
    writeln!(person.keyboard, "n").unwrap();
    assert_eq!(person.child.wait().unwrap().code(), Some(2));
    assert!(fake.change(|w| w.account.is_some()));
}
