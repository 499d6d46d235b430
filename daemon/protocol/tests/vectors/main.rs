//! Compares this crate with what the official library does: the recorded cases of `tests/vectors` at the top of the
//! repository, or of the folder that `SESSIOND_VECTORS` names.
//!
//! Each file's counts are printed. Cases that are not covered are counted as skipped, with the reason; a type of
//! case that nobody has looked at is a failure, and so is a folder without cases. Where a case fixes the
//! randomness, bytes are compared exactly. What the files hold is told in the folder's README.

// A panic is how a check fails its case.
#![allow(clippy::expect_used)]

mod blinding;
mod bt_encoding;
mod group_auth;
mod identity;
mod messages;
mod multi_encrypt;
mod onion;
mod protobuf;
mod session_encrypt;
mod support;
mod swarm_auth;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use support::{Case, Report};

type Check = fn(&Case<'_>, &mut Report);

const FILES: [(&str, Check); 10] = [
    ("identity.json", identity::check),
    ("session_encrypt.json", session_encrypt::check),
    ("messages.json", messages::check),
    ("onion.json", onion::check),
    ("swarm_auth.json", swarm_auth::check),
    ("group_auth.json", group_auth::check),
    ("bt_encoding.json", bt_encoding::check),
    ("blinding.json", blinding::check),
    ("multi_encrypt.json", multi_encrypt::check),
    ("protobuf.json", protobuf::check),
];

/// Digests of the files, as `sha256sum` writes and checks them.
const SUMS: &str = "SHA256SUMS";

fn main() -> ExitCode {
    let elsewhere = env::var_os("SESSIOND_VECTORS").map(PathBuf::from);
    let required = elsewhere.is_none();
    let folder = elsewhere
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors"));
    // A failed case is told once, below.
    set_hook(Box::new(|_| {}));
    let mut total = Report::default();
    for (name, check) in FILES {
        let report = run_file(&folder.join(name), check);
        println!("{name}: {report}");
        for failure in &report.failures {
            println!("    {failure}");
        }
        total.add(report);
    }
    let changed = changed_files(&folder, required);
    for failure in &changed {
        println!("{SUMS}: {failure}");
    }
    total.failures.extend(changed);
    for (name, cases) in other_files(&folder) {
        println!("{name}: 0 passed, {cases} skipped ({cases} in a file that is not covered yet)");
        total.skip_many("in a file that is not covered yet", cases);
    }
    println!(
        "{} passed, {} failed, {} skipped",
        total.passed,
        total.failures.len(),
        total.skipped()
    );
    if total.passed > 0 && total.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run_file(path: &Path, check: Check) -> Report {
    let mut report = Report::default();
    let cases = match read_cases(path) {
        Ok(cases) => cases,
        Err(error) => {
            report.failures.push(error);
            return report;
        }
    };
    for (index, case) in cases.iter().enumerate() {
        let case = Case(case);
        let mut outcome = Report::default();
        match catch_unwind(AssertUnwindSafe(|| check(&case, &mut outcome))) {
            Ok(()) => report.add(outcome),
            Err(panic) => {
                let text = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("panicked");
                let kind = case.0.get("type").and_then(Value::as_str);
                let text: String = text.chars().take(300).collect();
                let failure = format!("case {index} ({}): {text}", kind.unwrap_or("no type"));
                report.failures.push(failure);
            }
        }
    }
    if cases.is_empty() {
        report.failures.push("no cases".into());
    }
    report
}

fn read_cases(path: &Path) -> Result<Vec<Value>, String> {
    let text = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut file: BTreeMap<String, Value> =
        serde_json::from_slice(&text).map_err(|error| format!("is malformed: {error}"))?;
    match file.remove("cases") {
        Some(Value::Array(cases)) => Ok(cases),
        _ => Err("has no cases".into()),
    }
}

/// Files that are not as recorded in the folder's list of digests. A changed byte of a case that must fail, or of a
/// skipped one, shows only here. The list may be missing in a folder given from outside.
fn changed_files(folder: &Path, required: bool) -> Vec<String> {
    let Ok(list) = fs::read_to_string(folder.join(SUMS)) else {
        return Vec::from_iter(required.then(|| "is missing".to_owned()));
    };
    let recorded: BTreeMap<&str, &str> = list
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, name)| (name, digest))
        .collect();
    let same = |name: &str| {
        let digest = fs::read(folder.join(name)).map(|bytes| hex::encode(Sha256::digest(bytes)));
        digest.is_ok_and(|digest| recorded.get(name) == Some(&digest.as_str()))
    };
    FILES
        .iter()
        .filter(|(name, _)| !same(name))
        .map(|(name, _)| format!("{name} is not as recorded"))
        .collect()
}

/// Files of the folder that nothing here reads, with their number of cases.
fn other_files(folder: &Path) -> BTreeMap<String, usize> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".json") && FILES.iter().all(|(known, _)| known != name))
        .map(|name| {
            let cases = read_cases(&folder.join(&name)).map_or(0, |cases| cases.len());
            (name, cases)
        })
        .collect()
}
