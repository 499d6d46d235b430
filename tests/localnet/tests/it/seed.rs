//! The seed's JSON-RPC, plain and over TLS.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;

use crate::support::{Net, http, https, json_or_text, tls};

fn request(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/json_rpc")
        .body(Full::new(body.into()))
        .unwrap()
}

fn address(net: &Net) -> SocketAddr {
    net.network
        .seed_url()
        .split("//")
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

async fn ask(net: &Net, body: Value) -> Value {
    let (parts, body) = http(address(net), request(body.to_string())).await;
    assert_eq!(parts.status.as_u16(), 200);
    assert_eq!(parts.headers["content-type"], "application/json");
    json_or_text(&body)
}

#[tokio::test]
async fn all_names_of_the_method_list_all_nodes() {
    let net = Net::start().await;
    for method in [
        "get_n_service_nodes",
        "get_service_nodes",
        "get_all_service_nodes",
    ] {
        let answer = ask(
            &net,
            json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": {
                "active_only": true,
                "fields": ["public_ip", "storage_port", "pubkey_x25519", "pubkey_ed25519", "height"],
            }}),
        )
        .await;
        assert_eq!(
            (&answer["jsonrpc"], &answer["id"]),
            (&json!("2.0"), &json!(7))
        );
        assert_eq!(answer["result"]["status"], json!("OK"));
        assert!(answer["result"]["height"].is_u64());
        let states = answer["result"]["service_node_states"].as_array().unwrap();
        let expected: Vec<Value> = (net.network.nodes().iter())
            .map(|node| {
                json!({
                    "public_ip": node.ip.to_string(), "storage_port": node.port,
                    "pubkey_x25519": hex::encode(node.x25519),
                    "pubkey_ed25519": hex::encode(node.ed25519),
                })
            })
            .collect();
        assert_eq!(states, &expected);
    }
}

#[tokio::test]
async fn mistakes_are_json_rpc_errors() {
    let net = Net::start().await;
    for (body, code) in [
        (json!({"id": 1, "method": "get_info"}), -32601),
        (json!({"id": 1}), -32600),
        (json!([]), -32600),
        (json!({"id": 1, "method": 5}), -32600),
        (
            json!({"id": 1, "method": "get_service_nodes", "params": []}),
            -32602,
        ),
        (
            json!({"id": 1, "method": "get_service_nodes", "params": {"limit": "5"}}),
            -32602,
        ),
    ] {
        assert_eq!(
            ask(&net, body.clone()).await["error"]["code"],
            json!(code),
            "{body}"
        );
    }
    let (_, body) = http(address(&net), request("{")).await;
    assert_eq!(json_or_text(&body)["error"]["code"], json!(-32700));
    let elsewhere = Request::post("/other")
        .body(Full::new(Bytes::new()))
        .unwrap();
    assert_eq!(http(address(&net), elsewhere).await.0.status.as_u16(), 404);
}

#[tokio::test]
async fn a_seed_with_tls_presents_the_key_of_the_pin_in_the_file() {
    let net = Net::with(|options| options.seed_tls = true).await;
    let body = json!({"id": 0, "method": "get_n_service_nodes"}).to_string();
    let (parts, body) = https(address(&net), request(body)).await;
    assert_eq!(parts.status.as_u16(), 200);
    let answer = json_or_text(&body);
    assert_eq!(
        answer["result"]["service_node_states"]
            .as_array()
            .unwrap()
            .len(),
        12
    );

    let stream = tls(address(&net)).await;
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    let certificate = rustls::server::ParsedCertificate::try_from(&certificates[0]).unwrap();
    let spki = certificate.subject_public_key_info();
    let pin = STANDARD.encode(Sha256::digest(&spki));
    let file: toml::Table = net.network.network_file().unwrap().parse().unwrap();
    assert_eq!(file["seeds"][0]["pin"].as_str(), Some(pin.as_str()));
    assert_eq!(
        file["seeds"][0]["url"].as_str(),
        Some(net.network.seed_url().as_str())
    );
}
