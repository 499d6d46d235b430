//! The command line as it stands with the configuration file: what neither an option nor a variable says is taken from
//! there. It is read at the start, and again on SIGHUP for what can change while the agent runs: what is logged.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::process::exit;
use std::sync::OnceLock;

use clap::Parser as _;
use sessiond_config::{Config, ConfigError, KEYS, Key, User};

use crate::cli::{Cli, Command};
use crate::log::LogArgs;

/// Exit status for wrong usage, as clap has it.
const WRONG_USAGE: i32 = 2;

/// What this process took from the file at its start.
static TAKEN: OnceLock<Vec<Taken>> = OnceLock::new();

/// Keys that count without a restart.
const AT_ONCE: [&str; 2] = ["log_level", "log_filter"];

/// A value of the file that nothing beats.
type Taken = (&'static Key, String);

/// What the file says now.
#[derive(Debug)]
pub struct Reread {
    /// Counts at once.
    pub log: LogArgs,
    /// Keys that say something else than at the start and count after a restart.
    pub waiting: Vec<&'static str>,
}

/// Why the file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RereadError {
    /// It is not right.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It does not fit the command line.
    #[error(transparent)]
    Usage(#[from] clap::Error),
}

/// Reads the file again. `None` where this process did not begin with one that it could read: another program that
/// carries the agent.
///
/// # Errors
///
/// The file is not right; then nothing of it counts.
pub fn reread() -> Result<Option<Reread>, RereadError> {
    let Some(at_start) = TAKEN.get() else {
        return Ok(None);
    };
    let args = own_arguments();
    let now = taken(&args, |name| env::var_os(name), &Config::load()?);
    let Command::Run(run) = Cli::try_parse_from(with(args, &now))?.command else {
        return Ok(None);
    };
    let waiting = differ(at_start, &now);
    Ok(Some(Reread {
        log: run.log,
        waiting,
    }))
}

/// Keys whose values are not the same, without those that count at once.
fn differ(before: &[Taken], now: &[Taken]) -> Vec<&'static str> {
    let value = |taken: &[Taken], key: &Key| {
        let found = taken.iter().find(|(of, _)| of.name == key.name);
        found.map(|(_, value)| value.clone())
    };
    KEYS.iter()
        .filter(|key| !AT_ONCE.contains(&key.name) && value(before, key) != value(now, key))
        .map(|key| key.name)
        .collect()
}

/// This process's command line. Ends the process when it, or for `run` the configuration file, is wrong.
#[must_use]
pub fn parse() -> Cli {
    let args = own_arguments();
    match Config::load() {
        Ok(config) => {
            let taken = taken(&args, |name| env::var_os(name), &config);
            let cli = Cli::parse_from(with(args, &taken));
            drop(TAKEN.set(taken));
            cli
        }
        Err(error) => {
            // Only `run` takes anything from the file; help and the version end here.
            let cli = Cli::parse_from(&args);
            if !matches!(cli.command, Command::Run(_)) {
                return cli;
            }
            eprintln!("sessiond: {error}\n  correct the file, or see `sessionctl config`");
            exit(WRONG_USAGE);
        }
    }
}

fn own_arguments() -> Vec<OsString> {
    without_login_of_another(env::args_os().collect(), |name| env::var_os(name))
}

/// The file's values for `run`, each unless its option or its variable is given.
fn taken(
    args: &[OsString],
    variable: impl Fn(&str) -> Option<OsString>,
    config: &Config,
) -> Vec<Taken> {
    if !runs(args) {
        return Vec::new();
    }
    let said = |key: &Key| given(args, &option(key)).or_else(|| variable(key.variable));
    let said_otherwise = |name: &str, in_file: &str| {
        let said = Key::named(name).and_then(said);
        said.is_some_and(|value| value != in_file)
    };
    let in_file = |name: &str| Key::named(name).and_then(|key| config.get(key));
    let mut taken = Vec::new();
    for key in KEYS.iter().filter(|key| key.user != User::Ctl) {
        let Some(value) = config.get(key).filter(|_| said(key).is_none()) else {
            continue;
        };
        let beaten = match key.name {
            // One said another vault: the file's passphrase is for the file's own.
            "passphrase_file" => said_otherwise("vault", "passphrase"),
            // One said another proxy: the file's login is for the file's own, and nobody else's.
            "proxy_login_file" => {
                in_file("proxy").is_some_and(|proxy| said_otherwise("proxy", &proxy))
            }
            // One said how much is logged: that beats how the file has it in detail.
            "log_filter" => said_otherwise("log_level", ""),
            _ => false,
        };
        if !beaten {
            taken.push((key, value));
        }
    }
    taken
}

fn runs(args: &[OsString]) -> bool {
    args.get(1).is_some_and(|command| command == "run")
}

/// The login that the environment names is for the environment's proxy: whoever says another one on the command line has
/// none for it. An empty option beats the variable.
fn without_login_of_another(
    mut args: Vec<OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Vec<OsString> {
    let names = ["proxy", "proxy_login_file"].map(Key::named);
    let [Some(proxy), Some(login)] = names else {
        return args;
    };
    if runs(&args)
        && let Some(said) = given(&args, &option(proxy))
        && variable(proxy.variable).is_some_and(|value| value != said)
        && variable(login.variable).is_some()
        && given(&args, &option(login)).is_none()
    {
        args.push(format!("{}=", option(login)).into());
    }
    args
}

/// Adds the file's values as options.
fn with(mut args: Vec<OsString>, taken: &[Taken]) -> Vec<OsString> {
    let options = taken
        .iter()
        .map(|(key, value)| format!("{}={value}", option(key)));
    args.extend(options.map(OsString::from));
    args
}

fn option(key: &Key) -> String {
    format!("--{}", key.name.replace('_', "-"))
}

/// The value of an option among `args`.
pub fn given(args: &[OsString], option: &str) -> Option<OsString> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(rest) = arg.as_bytes().strip_prefix(option.as_bytes()) else {
            continue;
        };
        match rest {
            [] => return Some(args.next().cloned().unwrap_or_default()),
            [b'=', value @ ..] => return Some(OsString::from_vec(value.to_vec())),
            // Another option that begins alike.
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::{Path, PathBuf};

    use clap::{CommandFactory as _, ValueEnum as _};
    use sessiond_config::Kind;

    use super::*;
    use crate::cli::{RunArgs, VaultKind};
    use crate::log::LogLevel;

    fn config(text: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(Some(path)).unwrap()
    }

    fn run(args: &[&str], variables: &[(&str, &str)], file: &str) -> RunArgs {
        let args = ["sessiond", "run"].iter().chain(args).map(OsString::from);
        let variable = |name: &str| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let args: Vec<OsString> = args.collect();
        let taken = taken(&args, variable, &config(file));
        let args = with(args, &taken);
        let Command::Run(args) = Cli::try_parse_from(args).unwrap().command else {
            panic!("run")
        };
        args
    }

    #[test]
    fn an_option_beats_a_variable_beats_the_file() {
        let file =
            "socket = '/file'\nnetwork = 'test'\nvault = 'passphrase'\npassphrase_file = '/p'";
        let args = run(&[], &[], file);
        assert_eq!(args.socket.as_deref(), Some(Path::new("/file")));
        assert_eq!(
            (args.network.as_str(), args.vault),
            ("test", VaultKind::Passphrase)
        );
        for given in [&["--socket", "/option"][..], &["--socket=/option"]] {
            let args = run(given, &[], file);
            assert_eq!(args.socket.as_deref(), Some(Path::new("/option")));
        }
        // clap takes a variable from the process; here it only keeps the file's value away.
        assert_eq!(
            run(&[], &[("SESSIOND_NETWORK", "main")], file).network,
            "main"
        );
        assert_eq!(run(&[], &[], "").network, "main");
    }

    #[test]
    fn the_files_passphrase_goes_with_the_files_vault() {
        let file = "vault = 'passphrase'\npassphrase_file = '/p'";
        assert_eq!(
            run(&["--vault", "keyring"], &[], file).passphrase_file,
            None
        );
        let args = run(&["--vault", "passphrase"], &[], file);
        assert_eq!(args.passphrase_file.as_deref(), Some(Path::new("/p")));
    }

    #[test]
    fn a_proxys_login_goes_to_that_proxy_alone() {
        let file = "proxy = 'socks5h://mine'\nproxy_login_file = '/login'";
        let login = Some(PathBuf::from("/login"));
        assert_eq!(run(&[], &[], file).proxy_login_file, login);
        let same = ["--proxy", "socks5h://mine"];
        assert_eq!(run(&same, &[], file).proxy_login_file, login);
        let other = ["--proxy=socks5h://other"];
        assert_eq!(run(&other, &[], file).proxy_login_file, None);
        let args = run(&[], &[("SESSIOND_PROXY", "socks5h://other")], file);
        assert_eq!(args.proxy_login_file, None);
        let both = ["--proxy=socks5h://other", "--proxy-login-file=/other"];
        let found = run(&both, &[], file).proxy_login_file;
        assert_eq!(found, Some("/other".into()));

        // The same within the environment.
        let cut = |args: &[&str], proxy: &str| {
            let args = args.iter().map(OsString::from).collect();
            let variable = |name: &str| match name {
                "SESSIOND_PROXY" => Some(OsString::from(proxy)),
                _ => Some("/login".into()),
            };
            let args = without_login_of_another(args, variable);
            given(&args, "--proxy-login-file")
        };
        let args = ["sessiond", "run", "--proxy", "socks5h://mine"];
        assert_eq!(cut(&args, "socks5h://mine"), None);
        assert_eq!(cut(&args[..2], "socks5h://mine"), None);
        assert_eq!(cut(&args, "socks5h://other"), Some("".into()));
        let named = [&args[..], &["--proxy-login-file=/l"]].concat();
        assert_eq!(cut(&named, "socks5h://other"), Some("/l".into()));
        // An empty one is none, whatever the environment says.
        let none = run(&["--proxy=socks5h://other", "--proxy-login-file="], &[], "");
        assert!(none.proxy().unwrap().is_some());
    }

    #[test]
    fn a_level_that_is_said_beats_the_files_filter() {
        let file = "log_level = 'debug'\nlog_filter = 'warn,sessiond::sync=trace'";
        let log = run(&[], &[], file).log;
        assert_eq!(log.log_level, LogLevel::Debug);
        assert!(log.log_filter.is_some());
        let log = run(&["--log-level", "error"], &[], file).log;
        assert_eq!((log.log_level, log.log_filter), (LogLevel::Error, None));
    }

    #[test]
    fn what_counts_after_a_restart_is_named() {
        let args = ["sessiond", "run", "--socket", "/s"].map(OsString::from);
        let taken = |file| super::taken(&args, |_| None, &config(file));
        let before = taken("network = 'test'\nsocket = '/1'\nlog_level = 'warn'");
        let now = taken("socket = '/2'\nlog_level = 'info'\nlog_file = '/l'\nfull = true");
        // The socket is said on the command line, which still holds; `full` is not the agent's.
        assert_eq!(differ(&before, &now), ["network", "log_file"]);
        assert!(differ(&now, &now).is_empty());
    }

    #[test]
    fn every_option_can_be_configured() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for arg in run.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let Some(variable) = arg.get_env().and_then(OsStr::to_str) else {
                continue; // --help
            };
            let key = Key::named(arg.get_id().as_str());
            let key = key.unwrap_or_else(|| panic!("{} is no key of the file", arg.get_id()));
            assert_eq!(key.variable, variable);
        }
        let names: Vec<_> = VaultKind::value_variants()
            .iter()
            .filter_map(|kind| Some(kind.to_possible_value()?.get_name().to_owned()))
            .collect();
        let Kind::Choice(choices) = Key::named("vault").unwrap().kind else {
            panic!()
        };
        assert_eq!(names, choices);
    }
}
