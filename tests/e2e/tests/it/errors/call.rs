//! CallService.

use sessiond_client::{Client, v1};
use tonic::Code;
use v1::CallSignalKind as Kind;
use v1::send_call_signal_request::Selector;

use super::{STRANGER, Table, malformed_ids};

pub async fn calls(client: &Client, table: &mut Table, own: &str) {
    let call = "CallService.SendCallSignal";
    let signal = |call_id: &str, kind: Kind, sdps: &[&str]| v1::CallSignal {
        call_id: call_id.to_owned(),
        kind: kind.into(),
        sdps: sdps.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let uuid = "6b86b273-ff34-4ce1-9d6b-804eff5a3f57";
    let ring = signal(uuid, Kind::PreOffer, &[]);
    let send = async |selector, signal: &v1::CallSignal| {
        let request = v1::SendCallSignalRequest {
            selector,
            signal: Some(signal.clone()),
            ..Default::default()
        };
        client.send_call_signal(request).await
    };
    let invalid = Code::InvalidArgument;
    let outcome = send(None, &ring).await;
    table.expect(call, "no selector", outcome, invalid, "SELECTOR_MISSING");
    for id in malformed_ids() {
        let outcome = send(Some(Selector::AccountId(id.clone())), &ring).await;
        let what = format!("to {id:?}");
        table.expect(call, &what, outcome, invalid, "INVALID_ACCOUNT_ID");
    }
    let with = |id: &str| Some(Selector::AccountId(id.to_owned()));
    for (what, signal) in [
        ("nothing", v1::CallSignal::default()),
        ("no UUID", signal("call", Kind::PreOffer, &[])),
        ("an offer of nothing", signal(uuid, Kind::Offer, &[])),
        ("two answers", signal(uuid, Kind::Answer, &["a", "b"])),
        ("no candidates", signal(uuid, Kind::IceCandidates, &[])),
        (
            "half a candidate",
            signal(uuid, Kind::IceCandidates, &["a"]),
        ),
        (
            "a provisional answer",
            signal(uuid, Kind::ProvisionalAnswer, &["a"]),
        ),
    ] {
        let outcome = send(with(own), &signal).await;
        table.expect(call, what, outcome, invalid, "CALL_SIGNAL_INVALID");
    }
    let outcome = send(with(STRANGER), &ring).await;
    let (code, reason) = (Code::NotFound, "CONVERSATION_NOT_FOUND");
    table.expect(call, "nobody known", outcome, code, reason);
    let outcome = send(with(own), &ring).await;
    let (code, reason) = (Code::FailedPrecondition, "NOT_POSSIBLE");
    table.expect(call, "oneself", outcome, code, reason);
}
