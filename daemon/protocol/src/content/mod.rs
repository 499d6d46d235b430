//! What a message says: reads and writes the Contents of all kinds, one module for each family.
//!
//! Promises: [`read`] gives a kind only for a Content whose submessages have all fields that the network calls
//! required, since official clients refuse the whole Content otherwise. What it gives is bounded by the size of the
//! Content and by the limits named here. What [`Kind::write`] writes, [`read`] reads as the same kind. Whether the
//! sender may send that kind, to which message it applies and what it does, is the caller's matter.
//!
//! Facts: messages.md 3.6 and 4 (required fields), 5.9 (order of kinds), 6 (kinds), 11 (refusals). Read here are
//! refusals 9, 12, 22 (the value), 23 (the flags), 24 and 25 (lengths), 27 (name, picture pair) and 29 to 31;
//! 10 and 11 are the Envelope's. All others need to know the sender or what is stored. A field that only communities
//! use, `blocksCommunityMessageRequests`, is not read yet.

pub mod attachment;
pub mod call;
pub mod control;
pub mod group_update;
pub mod mentions;
pub mod profile;
pub mod reaction;
pub mod visible;

mod error;
mod expiration;
mod pro;
mod write;

#[cfg(test)]
mod tests;

pub use attachment::{Attachment, FileKey};
pub use call::{Call, CallSignal, IceCandidate};
pub use control::{DataExtraction, ReadReceipt, Typing, Unsend};
pub use error::{ContentError, WriteError};
pub use expiration::{Expiration, ExpirationMode, Place};
pub use group_update::GroupUpdate;
pub use mentions::{mentions, mentions_account};
pub use pro::ProClaim;
pub use profile::{Picture, Profile};
pub use reaction::Reaction;
pub use visible::{Invitation, Preview, Quote, Visible};
pub use write::{Destination, Frame, TTL_CALL, TTL_CONTENT, TTL_TYPING, text};

pub(crate) use error::is_time;
use error::{required, required_enum};
use session_wire as wire;

use crate::identity::AccountId;

/// Most code points a body may have when it is sent.
pub const MAX_SENT_BODY: usize = 2_000;

/// Code points kept of a received body; what is behind them is cut off.
pub const MAX_RECEIVED_BODY: usize = 10_000;

/// Most bytes of a display name.
pub const MAX_NAME: usize = 100;

/// Bit of `DataMessage.flags` that makes it an expiration timer update.
const FLAG_EXPIRATION_TIMER_UPDATE: u32 = 2;

/// What a Content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message to be shown.
    Visible(Box<Visible>),
    /// A reaction to a message.
    Reaction(Reaction),
    /// The sender has read messages.
    ReadReceipt(ReadReceipt),
    /// The sender began or ended typing.
    Typing(Typing),
    /// A message is to be deleted.
    Unsend(Unsend),
    /// The sender accepts a message request.
    RequestResponse,
    /// The sender saved something.
    DataExtraction(DataExtraction),
    /// A signal of a call.
    Call(Call),
    /// The sender changed its timer to the one this message carries.
    ExpirationTimerUpdate,
    /// An update of a group, or an invitation to one.
    GroupUpdate(Box<GroupUpdate>),
}

impl Kind {
    /// Name in UPPER_SNAKE. Visible messages are named by the first they have of text, attachments, invitation.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Visible(visible) if !visible.body.trim().is_empty() => "TEXT",
            Self::Visible(visible) if !visible.attachments.is_empty() => "ATTACHMENTS",
            Self::Visible(_) => "COMMUNITY_INVITATION",
            Self::Reaction(_) => "REACTION",
            Self::ReadReceipt(_) => "READ_RECEIPT",
            Self::Typing(_) => "TYPING",
            Self::Unsend(_) => "UNSEND",
            Self::RequestResponse => "REQUEST_RESPONSE",
            Self::DataExtraction(_) => "DATA_EXTRACTION",
            Self::Call(_) => "CALL",
            Self::ExpirationTimerUpdate => "EXPIRATION_TIMER_UPDATE",
            Self::GroupUpdate(_) => "GROUP_UPDATE",
        }
    }

    /// Whether it may create the conversation with its sender (messages.md 6.1). Invitations to groups, which create
    /// the group's, do not.
    pub fn creates_conversation(&self) -> bool {
        match self {
            Self::Visible(_) | Self::RequestResponse => true,
            Self::Call(call) => call.rings(),
            _ => false,
        }
    }
}

/// A Content that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What it is.
    pub kind: Kind,
    /// Whom the own account sent it to; only believable from oneself.
    pub sync_target: Option<AccountId>,
    /// The sender's profile, where the kind may carry one.
    pub profile: Option<Profile>,
    /// The Content's own time, ms. Older senders have none.
    pub signed_timestamp: Option<u64>,
    /// What the sender claims to have paid for.
    pub pro: Option<ProClaim>,
    /// Further kinds in the same Content, which are ignored. Official clients never write any.
    pub ignored_kinds: usize,
    fields: expiration::Fields,
}

impl Read {
    /// The timer by which this message itself goes, or for an expiration timer update the new setting. `None` for
    /// kinds that carry none, and for reactions: they go with their message.
    pub fn expiration(&self, place: Place) -> Option<Expiration> {
        if matches!(self.kind, Kind::Reaction(_)) {
            return None;
        }
        self.kind.expiration_on_wire(self.fields.normalised(place))
    }
}

/// The timer of a Content of which nothing else is understood.
pub fn expiration_alone(content: &wire::Content, place: Place) -> Option<Expiration> {
    expiration::Fields::of(content).normalised(place)
}

/// Reads a Content: the first kind present in the project's order of messages.md 5.9.
pub fn read(content: &wire::Content) -> Result<Read, ContentError> {
    check_required(content)?;
    let data = content.data_message.as_ref();
    let signed_timestamp = content.sig_timestamp.filter(|ms| *ms != 0);
    let kind = kind_of(content, signed_timestamp)?;
    Ok(Read {
        sync_target: sync_target(data)?,
        profile: profile_of(&kind, content),
        signed_timestamp,
        pro: ProClaim::read(content.pro_message.as_deref()),
        ignored_kinds: submessages(content).saturating_sub(1),
        fields: expiration::Fields::of(content),
        kind,
    })
}

fn kind_of(content: &wire::Content, signed: Option<u64>) -> Result<Kind, ContentError> {
    let data = content.data_message.as_ref();
    let flags = data.and_then(|data| data.flags).unwrap_or(0);
    if let Some(receipt) = &content.receipt_message {
        return ReadReceipt::read(receipt).map(Kind::ReadReceipt);
    }
    if let Some(typing) = &content.typing_message {
        return Typing::read(typing, signed).map(Kind::Typing);
    }
    if let Some(update) = data.and_then(|data| data.group_update_message.as_ref()) {
        return GroupUpdate::read(update).map(|update| Kind::GroupUpdate(Box::new(update)));
    }
    if let Some(notice) = &content.data_extraction_notification {
        return DataExtraction::read(notice).map(Kind::DataExtraction);
    }
    if flags & FLAG_EXPIRATION_TIMER_UPDATE != 0 {
        if flags != FLAG_EXPIRATION_TIMER_UPDATE {
            return Err(ContentError::BadFlags);
        }
        if expiration::Fields::of(content).absent() {
            return Err(ContentError::MissingField("Content.expirationTimer"));
        }
        return Ok(Kind::ExpirationTimerUpdate);
    }
    if let Some(unsend) = &content.unsend_request {
        return Unsend::read(unsend).map(Kind::Unsend);
    }
    if let Some(response) = &content.message_request_response {
        return if response.is_approved == Some(true) {
            Ok(Kind::RequestResponse)
        } else {
            Err(ContentError::NotApproved)
        };
    }
    if let Some(call) = &content.call_message {
        return Call::read(call).map(Kind::Call);
    }
    match (data, &content.shared_config_message) {
        (Some(data), _) => match &data.reaction {
            Some(reaction) => Reaction::read(reaction).map(Kind::Reaction),
            None => Visible::read(data).map(|visible| Kind::Visible(Box::new(visible))),
        },
        (None, Some(_)) => Err(ContentError::Obsolete("a config message")),
        (None, None) => Err(ContentError::NoKind),
    }
}

fn sync_target(data: Option<&wire::DataMessage>) -> Result<Option<AccountId>, ContentError> {
    data.and_then(|data| data.sync_target.as_deref())
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().map_err(|_| ContentError::BadSyncTarget))
        .transpose()
}

fn profile_of(kind: &Kind, content: &wire::Content) -> Option<Profile> {
    let carries = match kind {
        Kind::Visible(_) | Kind::Reaction(_) => true,
        Kind::GroupUpdate(update) => matches!(**update, GroupUpdate::InviteResponse { .. }),
        Kind::RequestResponse => {
            let response = content.message_request_response.as_ref()?;
            return Profile::read(response.profile.as_ref(), response.profile_key.as_deref());
        }
        _ => false,
    };
    let data = content.data_message.as_ref().filter(|_| carries)?;
    Profile::read(data.profile.as_ref(), data.profile_key.as_deref())
}

/// How many submessages that could be a kind are there.
fn submessages(content: &wire::Content) -> usize {
    [
        content.data_message.is_some(),
        content.call_message.is_some(),
        content.receipt_message.is_some(),
        content.typing_message.is_some(),
        content.data_extraction_notification.is_some(),
        content.unsend_request.is_some(),
        content.message_request_response.is_some(),
    ]
    .into_iter()
    .map(usize::from)
    .sum()
}

/// Required fields of every submessage that is there.
fn check_required(content: &wire::Content) -> Result<(), ContentError> {
    if let Some(data) = &content.data_message {
        check_data(data)?;
    }
    if let Some(call) = &content.call_message {
        required_enum::<wire::call_message::Type>("CallMessage.type", call.r#type)?;
        required("CallMessage.uuid", &call.uuid)?;
    }
    if let Some(receipt) = &content.receipt_message {
        required_enum::<wire::receipt_message::Type>("ReceiptMessage.type", receipt.r#type)?;
    }
    if let Some(typing) = &content.typing_message {
        required("TypingMessage.timestamp", &typing.timestamp)?;
        required_enum::<wire::typing_message::Action>("TypingMessage.action", typing.action)?;
    }
    if let Some(extraction) = &content.data_extraction_notification {
        required_enum::<wire::data_extraction_notification::Type>(
            "DataExtractionNotification.type",
            extraction.r#type,
        )?;
    }
    if let Some(unsend) = &content.unsend_request {
        required("UnsendRequest.timestamp", &unsend.timestamp)?;
        required("UnsendRequest.author", &unsend.author)?;
    }
    if let Some(response) = &content.message_request_response {
        required("MessageRequestResponse.isApproved", &response.is_approved)?;
    }
    Ok(())
}

fn check_data(data: &wire::DataMessage) -> Result<(), ContentError> {
    let images = data
        .preview
        .iter()
        .filter_map(|preview| preview.image.as_ref());
    for attachment in data.attachments.iter().chain(images) {
        required("AttachmentPointer.id", &attachment.id)?;
    }
    if let Some(quote) = &data.quote {
        required("Quote.id", &quote.id)?;
        required("Quote.author", &quote.author)?;
    }
    for preview in &data.preview {
        required("Preview.url", &preview.url)?;
    }
    if let Some(reaction) = &data.reaction {
        required("Reaction.id", &reaction.id)?;
        required("Reaction.author", &reaction.author)?;
        required_enum::<wire::data_message::reaction::Action>("Reaction.action", reaction.action)?;
    }
    if let Some(invitation) = &data.community_invitation {
        required("CommunityInvitation.url", &invitation.url)?;
        required("CommunityInvitation.name", &invitation.name)?;
    }
    if let Some(update) = &data.group_update_message {
        group_update::check_required(update)?;
    }
    Ok(())
}
