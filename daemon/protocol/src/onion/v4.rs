//! Payloads for servers, version 4: a bencoded list of metadata JSON and body (network.md 5.6).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bt::{BtError, read_bytes, write_bytes};

/// A request to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRequest {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: String,
    /// Path with query, beginning with `/`.
    pub endpoint: String,
    /// Headers as the caller wants them. A `User-Agent` is dropped; `Content-Type: application/json` is added
    /// when there is a body and no such header.
    pub headers: Vec<(String, String)>,
    /// Body; an empty one differs from none.
    pub body: Option<Vec<u8>>,
}

/// A server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerResponse {
    /// The server's own status.
    pub code: u16,
    /// Headers with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Body; empty when there is none.
    pub body: Vec<u8>,
}

/// Why a payload is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum V4Error {
    /// Not a list of one or two strings.
    #[error("payload is no list of one or two strings")]
    Shape,
    /// The metadata are not what they should be.
    #[error("metadata are malformed")]
    Metadata,
}

impl From<BtError> for V4Error {
    fn from(_: BtError) -> Self {
        Self::Shape
    }
}

// Field order is the order on the wire: alphabetical.
#[derive(Serialize)]
struct RequestMeta<'a> {
    endpoint: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, &'a str>,
    method: &'a str,
}

#[derive(Deserialize)]
struct ResponseMeta {
    code: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// Encodes a request.
pub fn encode_request(request: &ServerRequest) -> Result<Vec<u8>, V4Error> {
    let mut headers: BTreeMap<&str, &str> = request
        .headers
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("user-agent"))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    if request.body.is_some()
        && !headers
            .keys()
            .any(|name| name.eq_ignore_ascii_case("content-type"))
    {
        headers.insert("Content-Type", "application/json");
    }
    let meta = RequestMeta {
        endpoint: &request.endpoint,
        headers,
        method: &request.method,
    };
    let meta = serde_json::to_vec(&meta).map_err(|_| V4Error::Metadata)?;
    let mut out = vec![b'l'];
    write_bytes(&mut out, &meta);
    if let Some(body) = &request.body {
        write_bytes(&mut out, body);
    }
    out.push(b'e');
    Ok(out)
}

/// Decodes a response. A missing body is an empty one.
pub fn decode_response(payload: &[u8]) -> Result<ServerResponse, V4Error> {
    let inner = payload
        .strip_prefix(b"l")
        .and_then(|rest| rest.strip_suffix(b"e"))
        .ok_or(V4Error::Shape)?;
    let (meta, rest) = read_bytes(inner)?;
    let (body, rest) = if rest.is_empty() {
        (&[][..], rest)
    } else {
        read_bytes(rest)?
    };
    if !rest.is_empty() {
        return Err(V4Error::Shape);
    }
    let meta: ResponseMeta = serde_json::from_slice(meta).map_err(|_| V4Error::Metadata)?;
    let headers = meta
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    Ok(ServerResponse {
        code: meta.code,
        headers,
        body: body.to_vec(),
    })
}
