//! Writing of Contents: for the recipient, and the copy for the own swarm.
//!
//! Promises: what is written reads back as the same kind; what a receiver would refuse is not written.
//!
//! Facts: messages.md 5.2 (times to live), 5.6 (sync copies), 6.13 (where a profile goes), 7.3 and 7.7 (expiration
//! fields).

use prost::Message as _;
use session_wire as wire;

use super::error::WriteError;
use super::{
    Expiration, ExpirationMode, FLAG_EXPIRATION_TIMER_UPDATE, GroupUpdate, Kind, MAX_SENT_BODY,
    Profile, Visible, expiration, read,
};
use crate::envelope::MAX_CONTENT;
use crate::identity::AccountId;

const SECOND: u64 = 1_000;

/// Time to live of what has no shorter one, ms; the longest that a swarm gives to messages.
pub const TTL_CONTENT: u64 = 14 * 24 * 3600 * SECOND;

/// Time to live of typing, ms.
pub const TTL_TYPING: u64 = 20 * SECOND;

/// Time to live of call signals, ms.
pub const TTL_CALL: u64 = 5 * 60 * SECOND;

/// Shortest time to live that a swarm gives, ms.
const TTL_MIN: u64 = 10 * SECOND;

/// What a Content carries whatever its kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame<'a> {
    /// Sent timestamp, ms; must be the Envelope's.
    pub timestamp_ms: u64,
    /// The conversation's timer; for an expiration timer update the new one. The kind decides what becomes of it.
    pub expiration: Option<Expiration>,
    /// The own profile. Goes with visible messages, reactions and answers to requests and invitations; never into a
    /// sync copy.
    pub profile: Option<&'a Profile>,
}

/// Where one of the two copies of a message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The recipient's swarm.
    Recipient,
    /// The own swarm. Note to self goes there alone.
    OwnSwarm,
}

/// Serialised Content of a text in a conversation without disappearing messages, unchecked: the caller holds to
/// [`MAX_SENT_BODY`]. With `sync_target` it is the copy for the own swarm, otherwise it has `name` as the own
/// display name.
pub fn text(
    body: &str,
    timestamp_ms: u64,
    sync_target: Option<&AccountId>,
    name: Option<&str>,
) -> Vec<u8> {
    let profile = name.map(|name| Profile {
        name: Some(name.to_owned()),
        ..Default::default()
    });
    let frame = Frame {
        timestamp_ms,
        expiration: None,
        profile: profile.as_ref().filter(|_| sync_target.is_none()),
    };
    let kind = Kind::Visible(Box::new(Visible::text(body)));
    kind.content(&frame, sync_target).encode_to_vec()
}

impl Kind {
    /// Serialised Content for the recipient.
    pub fn write(&self, frame: &Frame<'_>) -> Result<Vec<u8>, WriteError> {
        self.finish(self.content(frame, None))
    }

    /// Serialised Content for the own swarm, when this kind goes there. `target` is the recipient; in note to self it
    /// is the own account, and this is the message itself.
    pub fn write_sync_copy(
        &self,
        frame: &Frame<'_>,
        target: &AccountId,
    ) -> Result<Option<Vec<u8>>, WriteError> {
        if !self.is_synced() {
            return Ok(None);
        }
        let frame = Frame {
            profile: None,
            ..*frame
        };
        self.finish(self.content(&frame, Some(target))).map(Some)
    }

    /// Whether the other devices of the own account get a copy. A deletion on the own devices alone is an
    /// [`Kind::Unsend`] of which only this copy is sent.
    pub fn is_synced(&self) -> bool {
        match self {
            Self::Visible(_) | Self::Reaction(_) | Self::ExpirationTimerUpdate => true,
            Self::Unsend(_) => true,
            Self::Call(call) => call.is_synced(),
            Self::ReadReceipt(_)
            | Self::Typing(_)
            | Self::RequestResponse
            | Self::DataExtraction(_)
            | Self::GroupUpdate(_) => false,
        }
    }

    /// Time to live in the swarm, ms. `expiration` is the conversation's timer.
    pub fn ttl_ms(&self, expiration: Option<Expiration>, to: Destination) -> u64 {
        match self {
            Self::Typing(_) => return TTL_TYPING,
            Self::Call(_) => return TTL_CALL,
            _ => {}
        }
        match self.expiration_on_wire(expiration) {
            Some(Expiration { mode, timer_s })
                if self.goes_with_timer()
                    && (mode == ExpirationMode::AfterSend || to == Destination::OwnSwarm) =>
            {
                (u64::from(timer_s) * SECOND).clamp(TTL_MIN, TTL_CONTENT)
            }
            _ => TTL_CONTENT,
        }
    }

    /// The timer that this kind carries in a conversation with `setting`; the same on reading.
    pub(super) fn expiration_on_wire(&self, setting: Option<Expiration>) -> Option<Expiration> {
        match self {
            Self::Visible(_) | Self::Reaction(_) | Self::ExpirationTimerUpdate => setting,
            // So that the other side sees them.
            Self::Call(_) | Self::DataExtraction(_) => setting.map(|setting| Expiration {
                mode: ExpirationMode::AfterRead,
                ..setting
            }),
            Self::GroupUpdate(update) => setting.filter(|_| update.expires()),
            Self::ReadReceipt(_) | Self::Typing(_) | Self::Unsend(_) | Self::RequestResponse => {
                None
            }
        }
    }

    /// Whether the swarm drops it with its timer. Others live as long as a swarm allows, or have a time of their own.
    fn goes_with_timer(&self) -> bool {
        match self {
            Self::Visible(_) | Self::Reaction(_) | Self::ExpirationTimerUpdate => true,
            Self::GroupUpdate(update) => update.expires(),
            _ => false,
        }
    }

    fn content(&self, frame: &Frame<'_>, sync_target: Option<&AccountId>) -> wire::Content {
        let mut content = wire::Content {
            sig_timestamp: Some(frame.timestamp_ms),
            ..Default::default()
        };
        match self {
            Self::Visible(visible) => {
                content.data_message = Some(with_profile(visible.write(), frame.profile));
            }
            Self::Reaction(reaction) => {
                let data = wire::DataMessage {
                    reaction: Some(reaction.write()),
                    ..Default::default()
                };
                content.data_message = Some(with_profile(data, frame.profile));
            }
            Self::ExpirationTimerUpdate => {
                content.data_message = Some(wire::DataMessage {
                    flags: Some(FLAG_EXPIRATION_TIMER_UPDATE),
                    ..Default::default()
                });
            }
            Self::GroupUpdate(update) => {
                let data = wire::DataMessage {
                    group_update_message: Some(update.write()),
                    ..Default::default()
                };
                let joins = matches!(**update, GroupUpdate::InviteResponse { .. });
                let profile = frame.profile.filter(|_| joins);
                content.data_message = Some(with_profile(data, profile));
            }
            Self::ReadReceipt(receipt) => content.receipt_message = Some(receipt.write()),
            Self::Typing(typing) => {
                content.typing_message = Some(typing.write(frame.timestamp_ms));
            }
            Self::Unsend(unsend) => content.unsend_request = Some(unsend.write()),
            Self::DataExtraction(notice) => {
                content.data_extraction_notification = Some(notice.write());
            }
            Self::Call(call) => content.call_message = Some(call.write()),
            Self::RequestResponse => {
                let (profile, profile_key) = frame.profile.map(Profile::write).unzip();
                content.message_request_response = Some(wire::MessageRequestResponse {
                    is_approved: Some(true),
                    profile_key: profile_key.flatten(),
                    profile,
                });
            }
        }
        if let Some(data) = &mut content.data_message {
            data.sync_target = sync_target.map(ToString::to_string);
        }
        let bare = matches!(
            self,
            Self::ReadReceipt(_) | Self::Typing(_) | Self::Unsend(_) | Self::RequestResponse
        );
        if !bare {
            expiration::write(self.expiration_on_wire(frame.expiration), &mut content);
        }
        content
    }

    fn finish(&self, content: wire::Content) -> Result<Vec<u8>, WriteError> {
        if let Self::Visible(visible) = self {
            let length = visible.body.chars().count();
            if length > MAX_SENT_BODY {
                return Err(WriteError::BodyTooLong(length));
            }
        }
        read(&content)?;
        let bytes = content.encode_to_vec();
        if bytes.len() > MAX_CONTENT {
            return Err(WriteError::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }
}

fn with_profile(mut data: wire::DataMessage, profile: Option<&Profile>) -> wire::DataMessage {
    if let Some(profile) = profile {
        let (profile, key) = profile.write();
        data.profile = Some(profile);
        data.profile_key = key;
    }
    data
}
