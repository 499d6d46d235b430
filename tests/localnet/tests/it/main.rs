//! The network as a client sees it: real listeners, real TLS, real databases.

mod onion;
mod support;
