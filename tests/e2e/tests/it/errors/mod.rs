//! Malformed input is answered, not obeyed: every call of the API with everything that is wrong about a request, and the
//! code and reason it gets. A file for each service; a call that no file tries fails the test.

mod account;
mod call;
mod conversation;
mod event;
mod focus;
mod listing;
mod message;
mod no_account;
mod settings;

use std::collections::BTreeSet;

use prost::Message as _;
use sessiond_client::{Client, Error, v1};
use tonic::Code;

use crate::harness::{Agent, Localnet, assert_refused};

/// Notes which calls were tried, to compare with the schema.
#[derive(Default)]
struct Table {
    tried: BTreeSet<String>,
}

impl Table {
    fn expect<T: std::fmt::Debug>(
        &mut self,
        call: &str,
        what: &str,
        outcome: Result<T, Error>,
        code: Code,
        reason: &str,
    ) {
        println!("{call}: {what}");
        self.tried.insert(call.to_owned());
        assert_refused(outcome, code, reason);
    }

    /// Every call of the schema whose request has a field must be in the table.
    fn assert_complete(&self) {
        let set = prost_types::FileDescriptorSet::decode(sessiond_proto::FILE_DESCRIPTOR_SET);
        let set = set.unwrap();
        let files = || {
            set.file
                .iter()
                .filter(|file| file.package() == "sessiond.v1")
        };
        let is_empty = |name: &str| {
            let mut messages = files().flat_map(|file| &file.message_type);
            let found = messages.find(|message| name.ends_with(&format!(".{}", message.name())));
            found.expect("a known message").field.is_empty()
        };
        let all: BTreeSet<String> = files()
            .flat_map(|file| &file.service)
            .flat_map(|service| {
                let with_input = service.method.iter().filter(|m| !is_empty(m.input_type()));
                with_input.map(|method| format!("{}.{}", service.name(), method.name()))
            })
            .collect();
        assert_eq!(self.tried, all);
    }
}

/// An account that this agent does not have.
const STRANGER: &str = "05aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// What is no account ID: empty, too short, not hex, another prefix, too long.
fn malformed_ids() -> Vec<String> {
    let digits = &STRANGER[2..];
    vec![
        String::new(),
        "05aa".to_owned(),
        format!("05{}", "g".repeat(64)),
        format!("03{digits}"),
        format!("15{digits}"),
        format!("{STRANGER}a"),
        format!("05{}", "é".repeat(32)),
    ]
}

async fn subscribed(client: &Client, request: v1::SubscribeRequest) -> Result<(), Error> {
    client.events(request).next().await.unwrap().map(drop)
}

#[tokio::test]
async fn every_call_refuses_bad_input() {
    let net = Localnet::start().await;
    let agent = Agent::start(&net, "a").await;
    let client = agent.client();
    let mut table = Table::default();
    no_account::before_an_account(client, &mut table).await;
    account::phrases(client, &mut table).await;
    account::accounts(client, &mut table).await;
    let id = agent.create("a").await;
    no_account::with_an_account(client, &mut table).await;
    account::changing_the_account(client, &mut table, &id).await;
    let note = agent.send(&id, "note").await;
    conversation::conversations(client, &mut table, &id).await;
    conversation::changes(client, &mut table, &id).await;
    message::deeds(client, &mut table, &note).await;
    message::sending(client, &mut table, &id).await;
    listing::listing(client, &mut table, &id, &note).await;
    listing::searching(client, &mut table).await;
    call::calls(client, &mut table, &id).await;
    event::events(client, &mut table).await;
    settings::settings(client, &mut table).await;
    focus::focus(client, &mut table, &note.conversation_id).await;
    table.assert_complete();

    // Nothing of all that left anything behind.
    assert_eq!(agent.messages(&id).await.len(), 1);
    let list = v1::ListConversationsRequest::default();
    let list = client.list_conversations(list).await.unwrap();
    assert_eq!(list.conversations.len(), 1);
}
