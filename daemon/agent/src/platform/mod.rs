//! What differs by operating system, and files that only the owner may read.
//!
//! macOS has never been compiled here.

pub mod listener;
pub mod supervisor;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;

#[cfg(target_os = "linux")]
pub use linux::{Alarm, NetworkChanges, figures, forbid_dumps, own_program, suspended};
#[cfg(target_os = "macos")]
pub use macos::{Alarm, NetworkChanges, figures, forbid_dumps, own_program, suspended};

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// What the system says about this process.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Memory in use, bytes.
    pub memory: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
}

/// Makes a directory, and those above it, that only the owner may enter.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Makes sure that a file is there and that only the owner may read it. SQLite gives its WAL the mode of the database.
pub fn ensure_private_file(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

/// Replaces a file as a whole, readable by the owner alone. After it returns, the new content survives a power loss.
pub fn write_private_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("file");
    let fresh = path.with_file_name(format!(".{name}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    sync_parent(path)
}

/// Makes a rename or a new file in the same directory survive a power loss.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Holds a state directory for one process. The kernel lets go of it when the process ends, however it ends.
pub struct DirLock {
    _file: File,
}

/// Another process holds the directory.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Its process id, as far as it could be read.
    #[error("already in use by process {0}")]
    Held(String),
    /// The lock file cannot be used.
    #[error("lock file: {0}")]
    Io(#[from] io::Error),
}

impl DirLock {
    /// Takes the directory, or says who has it.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            file.read_to_string(&mut holder)?;
            return Err(LockError::Held(holder.trim().to_owned()));
        }
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }
}
