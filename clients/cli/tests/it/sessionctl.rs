//! Every command, for people and for scripts.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    os::unix::net::UnixListener,
    process::Child,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sessiond_client::v1::{Conversation, OneToOne, SendState, conversation::Target};

use crate::{
    fake::{BOB, ME, PHRASE},
    stage::{Stage, until},
};

#[test]
fn status_for_people_and_for_scripts() {
    let stage = Stage::new();
    let text = stage.run(&["status"]).ok();
    assert!(
        text.starts_with("Agent         ready\nVersion       0.1.0, process 4711\n"),
        "{text}"
    );
    assert!(
        text.contains("Started       2023-11-14 22:13:20\n"),
        "{text}"
    );
    assert!(
        text.contains("Account       05aaaa…aaaa (Alice)\n"),
        "{text}"
    );
    assert!(text.contains("Clock offset  -3.0 ms\n"), "{text}");
    assert!(!text.contains('\u{1b}'));
    assert!(stage.run(&["--full", "status"]).ok().contains(ME));

    let [all] = &stage.run(&["status", "--json"]).json_lines()[..] else {
        panic!()
    };
    assert_eq!(all["info"]["state"], "DAEMON_STATE_READY");
    assert_eq!(all["info"]["startTime"], "2023-11-14T22:13:20Z");
    assert_eq!(all["network"]["clockOffset"], "-0.003s");
    assert_eq!(all["account"]["accountId"], ME);
}

#[test]
fn exit_codes_and_errors() {
    let mut stage = Stage::new();
    // 1: refused.
    let refused = stage.run(&["sync"]);
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
    assert!(
        refused
            .err
            .starts_with("sessionctl: no path works [NO_PATH]\n"),
        "{refused:?}"
    );
    let refused = stage.run(&["--json", "sync"]);
    let error = refused.json_error();
    assert_eq!(refused.code, Some(1));
    assert_eq!(error["code"], "UNAVAILABLE");
    assert_eq!(error["reason"], "NO_PATH");
    assert_eq!(error["message"], "no path works");

    // 2: wrong usage, before anything is asked of the agent.
    for args in [
        &["send", "05ab", "hi"][..],
        &["messages", BOB, "--limit", "0"],
        &["frobnicate"],
        &["events", "--as", "a b"],
        &["send", BOB, "hi", "--wait", "read"],
        &["account", "phrase"],
        &[],
    ] {
        assert_eq!(stage.run(args).code, Some(2), "{args:?}");
    }
    let wrong = stage.run(&["--json", "send", "05ab", "hi"]);
    assert_eq!(wrong.code, Some(2));
    assert_eq!(wrong.json_error()["reason"], "USAGE");

    // 4: locked, while the status can be seen.
    stage.fake.change(|w| w.locked = true);
    let locked = stage.run(&["--json", "send", BOB, "hi"]);
    assert_eq!(
        (locked.code, &locked.json_error()["reason"]),
        (Some(4), &"LOCKED".into())
    );
    assert!(
        stage
            .run(&["status"])
            .ok()
            .starts_with("Agent         locked (PASSPHRASE_NEEDED)\n")
    );

    // 3: nobody listens, no socket.
    stage.serving = None;
    std::fs::remove_file(stage.path()).unwrap();
    let absent = stage.run(&["status"]);
    assert_eq!(absent.code, Some(3));
    assert!(absent.err.contains("no agent runs") && absent.err.contains("`sessiond run`"));
    drop(UnixListener::bind(stage.path()).unwrap());
    let stale = stage.run(&["status", "--json"]);
    assert_eq!(
        (stale.code, &stale.json_error()["reason"]),
        (Some(3), &"NOT_LISTENING".into())
    );
    // --socket beats the environment.
    let elsewhere = stage.run(&["--socket", "/nonexistent/s", "--json", "status"]);
    assert_eq!(elsewhere.json_error()["reason"], "NO_SOCKET");
    assert!(
        stage
            .run(&["version"])
            .ok()
            .contains("sessiond   not running\n")
    );
}

#[test]
fn help_needs_no_agent_and_tells_the_exit_codes() {
    let stage = Stage::without_agent();
    let help = stage.run(&["--help"]).ok();
    assert!(help.contains("3  no agent to talk to"), "{help}");
    assert!(stage.run(&["--version"]).ok().starts_with("sessionctl 0."));
    assert!(
        stage
            .run(&["completions", "bash"])
            .ok()
            .contains("_sessionctl()")
    );
}

#[test]
fn an_account_is_made_and_brought_back() {
    let stage = Stage::new();
    let again = stage.run(&["--json", "account", "create"]);
    assert_eq!(
        (again.code, &again.json_error()["reason"]),
        (Some(1), &"ACCOUNT_EXISTS".into())
    );

    stage.fake.change(|w| w.account = None);
    let none = stage.run(&["account", "show"]);
    assert_eq!(none.code, Some(1));
    assert!(none.err.contains("`sessionctl account create`"), "{none:?}");
    let wrong = stage.run_with_input(&["account", "restore"], b"alpha bravo");
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong.err.contains("PHRASE_TOO_SHORT") && !wrong.err.contains("bravo"),
        "{wrong:?}"
    );
    assert_eq!(
        stage.run_with_input(&["account", "restore"], b" \n").code,
        Some(2)
    );

    let phrase = format!("  {PHRASE}\n");
    let args = ["account", "restore", "--name", "Alice"];
    let text = stage.run_with_input(&args, phrase.as_bytes()).ok();
    assert!(
        text.starts_with(&format!("Account ID  {ME}\nName        Alice\n")),
        "{text}"
    );
    let account = &stage.run(&["account", "show", "--json"]).json_lines()[0];
    assert_eq!(account["accountId"], ME);

    // Not on a terminal: only with --yes, and then what `restore` reads.
    assert_eq!(
        stage.run(&["account", "phrase", "--yes"]).ok(),
        format!("{PHRASE}\n")
    );
}

#[test]
fn sending_and_waiting() {
    let stage = Stage::new();
    assert_eq!(stage.run(&["send", BOB, "hi"]).ok(), "m1\n");
    let padded = format!(" {} ", BOB.to_uppercase());
    assert_eq!(
        stage.run(&["send", &padded, "hi", "--wait", "stored"]).ok(),
        "m2\n"
    );
    let message = &stage
        .run(&["--json", "send", BOB, "hi", "--wait", "stored"])
        .json_lines()[0];
    assert_eq!(message["sendState"], "SEND_STATE_SENT");

    let piped = stage.run_with_input(&["--json", "send", BOB, "-"], "zwei\nZeilen ✓\n".as_bytes());
    assert_eq!(piped.json_lines()[0]["text"]["body"], "zwei\nZeilen ✓");
    assert_eq!(
        stage.run_with_input(&["send", BOB, "-"], b"\xff").code,
        Some(2)
    );

    stage.fake.change(|w| w.outcome = Some(SendState::Failed));
    let failed = stage.run(&["--json", "send", BOB, "hi", "--wait", "stored"]);
    assert_eq!(
        (failed.code, &failed.json_error()["reason"]),
        (Some(1), &"STORE_REFUSED".into())
    );
    assert!(failed.out.contains("SEND_STATE_FAILED"), "{failed:?}");

    stage.fake.change(|w| w.outcome = None);
    let waits = [
        "send",
        BOB,
        "hi",
        "--wait",
        "stored",
        "--timeout",
        "100ms",
        "--json",
    ];
    let slow = stage.run(&waits);
    assert_eq!(
        (slow.code, &slow.json_error()["reason"]),
        (Some(1), &"STILL_SENDING".into())
    );
    assert!(slow.out.contains("SEND_STATE_SENDING"), "{slow:?}");
}

#[test]
fn conversations_and_messages() {
    let stage = Stage::new();
    stage.fake.receive("m1", "first\u{1b}]0;title\u{7}");
    stage.fake.receive("m2", "second\nline");
    let log = "── Tue 14 Nov 2023 ──\n\
               22:13:20  05bbbb…bbbb  first\\x1b]0;title\\x07\n\
               22:13:20  05bbbb…bbbb  second\n                       line\n";
    assert_eq!(stage.run(&["messages", BOB]).ok(), log);

    let newest = stage
        .run(&["messages", BOB, "--limit", "1", "--json"])
        .json_lines();
    assert_eq!((newest.len(), &newest[0]["id"]), (1, &"m2".into()));
    let older = stage
        .run(&["messages", BOB, "--before", "m2", "--json"])
        .json_lines();
    assert_eq!((older.len(), &older[0]["id"]), (1, &"m1".into()));
    assert_eq!(
        stage.run(&["messages", BOB, "--before", "m9"]).code,
        Some(1)
    );

    assert!(stage.run(&["message", "m2"]).ok().contains("second\n"));
    assert_eq!(
        stage.run(&["--json", "message", "m1"]).json_lines()[0]["id"],
        "m1"
    );
    let missing = stage.run(&["message", "m9"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.err.contains("--full messages"), "{missing:?}");
    let one = stage.run(&["conversation", BOB]).ok();
    assert!(
        one.starts_with(
            "With            05bbbb…bbbb\nName            Bob\\x1b[31m\nAccepted        on neither side\n"
        ),
        "{one}"
    );
    assert_eq!(
        stage.run(&["conversation", BOB, "--json"]).json_lines()[0]["unreadCount"],
        2
    );

    let text = stage.run(&["conversations"]).ok();
    assert!(
        text.starts_with("LAST ACTIVITY        UNREAD  STATE  WITH         NAME"),
        "{text}"
    );
    assert!(
        text.contains("2              05bbbb…bbbb  Bob\\x1b[31m  second line\n"),
        "{text}"
    );
    let all = stage.run(&["conversations", "--json"]).json_lines();
    assert_eq!(all[0]["oneToOne"]["accountId"], BOB);
}

/// Names in the list, in its order, in both forms of the output, which must agree.
fn listed(stage: &Stage, args: &[&str]) -> Vec<String> {
    let lines = stage.run(&[&["conversations", "--json"], args].concat());
    let lines = lines.json_lines();
    let name = |line: &Value| line["displayName"].as_str().unwrap().to_owned();
    let names: Vec<String> = lines.iter().map(name).collect();
    let shown = stage.run(&[&["conversations"], args].concat()).ok();
    let places: Vec<usize> = names.iter().map(|name| shown.find(name).unwrap()).collect();
    assert!(places.is_sorted(), "{shown}");
    assert_eq!(
        shown.lines().count(),
        names.len() + usize::from(!names.is_empty())
    );
    names
}

#[test]
fn conversations_are_picked_and_marked() {
    let stage = Stage::new();
    let with = |byte: &str, name: &str| Conversation {
        id: name.into(),
        display_name: name.into(),
        target: Some(Target::OneToOne(OneToOne {
            account_id: format!("05{}", byte.repeat(32)),
        })),
        ..Conversation::default()
    };
    stage.fake.change(|w| {
        w.bob.pin_priority = 1;
        w.others = vec![
            Conversation {
                request: true,
                unread_count: 1,
                ..with("c0", "Carol")
            },
            Conversation {
                pin_priority: 5,
                marked_unread: true,
                ..with("d0", "Dave")
            },
            Conversation {
                hidden: true,
                ..with("e0", "Erin")
            },
            Conversation {
                blocked: true,
                hidden: true,
                ..with("f0", "Frank")
            },
            with("a1", "Grace"),
        ];
    });
    let bob = "Bob\u{1b}[31m".to_owned();
    let shown = stage.run(&["conversations"]).ok();
    // Pinned ones by their number, the others as the agent orders them, hidden ones not at all.
    let order = ["Dave", "Bob", "Carol", "Grace"].map(|name| shown.find(name).unwrap());
    assert!(order.is_sorted(), "{shown}");
    assert!(!shown.contains("Erin") && !shown.contains("Frank"));
    assert!(shown.contains("pinned") && shown.contains("request") && shown.contains("marked"));
    stage.fake.change(|w| w.bob.hidden = true);
    for (args, expected) in [
        (&[][..], &["Dave", "Carol", "Grace"][..]),
        (&["--unread"], &["Dave", "Carol"]),
        (&["--requests"], &["Carol"]),
        (&["--requests", "--unread"], &["Carol"]),
        (&["--pinned", "--requests"], &[]),
        (&["--blocked"], &["Frank"]),
    ] {
        assert_eq!(listed(&stage, args), expected, "{args:?}");
    }
    let names = |args: &[&str]| -> Vec<String> {
        let lines = stage.run(&[&["conversations", "--json"], args].concat());
        let lines = lines.json_lines();
        let name = |line: &Value| line["displayName"].as_str().unwrap().to_owned();
        lines.iter().map(name).collect()
    };
    assert_eq!(names(&["--hidden"]), [&*bob, "Erin", "Frank"]);
    assert_eq!(names(&["--all"]).len(), 6);
    assert_eq!(
        stage.run(&["conversations", "--all", "--hidden"]).code,
        Some(2)
    );
}

#[test]
fn paths_hop_by_hop() {
    let stage = Stage::new();
    let text = stage.run(&["paths"]).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 8, "{text}");
    assert!(
        lines[1].starts_with("1     guard  127.0.1.1:22001  000000…0001  12.3 ms"),
        "{text}"
    );
    assert!(
        lines[3].starts_with("      hop 3  127.0.3.1:22003"),
        "{text}"
    );
    assert!(lines[1].ends_with("agent      good"), "{text}");
    assert_eq!(lines[5], "Lately dropped");
    let why: Vec<&str> = lines[7].split_whitespace().skip(1).collect();
    assert_eq!(
        why,
        ["TIMEOUT", "hop", "2", "000000…0005", "-", "-", "c1a0"]
    );
    let all = stage.run(&["paths", "--json"]).json_lines();
    assert_eq!(all[0]["hops"][0]["port"], 22_001);
    assert_eq!(all[0]["drop"], serde_json::Value::Null);
    assert_eq!(all[1]["drop"]["blamedHop"], 1);
}

#[test]
fn events_are_replayed_and_remembered_by_name() {
    let stage = Stage::new();
    stage.fake.receive("m1", "one");
    stage.fake.receive("m2", "two");
    let ids = |args: &[&str]| -> Vec<String> {
        let lines = stage.run(args).json_lines();
        lines
            .iter()
            .map(|event| event["messageId"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&["events", "--json"]), ["m1", "m2"]);
    assert_eq!(ids(&["events", "--json", "--after", "log1:1"]), ["m2"]);
    let gone = stage.run(&["events", "--json", "--after", "log0:1"]);
    assert_eq!(
        (gone.code, &gone.json_error()["reason"]),
        (Some(1), &"LOG_REPLACED".into())
    );

    // A new name starts at the end and is remembered.
    assert!(ids(&["events", "--json", "--as", "robot"]).is_empty());
    stage.fake.receive("m3", "three");
    stage.fake.receive("m4", "four");
    assert_eq!(ids(&["events", "--json", "--as", "robot"]), ["m3", "m4"]);
    assert!(ids(&["events", "--json", "--as", "robot"]).is_empty());
    assert_eq!(
        stage.fake.change(|w| w.acknowledged["robot"].clone()),
        "log1:4"
    );
    let text = stage.run(&["events", "--after", "log1:3"]).ok();
    assert_eq!(
        text,
        "2023-11-14 22:13:20  message added         m4  05bbbb…bbbb  four\n"
    );
}

#[test]
fn following_outlives_a_restart_and_ends_well_by_ctrl_c() {
    let mut stage = Stage::new();
    let mut child = Following::new(
        stage
            .command(&["events", "--follow", "--json", "--as", "robot"])
            .spawn()
            .unwrap(),
    );
    // The name is acknowledged where it starts: from here on nothing is missed.
    until(|| stage.fake.change(|w| w.acknowledged.contains_key("robot")));
    stage.fake.receive("m1", "before");
    assert_eq!(child.next()["messageId"], "m1");
    stage.serving = None;
    stage.fake.receive("m2", "meanwhile");
    stage.serve();
    assert_eq!(child.next()["messageId"], "m2");
    until(|| stage.fake.change(|w| w.acknowledged["robot"] == "log1:2"));

    kill_process(Pid::from_child(&child.child), Signal::INT).unwrap();
    assert_eq!(child.child.wait().unwrap().code(), Some(0));
    let mut err = String::new();
    child
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!(err, "");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let stage = Stage::new();
    // More than a pipe holds.
    for n in 0..2000 {
        stage.fake.receive(&format!("m{n}"), &"x".repeat(200));
    }
    let mut child = Following::new(stage.command(&["events", "--json"]).spawn().unwrap());
    child.next();
    let Following { mut child, lines } = child;
    drop(lines);
    let mut err = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

#[test]
fn the_agent_is_ended() {
    let stage = Stage::new();
    assert_eq!(stage.run(&["shutdown"]).ok(), "The agent ends.\n");
    assert!(stage.fake.change(|w| w.shut_down));
}

struct Following {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Following {
    fn new(mut child: Child) -> Self {
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}
