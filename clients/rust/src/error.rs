//! What can go wrong between a frontend and the agent, as one type.
//!
//! Every error has a canonical gRPC code and, where known, a stable UPPER_SNAKE reason: the agent's
//! from `google.rpc.ErrorInfo` (domain `sessiond`), or one of this library's own.

use std::{error::Error as StdError, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{ConnectError, connect};

/// Why a call did not give what was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The agent could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke during the call: it is unknown whether the agent acted. Calls with a
    /// client token can be repeated with the same token.
    #[error("the connection to the agent broke: {detail}")]
    ConnectionLost {
        /// What the transport said.
        detail: String,
    },
    /// The agent did not answer in time: it is unknown whether it acted.
    #[error("the agent did not answer within {after:?}")]
    Deadline {
        /// How long was waited.
        after: Duration,
    },
    /// The agent refused or failed.
    #[error("{}", .0.message)]
    Rpc(RpcError),
    /// A message is accepted, but neither stored nor given up by the end of the wait. The agent
    /// goes on trying.
    #[error("message {message_id} is still being sent after {after:?}")]
    StillSending {
        /// Id of the message.
        message_id: String,
        /// How long was waited.
        after: Duration,
    },
    /// A message that was waited for was removed meanwhile.
    #[error("message {message_id} was removed before it was sent")]
    MessageRemoved {
        /// Id of the message.
        message_id: String,
    },
    /// The agent answered with something its schema rules out.
    #[error("the agent's answer makes no sense: {detail}")]
    Protocol {
        /// What was wrong.
        detail: &'static str,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes: {detail}")]
    Random {
        /// What it said.
        detail: String,
    },
}

/// A refusal or failure as the agent told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcError {
    /// Canonical code.
    pub code: Code,
    /// Stable reason, as the schema lists them per call.
    pub reason: Option<String>,
    /// For people; may change between versions.
    pub message: String,
}

impl Error {
    /// Whether the agent refused because it is locked: the same call works once somebody has unlocked it.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.reason() == Some("LOCKED")
    }

    /// Canonical code of the agent's answer, or the one that fits an error of this library.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Connect(ConnectError::Path(_)) => Code::FailedPrecondition,
            Self::Connect(ConnectError::Permission { .. } | ConnectError::NotOurs { .. }) => {
                Code::PermissionDenied
            }
            Self::Connect(_) | Self::ConnectionLost { .. } => Code::Unavailable,
            Self::Deadline { .. } | Self::StillSending { .. } => Code::DeadlineExceeded,
            Self::Rpc(error) => error.code,
            Self::MessageRemoved { .. } => Code::NotFound,
            Self::Protocol { .. } | Self::Random { .. } => Code::Internal,
        }
    }

    /// Stable UPPER_SNAKE reason; none when the agent gave none.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Connect(error) => Some(error.reason()),
            Self::ConnectionLost { .. } => Some("CONNECTION_LOST"),
            Self::Deadline { .. } => Some("NO_ANSWER"),
            Self::Rpc(error) => error.reason.as_deref(),
            Self::StillSending { .. } => Some("STILL_SENDING"),
            Self::MessageRemoved { .. } => Some("MESSAGE_REMOVED"),
            Self::Protocol { .. } => Some("BAD_ANSWER"),
            Self::Random { .. } => Some("NO_RANDOMNESS"),
        }
    }

    /// Whether the same call may succeed a moment later without anybody doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::ConnectionLost { .. } | Self::Deadline { .. } => true,
            Self::Rpc(error) => error.code == Code::Unavailable,
            _ => false,
        }
    }

    /// Makes one of a status; `deadline` is what the call was given.
    pub(crate) fn from_status(status: &Status, deadline: Duration) -> Self {
        // A status with a source was made on this side, one without came from the agent.
        let Some(source) = status.source() else {
            return match Self::from(status) {
                Self::Rpc(error) if is_timeout(&error) => Self::Deadline { after: deadline },
                error => error,
            };
        };
        if let Some(error) = connect::in_chain(source) {
            Self::Connect(error)
        } else if contains::<tonic::TimeoutExpired>(source) {
            Self::Deadline { after: deadline }
        } else {
            Self::ConnectionLost {
                detail: status.message().to_owned(),
            }
        }
    }
}

impl From<&Status> for Error {
    /// For calls made through the generated clients.
    fn from(status: &Status) -> Self {
        if status.source().is_some() {
            return Self::from_status(status, Duration::ZERO);
        }
        let reason = status
            .get_details_error_info()
            .filter(|info| info.domain == sessiond_proto::ERROR_DOMAIN && !info.reason.is_empty())
            .map(|info| info.reason);
        Self::Rpc(RpcError {
            code: status.code(),
            reason,
            message: status.message().to_owned(),
        })
    }
}

/// The deadline as the other side noticed it: tonic's server answers CANCELLED with these words.
fn is_timeout(error: &RpcError) -> bool {
    error.reason.is_none()
        && (error.code == Code::DeadlineExceeded
            || (error.code == Code::Cancelled && error.message == "Timeout expired"))
}

fn contains<T: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<T>() {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn with_info(domain: &str) -> Status {
        let details = ErrorDetails::with_error_info("LOCKED", domain, HashMap::new());
        Status::with_error_details(Code::FailedPrecondition, "the vault is locked", details)
    }

    #[test]
    fn the_reason_is_the_agents_only() {
        let error = Error::from(&with_info("sessiond"));
        assert_eq!(
            (error.code(), error.reason()),
            (Code::FailedPrecondition, Some("LOCKED"))
        );
        assert_eq!(error.to_string(), "the vault is locked");
        assert_eq!(Error::from(&with_info("example.com")).reason(), None);
    }

    #[test]
    fn only_what_passes_by_itself_is_transient() {
        assert!(Error::from(&Status::unavailable("draining")).is_transient());
        assert!(!Error::from(&Status::aborted("replaced")).is_transient());
        assert!(!Error::from(&with_info("sessiond")).is_transient());
        assert!(Error::from(&with_info("sessiond")).is_locked());
        assert!(!Error::from(&with_info("example.com")).is_locked());
        assert!(
            Error::ConnectionLost {
                detail: String::new()
            }
            .is_transient()
        );
        let no_socket = ConnectError::NoSocket { path: "/s".into() };
        assert!(Error::from(no_socket).is_transient());
    }
}
