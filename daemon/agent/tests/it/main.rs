//! Parts of the agent on a real encrypted database, without a network.

mod common;
mod events;
mod receive;
mod writer;
