//! A real keyring for an agent: gnome-keyring-daemon on a bus and in a home of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

/// A program that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has gone already is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A bus with an unlocked keyring on it, for as long as this lives.
pub struct Keyring {
    _bus: Running,
    _daemon: Running,
    /// The bus's address.
    pub address: String,
}

impl Keyring {
    /// Starts both, with all files in `dir`. `None` where the programs are not installed.
    pub fn start(dir: &Path) -> anyhow::Result<Option<Self>> {
        let bus = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut bus) = bus else { return Ok(None) };
        let said = bus.stdout.take().context("no output of the bus")?;
        let bus = Running(bus);
        let mut address = String::new();
        BufReader::new(said).read_line(&mut address)?;
        let address = address.trim().to_owned();
        let keyring = Command::new("gnome-keyring-daemon")
            .args(["--unlock", "--components=secrets", "--foreground"])
            .env("HOME", dir)
            .env("XDG_RUNTIME_DIR", dir)
            .env_remove("XDG_DATA_HOME")
            .env("DBUS_SESSION_BUS_ADDRESS", &address)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut keyring) = keyring else {
            return Ok(None);
        };
        let password = keyring.stdin.take().context("no input of the keyring")?;
        let keyring = Running(keyring);
        { password }.write_all(b"benchmark")?;
        Ok(Some(Self {
            _bus: bus,
            _daemon: keyring,
            address,
        }))
    }
}
