//! How things look to people: pure functions from the API's messages to text.
//!
//! Styles are written in always; the terminal's stream takes them out where no colours belong.

pub mod chat;
pub mod conversation;
pub mod event;
pub mod found;
pub mod id;
pub mod overview;
pub mod paths;
pub mod safe;
pub mod style;
pub mod table;
pub mod time;
