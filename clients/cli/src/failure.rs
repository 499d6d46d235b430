//! Why a command did not do what it was told: exit code, code and reason for scripts, and for
//! people what to do next.

use std::{io, sync::Arc};

use sessiond_client::{ConnectError, Error, code_name, socket::SocketPathError};
use sessiond_config::ConfigError;
use tonic::Code;

/// Exit code: refused or failed.
pub const FAILED: u8 = 1;
/// Exit code: wrong usage.
pub const WRONG_USAGE: u8 = 2;
/// Exit code: no agent to talk to.
pub const NO_DAEMON: u8 = 3;
/// Exit code: the agent is locked.
pub const LOCKED: u8 = 4;
/// Exit code: Ctrl-C at a prompt, as a shell reports it.
pub const INTERRUPTED: u8 = 130;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The agent refused, failed or could not be reached.
    #[error(transparent)]
    Agent(#[from] Error),
    /// Called or fed wrongly.
    #[error("{0}")]
    Usage(String),
    /// The configuration file is not right.
    #[error(transparent)]
    Config(Arc<ConfigError>),
    /// `doctor` found something; it was shown already.
    #[error("{0}")]
    Unwell(&'static str, u8),
    /// A message was given up.
    #[error("the message was given up: {reason}")]
    NotSent {
        /// UPPER_SNAKE, from the agent.
        reason: String,
    },
    /// The agent's answer lacks what it must hold.
    #[error("the agent's answer lacks {0}")]
    Incomplete(&'static str),
    /// Reading or writing failed here.
    #[error("{0}")]
    Io(io::Error),
    /// Whoever read our output went away: nothing is wrong and nothing is said.
    #[error("the reader of the output went away")]
    BrokenPipe,
    /// Ctrl-C at a prompt.
    #[error("interrupted")]
    Interrupted,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::Io(error)
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(Arc::new(error))
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::Agent(error.into())
    }
}

impl Failure {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::BrokenPipe => 0,
            Self::Unwell(_, code) => *code,
            Self::Usage(_)
            | Self::Config(_)
            | Self::Agent(Error::Connect(ConnectError::Path(SocketPathError::TooLong {
                ..
            }))) => WRONG_USAGE,
            Self::Agent(Error::Connect(_) | Error::ConnectionLost { .. }) => NO_DAEMON,
            Self::Agent(error) if error.reason() == Some("LOCKED") => LOCKED,
            Self::Interrupted => INTERRUPTED,
            Self::Agent(_) | Self::NotSent { .. } | Self::Incomplete(_) | Self::Io(_) => FAILED,
        }
    }

    /// Canonical name of the code, as NOT_FOUND.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Agent(error) => code_name(error.code()),
            Self::Usage(_) | Self::Config(_) => code_name(Code::InvalidArgument),
            Self::Unwell(..) => code_name(Code::FailedPrecondition),
            Self::NotSent { .. } => code_name(Code::Aborted),
            Self::BrokenPipe | Self::Interrupted => code_name(Code::Cancelled),
            Self::Incomplete(_) | Self::Io(_) => code_name(Code::Internal),
        }
    }

    /// Stable reason; empty when there is none.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Agent(error) => error.reason().unwrap_or_default(),
            Self::Usage(_) => "USAGE",
            Self::Config(_) => "CONFIG",
            Self::Unwell(..) => "UNWELL",
            Self::NotSent { reason } => reason,
            Self::Incomplete(_) => "BAD_ANSWER",
            Self::Io(_) => "IO",
            Self::BrokenPipe => "BROKEN_PIPE",
            Self::Interrupted => "INTERRUPTED",
        }
    }

    /// What to do next, as a sentence without a full stop.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Agent(Error::Connect(error)) => error.advice(),
            Self::Agent(Error::ConnectionLost { .. }) => {
                "see whether the agent still runs with `sessionctl status`; a send can be repeated \
                 with the same --token"
            }
            Self::Agent(Error::Deadline { .. }) => {
                "see how the agent stands with `sessionctl status`"
            }
            Self::Agent(Error::StillSending { .. }) => {
                "nothing is lost: the agent goes on trying; `sessionctl messages` shows the outcome"
            }
            Self::Agent(Error::Protocol { .. }) | Self::Incomplete(_) => {
                "compare the versions with `sessionctl version`"
            }
            Self::Agent(error) if error.code() == Code::Unimplemented => {
                "the agent does not know this call: it is older than this program, or newer; restart it after an upgrade, \
                 and compare with `sessionctl version`"
            }
            Self::Agent(error) => return advice_for(error.reason()?),
            Self::NotSent { .. } => {
                "look at the network with `sessionctl status`, then send it again"
            }
            Self::Usage(_) => "see `sessionctl --help`",
            Self::Config(error) if is_about_a_key(error) => {
                "see the keys and their values with `sessionctl config keys`"
            }
            Self::Config(_) => "correct the file, or name another one in SESSIOND_CONFIG",
            Self::Unwell(..) | Self::Io(_) | Self::BrokenPipe | Self::Interrupted => return None,
        })
    }
}

fn is_about_a_key(error: &ConfigError) -> bool {
    matches!(
        error,
        ConfigError::BadValue { .. } | ConfigError::UnknownKey { .. }
    )
}

/// What to do about a reason that the schema lists.
fn advice_for(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "NO_ACCOUNT" => {
            "make one with `sessionctl account create`, or bring yours back with \
             `sessionctl account restore`"
        }
        "ACCOUNT_EXISTS" => "see it with `sessionctl account show`",
        "LOCKED" => "see why with `sessionctl status`, then open it with `sessionctl unlock`",
        "VAULT_NOT_READY" => {
            "a database is here whose keys are missing: make its vault available, or bring it back \
             with `sessionctl account restore`"
        }
        "KEYRING_LOCKED" | "KEYRING_PROMPT_DISMISSED" => {
            "unlock the keyring of your desktop, then try `sessionctl unlock` again"
        }
        "KEYRING_NOT_RUNNING" | "KEYRING_NO_BUS" | "KEYRING_FAILED" | "VAULT_TIMEOUT" => {
            "see that a keyring runs in your session; the agent goes on asking it. Without one: \
             `sessionctl account restore`, with the agent started with --vault passphrase"
        }
        "VAULT_EMPTY" | "VAULT_DAMAGED" => {
            "if the keyring is the right one, the recovery phrase brings everything back: \
             `sessionctl account restore`"
        }
        "PASSPHRASE_NEEDED" | "WRONG_PASSPHRASE" => "give it with `sessionctl unlock --passphrase`",
        "CREDENTIAL_MISSING" => {
            "add LoadCredential=sessiond.passphrase:FILE to the service, then start it again"
        }
        "NOT_DELETED" => {
            "try again when the network is back, or delete it from this device only, without --network"
        }
        "PHRASE_TOO_SHORT"
        | "PHRASE_TOO_LONG"
        | "PHRASE_UNSUPPORTED_LENGTH"
        | "PHRASE_INVALID_WORD"
        | "PHRASE_OTHER_LANGUAGE"
        | "PHRASE_CHECKSUM_MISMATCH"
        | "PHRASE_OVERFLOW"
        | "PHRASE_NOT_A_SEED" => {
            "check the words and their order: 13 words from a Session app, or 12 from sessiond"
        }
        "CONVERSATION_NOT_FOUND" => "see which there are with `sessionctl conversations`",
        "MESSAGE_NOT_FOUND" => "see which there are with `sessionctl --full messages`",
        "BLOCKED" => "lift it with `sessionctl unblock` first",
        "CLIENT_TOKEN_REUSED" => "that token belongs to another message: use a new --token",
        "OUTBOX_FULL" => {
            "wait until the network has taken some; `sessionctl status` shows how many"
        }
        "NO_PATH" | "NETWORK_TIMEOUT" => "the agent keeps trying; `sessionctl status` shows why",
        "LOG_REPLACED" | "CURSOR_EXPIRED" => {
            "that place is gone: look at `sessionctl messages`, then start without --after"
        }
        "SUBSCRIBER_REPLACED" => "another program subscribed under this name: use another --as",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sessiond_client::RpcError;

    use super::*;

    fn refused(code: Code, reason: &str) -> Failure {
        let reason = Some(reason.to_owned());
        Failure::Agent(Error::Rpc(RpcError {
            code,
            reason,
            message: "said".into(),
        }))
    }

    #[test]
    fn exit_codes() {
        let path = || "/s".into();
        for (failure, code) in [
            (refused(Code::NotFound, "NO_ACCOUNT"), 1),
            (refused(Code::Unavailable, "NO_PATH"), 1),
            (refused(Code::FailedPrecondition, "VAULT_NOT_READY"), 1),
            (refused(Code::FailedPrecondition, "LOCKED"), 4),
            (Failure::NotSent { reason: "X".into() }, 1),
            (Failure::Incomplete("x"), 1),
            (
                Error::Deadline {
                    after: Duration::ZERO,
                }
                .into(),
                1,
            ),
            (
                Error::StillSending {
                    message_id: "m".into(),
                    after: Duration::ZERO,
                }
                .into(),
                1,
            ),
            (Failure::Usage("x".into()), 2),
            (
                ConnectError::Path(SocketPathError::TooLong { path: path() }).into(),
                2,
            ),
            (
                ConnectError::Path(SocketPathError::NoRuntimeDir { tried: path() }).into(),
                3,
            ),
            (ConnectError::NoSocket { path: path() }.into(), 3),
            (ConnectError::Refused { path: path() }.into(), 3),
            (
                ConnectError::NotOurs {
                    path: path(),
                    owner: 1,
                    own: 2,
                }
                .into(),
                3,
            ),
            (
                Error::ConnectionLost {
                    detail: String::new(),
                }
                .into(),
                3,
            ),
            (io::Error::from(io::ErrorKind::BrokenPipe).into(), 0),
            (io::Error::from(io::ErrorKind::StorageFull).into(), 1),
            (Failure::Interrupted, 130),
        ] {
            assert_eq!(failure.exit_code(), code, "{failure:?}");
        }
    }

    #[test]
    fn scripts_get_the_canonical_names() {
        let failure = refused(Code::FailedPrecondition, "ACCOUNT_EXISTS");
        assert_eq!(
            (failure.code(), failure.reason()),
            ("FAILED_PRECONDITION", "ACCOUNT_EXISTS")
        );
        assert!(failure.advice().unwrap().contains("account show"));
        assert_eq!(refused(Code::Internal, "SOMETHING_NEW").advice(), None);
    }
}
