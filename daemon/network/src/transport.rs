//! The two things that leave the machine: onion requests to guards, and the request for the list of nodes to
//! seeds. A trait, so that tests can put something else in place of the internet.
//!
//! Facts: network.md 1.3, 2.3; observed-nodes.md 19 (connections close after 10 s idle), 22.

use std::net::SocketAddrV4;

use futures_util::future::BoxFuture;
use hyper::body::Bytes;

use crate::config::Seed;

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Whole body.
    pub body: Bytes,
}

/// Why there is no HTTP answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection.
    #[error("host cannot be reached")]
    Unreachable,
    /// Nobody answers where the proxy should be, or it speaks no SOCKS5. Nothing has left for anyone else.
    #[error("proxy cannot be reached")]
    ProxyUnreachable,
    /// The proxy does not let us in: user or password are missing or wrong.
    #[error("proxy refuses us")]
    ProxyRefused,
    /// The certificate is not the pinned one.
    #[error("certificate is not the pinned one")]
    Certificate,
    /// The connection broke before the answer was complete.
    #[error("connection broke")]
    Broken,
    /// The answer is larger than any proper one.
    #[error("answer is too large")]
    TooLarge,
    /// [`Transport::close`] was called.
    #[error("transport is closed")]
    Closed,
}

impl TransportError {
    /// Stable name of the reason, if it is the proxy: then it is nobody else's fault.
    pub(crate) fn proxy_reason(self) -> Option<&'static str> {
        match self {
            Self::ProxyUnreachable => Some("PROXY_UNREACHABLE"),
            Self::ProxyRefused => Some("PROXY_REFUSED"),
            _ => None,
        }
    }
}

/// Carries requests. Deadlines are the caller's: a dropped future ends the request.
pub trait Transport: Send + Sync + 'static {
    /// POSTs an onion request to a guard. A connection that was idle and turns out to be dead is replaced by a
    /// fresh one once: every request may be repeated.
    fn onion(
        &self,
        guard: SocketAddrV4,
        body: Bytes,
    ) -> BoxFuture<'_, Result<Reply, TransportError>>;

    /// POSTs a JSON-RPC request to a seed, whose certificate must be the pinned one where there is a pin.
    fn seed<'a>(
        &'a self,
        seed: &'a Seed,
        body: Bytes,
    ) -> BoxFuture<'a, Result<Reply, TransportError>>;

    /// Gives up connections that are kept: they may lead nowhere by now. Requests under way go on.
    fn forget_connections(&self) {}

    /// Why nothing can leave this machine whoever is asked, upper snake case; `None` as far as is known.
    fn trouble(&self) -> Option<&'static str> {
        None
    }

    /// Drops all connections; later requests fail.
    fn close(&self);
}
