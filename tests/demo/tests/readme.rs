//! What the README says about building.

#[test]
fn the_oldest_rust_is_named() {
    let readme = include_str!("../../../README.md");
    let said = concat!("With Rust ", env!("CARGO_PKG_RUST_VERSION"), " or newer");
    assert!(readme.contains(said), "{said}");
}
