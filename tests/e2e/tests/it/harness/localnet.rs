//! The local Session network as a process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::process::{Process, program};
use super::{Room, room, until};

/// Factor for all times of nodes and agents: polls come every second.
const TIME_SCALE: &str = "0.2";

/// How the network is to be.
#[derive(Clone, Copy, Default)]
pub struct Setup {
    /// Serve the seed over HTTPS with a pinned certificate.
    pub tls: bool,
    /// Port of the seed; 0: a free one.
    pub port: u16,
}

/// A running network of 12 nodes.
pub struct Localnet {
    /// Its directory, and that of all agents on it.
    pub room: Room,
    /// What `sessiond run --network` takes.
    pub file: PathBuf,
    _process: Process,
}

impl Localnet {
    /// Starts one and waits until it is ready.
    pub async fn start() -> Self {
        Self::with(room(), Setup::default()).await
    }

    /// Starts one in a directory.
    pub async fn with(room: Room, setup: Setup) -> Self {
        let dir = room.path();
        let file = dir.join("net.toml");
        let ready = dir.join("net.json");
        let mut command = program("session-localnet");
        command.args(["run", "--nodes", "12", "--swarm-size", "5"]);
        command.args(["--time-scale", TIME_SCALE]);
        command.arg("--seed-port").arg(setup.port.to_string());
        command.arg("--state-dir").arg(dir.join("net"));
        command.arg("--network-file").arg(&file);
        if setup.tls {
            command.arg("--seed-tls");
        }
        let out = File::create(&ready).unwrap();
        let log = dir.join("net.log");
        let mut process = Process::spawn("session-localnet", command, Stdio::from(out), &log);
        until("the local network is ready", async || {
            assert_eq!(process.ended(), None, "the local network ended");
            is_line(&ready).then_some(())
        })
        .await;
        Self {
            room,
            file,
            _process: process,
        }
    }
}

fn is_line(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n'))
}
