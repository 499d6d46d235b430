//! Calls, invitations and changed names between real agents.

use sessiond_client::{EventStream, Update, new_client_token, v1};
use v1::CallSignalKind as Kind;
use v1::event::State;
use v1::message::Content;

use crate::harness::{Agent, LONG, Localnet, until};

const CALL: &str = "6b86b273-ff34-4ce1-9d6b-804eff5a3f57";
const MISSED: &str = "6b86b273-ff34-4ce1-9d6b-804eff5a3f58";

/// A stream of what happens from now on.
async fn listen(agent: &Agent) -> EventStream {
    let mut stream = agent.client().events(v1::SubscribeRequest {
        start: v1::StreamStart::Newest.into(),
        ..Default::default()
    });
    let ready = tokio::time::timeout(LONG, stream.next()).await;
    assert!(matches!(ready, Ok(Some(Ok(Update::Ready(_))))));
    stream
}

/// The next step of a call; other events are passed over.
async fn heard(stream: &mut EventStream) -> v1::CallSignal {
    loop {
        let update = tokio::time::timeout(LONG, stream.next()).await;
        let update = update.expect("a signal in time").expect("no end").unwrap();
        let Update::Event(event) = update else {
            panic!("no event: {update:?}");
        };
        if let Some(State::CallSignal(signal)) = event.state {
            assert!(event.transient && event.cursor.is_empty());
            assert_eq!(event.kind, i32::from(v1::EventKind::CallSignal));
            return signal;
        }
    }
}

fn signal(call_id: &str, kind: Kind, sdps: &[&str]) -> v1::CallSignal {
    v1::CallSignal {
        call_id: call_id.to_owned(),
        kind: kind.into(),
        sdps: sdps.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

async fn step(agent: &Agent, to: &str, signal: v1::CallSignal) -> v1::SendCallSignalResponse {
    let request = v1::SendCallSignalRequest {
        selector: Some(v1::send_call_signal_request::Selector::AccountId(
            to.to_owned(),
        )),
        signal: Some(signal),
        ..Default::default()
    };
    agent.client().send_call_signal(request).await.unwrap()
}

/// State of a call on record with somebody.
async fn state(agent: &Agent, with: &str, call_id: &str) -> Option<v1::CallState> {
    let messages = agent.messages(with).await;
    messages.iter().find_map(|message| match &message.content {
        Some(Content::Call(call)) if call.call_id == call_id => Some(call.state()),
        _ => None,
    })
}

async fn until_state(agent: &Agent, with: &str, call_id: &str, expected: v1::CallState) {
    until(expected.as_str_name(), async || {
        (state(agent, with, call_id).await == Some(expected)).then_some(())
    })
    .await;
}

/// Two people who accepted each other.
async fn friends(net: &Localnet) -> ((Agent, String), (Agent, String)) {
    let (a, a_id) = Agent::with_account(net, "Alice").await;
    let (b, b_id) = Agent::with_account(net, "Bob").await;
    a.send_stored(&b_id, "hello").await;
    b.until_messages(&a_id, 1).await;
    let answer = b.send_stored(&a_id, "hello yourself").await;
    b.until_synced(&answer.id).await;
    a.until_messages(&b_id, 2).await;
    ((a, a_id), (b, b_id))
}

#[tokio::test]
async fn a_call_is_signalled_answered_elsewhere_and_put_on_record() {
    let net = Localnet::start().await;
    let ((a, a_id), (b, b_id)) = friends(&net).await;
    let tablet = Agent::start(&net, "tablet").await;
    tablet.restore(&b.phrases().await.recovery_phrase).await;
    tablet.until_messages(&a_id, 2).await;
    let (mut at_a, mut at_b, mut at_tablet) =
        (listen(&a).await, listen(&b).await, listen(&tablet).await);

    // It rings, with everything that was said, on all devices.
    let ice = v1::CallSignal {
        sdp_m_line_indexes: vec![0, 1],
        sdp_mids: vec!["audio".into(), "video".into()],
        ..signal(CALL, Kind::IceCandidates, &["candidate:1", "candidate:2"])
    };
    let ringing = [
        signal(CALL, Kind::PreOffer, &[]),
        signal(CALL, Kind::Offer, &["v=0 offer"]),
        ice,
    ];
    for said in &ringing {
        let taken = step(&a, &b_id, said.clone()).await;
        assert!(!taken.copied, "the own devices do not ring");
        for stream in [&mut at_b, &mut at_tablet] {
            let expected = v1::CallSignal {
                author: a_id.clone(),
                send_time: taken.send_time,
                ..said.clone()
            };
            assert_eq!(heard(stream).await, expected);
        }
    }
    assert_eq!(state(&a, &b_id, CALL).await, Some(v1::CallState::Called));
    until_state(&b, &a_id, CALL, v1::CallState::Missed).await;

    // Answered on one device: the caller hears it, and the other device stops ringing.
    let answer = signal(CALL, Kind::Answer, &["v=0 answer"]);
    assert!(step(&b, &a_id, answer).await.copied);
    let heard_by_a = heard(&mut at_a).await;
    assert_eq!(
        (heard_by_a.kind(), heard_by_a.author, heard_by_a.sdps),
        (Kind::Answer, b_id.clone(), vec!["v=0 answer".to_owned()])
    );
    let heard_by_tablet = heard(&mut at_tablet).await;
    assert_eq!(
        (heard_by_tablet.kind(), heard_by_tablet.author),
        (Kind::Answer, b_id.clone())
    );
    until_state(&a, &b_id, CALL, v1::CallState::Answered).await;
    until_state(&tablet, &a_id, CALL, v1::CallState::AnsweredElsewhere).await;
    let ended = step(&a, &b_id, signal(CALL, Kind::EndCall, &[])).await;
    assert!(ended.copied);
    // Had b taken its own copy for another device's, it would have heard that before this.
    assert_eq!(heard(&mut at_b).await.kind(), Kind::EndCall);
    assert_eq!(state(&b, &a_id, CALL).await, Some(v1::CallState::Answered));
    assert_eq!(state(&a, &b_id, CALL).await, Some(v1::CallState::Answered));

    // One that nobody answers is missed, here and there.
    step(&a, &b_id, signal(MISSED, Kind::PreOffer, &[])).await;
    step(&a, &b_id, signal(MISSED, Kind::EndCall, &[])).await;
    until_state(&b, &a_id, MISSED, v1::CallState::Missed).await;
    assert_eq!(state(&a, &b_id, MISSED).await, Some(v1::CallState::Called));
}

#[tokio::test]
async fn invitations_and_new_names_reach_the_other_side() {
    let net = Localnet::start().await;
    let ((a, a_id), (b, b_id)) = friends(&net).await;
    let request = v1::UpdateAccountRequest {
        display_name: "Alicia".into(),
        ..Default::default()
    };
    a.client().update_account(request).await.unwrap();
    let invitation = v1::CommunityInvitationContent {
        url: format!("https://c.example/room?public_key={}", "0a".repeat(32)),
        name: "Room".into(),
    };
    let request = v1::SendMessageRequest {
        recipient: b_id.clone(),
        community_invitation: Some(invitation.clone()),
        client_token: new_client_token().unwrap(),
        ..Default::default()
    };
    let sent = a.client().send_and_wait(request, LONG).await.unwrap();
    let expected = Some(Content::CommunityInvitation(invitation));
    assert_eq!(sent.content, expected);
    let arrived = b.until_messages(&a_id, 3).await.remove(2);
    assert_eq!(arrived.content, expected);
    let shown = b.conversation(&a_id).await.unwrap();
    assert_eq!(shown.display_name, "Alicia");
}
