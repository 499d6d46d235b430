//! A network for a test, and a client that talks to its nodes directly.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use getrandom::SysRng;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rand_core::UnwrapErr;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::{Map, Value, json};
use session_localnet::{Localnet, ManualClock, NodeInfo, Options};
use session_protocol::identity::{Prefix, verify_ed25519};
use session_protocol::onion::{self, Destination, EncType, Hop, LayerKey, frame};
use session_protocol::storage::namespace::Namespace;
use session_protocol::storage::signed;
use session_protocol::subaccount::{AuthData, Permissions, Token};
use session_protocol::{AccountKeys, AccountSeed, Identifier, swarm};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where the manual clock starts.
pub const START_MS: u64 = 1_700_000_000_000;

pub struct Net {
    pub network: Localnet,
    pub clock: Arc<ManualClock>,
    pub dir: TempDir,
}

impl Net {
    /// Twelve nodes.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A network with other options.
    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::at(START_MS));
        let mut options = Options::new(dir.path());
        options.clock = clock.clone();
        change(&mut options);
        let network = session_localnet::start(options).await.unwrap();
        Self {
            network,
            clock,
            dir,
        }
    }

    pub fn node(&self, index: usize) -> &NodeInfo {
        &self.network.nodes()[index]
    }

    pub fn swarm_of(&self, account: Identifier) -> u64 {
        let ids: Vec<u64> = self
            .network
            .nodes()
            .iter()
            .map(|node| node.swarm_id)
            .collect();
        swarm::nearest_swarm(&ids, swarm::swarm_space(&account)).unwrap()
    }

    /// Indices of the nodes that hold an account.
    pub fn members(&self, account: Identifier) -> Vec<usize> {
        let swarm = self.swarm_of(account);
        self.indices(|node| node.swarm_id == swarm)
    }

    /// Indices of the nodes that do not.
    pub fn strangers(&self, account: Identifier) -> Vec<usize> {
        let swarm = self.swarm_of(account);
        self.indices(|node| node.swarm_id != swarm)
    }

    fn indices(&self, which: impl Fn(&NodeInfo) -> bool) -> Vec<usize> {
        let nodes = self.network.nodes().iter().enumerate();
        nodes
            .filter(|(_, node)| which(node))
            .map(|(index, _)| index)
            .collect()
    }

    /// A direct storage request.
    pub async fn rpc(&self, index: usize, method: &str, params: Value) -> (u16, Value) {
        let body = json!({"method": method, "params": params}).to_string();
        let (status, body) = self.post(index, "/storage_rpc/v1", body).await;
        (status, json_or_text(&body))
    }

    /// A direct request to a node.
    pub async fn post(&self, index: usize, path: &str, body: impl Into<Bytes>) -> (u16, Bytes) {
        let request = Request::post(path).body(Full::new(body.into())).unwrap();
        let (parts, body) = https(self.node(index).address(), request).await;
        (parts.status.as_u16(), body)
    }

    /// A request through an onion path of these nodes to the last of them.
    pub async fn onion(
        &self,
        enc_type: EncType,
        path: &[usize],
        to: usize,
        payload: &Value,
    ) -> (u16, Value) {
        let destination = Destination::Node(hop(self.node(to)));
        let hops: Vec<Hop> = path.iter().map(|index| hop(self.node(*index))).collect();
        let payload = payload.to_string();
        let request = onion::build(
            &mut rng(),
            enc_type,
            &hops,
            &destination,
            payload.as_bytes(),
        )
        .unwrap();
        let (status, body) = self.post(path[0], "/onion_req/v2", request.body).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let answer = request.reply.open_node(&body).unwrap();
        (answer.status, answer.body)
    }
}

pub fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

pub fn hop(node: &NodeInfo) -> Hop {
    Hop {
        ed25519: node.ed25519,
        x25519: node.x25519,
    }
}

/// Checks the signature in every member's element; `text` is what the element must sign.
pub fn assert_signed<T: AsRef<[u8]>>(net: &Net, answer: &Value, text: impl Fn(&Value) -> T) {
    let swarm = answer["swarm"].as_object().unwrap();
    assert!(!swarm.is_empty());
    for (key, element) in swarm {
        let nodes = net.network.nodes();
        let node = nodes.iter().find(|node| hex::encode(node.ed25519) == *key);
        let signature = element["signature"].as_str().unwrap();
        let signature = STANDARD.decode(signature).unwrap().try_into().unwrap();
        assert!(
            verify_ed25519(&node.unwrap().ed25519, text(element).as_ref(), &signature),
            "{element}"
        );
    }
}

pub fn json_or_text(body: &[u8]) -> Value {
    let text = String::from_utf8_lossy(body).into_owned();
    serde_json::from_slice(body).unwrap_or(Value::String(text))
}

/// An account with keys.
pub struct Account(pub AccountKeys);

impl Account {
    pub fn new() -> Self {
        Self(AccountKeys::from_seed(&AccountSeed::generate(&mut rng())))
    }

    pub fn id(&self) -> Identifier {
        self.0.account_id().into()
    }

    /// Adds account, key and signature of `text` to `params`.
    pub fn sign(&self, params: Value, text: &str) -> Value {
        let mut params = object(params);
        params.insert("pubkey".into(), self.id().to_string().into());
        params.insert(
            "pubkey_ed25519".into(),
            hex::encode(self.0.ed25519_public()).into(),
        );
        let signature = STANDARD.encode(self.0.sign(text.as_bytes()));
        params.insert("signature".into(), signature.into());
        params.into()
    }

    /// Parameters of a store to namespace 0.
    pub fn store(&self, data: &[u8], timestamp: u64, ttl: u64) -> Value {
        json!({
            "pubkey": self.id().to_string(), "data": STANDARD.encode(data),
            "timestamp": timestamp, "ttl": ttl,
        })
    }

    /// Parameters of a signed retrieve.
    pub fn retrieve(&self, namespace: i16, timestamp: u64) -> Value {
        let text = signed::retrieve(Namespace(namespace), timestamp);
        self.sign(
            json!({"namespace": namespace, "timestamp": timestamp}),
            &text,
        )
    }
}

/// A group, with the key of its admins.
pub struct Group(pub AccountKeys);

impl Group {
    pub fn new() -> Self {
        Self(Account::new().0)
    }

    pub fn id(&self) -> Identifier {
        Identifier {
            prefix: Prefix::Group,
            key: self.0.ed25519_public(),
        }
    }

    /// Adds account and an admin's signature of `text` to `params`.
    pub fn sign(&self, params: Value, text: impl AsRef<[u8]>) -> Value {
        let mut params = object(params);
        params.insert("pubkey".into(), self.id().to_string().into());
        let signature = STANDARD.encode(self.0.sign(text.as_ref()));
        params.insert("signature".into(), signature.into());
        params.into()
    }

    /// A new member that may do this.
    pub fn member(&self, permissions: Permissions) -> Member {
        let keys = Account::new().0;
        let auth = AuthData::make(&self.0, &keys.account_id(), permissions).unwrap();
        Member {
            group: self.id(),
            keys,
            auth,
        }
    }
}

/// A member of a group, with what the admin gave it.
pub struct Member {
    group: Identifier,
    keys: AccountKeys,
    auth: AuthData,
}

impl Member {
    pub fn token(&self) -> Token {
        self.auth.token(&self.keys).unwrap()
    }

    /// Adds account, token and the member's signature of `text` to `params`.
    pub fn sign(&self, params: Value, text: impl AsRef<[u8]>) -> Value {
        let proof = self.auth.prove(&self.keys, text.as_ref()).unwrap();
        let mut params = object(params);
        params.insert("pubkey".into(), self.group.to_string().into());
        for (name, bytes) in [
            ("subaccount", proof.token.as_bytes().as_slice()),
            ("subaccount_sig", proof.token_signature.as_slice()),
            ("signature", proof.signature.as_slice()),
        ] {
            params.insert(name.into(), STANDARD.encode(bytes).into());
        }
        params.into()
    }
}

pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("no object: {other}"),
    }
}

pub fn with(params: Value, name: &str, value: Value) -> Value {
    let mut params = object(params);
    params.insert(name.into(), value);
    params.into()
}

pub fn without(params: Value, name: &str) -> Value {
    let mut params = object(params);
    params.remove(name);
    params.into()
}

/// A frame for `node` alone, and the key that opens its answer.
pub fn layer(node: &NodeInfo, blob: &[u8], control: &str) -> (Vec<u8>, LayerKey) {
    let pair = AccountKeys::from_seed(&AccountSeed::generate(&mut rng()));
    let key = LayerKey::client(EncType::XChaCha20, pair.x25519_secret(), &node.x25519).unwrap();
    let plaintext = frame::encode(blob, control.as_bytes()).unwrap();
    let ephemeral = hex::encode(pair.x25519_public());
    let outer = json!({"ephemeral_key": ephemeral, "enc_type": "xchacha20"}).to_string();
    let blob = key.encrypt(&mut rng(), &plaintext).unwrap();
    (frame::encode(&blob, outer.as_bytes()).unwrap(), key)
}

/// A connection to a TLS listener.
pub async fn tls(to: SocketAddr) -> tokio_rustls::client::TlsStream<TcpStream> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    let stream = TcpStream::connect(to).await.unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::IpAddress(to.ip().into()), stream)
        .await
        .unwrap()
}

pub async fn https(
    to: SocketAddr,
    request: Request<Full<Bytes>>,
) -> (hyper::http::response::Parts, Bytes) {
    exchange(tls(to).await, request).await
}

pub async fn http(
    to: SocketAddr,
    request: Request<Full<Bytes>>,
) -> (hyper::http::response::Parts, Bytes) {
    exchange(TcpStream::connect(to).await.unwrap(), request).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: Request<Full<Bytes>>,
) -> (hyper::http::response::Parts, Bytes) {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    request
        .headers_mut()
        .insert("host", "localhost".parse().unwrap());
    let exchange = async {
        let response = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    };
    tokio::time::timeout(Duration::from_secs(60), exchange)
        .await
        .unwrap()
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
