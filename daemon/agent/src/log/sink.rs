//! Where lines end up: standard error for people and for other programs, a file of bounded size, the journal.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Effects, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::Level;

use super::journal::{self, Journal};
use super::record::Record;

/// Most bytes of the file; then it becomes `PATH.1`, which is replaced.
pub const MAX_FILE: u64 = 8 * 1024 * 1024;

/// One place.
pub enum Sink {
    Stderr(Look),
    File(Capped),
    Journal(Journal),
}

/// How a line looks on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Local time and, if wanted, colours.
    Terminal { colours: bool },
    /// UTC and who says it.
    Plain,
    /// As plain, without the time, with the priority in front as the service manager reads it.
    Prefixed,
}

impl Sink {
    /// The journal where standard error leads there, else standard error.
    pub fn standard() -> Self {
        let stderr = io::stderr();
        if journal::is_stderr() {
            return match Journal::open() {
                Ok(journal) => Self::Journal(journal),
                Err(_) => Self::Stderr(Look::Prefixed),
            };
        }
        if stderr.is_terminal() {
            let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            return Self::Stderr(Look::Terminal { colours });
        }
        Self::Stderr(Look::Plain)
    }

    /// Writes a line; an error means that it is lost.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        match self {
            Self::Stderr(look) => io::stderr()
                .lock()
                .write_all(line(record, *look).as_bytes()),
            Self::File(file) => file.write(&line(record, Look::Plain)),
            // Standard error leads to the same journal, also while its socket is away.
            Self::Journal(journal) => journal.write(record).or_else(|_| {
                let line = line(record, Look::Prefixed);
                io::stderr().lock().write_all(line.as_bytes())
            }),
        }
    }

    /// Opens the file anew if it was moved away.
    pub fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.reopen(),
            _ => Ok(()),
        }
    }
}

/// A record as a line, with its end.
pub fn line(record: &Record, look: Look) -> String {
    let text = record.text();
    let level = record.level;
    match look {
        Look::Prefixed => format!("<{}>{}: {text}\n", journal::priority(level), record.target),
        Look::Plain => {
            let time = Timestamp::try_from(record.time).unwrap_or_default();
            format!("{time:.3} {level:>5} {}: {text}\n", record.target)
        }
        Look::Terminal { colours } => {
            let time = Timestamp::try_from(record.time).unwrap_or_default();
            let time = time
                .to_zoned_datetime(TimeZone::system())
                .strftime("%H:%M:%S");
            let (bold, dim) = match colours {
                true => (colour(level), Style::new().effects(Effects::DIMMED)),
                false => (Style::new(), Style::new()),
            };
            let target = &record.target;
            format!("{dim}{time}{dim:#} {bold}{level:>5}{bold:#} {text} {dim}({target}){dim:#}\n")
        }
    }
}

fn colour(level: Level) -> Style {
    let colour = match level {
        Level::ERROR => AnsiColor::Red,
        Level::WARN => AnsiColor::Yellow,
        Level::INFO => AnsiColor::Green,
        Level::DEBUG => AnsiColor::Blue,
        Level::TRACE => AnsiColor::Magenta,
    };
    colour.on_default()
}

/// A file that only the owner may read, with the one before it: never more than twice the limit, save for one line.
pub struct Capped {
    path: PathBuf,
    limit: u64,
    file: File,
    size: u64,
}

impl Capped {
    /// Opens or makes it. Only a regular file is taken, and no symbolic link.
    pub fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let (file, size) = open(path)?;
        Ok(Self {
            path: path.to_owned(),
            limit,
            file,
            size,
        })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > self.limit {
            self.rotate()?;
        }
        self.file.write_all(line.as_bytes())?;
        self.size += length;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut before = self.path.clone().into_os_string();
        before.push(".1");
        // Where the directory cannot be written the older lines go: the limit holds all the same.
        if std::fs::rename(&self.path, before).is_err() {
            self.file.set_len(0)?;
        }
        (self.file, self.size) = open(&self.path)?;
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        let ours = self.file.metadata()?;
        let there = std::fs::symlink_metadata(&self.path);
        if there.is_ok_and(|there| there.ino() == ours.ino() && there.dev() == ours.dev()) {
            return Ok(());
        }
        (self.file, self.size) = open(&self.path)?;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        // The bits are the system's own, whatever sign it gives them.
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    Ok((file, meta.len()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, Instant, SystemTime};

    use super::*;

    fn record(text: &str) -> Record {
        let mut record = Record::own(Level::WARN, text.to_owned(), Instant::now());
        record.time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        record
    }

    #[test]
    fn a_line_for_each_reader() {
        let record = record("a path failed");
        assert_eq!(
            line(&record, Look::Plain),
            "2023-11-14T22:13:20.123Z  WARN sessiond::log: a path failed\n"
        );
        assert_eq!(
            line(&record, Look::Prefixed),
            "<4>sessiond::log: a path failed\n"
        );
        let plain = line(&record, Look::Terminal { colours: false });
        assert!(
            plain.ends_with(":20  WARN a path failed (sessiond::log)\n"),
            "{plain}"
        );
        assert!(!plain.contains('\x1b'));
        assert!(line(&record, Look::Terminal { colours: true }).contains("\x1b[33m"));
    }

    #[test]
    fn a_file_and_the_one_before_it_are_bounded_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "before\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let mut file = Capped::open(&path, 100).unwrap();
        for n in 0..100 {
            file.write(&format!("line {n}\n")).unwrap();
            for name in ["log", "log.1"] {
                let Ok(meta) = fs::metadata(dir.path().join(name)) else {
                    continue;
                };
                assert!(meta.len() <= 100);
                assert_eq!(meta.permissions().mode() & 0o777, 0o600);
            }
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        let both = [
            fs::read_to_string(dir.path().join("log.1")).unwrap(),
            fs::read_to_string(&path).unwrap(),
        ]
        .concat();
        let lines: Vec<&str> = both.lines().collect();
        assert_eq!(lines.last(), Some(&"line 99"));
        assert!(lines.len() > 12, "{lines:?}");
        // One line is always written, however long.
        file.write(&"x".repeat(500)).unwrap();
        file.write("y").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "y");
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = Capped::open(&path, 100).unwrap();
        file.write("one\n").unwrap();
        file.reopen().unwrap();
        file.write("two\n").unwrap();
        fs::rename(&path, dir.path().join("moved")).unwrap();
        file.reopen().unwrap();
        file.write("three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        let moved = fs::read_to_string(dir.path().join("moved")).unwrap();
        assert_eq!(moved, "one\ntwo\n");
    }

    #[test]
    fn only_a_file_is_a_log_file() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert!(Capped::open(&link, 100).is_err());
        assert!(Capped::open(Path::new("/dev/null"), 100).is_err());
        assert!(Capped::open(dir.path(), 100).is_err());
    }
}
