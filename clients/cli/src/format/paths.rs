//! Onion paths as tables: those in use hop by hop, and why others no longer are.

use sessiond_client::v1::Path;

use super::{
    safe, table,
    time::{Clock, span},
};

/// What stands for nothing.
const NONE: &str = "-";

fn place(index: usize) -> String {
    match index {
        0 => "guard".to_owned(),
        _ => format!("hop {}", index + 1),
    }
}

fn or_none(text: &str) -> String {
    match text.is_empty() {
        true => NONE.to_owned(),
        false => safe::line(text),
    }
}

/// Paths in use, a line for each hop. `id` shortens a node's key.
#[must_use]
pub fn in_use(paths: &[Path], clock: &Clock, id: impl Fn(&str) -> String) -> String {
    let mut rows = Vec::new();
    for (number, path) in (1..).zip(paths) {
        for (index, hop) in path.hops.iter().enumerate() {
            let once = |text: String| match index {
                0 => text,
                _ => String::new(),
            };
            let state = match (path.suspect, path.relaxation.is_empty()) {
                (true, _) => "suspect".to_owned(),
                (false, true) => "good".to_owned(),
                (false, false) => safe::line(&path.relaxation),
            };
            rows.push([
                once(format!("{number}")),
                place(index),
                format!("{}:{}", safe::line(&hop.ip_address), hop.port),
                id(&hop.node_key),
                once(span(path.latency.as_ref())),
                once(clock.time(path.create_time.as_ref())),
                once(clock.time(path.last_success_time.as_ref())),
                once(or_none(&path.isolation)),
                once(state),
            ]);
        }
    }
    let headings = [
        "PATH",
        "HOP",
        "ADDRESS",
        "NODE",
        "LATENCY",
        "SINCE",
        "LAST ANSWER",
        "ISOLATION",
        "STATE",
    ];
    table::table(headings, &rows)
}

/// Paths that were dropped, a line each, with the hop to blame.
#[must_use]
pub fn dropped(paths: &[Path], clock: &Clock, id: impl Fn(&str) -> String) -> String {
    let rows: Vec<_> = paths
        .iter()
        .filter_map(|path| Some((path, path.drop.as_ref()?)))
        .map(|(path, drop)| {
            let blamed = drop.blamed_hop.and_then(|hop| usize::try_from(hop).ok());
            let node = blamed.and_then(|index| path.hops.get(index));
            [
                clock.time(drop.drop_time.as_ref()),
                or_none(&drop.reason),
                blamed.map_or_else(|| NONE.to_owned(), place),
                node.map_or_else(|| NONE.to_owned(), |hop| id(&hop.node_key)),
                clock.time(path.create_time.as_ref()),
                clock.time(path.last_success_time.as_ref()),
                or_none(&path.isolation),
            ]
        })
        .collect();
    let headings = [
        "DROPPED",
        "WHY",
        "BLAMED",
        "NODE",
        "SINCE",
        "LAST ANSWER",
        "ISOLATION",
    ];
    table::table(headings, &rows)
}
