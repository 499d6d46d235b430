//! Why a call did not do what it should.

use session_protocol::onion::BuildError;

use crate::private::Private;

/// Failure of a call to the network. None of them says that nothing was stored: a store whose answer was lost
/// may have happened, and is safe to repeat.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// There is no working path: offline, or the first one is still being built.
    #[error("there is no working onion path")]
    NoPath,
    /// The list of nodes is missing or too short.
    #[error("there are not enough known service nodes")]
    NoNodes,
    /// No member of the account's swarm is known or left to ask.
    #[error("no member of the swarm can be asked")]
    NoSwarm,
    /// No answer in time, on any path tried.
    #[error("no answer in time")]
    Timeout,
    /// Paths failed without an answer of the destination.
    #[error("onion paths failed")]
    PathFailed,
    /// The destination answered, and refused.
    #[error("service node refused with {code}: {}", Private(text))]
    Rejected {
        /// Its status.
        code: u16,
        /// Its words, at most 200 characters.
        text: String,
    },
    /// Nodes refuse our timestamps, also after asking them for the time.
    #[error("the clock is off")]
    ClockOff,
    /// The node said it is stored, but no member of the swarm signed that.
    #[error("no swarm member confirmed")]
    Unverified,
    /// The destination's answer makes no sense.
    #[error("answer is malformed")]
    Malformed,
    /// More than a request may carry.
    #[error("data is too large to be stored")]
    TooLarge,
    /// Nothing to do, or more items than one request takes.
    #[error("a store takes 1 to 20 items, a question about hashes 1 to 100")]
    BadCount,
    /// The request cannot be wrapped.
    #[error("request cannot be built")]
    Build(#[from] BuildError),
    /// [`crate::Network::shutdown`] was called.
    #[error("the network layer has shut down")]
    Shutdown,
}

impl NetworkError {
    /// Stable name of the reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoPath => "NO_PATH",
            Self::NoNodes => "NO_NODES",
            Self::NoSwarm => "NO_SWARM",
            Self::Timeout => "TIMEOUT",
            Self::PathFailed => "PATH_FAILED",
            Self::Rejected { .. } => "REJECTED",
            Self::ClockOff => "CLOCK_OFF",
            Self::Unverified => "UNVERIFIED",
            Self::Malformed => "MALFORMED_ANSWER",
            Self::TooLarge => "TOO_LARGE",
            Self::BadCount => "BAD_COUNT",
            Self::Build(_) => "REQUEST_INVALID",
            Self::Shutdown => "SHUTDOWN",
        }
    }

    /// Whether the same request can never succeed (network.md 11).
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::TooLarge | Self::BadCount | Self::Build(_) => true,
            Self::Rejected { code, .. } => matches!(code, 400 | 401 | 403 | 413),
            _ => false,
        }
    }

    /// Whether a working path existed, so that the call counts as an attempt.
    pub fn had_path(&self) -> bool {
        !matches!(self, Self::NoPath | Self::NoNodes | Self::Shutdown)
    }
}
