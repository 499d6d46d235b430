//! A wrong clock for one process: a library, loaded before all others, that answers for the system's clock.
//!
//! The clock that nobody can set (CLOCK_MONOTONIC, CLOCK_BOOTTIME) stays right, as on a machine whose date is wrong.

use std::path::PathBuf;
use std::process::Command;

use super::Room;

/// The kernel is asked by number, since the library's own name for it is the one answered for.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long off_by(void) {
    const char *text = getenv("CLOCK_OFF_BY");
    return text ? atol(text) : 0;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int outcome = (int)syscall(SYS_clock_gettime, id, now);
    if (outcome == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        now->tv_sec += off_by();
    return outcome;
}
"#;

/// Builds the library, once per directory.
pub fn library(room: &Room) -> PathBuf {
    let library = room.path().join("clock.so");
    if !library.exists() {
        let source = room.path().join("clock.c");
        std::fs::write(&source, SOURCE).unwrap();
        // The compiler that SQLite was built with.
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]);
        let built = compiler.arg(&library).arg(&source).status().unwrap();
        assert!(built.success(), "cc: {built}");
    }
    library
}
