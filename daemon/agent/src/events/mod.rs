//! From the event log to subscribers.
//!
//! Promises (design.md promise 2): a subscriber can miss nothing; replay joins the present state, so an event about
//! something gone replays as its removal; one tail reader joins each new event once for all live streams; a stream that
//! is slow or replays pulls pages at its own pace and slows nobody.

pub mod cursor;
mod hub;
mod join;
mod stream;

pub use cursor::Cursor;
pub use hub::{EndReason, Hub};
pub use stream::{Start, StreamEnd, Subscription};
