//! The network layer against a real local network: real sockets, real TLS, real onion layers.

mod faults;
mod messages;
mod start;
mod support;
