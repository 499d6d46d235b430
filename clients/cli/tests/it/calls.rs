//! Steps of calls, as they are typed and as the agent gets them.

use sessiond_client::v1::{CallSignal, CallSignalKind, CallState, Message, message::Content};

use crate::{fake::BOB, stage::Stage};

const ID: &str = "6b86b273-ff34-4ce1-9d6b-804eff5a3f57";

/// What the agent got last.
fn got(stage: &Stage) -> CallSignal {
    stage.fake.change(|w| w.signals.pop()).unwrap()
}

#[test]
fn every_step_goes_as_it_was_typed() {
    let stage = Stage::new();
    let printed = stage.run(&["call", BOB, "pre-offer"]);
    assert_eq!(printed.code, Some(0));
    let signal = got(&stage);
    assert_eq!(printed.out.trim(), signal.call_id);
    assert_eq!(signal.kind(), CallSignalKind::PreOffer);
    for (step, kind) in [
        ("offer", CallSignalKind::Offer),
        ("answer", CallSignalKind::Answer),
    ] {
        let args = ["call", BOB, step, "--id", ID];
        assert_eq!(
            stage.run_with_input(&args, b"v=0\r\no=-\n").code,
            Some(0),
            "{step}"
        );
        let signal = got(&stage);
        assert_eq!(
            (signal.kind(), &*signal.call_id, signal.sdps),
            (kind, ID, vec!["v=0\r\no=-".to_owned()])
        );
    }
    let args = [
        "call",
        BOB,
        "ice",
        "--id",
        ID,
        "--candidate",
        "0:audio:candidate:1 udp",
        "--candidate",
        "1:video:candidate:2 udp",
    ];
    assert_eq!(stage.run(&args).code, Some(0));
    let signal = got(&stage);
    assert_eq!(signal.sdps, ["candidate:1 udp", "candidate:2 udp"]);
    assert_eq!(signal.sdp_m_line_indexes, [0, 1]);
    assert_eq!(signal.sdp_mids, ["audio", "video"]);
    let line = stage.run(&["--json", "call", BOB, "end", "--id", ID]);
    assert_eq!(line.json_lines()[0]["messageId"], "m1");
    assert_eq!(got(&stage).kind(), CallSignalKind::EndCall);
    // Only a call that begins has no ID yet.
    assert_eq!(stage.run(&["call", BOB, "end"]).code, Some(2));
    assert!(stage.fake.change(|w| w.signals.is_empty()));
}

#[test]
fn every_state_of_a_call_is_told() {
    let stage = Stage::new();
    let mut seen = Vec::new();
    for (number, state) in (1..=7).map(|n| (n, CallState::try_from(n).unwrap())) {
        let id = format!("m{number}");
        stage.fake.receive(&id, "");
        stage.fake.change(|w| {
            let last: &mut Message = w.messages.last_mut().unwrap();
            last.content = Some(Content::Call(sessiond_client::v1::CallContent {
                call_id: ID.into(),
                state: state.into(),
            }));
        });
        let text = stage.run(&["message", &id]).ok();
        assert!(text.contains("call"), "{text}");
        assert!(!seen.contains(&text), "{text}");
        seen.push(text);
    }
}

#[test]
fn an_invitation_is_sent_and_shown() {
    let stage = Stage::new();
    let url = "https://c.example/room?public_key=00";
    let id = stage.run(&["invite", BOB, url, "Room"]).ok();
    let text = stage.run(&["message", id.trim()]).ok();
    assert!(
        text.contains(&format!("[invitation to Room: {url}]")),
        "{text}"
    );
    let told = stage.run(&["saved", id.trim()]);
    assert_eq!((told.code, told.out.as_str()), (Some(0), ""));
}
