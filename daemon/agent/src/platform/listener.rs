//! The socket that the agent listens on: who made it, and passing it on to the process image that follows.
//!
//! Only the owner gets in (design.md promise 5): a socket made here is 0600 from its first moment, in a directory made
//! 0700. After a lock the agent executes itself anew ([`crate::agent`]): the listening socket stays open over that, and
//! who connects meanwhile waits in its queue. [`HANDOVER`] says which file descriptor it is, and names the process,
//! which stays the same, so that a process that only inherited the environment takes nothing.

use std::env;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{self, Command};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

use super::create_private_dir;

/// Variable that hands a listening socket over: process id, file descriptor and [`Origin`], separated by colons.
pub const HANDOVER: &str = "SESSIOND_HANDOVER";

/// Who made the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This service: its file goes when the service ends.
    Bound,
    /// Whoever started the service: it stays.
    Inherited,
}

/// A listening socket.
pub struct Listener {
    socket: UnixListener,
    origin: Origin,
}

impl Listener {
    /// Makes the socket, replacing a dead one. It appears under its name only when it is ready and private. The caller
    /// holds the state directory; a socket that somebody answers on is not replaced.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
            create_private_dir(parent)?;
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another program answers on this socket",
            ));
        }
        let fresh = path.with_extension(format!("{}.new", process::id()));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixListener::bind(&fresh)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
        fs::rename(&fresh, path)?;
        Ok(Self {
            socket,
            origin: Origin::Bound,
        })
    }

    /// The socket that the process image before this one handed over; `None` when there was none. To be called once.
    pub fn handed_over() -> io::Result<Option<Self>> {
        let Some(text) = env::var_os(HANDOVER) else {
            return Ok(None);
        };
        let Some((fd, origin)) = text.to_str().and_then(|text| parse(text, process::id())) else {
            return Ok(None);
        };
        Self::from_fd(fd, origin).map(Some)
    }

    /// The first socket that a service manager handed over (`LISTEN_FDS`); `None` when there is none. It is used as it
    /// is: not probed, its mode not changed, never unlinked. To be called once, and not after [`Listener::handed_over`]
    /// gave one: the variables stay over an execution.
    pub fn from_manager() -> io::Result<Option<Self>> {
        match sd_notify::listen_fds()?.next() {
            Some(fd) => Self::from_fd(fd, Origin::Inherited).map(Some),
            None => Ok(None),
        }
    }

    /// Takes a listening socket that this process was started with. Nothing else in the process may own it.
    #[allow(unsafe_code)] // the standard library has no safe way from a number to a descriptor
    fn from_fd(fd: RawFd, origin: Origin) -> io::Result<Self> {
        if !fs::metadata(format!("/dev/fd/{fd}"))?
            .file_type()
            .is_socket()
        {
            return Err(io::Error::other("what was handed over is no socket"));
        }
        // SAFETY: it is open, as was just seen, and whoever started this process left it open for this call: no
        // other code knows the number.
        let socket = UnixListener::from(unsafe { OwnedFd::from_raw_fd(fd) });
        fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
        Ok(Self { socket, origin })
    }

    /// Who made it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// For the server: another descriptor of the same socket.
    pub fn acceptor(&self) -> io::Result<tokio::net::UnixListener> {
        let socket = self.socket.try_clone()?;
        socket.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(socket)
    }

    /// Leaves the socket open over the execution of `command` in place of this process, and says so there.
    pub fn hand_over(&self, command: &mut Command) -> io::Result<()> {
        let fd = self.socket.as_fd();
        fcntl_setfd(fd, fcntl_getfd(fd)?.difference(FdFlags::CLOEXEC))?;
        let origin = match self.origin {
            Origin::Bound => "bound",
            Origin::Inherited => "inherited",
        };
        let value = format!("{}:{}:{origin}", process::id(), fd.as_raw_fd());
        command.env(HANDOVER, value);
        Ok(())
    }
}

fn parse(text: &str, own_pid: u32) -> Option<(RawFd, Origin)> {
    let mut parts = text.split(':');
    let pid: u32 = parts.next()?.parse().ok()?;
    let fd: RawFd = parts.next()?.parse().ok()?;
    let origin = match parts.next()? {
        "bound" => Origin::Bound,
        "inherited" => Origin::Inherited,
        _ => return None,
    };
    // 0, 1 and 2 are never handed over.
    (pid == own_pid && fd > 2 && parts.next().is_none()).then_some((fd, origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_meant_for_this_process_is_taken() {
        assert_eq!(parse("7:5:bound", 7), Some((5, Origin::Bound)));
        assert_eq!(parse("7:5:inherited", 7), Some((5, Origin::Inherited)));
        for text in [
            "8:5:bound",
            "7:2:bound",
            "7:-1:bound",
            "7:5",
            "7:5:x",
            "7:5:bound:",
            "",
            "7:x:bound",
        ] {
            assert_eq!(parse(text, 7), None, "{text}");
        }
    }
}
