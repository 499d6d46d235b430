//! Which network to speak to: the main network, the test network, or one that a file describes.
//!
//! Promises: HTTPS without a pin is refused, because nobody here decides whom to trust for the web; plain HTTP
//! is for loopback hosts and for the test network, whose seeds offer nothing else.
//!
//! Facts: network.md 1.1 (seeds), 1.2 (pins), 1.4 (least number of nodes).

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use serde::Deserialize;

use crate::bundle::{BundleError, BundledNodes};
use crate::proxy::Proxy;
use crate::times::Times;

/// Nodes a real network's list must have before it is used.
const MIN_NODES: usize = 12;

/// Fewest nodes a list can have for one path and a destination that is not on it.
const FEWEST_NODES: usize = 4;

/// A network and how to enter it.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkConfig {
    /// `main`, `test` or the name a file gives. A database belongs to one name.
    pub name: String,
    /// Where the list of nodes comes from; asked in random order.
    pub seeds: Vec<Seed>,
    /// URL of this network's file server; `None` is the public one.
    pub file_server: Option<String>,
    /// No two nodes in use share their first three address bytes.
    pub subnet_diversity: bool,
    /// That may be given up when nothing else is left but to have no path.
    pub allow_same_subnet: bool,
    /// A list with fewer nodes is not used.
    pub min_nodes: usize,
    /// Nodes with addresses that are not routed on the internet are ignored.
    pub public_addresses_only: bool,
    /// Nodes to begin with when no seed answers and none of the known nodes does.
    pub bundled: Option<BundledNodes>,
    /// Everything goes through it, and nothing at all while it is down. Set by [`NetworkConfig::through`].
    pub proxy: Option<Proxy>,
    /// Intervals and deadlines.
    pub times: Times,
}

/// A server that hands out the list of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// `https://host:port` with a pin, or `http://host:port`.
    pub url: String,
    /// Base64 SHA-256 of the DER subject public key info of its certificate.
    pub pin: Option<String>,
    /// SHA-256 of the whole certificate, where that is pinned too.
    pub fingerprint: Option<[u8; 32]>,
}

/// Why a network cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("network file {path} cannot be read")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("network file is not valid")]
    Toml(#[from] Box<toml::de::Error>),
    /// No seed is given.
    #[error("network file names no seeds")]
    NoSeeds,
    /// Not `http://host[:port]` or `https://host[:port]`.
    #[error("seed {0} is not the URL of a server")]
    SeedUrl(String),
    /// HTTPS without a pin.
    #[error("seed {0} needs a pin: https without one would trust anyone")]
    SeedWithoutPin(String),
    /// Plain HTTP to another machine.
    #[error("seed {0} would be asked without encryption over the network; only loopback may be")]
    PlainSeed(String),
    /// A pin that is no base64 of 32 bytes.
    #[error("pin of seed {0} is not the base64 of a SHA-256 digest")]
    Pin(String),
    /// A file that calls its network what a built-in one is called: a database would take the one for the other.
    #[error("the name \"{0}\" belongs to a built-in network; choose another")]
    ReservedName(String),
    /// The list of nodes for the day when no seed answers.
    #[error("list of nodes {path}")]
    NodeList {
        /// Which file.
        path: PathBuf,
        /// Why it cannot be used.
        #[source]
        source: BundleError,
    },
    /// A number outside what makes sense.
    #[error("{0} is out of range")]
    Range(&'static str),
}

impl ConfigError {
    /// Stable name of the reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "NETWORK_FILE_UNREADABLE",
            Self::Toml(_) | Self::Range(_) | Self::ReservedName(_) => "NETWORK_FILE_INVALID",
            Self::NodeList { .. } => "NODE_LIST_INVALID",
            Self::NoSeeds => "NO_SEEDS",
            Self::SeedUrl(_) => "SEED_URL_INVALID",
            Self::SeedWithoutPin(_) => "SEED_WITHOUT_PIN",
            Self::PlainSeed(_) => "SEED_NOT_ENCRYPTED",
            Self::Pin(_) => "SEED_PIN_INVALID",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    name: Option<String>,
    seeds: Vec<FileSeed>,
    /// For every seed that has none of its own.
    #[serde(default)]
    pin: Option<String>,
    #[serde(default)]
    node_list: Option<PathBuf>,
    #[serde(default)]
    file_server: Option<String>,
    #[serde(default)]
    subnet_diversity: Option<bool>,
    #[serde(default)]
    allow_same_subnet: bool,
    #[serde(default)]
    min_nodes: Option<usize>,
    #[serde(default)]
    time_scale: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FileSeed {
    Url(String),
    Table(SeedTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedTable {
    url: String,
    #[serde(default)]
    pin: Option<String>,
}

impl NetworkConfig {
    /// The main network.
    pub fn main() -> Self {
        let seeds = MAIN_SEEDS.map(|(url, pin, fingerprint)| Seed {
            url: url.to_owned(),
            pin: Some(pin.to_owned()),
            fingerprint: Some(fingerprint),
        });
        Self {
            bundled: BundledNodes::main(),
            ..Self::public("main", seeds.to_vec())
        }
    }

    /// The public test network. Its seeds speak plain HTTP.
    pub fn test() -> Self {
        let seeds = TEST_SEEDS.map(|url| Seed {
            url: url.to_owned(),
            pin: None,
            fingerprint: None,
        });
        Self::public("test", seeds.to_vec())
    }

    fn public(name: &str, seeds: Vec<Seed>) -> Self {
        Self {
            name: name.to_owned(),
            seeds,
            file_server: None,
            subnet_diversity: true,
            allow_same_subnet: false,
            min_nodes: MIN_NODES,
            public_addresses_only: true,
            bundled: None,
            proxy: None,
            times: Times::default(),
        }
    }

    /// `main`, `test`, or the path of a file for [`NetworkConfig::from_toml`].
    pub fn load(arg: &str) -> Result<Self, ConfigError> {
        match arg {
            "main" => Ok(Self::main()),
            "test" => Ok(Self::test()),
            path => {
                let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
                    path: path.into(),
                    source,
                })?;
                let beside = Path::new(path).parent().unwrap_or(Path::new(""));
                Self::parse(&text, beside)
            }
        }
    }

    /// The same network through a proxy, with the patience that takes.
    pub fn through(self, proxy: Proxy) -> Self {
        Self {
            proxy: Some(proxy),
            times: self.times.through_proxy(),
            ..self
        }
    }

    /// The same network with a list of nodes from a file, for when no seed answers.
    pub fn with_node_list(self, path: &Path) -> Result<Self, ConfigError> {
        let bundled = BundledNodes::load(path).map_err(|source| ConfigError::NodeList {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            bundled: Some(bundled),
            ..self
        })
    }

    /// A network from TOML: `seeds` (URLs, or tables of `url` and `pin`), and optionally `name`, `pin` (for
    /// seeds without their own), `node_list` (a file, see [`BundledNodes`]), `file_server`, `subnet_diversity`
    /// (true), `allow_same_subnet` (false), `min_nodes` (12) and `time_scale` (1.0; all times are multiplied by it).
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::parse(text, Path::new(""))
    }

    /// The same; relative paths begin in `beside`.
    fn parse(text: &str, beside: &Path) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(Box::new)?;
        if file.seeds.is_empty() {
            return Err(ConfigError::NoSeeds);
        }
        let seeds = file
            .seeds
            .into_iter()
            .map(|seed| {
                let (url, pin) = match seed {
                    FileSeed::Url(url) => (url, None),
                    FileSeed::Table(table) => (table.url, table.pin),
                };
                check_seed(url, pin.or_else(|| file.pin.clone()))
            })
            .collect::<Result<_, _>>()?;
        let scale = file.time_scale.unwrap_or(1.0);
        if !(0.001..=1000.0).contains(&scale) {
            return Err(ConfigError::Range("time_scale"));
        }
        let min_nodes = file.min_nodes.unwrap_or(MIN_NODES);
        if !(FEWEST_NODES..=100_000).contains(&min_nodes) {
            return Err(ConfigError::Range("min_nodes"));
        }
        let name = file.name.unwrap_or_else(|| "local".to_owned());
        if matches!(name.as_str(), "main" | "test") {
            return Err(ConfigError::ReservedName(name));
        }
        let network = Self {
            name,
            seeds,
            file_server: file.file_server,
            subnet_diversity: file.subnet_diversity.unwrap_or(true),
            allow_same_subnet: file.allow_same_subnet,
            min_nodes,
            public_addresses_only: false,
            bundled: None,
            proxy: None,
            times: Times::default().scaled(scale),
        };
        match file.node_list {
            Some(path) => network.with_node_list(&beside.join(path)),
            None => Ok(network),
        }
    }
}

fn check_seed(url: String, pin: Option<String>) -> Result<Seed, ConfigError> {
    let Some((scheme, host)) = parts(&url) else {
        return Err(ConfigError::SeedUrl(url));
    };
    let pin = match scheme.as_str() {
        "https" => {
            let Some(pin) = pin else {
                return Err(ConfigError::SeedWithoutPin(url));
            };
            if digest(&pin).is_none() {
                return Err(ConfigError::Pin(url));
            }
            Some(pin)
        }
        // A pin for every seed of the file does not concern those without TLS.
        _ if is_loopback(&host) => None,
        _ => return Err(ConfigError::PlainSeed(url)),
    };
    Ok(Seed {
        url: url.trim_end_matches('/').to_owned(),
        pin,
        fingerprint: None,
    })
}

fn parts(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?;
    let host = uri.host().filter(|host| !host.is_empty())?;
    let plain = uri.path().trim_end_matches('/').is_empty() && uri.query().is_none();
    (plain && matches!(scheme, "http" | "https")).then(|| (scheme.to_owned(), host.to_owned()))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<std::net::IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// The 32 bytes of a pin.
pub(crate) fn digest(pin: &str) -> Option<[u8; 32]> {
    STANDARD.decode(pin).ok()?.try_into().ok()
}

const TEST_SEEDS: [&str; 2] = [
    "http://seed2.getsession.org:38157",
    "http://public.loki.foundation:38157",
];

/// URL, digest of the public key, fingerprint of the certificate (network.md 1.2).
const MAIN_SEEDS: [(&str, &str, [u8; 32]); 3] = [
    (
        "https://seed1.getsession.org:4443",
        "mlYTXvkmIEYcpswANTpnBwlz9Cswi0py/RQKkbdQOZQ=",
        [
            0x36, 0xea, 0x0b, 0x25, 0x35, 0x37, 0x98, 0x85, 0x51, 0xee, 0x85, 0x6e, 0x4f, 0xd2,
            0x0d, 0x55, 0x01, 0x1e, 0x9c, 0x8b, 0x27, 0xea, 0xa2, 0xf3, 0x4b, 0x8f, 0x32, 0xa0,
            0xbd, 0xf0, 0x4f, 0x2d,
        ],
    ),
    (
        "https://seed2.getsession.org:4443",
        "ZuUxe4wopBR83Yy5fePPNX0c00BnkQCu/49oapFpB0k=",
        [
            0xc5, 0x90, 0x8d, 0xd4, 0x13, 0x9a, 0xcd, 0x96, 0xae, 0xdd, 0x1e, 0x45, 0x57, 0x65,
            0x97, 0x65, 0x08, 0x09, 0xc8, 0xa5, 0xea, 0x02, 0xaf, 0x55, 0x6d, 0x48, 0x53, 0xd4,
            0x53, 0x96, 0xe0, 0xe7,
        ],
    ),
    (
        "https://seed3.getsession.org:4443",
        "4xe+8k1NjxerVTjUsWlZJNKt3PA7Y31pUls2tHYippA=",
        [
            0x8a, 0x0a, 0xf2, 0xc7, 0x12, 0x34, 0x2f, 0x22, 0xce, 0x00, 0xe5, 0x3c, 0x16, 0x01,
            0x41, 0x0e, 0xf8, 0xd8, 0x41, 0x56, 0xae, 0xe0, 0xa9, 0x80, 0x9c, 0x32, 0xf6, 0xf7,
            0xef, 0xbe, 0x55, 0x6e,
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_main_network_has_two_digests_for_every_seed() {
        let main = NetworkConfig::load("main").unwrap();
        assert_eq!(main.seeds.len(), 3);
        for seed in &main.seeds {
            assert!(seed.url.starts_with("https://"));
            assert!(digest(seed.pin.as_deref().unwrap()).is_some());
            assert!(seed.fingerprint.is_some());
        }
        assert!(main.subnet_diversity && main.public_addresses_only);
        assert_eq!(main.min_nodes, 12);
        assert_eq!(NetworkConfig::load("test").unwrap().seeds.len(), 2);
    }

    #[test]
    fn a_file_cannot_take_a_built_in_name() {
        for name in ["main", "test"] {
            let text = format!("name = \"{name}\"\nseeds = [\"http://127.0.0.1:1\"]");
            let refused = NetworkConfig::from_toml(&text);
            assert!(matches!(refused, Err(ConfigError::ReservedName(taken)) if taken == name));
        }
    }

    #[test]
    fn a_file_may_say_everything() {
        let config = NetworkConfig::from_toml(
            r#"
            name = "attic"
            seeds = ["http://127.0.0.1:22023", { url = "https://[::1]:4443", pin = "mlYTXvkmIEYcpswANTpnBwlz9Cswi0py/RQKkbdQOZQ=" }]
            file_server = "http://127.0.0.1:9000"
            subnet_diversity = false
            allow_same_subnet = true
            min_nodes = 5
            time_scale = 0.1
            "#,
        )
        .unwrap();
        assert_eq!(config.name, "attic");
        assert_eq!(config.seeds[0].pin, None);
        assert!(config.seeds[1].pin.is_some());
        assert_eq!(config.file_server.as_deref(), Some("http://127.0.0.1:9000"));
        assert!(!config.subnet_diversity && !config.public_addresses_only);
        assert!(config.allow_same_subnet);
        assert_eq!(config.min_nodes, 5);
        assert_eq!(config.times.poll, Duration::from_millis(500));
    }

    #[test]
    fn a_list_of_nodes_lies_beside_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("network.toml");
        let text = "seeds = [\"http://127.0.0.1:1\"]\nnode_list = \"nodes.json\"";
        std::fs::write(&file, text).unwrap();
        let load = || NetworkConfig::load(file.to_str().unwrap());
        assert_eq!(load().unwrap_err().reason(), "NODE_LIST_INVALID");
        let list = r#"{"service_node_states": [], "height": 1}"#;
        std::fs::write(dir.path().join("nodes.json"), list).unwrap();
        assert!(load().unwrap().bundled.is_some());
    }

    #[test]
    fn unsafe_seeds_are_refused() {
        let reason = |text: &str| NetworkConfig::from_toml(text).unwrap_err().reason();
        assert_eq!(
            reason(r#"seeds = ["http://192.0.2.1:80"]"#),
            "SEED_NOT_ENCRYPTED"
        );
        assert_eq!(
            reason(r#"seeds = ["http://localhost.example.org"]"#),
            "SEED_NOT_ENCRYPTED"
        );
        assert_eq!(
            reason(r#"seeds = ["https://127.0.0.1:4443"]"#),
            "SEED_WITHOUT_PIN"
        );
        assert_eq!(
            reason("seeds = [\"https://127.0.0.1:4443\"]\npin = \"short\""),
            "SEED_PIN_INVALID"
        );
        assert_eq!(
            reason(r#"seeds = ["http://127.0.0.1/else"]"#),
            "SEED_URL_INVALID"
        );
        assert_eq!(reason(r#"seeds = ["ftp://127.0.0.1"]"#), "SEED_URL_INVALID");
        assert_eq!(reason("seeds = []"), "NO_SEEDS");
        assert_eq!(
            reason("seeds = [\"http://127.0.0.1\"]\nsurprise = 1"),
            "NETWORK_FILE_INVALID"
        );
        assert_eq!(
            reason("seeds = [\"http://127.0.0.1\"]\ntime_scale = 0.0"),
            "NETWORK_FILE_INVALID"
        );
        assert_eq!(reason(r#"seeds = "#), "NETWORK_FILE_INVALID");
        assert_eq!(
            NetworkConfig::load("/nonexistent/network.toml")
                .unwrap_err()
                .reason(),
            "NETWORK_FILE_UNREADABLE"
        );
    }
}
