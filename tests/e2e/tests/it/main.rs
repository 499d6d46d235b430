//! End-to-end tests of design.md's promises: real agents, a real local Session network and the real command line, each
//! a process of its own, spoken to over the public API.
//!
//! Waiting is always for something, never for a while, and has a deadline that is far above what anything takes.
//! SESSIOND_E2E_KILLS and SESSIOND_E2E_SEED set how often and from which seed processes are killed and power fails.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of a test program may stop it

mod harness;

mod at_rest;
mod calls;
mod clocks;
mod conformance;
mod converse;
mod ctl;
mod damage;
mod delete;
mod disappear;
mod errors;
mod faults;
mod idempotent;
mod kinds;
mod load;
mod lock;
mod logs;
mod metrics;
mod newer;
mod notifications;
mod owner_only;
mod power;
mod proxy;
mod repair;
mod restore;
mod search;
mod sigkill;
mod soak;
mod start;
mod storage;
mod subscriber;
mod tuned;
mod vault;
