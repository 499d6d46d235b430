//! Parts of the agent on a real encrypted database, without a network.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail the test")]

mod common;
mod events;
mod expiry;
mod receive;
<<<<<<< HEAD
mod upgrade;
=======
mod search;
mod tokenizer;
>>>>>>> 685c4ff (Index what messages say, in every script, and search it newest first)
mod writer;
