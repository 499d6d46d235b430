//! macOS: never compiled here.

use std::env;
use std::io;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, setrlimit};

/// `~/Library/Application Support/sessiond`. `None` without a home directory.
pub fn default_state_dir() -> Option<PathBuf> {
    env::var_os("HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .map(|home| home.join("Library/Application Support/sessiond"))
}

/// The program that runs here.
pub fn own_program() -> io::Result<PathBuf> {
    env::current_exe()
}

/// No image of this process's memory reaches a disk.
pub fn forbid_dumps() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    Ok(setrlimit(Resource::Core, none)?)
}
