//! Onion requests, built by hand.

use serde_json::json;
use session_protocol::onion::EncType;

use crate::support::{Account, Net, START_MS};

#[tokio::test]
async fn three_hops_store_and_retrieve_with_both_encryptions() {
    let net = Net::start().await;
    for enc_type in [EncType::XChaCha20, EncType::AesGcm] {
        let account = Account::new();
        let members = net.members(account.id());
        let path = &net.strangers(account.id())[..3];
        let store = account.store(b"hello", START_MS, 60_000);
        let payload = json!({"method": "store", "params": store});
        let (status, body) = net.onion(enc_type, path, members[0], &payload).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["swarm"].as_object().unwrap().len(), members.len());

        let retrieve = json!({"method": "retrieve", "params": account.retrieve(0, START_MS)});
        let (status, body) = net.onion(enc_type, path, members[1], &retrieve).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["messages"][0]["data"], json!("aGVsbG8="));

        let swarm = json!({"method": "get_swarm", "params": {"pubkey": account.id().to_string()}});
        let (status, body) = net.onion(enc_type, path, path[0], &swarm).await;
        assert_eq!(
            (status, body["snodes"].as_array().unwrap().len()),
            (200, members.len())
        );
        let info = json!({"method": "info", "params": {}});
        let (_, body) = net.onion(enc_type, path, members[2], &info).await;
        assert_eq!(body["timestamp"], json!(START_MS));
    }
}
