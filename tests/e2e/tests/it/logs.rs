//! The log of a real agent: where it goes, how a reload changes it, and that it names nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::harness::{Agent, Localnet, until};

/// Waits until the log says something.
async fn until_said(log: &Path, what: &str) {
    until(what, async || {
        let log = fs::read_to_string(log).unwrap_or_default();
        log.contains(what).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_reload_takes_what_can_change_and_names_the_rest() {
    let net = Localnet::start().await;
    let (config, log) = (net.room.path().join("c.toml"), net.room.path().join("l"));
    let write = |text: &str| {
        let file = format!("log_file = \"{}\"\n{text}", log.display());
        fs::write(&config, file).unwrap();
    };
    write("log_level = \"warn\"\n");
    let mut a = Agent::new(&net.room, "a", &net.file);
    a.configured_by(&config);
    a.up().await;
    let mode = fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    write("log_level = \"info\"\nproxy = \"socks5h://192.0.2.1:9050\"\n");
    a.reload();
    until_said(&log, "logged from now on").await;
    until_said(&log, "counts after a restart key=proxy").await;

    // What stands there now is not right, and changes nothing.
    write("log_level = \"loud\"\n");
    a.reload();
    until_said(&log, "see `sessionctl config check`").await;

    write("log_level = \"info\"\n");
    a.reload();
    until_said(&log, "the configuration file says what it said").await;

    // Moved away, it is made anew.
    fs::rename(&log, net.room.path().join("moved")).unwrap();
    write("log_level = \"debug\"\n");
    a.reload();
    until_said(&log, "session_network=debug").await;
    a.stop().await;

    let before = fs::read_to_string(net.room.path().join("moved")).unwrap();
    let now = fs::read_to_string(&log).unwrap();
    // At warn the start said nothing, at debug the end does.
    assert!(!before.contains("ready"), "{before}");
    assert!(now.contains(" INFO sessiond::cli: stopping"), "{now}");
    for text in [&before, &now] {
        assert!(
            !text.contains("192.0.2.1") && !text.contains("loud"),
            "{text}"
        );
    }
    assert_eq!(fs::read_to_string(a.log()).unwrap(), "");
}
