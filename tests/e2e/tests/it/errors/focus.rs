//! FocusService.

use sessiond_client::{Client, v1};
use tonic::Code;

use super::Table;

pub async fn focus(client: &Client, table: &mut Table, conversation: &str) {
    let hold = async |conversation: &str, lease: &str, seconds: i64| {
        let request = v1::HoldFocusRequest {
            account: String::new(),
            conversation_id: conversation.to_owned(),
            lease: lease.to_owned(),
            duration: Some(prost_types::Duration { seconds, nanos: 0 }),
        };
        client.hold_focus(request).await
    };
    let call = "FocusService.HoldFocus";
    for seconds in [i64::MIN, -1, 0, 61, i64::MAX] {
        let outcome = hold(conversation, "", seconds).await;
        let what = format!("{seconds} seconds");
        table.expect(
            call,
            &what,
            outcome,
            Code::InvalidArgument,
            "FOCUS_DURATION_INVALID",
        );
    }
    let outcome = hold("nonsense", "", 30).await;
    table.expect(
        call,
        "no such conversation",
        outcome,
        Code::NotFound,
        "CONVERSATION_NOT_FOUND",
    );
    hold(conversation, "", 30).await.unwrap();
    let outcome = hold(conversation, "another", 30).await;
    table.expect(
        call,
        "another's lease",
        outcome,
        Code::FailedPrecondition,
        "FOCUS_HELD_BY_OTHER",
    );
}
