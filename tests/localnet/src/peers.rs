//! How nodes reach one another, and how an exit reaches a server.
//!
//! Official nodes use OxenMQ among themselves; a local network may use any inner transport (network.md 8).
//! Here it is HTTPS to the other node's own listener, on paths that answer 404 to everyone who does not know
//! the network's token. As with OxenMQ, a node that is down looks like one that is silent: a message waits
//! for it until the time is over.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, USER_AGENT};
use hyper::{Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tracing::debug;

use crate::directory::NodeInfo;
use crate::http::{Call, MAX_BODY, SOFTWARE};
use crate::tls::{TlsError, client_config};

/// Path of a request relayed to a swarm member.
pub(crate) const STORAGE: &str = "/peer/storage";
/// Path of the reachability test.
pub(crate) const PING: &str = "/ping_test/v1";
/// Header in which a pinged node names its key.
pub(crate) static SNODE_PUBKEY: HeaderName = HeaderName::from_static("x-oxen-snode-pubkey");
/// Path of an onion layer passed on.
pub(crate) const ONION: &str = "/peer/onion";

static TOKEN: HeaderName = HeaderName::from_static("x-localnet-peer");

/// Between attempts to connect.
const RETRY: Duration = Duration::from_millis(200);
/// Below the 10 s after which nodes close idle connections.
const POOL_IDLE: Duration = Duration::from_secs(5);
const POOL_PER_HOST: usize = 8;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PeerError {
    /// Silent or down until the time was over.
    Timeout,
    /// An answer came but could not be read.
    Malformed,
    /// The other side cannot be reached; only for servers.
    Transport(String),
}

/// The network's client, shared by all nodes.
pub(crate) struct Peers {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    token: String,
}

impl Peers {
    pub(crate) fn new(token: [u8; 16]) -> Result<Self, TlsError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(Duration::from_secs(5)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(client_config()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_PER_HOST)
            .build(connector);
        Ok(Self {
            client,
            token: hex::encode(token),
        })
    }

    /// Whether a request comes from a node of this network.
    pub(crate) fn is_peer(&self, call: &Call) -> bool {
        call.headers
            .get(&TOKEN)
            .is_some_and(|token| token.as_bytes() == self.token.as_bytes())
    }

    /// Sends `body` to a node and waits at most `limit` for its answer.
    pub(crate) async fn post(
        &self,
        to: SocketAddr,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<(u16, Bytes), PeerError> {
        let uri = format!("https://{to}{path}");
        let attempts = async {
            loop {
                let request = Request::post(&uri)
                    .header(&TOKEN, &self.token)
                    .body(Full::new(body.clone()))
                    .map_err(|_| PeerError::Malformed)?;
                match self.client.request(request).await {
                    Ok(response) => {
                        let status = response.status().as_u16();
                        let limit = usize::try_from(MAX_BODY * 2).unwrap_or(usize::MAX);
                        return match Limited::new(response.into_body(), limit).collect().await {
                            Ok(body) => Ok((status, body.to_bytes())),
                            Err(_) => Err(PeerError::Malformed),
                        };
                    }
                    Err(error) => {
                        debug!(%to, %error, "node not reached");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
        };
        tokio::time::timeout(limit, attempts)
            .await
            .unwrap_or(Err(PeerError::Timeout))
    }

    /// Pings a node as nodes ping each other (network.md 8.6): one attempt, which passes when the right key comes back.
    pub(crate) async fn ping(&self, node: &NodeInfo, limit: Duration) -> bool {
        let uri = format!("https://{}{PING}", node.address());
        let Ok(request) = Request::post(&uri).body(Full::new(Bytes::new())) else {
            return false;
        };
        let answered = tokio::time::timeout(limit, self.client.request(request)).await;
        let Ok(Ok(response)) = answered else {
            return false;
        };
        let key = response.headers().get(&SNODE_PUBKEY);
        key.is_some_and(|key| key.as_bytes() == STANDARD.encode(node.ed25519).as_bytes())
    }

    /// An exit's request to a server (network.md 5.5): one attempt, no redirects.
    pub(crate) async fn exit(
        &self,
        to: &Uri,
        body: Bytes,
        limit: Duration,
    ) -> Result<(u16, Bytes), PeerError> {
        let request = Request::post(to)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(USER_AGENT, SOFTWARE)
            .body(Full::new(body))
            .map_err(|error| PeerError::Transport(error.to_string()))?;
        let attempt = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| PeerError::Transport(error.to_string()))?;
            let status = response.status().as_u16();
            let limit = usize::try_from(MAX_BODY).unwrap_or(usize::MAX);
            match Limited::new(response.into_body(), limit).collect().await {
                Ok(body) => Ok((status, body.to_bytes())),
                Err(error) => Err(PeerError::Transport(error.to_string())),
            }
        };
        tokio::time::timeout(limit, attempt)
            .await
            .unwrap_or(Err(PeerError::Timeout))
    }
}
