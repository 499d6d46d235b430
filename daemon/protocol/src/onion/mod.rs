//! Onion requests: three layers of encryption so that no node knows both who asks and what.
//!
//! [`frame`] is the shape of every layer, [`layer`] its encryption, [`request`] wraps a payload for a path,
//! [`answer`] opens what comes back, [`v4`] is the payload for servers.
//! Facts: network.md 5.

pub mod answer;
pub mod frame;
pub mod layer;
pub mod request;
pub mod v4;

pub use answer::{AnswerError, NodeAnswer, ReplyKey};
pub use layer::{EncType, LayerError, LayerKey};
pub use request::{
    BuildError, Destination, Hop, OnionRequest, ServerDestination, build, build_for_guard,
};
