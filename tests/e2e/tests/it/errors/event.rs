//! EventService.

use sessiond_client::{Client, v1};
use tonic::Code;

use super::{Table, subscribed};

pub async fn events(client: &Client, table: &mut Table) {
    let invalid = Code::InvalidArgument;
    let long = "n".repeat(65);
    for name in ["two words", "größe", "a/b", &long] {
        let request = v1::SubscribeRequest {
            subscriber: name.to_owned(),
            ..Default::default()
        };
        let outcome = subscribed(client, request).await;
        table.expect(
            "EventService.Subscribe",
            name,
            outcome,
            invalid,
            "SUBSCRIBER_INVALID",
        );
    }
    let call = "EventService.Acknowledge";
    let acknowledge = async |name: &str, cursor: &str| {
        let request = v1::AcknowledgeRequest {
            account: String::new(),
            subscriber: name.to_owned(),
            cursor: cursor.to_owned(),
        };
        client.acknowledge(request).await
    };
    for name in ["", "two words", &long] {
        let outcome = acknowledge(name, "").await;
        table.expect(call, name, outcome, invalid, "SUBSCRIBER_INVALID");
    }
    for cursor in ["", "nonsense", "AAAA"] {
        let outcome = acknowledge("name", cursor).await;
        table.expect(call, cursor, outcome, invalid, "CURSOR_INVALID");
    }
    for cursor in ["nonsense", "AAAA"] {
        let request = v1::SubscribeRequest {
            after_cursor: cursor.to_owned(),
            ..Default::default()
        };
        let outcome = subscribed(client, request).await;
        table.expect(
            "EventService.Subscribe",
            cursor,
            outcome,
            invalid,
            "CURSOR_INVALID",
        );
    }
    // Well-formed, but of a log that is not this one.
    let foreign = "AAAAAAAAAAAAAAAAAAAAAA";
    let outcome = acknowledge("name", foreign).await;
    table.expect(
        call,
        "another log",
        outcome,
        Code::OutOfRange,
        "LOG_REPLACED",
    );
}
