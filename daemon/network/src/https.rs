//! [`Transport`] over HTTP/1.1 and TLS, through a proxy if there is one.
//!
//! Facts: network.md 2.2, 2.3; observed-nodes.md 19.

use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::config::{Seed, digest};
use crate::connector::{ConnectError, Connector};
use crate::proxy::Proxy;
use crate::sync::lock;
use crate::tls::{self, Accept};
use crate::transport::{Reply, Transport, TransportError};

/// Largest answer: what a node serves at most, and what base64 and JSON add to it (network.md 10).
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Nodes close a connection that is idle for 10 s; 9 s was seen to be safe.
const IDLE: Duration = Duration::from_secs(9);

/// Idle connections kept to one guard.
const IDLE_CONNECTIONS: usize = 4;

type HttpsClient = Client<HttpsConnector<Connector>, Full<Bytes>>;

/// HTTP/1.1 over TLS, with connections to guards kept open between requests.
pub struct HttpsTransport {
    connector: Connector,
    clients: Mutex<Option<Clients>>,
    /// The proxy's reason, if the last request failed for it.
    trouble: Mutex<Option<&'static str>>,
}

#[derive(Clone)]
struct Clients {
    /// Reuses connections.
    pooled: HttpsClient,
    /// Opens a new one each time.
    fresh: HttpsClient,
}

impl Clients {
    /// Without any connection yet.
    fn new(connector: &Connector) -> Option<Self> {
        let config = tls::client_config(Accept::Any).ok()?;
        Some(Self {
            pooled: client(config.clone(), connector.clone(), IDLE_CONNECTIONS),
            fresh: client(config, connector.clone(), 0),
        })
    }
}

impl HttpsTransport {
    /// A transport that waits as long as `connect` for a TCP connection, to the proxy if there is one.
    pub fn new(connect: Duration, proxy: Option<Proxy>) -> Self {
        let connector = Connector::new(connect, proxy.map(Arc::new));
        Self {
            clients: Mutex::new(Clients::new(&connector)),
            connector,
            trouble: Mutex::new(None),
        }
    }

    fn clients(&self) -> Result<Clients, TransportError> {
        lock(&self.clients).clone().ok_or(TransportError::Closed)
    }

    fn noted(&self, outcome: Result<Reply, TransportError>) -> Result<Reply, TransportError> {
        let reason = match &outcome {
            Ok(_) => None,
            Err(error) => error.proxy_reason(),
        };
        *lock(&self.trouble) = reason;
        outcome
    }
}

fn client(
    config: rustls::ClientConfig,
    connector: Connector,
    idle_connections: usize,
) -> HttpsClient {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(idle_connections)
        .build(connector)
}

impl Transport for HttpsTransport {
    fn onion(
        &self,
        guard: SocketAddrV4,
        body: Bytes,
    ) -> BoxFuture<'_, Result<Reply, TransportError>> {
        async move {
            let clients = self.clients()?;
            let uri: Uri = format!("https://{guard}/onion_req/v2")
                .parse()
                .map_err(|_| TransportError::Unreachable)?;
            self.noted(post_twice(&clients, uri, body).await)
        }
        .boxed()
    }

    fn seed<'a>(
        &'a self,
        seed: &'a Seed,
        body: Bytes,
    ) -> BoxFuture<'a, Result<Reply, TransportError>> {
        async move {
            let fresh = self.clients()?.fresh;
            let uri: Uri = format!("{}/json_rpc", seed.url)
                .parse()
                .map_err(|_| TransportError::Unreachable)?;
            let client = match &seed.pin {
                Some(pin) => {
                    let key = digest(pin).ok_or(TransportError::Certificate)?;
                    let certificate = seed.fingerprint;
                    let config = tls::client_config(Accept::Pinned { key, certificate })
                        .map_err(|_| TransportError::Certificate)?;
                    client(config, self.connector.clone(), 0)
                }
                // The client for nodes accepts any certificate, so it must never see an https seed.
                None if uri.scheme_str() == Some("http") => fresh,
                None => return Err(TransportError::Certificate),
            };
            self.noted(post(&client, uri, Some("application/json"), body).await)
        }
        .boxed()
    }

    fn forget_connections(&self) {
        let mut clients = lock(&self.clients);
        // Closed stays closed.
        if clients.is_some() {
            *clients = Clients::new(&self.connector);
        }
    }

    fn trouble(&self) -> Option<&'static str> {
        *lock(&self.trouble)
    }

    fn close(&self) {
        lock(&self.clients).take();
    }
}

/// A connection from the pool may turn out to be dead; a new one is tried once.
async fn post_twice(clients: &Clients, uri: Uri, body: Bytes) -> Result<Reply, TransportError> {
    match post(&clients.pooled, uri.clone(), None, body.clone()).await {
        Err(TransportError::Broken) => post(&clients.fresh, uri, None, body).await,
        outcome => outcome,
    }
}

async fn post(
    client: &HttpsClient,
    uri: Uri,
    content_type: Option<&str>,
    body: Bytes,
) -> Result<Reply, TransportError> {
    let mut request = Request::builder().method(Method::POST).uri(uri);
    if let Some(content_type) = content_type {
        request = request.header(CONTENT_TYPE, content_type);
    }
    let request = request
        .body(Full::new(body))
        .map_err(|_| TransportError::Unreachable)?;
    let response = client.request(request).await.map_err(|e| reason(&e))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                TransportError::TooLarge
            } else {
                TransportError::Broken
            }
        })?
        .to_bytes();
    Ok(Reply { status, body })
}

fn reason(error: &ClientError) -> TransportError {
    let refused = |error: &rustls::Error| matches!(error, rustls::Error::InvalidCertificate(_));
    if cause(error).is_some_and(refused) {
        return TransportError::Certificate;
    }
    match cause(error) {
        Some(ConnectError::Proxy) => TransportError::ProxyUnreachable,
        Some(ConnectError::Login) => TransportError::ProxyRefused,
        Some(ConnectError::Host) => TransportError::Unreachable,
        None if error.is_connect() => TransportError::Unreachable,
        None => TransportError::Broken,
    }
}

/// The first error of a kind among the causes. The verifier's refusal, for one, is wrapped by the TLS stream into an
/// I/O error and by the client into another.
fn cause<T: std::error::Error + 'static>(error: &ClientError) -> Option<&T> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error's source is that of what it wraps, so that would be skipped.
        next = match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as _),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    fn clients() -> Clients {
        let transport = HttpsTransport::new(Duration::from_secs(10), None);
        transport.clients().unwrap()
    }

    /// Reads one request of a known body.
    async fn request(stream: &mut TcpStream) -> bool {
        let mut seen = Vec::new();
        while !seen.ends_with(b"body") {
            match stream.read_buf(&mut seen).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
        }
        true
    }

    async fn server() -> (TcpListener, Uri) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        (listener, uri.parse().unwrap())
    }

    #[tokio::test]
    async fn a_kept_connection_that_breaks_is_replaced_once() {
        let (listener, uri) = server().await;
        let served = tokio::spawn(async move {
            let (mut first, _) = listener.accept().await.unwrap();
            assert!(request(&mut first).await);
            first.write_all(ANSWER).await.unwrap();
            // The second request arrives on the same connection, which then breaks.
            assert!(request(&mut first).await);
            drop(first);
            let (mut second, _) = listener.accept().await.unwrap();
            assert!(request(&mut second).await);
            second.write_all(ANSWER).await.unwrap();
        });
        let clients = clients();
        for _ in 0..2 {
            let reply = post_twice(&clients, uri.clone(), "body".into())
                .await
                .unwrap();
            assert_eq!((reply.status, &reply.body[..]), (200, &b"ok"[..]));
        }
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_always_breaks_off_is_asked_twice_and_no_more() {
        let (listener, uri) = server().await;
        let served = tokio::spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert!(request(&mut stream).await);
            }
            listener
        });
        let outcome = post_twice(&clients(), uri, "body".into()).await;
        assert_eq!(outcome.unwrap_err(), TransportError::Broken);
        // Bound until here, so that a third try would have waited for an answer.
        drop(served.await.unwrap());
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        let (listener, uri) = server().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\n\r\n";
            stream.write_all(head).await.unwrap();
            while stream.write_all(&[0; 65_536]).await.is_ok() {}
        });
        let outcome = post_twice(&clients(), uri, "body".into()).await;
        assert_eq!(outcome.unwrap_err(), TransportError::TooLarge);
    }

    #[tokio::test]
    async fn nobody_there_is_told_apart() {
        let (listener, uri) = server().await;
        drop(listener);
        let outcome = post_twice(&clients(), uri, "body".into()).await;
        assert_eq!(outcome.unwrap_err(), TransportError::Unreachable);
        let transport = HttpsTransport::new(Duration::from_secs(10), None);
        transport.close();
        let guard = SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 1);
        let outcome = transport.onion(guard, Bytes::new()).await;
        assert_eq!(outcome.unwrap_err(), TransportError::Closed);
    }
}
