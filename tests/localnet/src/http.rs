//! HTTP/1.1 over TCP or TLS, as nodes and the seed serve it.
//!
//! Bounded: connections and running requests per listener, size and reading time of a body, idle time of a
//! connection, time a request stays without an answer where that is a fault. A client that hangs up does not stop
//! what its request began: official nodes finish it too.
//! Facts: network.md 2.3, observed-nodes 19 and 22.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

/// Largest request body in bytes (network.md 10).
pub(crate) const MAX_BODY: u64 = 10_485_760;
/// Name in `Server` and `User-Agent` headers.
pub(crate) const SOFTWARE: &str = "Oxen Storage Server/2.8.0";

/// Further connections wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 512;
/// More requests at a time, those of clients that have hung up included, are answered 503.
const MAX_RUNNING: usize = 1024;
/// A connection without a request is closed after this time.
const IDLE: Duration = Duration::from_secs(10);
const HANDSHAKE: Duration = Duration::from_secs(10);
const READ_BODY: Duration = Duration::from_secs(60);
/// After this time the connection of a request that is never answered is cut.
const SILENCE: Duration = Duration::from_secs(600);

/// Ends a connection whose request is not answered.
#[derive(Debug, thiserror::Error)]
#[error("not answered")]
struct Silent;

/// A request with its whole body.
pub(crate) struct Call {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Who asks.
    pub from: IpAddr,
}

/// What goes back.
pub(crate) struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Bytes,
    /// One more header.
    pub header: Option<(HeaderName, HeaderValue)>,
}

impl Reply {
    pub(crate) fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type,
            body: body.into(),
            header: None,
        }
    }

    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(status, "text/plain", text.into())
    }

    pub(crate) fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(SERVER, HeaderValue::from_static(SOFTWARE));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.extend(self.header);
        response
    }
}

/// What answers requests.
pub(crate) trait Service: Send + Sync + 'static {
    /// Answers one request, or lets it wait for ever. Bounded in time by the service itself.
    fn answer(self: Arc<Self>, call: Call) -> impl Future<Output = Option<Reply>> + Send;

    /// Is over when the service moves at all. Until then connections are accepted, as the kernel does it for a
    /// process that stands still, and nothing is read from them or written to them.
    fn moving(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Serves until dropped; that closes all connections at once.
pub(crate) async fn serve<S: Service>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: Arc<S>,
) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let running = Arc::new(Semaphore::new(MAX_RUNNING));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Takes finished connections out of the set.
            Some(_) = connections.join_next() => continue,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: give others time to end.
                debug!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (tls, service, running) = (tls.clone(), Arc::clone(&service), Arc::clone(&running));
        connections.spawn(async move {
            let _permit = permit;
            // Without it small answers wait for acknowledgements; a connection works either way.
            let _ = stream.set_nodelay(true);
            service.moving().await;
            match tls {
                None => connection(stream, from.ip(), service, running).await,
                Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(stream, from.ip(), service, running).await,
                    _ => debug!("TLS handshake failed"),
                },
            }
        });
    }
}

async fn connection<S: Service>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    from: IpAddr,
    service: Arc<S>,
    running: Arc<Semaphore>,
) {
    let handler = service_fn(move |request| {
        let (service, running) = (Arc::clone(&service), Arc::clone(&running));
        async move {
            // All of this ends when the client hangs up; only the task goes on.
            service.moving().await;
            let reply = match (read(request, from).await, running.try_acquire_owned()) {
                (Err(refusal), _) => Some(refusal),
                (Ok(_), Err(_)) => Some(Reply::text(503, "Server busy, try again later")),
                (Ok(call), Ok(permit)) => {
                    let service = Arc::clone(&service);
                    let task = tokio::spawn(async move {
                        let _permit = permit;
                        service.answer(call).await
                    });
                    let failed = |_| Some(Reply::text(500, "request failed"));
                    task.await.unwrap_or_else(failed)
                }
            };
            service.moving().await;
            match reply {
                Some(reply) => Ok(reply.into_response()),
                None => {
                    tokio::time::sleep(SILENCE).await;
                    Err(Silent)
                }
            }
        }
    });
    let ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), handler)
        .await;
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}

async fn read(request: Request<Incoming>, from: IpAddr) -> Result<Call, Reply> {
    let too_large = || Reply {
        header: Some((CONNECTION, HeaderValue::from_static("close"))),
        ..Reply::text(413, "Request body too large")
    };
    let (parts, body) = request.into_parts();
    if body.size_hint().lower() > MAX_BODY {
        return Err(too_large());
    }
    let limit = usize::try_from(MAX_BODY).unwrap_or(usize::MAX);
    let body = match tokio::time::timeout(READ_BODY, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        _ => return Err(Reply::text(400, "Request body is incomplete")),
    };
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .to_owned();
    Ok(Call {
        method: parts.method,
        target,
        headers: parts.headers,
        body,
        from,
    })
}
