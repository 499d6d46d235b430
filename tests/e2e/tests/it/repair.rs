//! What members of a swarm missed or lost is stored there again, with the same bytes: a device that reads nothing but such
//! a member has the message all the same, once.

use session_localnet::Faults;
use sessiond_client::v1;
use v1::{MessageCopy, MessageStep, MessageStepKind as Kind};

use crate::harness::{Agent, Localnet, Nodes, bodies, ctl, run, until};

fn find(steps: &[MessageStep], kind: Kind, copy: MessageCopy) -> Option<&MessageStep> {
    let mut of_kind = steps.iter().filter(|step| step.kind() == kind);
    of_kind.find(|step| step.copy() == copy)
}

/// Waits until a copy of a message was stored again and no member lacks it; it is the same message as before.
async fn until_stored_again(agent: &Agent, id: &str, copy: MessageCopy) -> MessageStep {
    let again = until("it is stored again", async || {
        // Before that there may be one while the member was still out of reach.
        let mut steps = agent.explain(id).await.into_iter();
        steps.find(|step| {
            step.kind() == Kind::StoredAgain && step.copy() == copy && step.missed_by.is_empty()
        })
    })
    .await;
    let steps = agent.explain(id).await;
    let stored = find(&steps, Kind::Stored, copy).unwrap();
    assert_eq!(again.hash, stored.hash);
    assert_eq!(again.expire_time, stored.expire_time);
    again
}

/// Only this member keeps what it has; a device that begins now sees what `expected` says.
async fn second_device_reads(
    nodes: &Nodes,
    name: &str,
    (net, first, id, with): (&Localnet, &Agent, &str, &str),
    member: usize,
    expected: &[&str],
) {
    let phrase = first.phrases().await.recovery_phrase;
    for other in nodes.members(id).await {
        if other != member {
            nodes.lose_storage(other).await;
        }
    }
    let second = Agent::start(net, name).await;
    assert_eq!(second.restore(&phrase).await, id);
    second.until_messages(with, expected.len()).await;
    for _ in 0..6 {
        second.sync().await;
    }
    assert_eq!(bodies(&second.messages(with).await), expected);
}

#[tokio::test]
async fn what_a_member_missed_reaches_the_devices_that_read_it_alone() {
    let net = Localnet::start().await;
    let nodes = Nodes::of(&net);
    let (a, a_id) = Agent::with_account(&net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    let (of_a, of_b) = (nodes.members(&a_id).await, nodes.members(&b_id).await);
    // Both swarms may be the same.
    let (poor_a, poor_b) = (of_a[0], of_b[1]);
    // A frozen one would store afterwards what reached it meanwhile.
    for node in [poor_a, poor_b] {
        nodes.set(node, Faults::refuse()).await;
    }
    let sent = a.send_stored(&b_id, "where are you").await;
    a.until_synced(&sent.id).await;
    let keys: Vec<String> = nodes
        .status()
        .await
        .nodes
        .into_iter()
        .map(|node| node.ed25519)
        .collect();
    let steps = a.explain(&sent.id).await;
    let missed = &find(&steps, Kind::Stored, MessageCopy::Recipient)
        .unwrap()
        .missed_by;
    assert!(missed.contains(&keys[poor_b]), "{missed:?}");
    let missed = &find(&steps, Kind::Stored, MessageCopy::OwnDevices)
        .unwrap()
        .missed_by;
    assert!(missed.contains(&keys[poor_a]), "{missed:?}");
    let told = run(ctl(&a.socket(), &["explain", &sent.id]), b"").await;
    assert!(told.out.contains("not by"), "{told:?}");
    let told = run(ctl(&a.socket(), &["--json", "explain", &sent.id]), b"").await;
    assert!(
        told.out.contains("missedBy") && told.out.contains(&keys[poor_b]),
        "{told:?}"
    );
    for node in [poor_a, poor_b] {
        assert!(nodes.hits(node).await.refused > 0);
    }
    nodes.heal().await;
    let again = until_stored_again(&a, &sent.id, MessageCopy::Recipient).await;
    assert!(again.confirmed_by.contains(&keys[poor_b]), "{again:?}");
    let again = until_stored_again(&a, &sent.id, MessageCopy::OwnDevices).await;
    assert!(again.confirmed_by.contains(&keys[poor_a]), "{again:?}");

    second_device_reads(
        &nodes,
        "b2",
        (&net, &b, &b_id, &a_id),
        poor_b,
        &["where are you"],
    )
    .await;
    if of_a != of_b {
        second_device_reads(
            &nodes,
            "a2",
            (&net, &a, &a_id, &b_id),
            poor_a,
            &["where are you"],
        )
        .await;
    }
    // Whoever had it already has it once.
    b.sync().await;
    assert_eq!(bodies(&b.messages(&a_id).await), ["where are you"]);
}

#[tokio::test]
async fn what_a_member_lost_reaches_the_device_that_reads_it_alone() {
    let net = Localnet::start().await;
    let nodes = Nodes::of(&net);
    let (a, a_id) = Agent::with_account(&net, "a").await;
    let deleted = a.send_stored(&a_id, "not for long").await;
    let note = a.send_stored(&a_id, "remember").await;
    let members = nodes.members(&a_id).await;
    nodes.lose_storage(members[0]).await;
    let request = v1::DeleteMessageRequest {
        message_id: deleted.id.clone(),
        scope: v1::DeleteScope::OwnDevices.into(),
        ..Default::default()
    };
    a.client().delete_message(request).await.unwrap();
    until_stored_again(&a, &note.id, MessageCopy::Recipient).await;
    second_device_reads(
        &nodes,
        "a2",
        (&net, &a, &a_id, &a_id),
        members[0],
        &["remember"],
    )
    .await;
}
