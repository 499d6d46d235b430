//! TCP to wherever a request goes: directly, or through the SOCKS5 proxy and then only through it.
//!
//! Promise: with a proxy, the proxy is the only host this machine connects to, and names other than its own are
//! passed on to it unresolved.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;
use tower_service::Service;

use crate::proxy::Proxy;

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The host, as far as the proxy or the system says.
    #[error("host cannot be reached")]
    Host,
    /// The proxy is not there or speaks no SOCKS5.
    #[error("proxy cannot be reached")]
    Proxy,
    /// The proxy wants another login.
    #[error("proxy refuses us")]
    Login,
}

/// Connects.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    proxy: Option<Arc<Proxy>>,
}

impl Connector {
    /// A connector that waits as long as `connect` for TCP, to the proxy if there is one.
    pub(crate) fn new(connect: Duration, proxy: Option<Arc<Proxy>>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect));
        Self { tcp, proxy }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(context).map_err(|_| ConnectError::Host)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        match self.proxy.clone() {
            None => {
                let connecting = self.tcp.call(to);
                async move { connecting.await.map_err(|_| ConnectError::Host) }.boxed()
            }
            Some(proxy) => through(self.tcp.clone(), proxy, to).boxed(),
        }
    }
}

async fn through(
    mut tcp: HttpConnector,
    proxy: Arc<Proxy>,
    to: Uri,
) -> Result<TokioIo<TcpStream>, ConnectError> {
    let host = to.host().ok_or(ConnectError::Host)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let default = if to.scheme_str() == Some("http") {
        80
    } else {
        443
    };
    let target = (host, to.port_u16().unwrap_or(default));
    let at: Uri = format!("http://{}:{}", proxy.host(), proxy.port())
        .parse()
        .map_err(|_| ConnectError::Proxy)?;
    let stream = tcp.call(at).await.map_err(|_| ConnectError::Proxy)?;
    let stream = stream.into_inner();
    let tunnel = match proxy.credentials() {
        None => Socks5Stream::connect_with_socket(stream, target).await,
        Some(login) => {
            let (user, password) = (login.user.as_str(), login.password.as_str());
            Socks5Stream::connect_with_password_and_socket(stream, target, user, password).await
        }
    };
    let tunnel = tunnel.map_err(|error| reason(&error))?;
    Ok(TokioIo::new(tunnel.into_inner()))
}

/// What the proxy says of the host is the host's fault; everything else is its own.
fn reason(error: &tokio_socks::Error) -> ConnectError {
    use tokio_socks::Error;
    match error {
        Error::GeneralSocksServerFailure
        | Error::ConnectionNotAllowedByRuleset
        | Error::NetworkUnreachable
        | Error::HostUnreachable
        | Error::ConnectionRefused
        | Error::TtlExpired
        | Error::CommandNotSupported
        | Error::AddressTypeNotSupported => ConnectError::Host,
        Error::NoAcceptableAuthMethods
        | Error::AuthorizationRequired
        | Error::PasswordAuthFailure(_) => ConnectError::Login,
        _ => ConnectError::Proxy,
    }
}
