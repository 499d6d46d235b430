//! Two accounts talk: what each side sees, in which order and in which state.

use sessiond_client::{Update, v1};
use v1::list_messages_request::Conversation as Selector;
use v1::{EventKind, ListOrder, MessageDirection, SendState};

use crate::harness::{Agent, Localnet, bodies, body, sent_ms, until};

const ROUNDS: usize = 5;

#[tokio::test]
async fn two_accounts_converse() {
    let net = Localnet::start().await;
    let (a, a_id) = Agent::with_account(&net, "Alice").await;
    let (b, b_id) = Agent::with_account(&net, "Bob").await;

    let mut said = Vec::new();
    for round in 0..ROUNDS {
        for (from, to, id, name) in [(&a, &b, (&a_id, &b_id), "A"), (&b, &a, (&b_id, &a_id), "B")] {
            let text = format!("{name} says {round}: grüße, 你好, 👋");
            let sent = from.send_stored(id.1, &text).await;
            let arrived = to.until_messages(id.0, said.len() + 1).await;
            let arrived = arrived.last().unwrap();
            assert_eq!(body(arrived), text);
            assert_eq!(arrived.direction(), MessageDirection::Incoming);
            assert_eq!(arrived.author, *id.0);
            assert_eq!(arrived.send_time, sent.send_time);
            assert_eq!(
                (arrived.send_state(), arrived.sync_state()),
                (SendState::None, SendState::None)
            );
            said.push(text);
        }
    }
    // Polls that find the same again change nothing.
    for agent in [&a, &b] {
        agent.sync().await;
    }
    let of_a = a.messages(&b_id).await;
    let of_b = b.messages(&a_id).await;
    assert_eq!(bodies(&of_a), said);
    assert_eq!(bodies(&of_b), said);
    for messages in [&of_a, &of_b] {
        assert!(messages.is_sorted_by_key(sent_ms), "{messages:?}");
    }
    for (agent, messages) in [(&a, &of_a), (&b, &of_b)] {
        // Writing reads everything before it.
        let last_own = messages
            .iter()
            .filter(|message| message.direction() == MessageDirection::Outgoing)
            .map(sent_ms)
            .max();
        for message in messages {
            if message.direction() == MessageDirection::Outgoing {
                let synced = agent.until_synced(&message.id).await;
                assert_eq!(synced.sync_state(), SendState::Sent);
                assert!(synced.read);
            } else {
                assert_eq!(message.read, Some(sent_ms(message)) < last_own);
            }
            assert_eq!(agent.message(&message.id).await.content, message.content);
        }
    }
    for (agent, peer, name) in [(&a, &b_id, "Bob"), (&b, &a_id, "Alice")] {
        let conversation = agent.conversation(peer).await.unwrap();
        let unread = agent.all_messages(peer).await;
        let unread = unread.iter().filter(|message| !message.read).count();
        assert_eq!(conversation.unread_count as usize, unread);
        assert!(conversation.approved && conversation.approved_me && !conversation.request);
        assert_eq!(conversation.kind(), v1::ConversationKind::OneToOne);
        assert_eq!(conversation.display_name, name);
        let last = conversation.last_message.unwrap();
        assert_eq!(body(&last), said.last().unwrap());
    }
    pages(&a, &b_id, &a.all_messages(&b_id).await).await;
    note_to_self(&a, &a_id, &b_id).await;
}

/// Pages in both directions and next to an anchor, by account ID and by conversation id.
async fn pages(agent: &Agent, peer: &str, all: &[v1::Message]) {
    let by_account = Selector::AccountId(peer.to_owned());
    let by_id = Selector::ConversationId(all[0].conversation_id.clone());
    let reversed: Vec<v1::Message> = all.iter().rev().cloned().collect();
    for selector in [by_account, by_id] {
        let newest = walk(agent, &selector, ListOrder::NewestFirst, "").await;
        assert_eq!(newest, reversed);
        let unspecified = walk(agent, &selector, ListOrder::Unspecified, "").await;
        assert_eq!(unspecified, reversed);
        assert_eq!(
            walk(agent, &selector, ListOrder::OldestFirst, "").await,
            all
        );
        for (place, anchor) in all.iter().enumerate() {
            let newer = walk(agent, &selector, ListOrder::OldestFirst, &anchor.id).await;
            assert_eq!(newer, all[place + 1..]);
            let mut older = walk(agent, &selector, ListOrder::NewestFirst, &anchor.id).await;
            older.reverse();
            assert_eq!(older, all[..place]);
        }
    }
}

/// Everything from an anchor, three messages a page.
async fn walk(
    agent: &Agent,
    selector: &Selector,
    order: ListOrder,
    anchor: &str,
) -> Vec<v1::Message> {
    let mut request = v1::ListMessagesRequest {
        account: String::new(),
        conversation: Some(selector.clone()),
        page_size: 3,
        page_token: String::new(),
        order: order.into(),
        anchor_message_id: anchor.to_owned(),
    };
    let mut all = Vec::new();
    loop {
        let page = agent.client().list_messages(request.clone()).await.unwrap();
        assert!(!page.cursor.is_empty());
        let full = page.messages.len() == 3;
        all.extend(page.messages);
        if page.next_page_token.is_empty() {
            return all;
        }
        assert!(full, "only the last page may be short");
        request.page_token = page.next_page_token;
    }
}

/// A note to self is stored once, is outgoing and needs no copy; the newest activity comes first in the list.
async fn note_to_self(agent: &Agent, own: &str, peer: &str) {
    assert_eq!(listed(agent, 50).await, [peer]);
    let note = agent.send_stored(own, "remember the milk").await;
    assert_eq!(note.direction(), MessageDirection::Outgoing);
    assert_eq!(note.sync_state(), SendState::None);
    assert_eq!(listed(agent, 50).await, ["note to self", peer]);
    agent.send(peer, "and on it goes").await;
    assert_eq!(listed(agent, 50).await, [peer, "note to self"]);
    assert_eq!(listed(agent, 1).await, [peer, "note to self"]);
    // What lies in the own swarm comes back with the polls, and is known.
    agent.sync().await;
    agent.sync().await;
    assert_eq!(bodies(&agent.messages(own).await), ["remember the milk"]);
    assert_eq!(agent.conversation(own).await.unwrap().unread_count, 0);
}

/// Whom the conversations are with, in the order of the list, by pages of this size.
async fn listed(agent: &Agent, page_size: i32) -> Vec<String> {
    let mut request = v1::ListConversationsRequest {
        page_size,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page = agent.client().list_conversations(request.clone()).await;
        let page = page.unwrap();
        all.extend(
            page.conversations
                .into_iter()
                .map(|found| match found.target.unwrap() {
                    v1::conversation::Target::OneToOne(peer) => peer.account_id,
                    v1::conversation::Target::NoteToSelf(_) => "note to self".to_owned(),
                }),
        );
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

/// The cursor of an accepted message shows all that becomes of it, in order.
#[tokio::test]
async fn a_message_goes_from_sending_to_sent() {
    let net = Localnet::start().await;
    let (a, _) = Agent::with_account(&net, "a").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    let request = crate::harness::send_request(&b_id, "hello", "t");
    let accepted = a.client().send_message(request).await.unwrap();
    let message = accepted.message.unwrap();
    assert_eq!(
        (message.send_state(), message.sync_state()),
        (SendState::Sending, SendState::Sending)
    );
    let synced = a.until_synced(&message.id).await;
    assert_eq!(synced.sync_state(), SendState::Sent);
    let mut stream = a.client().events(v1::SubscribeRequest {
        after_cursor: accepted.cursor,
        replay_only: true,
        ..Default::default()
    });
    let mut changes = Vec::new();
    while let Some(update) = stream.next().await {
        if let Update::Event(event) = update.unwrap()
            && event.message_id == message.id
        {
            changes.push((event.kind(), event.changed_fields.join(",")));
        }
    }
    assert_eq!(changes[0].0, EventKind::MessageAdded, "{changes:?}");
    let changed = |field: &str| {
        changes.iter().any(|(kind, fields)| {
            *kind == EventKind::MessageChanged && fields.split(',').any(|name| name == field)
        })
    };
    assert!(
        changed("send_state") && changed("sync_state"),
        "{changes:?}"
    );
    // The recipient reads it without being asked to.
    let shown = until("the recipient shows it", async || {
        b.messages(&message.author).await.into_iter().next()
    })
    .await;
    assert_eq!(body(&shown), "hello");
}
