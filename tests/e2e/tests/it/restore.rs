//! The same account on further devices: restored from its phrase, each gets what the first sent and received.

use sessiond_client::v1;

use crate::harness::{Agent, Localnet, body, sent_ms, until};

/// What devices of one account must agree on; ids of messages are each device's own.
fn essence(messages: &[v1::Message]) -> Vec<(i64, String, String, v1::MessageDirection)> {
    let of = |message: &v1::Message| {
        (
            sent_ms(message),
            message.author.clone(),
            body(message).to_owned(),
            message.direction(),
        )
    };
    let mut all: Vec<_> = messages.iter().map(of).collect();
    all.sort_by(|one, other| (one.0, &one.2).cmp(&(other.0, &other.2)));
    all
}

async fn until_same(device: &Agent, with: &str, wanted: &[v1::Message]) {
    until("the device has the conversation", async || {
        (device.messages(with).await.len() >= wanted.len()).then_some(())
    })
    .await;
    device.sync().await;
    assert_eq!(essence(&device.messages(with).await), essence(wanted));
}

#[tokio::test]
async fn restore_on_second_device() {
    let net = Localnet::start().await;
    let (first, id) = Agent::with_account(&net, "Alice").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    for number in 0..3 {
        let sent = first.send(&b_id, &format!("sent {number}")).await;
        first.until_synced(&sent.id).await;
        b.send_stored(&id, &format!("received {number}")).await;
    }
    let note = first.send(&id, "note").await;
    first.until_synced(&note.id).await;
    let talk = first.until_messages(&b_id, 6).await;
    let notes = first.messages(&id).await;

    let phrases = first.phrases().await;
    assert_eq!(phrases.recovery_phrase.split(' ').count(), 13);
    assert_eq!(phrases.bip39_phrase.split(' ').count(), 12);
    let second = Agent::start(&net, "second").await;
    assert_eq!(second.restore(&phrases.recovery_phrase).await, id);
    let third = Agent::start(&net, "third").await;
    assert_eq!(third.restore(&phrases.bip39_phrase).await, id);
    for device in [&second, &third] {
        until_same(device, &b_id, &talk).await;
        until_same(device, &id, &notes).await;
        assert_eq!(device.phrases().await, phrases);
    }

    // From now on each device sees what the others do and what all are told.
    let sent = second.send(&b_id, "from the second").await;
    second.until_synced(&sent.id).await;
    b.until_messages(&id, 7).await;
    b.send_stored(&id, "to all").await;
    let talk = first.until_messages(&b_id, 8).await;
    for device in [&second, &third] {
        until_same(device, &b_id, &talk).await;
    }
    assert_eq!(b.messages(&id).await.len(), 8);
}
