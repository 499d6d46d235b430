//! Connections as official nodes make and break them (observed-nodes.md 19, 21): both kinds of certificates, both
//! versions of TLS, and idle connections that are closed without a word.
//!
//! The certificates in `certificates/` are like those of official nodes: RSA-2048 and P-256, version 3 without
//! extensions, CN=localhost, serial 1.

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;

use hyper::body::Bytes;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, NamedGroup, ServerConfig, SupportedProtocolVersion};
use session_network::{HttpsTransport, Transport as _, TransportError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::support::DEADLINE;

const RSA: [&[u8]; 2] = [
    include_bytes!("certificates/rsa.cert.der"),
    include_bytes!("certificates/rsa.key.der"),
];
const P256: [&[u8]; 2] = [
    include_bytes!("certificates/p256.cert.der"),
    include_bytes!("certificates/p256.key.der"),
];

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A node's listener.
struct Node {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl Node {
    async fn with(
        provider: CryptoProvider,
        certificate: [&'static [u8]; 2],
        versions: &[&'static SupportedProtocolVersion],
    ) -> (Self, SocketAddrV4) {
        let [certificate, key] = certificate;
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(certificate)],
                PrivatePkcs8KeyDer::from(key).into(),
            )
            .unwrap();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
            panic!("an IPv4 address was asked for");
        };
        let tls = TlsAcceptor::from(Arc::new(config));
        (Self { listener, tls }, address)
    }

    async fn start() -> (Self, SocketAddrV4) {
        Self::with(ring::default_provider(), P256, &[&TLS12, &TLS13]).await
    }

    async fn accept(&self) -> TlsStream<TcpStream> {
        let (stream, _) = self.listener.accept().await.unwrap();
        self.tls.accept(stream).await.unwrap()
    }
}

/// Reads one request, of the body that is always sent here.
async fn request(stream: &mut TlsStream<TcpStream>) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"onion") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
    }
    assert!(seen.starts_with(b"POST /onion_req/v2 HTTP/1.1\r\n"));
}

async fn answer(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(ANSWER).await.unwrap();
    stream.flush().await.unwrap();
}

async fn ask(transport: &HttpsTransport, node: SocketAddrV4) -> Result<u16, TransportError> {
    let asked = transport.onion(node, Bytes::from_static(b"onion"));
    let reply = tokio::time::timeout(DEADLINE, asked).await.unwrap()?;
    assert_eq!(&reply.body[..], b"ok");
    Ok(reply.status)
}

async fn accepted(node: (Node, SocketAddrV4)) {
    let (node, address) = node;
    let served = tokio::spawn(async move {
        let mut stream = node.accept().await;
        request(&mut stream).await;
        answer(&mut stream).await;
        let (_, session) = stream.get_ref();
        assert_eq!(session.alpn_protocol(), None);
        session.protocol_version().unwrap()
    });
    let transport = HttpsTransport::new(DEADLINE, None);
    assert_eq!(ask(&transport, address).await, Ok(200));
    served.await.unwrap();
}

#[tokio::test]
async fn both_kinds_of_certificates_and_both_versions_are_accepted() {
    for certificate in [RSA, P256] {
        for version in [&TLS12, &TLS13] {
            accepted(Node::with(ring::default_provider(), certificate, &[version]).await).await;
        }
    }
}

#[tokio::test]
async fn the_narrow_choice_of_newer_nodes_is_enough() {
    let suites = [
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    for suite in suites {
        for group in [NamedGroup::X25519, NamedGroup::secp256r1] {
            let mut provider = ring::default_provider();
            provider
                .cipher_suites
                .retain(|known| known.suite() == suite);
            provider.kx_groups.retain(|known| known.name() == group);
            accepted(Node::with(provider, P256, &[&TLS12]).await).await;
        }
    }
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced() {
    let (node, address) = Node::start().await;
    let served = tokio::spawn(async move {
        for _ in 0..3 {
            let mut stream = node.accept().await;
            request(&mut stream).await;
            answer(&mut stream).await;
            // TCP ends, TLS does not: no close_notify.
            let (tcp, _) = stream.into_inner();
            drop(tcp);
        }
    });
    let transport = HttpsTransport::new(DEADLINE, None);
    for _ in 0..3 {
        assert_eq!(ask(&transport, address).await, Ok(200));
    }
    served.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_ends_under_a_request_is_replaced_once() {
    let (node, address) = Node::start().await;
    let served = tokio::spawn(async move {
        let mut stream = node.accept().await;
        request(&mut stream).await;
        answer(&mut stream).await;
        // The next request is on its way when the node goes.
        request(&mut stream).await;
        drop(stream.into_inner());
        let mut stream = node.accept().await;
        request(&mut stream).await;
        answer(&mut stream).await;
        // And in the middle of an answer, twice.
        let mut stream = node.accept().await;
        request(&mut stream).await;
        stream.write_all(&ANSWER[..ANSWER.len() - 1]).await.unwrap();
        stream.flush().await.unwrap();
        drop(stream.into_inner());
        let mut stream = node.accept().await;
        request(&mut stream).await;
        drop(stream.into_inner());
        node
    });
    let transport = HttpsTransport::new(DEADLINE, None);
    assert_eq!(ask(&transport, address).await, Ok(200));
    assert_eq!(ask(&transport, address).await, Ok(200));
    assert_eq!(ask(&transport, address).await, Err(TransportError::Broken));
    // Bound until here, so that another try would have waited.
    drop(served.await.unwrap());
}
