//! Reaching the agent's socket: connects, checks who listens, and says what is wrong otherwise.
//!
//! Only an agent that runs under our own user id is talked to, since whoever listens is given
//! messages and recovery phrases.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use sessiond_proto::socket::SocketPathError;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

/// Pings on an open connection find an agent that hangs; an idle connection is left alone.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the agent could not be reached.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// It is not known where the socket would be.
    #[error(transparent)]
    Path(#[from] SocketPathError),
    /// Nothing is at the path: the agent was not started, or uses another path.
    #[error("no agent runs: there is no socket at {}", path.display())]
    NoSocket {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A socket is there, but nobody listens: the agent ended without removing it.
    #[error("no agent runs: nobody listens at {}", path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
    },
    /// The file system does not let us open the socket.
    #[error("no permission to open {}", path.display())]
    Permission {
        /// The socket.
        path: PathBuf,
    },
    /// Another user listens there.
    #[error("{} is served by user {owner}, not by us (user {own})", path.display())]
    NotOurs {
        /// The socket.
        path: PathBuf,
        /// User id of the process that listens.
        owner: u32,
        /// Our effective user id.
        own: u32,
    },
    /// Somebody listens, but no gRPC connection came about in time.
    #[error("whoever listens at {} does not answer", path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot connect to {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl ConnectError {
    /// What to do about it, as a sentence without a full stop.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Path(SocketPathError::NoRuntimeDir { .. }) => "give the agent the same setting",
            Self::Path(SocketPathError::TooLong { .. }) => "choose a shorter socket path",
            Self::NoSocket { .. } | Self::Refused { .. } => {
                "start the agent with `sessiond run`, or name the socket it uses"
            }
            Self::Permission { .. } => "run this as the user whose agent it is",
            Self::NotOurs { .. } => {
                "run this as the user whose agent it is, or name the socket of your own agent"
            }
            Self::NoAnswer { .. } => "end the agent and start it again with `sessiond run`",
            Self::Io { .. } => "check the socket path",
        }
    }

    /// Stable UPPER_SNAKE name.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Path(SocketPathError::NoRuntimeDir { .. }) => "NO_RUNTIME_DIR",
            Self::Path(SocketPathError::TooLong { .. }) => "SOCKET_PATH_TOO_LONG",
            Self::NoSocket { .. } => "NO_SOCKET",
            Self::Refused { .. } => "NOT_LISTENING",
            Self::Permission { .. } => "SOCKET_PERMISSION",
            Self::NotOurs { .. } => "SOCKET_NOT_OURS",
            Self::NoAnswer { .. } => "SOCKET_NO_ANSWER",
            Self::Io { .. } => "SOCKET_ERROR",
        }
    }

    /// Whether the agent may be there a moment later, as while it restarts.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::NoSocket { .. } | Self::Refused { .. } | Self::NoAnswer { .. }
        )
    }

    fn from_io(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Self::NoSocket { path },
            io::ErrorKind::ConnectionRefused => Self::Refused { path },
            io::ErrorKind::PermissionDenied => Self::Permission { path },
            _ => Self::Io {
                path,
                source: Arc::new(error),
            },
        }
    }
}

/// Opens the socket and checks that our own user listens.
async fn open(path: &Path) -> Result<UnixStream, ConnectError> {
    let stream = UnixStream::connect(path)
        .await
        .map_err(|e| ConnectError::from_io(path, e))?;
    let owner = stream
        .peer_cred()
        .map_err(|e| ConnectError::from_io(path, e))?
        .uid();
    check_owner(path, owner, rustix::process::geteuid().as_raw())?;
    Ok(stream)
}

fn check_owner(path: &Path, owner: u32, own: u32) -> Result<(), ConnectError> {
    if owner == own {
        Ok(())
    } else {
        Err(ConnectError::NotOurs {
            path: path.to_owned(),
            owner,
            own,
        })
    }
}

/// A channel that is connected now and connects again by itself for calls after a break.
pub(crate) async fn channel(path: &Path, deadline: Duration) -> Result<Channel, ConnectError> {
    let socket = path.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { open(&socket).await.map(TokioIo::new) }
    });
    // The name only fills HTTP's authority: the connector alone decides whom we talk to.
    let endpoint = Endpoint::from_static("http://localhost")
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL);
    match tokio::time::timeout(deadline, endpoint.connect_with_connector(connector)).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(in_chain(&error).unwrap_or_else(|| ConnectError::Io {
            path: path.to_owned(),
            source: Arc::new(io::Error::other(error)),
        })),
        Err(_) => Err(ConnectError::NoAnswer {
            path: path.to_owned(),
        }),
    }
}

/// The connector's own error inside what tonic made of it.
pub(crate) fn in_chain(error: &(dyn std::error::Error + 'static)) -> Option<ConnectError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<ConnectError>() {
            return Some(found.clone());
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_users_agent_is_refused() {
        let path = Path::new("/s.sock");
        assert!(check_owner(path, 1000, 1000).is_ok());
        let error = check_owner(path, 1001, 1000).unwrap_err();
        assert_eq!(error.reason(), "SOCKET_NOT_OURS");
        assert_eq!(
            error.to_string(),
            "/s.sock is served by user 1001, not by us (user 1000)"
        );
        assert!(!error.is_transient());
    }

    #[test]
    fn what_the_system_says_is_told_apart() {
        for (kind, reason, transient) in [
            (io::ErrorKind::NotFound, "NO_SOCKET", true),
            (io::ErrorKind::ConnectionRefused, "NOT_LISTENING", true),
            (io::ErrorKind::PermissionDenied, "SOCKET_PERMISSION", false),
            (io::ErrorKind::InvalidInput, "SOCKET_ERROR", false),
        ] {
            let error = ConnectError::from_io(Path::new("/s"), kind.into());
            assert_eq!((error.reason(), error.is_transient()), (reason, transient));
            assert!(!error.advice().is_empty());
        }
    }
}
