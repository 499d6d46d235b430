//! Refuses to build with a damaged word list: a phrase made from it would open no account elsewhere.

use std::{env, error::Error, fs, path::PathBuf};

use sha2::{Digest as _, Sha256};

const ENGLISH: &str = "wordlists/english.txt";

/// SHA-256 of the list, from protocol document messages.md 1.5.
const ENGLISH_SHA256: [u8; 32] = [
    0x99, 0x8d, 0xf5, 0x5c, 0xb1, 0x6d, 0x23, 0x18, 0x13, 0x0c, 0x5c, 0xf7, 0xe9, 0xd4, 0x40, 0x82,
    0x47, 0xc8, 0xc4, 0x67, 0x49, 0x35, 0xee, 0x6e, 0x07, 0xd5, 0x3f, 0x2f, 0x00, 0xcc, 0xf1, 0x9b,
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={ENGLISH}");
    let list = fs::read(PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join(ENGLISH))?;
    let digest: [u8; 32] = Sha256::digest(list).into();
    if digest != ENGLISH_SHA256 {
        return Err(format!("{ENGLISH} is not the list of messages.md 1.5").into());
    }
    Ok(())
}
