//! Parts of the agent on a real encrypted database, without a network.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail the test")]

mod common;
mod events;
mod expiry;
mod receive;
mod search;
mod tokenizer;
mod upgrade;
mod vaults;
mod writer;
