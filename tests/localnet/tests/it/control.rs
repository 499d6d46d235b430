//! The control interface, from this process and from the command line.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};
use session_localnet::scenario::{self, Action, Plan};
use session_localnet::{ControlClient, ControlError, Faults, Order, Scenario};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::{Net, http};

#[tokio::test]
async fn orders_from_elsewhere_are_carried_out() {
    let mut net = Net::start().await;
    net.network.serve_control().await.unwrap();
    let client = ControlClient::open(net.dir.path()).unwrap();
    let key = hex::encode(net.node(2).ed25519);
    let ip = net.node(3).ip;
    let address = net.node(4).address();
    client.set(1, Faults::refuse()).await.unwrap();
    client.set(key, Faults::garbage()).await.unwrap();
    client.set(ip, Faults::clock_offset(-5)).await.unwrap();
    client.set(address, Faults::delay(1)).await.unwrap();
    let status = client.set("seed", Faults::loss(0.25)).await.unwrap();
    assert_eq!(status.seed, Faults::loss(0.25));
    let faults: Vec<Faults> = status.nodes[..6].iter().map(|node| node.faults).collect();
    let expected = [
        Faults::default(),
        Faults::refuse(),
        Faults::garbage(),
        Faults::clock_offset(-5),
        Faults::delay(1),
        Faults::default(),
    ];
    assert_eq!(faults, expected);
    assert_eq!(net.rpc(1, "info", json!({})).await.0, 503);
    let status = client.set("all", Faults::refuse()).await.unwrap();
    assert!(status.nodes.iter().all(|node| node.faults.refuse));
    assert!(!status.seed.refuse);
    let status = client.run(&Order::Reset).await.unwrap();
    assert_eq!(status.seed, Faults::default());
    assert_eq!(net.rpc(1, "info", json!({})).await.0, 200);

    let order = Order::Decommission { node: "0".into() };
    let status = client.run(&order).await.unwrap();
    assert_eq!(status.nodes[0].swarm_id, "f".repeat(16));
    let order = Order::Recommission { node: "0".into() };
    let status = client.run(&order).await.unwrap();
    assert_eq!(status.nodes[0].swarm_id, "0");
    let order = Order::Move {
        node: "0".into(),
        swarm: "abc".into(),
    };
    let status = client.run(&order).await.unwrap();
    assert_eq!(status.nodes[0].swarm_id, "abc");
    let order = Order::LoseStorage { node: "7".into() };
    client.run(&order).await.unwrap();
}

#[tokio::test]
async fn strangers_and_nonsense_are_refused() {
    let mut net = Net::start().await;
    let address = net.network.serve_control().await.unwrap();
    let file = net.dir.path().join("control.json");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let contact: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let ask = async |token: Option<&str>, body: &str| {
        let mut request = Request::post("/control");
        if let Some(token) = token {
            request = request.header("x-localnet-control", token);
        }
        let request = request.body(Full::new(body.to_owned().into())).unwrap();
        let (parts, _) = http(address, request).await;
        parts.status.as_u16()
    };
    let token = contact["token"].as_str().unwrap();
    let order = r#"{"op":"faults","node":"0","faults":{"down":true}}"#;
    assert_eq!(ask(None, order).await, 401);
    assert_eq!(ask(Some("x"), order).await, 401);
    assert_eq!(net.rpc(0, "info", json!({})).await.0, 200);
    for bad in [
        "",
        "{}",
        r#"{"op":"unheard_of"}"#,
        r#"{"op":"faults","node":"12"}"#,
        r#"{"op":"faults","node":"seed","faults":{"loss":2}}"#,
        r#"{"op":"faults","node":"0","faults":{"froze":true}}"#,
        r#"{"op":"move","node":"0","swarm":"x"}"#,
        r#"{"op":"decommission","node":"seed"}"#,
    ] {
        assert_eq!(ask(Some(token), bad).await, 400, "{bad}");
    }
    assert_eq!(ask(Some(token), order).await, 200);
    assert!(TcpStream::connect(net.node(0).address()).await.is_err());

    let client = ControlClient::open(net.dir.path()).unwrap();
    drop(net.network);
    let refused = client.run(&Order::Status).await;
    assert!(matches!(refused, Err(ControlError::Unreachable(_))));
    let empty = TempDir::new().unwrap();
    let missing = ControlClient::open(empty.path());
    assert!(matches!(missing, Err(ControlError::Contact { .. })));
}

#[tokio::test]
async fn a_scenario_is_played_and_leaves_everything_as_it_was() {
    let net = Net::start().await;
    let control = net.network.control();
    let before = control.status().unwrap();
    let plan = Plan::new(3, Duration::from_secs(60));
    let scenario = Scenario::random(&plan, &scenario::swarms(&before));
    let mut seen = Vec::new();
    // Each step as it is ordered, without the time between.
    for step in scenario.steps() {
        let status = control.run(&step.order()).await.unwrap();
        let node = &status.nodes[step.node];
        match step.action {
            Action::Faults(faults) => assert_eq!(node.faults, faults),
            Action::Swarm(id) => assert_eq!(node.swarm_id, format!("{id:x}")),
            Action::LoseStorage => {}
        }
        seen.push(node.faults);
    }
    assert!(seen.iter().any(|faults| *faults != Faults::default()));
    let mut after = control.status().unwrap();
    assert!(after.height > before.height);
    after.height = before.height;
    assert_eq!(after, before);
    let start = Instant::now();
    scenario.run(&control, 0.001).await.unwrap();
    let last = scenario.steps().last().unwrap();
    assert!(start.elapsed() >= last.at.mul_f64(0.001));
    after.height = control.status().unwrap().height;
    assert_eq!(control.status().unwrap(), after);
}

fn program(args: &[&str], state: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_session-localnet"))
        .args(args)
        .arg("--state-dir")
        .arg(state)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), text)
}

#[test]
fn the_program_sets_faults_of_a_running_one() {
    let dir = TempDir::new().unwrap();
    let state = dir.path();
    let mut network = Command::new(env!("CARGO_BIN_EXE_session-localnet"))
        .args(["run", "--nodes", "4", "--swarm-size", "4", "--state-dir"])
        .arg(state)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(network.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let port = ready["nodes"][1]["port"].as_u64().unwrap();
    let reached = || std::net::TcpStream::connect(format!("127.0.2.1:{port}")).is_ok();
    assert!(reached());
    let (ok, text) = program(&["fault", "1", "--down", "--clock", "-3600000"], state);
    assert!(ok);
    let status: Value = serde_json::from_str(&text).unwrap();
    let faults = &status["nodes"][1]["faults"];
    assert_eq!(faults["down"], json!(true));
    assert_eq!(faults["clock_offset_ms"], json!(-3_600_000));
    assert!(!reached());
    assert!(program(&["fault", "1"], state).0);
    assert!(reached());
    assert!(program(&["lose-storage", "127.0.2.1"], state).0);
    assert!(program(&["move", "1", "ff"], state).0);
    assert!(program(&["decommission", "0"], state).0);
    assert!(program(&["recommission", "0"], state).0);
    assert!(program(&["reset"], state).0);
    let (_, text) = program(&["status"], state);
    let status: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status["nodes"][1]["swarmId"], json!("ff"));
    let quick = ["scenario", "--seed", "1", "--time-scale", "0.001"];
    let (ok, schedule) = program(&quick, state);
    assert!(
        ok && schedule.starts_with("faults of seed 1\n"),
        "{schedule}"
    );
    let (_, text) = program(&["status"], state);
    let status: Value = serde_json::from_str(&text).unwrap();
    for node in status["nodes"].as_array().unwrap() {
        assert_eq!(node["faults"]["down"], json!(false));
    }
    assert!(!program(&["fault", "9", "--down"], state).0);
    assert!(!program(&["fault", "0", "--loss", "3"], state).0);
    network.kill().unwrap();
    network.wait().unwrap();
    assert!(!program(&["status"], state).0);
}
