//! The log of a real agent: where it goes, how a reload changes it, and that it names nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use prost::Message as _;
use session_localnet::{ControlClient, Faults};
use sessiond_client::v1;

use crate::at_rest::{account_ids, add_bytes, keys_of};
use crate::harness::{Agent, Localnet, PASSPHRASE, ctl, run, until};
use crate::notifications::{Bus, Server};

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

    // What stands there now is not right, and changes nothing. A log that was moved away is made anew all the same.
    let rotated = net.room.path().join("rotated");
    fs::rename(&log, &rotated).unwrap();
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
    for text in [&fs::read_to_string(rotated).unwrap(), &before, &now] {
        assert!(
            !text.contains("192.0.2.1") && !text.contains("loud"),
            "{text}"
        );
    }
    assert_eq!(fs::read_to_string(a.log()).unwrap(), "");
}

/// Texts and names of this test; none may be in any log.
const HEARD: &str = "the heron stands by the third weir";
const TOLD: &str = "pack the copper lantern and the map";
const NAMES: [&str; 4] = [
    "Zephyrine Quill",
    "Barnaby Oakes",
    "Wombat Nick",
    "Quillon Vane",
];
const WRONG: &str = "not the passphrase of anybody";

/// A command line for sessiond's own, and what it reads.
type Line<'a> = (&'a [&'a str], &'a str);

/// What a log says at levels that everybody has on.
fn usual(log: &str) -> String {
    let is_usual = |line: &&str| {
        let level = line.split_whitespace().nth(1);
        matches!(level, Some("ERROR" | "WARN" | "INFO"))
    };
    log.lines().filter(is_usual).collect::<Vec<_>>().join("\n")
}

/// Everything that can be asked of an agent, rightly and wrongly, while nodes fail and notifications are shown, all of it
/// logged: no secret and no text is there at any level, and at info and above nobody is named.
#[tokio::test(flavor = "multi_thread")]
async fn logs_tell_no_secret_at_any_level_and_name_nobody_at_info() {
    let net = Localnet::start().await;
    let control = ControlClient::open(&net.room.path().join("net")).unwrap();
    let bus = Bus::start();
    let mut agents = ["a", "b"].map(|name| Agent::new(&net.room, name, &net.file));
    for agent in &mut agents {
        agent.log_with("trace");
        if let Some(bus) = &bus {
            agent.on_bus(&bus.address);
        }
        agent.up().await;
    }
    let [mut a, mut b] = agents;
    let server = match &bus {
        Some(bus) => Some(Server::start(bus, &["body", "actions"], false).await),
        None => None,
    };
    let (a_id, b_id) = (a.create(NAMES[0]).await, b.create(NAMES[1]).await);
    let (mut secrets, b_secrets) = (keys_of(&a).await, keys_of(&b).await);
    secrets.extend(b_secrets);
    let mut named = account_ids(&[&a_id, &b_id]);
    let paths = a
        .client()
        .list_paths(v1::ListPathsRequest {})
        .await
        .unwrap();
    for hop in paths.paths.iter().flat_map(|path| &path.hops) {
        named.push(("a node's key", hop.node_key.clone().into_bytes()));
        named.push(("a node's address", hop.ip_address.clone().into_bytes()));
    }
    assert!(named.len() > 8);

    let sent = a.send_stored(&b_id, TOLD).await.id;
    b.until_messages(&a_id, 1).await;
    a.send_stored(&b_id, HEARD).await;
    b.send_stored(&a_id, HEARD).await;
    a.until_messages(&b_id, 3).await;
    if let Some(server) = &server {
        server.until_calls(1).await;
    }

    let nobody = format!("05{}", "7".repeat(64));
    let everything: &[Line<'_>] = &[
        (&["status"], ""),
        (&["doctor"], ""),
        (&["paths"], ""),
        (&["sync"], ""),
        (&["metrics"], ""),
        (&["account", "show"], ""),
        (&["account", "create", "--name", NAMES[3]], ""),
        (&["account", "phrase", "--yes"], ""),
        (&["account", "rename", NAMES[3]], ""),
        (&["account", "restore"], "abbey abbey abbey"),
        (&["vault", "status"], ""),
        (&["vault", "move", "keyring"], ""),
        (&["send", &b_id, TOLD], ""),
        (&["send", &nobody, HEARD], ""),
        (&["send", "nonsense", HEARD], ""),
        (&["messages", &b_id], ""),
        (&["messages", &nobody], ""),
        (&["message", &sent], ""),
        (&["message", TOLD], ""),
        (&["search", "copper lantern"], ""),
        (&["explain", &sent], ""),
        (&["conversations"], ""),
        (&["conversation", &b_id], ""),
        (&["read", &b_id], ""),
        (&["unread", &b_id], ""),
        (&["accept", &b_id], ""),
        (&["set", &b_id, "--nickname", NAMES[2], "--mute", "8h"], ""),
        (&["expire", &b_id, "5m-after-read"], ""),
        (&["typing", &b_id], ""),
        (&["react", &sent, "👍"], ""),
        (&["retry", &sent], ""),
        (&["cancel", &sent], ""),
        (&["saved", &sent], ""),
        (&["call", &b_id, "pre-offer"], ""),
        (&["focus", "hold", &b_id], ""),
        (&["focus", "release", &b_id, "l1"], ""),
        (&["settings", "show"], ""),
        (
            &["settings", "set", "notification-privacy=name-and-text"],
            "",
        ),
        (&["events"], ""),
        (&["events", "--as", "robot"], ""),
        (&["delete", &sent, "--from", "everyone"], ""),
        (&["decline", &nobody], ""),
        (&["block", &b_id], ""),
        (&["unblock", &b_id], ""),
        (&["unlock", "--passphrase"], WRONG),
    ];
    for (line, input) in everything {
        // Whether it is done or refused: what is logged counts.
        run(ctl(&a.socket(), line), input.as_bytes()).await;
    }
    // Nodes that lose, refuse and talk nonsense.
    for faults in [Faults::loss(0.3), Faults::refuse(), Faults::garbage()] {
        control.set("all", faults).await.unwrap();
        run(ctl(&a.socket(), &["sync"]), b"").await;
        run(ctl(&b.socket(), &["send", &a_id, HEARD]), b"").await;
    }
    control.set("all", Faults::default()).await.unwrap();
    a.sync().await;
    run(ctl(&a.socket(), &["clear", &b_id, "--yes"]), b"").await;
    let mut made = counted(&a).await;
    run(ctl(&a.socket(), &["lock"]), b"").await;
    run(
        ctl(&a.socket(), &["unlock", "--passphrase"]),
        WRONG.as_bytes(),
    )
    .await;
    run(
        ctl(&a.socket(), &["unlock", "--passphrase"]),
        PASSPHRASE.as_bytes(),
    )
    .await;
    a.until_ready().await;
    made += &counted(&a).await;
    run(
        ctl(&b.socket(), &["account", "delete", &b_id, "--yes"]),
        b"",
    )
    .await;
    made += &counted(&b).await;
    run(ctl(&b.socket(), &["shutdown"]), b"").await;
    b.until_ended().await;
    a.stop().await;

    let logs = [&a, &b].map(|agent| fs::read_to_string(agent.log()).unwrap());
    let all = logs.concat();
    for level in [" TRACE ", " DEBUG "] {
        assert!(all.contains(level), "nothing at {level}");
    }
    for text in NAMES.iter().chain(&[HEARD, TOLD, WRONG, PASSPHRASE]) {
        add_bytes(&mut secrets, "a text", text.as_bytes());
    }
    for (what, secret) in &secrets {
        assert!(!holds(&all, secret), "a log holds {what}");
    }
    let usual = usual(&all);
    assert!(usual.contains("ready"), "{usual}");
    for (what, name) in &named {
        assert!(!holds(&usual, name), "{what} is named at info:\n{usual}");
    }
    // A busy machine may lose lines at trace, but no counts; those of a process end with it.
    let last = ["AccountService/Lock", "DaemonService/Shutdown"];
    for call in calls_of_the_schema() {
        let is_made = made.contains(&format!("method=\"{call}\""));
        let is_last = last.iter().any(|last| call.ends_with(last));
        assert!(is_made || is_last, "{call} was not made");
    }
}

/// The agent's counts of calls, among others.
async fn counted(agent: &Agent) -> String {
    let request = v1::GetMetricsRequest {};
    agent.client().get_metrics(request).await.unwrap().text
}

fn holds(log: &str, secret: &[u8]) -> bool {
    memchr::memmem::find(log.as_bytes(), secret).is_some()
}

/// Every call of the API, as `package.Service/Method`.
fn calls_of_the_schema() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(sessiond_proto::FILE_DESCRIPTOR_SET).unwrap();
    let ours = set
        .file
        .iter()
        .filter(|file| file.package() == "sessiond.v1");
    let services = ours.flat_map(|file| &file.service);
    services
        .flat_map(|service| {
            let methods = service.method.iter();
            methods.map(|method| format!("sessiond.v1.{}/{}", service.name(), method.name()))
        })
        .collect()
}
