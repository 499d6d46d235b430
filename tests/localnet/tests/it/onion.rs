//! Onion requests, built by hand.

use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use session_protocol::onion::{
    Destination, EncType, Hop, LayerKey, ServerDestination, build, frame,
};
use session_protocol::{AccountKeys, AccountSeed};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::{Account, Net, START_MS, hop, layer, rng};

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

#[tokio::test]
async fn the_destinations_errors_arrive_inside() {
    let net = Net::start().await;
    let account = Account::new();
    let members = net.members(account.id());
    let strangers = net.strangers(account.id());
    let store = json!({"method": "store", "params": account.store(b"x", START_MS, 1)});
    let (status, body) = net
        .onion(EncType::XChaCha20, &members[..3], strangers[0], &store)
        .await;
    assert_eq!(status, 421);
    assert_eq!(body["snodes"].as_array().unwrap().len(), members.len());
    let (status, body) = net
        .onion(EncType::XChaCha20, &strangers[..3], members[0], &store)
        .await;
    assert_eq!(
        (status, body),
        (403, json!("Provided expiry/TTL is not valid."))
    );
    let answer = net
        .onion(EncType::XChaCha20, &strangers[..3], members[0], &json!(5))
        .await;
    assert_eq!(answer, (400, json!("invalid json: no `method` field")));
}

#[tokio::test]
async fn flags_choose_the_form_of_the_answer() {
    let net = Net::start().await;
    let payload = br#"{"method":"info","params":{}}"#;
    for (flags, as_json, as_base64) in [
        ("", false, true),
        (r#","json":true"#, true, true),
        (r#","json":true,"base64":false"#, true, false),
        (r#","base64":false"#, false, false),
    ] {
        let control = format!(r#"{{"headers":""{flags}}}"#);
        let (body, key) = layer(net.node(2), payload, &control);
        let (status, answer) = net.post(2, "/onion_req/v2", body).await;
        assert_eq!(status, 200);
        let answer = if as_base64 {
            STANDARD.decode(&answer).unwrap()
        } else {
            answer.to_vec()
        };
        let answer: Value = serde_json::from_slice(&key.decrypt(&answer).unwrap()).unwrap();
        assert_eq!(answer["status"], json!(200));
        assert_eq!(
            (answer["body"].is_object(), answer["body"].is_string()),
            (as_json, !as_json)
        );
    }
    for control in [
        "",
        "5",
        "{",
        r#"{"headers":"","json":1}"#,
        r#"{"destination":"00"}"#,
        "{}",
    ] {
        let (body, key) = layer(net.node(2), payload, control);
        let (status, answer) = net.post(2, "/onion_req/v2", body).await;
        assert_eq!(
            (status, opened(&key, &answer)),
            (200, (400, "Invalid json".into()))
        );
    }
}

fn opened(key: &LayerKey, answer: &[u8]) -> (u16, String) {
    let answer = key.decrypt(&STANDARD.decode(answer).unwrap()).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let status = u16::try_from(answer["status"].as_u64().unwrap()).unwrap();
    (status, answer["body"].as_str().unwrap().to_owned())
}

/// What the guard says when a request to the last of `hops` through the others fails on its way.
async fn plain(
    net: &Net,
    guard: usize,
    hops: &[Hop],
    change: impl Fn(&mut Value),
) -> (u16, String) {
    let (destination, path) = hops.split_last().unwrap();
    let destination = Destination::Node(*destination);
    let payload = br#"{"method":"info","params":{}}"#;
    let request = build(&mut rng(), EncType::AesGcm, path, &destination, payload).unwrap();
    let (blob, control) = frame::decode(&request.body).unwrap();
    let mut control: Value = serde_json::from_slice(control).unwrap();
    change(&mut control);
    let body = frame::encode(blob, control.to_string().as_bytes()).unwrap();
    let (status, body) = net.post(guard, "/onion_req/v2", body).await;
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn hops_say_in_plain_text_what_went_wrong() {
    let mut net = Net::with(|options| options.time_scale = 0.1).await;
    let hops: Vec<Hop> = net.network.nodes()[..4].iter().map(hop).collect();
    let stranger = AccountKeys::from_seed(&AccountSeed::generate(&mut rng()));
    let replaced = |index: usize, ed25519: bool, x25519: bool| {
        let mut hops = hops.clone();
        if ed25519 {
            hops[index].ed25519 = stranger.ed25519_public();
        }
        if x25519 {
            hops[index].x25519 = stranger.x25519_public();
        }
        hops
    };
    let keep = |_: &mut Value| {};

    let (status, text) = plain(&net, 0, &hops, keep).await;
    assert_eq!(status, 200, "{text}");
    let not_found = format!(
        "Next node not found: {}",
        hex::encode(stranger.ed25519_public())
    );
    for index in 1..4 {
        let answer = plain(&net, 0, &replaced(index, true, false), keep).await;
        assert_eq!(answer, (502, not_found.clone()));
    }
    for index in 0..4 {
        let answer = plain(&net, 0, &replaced(index, false, true), keep).await;
        assert_eq!(answer, (400, "Invalid ciphertext".into()));
    }
    // Without enc_type a layer is AES-GCM.
    let without_type = |control: &mut Value| {
        control.as_object_mut().unwrap().remove("enc_type");
    };
    assert_eq!(plain(&net, 0, &hops, without_type).await.0, 200);
    // hop_no is 12 at the guard, 15 at the destination: just allowed.
    assert_eq!(
        plain(&net, 0, &hops, |control| control["hop_no"] = json!(12))
            .await
            .0,
        200
    );
    for hop_no in [13, 16, u32::MAX] {
        let answer = plain(&net, 0, &hops, |control| control["hop_no"] = json!(hop_no)).await;
        assert_eq!(
            answer,
            (400, "onion request max path length exceeded".into())
        );
    }
    for (name, value) in [
        ("hop_no", json!(-1)),
        ("hop_no", json!("1")),
        ("ephemeral_key", json!("00")),
        ("ephemeral_key", Value::Null),
        ("enc_type", json!("rot13")),
        ("enc_type", json!(1)),
    ] {
        let (status, text) = plain(&net, 0, &hops, |control| control[name] = value.clone()).await;
        assert_eq!(status, 400);
        assert!(text.starts_with("Error parsing onion request: "), "{text}");
    }
    let (status, text) = net.post(0, "/onion_req/v2", "x").await;
    assert!(status == 400 && text.starts_with(b"Error parsing onion request: "));

    for index in 1..4 {
        net.network.stop_node(index).await.unwrap();
        assert_eq!(
            plain(&net, 0, &hops, keep).await,
            (504, "Request time out".into())
        );
        net.network.start_node(index).await.unwrap();
        assert_eq!(plain(&net, 0, &hops, keep).await.0, 200);
    }
}

/// A server that answers every request with `status` and the request's body, and reports its headers.
async fn server(status: u16) -> (u16, mpsc::UnboundedReceiver<HeaderMap>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    assert_eq!(parts.uri.path(), "/oxen/v4/lsrpc");
                    sender.send(parts.headers).unwrap();
                    let body = body.collect().await.unwrap().to_bytes();
                    let answer = Response::builder().status(status).header("x-secret", "1");
                    Ok::<_, Infallible>(answer.body(Full::new(body)).unwrap())
                }
            });
            let io = TokioIo::new(stream);
            tokio::spawn(http1::Builder::new().serve_connection(io, answer));
        }
    });
    (port, receiver)
}

#[tokio::test]
async fn the_last_hop_hands_the_whole_frame_to_a_server() {
    let net = Net::start().await;
    let keys = AccountKeys::from_seed(&AccountSeed::generate(&mut rng()));
    let path: Vec<Hop> = net.network.nodes()[..3].iter().map(hop).collect();
    let (port, mut headers) = server(200).await;
    let to = |port| {
        Destination::Server(ServerDestination {
            x25519: keys.x25519_public(),
            host: "127.0.0.1".into(),
            https: false,
            port: Some(port),
            target: ServerDestination::V4_TARGET.into(),
        })
    };
    let request = build(&mut rng(), EncType::XChaCha20, &path, &to(port), b"payload").unwrap();
    let (status, body) = net.post(0, "/onion_req/v2", request.body).await;
    assert_eq!(status, 200);
    // What came back is what the server got: a frame with the payload's ciphertext and how to open it.
    let (blob, control) = frame::decode(&body).unwrap();
    let control: Value = serde_json::from_slice(control).unwrap();
    assert_eq!(control["target"], json!("/oxen/v4/lsrpc"));
    let mut ephemeral = [0; 32];
    hex::decode_to_slice(control["ephemeral_key"].as_str().unwrap(), &mut ephemeral).unwrap();
    let key = LayerKey::node(EncType::XChaCha20, keys.x25519_secret(), &ephemeral).unwrap();
    assert_eq!(key.decrypt(blob).unwrap(), b"payload");
    assert_eq!(request.reply.open_raw(blob).unwrap(), b"payload");
    let headers = headers.recv().await.unwrap();
    assert_eq!(headers["content-type"], "application/octet-stream");
    assert!(
        headers["user-agent"]
            .to_str()
            .unwrap()
            .starts_with("Oxen Storage Server/")
    );

    // A status that nodes do not know arrives as it is from the exit, and as 500 after a relay.
    let (port, _headers) = server(418).await;
    for (hops, expected) in [(1, 418), (3, 500)] {
        let destination = to(port);
        let path = &path[..hops];
        let request = build(&mut rng(), EncType::XChaCha20, path, &destination, b"").unwrap();
        let (status, body) = net.post(0, "/onion_req/v2", request.body).await;
        assert_eq!(status, expected);
        assert!(!body.is_empty());
    }
}

#[tokio::test]
async fn exits_refuse_bad_targets_and_report_transport_failures() {
    let net = Net::with(|options| options.time_scale = 0.02).await;
    let exit = |port: u16, target: &str, protocol: &str| {
        json!({
            "host": "127.0.0.1", "target": target, "port": port, "protocol": protocol,
            "method": "POST", "ephemeral_key": "00".repeat(32), "enc_type": "xchacha20",
        })
        .to_string()
    };
    for (target, protocol) in [
        ("/oxen/v4/lsrpc?", "http"),
        ("/x/lsrpc", "http"),
        ("/oxen/lsrpc", "ftp"),
    ] {
        let (body, key) = layer(net.node(0), b"", &exit(80, target, protocol));
        let (status, answer) = net.post(0, "/onion_req/v2", body).await;
        assert_eq!(
            (status, opened(&key, &answer)),
            (200, (400, "Invalid url".into()))
        );
    }
    let unused = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (body, _) = layer(net.node(0), b"", &exit(unused, "/oxen/v4/lsrpc", "http"));
    assert_eq!(net.post(0, "/onion_req/v2", body).await.0, 502);
    let (body, _) = layer(net.node(0), b"", &exit(unused, "/oxen/v4/lsrpc", "https"));
    assert_eq!(net.post(0, "/onion_req/v2", body).await.0, 502);
    // Accepts connections in the kernel, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let (body, _) = layer(net.node(0), b"", &exit(port, "/oxen/v4/lsrpc", "http"));
    assert_eq!(net.post(0, "/onion_req/v2", body).await.0, 504);
}
