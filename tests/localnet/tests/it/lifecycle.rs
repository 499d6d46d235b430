//! Starting, stopping, starting again.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use session_localnet::{LocalnetError, Options};
use tempfile::TempDir;

use crate::support::{Account, Net, START_MS};

#[tokio::test]
async fn a_restart_brings_back_the_same_network_with_its_messages() {
    let Net {
        network,
        clock,
        dir,
    } = Net::start().await;
    let (nodes, seed) = (network.nodes().to_vec(), network.seed_url());
    let net = Net {
        network,
        clock: clock.clone(),
        dir,
    };
    let account = Account::new();
    let members = net.members(account.id());
    let params = account.store(b"kept", START_MS, 60_000);
    assert_eq!(net.rpc(members[0], "store", params).await.0, 200);
    let Net { network, dir, .. } = net;
    network.shutdown().await;

    let mut options = Options::new(dir.path());
    options.clock = clock.clone();
    let network = session_localnet::start(options).await.unwrap();
    assert_eq!(network.nodes(), nodes);
    assert_eq!(network.seed_url(), seed);
    let net = Net {
        network,
        clock,
        dir,
    };
    for index in members {
        let (_, held) = net
            .rpc(index, "retrieve", account.retrieve(0, START_MS))
            .await;
        assert_eq!(held["messages"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_directory_with_a_network_of_another_shape_is_refused() {
    let net = Net::start().await;
    let Net { network, dir, .. } = net;
    network.shutdown().await;
    for change in [
        |options: &mut Options| options.nodes = 13,
        |options: &mut Options| options.swarm_size = 4,
        |options: &mut Options| options.single_ip = true,
    ] {
        let mut options = Options::new(dir.path());
        change(&mut options);
        let Err(error) = session_localnet::start(options).await else {
            panic!("started")
        };
        assert!(error.to_string().contains("another shape"), "{error}");
    }
}

#[tokio::test]
async fn impossible_options_are_refused() {
    for change in [
        |options: &mut Options| options.nodes = 0,
        |options: &mut Options| options.nodes = 4_001,
        |options: &mut Options| options.swarm_size = 0,
        |options: &mut Options| options.time_scale = 0.0,
        |options: &mut Options| options.time_scale = f64::NAN,
    ] {
        let dir = TempDir::new().unwrap();
        let mut options = Options::new(dir.path());
        change(&mut options);
        let started = session_localnet::start(options).await;
        assert!(matches!(started, Err(LocalnetError::Options(_))));
    }
}

#[tokio::test]
async fn nodes_have_a_24_of_their_own_or_share_one_address() {
    let net = Net::start().await;
    let mut swarms = BTreeMap::<u64, usize>::new();
    for (number, node) in (1..).zip(net.network.nodes()) {
        assert_eq!(node.ip, Ipv4Addr::new(127, 0, number, 1));
        *swarms.entry(node.swarm_id).or_default() += 1;
    }
    assert!(
        swarms.values().all(|members| (4..=6).contains(members)),
        "{swarms:?}"
    );
    let file: toml::Table = net.network.network_file().unwrap().parse().unwrap();
    let expected = json!({
        "name": "local", "seeds": [net.network.seed_url()], "subnet_diversity": true,
        "min_nodes": 12, "time_scale": 1.0,
    });
    assert_eq!(serde_json::to_value(&file).unwrap(), expected);

    let single = Net::with(|options| {
        options.single_ip = true;
        options.time_scale = 0.5;
    })
    .await;
    assert!(
        single
            .network
            .nodes()
            .iter()
            .all(|node| node.ip == Ipv4Addr::LOCALHOST)
    );
    let file: toml::Table = single.network.network_file().unwrap().parse().unwrap();
    assert_eq!(file["subnet_diversity"].as_bool(), Some(false));
    assert_eq!(file["time_scale"].as_float(), Some(0.5));
    assert_eq!(single.rpc(11, "info", json!({})).await.0, 200);
}

#[tokio::test]
async fn a_node_can_be_stopped_and_started() {
    let mut net = Net::start().await;
    let address = net.node(4).address();
    net.network.stop_node(4).await.unwrap();
    net.network.stop_node(4).await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    assert_eq!(net.rpc(5, "info", json!({})).await.0, 200);
    net.network.start_node(4).await.unwrap();
    assert_eq!(net.rpc(4, "info", json!({})).await.0, 200);
    assert!(matches!(
        net.network.stop_node(12).await,
        Err(LocalnetError::NoSuchNode(12))
    ));
    assert!(matches!(
        net.network.start_node(12).await,
        Err(LocalnetError::NoSuchNode(12))
    ));
}

#[test]
fn the_program_says_when_it_is_ready_and_ends_on_a_signal() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("network.toml");
    let mut program = Command::new(env!("CARGO_BIN_EXE_session-localnet"))
        .args(["run", "--nodes", "4", "--swarm-size", "4", "--state-dir"])
        .arg(dir.path().join("state"))
        .arg("--network-file")
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["nodes"].as_array().unwrap().len(), 4);
    assert_eq!(ready["nodes"][0]["ip"], json!("127.0.1.1"));
    let told: toml::Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    assert_eq!(told["seeds"][0].as_str(), ready["seedUrl"].as_str());
    kill_process(Pid::from_child(&program), Signal::TERM).unwrap();
    assert!(program.wait().unwrap().success());
}
