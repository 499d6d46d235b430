//! The command line as it stands with the configuration file: what neither an option nor a variable says is taken from there.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::process::exit;

use clap::Parser as _;
use sessiond_config::{Config, KEYS, Key, User};

use crate::cli::Cli;

/// Exit status for wrong usage, as clap has it.
const WRONG_USAGE: i32 = 2;

/// This process's command line. Ends the process when it or the configuration file is wrong.
#[must_use]
pub fn parse() -> Cli {
    let args: Vec<OsString> = env::args_os().collect();
    match Config::load() {
        Ok(config) => Cli::parse_from(with_file(args, |name| env::var_os(name), &config)),
        Err(error) => {
            // Help and the version need no file.
            let _ = Cli::parse_from(&args);
            eprintln!("sessiond: {error}\n  correct the file, or see `sessionctl config`");
            exit(WRONG_USAGE);
        }
    }
}

/// Adds the file's values to `run` as options, each unless the option or its variable is given.
fn with_file(
    mut args: Vec<OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
    config: &Config,
) -> Vec<OsString> {
    if args.get(1).is_none_or(|command| command != "run") {
        return args;
    }
    let said = |key: &Key| given(&args, &option(key)).or_else(|| variable(key.variable));
    let mut added = Vec::new();
    for key in KEYS.iter().filter(|key| key.user != User::Ctl) {
        let Some(value) = config.get(key).filter(|_| said(key).is_none()) else {
            continue;
        };
        // One said another vault: the file's passphrase is for the file's own.
        if key.name == "passphrase_file"
            && Key::named("vault")
                .and_then(said)
                .is_some_and(|vault| vault != "passphrase")
        {
            continue;
        }
        added.push(OsString::from(format!("{}={value}", option(key))));
    }
    args.extend(added);
    args
}

fn option(key: &Key) -> String {
    format!("--{}", key.name.replace('_', "-"))
}

/// The value of an option among `args`.
fn given(args: &[OsString], option: &str) -> Option<OsString> {
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
    use std::path::Path;

    use clap::{CommandFactory as _, ValueEnum as _};
    use sessiond_config::Kind;

    use super::*;
    use crate::cli::{Command, RunArgs, VaultKind};

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
        let args = with_file(args.collect(), variable, &config(file));
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
