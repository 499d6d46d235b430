//! Protobuf messages of the Session network, as prost types.
//!
//! Schema: protocol document "messages", section 4. Every field is optional here, also those the network
//! calls required: prost would silently default a missing one, and a reader has to refuse it instead.
//! `session-protocol` does that; nothing else should decode these types from foreign bytes.

#![allow(missing_docs)]

include!(concat!(env!("OUT_DIR"), "/session.rs"));
