//! Endpoints and what is refused before any method runs.

use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Net, START_MS, https, json_or_text, tls};

#[tokio::test]
async fn endpoints_answer_as_documented() {
    let net = Net::start().await;
    let node = net.node(3).clone();
    let request = |method: &str, path: &str| {
        Request::builder()
            .method(method)
            .uri(path)
            .body(Full::new(Bytes::new()))
            .unwrap()
    };
    let (parts, body) = https(node.address(), request("POST", "/ping_test/v1")).await;
    assert_eq!((parts.status.as_u16(), body.len()), (200, 0));
    let key = parts.headers["x-oxen-snode-pubkey"].to_str().unwrap();
    assert_eq!(json_or_text(key.as_bytes()), json!(base64(&node.ed25519)));
    assert!(parts.headers.contains_key("server"));
    let (parts, body) = https(node.address(), request("GET", "/get_stats/v1")).await;
    assert_eq!(parts.headers["content-type"], "application/json");
    assert_eq!(json_or_text(&body), json!({"version": "2.8.0"}));
    for (method, path) in [
        ("GET", "/storage_rpc/v1"),
        ("POST", "/json_rpc?a=b"),
        ("POST", "/peer/storage"),
        ("POST", "/peer/onion"),
    ] {
        let (parts, body) = https(node.address(), request(method, path)).await;
        assert_eq!(parts.status.as_u16(), 404);
        assert_eq!(body, format!("{method} {path} Not Found"));
        assert_eq!(parts.headers["content-type"], "text/plain");
    }
    let mut poll = request("POST", "/storage_rpc/v1");
    poll.headers_mut()
        .insert("x-loki-long-poll", "1".parse().unwrap());
    assert_eq!(https(node.address(), poll).await.0.status.as_u16(), 410);
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[tokio::test]
async fn malformed_requests_have_their_texts() {
    let net = Net::start().await;
    for (body, text) in [
        ("", "invalid json"),
        ("{", "invalid json"),
        ("5", "invalid json: no `method` field"),
        (r#"{"params":{}}"#, "invalid json: no `method` field"),
        (
            r#"{"method":5,"params":{}}"#,
            "invalid json: no `method` field",
        ),
        (r#"{"method":"info"}"#, "invalid json: no `params` field"),
        (
            r#"{"method":"info","params":[]}"#,
            "invalid json: no `params` field",
        ),
        (
            r#"{"method":"unheard_of","params":{}}"#,
            "no method unheard_of",
        ),
        (
            r#"{"method":"delete_all","params":{}}"#,
            "invalid request: Required field 'pubkey' missing",
        ),
        (
            r#"{"method":"oxend_request","params":{"endpoint":"stop"}}"#,
            "invalid request: Invalid oxend endpoint 'stop'",
        ),
    ] {
        let (status, answer) = net.post(0, "/storage_rpc/v1", body).await;
        assert_eq!((status, answer), (400, Bytes::from(text)), "{body}");
    }
}

#[tokio::test]
async fn oversized_bodies_are_refused_by_their_announced_length() {
    let net = Net::start().await;
    for (length, status) in [("10485761", "413 "), ("-1", "400 "), ("1x", "400 ")] {
        let mut stream = tls(net.node(0).address()).await;
        let head =
            format!("POST /storage_rpc/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 13];
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_exact(&mut answer));
        read.await.unwrap().unwrap();
        assert_eq!(
            String::from_utf8(answer).unwrap(),
            format!("HTTP/1.1 {status}")
        );
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let net = Net::start().await;
    let mut stream = tls(net.node(0).address()).await;
    let head = "POST /storage_rpc/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 40000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // More than the buffers on the way hold.
    let body = vec![b'x'; 40_000_000];
    let written = tokio::time::timeout(Duration::from_secs(60), stream.write_all(&body));
    assert!(written.await.unwrap().is_err());
    assert_eq!(net.rpc(0, "info", json!({})).await.0, 200);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let net = Net::start().await;
    let mut stream = tls(net.node(0).address()).await;
    let request = "POST /ping_test/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Ends only when the node closes the connection; nothing here asked for that.
    let read = tokio::time::timeout(Duration::from_secs(100), stream.read_to_end(&mut answer));
    // Closed without TLS close_notify, as nodes do that go down.
    let ended = read.await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn direct_requests_are_limited() {
    let net = Net::start().await;
    let request = "POST /storage_rpc/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let mut stream = tls(net.node(0).address()).await;
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    // More than any machine gets back in the time this takes: pipelined, and each answered with an error.
    let send = async {
        for _ in 0..5000 {
            writer.write_all(request.as_bytes()).await.unwrap();
        }
    };
    let receive = async {
        let mut seen = String::new();
        let mut buffer = vec![0; 4096];
        while !seen.contains("429 Too Many Requests") {
            let count = reader.read(&mut buffer).await.unwrap();
            assert!(count > 0);
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    };
    let limited = async {
        tokio::select! {
            () = receive => {}
            () = async { send.await; std::future::pending().await } => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(60), limited)
        .await
        .unwrap();
    // Onion requests are not.
    assert_eq!(net.post(0, "/onion_req/v2", "").await.0, 400);
}

#[tokio::test]
async fn nodes_tell_the_time_and_the_node_list() {
    let net = Net::start().await;
    let (status, info) = net.rpc(0, "info", json!({})).await;
    assert_eq!(status, 200);
    let expected = json!({
        "version": [2, 8, 0], "timestamp": START_MS, "t": START_MS, "hf": [19, 6],
    });
    assert_eq!(info, expected);
    let params = json!({
        "endpoint": "get_service_nodes",
        "params": {"active_only": true, "fields": ["public_ip", "storage_port"]},
    });
    let (status, answer) = net.rpc(0, "oxend_request", params).await;
    assert_eq!(status, 200, "{answer}");
    let states = answer["result"]["service_node_states"].as_array().unwrap();
    let node = net.node(0);
    assert_eq!(
        states[0],
        json!({"public_ip": node.ip.to_string(), "storage_port": node.port})
    );
    assert_eq!(states.len(), 12);
    let params = json!({"endpoint": "ons_resolve", "params": {"type": 0, "name_hash": "AA=="}});
    let (status, answer) = net.rpc(0, "oxend_request", params).await;
    assert_eq!((status, &answer["result"]), (200, &json!({})));
    let params = json!({"endpoint": "get_service_nodes", "params": {"limit": "x"}});
    assert_eq!(net.rpc(0, "oxend_request", params).await.0, 400);
    let bad: Value = json!({"endpoint": "ons_resolve", "params": 5});
    assert_eq!(net.rpc(0, "oxend_request", bad).await.0, 400);
}
