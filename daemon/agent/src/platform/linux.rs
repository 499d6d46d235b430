//! Linux: XDG base directories.

use std::env;
use std::path::PathBuf;

/// `$XDG_STATE_HOME/sessiond`, else `~/.local/state/sessiond`. `None` without a home directory.
pub fn default_state_dir() -> Option<PathBuf> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|base| base.join("sessiond"))
}
