//! The network layer against a real local network: real sockets, real TLS, real onion layers.

// A test says by panicking that something is not as it should be, also in its helpers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod faults;
mod messages;
mod nodes;
mod proxy;
mod start;
mod support;
mod tls;
