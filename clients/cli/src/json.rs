//! The API's messages in protobuf's canonical JSON.
//!
//! The descriptors that the schema's crate carries do the mapping, so that every field of every
//! message comes out as the protobuf JSON mapping says: lowerCamelCase names, 64-bit numbers and
//! times as strings, enums by name, defaults left out. Characters that could drive a terminal are
//! written as `\u` escapes, which is the same JSON.

use std::{io, sync::LazyLock};

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, ser::Formatter};

use crate::format::safe;

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(sessiond_proto::FILE_DESCRIPTOR_SET).ok());

/// A message as a JSON value; `name` is its name within package `sessiond.v1`.
///
/// # Errors
///
/// When `name` is not the message's name.
pub fn value(name: &str, message: &impl Message) -> io::Result<Value> {
    let wrong = |detail: String| io::Error::other(format!("sessiond.v1.{name}: {detail}"));
    let descriptor = POOL
        .as_ref()
        .and_then(|pool| pool.get_message_by_name(&format!("sessiond.v1.{name}")))
        .ok_or_else(|| wrong("not in the schema".into()))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|e| wrong(e.to_string()))?;
    serde_json::to_value(&dynamic).map_err(|e| wrong(e.to_string()))
}

/// A JSON value as one line without the line break.
///
/// # Errors
///
/// None that can be named; serde_json's signature asks for it.
pub fn line(value: &Value) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Guarded);
    serde::Serialize::serialize(value, &mut serializer)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// Compact JSON that escapes whatever a terminal might obey.
struct Guarded;

impl Formatter for Guarded {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0; 2];
        for c in fragment.chars() {
            if safe::is_hazard(c) {
                for unit in c.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            } else {
                write!(writer, "{c}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sessiond_client::v1::{Message as ApiMessage, MessageDirection, TextContent, message};

    use super::*;

    #[test]
    fn canonical_and_safe() {
        let message = ApiMessage {
            id: "m1".into(),
            direction: MessageDirection::Incoming.into(),
            send_time: Some(prost_types::Timestamp {
                seconds: 1_700_000_000,
                nanos: 5_000_000,
            }),
            content: Some(message::Content::Text(TextContent {
                body: "a\u{1b}[31m\u{9b}\u{202e}\"ä".into(),
                ..Default::default()
            })),
            ..ApiMessage::default()
        };
        let value = value("Message", &message).unwrap();
        let line = line(&value).unwrap();
        assert_eq!(
            line,
            "{\"direction\":\"MESSAGE_DIRECTION_INCOMING\",\"id\":\"m1\",\
             \"sendTime\":\"2023-11-14T22:13:20.005Z\",\
             \"text\":{\"body\":\"a\\u001b[31m\\u009b\\u202e\\\"ä\"}}"
        );
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }

    #[test]
    fn a_wrong_name_is_an_error() {
        assert!(value("Nothing", &ApiMessage::default()).is_err());
    }
}
