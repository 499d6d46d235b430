//! The last hop's request to a server (network.md 5.5, exit rules).

use hyper::Uri;
use hyper::body::Bytes;
use serde::Deserialize;

use super::Node;
use crate::peers::PeerError;

/// Control data that names a server.
#[derive(Deserialize)]
pub(super) struct Exit {
    host: String,
    target: String,
    port: Option<u16>,
    protocol: Option<String>,
}

/// What came of it.
pub(super) enum Outcome {
    /// Protocol or target are refused.
    InvalidUrl,
    /// The server's status and body, or a transport failure in plain text.
    Answer(u16, Bytes),
}

impl Exit {
    fn uri(&self) -> Option<Uri> {
        let protocol = self.protocol.as_deref().unwrap_or("https");
        let target = &self.target;
        let target_allowed = (target.starts_with("/loki/") || target.starts_with("/oxen/"))
            && target.ends_with("/lsrpc")
            && !target.contains('?');
        if !matches!(protocol, "http" | "https") || !target_allowed {
            return None;
        }
        // The default is 443 whatever the protocol.
        let port = self.port.unwrap_or(443);
        format!("{protocol}://{}:{port}{target}", self.host)
            .parse()
            .ok()
    }

    /// Posts the whole decrypted `frame` to the server.
    pub(super) async fn run(&self, node: &Node, frame: Vec<u8>) -> Outcome {
        let Some(uri) = self.uri() else {
            return Outcome::InvalidUrl;
        };
        if uri.scheme_str() != Some("http") {
            let text = "this local network has no exit to https servers";
            return Outcome::Answer(502, text.into());
        }
        match node
            .shared
            .peers
            .exit(&uri, frame.into(), node.shared.times.exit)
            .await
        {
            Ok((status, body)) => Outcome::Answer(status, body),
            Err(PeerError::Timeout) => Outcome::Answer(504, "Server timed out".into()),
            Err(PeerError::Transport(text)) => Outcome::Answer(502, text.into()),
            Err(PeerError::Malformed) => Outcome::Answer(502, "Malformed answer".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(json: &str) -> Option<String> {
        serde_json::from_str::<Exit>(json)
            .unwrap()
            .uri()
            .map(|uri| uri.to_string())
    }

    #[test]
    fn targets_and_protocols_are_restricted() {
        let allowed = r#"{"host":"a","target":"/oxen/v4/lsrpc","protocol":"http","port":8080}"#;
        assert_eq!(uri(allowed).as_deref(), Some("http://a:8080/oxen/v4/lsrpc"));
        let default_port = r#"{"host":"a","target":"/loki/v3/lsrpc","protocol":"http"}"#;
        assert_eq!(
            uri(default_port).as_deref(),
            Some("http://a:443/loki/v3/lsrpc")
        );
        for refused in [
            r#"{"host":"a","target":"/oxen/v4/lsrpc","protocol":"ftp"}"#,
            r#"{"host":"a","target":"/oxen/v4/lsrpc?x","protocol":"http"}"#,
            r#"{"host":"a","target":"/oxen/v4/lsrpc?/lsrpc","protocol":"http"}"#,
            r#"{"host":"a","target":"/other/lsrpc","protocol":"http"}"#,
            r#"{"host":"a","target":"/oxen/v4/info","protocol":"http"}"#,
        ] {
            assert_eq!(uri(refused), None, "{refused}");
        }
    }
}
