//! CallService.

use std::sync::Arc;

use session_protocol::content::{Call, CallSignal, IceCandidate};
use sessiond_proto::v1::call_service_server::CallService;
use sessiond_proto::v1::{self, CallSignalKind};
use tonic::{Request, Response, Status};

use super::conversation::selector;
use super::error::{from_action, from_network, invalid};
use super::{Api, detached, message};
use crate::account::Account;
use crate::actions::{call, tell};
use crate::store::conversations::Selector;
use crate::time::timestamp;

#[tonic::async_trait]
impl CallService for Api {
    async fn send_call_signal(
        &self,
        request: Request<v1::SendCallSignalRequest>,
    ) -> Result<Response<v1::SendCallSignalResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let selector = selector!(request.selector, send_call_signal_request)?;
        let step = step(request.signal.unwrap_or_default())?;
        detached(take(account, selector, step))
            .await
            .map(Response::new)
    }
}

/// Tells the other side, then the own devices, then writes the record.
async fn take(
    account: Arc<Account>,
    selector: Selector,
    step: Call,
) -> Result<v1::SendCallSignalResponse, Status> {
    let step = account
        .act(move |connection, actor| {
            Box::pin(async move { call::prepare(connection, actor, &selector, step).await })
        })
        .await
        .map_err(from_action)?;
    let context = account.context();
    tell::store(context, &step.tell)
        .await
        .map_err(|error| from_network(&error))?;
    let copied = match &step.copy {
        Some(copy) => tell::store(context, copy).await.is_ok(),
        None => false,
    };
    let send_time = timestamp(step.sent_ms);
    let message_id = account
        .act(move |connection, actor| {
            Box::pin(async move { call::settle(connection, actor, &step).await })
        })
        .await
        .map_err(from_action)?;
    Ok(v1::SendCallSignalResponse {
        send_time,
        copied,
        message_id,
    })
}

/// A step as the network has it.
fn step(signal: v1::CallSignal) -> Result<Call, Status> {
    let refused = |text| invalid("CALL_SIGNAL_INVALID", text);
    let kind = signal.kind();
    let v1::CallSignal {
        call_id,
        mut sdps,
        sdp_m_line_indexes,
        sdp_mids,
        ..
    } = signal;
    let fits = match kind {
        CallSignalKind::PreOffer | CallSignalKind::EndCall => sdps.is_empty(),
        CallSignalKind::Offer | CallSignalKind::Answer => sdps.len() == 1,
        CallSignalKind::IceCandidates => {
            sdps.len() == sdp_m_line_indexes.len() && sdps.len() == sdp_mids.len()
        }
        CallSignalKind::ProvisionalAnswer | CallSignalKind::Unspecified => {
            return Err(refused(
                "say which step it is; PROVISIONAL_ANSWER is not sent",
            ));
        }
    };
    if !fits {
        return Err(refused(
            "an offer or an answer has one description, candidates have an index and a mid each, other steps nothing",
        ));
    }
    let mut first = || sdps.pop().unwrap_or_default();
    let signal = match kind {
        CallSignalKind::Offer => CallSignal::Offer(first()),
        CallSignalKind::Answer => CallSignal::Answer(first()),
        CallSignalKind::IceCandidates => CallSignal::IceCandidates(
            sdps.into_iter()
                .zip(sdp_m_line_indexes)
                .zip(sdp_mids)
                .map(|((sdp, m_line_index), mid)| IceCandidate {
                    sdp,
                    m_line_index,
                    mid,
                })
                .collect(),
        ),
        CallSignalKind::EndCall => CallSignal::EndCall,
        _ => CallSignal::PreOffer,
    };
    Call::new(&call_id, signal)
        .ok_or_else(|| refused("call_id is a UUID, and descriptions or candidates are not empty"))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    const ID: &str = "6B86B273-ff34-4ce1-9d6b-804eff5a3f57";

    fn signal(
        kind: CallSignalKind,
        sdps: &[&str],
        indexes: &[u32],
        mids: &[&str],
    ) -> v1::CallSignal {
        v1::CallSignal {
            call_id: ID.into(),
            kind: kind.into(),
            sdps: sdps.iter().map(ToString::to_string).collect(),
            sdp_m_line_indexes: indexes.to_vec(),
            sdp_mids: mids.iter().map(ToString::to_string).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn steps_have_what_their_kind_needs_and_nothing_else() {
        use CallSignalKind::{Answer, EndCall, IceCandidates, Offer, PreOffer, ProvisionalAnswer};
        for good in [
            signal(PreOffer, &[], &[], &[]),
            signal(EndCall, &[], &[], &[]),
            signal(Offer, &["v=0"], &[], &[]),
            signal(Answer, &["v=0"], &[], &[]),
            signal(IceCandidates, &["a", "b"], &[0, 1], &["0", "1"]),
        ] {
            assert_eq!(
                step(good.clone()).unwrap().uuid,
                ID.to_ascii_lowercase(),
                "{good:?}"
            );
        }
        let no_uuid = v1::CallSignal {
            call_id: "call-1".into(),
            ..signal(PreOffer, &[], &[], &[])
        };
        for bad in [
            v1::CallSignal::default(),
            no_uuid,
            signal(ProvisionalAnswer, &["v=0"], &[], &[]),
            signal(PreOffer, &["v=0"], &[], &[]),
            signal(EndCall, &["v=0"], &[], &[]),
            signal(Offer, &[], &[], &[]),
            signal(Offer, &[""], &[], &[]),
            signal(Answer, &["a", "b"], &[], &[]),
            signal(IceCandidates, &[], &[], &[]),
            signal(IceCandidates, &["a"], &[], &["0"]),
            signal(IceCandidates, &["a"], &[0, 1], &["0"]),
        ] {
            assert_eq!(
                step(bad.clone()).unwrap_err().code(),
                Code::InvalidArgument,
                "{bad:?}"
            );
        }
    }
}
