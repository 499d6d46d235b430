//! Requests to the storage servers of service nodes and their answers, in JSON.
//!
//! [`namespace`] has the numbers and their rules, [`hash`] names a stored message, [`signed`] builds the exact
//! strings both sides sign, [`request`] writes requests, [`answer`] reads answers,
//! [`active_nodes`] the binary one, [`verify`] checks members'
//! signatures. Facts: network.md 4.

pub mod active_nodes;
pub mod answer;
pub mod hash;
pub mod namespace;
pub mod request;
pub mod signed;
pub mod verify;

pub use hash::message_hash;
pub use namespace::Namespace;
