//! Where things are kept for this user, decided the same way by the agent and by `sessionctl`.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// Below the user's base directories.
const OURS: &str = "sessiond";

/// Where the agent keeps everything unless it is told otherwise: `$XDG_STATE_HOME/sessiond`, else
/// `~/.local/state/sessiond`; on macOS `~/Library/Application Support/sessiond`. `None` without a home directory.
#[must_use]
pub fn state_dir() -> Option<PathBuf> {
    state_dir_on(cfg!(target_os = "macos"), |name| env::var_os(name))
}

/// The directory of the configuration file: `$XDG_CONFIG_HOME/sessiond`, else `~/.config/sessiond`.
pub(crate) fn config_dir() -> Option<PathBuf> {
    let variable = |name: &str| env::var_os(name);
    xdg_dir(variable, "XDG_CONFIG_HOME", ".config").map(|dir| dir.join(OURS))
}

fn state_dir_on(
    macos: bool,
    variable: impl Fn(&str) -> Option<OsString> + Copy,
) -> Option<PathBuf> {
    let base = if macos {
        absolute(variable, "HOME").map(|home| home.join("Library/Application Support"))
    } else {
        xdg_dir(variable, "XDG_STATE_HOME", ".local/state")
    };
    base.map(|dir| dir.join(OURS))
}

/// What the variable says, else `below_home` in the home directory, as the XDG base directory specification has it:
/// relative values count as none.
fn xdg_dir(
    variable: impl Fn(&str) -> Option<OsString> + Copy,
    name: &str,
    below_home: &str,
) -> Option<PathBuf> {
    absolute(variable, name)
        .or_else(|| absolute(variable, "HOME").map(|home| home.join(below_home)))
}

fn absolute(variable: impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    variable(name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_of_each_system() {
        let of = |macos, variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            state_dir_on(macos, variable)
        };
        let home = ("HOME", "/h");
        for (state_home, expected) in [
            ("/s", "/s/sessiond"),
            // The specification: a relative value is to be ignored.
            ("s", "/h/.local/state/sessiond"),
            ("", "/h/.local/state/sessiond"),
        ] {
            let variables = [home, ("XDG_STATE_HOME", state_home)];
            assert_eq!(of(false, &variables), Some(expected.into()));
            let on_macos = "/h/Library/Application Support/sessiond";
            assert_eq!(of(true, &variables), Some(on_macos.into()));
        }
        assert_eq!(of(false, &[("HOME", "h")]), None);
        assert_eq!(of(true, &[("XDG_STATE_HOME", "/s")]), None);
    }
}
