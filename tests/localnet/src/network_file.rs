//! The TOML file that tells a client how to reach this network.
//!
//! Written whole: to a neighbour first, then renamed over the old one, so that a reader never sees half of it.

use std::path::Path;

use serde::Serialize;

/// What the file says.
#[derive(Debug, Serialize)]
pub(crate) struct NetworkFile {
    /// Name shown in a client's status.
    pub name: String,
    /// Where the node list is served.
    pub seeds: Vec<Seed>,
    /// Whether no two nodes of a client's paths may share a /24.
    pub subnet_diversity: bool,
    /// Size of the smallest usable pool: all nodes.
    pub min_nodes: usize,
    /// Factor for all times of a client.
    pub time_scale: f64,
}

/// One seed: a plain URL, or a table when a certificate is to be pinned.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Seed {
    /// HTTP.
    Plain(String),
    /// HTTPS.
    Pinned {
        /// URL.
        url: String,
        /// Padded base64 of the SHA-256 of the certificate's subject public key info.
        pin: String,
    },
}

/// Puts `text` at `path` in one step.
pub(crate) fn write_atomically(path: &Path, text: &str) -> std::io::Result<()> {
    let mut neighbour = path.as_os_str().to_owned();
    neighbour.push(format!(".{}.new", std::process::id()));
    std::fs::write(&neighbour, text)?;
    std::fs::rename(&neighbour, path)
}
