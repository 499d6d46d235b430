//! Parts of the agent on a real encrypted database, without a network or, where swarms matter, on a local one.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail the test")]

mod actions;
mod calls;
mod common;
mod copies;
mod disappear;
mod events;
mod expiry;
mod gone;
mod health;
mod invite;
mod kinds;
mod later;
mod local;
mod man;
mod opening;
mod outbox;
mod receive;
mod repair;
mod salvage;
mod saved;
mod say;
mod search;
mod second;
mod shorten;
mod shown;
mod tokenizer;
mod unread;
mod unsend;
mod upgrade;
mod vaults;
mod writer;
