//! The journal's own protocol: one datagram a line, with priority and fields.
//!
//! Written here because a line must be bounded, must not wait for a journal that hangs, and may be one of the log's own;
//! `tracing-journald` waits, and takes events only. Facts: systemd's "Native Journal Protocol" and, for
//! `$JOURNAL_STREAM`, systemd.exec(5). Records are far below what fits into a datagram.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::fstat;
use tracing::Level;

use super::record::Record;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Longest a line waits for the journal.
const WAIT: Duration = Duration::from_secs(1);

/// A way to the journal.
pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// To the system's.
    pub fn open() -> io::Result<Self> {
        Self::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(WAIT))?;
        // Only to see that it is there: unconnected, it is found again after it was restarted.
        socket.connect(path)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(WAIT))?;
        Ok(Self {
            socket,
            path: path.to_owned(),
        })
    }

    pub fn write(&self, record: &Record) -> io::Result<()> {
        self.socket.send_to(&datagram(record), &self.path).map(drop)
    }
}

/// Whether standard error leads to the journal.
pub fn is_stderr() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|named| is_stream(&named, io::stderr()))
}

/// Whether `named`, as `device:inode`, is this file.
fn is_stream(named: &str, file: impl AsFd) -> bool {
    let Some((device, inode)) = named.split_once(':') else {
        return false;
    };
    let (Ok(device), Ok(inode)) = (device.parse::<u64>(), inode.parse::<u64>()) else {
        return false;
    };
    fstat(file).is_ok_and(|stat| stat.st_dev == device && stat.st_ino == inode)
}

/// The priority of syslog(3).
pub fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn datagram(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |name: &str, value: &str| {
        out.extend_from_slice(name.as_bytes());
        // Values are single lines.
        out.push(b'=');
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    };
    put("PRIORITY", &priority(record.level).to_string());
    put("SYSLOG_IDENTIFIER", "sessiond");
    put("TARGET", &record.target);
    put("MESSAGE", &record.text());
    for (name, value) in &record.fields {
        // Our fields begin with a letter; those of others may hold dots.
        let name: String = name
            .chars()
            .map(|c| match c.to_ascii_uppercase() {
                c if c.is_ascii_alphanumeric() => c,
                _ => '_',
            })
            .take(48)
            .collect();
        put(&format!("SESSIOND_{name}"), value);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_line_with_its_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        assert!(Journal::at(&path).is_err());
        let server = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        let mut record = Record::own(Level::WARN, "a path failed".to_owned(), Instant::now());
        record.fields.push(("reason", "TIMEOUT".to_owned()));
        record.fields.push(("log.line", "7".to_owned()));
        journal.write(&record).unwrap();
        let mut buffer = [0; 1024];
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(
            std::str::from_utf8(&buffer[..length]).unwrap(),
            "PRIORITY=4\nSYSLOG_IDENTIFIER=sessiond\nTARGET=sessiond::log\n\
             MESSAGE=a path failed reason=TIMEOUT log.line=7\n\
             SESSIOND_REASON=TIMEOUT\nSESSIOND_LOG_LINE=7\n"
        );
        // Restarted, it is found again.
        drop(server);
        assert!(journal.write(&record).is_err());
        std::fs::remove_file(&path).unwrap();
        let _server = UnixDatagram::bind(&path).unwrap();
        journal.write(&record).unwrap();
    }

    #[test]
    fn standard_error_is_known_by_its_file() {
        let file = tempfile::tempfile().unwrap();
        let stat = fstat(&file).unwrap();
        assert!(is_stream(
            &format!("{}:{}", stat.st_dev, stat.st_ino),
            &file
        ));
        for other in ["", "1", "x:y", "1:2:3", ":"] {
            assert!(!is_stream(other, &file), "{other}");
        }
        let other = format!("{}:{}", stat.st_dev, stat.st_ino.wrapping_add(1));
        assert!(!is_stream(&other, &file));
    }
}
