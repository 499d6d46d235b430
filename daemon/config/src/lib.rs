//! The configuration file that sessiond and sessionctl share, `$XDG_CONFIG_HOME/sessiond/config.toml`, and where the
//! agent keeps everything without it.
//!
//! What is said on the command line beats the environment, which beats this file, which beats what is built in. Other
//! frontends do not read it: they find the socket by `SESSIOND_SOCKET` or at its usual place.
//!
//! A key that nobody knows or a value that does not fit is an error, so that a slip of the pen is not overlooked. Changing a
//! value keeps the person's comments and order. The file holds no secrets; it is written for the owner alone all the same.

mod file;
mod keys;
mod places;

pub use file::{Config, ConfigError, path};
pub use keys::{KEYS, Key, Kind, User};
pub use places::state_dir;
