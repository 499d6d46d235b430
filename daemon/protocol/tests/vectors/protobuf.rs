//! Contents of every kind: fields and exact bytes by the reference implementation of protobuf.

use prost::Message as _;
use session_protocol::content;
use session_wire as wire;
use wire::data_message as data;
use wire::group_update_message as update;

use crate::support::{Case, Report};

pub fn check(case: &Case<'_>, report: &mut Report) {
    assert_eq!(case.kind(), None, "unknown type");
    assert_eq!(case.text("message"), "Content");
    let (name, bytes) = (case.text("name"), case.bytes("bytes"));
    let decoded = wire::Content::decode(bytes.as_slice());
    if case.get("parses").is_some() {
        assert_eq!(decoded.is_ok(), case.flag("parses"));
        return report.pass();
    }
    let decoded = decoded.expect("a content");
    let expected = self::content(&case.object("fields"));
    assert_eq!(decoded, expected);
    // An unknown field is not kept.
    if name != "unknown_fields" {
        assert_eq!(hex::encode(expected.encode_to_vec()), case.text("bytes"));
    }
    let read = content::read(&decoded);
    let kind = read.map_or_else(|error| error.reason(), |read| read.kind.name());
    assert_eq!(kind, expected_kind(name));
    report.pass();
}

/// What the project makes of a case or of a Content in another file; by its name.
pub fn expected_kind(name: &str) -> &'static str {
    const KINDS: [(&str, &str); 19] = [
        ("text_1", "NOTHING_TO_SHOW"),
        ("text_", "TEXT"),
        ("quote", "TEXT"),
        ("link_preview", "TEXT"),
        ("sync_message", "TEXT"),
        ("pro_message", "TEXT"),
        ("unknown_fields", "TEXT"),
        ("attachments", "ATTACHMENTS"),
        ("community_invitation", "COMMUNITY_INVITATION"),
        ("expiration_timer_", "EXPIRATION_TIMER_UPDATE"),
        ("reaction_", "REACTION"),
        ("read_receipt", "READ_RECEIPT"),
        ("typing_", "TYPING"),
        ("unsend", "UNSEND"),
        ("message_request_response", "REQUEST_RESPONSE"),
        ("screenshot", "DATA_EXTRACTION"),
        ("media_saved", "DATA_EXTRACTION"),
        ("call_", "CALL"),
        ("group_", "GROUP_UPDATE"),
    ];
    let kind = KINDS.iter().find(|(prefix, _)| name.starts_with(prefix));
    kind.unwrap_or_else(|| panic!("unknown kind {name}")).1
}

fn text(case: &Case<'_>, name: &str) -> Option<String> {
    case.get(name).map(|_| case.text(name).to_owned())
}

fn number(case: &Case<'_>, name: &str) -> Option<u64> {
    case.get(name).map(|_| case.number(name))
}

fn small(case: &Case<'_>, name: &str) -> Option<u32> {
    number(case, name).map(|number| number.try_into().expect("32 bits"))
}

fn flag(case: &Case<'_>, name: &str) -> Option<bool> {
    case.get(name).map(|_| case.flag(name))
}

fn bytes(case: &Case<'_>, name: &str) -> Option<Vec<u8>> {
    part(case, name, |bytes| bytes.bytes("hex"))
}

fn enumeration<E: Into<i32>>(
    case: &Case<'_>,
    name: &str,
    by_name: impl Fn(&str) -> Option<E>,
) -> Option<i32> {
    case.get(name)
        .map(|_| by_name(case.text(name)).expect("a known name").into())
}

fn part<T>(case: &Case<'_>, name: &str, read: impl Fn(&Case<'_>) -> T) -> Option<T> {
    case.get(name).map(|_| read(&case.object(name)))
}

fn parts<T>(case: &Case<'_>, name: &str, read: impl Fn(&Case<'_>) -> T) -> Vec<T> {
    match case.get(name) {
        Some(_) => case.list(name).map(|item| read(&item)).collect(),
        None => vec![],
    }
}

fn texts(case: &Case<'_>, name: &str) -> Vec<String> {
    parts(case, name, |item| item.as_text().to_owned())
}

fn numbers(case: &Case<'_>, name: &str) -> Vec<u64> {
    parts(case, name, |item| item.0.as_u64().expect("a number"))
}

fn content(case: &Case<'_>) -> wire::Content {
    wire::Content {
        data_message: part(case, "dataMessage", data_message),
        call_message: part(case, "callMessage", |call| wire::CallMessage {
            r#type: enumeration(call, "type", wire::call_message::Type::from_str_name),
            sdps: texts(call, "sdps"),
            sdp_m_line_indexes: numbers(call, "sdpMLineIndexes")
                .into_iter()
                .map(|index| index.try_into().expect("32 bits"))
                .collect(),
            sdp_mids: texts(call, "sdpMids"),
            uuid: text(call, "uuid"),
        }),
        receipt_message: part(case, "receiptMessage", |receipt| wire::ReceiptMessage {
            r#type: enumeration(receipt, "type", wire::receipt_message::Type::from_str_name),
            timestamp: numbers(receipt, "timestamp"),
        }),
        typing_message: part(case, "typingMessage", |typing| wire::TypingMessage {
            timestamp: number(typing, "timestamp"),
            action: enumeration(
                typing,
                "action",
                wire::typing_message::Action::from_str_name,
            ),
        }),
        data_extraction_notification: part(case, "dataExtractionNotification", |notice| {
            use wire::data_extraction_notification::Type;
            wire::DataExtractionNotification {
                r#type: enumeration(notice, "type", Type::from_str_name),
                timestamp: number(notice, "timestamp"),
            }
        }),
        unsend_request: part(case, "unsendRequest", |unsend| wire::UnsendRequest {
            timestamp: number(unsend, "timestamp"),
            author: text(unsend, "author"),
        }),
        message_request_response: part(case, "messageRequestResponse", |response| {
            wire::MessageRequestResponse {
                is_approved: flag(response, "isApproved"),
                profile_key: bytes(response, "profileKey"),
                profile: part(response, "profile", profile),
            }
        }),
        shared_config_message: None,
        expiration_type: enumeration(
            case,
            "expirationType",
            wire::content::ExpirationType::from_str_name,
        ),
        expiration_timer: small(case, "expirationTimer"),
        sig_timestamp: number(case, "sigTimestamp"),
        pro_message: part(case, "proMessage", |pro| pro_message(pro).encode_to_vec()),
        pro_sig_for_community_message_only: bytes(case, "proSigForCommunityMessageOnly"),
    }
}

fn data_message(case: &Case<'_>) -> wire::DataMessage {
    wire::DataMessage {
        body: text(case, "body"),
        attachments: parts(case, "attachments", attachment),
        flags: small(case, "flags"),
        profile_key: bytes(case, "profileKey"),
        quote: part(case, "quote", |quote| data::Quote {
            id: number(quote, "id"),
            author: text(quote, "author"),
        }),
        preview: parts(case, "preview", |preview| data::Preview {
            url: text(preview, "url"),
            title: text(preview, "title"),
            image: part(preview, "image", attachment),
        }),
        reaction: part(case, "reaction", |reaction| data::Reaction {
            id: number(reaction, "id"),
            author: text(reaction, "author"),
            emoji: text(reaction, "emoji"),
            action: enumeration(reaction, "action", data::reaction::Action::from_str_name),
        }),
        profile: part(case, "profile", profile),
        community_invitation: part(case, "communityInvitation", |invitation| {
            data::CommunityInvitation {
                url: text(invitation, "url"),
                name: text(invitation, "name"),
            }
        }),
        sync_target: text(case, "syncTarget"),
        blocks_community_message_requests: flag(case, "blocksCommunityMessageRequests"),
        group_update_message: part(case, "groupUpdateMessage", group_update),
    }
}

fn attachment(case: &Case<'_>) -> wire::AttachmentPointer {
    wire::AttachmentPointer {
        id: number(case, "deprecated_id"),
        content_type: text(case, "contentType"),
        key: bytes(case, "key"),
        size: small(case, "size"),
        digest: bytes(case, "digest"),
        file_name: text(case, "fileName"),
        flags: small(case, "flags"),
        width: small(case, "width"),
        height: small(case, "height"),
        caption: text(case, "caption"),
        url: text(case, "url"),
    }
}

fn profile(case: &Case<'_>) -> wire::LokiProfile {
    wire::LokiProfile {
        display_name: text(case, "displayName"),
        profile_picture: text(case, "profilePicture"),
        last_update_seconds: number(case, "lastProfileUpdateSeconds"),
    }
}

fn group_update(case: &Case<'_>) -> wire::GroupUpdateMessage {
    wire::GroupUpdateMessage {
        invite_message: part(case, "inviteMessage", |invite| update::Invite {
            group_session_id: text(invite, "groupSessionId"),
            name: text(invite, "name"),
            member_auth_data: bytes(invite, "memberAuthData"),
            admin_signature: bytes(invite, "adminSignature"),
        }),
        info_change_message: part(case, "infoChangeMessage", |change| update::InfoChange {
            r#type: enumeration(change, "type", update::info_change::Type::from_str_name),
            updated_name: text(change, "updatedName"),
            updated_expiration: small(change, "updatedExpiration"),
            admin_signature: bytes(change, "adminSignature"),
        }),
        member_change_message: part(case, "memberChangeMessage", |change| update::MemberChange {
            r#type: enumeration(change, "type", update::member_change::Type::from_str_name),
            member_session_ids: texts(change, "memberSessionIds"),
            history_shared: flag(change, "historyShared"),
            admin_signature: bytes(change, "adminSignature"),
        }),
        promote_message: part(case, "promoteMessage", |promote| update::Promote {
            group_identity_seed: bytes(promote, "groupIdentitySeed"),
            name: text(promote, "name"),
        }),
        member_left_message: part(case, "memberLeftMessage", |_| update::MemberLeft {}),
        invite_response: part(case, "inviteResponse", |response| update::InviteResponse {
            is_approved: flag(response, "isApproved"),
        }),
        delete_member_content: part(case, "deleteMemberContent", |delete| {
            update::DeleteMemberContent {
                member_session_ids: texts(delete, "memberSessionIds"),
                message_hashes: texts(delete, "messageHashes"),
                admin_signature: bytes(delete, "adminSignature"),
            }
        }),
        member_left_notification_message: part(case, "memberLeftNotificationMessage", |_| {
            update::MemberLeftNotification {}
        }),
    }
}

fn pro_message(case: &Case<'_>) -> wire::ProMessage {
    wire::ProMessage {
        proof: part(case, "proof", |proof| wire::ProProof {
            version: small(proof, "version"),
            revocation_tag: bytes(proof, "genIndexHash"),
            rotating_public_key: bytes(proof, "rotatingPublicKey"),
            expiry: number(proof, "expireAtMs"),
            sig: bytes(proof, "sig"),
        }),
        profile_bitset: number(case, "profileBitset"),
        message_bitset: number(case, "messageBitset"),
    }
}
