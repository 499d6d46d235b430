//! One request through some nodes to another: wrapped, sent and opened.
//!
//! A trait, so that tests can put a simulated network in place of encryption and HTTPS.
//! Facts: network.md 5.3, 5.4.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::body::Bytes;
use session_protocol::onion::{
    self, AnswerError, BuildError, Destination, EncType, Hop, LayerError, NodeAnswer,
};

use crate::fault::{Fault, classify};
use crate::pool::Node;
use crate::random;
use crate::transport::{Transport, TransportError};

/// Why a request over a path has no usable answer.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The path failed, or its end.
    Fault(Fault),
    /// The destination answered nonsense.
    Malformed,
    /// The request cannot be wrapped.
    Build(BuildError),
}

/// Carries a request through `hops`, which may be none, to `target`. Deadlines are the caller's.
pub(crate) trait Carrier: Send + Sync {
    fn carry<'a>(
        &'a self,
        hops: &'a [Node],
        target: &'a Node,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<NodeAnswer, SendError>>;
}

/// The real one.
pub(crate) struct Onion(pub(crate) Arc<dyn Transport>);

impl Carrier for Onion {
    fn carry<'a>(
        &'a self,
        hops: &'a [Node],
        target: &'a Node,
        payload: &'a [u8],
    ) -> BoxFuture<'a, Result<NodeAnswer, SendError>> {
        self.send(hops, target, payload).boxed()
    }
}

impl Onion {
    async fn send(
        &self,
        hops: &[Node],
        target: &Node,
        payload: &[u8],
    ) -> Result<NodeAnswer, SendError> {
        let path: Vec<Hop> = hops.iter().map(Node::hop).collect();
        let rng = &mut random::system();
        let cipher = EncType::XChaCha20;
        let built = match path.is_empty() {
            true => onion::build_for_guard(rng, cipher, &target.hop(), payload),
            false => onion::build(
                rng,
                cipher,
                &path,
                &Destination::Node(target.hop()),
                payload,
            ),
        };
        let request = match built {
            Ok(request) => request,
            // A node published a key that is none: its fault, and we cannot tell which.
            Err(BuildError::Layer(LayerError::WeakKey)) => {
                return Err(SendError::Fault(Fault::Plain));
            }
            Err(error) => return Err(SendError::Build(error)),
        };
        let guard = hops.first().unwrap_or(target);
        let sent = self.0.onion(guard.address(), Bytes::from(request.body));
        let fault = match sent.await {
            Ok(reply) if reply.status == 200 => match request.reply.open_node(&reply.body) {
                Ok(answer) => return Ok(answer),
                Err(AnswerError::Malformed) => return Err(SendError::Malformed),
                Err(AnswerError::NotFromDestination) => Fault::NotFromDestination,
            },
            Ok(reply) => classify(reply.status, &reply.body),
            Err(error) if error.proxy_reason().is_some() => Fault::ProxyDown,
            Err(TransportError::Unreachable) => Fault::GuardUnreachable,
            Err(TransportError::TooLarge) => Fault::Plain,
            Err(_) => Fault::ConnectionLost,
        };
        Err(SendError::Fault(fault))
    }
}
