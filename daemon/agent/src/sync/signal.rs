//! Signals without lasting effect: typing, steps of a call. Live only: whoever does not listen now never learns of them.
//!
//! Bounded: a listener that falls behind loses the oldest. Facts: messages.md 6.11, 6.14, design.md promise 2.

use tokio::sync::broadcast;

/// Signals kept for a listener that is slow.
const KEPT: usize = 256;

/// One signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Opaque id of the conversation.
    pub conversation: String,
    /// Account ID of who sent it.
    pub author: String,
    /// ms, as the author says.
    pub sent_ms: i64,
    /// What it is.
    pub what: What,
}

/// What a signal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Starts (true) or stops typing.
    Typing(bool),
    /// A step of a call.
    Call(CallStep),
    /// The user wants to see the conversation: its notification was opened.
    Opened,
}

/// A step of a call, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallStep {
    /// The caller's UUID of the call.
    pub uuid: String,
    /// `CallSignalKind` of the API.
    pub kind: i32,
    /// Session descriptions or ICE candidates.
    pub sdps: Vec<String>,
    /// With ICE candidates: one for each.
    pub sdp_m_line_indexes: Vec<u32>,
    /// With ICE candidates: one for each.
    pub sdp_mids: Vec<String>,
}

/// Hands signals to whoever listens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Signals(broadcast::Sender<Signal>);

impl Default for Signals {
    fn default() -> Self {
        Self(broadcast::channel(KEPT).0)
    }
}

impl Signals {
    /// Raises a signal. Without listeners it is lost, as it should be.
    pub fn raise(&self, signal: Signal) {
        drop(self.0.send(signal));
    }

    /// Listens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Signal> {
        self.0.subscribe()
    }
}
