//! What went wrong on the way, as told by the guard's plain-text answers.
//!
//! Any hop may have written these texts, and so may the destination, whose answer is passed back as it is. They are
//! a reason to test the path and to try again another way; they never say anything about swarms, the clock or whether
//! something is stored (network.md 5.5, 5.7, 11).

use crate::pool::NodeKey;

/// Why a request over a path brought no answer of the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection to the proxy that everything goes through: nobody on the path has been asked.
    ProxyDown,
    /// No connection to the guard.
    GuardUnreachable,
    /// The connection to the guard broke, also the second, fresh one.
    ConnectionLost,
    /// No answer in time.
    Timeout,
    /// A hop says that the next node is unknown or down.
    NodeGone(NodeKey),
    /// A node says, or is said, not to be ready.
    NodeNotReady(NodeKey),
    /// The guard is overloaded.
    Busy,
    /// A 200 that the destination did not encrypt.
    NotFromDestination,
    /// Any other plain answer.
    Plain,
}

impl Fault {
    /// Stable name of what it means for a path.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GuardUnreachable => "GUARD_UNREACHABLE",
            Self::ConnectionLost => "CONNECTION_LOST",
            Self::Timeout => "TIMEOUT",
            Self::NodeGone(_) => "HOP_GONE",
            Self::NodeNotReady(_) => "HOP_NOT_READY",
            Self::Busy => "GUARD_BUSY",
            Self::ProxyDown => "PROXY_DOWN",
            Self::NotFromDestination => "GARBAGE",
            Self::Plain => "UNEXPECTED_ANSWER",
        }
    }
}

/// Reads a plain-text answer.
pub(crate) fn classify(status: u16, body: &[u8]) -> Fault {
    let text = String::from_utf8_lossy(body.get(..300).unwrap_or(body));
    let named = |prefix: &str| text.strip_prefix(prefix).and_then(key);
    match status {
        200 => Fault::NotFromDestination,
        502 => named("Next node not found: ")
            .or_else(|| named("Next node is currently unreachable: "))
            .map_or(Fault::Plain, Fault::NodeGone),
        503 if text.starts_with("Server busy") => Fault::Busy,
        503 => named("Snode not ready: ").map_or(Fault::Plain, Fault::NodeNotReady),
        504 => Fault::Timeout,
        _ => Fault::Plain,
    }
}

fn key(text: &str) -> Option<NodeKey> {
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim_end().get(..64)?, &mut key).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_official_nodes_are_understood() {
        let name = "ab".repeat(32);
        let gone = Fault::NodeGone([0xab; 32]);
        let cases: [(u16, String, Fault); 10] = [
            (502, format!("Next node not found: {name}"), gone),
            (
                502,
                format!("Next node is currently unreachable: {name}\n"),
                gone,
            ),
            (502, "Next node not found: zz".into(), Fault::Plain),
            (502, "could not connect".into(), Fault::Plain),
            (
                503,
                format!("Snode not ready: {name}"),
                Fault::NodeNotReady([0xab; 32]),
            ),
            (503, "Server busy, try again later".into(), Fault::Busy),
            (504, "Request time out".into(), Fault::Timeout),
            (421, r#"{"snodes":[]}"#.into(), Fault::Plain),
            (406, String::new(), Fault::Plain),
            (200, "garbage".into(), Fault::NotFromDestination),
        ];
        for (status, text, expected) in cases {
            assert_eq!(
                classify(status, text.as_bytes()),
                expected,
                "{status} {text}"
            );
        }
        // Bytes that are no text, and a cut in the middle of a character.
        assert_eq!(classify(502, &[0xff; 400]), Fault::Plain);
    }
}
