//! `config`

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use sessiond_client::socket;
use sessiond_config::{Config, KEYS, Key, state_dir};

use crate::{
    context::Context,
    failure::Failure,
    format::{safe, table},
};

/// What to do with the configuration file.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show what holds, and whether a flag, the environment or the file says so
    ///
    /// As this shell's environment has it; that of the agent may differ.
    Show,
    /// Print where the file is, or would be
    Path,
    /// List the keys and what each is for
    Keys,
    /// Set a value; sessiond reads it at its next start
    Set {
        /// As `config keys` lists them
        #[arg(value_parser = key)]
        key: &'static Key,
        /// What it is to be
        value: String,
    },
    /// Take a value out of the file
    Unset {
        /// As `config keys` lists them
        #[arg(value_parser = key)]
        key: &'static Key,
    },
    /// Check the file; ends with 2 when it is not right
    Check,
}

fn key(name: &str) -> Result<&'static Key, String> {
    Key::named(name).ok_or_else(|| {
        let names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        format!("there is no such key; there are {}", names.join(", "))
    })
}

pub fn config(context: &mut Context, command: Option<ConfigCommand>) -> Result<(), Failure> {
    match command.unwrap_or(ConfigCommand::Show) {
        ConfigCommand::Show => show(context),
        ConfigCommand::Path => {
            let path = sessiond_config::path().ok_or(sessiond_config::ConfigError::NoPlace)?;
            if context.json {
                return context.value(&json!({ "path": path }));
            }
            context.print(&format!("{}\n", path.display()))
        }
        ConfigCommand::Keys => keys(context),
        ConfigCommand::Set { key, value } => {
            let config = context.config()?;
            config.set(key, &value)?;
            let beaten = std::env::var_os(key.variable).is_some_and(|value| !value.is_empty());
            if beaten {
                context.progress(&format!("{} is set, and beats the file.", key.variable));
            }
            let login = Key::named("proxy_login_file");
            if key.name == "proxy" && login.is_some_and(|login| has(context, login)) {
                context.progress("The login in proxy_login_file goes to this proxy now.");
            }
            Ok(())
        }
        ConfigCommand::Unset { key } => {
            if !context.config()?.unset(key)? {
                context.progress("It was not in the file.");
            }
            Ok(())
        }
        ConfigCommand::Check => {
            let path = context.config()?.path().map(PathBuf::from);
            match path {
                Some(path) if path.exists() => {
                    context.progress(&format!("{} is right.", path.display()));
                }
                _ => context.progress("There is no file; that is right, too."),
            }
            Ok(())
        }
    }
}

fn has(context: &mut Context, key: &Key) -> bool {
    context.config().is_ok_and(|file| file.get(key).is_some())
}

fn show(context: &mut Context) -> Result<(), Failure> {
    let socket_flag = context.named_socket().map(PathBuf::from);
    let mut rows = Vec::new();
    let config = context.config()?;
    for key in KEYS {
        let flag = socket_flag.as_ref().filter(|_| key.name == "socket");
        let (value, origin) = match flag {
            Some(socket) => (socket.display().to_string(), "flag".to_owned()),
            None => effective(config, key),
        };
        rows.push([key.name.to_owned(), value, origin]);
    }
    if context.json {
        return rows.iter().try_for_each(|[key, value, origin]| {
            context.value(&json!({ "key": key, "value": value, "origin": origin }))
        });
    }
    let rows: Vec<_> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| or_dash(&safe::line(cell))))
        .collect();
    context.print(&table::table(["KEY", "VALUE", "SAID BY"], &rows))
}

/// What holds, and who says so.
fn effective(config: &Config, key: &Key) -> (String, String) {
    let variable = std::env::var_os(key.variable).filter(|value| !value.is_empty());
    if let Some(value) = variable {
        return (
            value.to_string_lossy().into_owned(),
            key.variable.to_owned(),
        );
    }
    match config.get(key) {
        Some(value) => (value, "file".to_owned()),
        None => (default(key), "default".to_owned()),
    }
}

/// Places as they are for this user.
fn default(key: &Key) -> String {
    let place = match key.name {
        "socket" => socket::socket_path(None).ok(),
        "state_dir" => state_dir(),
        _ => None,
    };
    place.map_or_else(|| key.default.to_owned(), |path| path.display().to_string())
}

fn keys(context: &mut Context) -> Result<(), Failure> {
    if context.json {
        return KEYS.iter().try_for_each(|key| {
            context.value(&json!({
                "key": key.name, "variable": key.variable, "default": key.default, "help": key.help,
            }))
        });
    }
    let rows: Vec<_> = KEYS
        .iter()
        .map(|key| [key.name, key.variable, &or_dash(key.default), key.help].map(str::to_owned))
        .collect();
    context.print(&table::table(
        ["KEY", "VARIABLE", "DEFAULT", "WHAT FOR"],
        &rows,
    ))
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}
