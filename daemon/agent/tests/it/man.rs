//! Man pages, as the program makes them.

use std::process::{Command, Output};

use sessiond_config::{KEYS, User};

fn sessiond(config: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessiond"));
    command.args(args).env("SESSIOND_CONFIG", config);
    command.output().unwrap()
}

#[test]
fn there_is_one_for_the_program_and_for_each_command() {
    let page = sessiond("", &["man"]);
    assert!(page.status.success());
    let page = String::from_utf8(page.stdout).unwrap();
    for part in [".TH sessiond 1", "sessiond\\-run(1)", "SIGHUP"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("man1");
    let made_at = made.to_str().unwrap();
    assert!(sessiond("", &["man", "--dir", made_at]).status.success());
    for page in ["sessiond.1", "sessiond-service-install.1", "sessiond-man.1"] {
        assert!(made.join(page).exists(), "{page}");
    }
    let run = std::fs::read_to_string(made.join("sessiond-run.1")).unwrap();
    for key in KEYS.iter().filter(|key| key.user != User::Ctl) {
        let option = format!("\\-\\-{}", key.name.replace('_', "\\-"));
        assert!(run.contains(&option), "{option}");
        assert!(run.contains(key.variable), "{}", key.variable);
    }
    // A directory that cannot be made is said.
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = sessiond("", &["man", "--dir", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

#[test]
fn a_wrong_configuration_file_stops_what_reads_it_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "vault = 'paper'\n").unwrap();
    let config = config.to_str().unwrap();
    assert!(sessiond(config, &["man"]).status.success());
    for args in [&["run"][..], &["service", "install", "--dry-run"]] {
        let refused = sessiond(config, args);
        assert!(!refused.status.success(), "{args:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("vault"), "{said}");
    }
}
