//! A small file system of its own for an agent's state directory, to be filled, frozen and mounted anew. Needs root.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the file system is.
pub enum Kind {
    /// In memory, of so many MiB: what the kernel says when it is full is what every file system says.
    Memory(u32),
    /// ext4 on a loop device: a file of it can be made immutable while it is open.
    Ext4(u32),
}

/// A mounted file system; goes when dropped.
pub struct Disk {
    dir: PathBuf,
    image: PathBuf,
}

impl Disk {
    /// Mounts a new one at `dir`. `None` where this machine [cannot](super::cannot) have one.
    pub fn mount(dir: &Path, kind: &Kind) -> Option<Self> {
        let disk = Self {
            dir: dir.to_owned(),
            image: dir.with_extension("image"),
        };
        match disk.make(kind) {
            Ok(()) => Some(disk),
            Err(reason) => {
                super::cannot(&format!("no file system of its own: {reason}"));
                None
            }
        }
    }

    fn make(&self, kind: &Kind) -> Result<(), String> {
        std::fs::create_dir_all(&self.dir).map_err(|error| error.to_string())?;
        let at = self.dir.to_str().unwrap();
        match kind {
            Kind::Memory(mib) => {
                let size = format!("size={mib}m,mode=700");
                run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", at])
            }
            Kind::Ext4(mib) => {
                let image = self.image.to_str().unwrap();
                File::create(image)
                    .and_then(|file| file.set_len(u64::from(*mib) << 20))
                    .map_err(|error| error.to_string())?;
                run("mkfs.ext4", &["-q", "-F", image])?;
                run("mount", &["-o", "loop", image, at])?;
                let mode = std::fs::Permissions::from_mode(0o700);
                std::fs::set_permissions(&self.dir, mode).map_err(|error| error.to_string())
            }
        }
    }

    /// Fills it to the last byte.
    pub fn fill(&self) {
        let mut file = File::create(self.dir.join("ballast")).unwrap();
        let zeros = vec![0; 4096];
        while file.write_all(&zeros).is_ok() {}
        // The rest of the last block.
        while file.write_all(&[0]).is_ok() {}
    }

    /// Makes room again.
    pub fn empty(&self) {
        std::fs::remove_file(self.dir.join("ballast")).unwrap();
    }

    /// Nothing in it can be written any more, also through files that are open, or it can again.
    pub fn freeze(&self, frozen: bool) {
        let sign = if frozen { "+i" } else { "-i" };
        run("chattr", &["-R", sign, self.dir.to_str().unwrap()]).unwrap();
    }

    /// Mounts it read-only, or writable again. No file may be open for writing.
    pub fn read_only(&self, read_only: bool) {
        let mode = if read_only {
            "remount,ro"
        } else {
            "remount,rw"
        };
        run("mount", &["-o", mode, self.dir.to_str().unwrap()]).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Fails only where it never came to be.
        let _ = run("chattr", &["-R", "-i", self.dir.to_str().unwrap()]);
        let _ = run("umount", &["-l", self.dir.to_str().unwrap()]);
        let _ = std::fs::remove_file(&self.image);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {arguments:?}: {}", said.trim()))
}
