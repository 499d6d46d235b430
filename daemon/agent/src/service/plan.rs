//! What is to be done, as data: shown or carried out.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::platform::create_private_dir;

/// One thing to do.
#[derive(Debug)]
pub enum Step {
    /// Make a directory that only the owner may enter, unless it is there.
    PrivateDir(PathBuf),
    /// Write a file, and the directories above it.
    Write(PathBuf, String),
    /// Remove a file, if it is there.
    Remove(PathBuf),
    /// Run a command; it must end well.
    Run(Vec<String>),
    /// Run a command; how it ends does not matter.
    Try(Vec<String>),
}

/// Things to do, in order.
#[derive(Debug, Default)]
pub struct Plan(pub Vec<Step>);

impl Plan {
    /// Does it. Stops at the first step that fails.
    pub fn carry_out(&self) -> anyhow::Result<()> {
        for step in &self.0 {
            match step {
                Step::PrivateDir(path) if path.exists() => {}
                Step::PrivateDir(path) => {
                    create_private_dir(path).with_context(|| path.display().to_string())?;
                }
                Step::Write(path, text) => {
                    if let Some(parent) = path.parent() {
                        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
                    }
                    fs::write(path, text).with_context(|| path.display().to_string())?;
                }
                Step::Remove(path) => match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(error).with_context(|| path.display().to_string());
                    }
                    _ => {}
                },
                Step::Run(words) => {
                    let mut command = command(words);
                    let status = command
                        .status()
                        .with_context(|| format!("cannot run `{}`", words.join(" ")))?;
                    if !status.success() {
                        bail!("`{}` failed ({status})", words.join(" "));
                    }
                }
                Step::Try(words) => drop(command(words).output()),
            }
        }
        Ok(())
    }
}

fn command(words: &[String]) -> Command {
    let mut command = Command::new(words.first().map_or("true", String::as_str));
    command.args(words.iter().skip(1));
    command
}

/// A command as one would type it.
pub fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::PrivateDir(path) => writeln!(f, "# directory {} (0700)", path.display())?,
                Step::Write(path, text) => writeln!(f, "# file {}\n{text}", path.display())?,
                Step::Remove(path) => writeln!(f, "rm -f {}", path.display())?,
                Step::Run(words) => writeln!(f, "{}", words.join(" "))?,
                Step::Try(words) => writeln!(f, "{} || true", words.join(" "))?,
            }
        }
        Ok(())
    }
}
