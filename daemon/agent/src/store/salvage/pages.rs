//! Pages of a database file as SQLCipher 4 stores them, read without SQLite: a page that is damaged takes nothing else
//! with it.
//!
//! A page of 4096 bytes is AES-256-CBC without padding over 4016 bytes, then 16 bytes of IV and 64 of HMAC-SHA512 over
//! ciphertext, IV and the page's number (32 bits, little-endian). The first 16 bytes of page 1 are the salt in clear; the
//! HMAC's key is PBKDF2-HMAC-SHA512 of the raw key and that salt, each byte xored with 0x3a, in two rounds. What the
//! write-ahead log committed comes before what the file holds: its frames are valid as long as their salts and
//! checksums are (SQLite's file format, "The Write-Ahead Log").
//!
//! A damaged page is left out. An older version of it is not taken instead: it could bring back what was deleted. Where
//! the salt itself is lost no HMAC can be tested; the pages are then taken for what they decrypt to.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use aes::Aes256;
use cbc::cipher::{BlockModeDecrypt as _, KeyIvInit as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha512;
use zeroize::Zeroizing;

use crate::vault::DatabaseKey;

/// Bytes of a page in the file.
pub const PAGE: usize = 4096;
/// Bytes of it that are of use.
pub const USABLE: usize = PAGE - RESERVED;
const RESERVED: usize = IV + HMAC;
const IV: usize = 16;
const HMAC: usize = 64;
const SALT: usize = 16;
/// Most pages of a file that is salvaged: 1 TiB.
const MOST: u64 = 1 << 28;

const WAL_HEADER: u64 = 32;
const FRAME_HEADER: usize = 24;

/// A page as SQLite sees it.
pub type Page = Zeroizing<Vec<u8>>;

/// A database file and its write-ahead log, for reading.
pub struct Pages {
    file: File,
    wal: Option<File>,
    /// Where the log has the newest version of a page.
    logged: HashMap<u32, u64>,
    count: u32,
    key: DatabaseKey,
    /// Key of the HMAC; `None` where the salt is lost.
    mac_key: Option<Zeroizing<Vec<u8>>>,
}

impl Pages {
    /// Opens a file. `None` when nothing in it was written with this key.
    pub fn open(path: &Path, wal: &Path, key: &DatabaseKey) -> io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let pages = file.seek(SeekFrom::End(0))?.div_ceil(PAGE as u64).min(MOST);
        let mut salt = [0; SALT];
        let salted = file.read_exact_at(&mut salt, 0).is_ok();
        let (wal, logged, committed) = match File::open(wal) {
            Ok(file) => {
                let (logged, committed) = read_log(&file)?;
                (Some(file), logged, committed)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, HashMap::new(), None),
            Err(error) => return Err(error),
        };
        let mut found = Self {
            file,
            wal,
            logged,
            count: committed.unwrap_or_else(|| u32::try_from(pages).unwrap_or(u32::MAX)),
            key: key.clone(),
            mac_key: salted.then(|| mac_key(key, &salt)),
        };
        let fits = |found: &Self| (1..=found.count).any(|number| found.page(number).is_some());
        if fits(&found) {
            return Ok(Some(found));
        }
        // The salt may be what is damaged. A log that holds page 1 has it, too.
        if let Some(salt) = found.logged_salt() {
            found.mac_key = Some(mac_key(key, &salt));
            if fits(&found) {
                return Ok(Some(found));
            }
        }
        found.mac_key = None;
        let plausible = (2..=found.count)
            .filter(|number| {
                found
                    .page(*number)
                    .is_some_and(|page| super::btree::is_plausible(&page))
            })
            .count();
        Ok((plausible * 2 > found.count as usize).then_some(found))
    }

    /// Number of pages.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// A page, decrypted; `None` when it is damaged or not there.
    pub fn page(&self, number: u32) -> Option<Page> {
        if number == 0 || number > self.count {
            return None;
        }
        let raw = self.raw(number)?;
        let salt = if number == 1 { SALT } else { 0 };
        let (signed, mac) = raw.split_at_checked(PAGE - HMAC)?;
        let signed = signed.get(salt..)?;
        if let Some(key) = &self.mac_key {
            let mut hmac = Hmac::<Sha512>::new_from_slice(key).ok()?;
            hmac.update(signed);
            hmac.update(&number.to_le_bytes());
            hmac.verify_slice(mac).ok()?;
        }
        let (ciphertext, iv) = signed.split_at_checked(signed.len() - IV)?;
        let mut page = Zeroizing::new(vec![0; USABLE]);
        let clear = page.get_mut(salt..)?;
        clear.copy_from_slice(ciphertext);
        let iv: [u8; IV] = iv.try_into().ok()?;
        let (blocks, rest) = to_blocks(clear);
        debug_assert!(rest.is_empty());
        cbc::Decryptor::<Aes256>::new(self.key.as_bytes().into(), &iv.into())
            .decrypt_blocks(blocks);
        if number == 1 {
            page.get_mut(..SALT)?.copy_from_slice(b"SQLite format 3\0");
        }
        Some(page)
    }

    fn raw(&self, number: u32) -> Option<Vec<u8>> {
        let mut raw = vec![0; PAGE];
        match (self.logged.get(&number), &self.wal) {
            (Some(at), Some(wal)) => wal.read_exact_at(&mut raw, *at).ok()?,
            _ => {
                let at = u64::from(number - 1) * PAGE as u64;
                self.file.read_exact_at(&mut raw, at).ok()?;
            }
        }
        Some(raw)
    }

    fn logged_salt(&self) -> Option<[u8; SALT]> {
        let mut salt = [0; SALT];
        let at = *self.logged.get(&1)?;
        self.wal.as_ref()?.read_exact_at(&mut salt, at).ok()?;
        Some(salt)
    }
}

fn to_blocks(bytes: &mut [u8]) -> (&mut [aes::Block], &mut [u8]) {
    aes::Block::slice_as_chunks_mut(bytes)
}

fn mac_key(key: &DatabaseKey, salt: &[u8; SALT]) -> Zeroizing<Vec<u8>> {
    let hmac = |message: &[u8]| {
        // An HMAC takes a key of any length.
        let mut hmac =
            Hmac::<Sha512>::new_from_slice(key.as_bytes()).unwrap_or_else(|_| unreachable!());
        hmac.update(message);
        hmac.finalize().into_bytes()
    };
    let mut salted: Vec<u8> = salt.iter().map(|byte| byte ^ 0x3a).collect();
    salted.extend_from_slice(&1_u32.to_be_bytes());
    let first = hmac(&salted);
    let second = hmac(&first);
    let block = first.iter().zip(second).map(|(a, b)| a ^ b).take(32);
    Zeroizing::new(block.collect())
}

/// Where the log holds the newest committed version of each page, and how many pages the database has by it.
fn read_log(file: &File) -> io::Result<(HashMap<u32, u64>, Option<u32>)> {
    let mut reader = io::BufReader::with_capacity(1 << 16, file);
    let mut header = [0; WAL_HEADER as usize];
    if reader.read_exact(&mut header).is_err() {
        return Ok((HashMap::new(), None));
    }
    let big = match word(&header, 0) {
        0x377f_0683 => true,
        0x377f_0682 => false,
        _ => return Ok((HashMap::new(), None)),
    };
    let mut sums = checksum(big, (0, 0), &header[..24]);
    if (word(&header, 24), word(&header, 28)) != sums || word(&header, 8) as usize != PAGE {
        return Ok((HashMap::new(), None));
    }
    let mut committed = (HashMap::new(), None);
    let mut pending = Vec::new();
    let mut at = WAL_HEADER;
    let mut frame = vec![0; FRAME_HEADER + PAGE];
    while reader.read_exact(&mut frame).is_ok() {
        let (head, page) = frame.split_at(FRAME_HEADER);
        sums = checksum(big, sums, &head[..8]);
        sums = checksum(big, sums, page);
        if head[8..16] != header[16..24] || (word(head, 16), word(head, 20)) != sums {
            break;
        }
        pending.push((word(head, 0), at + FRAME_HEADER as u64));
        let pages = word(head, 4);
        if pages != 0 {
            committed.0.extend(pending.drain(..));
            committed.1 = Some(pages);
        }
        at += frame.len() as u64;
    }
    Ok(committed)
}

/// A big-endian number of four bytes at a place that exists.
fn word(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    u32::from_be_bytes(four.unwrap_or_default())
}

fn checksum(big: bool, (mut a, mut b): (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let read = |four: &[u8]| {
        let four = four.try_into().unwrap_or_default();
        if big {
            u32::from_be_bytes(four)
        } else {
            u32::from_le_bytes(four)
        }
    };
    for eight in bytes.chunks_exact(8) {
        let (first, second) = eight.split_at(4);
        a = a.wrapping_add(read(first)).wrapping_add(b);
        b = b.wrapping_add(read(second)).wrapping_add(a);
    }
    (a, b)
}
