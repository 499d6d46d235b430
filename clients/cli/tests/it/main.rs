//! The real program against a stand-in for the agent on a real Unix socket.
#![allow(clippy::unwrap_used)] // helpers of a test program may stop it

mod calls;
mod config;
mod doctor;
#[path = "../../../rust/tests/fake/mod.rs"]
mod fake;
mod rpcs;
mod sessionctl;
mod stage;
mod terminal;
mod tmux;
