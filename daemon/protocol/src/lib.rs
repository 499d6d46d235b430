//! What the Session network says, as pure functions and types: identities and recovery phrases, encryption,
//! wrapping, contents, storage requests, onion requests.
//!
//! Promises: no I/O, no clock, no global state, no async; randomness and time are arguments. Parsers are
//! total: foreign bytes end in a value or a typed error, never in a panic or an unbounded allocation.
//! Secrets are wiped when dropped and have no `Debug`.
//!
//! Facts: protocol documents, of which each module names its sections. What the official library does with the
//! same input is checked in `tests/vectors`.

pub mod blake2b;
pub mod blinded_encrypt;
pub mod blinding;
pub mod bt;
pub mod content;
pub mod envelope;
pub mod group_message;
pub mod identity;
pub mod multi_encrypt;
pub mod onion;
pub mod padding;
pub mod phrase;
pub mod sealed_box;
pub mod senders;
pub mod session_encrypt;
pub mod storage;
pub mod subaccount;
pub mod swarm;
pub mod v2;
pub mod xed25519;

#[cfg(test)]
mod test_rng;

pub use identity::{AccountId, AccountKeys, AccountSeed, Identifier, Prefix};
