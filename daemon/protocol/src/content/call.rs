//! Call signals. Media goes between the clients themselves; here is only what they tell each other first.
//!
//! Facts: messages.md 6.14, 11 (12).

use session_wire as wire;
use wire::call_message::Type;

use super::error::{ContentError, required, required_enum};

/// One signal of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Names the call: a UUID in lower case, the same in all its signals.
    pub uuid: String,
    /// What is said.
    pub signal: CallSignal,
}

/// What a call signal says. Session descriptions (SDP) are not looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallSignal {
    /// Announces a call; the other side rings.
    PreOffer,
    /// The caller's session description.
    Offer(String),
    /// Not used by current clients.
    ProvisionalAnswer(String),
    /// The callee's session description.
    Answer(String),
    /// Ways to connect.
    IceCandidates(Vec<IceCandidate>),
    /// Rejected, cancelled or hung up.
    EndCall,
}

/// One way to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceCandidate {
    /// The candidate's own line.
    pub sdp: String,
    /// Index of the media line it belongs to.
    pub m_line_index: u32,
    /// Identifier of the media line it belongs to.
    pub mid: String,
}

impl Call {
    /// A signal to be sent. `None` when `uuid` is none, a session description is empty, or there are no candidates: nobody
    /// would read it.
    pub fn new(uuid: &str, signal: CallSignal) -> Option<Self> {
        let complete = match &signal {
            CallSignal::PreOffer | CallSignal::EndCall => true,
            CallSignal::Offer(sdp)
            | CallSignal::ProvisionalAnswer(sdp)
            | CallSignal::Answer(sdp) => !sdp.is_empty(),
            CallSignal::IceCandidates(list) => !list.is_empty(),
        };
        (complete && is_uuid(uuid)).then(|| Self {
            uuid: uuid.to_ascii_lowercase(),
            signal,
        })
    }

    pub(super) fn read(call: &wire::CallMessage) -> Result<Self, ContentError> {
        let kind: Type = required_enum("CallMessage.type", call.r#type)?;
        let uuid = required("CallMessage.uuid", &call.uuid)?;
        if !is_uuid(uuid) {
            return Err(ContentError::BadCall("uuid"));
        }
        let sdp = || {
            let first = call.sdps.first().filter(|sdp| !sdp.is_empty());
            first.cloned().ok_or(ContentError::BadCall("no sdps"))
        };
        let signal = match kind {
            Type::PreOffer => CallSignal::PreOffer,
            Type::Offer => CallSignal::Offer(sdp()?),
            Type::ProvisionalAnswer => CallSignal::ProvisionalAnswer(sdp()?),
            Type::Answer => CallSignal::Answer(sdp()?),
            Type::IceCandidates => CallSignal::IceCandidates(candidates(call)?),
            Type::EndCall => CallSignal::EndCall,
        };
        Ok(Self {
            uuid: uuid.to_ascii_lowercase(),
            signal,
        })
    }

    pub(super) fn write(&self) -> wire::CallMessage {
        let (kind, sdps) = match &self.signal {
            CallSignal::PreOffer => (Type::PreOffer, vec![]),
            CallSignal::Offer(sdp) => (Type::Offer, vec![sdp.clone()]),
            CallSignal::ProvisionalAnswer(sdp) => (Type::ProvisionalAnswer, vec![sdp.clone()]),
            CallSignal::Answer(sdp) => (Type::Answer, vec![sdp.clone()]),
            CallSignal::IceCandidates(list) => {
                let sdps = list.iter().map(|candidate| candidate.sdp.clone());
                (Type::IceCandidates, sdps.collect())
            }
            CallSignal::EndCall => (Type::EndCall, vec![]),
        };
        let list = match &self.signal {
            CallSignal::IceCandidates(list) => list.as_slice(),
            _ => &[],
        };
        wire::CallMessage {
            r#type: Some(kind as i32),
            sdps,
            sdp_m_line_indexes: list.iter().map(|item| item.m_line_index).collect(),
            sdp_mids: list.iter().map(|item| item.mid.clone()).collect(),
            uuid: Some(self.uuid.clone()),
        }
    }

    /// Whether it makes the other side ring, and so may begin a conversation.
    pub fn rings(&self) -> bool {
        matches!(self.signal, CallSignal::PreOffer | CallSignal::Offer(_))
    }

    /// Whether the other devices of the own account are told.
    pub(super) fn is_synced(&self) -> bool {
        matches!(self.signal, CallSignal::Answer(_) | CallSignal::EndCall)
    }
}

fn candidates(call: &wire::CallMessage) -> Result<Vec<IceCandidate>, ContentError> {
    let (indexes, mids) = (&call.sdp_m_line_indexes, &call.sdp_mids);
    if call.sdps.is_empty() {
        return Err(ContentError::BadCall("no sdps"));
    }
    if call.sdps.len() != indexes.len() || call.sdps.len() != mids.len() {
        return Err(ContentError::BadCall("lists of unequal length"));
    }
    let parts = call.sdps.iter().zip(indexes).zip(mids);
    Ok(parts
        .map(|((sdp, index), mid)| IceCandidate {
            sdp: sdp.clone(),
            m_line_index: *index,
            mid: mid.clone(),
        })
        .collect())
}

/// Text form of a UUID, of any version and case.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6B86B273-ff34-4ce1-9d6b-804eff5a3f57";

    fn read(
        kind: Type,
        sdps: &[&str],
        indexes: &[u32],
        mids: &[&str],
    ) -> Result<Call, ContentError> {
        Call::read(&wire::CallMessage {
            r#type: Some(kind as i32),
            sdps: sdps.iter().copied().map(Into::into).collect(),
            sdp_m_line_indexes: indexes.to_vec(),
            sdp_mids: mids.iter().copied().map(Into::into).collect(),
            uuid: Some(UUID.into()),
        })
    }

    #[test]
    fn every_type_has_what_it_needs() {
        for kind in [Type::PreOffer, Type::EndCall] {
            assert!(read(kind, &[], &[], &[]).is_ok());
        }
        for kind in [Type::Offer, Type::Answer, Type::ProvisionalAnswer] {
            assert!(read(kind, &["v=0"], &[], &[]).is_ok());
            for sdps in [&[][..], &[""]] {
                let refused = read(kind, sdps, &[], &[]);
                assert_eq!(refused, Err(ContentError::BadCall("no sdps")));
            }
        }
        let ice = Type::IceCandidates;
        assert!(read(ice, &["a", "b"], &[0, 1], &["0", "1"]).is_ok());
        assert!(read(ice, &["a", "b"], &[0], &["0", "1"]).is_err());
        assert!(read(ice, &["a", "b"], &[0, 1], &["0"]).is_err());
        assert!(read(ice, &[], &[], &[]).is_err());
    }

    #[test]
    fn a_uuid_is_a_uuid() {
        let call = read(Type::EndCall, &[], &[], &[]).unwrap();
        assert_eq!(call.uuid, UUID.to_lowercase());
        for text in [
            "",
            "u",
            &UUID[1..],
            &UUID.replace('-', "0"),
            &UUID.replace('6', "g"),
        ] {
            assert!(!is_uuid(text), "{text}");
        }
    }
}
