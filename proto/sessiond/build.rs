//! Compiles the local API with protox, so that no protoc is needed, and keeps the descriptors for reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 9] = [
    "account",
    "call",
    "conversation",
    "message",
    "event",
    "network",
    "daemon",
    "settings",
    "focus",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    let files: Vec<PathBuf> = FILES
        .iter()
        .map(|name| root.join(format!("sessiond/v1/{name}.proto")))
        .collect();
    println!("cargo:rerun-if-changed=v1");
    let descriptors = protox::compile(files, [root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("sessiond.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
