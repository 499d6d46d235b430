//! What a message says: writes the Content of a text, and tells the kinds of received Contents apart.
//!
//! Promises: [`kind`] gives a kind only for a Content whose submessages have all fields that the network calls
//! required, since official clients refuse the whole Content otherwise. Whether the sender may send that kind,
//! and what it does, is the caller's matter.
//!
//! Facts: messages.md 3.6 and 4 (required fields), 5.6 (sync copies), 5.9 (order of kinds), 6.1 and 6.2 (text),
//! 6.13 (profile), 7.3 (expiration fields), 11 (refusals).

use prost::Message as _;
use session_wire as wire;

use crate::identity::AccountId;
use wire::data_message::{CommunityInvitation, Preview};

/// Most code points a body may have when it is sent.
pub const MAX_SENT_BODY: usize = 2_000;

/// Code points kept of a received body; what is behind them is cut off.
pub const MAX_RECEIVED_BODY: usize = 10_000;

/// Most bytes of a display name.
pub const MAX_NAME: usize = 100;

/// Attachments looked at; further ones are ignored.
const MAX_ATTACHMENTS: usize = 32;

/// Bit of `DataMessage.flags` that makes it an expiration timer update.
const FLAG_EXPIRATION_TIMER_UPDATE: u32 = 2;

/// What a Content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A visible message with text.
    Text {
        /// At most [`MAX_RECEIVED_BODY`] code points, not blank.
        body: String,
        /// Whom the own account sent it to; only believable from oneself.
        sync_target: Option<AccountId>,
        /// The sender's display name: trimmed, 1 to [`MAX_NAME`] bytes.
        sender_name: Option<String>,
        /// It also carries attachments, a quote, a preview or an invitation, which this version does not read.
        unsupported_parts: bool,
    },
    /// Another kind, which this version only recognises.
    Unsupported {
        /// Name in UPPER_SNAKE.
        kind: &'static str,
        /// As for a text.
        sync_target: Option<AccountId>,
        /// Whether it may create the conversation with its sender. Invitations to groups, which create the
        /// group's, do not.
        creates_conversation: bool,
    },
}

/// Why a Content is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// No known kind is in it.
    #[error("content carries no known kind")]
    NoKind,
    /// A required field is missing, or is an enum with an unknown value, which counts as missing.
    #[error("required field {0} is missing or unknown")]
    MissingField(&'static str),
    /// A visible message without anything to show.
    #[error("visible message has nothing to show")]
    NothingToShow,
    /// `syncTarget` is no account ID.
    #[error("sync target is no account ID")]
    BadSyncTarget,
    /// Flags beside that of an expiration timer update.
    #[error("flags contradict each other")]
    BadFlags,
    /// A message request response that does not approve.
    #[error("message request response does not approve")]
    NotApproved,
}

impl ContentError {
    /// Short UPPER_SNAKE name, for counters and the quarantine.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoKind => "NO_KIND",
            Self::MissingField(_) => "MISSING_FIELD",
            Self::NothingToShow => "NOTHING_TO_SHOW",
            Self::BadSyncTarget => "BAD_SYNC_TARGET",
            Self::BadFlags => "BAD_FLAGS",
            Self::NotApproved => "NOT_APPROVED",
        }
    }
}

/// Serialised Content of a text in a conversation without disappearing messages.
///
/// `timestamp_ms` is the sent timestamp and must be the Envelope's. With `sync_target` it is the copy for the own
/// swarm (in note to self: the message itself, with the own ID); such a copy leaves `profile`, the own display
/// name, out. The caller holds to [`MAX_SENT_BODY`] and [`MAX_NAME`].
pub fn text(
    body: &str,
    timestamp_ms: u64,
    sync_target: Option<&AccountId>,
    profile: Option<&str>,
) -> Vec<u8> {
    let profile = match sync_target {
        Some(_) => None,
        None => profile.map(|name| wire::LokiProfile {
            display_name: Some(name.to_owned()),
            ..Default::default()
        }),
    };
    let content = wire::Content {
        data_message: Some(wire::DataMessage {
            body: Some(body.to_owned()),
            profile,
            sync_target: sync_target.map(ToString::to_string),
            ..Default::default()
        }),
        // Written although off, as current clients do (messages.md 7.3).
        expiration_type: Some(wire::content::ExpirationType::Unknown as i32),
        expiration_timer: Some(0),
        sig_timestamp: Some(timestamp_ms),
        ..Default::default()
    };
    content.encode_to_vec()
}

/// The kind of a Content: the first present in the project's order of messages.md 5.9; the rest is ignored.
pub fn kind(content: &wire::Content) -> Result<Kind, ContentError> {
    check_required(content)?;
    let data = content.data_message.as_ref();
    let flags = data.and_then(|data| data.flags).unwrap_or(0);
    let sync_target = sync_target(data)?;
    let unsupported = |kind, creates_conversation| {
        Ok(Kind::Unsupported {
            kind,
            sync_target,
            creates_conversation,
        })
    };
    if content.receipt_message.is_some() {
        return unsupported("READ_RECEIPT", false);
    }
    if content.typing_message.is_some() {
        return unsupported("TYPING", false);
    }
    if data.is_some_and(|data| data.group_update_message.is_some()) {
        return unsupported("GROUP_UPDATE", false);
    }
    if content.data_extraction_notification.is_some() {
        return unsupported("DATA_EXTRACTION", false);
    }
    if flags & FLAG_EXPIRATION_TIMER_UPDATE != 0 {
        return if flags == FLAG_EXPIRATION_TIMER_UPDATE {
            unsupported("EXPIRATION_TIMER_UPDATE", false)
        } else {
            Err(ContentError::BadFlags)
        };
    }
    if content.unsend_request.is_some() {
        return unsupported("UNSEND", false);
    }
    if let Some(response) = &content.message_request_response {
        return if response.is_approved == Some(true) {
            unsupported("REQUEST_RESPONSE", true)
        } else {
            Err(ContentError::NotApproved)
        };
    }
    if let Some(call) = &content.call_message {
        use wire::call_message::Type;
        let rings = matches!(call.r#type(), Type::PreOffer | Type::Offer);
        return unsupported("CALL", rings);
    }
    let data = data.ok_or(ContentError::NoKind)?;
    if data.reaction.is_some() {
        return unsupported("REACTION", false);
    }
    let body = cut(data.body.as_deref().unwrap_or_default());
    let attachments = data.attachments.iter().take(MAX_ATTACHMENTS).any(is_usable);
    let invitation = data.community_invitation.as_ref().is_some_and(is_complete);
    if body.trim().is_empty() {
        return match (attachments, invitation) {
            (true, _) => unsupported("ATTACHMENTS", true),
            (_, true) => unsupported("COMMUNITY_INVITATION", true),
            _ => Err(ContentError::NothingToShow),
        };
    }
    let preview = data
        .preview
        .first()
        .is_some_and(|preview| is_shown(preview, body));
    Ok(Kind::Text {
        body: body.to_owned(),
        sync_target,
        sender_name: data.profile.as_ref().and_then(display_name),
        unsupported_parts: attachments || invitation || preview || data.quote.is_some(),
    })
}

fn sync_target(data: Option<&wire::DataMessage>) -> Result<Option<AccountId>, ContentError> {
    data.and_then(|data| data.sync_target.as_deref())
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().map_err(|_| ContentError::BadSyncTarget))
        .transpose()
}

/// The first [`MAX_RECEIVED_BODY`] code points.
fn cut(body: &str) -> &str {
    match body.char_indices().nth(MAX_RECEIVED_BODY) {
        Some((end, _)) => &body[..end],
        None => body,
    }
}

fn display_name(profile: &wire::LokiProfile) -> Option<String> {
    let name = profile.display_name.as_deref()?.trim();
    let end = name.floor_char_boundary(MAX_NAME);
    let name = name[..end].trim_end();
    (!name.is_empty()).then(|| name.to_owned())
}

fn is_usable(attachment: &wire::AttachmentPointer) -> bool {
    let has_url = attachment.url.as_ref().is_some_and(|url| !url.is_empty());
    let key_length = attachment.key.as_ref().map_or(0, Vec::len);
    has_url && (key_length == 32 || key_length == 64)
}

fn is_complete(invitation: &CommunityInvitation) -> bool {
    let present = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    present(&invitation.url) && present(&invitation.name)
}

fn is_shown(preview: &Preview, body: &str) -> bool {
    preview.url.as_deref().is_some_and(|url| {
        url.starts_with("https://")
            && body.contains(url)
            && (preview.title.is_some() || preview.image.is_some())
    })
}

/// Required fields of every submessage that is there. Group updates are not looked into.
fn check_required(content: &wire::Content) -> Result<(), ContentError> {
    if let Some(data) = &content.data_message {
        check_data(data)?;
    }
    if let Some(call) = &content.call_message {
        known::<wire::call_message::Type>("CallMessage.type", call.r#type)?;
        present("CallMessage.uuid", &call.uuid)?;
    }
    if let Some(receipt) = &content.receipt_message {
        known::<wire::receipt_message::Type>("ReceiptMessage.type", receipt.r#type)?;
    }
    if let Some(typing) = &content.typing_message {
        present("TypingMessage.timestamp", &typing.timestamp)?;
        known::<wire::typing_message::Action>("TypingMessage.action", typing.action)?;
    }
    if let Some(extraction) = &content.data_extraction_notification {
        known::<wire::data_extraction_notification::Type>(
            "DataExtractionNotification.type",
            extraction.r#type,
        )?;
    }
    if let Some(unsend) = &content.unsend_request {
        present("UnsendRequest.timestamp", &unsend.timestamp)?;
        present("UnsendRequest.author", &unsend.author)?;
    }
    if let Some(response) = &content.message_request_response {
        present("MessageRequestResponse.isApproved", &response.is_approved)?;
    }
    Ok(())
}

fn check_data(data: &wire::DataMessage) -> Result<(), ContentError> {
    let images = data
        .preview
        .iter()
        .filter_map(|preview| preview.image.as_ref());
    for attachment in data.attachments.iter().chain(images) {
        present("AttachmentPointer.id", &attachment.id)?;
    }
    if let Some(quote) = &data.quote {
        present("Quote.id", &quote.id)?;
        present("Quote.author", &quote.author)?;
    }
    for preview in &data.preview {
        present("Preview.url", &preview.url)?;
    }
    if let Some(reaction) = &data.reaction {
        present("Reaction.id", &reaction.id)?;
        present("Reaction.author", &reaction.author)?;
        known::<wire::data_message::reaction::Action>("Reaction.action", reaction.action)?;
    }
    if let Some(invitation) = &data.community_invitation {
        present("CommunityInvitation.url", &invitation.url)?;
        present("CommunityInvitation.name", &invitation.name)?;
    }
    Ok(())
}

fn present<T>(name: &'static str, field: &Option<T>) -> Result<(), ContentError> {
    match field {
        Some(_) => Ok(()),
        None => Err(ContentError::MissingField(name)),
    }
}

fn known<E: TryFrom<i32>>(name: &'static str, field: Option<i32>) -> Result<(), ContentError> {
    field
        .and_then(|number| E::try_from(number).ok())
        .map(|_| ())
        .ok_or(ContentError::MissingField(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{AccountKeys, AccountSeed};
    use proptest::prelude::*;

    fn id() -> AccountId {
        AccountKeys::from_seed(&AccountSeed::from_bytes([7; 16])).account_id()
    }

    fn parse(bytes: &[u8]) -> wire::Content {
        wire::Content::decode(bytes).unwrap()
    }

    fn data(data: wire::DataMessage) -> wire::Content {
        wire::Content {
            data_message: Some(data),
            ..Default::default()
        }
    }

    fn with_body(body: &str) -> wire::DataMessage {
        wire::DataMessage {
            body: Some(body.into()),
            ..Default::default()
        }
    }

    proptest! {
        #[test]
        fn every_text_survives(body in "\\PC{0,40}", name in prop::option::of("\\PC{1,20}"), time: u64) {
            let content = parse(&text(&body, time, None, name.as_deref()));
            prop_assert_eq!(content.sig_timestamp, Some(time));
            match kind(&content) {
                Ok(Kind::Text { body: read, sender_name, .. }) => {
                    prop_assert_eq!(read, body);
                    let name = name.map(|name| name.trim().to_owned());
                    prop_assert_eq!(sender_name, name.filter(|name| !name.is_empty()));
                }
                other => {
                    prop_assert_eq!(other, Err(ContentError::NothingToShow));
                    prop_assert!(body.trim().is_empty());
                }
            }
        }
    }

    #[test]
    fn text_reads_back_and_carries_all_fields() {
        let content = parse(&text("Hi", 1_760_000_000_000, None, Some("Ann")));
        assert_eq!(content.sig_timestamp, Some(1_760_000_000_000));
        assert_eq!(content.expiration_type, Some(0));
        assert_eq!(content.expiration_timer, Some(0));
        let expected = Kind::Text {
            body: "Hi".into(),
            sync_target: None,
            sender_name: Some("Ann".into()),
            unsupported_parts: false,
        };
        assert!(kind(&content) == Ok(expected));
    }

    #[test]
    fn a_sync_copy_names_its_target_and_leaves_the_profile_out() {
        let content = parse(&text("Hi", 1, Some(&id()), Some("Ann")));
        let data = content.data_message.as_ref().unwrap();
        assert_eq!(data.sync_target, Some(id().to_string()));
        assert_eq!(data.profile, None);
        assert!(
            matches!(kind(&content), Ok(Kind::Text { sync_target: Some(target), .. }) if target == id())
        );
    }

    #[test]
    fn kinds_come_in_the_projects_order() {
        let mut content = wire::Content {
            data_message: Some(wire::DataMessage {
                flags: Some(2),
                ..with_body("x")
            }),
            receipt_message: Some(wire::ReceiptMessage {
                r#type: Some(1),
                timestamp: vec![1],
            }),
            typing_message: Some(wire::TypingMessage {
                timestamp: Some(1),
                action: Some(0),
            }),
            data_extraction_notification: Some(wire::DataExtractionNotification {
                r#type: Some(2),
                timestamp: None,
            }),
            unsend_request: Some(wire::UnsendRequest {
                timestamp: Some(1),
                author: Some(id().to_string()),
            }),
            message_request_response: Some(wire::MessageRequestResponse {
                is_approved: Some(true),
                ..Default::default()
            }),
            call_message: Some(wire::CallMessage {
                r#type: Some(6),
                uuid: Some("u".into()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut seen = Vec::new();
        loop {
            match kind(&content).map_err(ContentError::reason) {
                Ok(Kind::Unsupported { kind, .. }) => {
                    seen.push(kind);
                    match kind {
                        "READ_RECEIPT" => content.receipt_message = None,
                        "TYPING" => content.typing_message = None,
                        "DATA_EXTRACTION" => content.data_extraction_notification = None,
                        "EXPIRATION_TIMER_UPDATE" => {
                            content.data_message.as_mut().unwrap().flags = None;
                        }
                        "UNSEND" => content.unsend_request = None,
                        "REQUEST_RESPONSE" => content.message_request_response = None,
                        "CALL" => content.call_message = None,
                        other => panic!("{other}"),
                    }
                }
                Ok(Kind::Text { .. }) => break,
                Err(reason) => panic!("{reason}"),
            }
        }
        assert_eq!(
            seen,
            [
                "READ_RECEIPT",
                "TYPING",
                "DATA_EXTRACTION",
                "EXPIRATION_TIMER_UPDATE",
                "UNSEND",
                "REQUEST_RESPONSE",
                "CALL"
            ]
        );
    }

    #[test]
    fn what_has_nothing_to_show_is_refused() {
        for body in ["", " \n\t\u{a0}"] {
            assert!(kind(&data(with_body(body))) == Err(ContentError::NothingToShow));
        }
        assert!(kind(&wire::Content::default()) == Err(ContentError::NoKind));
    }

    #[test]
    fn missing_and_unknown_required_fields_are_refused() {
        let mut content = data(with_body("x"));
        content.typing_message = Some(wire::TypingMessage {
            timestamp: Some(1),
            action: Some(9),
        });
        assert!(kind(&content) == Err(ContentError::MissingField("TypingMessage.action")));
        let quote = wire::data_message::Quote {
            id: Some(1),
            author: None,
        };
        let content = data(wire::DataMessage {
            quote: Some(quote),
            ..with_body("x")
        });
        assert!(kind(&content) == Err(ContentError::MissingField("Quote.author")));
    }

    #[test]
    fn flags_beside_the_timer_flag_are_refused_and_others_ignored() {
        let flagged = |flags| {
            kind(&data(wire::DataMessage {
                flags: Some(flags),
                ..with_body("x")
            }))
        };
        assert!(flagged(3) == Err(ContentError::BadFlags));
        assert!(matches!(flagged(4), Ok(Kind::Text { .. })));
    }

    #[test]
    fn long_bodies_and_names_are_cut_between_code_points() {
        let content = parse(&text(&"é".repeat(10_001), 1, None, Some(&"é".repeat(51))));
        let Ok(Kind::Text {
            body, sender_name, ..
        }) = kind(&content)
        else {
            panic!("no text")
        };
        assert_eq!(body.chars().count(), MAX_RECEIVED_BODY);
        assert_eq!(sender_name, Some("é".repeat(50)));
    }

    #[test]
    fn parts_this_version_does_not_read_are_told() {
        let attachment = wire::AttachmentPointer {
            id: Some(0),
            key: Some(vec![0; 32]),
            url: Some("http://f/1".into()),
            ..Default::default()
        };
        let mut message = wire::DataMessage {
            attachments: vec![attachment],
            ..with_body("see")
        };
        assert!(matches!(
            kind(&data(message.clone())),
            Ok(Kind::Text {
                unsupported_parts: true,
                ..
            })
        ));
        message.body = None;
        assert!(matches!(
            kind(&data(message.clone())),
            Ok(Kind::Unsupported {
                kind: "ATTACHMENTS",
                creates_conversation: true,
                ..
            })
        ));
        message.attachments[0].url = None;
        assert!(kind(&data(message)) == Err(ContentError::NothingToShow));
    }

    #[test]
    fn a_sync_target_must_be_an_account_id() {
        let content = data(wire::DataMessage {
            sync_target: Some("03".repeat(33)),
            ..with_body("x")
        });
        assert!(kind(&content) == Err(ContentError::BadSyncTarget));
    }
}
