//! `doctor` finds what is wrong, says what to do, and ends with the code of the first failure.

use std::{
    collections::HashMap, fs, os::unix::fs::PermissionsExt as _, os::unix::net::UnixListener,
};

use sessiond_client::v1::{DatabaseCheck, StorageStatus};

use crate::stage::Stage;

/// The exit code, and what each check found.
fn doctor(stage: &Stage) -> (Option<i32>, HashMap<String, String>) {
    let outcome = stage.run(&["--json", "doctor"]);
    let findings = outcome.out.lines().map(|line| {
        let finding: serde_json::Value = serde_json::from_str(line).unwrap();
        let state = finding["state"].as_str().unwrap();
        let advice = finding["advice"].as_str().unwrap();
        assert_eq!(
            matches!(state, "OK" | "SKIPPED"),
            advice.is_empty(),
            "says what to do exactly when something is wrong: {finding}"
        );
        (
            finding["check"].as_str().unwrap().to_owned(),
            state.to_owned(),
        )
    });
    (outcome.code, findings.collect())
}

#[test]
fn every_check_is_made_and_a_healthy_agent_passes() {
    let stage = Stage::new();
    fs::set_permissions(stage.path(), fs::Permissions::from_mode(0o600)).unwrap();
    // The fake polled in 2023: that is for the check to find.
    let (code, found) = doctor(&stage);
    assert_eq!(code, Some(1));
    assert_eq!(found.len(), 14, "{found:?}");
    for (check, state) in &found {
        let wanted = if check == "last poll" { "FAILED" } else { "OK" };
        assert_eq!(state, wanted, "{check}: {found:?}");
    }
    let text = stage.run(&["doctor"]).out;
    assert!(text.contains("✓ version        sessionctl 0."), "{text}");
    assert!(
        text.contains("✗ last poll") && text.contains("→ see whether"),
        "{text}"
    );
}

#[test]
fn each_trouble_is_found_where_it_is() {
    let mut stage = Stage::new();
    fs::set_permissions(stage.path(), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(doctor(&stage).1["permissions"], "WARNING");

    stage.fake.change(|w| w.locked = true);
    let (code, found) = doctor(&stage);
    assert_eq!((code, found["account"].as_str()), (Some(4), "FAILED"));
    assert_eq!(found["last poll"], "SKIPPED");
    stage.fake.change(|w| (w.locked, w.account) = (false, None));
    assert_eq!(doctor(&stage).1["account"], "WARNING");

    let storage = |problem: &str, check: DatabaseCheck| StorageStatus {
        problem: problem.into(),
        check: check.into(),
        ..StorageStatus::default()
    };
    for (status, wanted) in [
        (storage("DISK_FULL", DatabaseCheck::Sound), "FAILED"),
        (storage("STORAGE_READ_ONLY", DatabaseCheck::Sound), "FAILED"),
        (storage("", DatabaseCheck::Damaged), "FAILED"),
        (storage("", DatabaseCheck::Running), "OK"),
    ] {
        stage.fake.change(|w| w.storage = Some(status.clone()));
        assert_eq!(doctor(&stage).1["storage"], wanted, "{status:?}");
    }
    stage.fake.change(|w| w.storage = None);
    assert_eq!(doctor(&stage).1["storage"], "SKIPPED");

    stage.fake.change(|w| w.version = "0.9.0".into());
    assert_eq!(doctor(&stage).1["version"], "WARNING");
    let version = stage.run(&["version"]).ok();
    assert!(version.contains("upgrade sessionctl"), "{version}");
    assert!(stage.run(&["status"]).ok().contains("upgrade sessionctl"));

    // Nobody listens, then nothing is there.
    stage.serving = None;
    fs::remove_file(stage.path()).unwrap();
    drop(UnixListener::bind(stage.path()).unwrap());
    let (code, found) = doctor(&stage);
    assert_eq!((code, found["agent"].as_str()), (Some(3), "FAILED"));
    assert_eq!(
        (found["socket"].as_str(), found["network"].as_str()),
        ("OK", "SKIPPED")
    );
    fs::remove_file(stage.path()).unwrap();
    let (code, found) = doctor(&stage);
    assert_eq!((code, found["socket"].as_str()), (Some(3), "FAILED"));
    assert_eq!(found["disk"], "OK");

    fs::write(stage.config(), "socket = 1").unwrap();
    let (code, found) = doctor(&stage);
    assert_eq!((code, found["configuration"].as_str()), (Some(2), "FAILED"));
}
