//! The sessiond agent: a Session account as a background service.
//!
//! Two ways lead through it. Receiving: `session-network` polls a swarm, [`sync`] opens and judges what came and applies
//! it with its events in one transaction of the [`store`], then [`events`] wakes the streams of the [`api`]. Sending: the
//! [`api`] validates, the store's writer commits message and outbox item before the call is answered, and [`sync`] seals
//! once and stores until a swarm member signed for it. Facts: design.md.

pub mod account;
pub mod actions;
pub mod agent;
pub mod api;
pub mod beats;
pub mod cli;
pub mod configured;
pub mod convert;
pub mod disturbance;
pub mod events;
pub mod health;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod platform;
pub mod random;
pub mod service;
pub mod store;
pub mod sync;
pub mod time;
pub mod vault;
