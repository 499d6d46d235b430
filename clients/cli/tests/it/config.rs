//! The configuration file, and what beats it.

use std::fs;

use crate::{fake::ME, stage::Stage};

#[test]
fn values_are_set_shown_with_their_origin_and_taken_out() {
    let stage = Stage::new();
    let run = |args: &[&str]| stage.run(args);
    let path = run(&["config", "path"]).ok();
    assert_eq!(path, format!("{}\n", stage.config().display()));

    run(&["config", "set", "vault", "passphrase"]).ok();
    run(&["config", "set", "state-dir", "/var/s"]).ok();
    let text = fs::read_to_string(stage.config()).unwrap();
    assert_eq!(text, "vault = \"passphrase\"\nstate_dir = \"/var/s\"\n");
    let rows = run(&["config", "--json"]).json_lines();
    let said = |key: &str| {
        let row = rows.iter().find(|row| row["key"] == key).unwrap();
        format!(
            "{} {}",
            row["value"].as_str().unwrap(),
            row["origin"].as_str().unwrap()
        )
    };
    assert_eq!(said("vault"), "passphrase file");
    assert_eq!(said("network"), "main default");
    assert_eq!(
        said("socket"),
        format!("{} SESSIOND_SOCKET", stage.path().display())
    );
    let flag = run(&["--socket", "/other", "config", "show"]).ok();
    assert!(flag.contains("/other") && flag.contains("flag"), "{flag}");

    run(&["config", "unset", "vault"]).ok();
    assert_eq!(
        fs::read_to_string(stage.config()).unwrap(),
        "state_dir = \"/var/s\"\n"
    );
    assert!(run(&["config", "keys"]).ok().contains("SESSIOND_STATE_DIR"));

    for wrong in [
        &["config", "set", "vault", "paper"][..],
        &["config", "set", "colour", "red"],
    ] {
        assert_eq!(run(wrong).code, Some(2), "{wrong:?}");
    }
    assert_eq!(
        fs::read_to_string(stage.config()).unwrap(),
        "state_dir = \"/var/s\"\n"
    );
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let stage = Stage::new();
    fs::write(
        stage.config(),
        format!("socket = {:?}\nfull = true\n", stage.path()),
    )
    .unwrap();
    let show = |variable: Option<&str>, args: &[&str]| {
        let mut command = stage.command(args);
        command.env_remove("SESSIOND_SOCKET");
        if let Some(value) = variable {
            command.env("SESSIOND_SOCKET", value);
        }
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, text) = show(None, &["status"]);
    assert_eq!(code, Some(0));
    assert!(text.contains(ME), "whole IDs: {text}");
    assert_eq!(show(Some("/nowhere"), &["status"]).0, Some(3));
    let socket = stage.path();
    let flag = ["--socket", socket.to_str().unwrap(), "status"];
    assert_eq!(show(Some("/nowhere"), &flag).0, Some(0));
}

#[test]
fn a_file_that_is_not_right_is_named() {
    let stage = Stage::new();
    fs::write(stage.config(), "sockte = '/s'\n").unwrap();
    for command in [&["config", "check"][..], &["status"], &["config"]] {
        let outcome = stage.run(command);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(
            outcome.err.contains("sockte") && outcome.err.contains("sessionctl config keys"),
            "{outcome:?}"
        );
    }
    // What needs no file works all the same.
    stage.run(&["config", "path"]).ok();
    stage.run(&["completions", "bash"]).ok();
}

#[test]
fn man_pages() {
    let stage = Stage::without_agent();
    assert!(stage.run(&["man"]).ok().contains(".TH sessionctl 1"));
    let dir = stage.dir.path().join("man1");
    stage.run(&["man", "--dir", dir.to_str().unwrap()]).ok();
    for page in [
        "sessionctl.1",
        "sessionctl-account-create.1",
        "sessionctl-config-set.1",
    ] {
        assert!(dir.join(page).exists(), "{page}");
    }
}
