//! Where the agent's Unix socket is, decided the same way by the agent and by every frontend.
//!
//! The place is a promise that does not move between releases: a path given by the caller; else
//! `SESSIOND_SOCKET`; else `$XDG_RUNTIME_DIR/sessiond/sessiond.sock`; else
//! `/run/user/UID/sessiond/sessiond.sock` if that directory is ours. There is no fall-back to a
//! directory that other users can write to: whoever could put a socket there would be talked to.
//! Nothing here opens the socket or creates anything.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

/// Environment variable that names the socket, for the agent and for frontends.
pub const SOCKET_ENV: &str = "SESSIOND_SOCKET";

/// Path of the socket below the runtime directory.
pub const SOCKET_BELOW_RUNTIME_DIR: &str = "sessiond/sessiond.sock";

/// Longest path in bytes that a socket address holds, the closing zero byte not counted.
#[cfg(target_os = "linux")]
pub const MAX_PATH_BYTES: usize = 107;
/// Longest path in bytes that a socket address holds, the closing zero byte not counted.
#[cfg(not(target_os = "linux"))]
pub const MAX_PATH_BYTES: usize = 103;

/// Why no socket path could be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SocketPathError {
    /// Neither a variable nor the system's runtime directory says where.
    #[error(
        "no runtime directory: XDG_RUNTIME_DIR is not an absolute path and {} is not a directory \
         of ours; set {SOCKET_ENV} or name the socket",
        tried.display()
    )]
    NoRuntimeDir {
        /// The directory that was looked at.
        tried: PathBuf,
    },
    /// The path does not fit into a socket address.
    #[error(
        "the socket path {} has {} bytes, at most {MAX_PATH_BYTES} are possible; choose a shorter one",
        path.display(), path.as_os_str().len()
    )]
    TooLong {
        /// The path in question.
        path: PathBuf,
    },
}

/// What the answer depends on, so that it can be decided without a process's own environment.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Value of `SESSIOND_SOCKET`.
    pub socket_variable: Option<OsString>,
    /// Value of `XDG_RUNTIME_DIR`.
    pub runtime_dir_variable: Option<OsString>,
    /// Where the system keeps runtime directories by user id: `/run/user`.
    pub run_user: PathBuf,
    /// Our effective user id.
    pub uid: u32,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self {
            socket_variable: env::var_os(SOCKET_ENV),
            runtime_dir_variable: env::var_os("XDG_RUNTIME_DIR"),
            run_user: PathBuf::from("/run/user"),
            uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// The socket's path; `explicit` is what the caller was told and overrides everything.
    ///
    /// # Errors
    ///
    /// [`SocketPathError`] when there is no safe place or the path is too long for a socket.
    pub fn socket_path(&self, explicit: Option<&Path>) -> Result<PathBuf, SocketPathError> {
        let path = match (explicit, non_empty(self.socket_variable.as_ref())) {
            (Some(path), _) => path.to_owned(),
            (None, Some(path)) => path,
            (None, None) => self.runtime_dir()?.join(SOCKET_BELOW_RUNTIME_DIR),
        };
        if path.as_os_str().as_bytes().len() > MAX_PATH_BYTES {
            return Err(SocketPathError::TooLong { path });
        }
        Ok(path)
    }

    fn runtime_dir(&self) -> Result<PathBuf, SocketPathError> {
        // The XDG base directory specification: a relative value is to be ignored.
        if let Some(dir) = non_empty(self.runtime_dir_variable.as_ref()).filter(|d| d.is_absolute())
        {
            return Ok(dir);
        }
        let dir = self.run_user.join(self.uid.to_string());
        if is_ours(&dir, self.uid) {
            Ok(dir)
        } else {
            Err(SocketPathError::NoRuntimeDir { tried: dir })
        }
    }
}

/// The socket's path for this process; see [`Surroundings::socket_path`].
///
/// # Errors
///
/// [`SocketPathError`] when there is no safe place or the path is too long for a socket.
pub fn socket_path(explicit: Option<&Path>) -> Result<PathBuf, SocketPathError> {
    Surroundings::of_this_process().socket_path(explicit)
}

fn non_empty(value: Option<&OsString>) -> Option<PathBuf> {
    value.filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// A directory, not a link to one, that belongs to `uid` and that nobody else can write to.
fn is_ours(dir: &Path, uid: u32) -> bool {
    fs::symlink_metadata(dir).is_ok_and(|m| m.is_dir() && m.uid() == uid && m.mode() & 0o022 == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn nowhere() -> Surroundings {
        Surroundings {
            socket_variable: None,
            runtime_dir_variable: None,
            run_user: PathBuf::from("/nonexistent"),
            uid: rustix::process::geteuid().as_raw(),
        }
    }

    fn with_run_user(mode: u32) -> (tempfile::TempDir, Surroundings) {
        let root = tempfile::tempdir().unwrap();
        let surroundings = Surroundings {
            run_user: root.path().to_owned(),
            ..nowhere()
        };
        let dir = root.path().join(surroundings.uid.to_string());
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
        (root, surroundings)
    }

    #[test]
    fn explicit_beats_variable_beats_runtime_dir() {
        let mut s = Surroundings {
            socket_variable: Some("/v/s.sock".into()),
            runtime_dir_variable: Some("/run/me".into()),
            ..nowhere()
        };
        assert_eq!(
            s.socket_path(Some(Path::new("x.sock"))),
            Ok("x.sock".into())
        );
        assert_eq!(s.socket_path(None), Ok("/v/s.sock".into()));
        s.socket_variable = Some(OsString::new());
        assert_eq!(
            s.socket_path(None),
            Ok("/run/me/sessiond/sessiond.sock".into())
        );
    }

    #[test]
    fn the_users_directory_is_taken_only_when_it_is_ours() {
        let (root, s) = with_run_user(0o700);
        let dir = root.path().join(s.uid.to_string());
        assert_eq!(s.socket_path(None), Ok(dir.join("sessiond/sessiond.sock")));

        // A relative runtime directory counts as none.
        let relative = Surroundings {
            runtime_dir_variable: Some("run".into()),
            ..s
        };
        assert_eq!(
            relative.socket_path(None),
            Ok(dir.join("sessiond/sessiond.sock"))
        );
    }

    #[test]
    fn a_directory_others_can_write_to_is_not_ours() {
        for mode in [0o770, 0o707, 0o777] {
            let (root, s) = with_run_user(mode);
            let tried = root.path().join(s.uid.to_string());
            assert_eq!(
                s.socket_path(None),
                Err(SocketPathError::NoRuntimeDir { tried })
            );
        }
    }

    #[test]
    fn somebody_elses_directory_and_links_are_not_ours() {
        let (root, s) = with_run_user(0o700);
        let other = s.uid + 1;
        // Named as the other user's, but owned by us.
        fs::rename(
            root.path().join(s.uid.to_string()),
            root.path().join(other.to_string()),
        )
        .unwrap();
        let as_other = Surroundings {
            uid: other,
            ..s.clone()
        };
        assert!(matches!(
            as_other.socket_path(None),
            Err(SocketPathError::NoRuntimeDir { .. })
        ));

        symlink(
            root.path().join(other.to_string()),
            root.path().join(s.uid.to_string()),
        )
        .unwrap();
        assert!(matches!(
            s.socket_path(None),
            Err(SocketPathError::NoRuntimeDir { .. })
        ));
        assert!(matches!(
            nowhere().socket_path(None),
            Err(SocketPathError::NoRuntimeDir { .. })
        ));
    }

    #[test]
    fn a_path_that_no_socket_address_holds_is_refused() {
        let longest = format!("/{}", "a".repeat(MAX_PATH_BYTES - 1));
        assert_eq!(
            nowhere().socket_path(Some(Path::new(&longest))),
            Ok(longest.clone().into())
        );
        let path = PathBuf::from(longest + "a");
        assert_eq!(
            nowhere().socket_path(Some(&path)),
            Err(SocketPathError::TooLong { path })
        );
    }
}
