//! [`Transport`] over HTTP/1.1 and TLS.
//!
//! Facts: network.md 2.2, 2.3; observed-nodes.md 19.

use std::net::SocketAddrV4;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::config::{Seed, digest};
use crate::sync::lock;
use crate::tls::{self, Accept};
use crate::transport::{Reply, Transport, TransportError};

/// Largest answer: what a node serves at most, and what base64 and JSON add to it (network.md 10).
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Nodes close a connection that is idle for 10 s; 9 s was seen to be safe.
const IDLE: Duration = Duration::from_secs(9);

/// Idle connections kept to one guard.
const IDLE_CONNECTIONS: usize = 4;

type HttpsClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// HTTP/1.1 over TLS, with connections to guards kept open between requests.
pub(crate) struct HttpsTransport {
    connect: Duration,
    clients: Mutex<Option<Clients>>,
}

#[derive(Clone)]
struct Clients {
    /// Reuses connections.
    pooled: HttpsClient,
    /// Opens a new one each time.
    fresh: HttpsClient,
}

impl HttpsTransport {
    pub(crate) fn new(connect: Duration) -> Self {
        let clients = tls::client_config(Accept::Any).ok().map(|config| Clients {
            pooled: client(config.clone(), connect, IDLE_CONNECTIONS),
            fresh: client(config, connect, 0),
        });
        Self {
            connect,
            clients: Mutex::new(clients),
        }
    }

    fn clients(&self) -> Result<Clients, TransportError> {
        lock(&self.clients).clone().ok_or(TransportError::Closed)
    }
}

fn client(config: rustls::ClientConfig, connect: Duration, idle_connections: usize) -> HttpsClient {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
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
            match post(&clients.pooled, uri.clone(), None, body.clone()).await {
                Err(TransportError::Broken) => post(&clients.fresh, uri, None, body).await,
                outcome => outcome,
            }
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
                    client(config, self.connect, 0)
                }
                // The client for nodes accepts any certificate, so it must never see an https seed.
                None if uri.scheme_str() == Some("http") => fresh,
                None => return Err(TransportError::Certificate),
            };
            post(&client, uri, Some("application/json"), body).await
        }
        .boxed()
    }

    fn close(&self) {
        lock(&self.clients).take();
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
    if is_certificate(error) {
        TransportError::Certificate
    } else if error.is_connect() {
        TransportError::Unreachable
    } else {
        TransportError::Broken
    }
}

/// The verifier's refusal is wrapped by the TLS stream into an I/O error and by the client into another.
fn is_certificate(error: &ClientError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if matches!(
            inner.or_else(|| error.downcast_ref()),
            Some(rustls::Error::InvalidCertificate(_))
        ) {
            return true;
        }
        next = error.source();
    }
    false
}
