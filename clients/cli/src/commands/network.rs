//! `paths`, `sync`

use sessiond_client::v1::{ListPathsRequest, SyncRequest};

use crate::{
    context::Context,
    failure::Failure,
    format::{safe, table, time::span},
};

pub async fn paths(context: &mut Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let paths = client.list_paths(ListPathsRequest::default()).await?.paths;
    if context.json {
        return paths
            .iter()
            .try_for_each(|path| context.object("Path", path));
    }
    if paths.is_empty() {
        context.progress("No path yet; `sessionctl status` shows why.");
    }
    let mut rows = Vec::new();
    for (number, path) in (1..).zip(&paths) {
        for (place, hop) in path.hops.iter().enumerate() {
            let first = place == 0;
            let once = |text: String| if first { text } else { String::new() };
            rows.push([
                once(format!("{number}")),
                if first {
                    "guard".to_owned()
                } else {
                    format!("hop {}", place + 1)
                },
                format!("{}:{}", safe::line(&hop.ip_address), hop.port),
                context.id(&hop.node_key),
                once(span(path.latency.as_ref())),
                once(context.clock.time(path.last_success_time.as_ref())),
            ]);
        }
    }
    let headings = ["PATH", "HOP", "ADDRESS", "NODE", "LATENCY", "LAST ANSWER"];
    context.print(&table::table(headings, &rows))
}

pub async fn sync(context: &mut Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let work = client.sync(SyncRequest::default());
    let answer = context.wait("Polling …", work).await?;
    if context.json {
        return context.object("SyncResponse", &answer);
    }
    let plural = if answer.new_message_count == 1 {
        ""
    } else {
        "s"
    };
    let time = context.clock.time(answer.poll_time.as_ref());
    context.print(&format!(
        "{} new message{plural} at {time}\n",
        answer.new_message_count
    ))
}
