//! Another client of the account went over to version 2 of the protocol: the owner is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use session_network::{IsolationKey, MemoryCache, Network, NetworkConfig, StoreItem, SystemClock};
use session_protocol::bt::{self, Value};
use session_protocol::storage::Namespace;
use session_protocol::storage::request::{self, Store};
use session_protocol::{AccountKeys, Identifier, phrase, xed25519};
use sessiond::random::os_rng;
use sessiond_client::{Update, v1};
use v1::AccountWarningKind as Kind;

use crate::harness::{Agent, Localnet, ctl, run, until};

const DAY_MS: u64 = 86_400_000;

/// The account's other client, of which only what it stores is of interest here.
struct Newer {
    keys: AccountKeys,
    network: Network,
}

impl Newer {
    async fn new(net: &Localnet, agent: &Agent) -> Self {
        let file = std::fs::read_to_string(&net.file).unwrap();
        let config = NetworkConfig::from_toml(&file).unwrap();
        let network = Network::start(config, Arc::new(MemoryCache::new()), Arc::new(SystemClock));
        let seed = phrase::decode(&agent.phrases().await.recovery_phrase).unwrap();
        let keys = AccountKeys::from_seed(&seed);
        Self { keys, network }
    }

    /// Stores into one of the account's own namespaces.
    async fn publish(&self, namespace: Namespace, data: &[u8]) {
        let owner = Identifier::from(self.keys.account_id());
        let key = IsolationKey::new("account", "newer");
        until("it is published", async || {
            let make = |timestamp| {
                let message = Store {
                    owner,
                    namespace,
                    data,
                    timestamp,
                    ttl: 30 * DAY_MS,
                };
                request::store_signed(&self.keys, &message)
            };
            self.network.swarm_request(key, &owner, &make).await.ok()
        })
        .await;
    }

    /// A dictionary with the account's signature at its end.
    fn signed(entries: &[(&[u8], &[u8])], sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Vec<u8> {
        let dict: BTreeMap<_, _> = entries
            .iter()
            .map(|(key, value)| (*key, Value::Bytes(value)))
            .collect();
        let mut bytes = Value::Dict(dict).to_bytes();
        bytes.pop();
        let signature = sign(&bytes);
        bt::write_bytes(&mut bytes, b"~");
        bt::write_bytes(&mut bytes, &signature);
        bytes.push(b'e');
        bytes
    }

    async fn publish_devices(&self) {
        let group = Self::signed(&[(b"", b"G")], |bytes| self.keys.sign(bytes));
        self.publish(Namespace::DEVICES, &group).await;
    }

    async fn publish_keys(&self) {
        let ml_kem = [7; 1184];
        let record = Self::signed(&[(b"M", &ml_kem), (b"X", &[9; 32])], |bytes| {
            xed25519::sign(&mut os_rng(), self.keys.x25519_secret(), bytes)
        });
        assert_eq!(record.len(), 1302);
        self.publish(Namespace::ACCOUNT_PUBKEYS, &record).await;
    }

    /// What somebody writes to those keys.
    async fn write(&self) {
        let owner = Identifier::from(self.keys.account_id());
        let item = StoreItem {
            namespace: Namespace::DEFAULT,
            data: [&[0, 2][..], &[5; 1534]].concat().into(),
            ttl_ms: DAY_MS,
        };
        let key = IsolationKey::new("account", "newer");
        until("it is stored", async || {
            let items = std::slice::from_ref(&item);
            let stored = self.network.store(key, &owner, items).await.ok()?.pop()?;
            stored.ok()
        })
        .await;
    }
}

async fn warnings(agent: &Agent) -> Vec<v1::AccountWarning> {
    let answer = agent.client().get_account(Default::default()).await;
    answer.unwrap().account.unwrap().warnings
}

/// Waits until it is warned of this, and nothing else.
async fn until_warned(agent: &Agent, kind: Kind) -> v1::AccountWarning {
    until(kind.as_str_name(), async || {
        let warnings = warnings(agent).await;
        let [warning] = warnings[..] else { return None };
        (warning.kind() == kind).then_some(warning)
    })
    .await
}

#[tokio::test]
async fn keys_of_another_client_are_warned_of() {
    let net = Localnet::start().await;
    let (mut alice, _) = Agent::with_account(&net, "alice").await;
    let newer = Newer::new(&net, &alice).await;
    alice.sync().await;
    assert!(warnings(&alice).await.is_empty());

    // Looked for at every start.
    newer.publish_devices().await;
    alice.stop().await;
    alice.up().await;
    let devices = until_warned(&alice, Kind::V2DeviceLinked).await;
    assert_eq!(devices.unreadable_count, 0);

    newer.publish_keys().await;
    newer.write().await;
    alice.stop().await;
    alice.up().await;
    until_warned(&alice, Kind::V2KeysPublished).await;
    until("what cannot be read is counted", async || {
        (warnings(&alice).await[0].unreadable_count == 1).then_some(())
    })
    .await;
    let refusals = alice.network_status().await.refusals;
    let expected = v1::Refusal {
        reason: "UNSUPPORTED_VERSION".into(),
        count: 1,
    };
    assert_eq!(refusals, [expected]);
    // The sender is unknown: no conversation is made of it.
    let list = alice.client().list_conversations(Default::default()).await;
    assert!(list.unwrap().conversations.is_empty());

    // Each change is an event.
    let mut told = 0;
    let mut stream = alice.client().events(v1::SubscribeRequest {
        start: v1::StreamStart::Oldest.into(),
        replay_only: true,
        ..Default::default()
    });
    while let Some(update) = stream.next().await {
        if let Update::Event(event) = update.unwrap() {
            told += usize::from(event.changed_fields == ["warnings"]);
        }
    }
    assert_eq!(told, 2);

    // The command line says what it means.
    let on = async |args: &[&str]| run(ctl(&alice.socket(), args), b"").await;
    let status = on(&["status"]).await;
    assert!(status.out.contains("the new protocol since"), "{status:?}");
    assert!(status.out.contains("1 so far"), "{status:?}");
    let doctor = on(&["--json", "doctor"]).await;
    let line = doctor
        .out
        .lines()
        .find(|line| line.contains("\"protocol\""));
    let found: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
    assert_eq!(found["state"], "WARNING");
    assert!(found["advice"].as_str().unwrap().contains("other device"));
    newer.network.shutdown().await;
}
