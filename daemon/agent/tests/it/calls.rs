//! Steps of calls that are taken here: who may, what is stored for whom, and the record.

use session_protocol::content::{
    self, Call, CallSignal, ExpirationMode, Kind, Place, TTL_CALL, Visible,
};
use session_protocol::envelope;
use sessiond::actions::ActionError;
use sessiond::actions::call::{Step, prepare, settle};
use sessiond::random::os_rng;
use sessiond::sync::signal::What;
use sessiond_proto::v1::message::Content;
use sessiond_proto::v1::{CallSignalKind, CallState};

use crate::actions::{act, outbox, with};
use crate::common::{Rig, keys, rig};
use crate::say::say;

const UUID: &str = "6b86b273-ff34-4ce1-9d6b-804eff5a3f57";

fn call(signal: CallSignal) -> Call {
    Call::new(UUID, signal).unwrap()
}

fn offer() -> CallSignal {
    CallSignal::Offer("v=0".into())
}

fn answer() -> CallSignal {
    CallSignal::Answer("v=0".into())
}

fn text(body: &str) -> Kind {
    Kind::Visible(Box::new(Visible::text(body)))
}

async fn friends(rig: &Rig) {
    let now = rig.context.now_ms() - 10_000;
    rig.hear(&[
        say(1, now, text("ours")).copied_to(2),
        say(2, now + 1, text("theirs")),
    ])
    .await;
}

async fn prepared(rig: &Rig, signal: CallSignal) -> Result<Step, ActionError> {
    act(rig, move |connection, actor| {
        Box::pin(async move { prepare(connection, actor, &with(2), call(signal)).await })
    })
    .await
}

/// As if the other side's swarm had taken it.
async fn taken(rig: &Rig, signal: CallSignal) -> Step {
    let step = prepared(rig, signal).await.unwrap();
    let done = step.clone();
    act(rig, move |connection, actor| {
        Box::pin(async move { settle(connection, actor, &done).await })
    })
    .await
    .unwrap();
    step
}

async fn hear(rig: &Rig, signal: CallSignal) {
    let at = rig.context.now_ms() - 100;
    rig.hear(&[say(2, at, Kind::Call(call(signal)))]).await;
}

/// State of the only call on record.
async fn state(rig: &Rig) -> Option<CallState> {
    let messages = rig.messages(2).await;
    let mut calls = messages
        .iter()
        .filter_map(|message| match &message.content {
            Some(Content::Call(call)) => Some(call.state()),
            _ => None,
        });
    let state = calls.next();
    assert_eq!(calls.next(), None, "one record");
    state
}

#[tokio::test]
async fn a_step_goes_to_the_other_side_and_some_to_the_own_devices() {
    let rig = rig().await;
    friends(&rig).await;
    hear(&rig, CallSignal::PreOffer).await;
    rig.execute("UPDATE conversation SET expiry_type = 2, expiry_timer_s = 43200")
        .await;
    let mut before = 0;
    for (signal, copied) in [
        (CallSignal::PreOffer, false),
        (offer(), false),
        (answer(), true),
        (CallSignal::EndCall, true),
    ] {
        let step = prepared(&rig, signal.clone()).await.unwrap();
        assert!(step.sent_ms > before, "each step has a time of its own");
        before = step.sent_ms;
        assert_eq!(step.tell.ttl_ms, TTL_CALL);
        assert_eq!(step.tell.peer, keys(2).account_id());
        let at = u64::try_from(step.sent_ms).unwrap();
        let to = keys(2).account_id();
        let sealed = envelope::seal(&mut os_rng(), &keys(1), &to, at, &step.tell.content).unwrap();
        let opened = envelope::open(&keys(2), &sealed).unwrap();
        let read = content::read(&opened.content).unwrap();
        assert_eq!(read.kind, Kind::Call(call(signal)));
        // So that the other side sees it, whatever the mode.
        let timer = read.expiration(Place::OneToOne).unwrap();
        assert_eq!(timer.mode, ExpirationMode::AfterRead);
        assert_eq!(step.copy.is_some(), copied);
        if let Some(copy) = step.copy {
            assert_eq!((copy.peer, copy.ttl_ms), (keys(1).account_id(), TTL_CALL));
        }
    }
    // Nothing of it waits: a call that is over is worth nothing.
    assert!(outbox(&rig).await.is_empty());
}

#[tokio::test]
async fn calls_need_people_who_accepted_each_other() {
    for (name, change, refused) in [
        ("friends", "SELECT 1", false),
        (
            "not accepted here",
            "UPDATE conversation SET approved = 0",
            true,
        ),
        (
            "not accepted there",
            "UPDATE conversation SET approved_me = 0",
            true,
        ),
        ("blocked", "UPDATE conversation SET blocked = 1", true),
    ] {
        let rig = rig().await;
        friends(&rig).await;
        rig.execute(change).await;
        for signal in [CallSignal::PreOffer, offer(), CallSignal::EndCall] {
            let outcome = prepared(&rig, signal).await;
            assert_eq!(outcome.is_err(), refused, "{name}");
        }
        assert!(
            prepared(&rig, answer()).await.is_err(),
            "{name}: nothing to answer"
        );
    }
    // Who calls has accepted us, even without a word.
    let rig = rig().await;
    friends(&rig).await;
    rig.execute("UPDATE conversation SET approved_me = 0").await;
    hear(&rig, CallSignal::PreOffer).await;
    assert!(prepared(&rig, answer()).await.is_ok());
    // Nobody calls himself.
    let now = rig.context.now_ms() - 10_000;
    rig.hear(&[say(1, now, text("note"))]).await;
    let own = act(&rig, |connection, actor| {
        Box::pin(
            async move { prepare(connection, actor, &with(1), call(CallSignal::PreOffer)).await },
        )
    })
    .await;
    assert!(matches!(own, Err(ActionError::NotPossible(_))));
}

#[tokio::test]
async fn the_record_tells_what_became_of_a_call() {
    // Steps of the other side and of ours, and what stands on record after each.
    for (name, steps) in [
        (
            "answered here",
            vec![
                (false, CallSignal::PreOffer, CallState::Missed),
                (false, offer(), CallState::Missed),
                (true, answer(), CallState::Answered),
                (true, CallSignal::EndCall, CallState::Answered),
            ],
        ),
        (
            "rejected here",
            vec![
                (false, CallSignal::PreOffer, CallState::Missed),
                (true, CallSignal::EndCall, CallState::Rejected),
            ],
        ),
        (
            "we call, they answer",
            vec![
                (true, CallSignal::PreOffer, CallState::Called),
                (true, offer(), CallState::Called),
                (false, answer(), CallState::Answered),
                (false, CallSignal::EndCall, CallState::Answered),
            ],
        ),
        (
            "we call, nobody answers",
            vec![
                (true, CallSignal::PreOffer, CallState::Called),
                (true, CallSignal::EndCall, CallState::Called),
            ],
        ),
        (
            "an answer from where nobody was called",
            vec![
                (false, CallSignal::PreOffer, CallState::Missed),
                (false, answer(), CallState::Missed),
            ],
        ),
    ] {
        let rig = rig().await;
        friends(&rig).await;
        let unread = rig.conversation(2).await.unwrap().unread_count;
        let ours_first = steps[0].0;
        for (ours, signal, expected) in steps {
            if ours {
                taken(&rig, signal).await;
            } else {
                hear(&rig, signal).await;
            }
            assert_eq!(state(&rig).await, Some(expected), "{name}");
        }
        let shown = rig.messages(2).await;
        assert_eq!(
            shown[2].direction() == sessiond_proto::v1::MessageDirection::Outgoing,
            ours_first,
            "{name}"
        );
        // A call of ours is nothing unread, and reads what was there.
        let now_unread = rig.conversation(2).await.unwrap().unread_count;
        assert_eq!(
            now_unread,
            if ours_first { 0 } else { unread + 1 },
            "{name}"
        );
    }
}

/// A step that is stored again under another name is the same step.
#[tokio::test]
async fn a_step_that_comes_twice_is_passed_on_once() {
    let rig = rig().await;
    friends(&rig).await;
    let mut live = rig.context.signals.listen();
    let at = rig.context.now_ms() - 100;
    let ring = say(2, at, Kind::Call(call(CallSignal::PreOffer)));
    let again = ring.stored();
    rig.apply(vec![ring.stored(), again.clone()]).await;
    assert_ne!(again.hash, ring.stored().hash);
    rig.hear(&[ring]).await;
    hear(&rig, offer()).await;
    let mut kinds = Vec::new();
    while let Ok(signal) = live.try_recv() {
        if let What::Call(step) = signal.what {
            kinds.push(CallSignalKind::try_from(step.kind).unwrap());
        }
    }
    assert_eq!(kinds, [CallSignalKind::PreOffer, CallSignalKind::Offer]);
}

#[tokio::test]
async fn the_own_record_goes_a_time_after_the_call() {
    let rig = rig().await;
    friends(&rig).await;
    rig.execute("UPDATE conversation SET expiry_type = 1, expiry_timer_s = 300")
        .await;
    let before = rig.context.now_ms();
    taken(&rig, CallSignal::PreOffer).await;
    let at = rig
        .one::<i64>("SELECT expires_at FROM message WHERE kind = 'CALL'")
        .await;
    assert!((before + 300_000..=rig.context.now_ms() + 300_000).contains(&at));
    assert_eq!(
        rig.one::<i64>("SELECT expiry_type FROM message WHERE kind = 'CALL'")
            .await,
        2
    );
}
