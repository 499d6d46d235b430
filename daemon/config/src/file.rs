//! Reading and changing the file.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, TomlError, value};

use crate::keys::{Key, Kind};
use crate::places::config_dir;

/// Names another file; empty means none at all.
const FILE_VARIABLE: &str = "SESSIOND_CONFIG";

/// More than anybody writes.
const MAX_BYTES: u64 = 64 * 1024;

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is there, but cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not TOML.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<TomlError>,
    },
    /// It has a key that nobody knows.
    #[error("{}: nobody knows the key \"{key}\"", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// It has a value that does not fit.
    #[error("{}: the value of \"{key}\" does not fit: {advice}", path.display())]
    BadValue {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What would fit.
        advice: String,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no place for it.
    #[error("there is no home directory: set XDG_CONFIG_HOME or {FILE_VARIABLE}")]
    NoPlace,
}

/// Where the file is, or would be: `SESSIOND_CONFIG`, else `$XDG_CONFIG_HOME/sessiond/config.toml`, else
/// `~/.config/sessiond/config.toml`. `None` when there is no place for it.
#[must_use]
pub fn path() -> Option<PathBuf> {
    match env::var_os(FILE_VARIABLE) {
        Some(named) => Some(PathBuf::from(named)).filter(|path| !path.as_os_str().is_empty()),
        None => config_dir().map(|dir| dir.join("config.toml")),
    }
}

/// The file as it was read. One that is not there has no values.
#[derive(Debug)]
pub struct Config {
    path: Option<PathBuf>,
    document: DocumentMut,
}

impl Config {
    /// Reads this user's file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it is there and not right.
    pub fn load() -> Result<Self, ConfigError> {
        Self::read(path())
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it is there and not right.
    pub fn read(path: Option<PathBuf>) -> Result<Self, ConfigError> {
        let empty = |path| Self {
            path,
            document: DocumentMut::new(),
        };
        let Some(path) = path else {
            return Ok(empty(None));
        };
        let text = match read_bounded(&path) {
            Ok(text) => text,
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(empty(Some(path)));
            }
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        Self::parse(&text, path)
    }

    /// Reads what stands in the file at `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it is not right.
    pub fn parse(text: &str, path: PathBuf) -> Result<Self, ConfigError> {
        let document: DocumentMut = match text.parse() {
            Ok(document) => document,
            Err(source) => {
                let source = Box::new(source);
                return Err(ConfigError::Syntax { path, source });
            }
        };
        check(&path, &document)?;
        Ok(Self {
            path: Some(path),
            document,
        })
    }

    /// Where it is or would be.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The value of a key, if the file has one.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<String> {
        self.document.get(key.name).and_then(text)
    }

    /// The value that holds by the environment or by the file.
    #[must_use]
    pub fn effective(&self, key: &Key) -> Option<OsString> {
        env::var_os(key.variable)
            .filter(|value| !value.is_empty())
            .or_else(|| self.get(key).map(OsString::from))
    }

    /// Sets a value and writes the file.
    ///
    /// # Errors
    ///
    /// [`ConfigError::BadValue`], [`ConfigError::NoPlace`], [`ConfigError::Write`].
    pub fn set(&mut self, key: &'static Key, new: &str) -> Result<(), ConfigError> {
        let path = self.path.clone().ok_or(ConfigError::NoPlace)?;
        if let Err(advice) = key.check(new) {
            let key = key.name;
            return Err(ConfigError::BadValue { path, key, advice });
        }
        let mut item = match key.kind {
            Kind::Switch => value(new == "true"),
            _ => value(new),
        };
        // What was written beside the old value stays.
        if let (Some(old), Some(new)) = (
            self.document.get(key.name).and_then(Item::as_value),
            item.as_value_mut(),
        ) {
            *new.decor_mut() = old.decor().clone();
        }
        match self.document.get_mut(key.name) {
            // In place, so that the comment above the key stays as well.
            Some(old) => *old = item,
            None => drop(self.document.insert(key.name, item)),
        }
        self.write(&path)
    }

    /// Takes a value out and writes the file. Whether there was one.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoPlace`], [`ConfigError::Write`].
    pub fn unset(&mut self, key: &Key) -> Result<bool, ConfigError> {
        let path = self.path.clone().ok_or(ConfigError::NoPlace)?;
        if self.document.remove(key.name).is_none() {
            return Ok(false);
        }
        self.write(&path)?;
        Ok(true)
    }

    fn write(&self, path: &Path) -> Result<(), ConfigError> {
        replace(path, self.document.to_string().as_bytes()).map_err(|source| ConfigError::Write {
            path: path.to_owned(),
            source,
        })
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    fs::File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("more than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

fn check(path: &Path, document: &DocumentMut) -> Result<(), ConfigError> {
    for (name, item) in document.iter() {
        // In the file only the one spelling counts.
        let Some(key) = Key::named(name).filter(|key| key.name == name) else {
            return Err(ConfigError::UnknownKey {
                path: path.to_owned(),
                key: name.to_owned(),
            });
        };
        let fits = match (key.kind, item) {
            (Kind::Switch, item) if item.is_bool() => Ok(()),
            (Kind::Switch, _) => Err("give true or false, without quotes".to_owned()),
            (_, item) => match item.as_str() {
                Some(value) => key.check(value),
                None => Err("give a text in quotes".to_owned()),
            },
        };
        if let Err(advice) = fits {
            return Err(ConfigError::BadValue {
                path: path.to_owned(),
                key: key.name,
                advice,
            });
        }
    }
    Ok(())
}

fn text(item: &Item) -> Option<String> {
    item.as_str()
        .map(str::to_owned)
        .or_else(|| item.as_bool().map(|switch| switch.to_string()))
}

/// As a whole or not at all; what was there stays until the new content is on disk.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> &'static Key {
        Key::named(name).unwrap()
    }

    fn read(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, text).unwrap();
        Config::read(Some(path))
    }

    #[test]
    fn a_file_that_is_not_there_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::read(Some(dir.path().join("none"))).unwrap();
        assert_eq!(config.get(key("socket")), None);
        assert_eq!(Config::read(None).unwrap().path(), None);
    }

    #[test]
    fn values_are_read() {
        let config = read("socket = '/run/s'\nfull = true # whole IDs\n").unwrap();
        assert_eq!(config.get(key("socket")).as_deref(), Some("/run/s"));
        assert_eq!(config.get(key("full")).as_deref(), Some("true"));
        assert_eq!(config.get(key("vault")), None);
    }

    #[test]
    fn slips_of_the_pen_are_named() {
        for (text, said) in [
            ("socket = ", "line 1"),
            ("sockets = '/s'", "nobody knows the key \"sockets\""),
            ("state-dir = '/s'", "nobody knows the key \"state-dir\""),
            ("socket = 's'", "the value of \"socket\" does not fit"),
            ("socket = 1", "give a text in quotes"),
            ("full = 'true'", "without quotes"),
            ("[vault]\nkind = 'keyring'", "give a text in quotes"),
            (
                "vault = 'paper'",
                "give one of keyring, passphrase, credential",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        let long = "#".repeat(usize::try_from(MAX_BYTES).unwrap() + 1);
        assert!(matches!(read(&long), Err(ConfigError::Read { .. })));
    }

    #[test]
    fn changing_a_value_keeps_the_rest() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config.toml");
        let mut config = Config::read(Some(path.clone())).unwrap();
        config.set(key("vault"), "passphrase").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);

        fs::write(&path, "# mine\nvault = 'keyring' # the desktop's\n").unwrap();
        let mut config = Config::read(Some(path.clone())).unwrap();
        config.set(key("vault"), "passphrase").unwrap();
        config.set(key("full"), "true").unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "# mine\nvault = \"passphrase\" # the desktop's\nfull = true\n"
        );
        assert!(config.set(key("socket"), "relative").is_err());
        assert!(config.unset(key("full")).unwrap() && !config.unset(key("full")).unwrap());
        let again = Config::read(Some(path)).unwrap();
        assert_eq!(again.get(key("full")), None);
        assert_eq!(again.get(key("vault")).as_deref(), Some("passphrase"));
    }
}
