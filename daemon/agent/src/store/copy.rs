//! Copies made for safety, each with a key of its own and an end: one from before a migration, one of a damaged original.
//!
//! Promises (design.md promises 3 and 4): what has disappeared may still be in a copy, so a copy ends after the first
//! good start (before a migration: once the migrated database was checked and found sound) or [`KEEP_MS`] after it was
//! made, and then nothing can read it any more, even if its file remains. Nothing in it is readable without the
//! account's own key, at any moment: it is never on disk under another key than its own.
//!
//! Where the key lies: in a file of 88 bytes beside the copy, sealed under a key derived from the database key. Not in
//! `daemon.db`, which holds no secrets; not in the vault, which may ask the user or be away just when the copy must end;
//! not in the database that replaces the original: the copy is there for the case that this one turns out to be broken.
//! To end a copy its key file is overwritten in place, flushed and removed, then the copy is removed. That is as strong
//! as `PRAGMA secure_delete`: it overwrites where the bytes lie, and what a disk keeps of overwritten blocks is beyond
//! both. Overwriting the copy itself as well would only take longer.
//!
//! The copy from before a migration is a database again (`sqlcipher_export`). That of a damaged original holds its bytes
//! as they were, file and write-ahead log, sealed in chunks of [`CHUNK`] with XChaCha20-Poly1305: SQLite could not export
//! it. The original itself, which is encrypted under the account's key, is overwritten before it is removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use zeroize::Zeroizing;

use super::check::{self, Pace};
use super::sealed::Seal;
use super::{StoreError, account_db, space};
use crate::platform::{ensure_private_file, sync_parent};
use crate::random::os_rng;
use crate::vault::DatabaseKey;

/// How long a copy is kept at most, ms.
pub const KEEP_MS: i64 = 7 * 86_400_000;
/// Bytes sealed at a time.
pub const CHUNK: usize = 64 * 1024;
/// Room that is left for everything else.
const MARGIN: u64 = 16 * 1024 * 1024;

const CONTEXT: &[u8] = b"sessiond copy key v1";
const NONCE: usize = 24;
const TAG: usize = 16;

/// What a copy is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The database as it was before a migration.
    BeforeMigration,
    /// A damaged database as it was before what is readable was taken over.
    Damaged,
}

impl Kind {
    const ALL: [Self; 2] = [Self::BeforeMigration, Self::Damaged];

    /// UPPER_SNAKE.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeMigration => "BEFORE_MIGRATION",
            Self::Damaged => "DAMAGED",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::BeforeMigration => "before-migration",
            Self::Damaged => "damaged",
        }
    }
}

/// A copy that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What it is of.
    pub kind: Kind,
    /// When it was made, ms.
    pub made_ms: i64,
    /// When it ends at the latest, ms.
    pub ends_ms: i64,
}

/// Where the copy of a database lies.
pub fn path(database: &Path, kind: Kind) -> PathBuf {
    database.with_extension(format!("{}.copy", kind.file()))
}

fn key_path(database: &Path, kind: Kind) -> PathBuf {
    database.with_extension(format!("{}.copykey", kind.file()))
}

/// A copy that is being made.
fn new_path(database: &Path, kind: Kind) -> PathBuf {
    database.with_extension(format!("{}.copy-new", kind.file()))
}

/// Copies the database before it is migrated. The original is only read.
pub async fn before_migration(
    database: &Path,
    key: &DatabaseKey,
    now_ms: i64,
) -> Result<(), StoreError> {
    let kind = Kind::BeforeMigration;
    require_room(database, 1)?;
    let own = begin(database, kind, key, now_ms)?;
    let fresh = new_path(database, kind);
    ensure_private_file(&fresh)?;
    let mut connection = account_db::connect(database, key).await?;
    let exported = export(&mut connection, &fresh, &own).await;
    drop(sqlx::Connection::close(connection).await);
    exported?;
    if !check::is_sound(&fresh, &own, Pace::Full).await? {
        return Err(StoreError::Damaged);
    }
    File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, path(database, kind))?;
    sync_parent(database)?;
    Ok(())
}

async fn export(
    connection: &mut sqlx::SqliteConnection,
    to: &Path,
    key: &DatabaseKey,
) -> Result<(), StoreError> {
    let to = to
        .to_str()
        .ok_or_else(|| io::Error::other("the state directory's name is not UTF-8"))?;
    // Bound, so that no text of a statement holds the key.
    let hex = Zeroizing::new(hex::encode(key.as_bytes()));
    sqlx::query("ATTACH DATABASE ? AS copy KEY ?")
        .bind(to)
        .bind(format!("x'{}'", *hex))
        .execute(&mut *connection)
        .await?;
    sqlx::query("SELECT sqlcipher_export('copy')")
        .execute(&mut *connection)
        .await?;
    sqlx::query("DETACH DATABASE copy")
        .execute(connection)
        .await?;
    Ok(())
}

/// Seals a damaged database, with its write-ahead log, under a key of its own. The original stays.
pub fn seal_damaged(database: &Path, key: &DatabaseKey, now_ms: i64) -> io::Result<()> {
    let kind = Kind::Damaged;
    let own = begin(database, kind, key, now_ms)?;
    let file = File::open(database)?;
    let length = file.metadata()?.len();
    let log: Box<dyn Read> = match File::open(account_db::wal_path(database)) {
        Ok(log) => Box::new(log),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Box::new(io::empty()),
        Err(error) => return Err(error),
    };
    let fresh = new_path(database, kind);
    let mut out = create(&fresh)?;
    let length_bytes = length.to_le_bytes();
    let mut source = (&length_bytes[..]).chain(file.take(length)).chain(log);
    seal(&own, &mut source, &mut out)?;
    out.sync_all()?;
    fs::rename(&fresh, path(database, kind))?;
    sync_parent(database)
}

/// The bytes of a sealed copy: length of the database file (64 bits, little-endian), the file, its write-ahead log.
/// `None` when its key is gone.
pub fn unseal_damaged(database: &Path, key: &DatabaseKey) -> io::Result<Option<Vec<u8>>> {
    let Some((own, _)) = read_key(database, Kind::Damaged, key)? else {
        return Ok(None);
    };
    let mut sealed = File::open(path(database, Kind::Damaged))?;
    let mut bytes = Vec::new();
    let (mut number, mut buffer) = (0, vec![0; CHUNK + TAG]);
    loop {
        let length = fill(&mut sealed, &mut buffer)?;
        let last = length < buffer.len();
        let chunk = buffer.get(..length).unwrap_or_default();
        let opened = cipher(&own)
            .decrypt(&nonce(number).into(), payload(chunk, last))
            .map_err(|_| io::Error::other("the copy is damaged"))?;
        bytes.extend_from_slice(&opened);
        if last {
            return Ok(Some(bytes));
        }
        number += 1;
    }
}

fn seal(key: &DatabaseKey, source: &mut impl Read, out: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut number = 0;
    loop {
        let length = fill(source, &mut buffer)?;
        // A chunk that is not full is the last one; there always is one.
        let last = length < CHUNK;
        let chunk = buffer.get(..length).unwrap_or_default();
        let sealed = cipher(key)
            .encrypt(&nonce(number).into(), payload(chunk, last))
            .map_err(|_| io::Error::other("the copy cannot be sealed"))?;
        out.write_all(&sealed)?;
        if last {
            return Ok(());
        }
        number += 1;
    }
}

/// A key is used for one copy, so that numbers are nonces.
fn nonce(number: u64) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    nonce
}

fn payload(chunk: &[u8], last: bool) -> Payload<'_, '_> {
    Payload {
        msg: chunk,
        aad: if last { b"last" } else { b"more" },
    }
}

fn cipher(key: &DatabaseKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.as_bytes().into())
}

fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Fails with [`StoreError::DiskFull`] unless the database fits `times` more.
pub fn require_room(database: &Path, times: u64) -> Result<(), StoreError> {
    let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    let needed = (size(database) + size(&account_db::wal_path(database))) * times + MARGIN;
    let free = space::free(database.parent().unwrap_or(Path::new(".")))?;
    if free < needed {
        tracing::error!(
            needed_mib = needed >> 20,
            free_mib = free >> 20,
            "there is no room for a copy of the database"
        );
        return Err(StoreError::DiskFull);
    }
    Ok(())
}

/// Ends an earlier copy of this kind and draws a key for a new one.
fn begin(database: &Path, kind: Kind, key: &DatabaseKey, now_ms: i64) -> io::Result<DatabaseKey> {
    end(database, kind)?;
    let own = DatabaseKey::generate(&mut os_rng());
    let mut record = Zeroizing::new(own.as_bytes().to_vec());
    record.extend_from_slice(&now_ms.to_le_bytes());
    key_seal(key, kind).write(&key_path(database, kind), &record)?;
    Ok(own)
}

/// The key of a copy and when it was made, ms; `None` when there is none that this database key opens.
pub fn read_key(
    database: &Path,
    kind: Kind,
    key: &DatabaseKey,
) -> io::Result<Option<(DatabaseKey, i64)>> {
    let record = match key_seal(key, kind).read(&key_path(database, kind)) {
        Ok(record) => record.unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(record.split_first_chunk::<32>().and_then(|(own, made)| {
        let made_ms = i64::from_le_bytes(made.try_into().ok()?);
        Some((DatabaseKey::from_bytes(*own), made_ms))
    }))
}

fn key_seal(key: &DatabaseKey, kind: Kind) -> Seal<'_> {
    Seal {
        secret: key.as_bytes(),
        context: CONTEXT,
        aad: kind.file().as_bytes(),
    }
}

/// Ends a copy: from now on nothing can read it. No error when there is none.
pub fn end(database: &Path, kind: Kind) -> io::Result<()> {
    wipe(&key_path(database, kind))?;
    for path in [path(database, kind), new_path(database, kind)] {
        remove(&path)?;
        // What SQLite may have left of an export that was cut short.
        remove(&with_suffix(&path, "-journal"))?;
    }
    sync_parent(database)
}

/// Ends all copies.
pub fn end_all(database: &Path) -> io::Result<()> {
    Kind::ALL
        .into_iter()
        .try_for_each(|kind| end(database, kind))
}

/// Ends what is past its time, was cut short or cannot be read any more; gives what is kept.
pub fn prune(database: &Path, key: &DatabaseKey, now_ms: i64) -> io::Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for kind in Kind::ALL {
        let made = read_key(database, kind, key)?.map(|(_, made_ms)| made_ms);
        match made {
            Some(made_ms)
                if now_ms.saturating_sub(made_ms) < KEEP_MS && path(database, kind).exists() =>
            {
                remove(&new_path(database, kind))?;
                kept.push(Kept {
                    kind,
                    made_ms,
                    ends_ms: made_ms.saturating_add(KEEP_MS),
                });
            }
            _ => end(database, kind)?,
        }
    }
    Ok(kept)
}

/// Overwrites a file where it lies, then removes it. No error when it is not there.
pub fn wipe(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut left = file.metadata()?.len();
    let zeros = vec![0; CHUNK];
    while left > 0 {
        let some = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        file.write_all(zeros.get(..some).unwrap_or_default())?;
        left -= some as u64;
    }
    file.sync_all()?;
    remove(path)
}

/// Removes a file. No error when it is not there.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A path with something after its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
