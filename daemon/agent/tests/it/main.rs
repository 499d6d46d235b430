//! Parts of the agent on a real encrypted database, without a network.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail the test")]

mod actions;
mod calls;
mod common;
mod copies;
mod events;
mod expiry;
mod invite;
mod kinds;
mod later;
mod receive;
mod saved;
mod say;
mod search;
mod shown;
mod tokenizer;
mod unread;
mod unsend;
mod upgrade;
mod vaults;
mod writer;
