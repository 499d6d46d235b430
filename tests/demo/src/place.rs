//! Where a run keeps its files: a directory of the user's, or one that is removed at the end.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sessiond::platform::{create_private_dir, write_private_file};
use sessiond_client::new_client_token;
use tempfile::TempDir;

/// Longest directory in which sockets still have room: their paths hold 107 bytes.
const ROOM: usize = 60;

/// The directory of a run.
pub struct Place {
    dir: PathBuf,
    temporary: Option<TempDir>,
}

impl Place {
    /// Uses the directory, or makes a temporary one. Only the owner may enter what is made.
    pub fn new(wanted: Option<PathBuf>) -> anyhow::Result<Self> {
        let (dir, temporary) = match wanted {
            Some(dir) => (std::path::absolute(dir)?, None),
            None => {
                let usual = std::env::temp_dir();
                let parent = if usual.as_os_str().len() > ROOM {
                    Path::new("/tmp")
                } else {
                    &usual
                };
                let dir = tempfile::Builder::new()
                    .prefix("sessiond-demo-")
                    .permissions(Permissions::from_mode(0o700))
                    .tempdir_in(parent)
                    .context("temporary directory")?;
                (dir.path().to_owned(), Some(dir))
            }
        };
        let place = Self { dir, temporary };
        for part in ["network", "alice", "bob", "logs"] {
            let part = place.path(part);
            create_private_dir(&part).with_context(|| format!("directory {}", part.display()))?;
        }
        let passphrase = place.passphrase_file();
        if !passphrase.exists() {
            write_private_file(&passphrase, new_client_token()?.as_bytes())
                .with_context(|| format!("passphrase file {}", passphrase.display()))?;
        }
        Ok(place)
    }

    /// A path below the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The random passphrase of both agents' vaults.
    pub fn passphrase_file(&self) -> PathBuf {
        self.path("passphrase")
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it is removed at the end.
    pub fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// Leaves even a temporary directory where it is.
    pub fn keep(self) {
        if let Some(dir) = self.temporary {
            drop(dir.keep());
        }
    }
}
