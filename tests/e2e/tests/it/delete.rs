//! Deleting an account, here or from its swarm, too; and giving it another name.

use sessiond_client::{Update, v1};
use tonic::Code;
use v1::{DeletionScope, EventKind};

use crate::harness::{Agent, Localnet, assert_refused, bodies, ctl, run, until};

/// What is left in a state directory of an account.
fn left(agent: &Agent) -> Vec<String> {
    let dir = std::fs::read_dir(agent.state_dir()).unwrap();
    let names = dir.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| !name.starts_with("daemon.db") && name != "lock")
        .collect()
}

#[tokio::test]
async fn from_this_device_and_from_the_network() {
    let net = Localnet::start().await;
    let (mut a, id) = Agent::with_account(&net, "a").await;
    let note = a.send(&id, "kept by the swarm").await;
    a.until_synced(&note.id).await;
    let phrase = a.phrases().await.recovery_phrase;

    // Nobody is asked where nobody types, and another ID deletes nothing.
    let asked = run(ctl(&a.socket(), &["account", "delete", &id]), b"y\n").await;
    assert_eq!(asked.code, Some(2), "{}", asked.err);
    let other = format!("05{}", "a".repeat(64));
    let delete = ["account", "delete", &other, "--yes"];
    let refused = run(ctl(&a.socket(), &delete), b"").await;
    assert_eq!(refused.code, Some(1), "{}", refused.err);
    assert_eq!(a.messages(&id).await.len(), 1);

    let delete = ["account", "delete", &id, "--yes"];
    let deleted = run(ctl(&a.socket(), &delete), b"").await;
    assert_eq!(deleted.code, Some(0), "{}", deleted.err);
    assert_eq!(left(&a), Vec::<String>::new());
    let account = a.client().get_account(Default::default()).await;
    assert_refused(account, Code::NotFound, "NO_ACCOUNT");
    a.kill();
    a.up().await;
    assert_eq!(a.info().await.state(), v1::DaemonState::NoAccount);

    // The swarm still has it all.
    assert_eq!(a.restore(&phrase).await, id);
    let messages = a.until_messages(&id, 1).await;
    assert_eq!(bodies(&messages), ["kept by the swarm"]);

    let delete = ["--json", "account", "delete", &id, "--network", "--yes"];
    let deleted = run(ctl(&a.socket(), &delete), b"").await;
    assert_eq!(deleted.code, Some(0), "{}", deleted.err);
    let answer: serde_json::Value = serde_json::from_str(&deleted.out).unwrap();
    assert!(
        answer["confirmingNodeCount"].as_u64() >= Some(1),
        "{answer}"
    );
    assert_eq!(answer["vaultEmptied"], true);
    assert_eq!(left(&a), Vec::<String>::new());

    // Another account may follow, and the old one finds nothing in its swarm.
    let second = a.create("second").await;
    assert_ne!(second, id);
    let b = Agent::start(&net, "b").await;
    assert_eq!(b.restore(&phrase).await, id);
    b.sync().await;
    assert_eq!(b.messages(&id).await.len(), 0);
}

#[tokio::test]
async fn nothing_is_deleted_when_the_swarm_does_not_answer() {
    let room = crate::harness::room();
    let file = room.path().join("nowhere.toml");
    let text =
        "name = \"nowhere\"\nseeds = [\"http://127.0.0.1:1\"]\nmin_nodes = 12\ntime_scale = 0.2\n";
    std::fs::write(&file, text).unwrap();
    let mut a = Agent::new(&room, "a", &file);
    a.up().await;
    let id = a.create("a").await;
    let note = a.send(&id, "note").await;
    let request = v1::DeleteAccountRequest {
        account: id.clone(),
        scope: DeletionScope::DeviceAndNetwork.into(),
    };
    let deleted = a.client().delete_account(request).await;
    assert_refused(deleted, Code::Unavailable, "NOT_DELETED");
    assert_eq!(a.message(&note.id).await.id, note.id);
    a.send(&id, "another note").await;
    a.stop().await;
    a.up().await;
    assert_eq!(a.messages(&id).await.len(), 2);
}

#[tokio::test]
async fn another_name() {
    let net = Localnet::start().await;
    let (mut a, a_id) = Agent::with_account(&net, "Alice").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    let mut stream = a.client().events(v1::SubscribeRequest::default());
    assert!(matches!(stream.next().await, Some(Ok(Update::Ready(_)))));
    let renamed = run(ctl(&a.socket(), &["account", "rename", " Alicia "]), b"").await;
    assert_eq!(renamed.code, Some(0), "{}", renamed.err);
    assert!(renamed.out.contains("Alicia"), "{}", renamed.out);
    let event = match stream.next().await {
        Some(Ok(Update::Event(event))) => event,
        other => panic!("no event: {other:?}"),
    };
    assert_eq!(event.kind(), EventKind::AccountChanged);
    assert_eq!(event.changed_fields, ["display_name"]);
    a.send_stored(&b_id, "it is me").await;
    b.until_messages(&a_id, 1).await;
    let name = until("the new name arrives", async || {
        let list = v1::ListConversationsRequest::default();
        let list = b.client().list_conversations(list).await.unwrap();
        let conversation = list.conversations.into_iter().next()?;
        (!conversation.display_name.is_empty()).then_some(conversation.display_name)
    })
    .await;
    assert_eq!(name, "Alicia");
    a.stop().await;
    a.up().await;
    let account = a.client().get_account(Default::default()).await.unwrap();
    assert_eq!(account.account.unwrap().display_name, "Alicia");
}
