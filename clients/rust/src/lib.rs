//! Connects Rust frontends to sessiond.
//!
//! [`Client`] finds the agent's socket, makes sure that the agent behind it is ours, and has one
//! method per call of the local API, each with a deadline. [`EventStream`] reads the event log and
//! goes on by itself where it stood when the connection breaks or the agent restarts.
//! [`Error`] tells what happened with a canonical code, a stable reason and what to do next.
//!
//! ```no_run
//! # async fn example() -> Result<(), sessiond_client::Error> {
//! use sessiond_client::{Client, v1};
//! let client = Client::connect().await?;
//! let answer = client.get_account(v1::GetAccountRequest::default()).await?;
//! # let _ = answer; Ok(())
//! # }
//! ```
//!
//! The schema in `proto/sessiond/v1` documents every call, field and reason. Where the socket is:
//! [`sessiond_proto::socket`].

/// The Rust program in the schema's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../proto/README.md")]
pub struct SchemaReadme;

mod client;
mod connect;
mod error;
mod events;
mod send;
mod token;

pub use client::{Client, ClientBuilder, Deadlines, Guarded};
pub use connect::ConnectError;
pub use error::{Error, RpcError};
pub use events::{Backoff, EventStream, Update};
pub use sessiond_proto::{code_name, socket, v1};
pub use token::new_client_token;
