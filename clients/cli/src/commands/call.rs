//! `call`: steps of calls, for a program that has media.

use clap::{Args, ValueEnum};
use sessiond_client::{
    new_client_token,
    v1::{CallSignal, CallSignalKind, SendCallSignalRequest, send_call_signal_request::Selector},
};

use crate::{account_id::AccountId, context::Context, failure::Failure, format::safe, input};

/// Arguments of `call`.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// Account ID of the other side
    #[arg(value_name = "ACCOUNT-ID")]
    pub with: AccountId,
    /// Which step; the session description of an offer or an answer is read from stdin
    pub step: Step,
    /// UUID of the call, the same in all its steps [default of pre-offer: a random one, which is printed]
    #[arg(long, value_name = "UUID")]
    pub id: Option<String>,
    /// A way to connect, for `ice`; may be given several times
    #[arg(long, value_name = "INDEX:MID:CANDIDATE", value_parser = candidate)]
    pub candidate: Vec<Candidate>,
}

/// A step of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// Let it ring
    PreOffer,
    /// The caller's session description
    Offer,
    /// The callee's session description
    Answer,
    /// Ways to connect, with --candidate
    Ice,
    /// Reject it, cancel it or hang up
    End,
}

/// A way to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    index: u32,
    mid: String,
    sdp: String,
}

fn candidate(text: &str) -> Result<Candidate, String> {
    let mut parts = text.splitn(3, ':');
    let (index, mid, sdp) = (parts.next(), parts.next(), parts.next());
    match (index.and_then(|index| index.parse().ok()), mid, sdp) {
        (Some(index), Some(mid), Some(sdp)) if !sdp.is_empty() => Ok(Candidate {
            index,
            mid: mid.to_owned(),
            sdp: sdp.to_owned(),
        }),
        _ => {
            Err("write it as INDEX:MID:CANDIDATE, for example 0:audio:candidate:1 1 udp ...".into())
        }
    }
}

pub async fn call(context: &mut Context, args: CallArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let (call_id, is_new) = match args.id {
        Some(id) => (id, false),
        None if args.step == Step::PreOffer => (uuid()?, true),
        None => return Err(Failure::Usage("name the call with --id".into())),
    };
    let mut signal = CallSignal {
        call_id,
        ..CallSignal::default()
    };
    signal.set_kind(match args.step {
        Step::PreOffer => CallSignalKind::PreOffer,
        Step::Offer => CallSignalKind::Offer,
        Step::Answer => CallSignalKind::Answer,
        Step::Ice => CallSignalKind::IceCandidates,
        Step::End => CallSignalKind::EndCall,
    });
    if matches!(args.step, Step::Offer | Step::Answer) {
        signal.sdps = vec![input::text(&mut context.terminal.input)?];
    }
    for candidate in args.candidate {
        signal.sdps.push(candidate.sdp);
        signal.sdp_m_line_indexes.push(candidate.index);
        signal.sdp_mids.push(candidate.mid);
    }
    let call_id = signal.call_id.clone();
    let request = SendCallSignalRequest {
        selector: Some(Selector::AccountId(args.with.to_string())),
        signal: Some(signal),
        ..SendCallSignalRequest::default()
    };
    let answer = client.send_call_signal(request).await?;
    if context.json {
        return context.object("SendCallSignalResponse", &answer);
    }
    if is_new {
        context.print(&format!("{}\n", safe::line(&call_id)))?;
    }
    context.progress("Their swarm has it.");
    Ok(())
}

/// A random UUID of version 4.
fn uuid() -> Result<String, Failure> {
    let mut digits: Vec<char> = new_client_token()?.chars().collect();
    digits.resize(32, '0');
    digits[12] = '4';
    digits[16] = match digits[16] {
        '0'..='3' => '8',
        '4'..='7' => '9',
        '8'..='9' | 'a' | 'b' => 'a',
        _ => 'b',
    };
    let part = |from: usize, until: usize| digits[from..until].iter().collect::<String>();
    Ok([
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_keep_their_colons() {
        let read = candidate("1:audio:candidate:1 1 udp 2 10.0.0.1 9 typ host").unwrap();
        assert_eq!((read.index, &*read.mid), (1, "audio"));
        assert_eq!(read.sdp, "candidate:1 1 udp 2 10.0.0.1 9 typ host");
        for text in ["", "1", "1:audio", "1:audio:", "x:audio:c", "-1:a:c"] {
            assert!(candidate(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn uuids_are_of_version_4() {
        let (one, two) = (uuid().unwrap(), uuid().unwrap());
        assert_ne!(one, two);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&one[14..15], "4");
        assert!("89ab".contains(&one[19..20]));
    }
}
