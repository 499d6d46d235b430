//! Test vectors.

fn main() {}
