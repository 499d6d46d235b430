//! What can be configured.

use std::path::Path;

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An absolute path.
    Path,
    /// `main`, `test`, or the absolute path of a file that describes another network.
    Network,
    /// A SOCKS5 proxy without a password: the file holds no secrets.
    Proxy,
    /// One of these.
    Choice(&'static [&'static str]),
    /// true or false.
    Switch,
    /// Log levels by module.
    LogFilter,
}

/// Who reads a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// `sessiond run`, as the option of the same name.
    Agent,
    /// `sessionctl`.
    Ctl,
    /// Both.
    Both,
}

/// Something that can be configured.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file; with dashes that of the option.
    pub name: &'static str,
    /// The environment variable that beats it.
    pub variable: &'static str,
    /// What a value may be.
    pub kind: Kind,
    /// Who reads it.
    pub user: User,
    /// What holds without it, for people.
    pub default: &'static str,
    /// What it is, for people.
    pub help: &'static str,
}

/// How much is logged, the least first.
const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

/// Everything that can be configured.
pub const KEYS: &[Key] = &[
    Key {
        name: "socket",
        variable: "SESSIOND_SOCKET",
        kind: Kind::Path,
        user: User::Both,
        default: "$XDG_RUNTIME_DIR/sessiond/sessiond.sock",
        help: "socket of the agent",
    },
    Key {
        name: "state_dir",
        variable: "SESSIOND_STATE_DIR",
        kind: Kind::Path,
        user: User::Agent,
        default: "$XDG_STATE_HOME/sessiond",
        help: "where the agent keeps everything",
    },
    Key {
        name: "network",
        variable: "SESSIOND_NETWORK",
        kind: Kind::Network,
        user: User::Agent,
        default: "main",
        help: "Session network",
    },
    Key {
        name: "node_list",
        variable: "SESSIOND_NODE_LIST",
        kind: Kind::Path,
        user: User::Agent,
        default: "",
        help: "list of nodes to begin with when no seed answers",
    },
    Key {
        name: "allow_same_subnet",
        variable: "SESSIOND_ALLOW_SAME_SUBNET",
        kind: Kind::Switch,
        user: User::Agent,
        default: "false",
        help: "let onion paths use nodes of one subnet rather than have none",
    },
    Key {
        name: "proxy",
        variable: "SESSIOND_PROXY",
        kind: Kind::Proxy,
        user: User::Agent,
        default: "",
        help: "SOCKS5 proxy for everything",
    },
    Key {
        name: "proxy_login_file",
        variable: "SESSIOND_PROXY_LOGIN_FILE",
        kind: Kind::Path,
        user: User::Agent,
        default: "",
        help: "file with the proxy's user:password",
    },
    Key {
        name: "vault",
        variable: "SESSIOND_VAULT",
        kind: Kind::Choice(&["keyring", "passphrase", "credential"]),
        user: User::Agent,
        default: "keyring",
        help: "where the keys are kept while the agent does not run",
    },
    Key {
        name: "passphrase_file",
        variable: "SESSIOND_PASSPHRASE_FILE",
        kind: Kind::Path,
        user: User::Agent,
        default: "",
        help: "file that holds the passphrase of the passphrase vault",
    },
    Key {
        name: "log_level",
        variable: "SESSIOND_LOG_LEVEL",
        kind: Kind::Choice(LEVELS),
        user: User::Agent,
        default: "info",
        help: "log at least this; read again on SIGHUP",
    },
    Key {
        name: "log_filter",
        variable: "RUST_LOG",
        kind: Kind::LogFilter,
        user: User::Agent,
        default: "",
        help: "log by module instead: warn,sessiond::sync=debug; read again on SIGHUP",
    },
    Key {
        name: "log_file",
        variable: "SESSIOND_LOG_FILE",
        kind: Kind::Path,
        user: User::Agent,
        default: "",
        help: "log into this file in place of standard error or the journal; at most 16 MiB",
    },
    Key {
        name: "full",
        variable: "SESSIONCTL_FULL",
        kind: Kind::Switch,
        user: User::Ctl,
        default: "false",
        help: "sessionctl shows whole IDs",
    },
];

impl Key {
    /// The key of this name; dashes count as underscores.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name.replace('-', "_"))
    }

    /// Why `value` does not fit, if it does not.
    ///
    /// # Errors
    ///
    /// What would fit, as a sentence without a full stop.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let absolute = Path::new(value).is_absolute();
        match self.kind {
            Kind::Path if absolute => Ok(()),
            Kind::Path => Err("give an absolute path: nobody knows from where it is read".into()),
            Kind::Network if matches!(value, "main" | "test") || absolute => Ok(()),
            Kind::Network => Err("give main, test or the absolute path of a network file".into()),
            Kind::Proxy if value.contains('@') => {
                Err("put the login into proxy_login_file: this file holds no secrets".into())
            }
            Kind::Proxy if value.starts_with("socks5h://") => Ok(()),
            Kind::Proxy => Err("give socks5h://HOST:PORT".into()),
            Kind::Choice(choices) if choices.contains(&value) => Ok(()),
            Kind::Choice(choices) => Err(format!("give one of {}", choices.join(", "))),
            Kind::Switch if matches!(value, "true" | "false") => Ok(()),
            Kind::Switch => Err("give true or false".into()),
            Kind::LogFilter if value.split(',').all(is_directive) => Ok(()),
            Kind::LogFilter => {
                Err("give levels by module, separated by commas: warn,sessiond::sync=debug".into())
            }
        }
    }
}

/// A level, or a module and its level.
fn is_directive(text: &str) -> bool {
    let (module, level) = match text.trim().split_once('=') {
        Some((module, level)) => (Some(module), level),
        None => (None, text.trim()),
    };
    let in_module = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    (level == "off" || LEVELS.contains(&level))
        && module.is_none_or(|module| !module.is_empty() && module.chars().all(in_module))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_fit_and_those_that_do_not() {
        let check = |name: &str, value: &str| Key::named(name).unwrap().check(value).is_ok();
        assert!(check("socket", "/run/s") && !check("socket", "s") && !check("socket", ""));
        assert!(check("state-dir", "/var/s"));
        assert!(check("network", "main") && check("network", "/n.toml") && !check("network", "n"));
        assert!(check("vault", "passphrase") && !check("vault", "Passphrase"));
        assert!(check("proxy", "socks5h://127.0.0.1:9050") && !check("proxy", "http://proxy"));
        assert!(!check("proxy", "socks5h://me:secret@host"));
        assert!(check("full", "true") && !check("full", "yes"));
        assert!(check("log_filter", "warn") && check("log_filter", "warn, sessiond::sync=debug"));
        assert!(!check("log_filter", "") && !check("log_filter", "=warn"));
        assert!(!check("log_filter", "sessiond") && !check("log_filter", "a b=warn"));
        assert!(Key::named("colour").is_none());
    }

    #[test]
    fn what_holds_without_a_value_would_fit() {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            let default = key.default.replace('$', "/");
            assert_eq!(key.check(&default), Ok(()), "{}", key.name);
        }
    }
}
