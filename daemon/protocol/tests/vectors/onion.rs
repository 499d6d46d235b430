//! Onion requests: layers, whole requests with what each hop sees, and answers.

use session_protocol::onion::frame;
use session_protocol::onion::v4::{ServerRequest, decode_response, encode_request};
use session_protocol::onion::{
    AnswerError, Destination, EncType, Hop, LayerError, LayerKey, ServerDestination, build,
};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::support::{Case, Replay, Report};

pub fn check(case: &Case<'_>, report: &mut Report) {
    match case.kind() {
        Some("hop") => hop(case),
        Some("hop_must_fail") => {
            let key = node_key(case);
            let opened = key.decrypt(&case.bytes("request_ciphertext"));
            assert_eq!(opened, Err(LayerError::Decrypt));
        }
        Some("onion") => onion(case),
        Some("v4_response") => v4_response(case),
        other => panic!("unknown type {other:?}"),
    }
    report.pass();
}

fn enc_type(case: &Case<'_>) -> EncType {
    let name = case.text("enc_type");
    let enc_type = EncType::parse(name).expect("a known encryption");
    assert_eq!(enc_type.as_str(), name);
    enc_type
}

fn node_key(case: &Case<'_>) -> LayerKey {
    let secret = secret(case, "server_x25519_sk", "server_x25519_pk");
    LayerKey::node(enc_type(case), &secret, &case.array("client_x25519_pk")).expect("a key")
}

fn secret(case: &Case<'_>, secret: &str, public: &str) -> StaticSecret {
    let secret = StaticSecret::from(case.array::<32>(secret));
    assert_eq!(PublicKey::from(&secret).to_bytes(), case.array(public));
    secret
}

fn hop(case: &Case<'_>) {
    let client = secret(case, "client_x25519_sk", "client_x25519_pk");
    let client_key =
        LayerKey::client(enc_type(case), &client, &case.array("server_x25519_pk")).expect("a key");
    let node_key = node_key(case);
    let plaintext = case.bytes("plaintext");
    for (from, to, nonce, ciphertext) in [
        (
            &client_key,
            &node_key,
            "request_nonce",
            "request_ciphertext",
        ),
        (
            &node_key,
            &client_key,
            "response_nonce",
            "response_ciphertext",
        ),
    ] {
        let mut rng = Replay::of([case.bytes(nonce)]);
        let encrypted = from.encrypt(&mut rng, &plaintext).expect("a ciphertext");
        rng.finish();
        assert_eq!(hex::encode(&encrypted), case.text(ciphertext));
        assert_eq!(to.decrypt(&encrypted).as_ref(), Ok(&plaintext));
    }
}

fn onion(case: &Case<'_>) {
    let enc_type = enc_type(case);
    let path: Vec<Hop> = case.list("hops").map(|hop| node(&hop)).collect();
    let described = case.object("destination");
    let (destination, payload) = destination(&described, case.bytes("payload"));
    let mut rng = case.draws("rng");
    let request = build(&mut rng, enc_type, &path, &destination, &payload).expect("a request");
    rng.finish();
    assert_eq!(hex::encode(&request.body), case.text("blob"));

    // Through the hops with their secret keys, as the nodes do it.
    let mut layers = case.list("layers");
    let (mut blob, mut control) = frame::decode(&request.body).expect("a frame");
    let mut decrypted;
    for (index, hop) in case.list("hops").enumerate() {
        let layer = layers.next().expect("a layer");
        assert_eq!(layer.number("hop"), index as u64);
        decrypted = peel(&hop, blob, control);
        assert_eq!(hex::encode(&decrypted), layer.text("decrypted"));
        (blob, control) = frame::decode(&decrypted).expect("a frame");
        assert_eq!(control, layer.text("control_json").as_bytes());
    }
    let layer = layers.next().expect("the destination's layer");
    assert_eq!(layer.text("hop"), "destination");
    let ephemeral = ephemeral_key(control);
    let innermost = peel(&described, blob, control);
    assert_eq!(hex::encode(&innermost), layer.text("decrypted"));
    match destination {
        Destination::Server(_) => assert_eq!(innermost, payload),
        Destination::Node(_) => {
            let (inner, control) = frame::decode(&innermost).expect("a frame");
            assert_eq!(inner, payload);
            assert_eq!(control, br#"{"headers":""}"#);
        }
    }
    assert!(layers.next().is_none());

    let last = case.object("final_keypair");
    secret(&last, "sk", "pk");
    assert_eq!(ephemeral, last.array("pk"));
    let response = case.object("response");
    let ciphertext = response.bytes("ciphertext");
    assert!(ciphertext.starts_with(&response.bytes("nonce")));
    assert_eq!(request.reply.enc_type(), enc_type);
    let opened = request.reply.open_raw(&ciphertext).expect("a response");
    assert_eq!(hex::encode(opened), response.text("plaintext"));
    // The destination makes the same bytes.
    let node = StaticSecret::from(described.array::<32>("x25519_sk"));
    let key = LayerKey::node(enc_type, &node, &ephemeral).expect("a key");
    let mut rng = Replay::of([response.bytes("nonce")]);
    assert_eq!(
        key.encrypt(&mut rng, &response.bytes("plaintext")),
        Ok(ciphertext)
    );
    let tampered = case.object("response_must_fail").bytes("ciphertext");
    assert_eq!(
        request.reply.open_raw(&tampered),
        Err(AnswerError::NotFromDestination)
    );
}

fn node(case: &Case<'_>) -> Hop {
    Hop {
        ed25519: case.array("ed25519_pk"),
        x25519: case.array("x25519_pk"),
    }
}

/// The destination, and the payload as it is encrypted to it.
fn destination(case: &Case<'_>, body: Vec<u8>) -> (Destination, Vec<u8>) {
    match case.text("kind") {
        "snode" => (Destination::Node(node(case)), body),
        "server" => {
            let headers = case.list("headers").map(|pair| {
                let pair = pair.0.as_array().expect("a pair");
                let text = |index: usize| pair[index].as_str().expect("text").to_owned();
                (text(0), text(1))
            });
            let payload = encode_request(&ServerRequest {
                method: case.text("method").into(),
                endpoint: case.text("endpoint").into(),
                headers: headers.collect(),
                body: case.flag("has_body").then_some(body),
            });
            let server = ServerDestination {
                x25519: case.array("x25519_pk"),
                host: case.text("host").into(),
                https: match case.text("protocol") {
                    "https" => true,
                    "http" => false,
                    other => panic!("unknown protocol {other}"),
                },
                port: case
                    .get("port")
                    .map(|_| case.number("port").try_into().expect("a port")),
                target: ServerDestination::V4_TARGET.into(),
            };
            (Destination::Server(server), payload.expect("a payload"))
        }
        other => panic!("unknown destination {other}"),
    }
}

/// Decrypts a hop's layer with what the layer outside says about it.
fn peel(hop: &Case<'_>, blob: &[u8], control: &[u8]) -> Vec<u8> {
    let secret = secret(hop, "x25519_sk", "x25519_pk");
    let json: serde_json::Value = serde_json::from_slice(control).expect("control data");
    let enc_type = json["enc_type"].as_str().and_then(EncType::parse);
    let key = LayerKey::node(
        enc_type.expect("an encryption"),
        &secret,
        &ephemeral_key(control),
    );
    key.expect("a key").decrypt(blob).expect("a layer")
}

fn ephemeral_key(control: &[u8]) -> [u8; 32] {
    let json: serde_json::Value = serde_json::from_slice(control).expect("control data");
    Case(&json).array("ephemeral_key")
}

fn v4_response(case: &Case<'_>) {
    let response = decode_response(&case.bytes("encoded")).expect("a response");
    assert_eq!(u64::from(response.code), case.number("code"));
    let body = case.get("body").map(|_| case.bytes("body"));
    assert_eq!(response.body, body.unwrap_or_default());
    let headers = case.value("headers").as_object().expect("headers");
    assert_eq!(headers.len(), response.headers.len());
    for (name, value) in headers {
        assert_eq!(
            response.headers.get(name).map(String::as_str),
            value.as_str()
        );
    }
}
