//! Control messages of one-to-one conversations: receipts, typing, unsend, data extraction.
//!
//! Facts: messages.md 4.4, 6.6, 6.10, 6.11, 6.16. Who may send them, and to which messages they apply, is the
//! caller's matter.

use session_wire as wire;

use super::error::{ContentError, is_time, required, required_enum, time};
use crate::identity::AccountId;

/// Messages in one receipt; further ones are ignored. What fits into a stored message is not much more.
pub const MAX_RECEIPT: usize = 10_000;

/// Somebody has read messages of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadReceipt {
    /// Their sent timestamps, ms: ascending, each once, 1 to [`MAX_RECEIPT`].
    pub timestamps: Vec<u64>,
}

impl ReadReceipt {
    pub(super) fn read(receipt: &wire::ReceiptMessage) -> Result<Self, ContentError> {
        use wire::receipt_message::Type;
        match required_enum("ReceiptMessage.type", receipt.r#type)? {
            Type::Read => {}
            Type::Delivery => return Err(ContentError::Obsolete("a delivery receipt")),
        }
        let mut timestamps: Vec<u64> = receipt
            .timestamp
            .iter()
            .copied()
            .filter(|ms| is_time(*ms))
            .take(MAX_RECEIPT)
            .collect();
        timestamps.sort_unstable();
        timestamps.dedup();
        if timestamps.is_empty() {
            return Err(ContentError::BadTimestamp("ReceiptMessage.timestamp"));
        }
        Ok(Self { timestamps })
    }

    pub(super) fn write(&self) -> wire::ReceiptMessage {
        wire::ReceiptMessage {
            r#type: Some(wire::receipt_message::Type::Read as i32),
            timestamp: self.timestamps.clone(),
        }
    }
}

/// Somebody began or ended typing. Its time is that of the message itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Typing {
    /// Began.
    pub started: bool,
}

impl Typing {
    /// `signed` is the Content's own time, when it has one.
    pub(super) fn read(
        typing: &wire::TypingMessage,
        signed: Option<u64>,
    ) -> Result<Self, ContentError> {
        use wire::typing_message::Action;
        let timestamp = *required("TypingMessage.timestamp", &typing.timestamp)?;
        if signed.is_some_and(|signed| signed != timestamp) {
            return Err(ContentError::BadTimestamp("TypingMessage.timestamp"));
        }
        let action: Action = required_enum("TypingMessage.action", typing.action)?;
        Ok(Self {
            started: action == Action::Started,
        })
    }

    pub(super) fn write(self, timestamp_ms: u64) -> wire::TypingMessage {
        use wire::typing_message::Action;
        let action = if self.started {
            Action::Started
        } else {
            Action::Stopped
        };
        wire::TypingMessage {
            timestamp: Some(timestamp_ms),
            action: Some(action as i32),
        }
    }
}

/// A message is to be deleted for everyone, or, sent to oneself, on all own devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsend {
    /// Sent timestamp of the message, ms.
    pub timestamp: u64,
    /// Author of the message.
    pub author: AccountId,
}

impl Unsend {
    pub(super) fn read(unsend: &wire::UnsendRequest) -> Result<Self, ContentError> {
        let timestamp = *required("UnsendRequest.timestamp", &unsend.timestamp)?;
        let author = required("UnsendRequest.author", &unsend.author)?;
        Ok(Self {
            timestamp: time("UnsendRequest.timestamp", timestamp)?,
            author: author
                .parse()
                .map_err(|_| ContentError::BadAuthor("UnsendRequest.author"))?,
        })
    }

    pub(super) fn write(self) -> wire::UnsendRequest {
        wire::UnsendRequest {
            timestamp: Some(self.timestamp),
            author: Some(self.author.to_string()),
        }
    }
}

/// Something of ours was saved elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataExtraction {
    /// A screenshot, which nobody tells about any more; otherwise a file was saved.
    pub screenshot: bool,
    /// Sent timestamp of the message with the file, ms.
    pub timestamp: Option<u64>,
}

impl DataExtraction {
    pub(super) fn read(notice: &wire::DataExtractionNotification) -> Result<Self, ContentError> {
        use wire::data_extraction_notification::Type;
        let kind: Type = required_enum("DataExtractionNotification.type", notice.r#type)?;
        Ok(Self {
            screenshot: kind == Type::Screenshot,
            timestamp: notice.timestamp.filter(|ms| is_time(*ms)),
        })
    }

    pub(super) fn write(self) -> wire::DataExtractionNotification {
        use wire::data_extraction_notification::Type;
        let kind = if self.screenshot {
            Type::Screenshot
        } else {
            Type::MediaSaved
        };
        wire::DataExtractionNotification {
            r#type: Some(kind as i32),
            timestamp: self.timestamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_name_each_message_once() {
        let receipt = |kind, timestamp: &[u64]| {
            ReadReceipt::read(&wire::ReceiptMessage {
                r#type: Some(kind),
                timestamp: timestamp.to_vec(),
            })
        };
        let read = receipt(1, &[5, 0, 3, 5, 1 << 53]).unwrap();
        assert_eq!(read.timestamps, [3, 5]);
        let many: Vec<u64> = (1..30_000).collect();
        assert_eq!(receipt(1, &many).unwrap().timestamps.len(), MAX_RECEIPT);
        assert_eq!(receipt(1, &[]).unwrap_err().reason(), "BAD_TIMESTAMP");
        assert_eq!(receipt(0, &[1]).unwrap_err().reason(), "OBSOLETE");
        assert_eq!(receipt(2, &[1]).unwrap_err().reason(), "MISSING_FIELD");
    }

    #[test]
    fn typing_has_the_time_of_its_message() {
        let typing = |signed| {
            let message = wire::TypingMessage {
                timestamp: Some(7),
                action: Some(1),
            };
            Typing::read(&message, signed)
        };
        assert_eq!(typing(Some(7)), Ok(Typing { started: false }));
        assert!(typing(None).is_ok());
        assert_eq!(typing(Some(8)).unwrap_err().reason(), "BAD_TIMESTAMP");
    }

    #[test]
    fn unsend_names_a_message_of_an_account() {
        let unsend = |timestamp, author: &str| {
            Unsend::read(&wire::UnsendRequest {
                timestamp: Some(timestamp),
                author: Some(author.into()),
            })
        };
        let author = AccountId::from_x25519([1; 32]).to_string();
        assert!(unsend(1, &author).is_ok());
        assert_eq!(unsend(0, &author).unwrap_err().reason(), "BAD_TIMESTAMP");
        let group = author.replacen("05", "03", 1);
        assert_eq!(unsend(1, &group).unwrap_err().reason(), "BAD_AUTHOR");
    }
}
