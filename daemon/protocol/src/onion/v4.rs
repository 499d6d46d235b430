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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// The server's side: metadata and body of a request.
    fn decode_request(payload: &[u8]) -> (Value, Option<Vec<u8>>) {
        let inner = payload
            .strip_prefix(b"l")
            .unwrap()
            .strip_suffix(b"e")
            .unwrap();
        let (meta, rest) = read_bytes(inner).unwrap();
        let body = (!rest.is_empty()).then(|| {
            let (body, rest) = read_bytes(rest).unwrap();
            assert!(rest.is_empty());
            body.to_vec()
        });
        (serde_json::from_slice(meta).unwrap(), body)
    }

    /// The server's side of an answer.
    fn encode_response(
        code: u16,
        headers: &BTreeMap<String, String>,
        body: Option<&[u8]>,
    ) -> Vec<u8> {
        let mut out = vec![b'l'];
        let meta = json!({"code": code, "headers": headers}).to_string();
        write_bytes(&mut out, meta.as_bytes());
        if let Some(body) = body {
            write_bytes(&mut out, body);
        }
        out.push(b'e');
        out
    }

    #[test]
    fn agrees_with_network_5_6() {
        let request = ServerRequest {
            method: "GET".into(),
            endpoint: "/info".into(),
            headers: vec![("user-agent".into(), "x".into())],
            body: None,
        };
        let expected = br#"l35:{"endpoint":"/info","method":"GET"}e"#;
        assert_eq!(encode_request(&request).unwrap(), expected);
        let response = decode_response(br#"l25:{"code":200,"headers":{}}8:{"id":7}e"#).unwrap();
        assert_eq!(
            (response.code, response.body.as_slice()),
            (200, br#"{"id":7}"#.as_slice())
        );
        let empty = decode_response(br#"l25:{"code":200,"headers":{}}0:e"#).unwrap();
        assert_eq!(empty.body, b"");
    }

    #[test]
    fn malformed_payloads_are_refused() {
        for payload in [
            "",
            "l",
            "le",
            "e",
            "l0:e",
            "l2:{}e",
            "l5:{}e",
            "l99999999999999999999:{}e",
            "l25:{\"code\":200,\"headers\":{}}1:a1:be",
            "l29:{\"code\":70000,\"headers\":{ }}e",
        ] {
            assert!(decode_response(payload.as_bytes()).is_err(), "{payload}");
        }
    }

    proptest! {
        #[test]
        fn every_request_survives(
            endpoint in "/[a-z/?=]{0,20}",
            headers in prop::collection::btree_map("X-[A-Z]{1,5}", "\\PC{0,10}", 0..4),
            body in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
        ) {
            let request = ServerRequest {
                method: "POST".into(),
                endpoint: endpoint.clone(),
                headers: headers.clone().into_iter().collect(),
                body: body.clone(),
            };
            let (meta, sent) = decode_request(&encode_request(&request).unwrap());
            let mut expected = json!({"endpoint": endpoint, "method": "POST"});
            let mut headers = headers;
            if body.is_some() {
                headers.insert("Content-Type".into(), "application/json".into());
            }
            if !headers.is_empty() {
                expected["headers"] = json!(headers);
            }
            prop_assert_eq!(meta, expected);
            prop_assert_eq!(sent, body);
        }

        #[test]
        fn every_response_survives(
            code: u16,
            headers in prop::collection::btree_map("[a-z-]{1,8}", "\\PC{0,10}", 0..4),
            body in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
        ) {
            let upper = headers.iter().map(|(name, value)| (name.to_uppercase(), value.clone())).collect();
            let response = decode_response(&encode_response(code, &upper, body.as_deref())).unwrap();
            prop_assert_eq!(response, ServerResponse { code, headers, body: body.unwrap_or_default() });
        }

        #[test]
        fn any_bytes_get_an_answer(payload: Vec<u8>, body: Vec<u8>) {
            let _ = decode_response(&payload);
            let _ = decode_response(&[b"l2:{}".as_slice(), &body, b"e"].concat());
        }
    }
}
