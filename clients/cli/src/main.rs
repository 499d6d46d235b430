//! The `sessionctl` program; everything is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(sessionctl::run_process())
}
