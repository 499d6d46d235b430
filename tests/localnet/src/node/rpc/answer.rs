//! Status and body of a storage answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::params::BadParam;
use crate::http::Reply;

/// Body of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    /// Results, and errors that carry data.
    Json(Value),
    /// Other errors.
    Text(String),
    /// Results that are no text: raw over plain HTTPS, base64 where JSON is around them.
    Bytes(Vec<u8>),
}

/// What a storage request is answered with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: Body,
}

impl Answer {
    pub(crate) fn json(status: u16, value: impl Into<Value>) -> Self {
        Self {
            status,
            body: Body::Json(value.into()),
        }
    }

    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            body: Body::Text(text.into()),
        }
    }

    /// Something broke in the node.
    pub(crate) fn failed(error: &sqlx::Error) -> Self {
        tracing::warn!(%error, "database refused");
        Self::text(500, "request failed")
    }

    pub(crate) fn into_reply(self) -> Reply {
        match self.body {
            Body::Json(value) => Reply::json(self.status, &value),
            Body::Text(text) => Reply::text(self.status, text),
            Body::Bytes(bytes) => Reply::new(self.status, "application/octet-stream", bytes),
        }
    }

    /// As an element of a batch's `results`.
    pub(crate) fn into_element(self) -> Value {
        let body = match self.body {
            Body::Json(value) => value,
            Body::Text(text) => Value::String(text),
            Body::Bytes(bytes) => Value::String(STANDARD.encode(bytes)),
        };
        json!({"code": self.status, "body": body})
    }
}

impl From<BadParam> for Answer {
    fn from(bad: BadParam) -> Self {
        Self::text(400, format!("invalid request: {}", bad.0))
    }
}
