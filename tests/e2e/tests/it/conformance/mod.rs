//! What another implementation writes, as a real agent shows it: each message is built by `tests/conformance/encoder.py`,
//! which shares no code with this project, and stored in the swarm by a client of its own.
//!
//! `tests/conformance/run` installs what the encoder needs and runs these tests.

mod hostile;
mod kinds;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};
use session_network::{IsolationKey, MemoryCache, Network, NetworkConfig, StoreItem, SystemClock};
use session_protocol::storage::Namespace;
use session_protocol::{AccountId, AccountKeys, AccountSeed, Identifier, content, envelope};

use crate::harness::{Localnet, until};

/// Longest that a swarm keeps a message, ms.
const TTL: u64 = 14 * 86_400_000;

/// Somebody whose client is the encoder.
struct Stranger {
    seed: [u8; 16],
    network: Network,
}

impl Stranger {
    fn new(net: &Localnet, byte: u8) -> Self {
        let file = std::fs::read_to_string(&net.file).unwrap();
        let config = NetworkConfig::from_toml(&file).unwrap();
        let network = Network::start(config, Arc::new(MemoryCache::new()), Arc::new(SystemClock));
        let seed = [byte; 16];
        Self { seed, network }
    }

    fn id(&self) -> AccountId {
        AccountKeys::from_seed(&AccountSeed::from_bytes(self.seed)).account_id()
    }

    fn hex_seed(&self) -> String {
        hex::encode(self.seed)
    }

    /// Now in network time, ms.
    fn now(&self) -> u64 {
        self.network.now_ms()
    }

    /// Has the messages encoded, and stores them in their order.
    async fn send(&self, recipient: &str, messages: &[Value]) {
        self.send_as(&self.hex_seed(), recipient, messages).await;
    }

    /// As [`Stranger::send`], written by whoever has the seed.
    async fn send_as(&self, seed: &str, recipient: &str, messages: &[Value]) {
        self.store(recipient, encode(seed, recipient, messages))
            .await;
    }

    /// Stores payloads in their order.
    async fn store(&self, recipient: &str, payloads: Vec<Vec<u8>>) {
        let owner: Identifier = recipient.parse().unwrap();
        let key = IsolationKey::new("account", &self.hex_seed());
        for data in payloads {
            let item = StoreItem {
                namespace: Namespace::DEFAULT,
                data: data.into(),
                ttl_ms: TTL,
            };
            let items = std::slice::from_ref(&item);
            until("the message is stored", async || {
                self.network
                    .store(key, &owner, items)
                    .await
                    .ok()?
                    .pop()?
                    .ok()
            })
            .await;
        }
    }
}

/// Payloads of messages by the encoder.
fn encode(seed: &str, recipient: &str, messages: &[Value]) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let python = std::env::var_os("SESSIOND_CONFORMANCE_PYTHON")
        .expect("SESSIOND_CONFORMANCE_PYTHON is set by tests/conformance/run");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/encoder.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for message in messages {
        let mut message = message.clone();
        message["seed"] = seed.into();
        message["recipient"] = recipient.into();
        writeln!(input, "{message}").unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let payloads: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            base64::engine::general_purpose::STANDARD
                .decode(line)
                .unwrap()
        })
        .collect();
    assert_eq!(payloads.len(), messages.len());
    payloads
}

#[test]
#[ignore = "needs PyNaCl: tests/conformance/run"]
fn conformance_of_every_kind_as_it_is_read() {
    let keys = |byte| AccountKeys::from_seed(&AccountSeed::from_bytes([byte; 16]));
    let (own, other) = (keys(1), keys(7).account_id());
    let (id, uuid) = (
        own.account_id().to_string(),
        "6b86b273-ff34-4ce1-9d6b-804eff5a3f57",
    );
    let file = json!({"url": "http://f/file/1", "key": "0c".repeat(32)});
    let cases = [
        (
            "TEXT",
            json!({"kind": "text", "body": "x", "quote": {"id": 5, "author": id}}),
        ),
        (
            "ATTACHMENTS",
            json!({"kind": "text", "attachments": [file]}),
        ),
        (
            "COMMUNITY_INVITATION",
            json!({"kind": "text", "invitation": {"url": "https://c.d/r", "name": "r"}}),
        ),
        (
            "REACTION",
            json!({"kind": "reaction", "id": 5, "author": id, "emoji": "👍🏽"}),
        ),
        (
            "BAD_EMOJI",
            json!({"kind": "reaction", "id": 5, "author": id, "emoji": "two"}),
        ),
        (
            "READ_RECEIPT",
            json!({"kind": "read_receipt", "timestamps": [5, 6]}),
        ),
        (
            "READ_RECEIPT",
            json!({"kind": "read_receipt", "timestamps": [5, 6], "packed": true}),
        ),
        (
            "OBSOLETE",
            json!({"kind": "read_receipt", "timestamps": [5], "type": 0}),
        ),
        ("TYPING", json!({"kind": "typing", "started": true})),
        (
            "UNSEND",
            json!({"kind": "unsend", "target": 5, "author": id}),
        ),
        ("REQUEST_RESPONSE", json!({"kind": "request_response"})),
        (
            "NOT_APPROVED",
            json!({"kind": "request_response", "approved": false}),
        ),
        (
            "DATA_EXTRACTION",
            json!({"kind": "data_extraction", "target": 5}),
        ),
        ("CALL", json!({"kind": "call", "type": 6, "uuid": uuid})),
        (
            "CALL",
            json!({"kind": "call", "type": 4, "uuid": uuid, "sdps": ["a"], "indexes": [0], "mids": ["0"]}),
        ),
        ("BAD_CALL", json!({"kind": "call", "type": 1, "uuid": uuid})),
        (
            "EXPIRATION_TIMER_UPDATE",
            json!({"kind": "expiration_timer_update", "expiration": [1, 300]}),
        ),
        (
            "GROUP_UPDATE",
            json!({"kind": "group_promote", "group_seed": "07".repeat(32), "name": "g"}),
        ),
        ("NO_KIND", json!({"kind": "nothing"})),
    ];
    let messages: Vec<Value> = (1_760_000_000_000_u64..)
        .zip(&cases)
        .map(|(timestamp, (_, message))| {
            let mut message = message.clone();
            message["timestamp"] = timestamp.into();
            message
        })
        .collect();
    let payloads = encode(&hex::encode([7; 16]), &id, &messages);
    for ((name, message), payload) in cases.iter().zip(payloads) {
        let opened = envelope::open(&own, &payload).unwrap();
        assert_eq!(opened.sender, other);
        let read = content::read(&opened.content);
        let found = read.map_or_else(|error| error.reason(), |read| read.kind.name());
        assert_eq!(found, *name, "{message}");
    }
}
