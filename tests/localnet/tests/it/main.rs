//! The network as a client sees it: real listeners, real TLS, real databases.

// Helpers of tests fail as tests do; clippy.toml allows it only inside the test functions themselves.
#![allow(clippy::unwrap_used)]

mod changes;
mod control;
mod faults;
mod http;
mod lifecycle;
mod membership;
mod meta;
mod onion;
mod over;
mod retrieve;
mod seed;
mod store;
mod subaccounts;
mod support;
