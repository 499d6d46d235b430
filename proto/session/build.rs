//! Compiles the network's schema with protox, so that no protoc is needed.

use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    for file in ["websocket.proto", "content.proto"] {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(["websocket.proto", "content.proto"], [root])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
