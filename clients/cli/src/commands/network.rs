//! `paths`, `sync`

use sessiond_client::v1::{ListPathsRequest, SyncRequest};

use crate::{context::Context, failure::Failure, format::paths};

pub async fn paths(context: &mut Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let answer = client.list_paths(ListPathsRequest::default()).await?;
    if context.json {
        let all = answer.paths.iter().chain(&answer.dropped_paths);
        return all
            .into_iter()
            .try_for_each(|path| context.object("Path", path));
    }
    if answer.paths.is_empty() {
        context.progress("No path yet; `sessionctl status` shows why.");
    }
    let full = |key: &str| context.id(key);
    let mut text = paths::in_use(&answer.paths, &context.clock, full);
    if !answer.dropped_paths.is_empty() {
        text.push_str("\nLately dropped\n");
        text.push_str(&paths::dropped(&answer.dropped_paths, &context.clock, full));
    }
    context.print(&text)
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
