//! Room on the disk: whether something can be written, how much is free, and waiting for more.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::health::{Health, PROBE, Trouble};

/// Between two looks whether something can be written again.
pub const LOOK: Duration = Duration::from_secs(5);

/// Name of the file that is written to find out. One that a death left behind is removed by the next look.
const PROBE_FILE: &str = ".probe";

/// Writes a file of [`PROBE`] zeros to the disk and removes it. Only this tells for sure: numbers of free blocks know
/// nothing of quotas.
fn probe(dir: &Path) -> io::Result<()> {
    let path = dir.join(PROBE_FILE);
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| {
            let zeros = [0; 64 * 1024];
            for _ in 0..PROBE / zeros.len() {
                file.write_all(&zeros)?;
            }
            file.sync_all()
        });
    match fs::remove_file(&path) {
        Err(error) if written.is_ok() => Err(error),
        _ => written,
    }
}

/// What keeps the directory from being written, if anything; off the async threads.
pub async fn look(dir: &Path) -> Option<Trouble> {
    let dir: PathBuf = dir.to_owned();
    let outcome = tokio::task::spawn_blocking(move || probe(&dir)).await;
    match outcome {
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            Some(Trouble::ReadOnly)
        }
        Ok(Err(error)) => Trouble::of_io(&error),
        _ => None,
    }
}

/// Looks, while nothing can be written, whether something can again. Never ends.
pub async fn follow(health: Arc<Health>) {
    let mut condition = health.watch();
    loop {
        if condition
            .wait_for(|now| now.blocked.is_some())
            .await
            .is_err()
        {
            return;
        }
        tokio::time::sleep(LOOK).await;
        match look(health.dir()).await {
            None => health.unblock(),
            // The disk was full and is now read-only, say.
            Some(trouble) => health.note(trouble),
        }
    }
}

/// Bytes that the owner may still write where `path` lies.
pub fn free(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_that_can_be_written_is_no_trouble_and_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path()).await, None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(free(dir.path()).unwrap() > 0);
        // That it is not there is neither fullness nor a lock.
        assert_eq!(look(&dir.path().join("nowhere")).await, None);
    }
}
