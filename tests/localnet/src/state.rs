//! What the network keeps about itself in its state directory, so that a restart brings back the same
//! nodes: keys, addresses, swarms, certificates. Messages are in each node's own database beside it.

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::tls::{Identity, TlsError};

const FILE: &str = "localnet.json";

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory or a file in it.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not written by this program, or damaged.
    #[error("{path}: {source}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A key in it is damaged.
    #[error("{0}: a key is damaged")]
    Key(PathBuf),
    /// The directory holds a network of another shape.
    #[error("{path} holds a network of another shape ({what}); use another directory")]
    Mismatch {
        /// Which file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// A certificate cannot be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The operating system has no randomness.
    #[error("no randomness: {0}")]
    Random(#[from] getrandom::Error),
}

/// One node as kept.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct NodeState {
    /// Hex of the Ed25519 seed.
    seed: String,
    /// Address.
    #[zeroize(skip)]
    pub ip: Ipv4Addr,
    /// HTTPS port; 0 until one was picked.
    pub port: u16,
    /// Its swarm.
    pub swarm_id: u64,
    /// Certificate of its listener.
    pub tls: Identity,
}

/// The network as kept.
#[derive(Serialize, Deserialize)]
pub(crate) struct State {
    single_ip: bool,
    /// Port of the seed; 0 until one was picked.
    pub seed_port: u16,
    /// Certificate of the seed, used when it serves HTTPS.
    pub seed_tls: Identity,
    /// All nodes.
    pub nodes: Vec<NodeState>,
}

impl NodeState {
    /// The Ed25519 seed.
    pub(crate) fn ed25519_seed(&self) -> Option<Zeroizing<[u8; 32]>> {
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(&self.seed, &mut *seed).ok()?;
        Some(seed)
    }
}

impl State {
    /// Reads the state of `directory`, or makes one with a node for each of `swarm_ids`.
    pub(crate) fn open(
        directory: &Path,
        swarm_ids: &[u64],
        single_ip: bool,
    ) -> Result<Self, StateError> {
        let path = directory.join(FILE);
        fs::create_dir_all(directory).map_err(|source| io(directory, source))?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
            .map_err(|source| io(directory, source))?;
        match fs::read_to_string(&path) {
            Ok(text) => {
                let text = Zeroizing::new(text);
                let state: Self =
                    serde_json::from_str(&text).map_err(|source| StateError::Damaged {
                        path: path.clone(),
                        source,
                    })?;
                state.check(path, swarm_ids, single_ip)?;
                Ok(state)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Self::generate(swarm_ids, single_ip)
            }
            Err(source) => Err(io(&path, source)),
        }
    }

    fn check(&self, path: PathBuf, swarm_ids: &[u64], single_ip: bool) -> Result<(), StateError> {
        let what = if self.nodes.len() != swarm_ids.len() {
            "number of nodes"
        } else if self.single_ip != single_ip {
            "one address or many"
        } else if self
            .nodes
            .iter()
            .zip(swarm_ids)
            .any(|(node, id)| node.swarm_id != *id)
        {
            "swarm size"
        } else if self.nodes.iter().any(|node| node.ed25519_seed().is_none()) {
            return Err(StateError::Key(path));
        } else {
            return Ok(());
        };
        Err(StateError::Mismatch { path, what })
    }

    fn generate(swarm_ids: &[u64], single_ip: bool) -> Result<Self, StateError> {
        let mut nodes = Vec::with_capacity(swarm_ids.len());
        for (number, swarm_id) in (1..=u16::MAX).zip(swarm_ids) {
            let mut seed = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *seed)?;
            // An address of its own in a /24 of its own keeps clients' diversity rule satisfied.
            let [high, low] = if single_ip { 0 } else { number }.to_be_bytes();
            let ip = Ipv4Addr::new(127, high, low, 1);
            nodes.push(NodeState {
                seed: hex::encode(*seed),
                ip,
                port: 0,
                swarm_id: *swarm_id,
                tls: Identity::generate(ip)?,
            });
        }
        let seed_tls = Identity::generate(Ipv4Addr::LOCALHOST)?;
        Ok(Self {
            single_ip,
            seed_port: 0,
            seed_tls,
            nodes,
        })
    }

    /// Writes the state in one step, readable by its owner only.
    pub(crate) fn save(&self, directory: &Path) -> Result<(), StateError> {
        let path = directory.join(FILE);
        let neighbour = directory.join(format!("{FILE}.new"));
        let text = Zeroizing::new(serde_json::to_string_pretty(self).map_err(|source| {
            StateError::Damaged {
                path: path.clone(),
                source,
            }
        })?);
        let write = || {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&neighbour)?;
            std::io::Write::write_all(&mut file, text.as_bytes())?;
            fs::rename(&neighbour, &path)
        };
        write().map_err(|source| io(&path, source))
    }
}

fn io(path: &Path, source: std::io::Error) -> StateError {
    StateError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::layout::swarm_ids;

    #[test]
    fn many_nodes_have_a_24_of_their_own_too() {
        let state = State::generate(&swarm_ids(600, 5), false).unwrap();
        let subnets = state.nodes.iter().map(|node| {
            let [a, b, c, d] = node.ip.octets();
            assert_eq!((a, d), (127, 1));
            [b, c]
        });
        assert_eq!(subnets.collect::<HashSet<_>>().len(), 600);
    }
}
