//! macOS: never compiled here.

use std::env;
use std::path::PathBuf;

/// `~/Library/Application Support/sessiond`. `None` without a home directory.
pub fn default_state_dir() -> Option<PathBuf> {
    env::var_os("HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .map(|home| home.join("Library/Application Support/sessiond"))
}
