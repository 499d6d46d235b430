//! The seeds of every fuzz target as ordinary tests: whole, cut at every length, and with single bytes changed.
#![allow(clippy::unwrap_used)] // a panic is how a check fails

use std::fs;
use std::path::{Path, PathBuf};

use session_fuzz::targets;

/// Damaged variants of one seed; longer seeds are damaged in fewer of their places.
const VARIANTS: usize = 50;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder =
        fs::read_dir(corpus().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn places(length: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by((length / VARIANTS).max(1))
}

#[test]
fn every_target_has_seeds_and_every_folder_a_target() {
    let mut folders: Vec<_> = fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut names: Vec<_> = targets().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    assert_eq!(folders, names);
    for name in &names {
        assert!(!seeds(name).is_empty(), "{name} has no seeds");
        let binary = format!("../libfuzzer/fuzz_targets/{name}.rs");
        assert!(corpus().join(&binary).exists(), "{binary} is missing");
    }
}

#[test]
fn every_seed_gets_an_answer_whole_cut_and_damaged() {
    for (name, target) in targets() {
        target(b"");
        for seed in seeds(name) {
            target(&seed);
            for at in places(seed.len()) {
                target(&seed[..at]);
                for change in [0x01, 0x80, 0xff] {
                    let mut damaged = seed.clone();
                    damaged[at] ^= change;
                    target(&damaged);
                }
            }
        }
    }
}
