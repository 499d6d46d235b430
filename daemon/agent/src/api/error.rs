//! Errors for callers: canonical code, stable reason, a sentence that says what to do.

use session_network::NetworkError;
use sessiond_proto::ERROR_DOMAIN;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::actions::ActionError;
use crate::agent::AgentError;
use crate::events::StreamEnd;
use crate::store::{StoreError, Trouble};
use crate::sync::poller::PollError;
use crate::vault::VaultError;

/// A status with its `ErrorInfo`.
pub fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(
        reason,
        ERROR_DOMAIN,
        std::collections::HashMap::<String, String>::new(),
    );
    Status::with_error_details(code, message, details)
}

/// INVALID_ARGUMENT.
pub fn invalid(reason: &str, message: impl Into<String>) -> Status {
    status(Code::InvalidArgument, reason, message)
}

pub fn from_action(error: ActionError) -> Status {
    let text = error.to_string();
    match error {
        ActionError::Store(error) => from_store(error),
        ActionError::NoConversation => status(Code::NotFound, "CONVERSATION_NOT_FOUND", text),
        ActionError::NoMessage => status(Code::NotFound, "MESSAGE_NOT_FOUND", text),
        ActionError::Blocked => status(Code::FailedPrecondition, "BLOCKED", text),
        ActionError::NotPossible(_) => status(Code::FailedPrecondition, "NOT_POSSIBLE", text),
        ActionError::NoCall => status(Code::NotFound, "CALL_NOT_FOUND", text),
        ActionError::Write(_) => invalid("MESSAGE_INVALID", text),
    }
}

pub fn from_store(error: StoreError) -> Status {
    store(&error)
}

fn store(error: &StoreError) -> Status {
    // An error of files, or of a migration, is one of the disk.
    if let (Some(trouble), StoreError::Io(_) | StoreError::Migrate(_)) = (error.trouble(), error) {
        return store(&trouble.into());
    }
    let text = error.to_string();
    match error {
        StoreError::TokenReused => status(Code::AlreadyExists, "CLIENT_TOKEN_REUSED", text),
        StoreError::OutboxFull(_) => status(Code::ResourceExhausted, "OUTBOX_FULL", text),
        StoreError::Closed => status(Code::Unavailable, "STOPPING", text),
        StoreError::Sql(sqlx::Error::PoolTimedOut) => status(
            Code::Unavailable,
            "DATABASE_BUSY",
            "the database is busy; try again",
        ),
        StoreError::DiskFull => status(Code::ResourceExhausted, "DISK_FULL", text),
        StoreError::ReadOnly => status(Code::FailedPrecondition, "STORAGE_READ_ONLY", text),
        StoreError::Damaged => status(Code::Unavailable, "DATABASE_DAMAGED", text),
        StoreError::OtherNetwork(_) => status(Code::FailedPrecondition, "OTHER_NETWORK", text),
        _ => {
            tracing::error!(%error, "the database failed a call");
            status(
                Code::Internal,
                "DATABASE_FAILED",
                "the database failed; see the agent's log",
            )
        }
    }
}

pub fn from_agent(error: AgentError) -> Status {
    let text = error.to_string();
    match error {
        AgentError::NoAccount => status(Code::NotFound, "NO_ACCOUNT", text),
        AgentError::AccountExists => status(Code::FailedPrecondition, "ACCOUNT_EXISTS", text),
        AgentError::Locked(_) => status(Code::FailedPrecondition, "LOCKED", text),
        AgentError::VaultNotReady => status(Code::FailedPrecondition, "VAULT_NOT_READY", text),
        AgentError::TokenReused => status(Code::AlreadyExists, "CLIENT_TOKEN_REUSED", text),
        AgentError::Vault(error) => vault(&error),
        AgentError::OtherAccount => status(Code::NotFound, "NO_ACCOUNT", text),
        AgentError::NotDeleted(error) => status(from_network(&error).code(), "NOT_DELETED", text),
        AgentError::UnknownVault(_) => status(Code::FailedPrecondition, "VAULT_UNKNOWN", text),
        AgentError::Store(error) => from_store(error),
        AgentError::Io(error) if Trouble::of_io(&error).is_some() => {
            from_store(StoreError::Io(error))
        }
        error @ (AgentError::Io(_) | AgentError::Lock(_)) => {
            tracing::error!(%error, "the state directory failed a call");
            status(Code::Internal, "STATE_DIR_FAILED", text)
        }
    }
}

fn vault(error: &VaultError) -> Status {
    let code = match error {
        VaultError::WrongPassphrase => Code::PermissionDenied,
        VaultError::PassphraseNotTaken => Code::InvalidArgument,
        VaultError::Timeout => Code::DeadlineExceeded,
        _ => Code::FailedPrecondition,
    };
    status(code, error.reason(), error.to_string())
}

pub fn from_network(error: &NetworkError) -> Status {
    let text = error.to_string();
    match error {
        NetworkError::NoPath | NetworkError::NoNodes | NetworkError::PathFailed => {
            status(Code::Unavailable, "NO_PATH", text)
        }
        NetworkError::Timeout => status(Code::DeadlineExceeded, "NETWORK_TIMEOUT", text),
        NetworkError::Shutdown => status(Code::Unavailable, "STOPPING", text),
        other => status(Code::Unavailable, other.reason(), text),
    }
}

pub fn from_poll(error: &PollError) -> Status {
    match error {
        PollError::Network(error) => from_network(error),
        PollError::Store(error) => store(error),
    }
}

pub fn from_stream(end: StreamEnd) -> Status {
    let text = end.to_string();
    match end {
        StreamEnd::LogReplaced => status(Code::OutOfRange, "LOG_REPLACED", text),
        StreamEnd::CursorExpired => status(Code::OutOfRange, "CURSOR_EXPIRED", text),
        StreamEnd::SubscriberReplaced => status(Code::Aborted, "SUBSCRIBER_REPLACED", text),
        StreamEnd::Stopping => status(Code::Unavailable, "STOPPING", text),
        StreamEnd::Locked => status(Code::FailedPrecondition, "LOCKED", text),
        StreamEnd::Store(error) => from_store(error),
    }
}
