//! All kinds together: what is written reads back, and what is hostile gets an answer.

use super::call::IceCandidate;
use super::group_update::{GroupSeed, InfoChange, MemberChange};
use super::*;
use crate::envelope::MAX_CONTENT;
use crate::identity::{AccountKeys, AccountSeed, Identifier};
use prop::collection::vec;
use prop::option::of;
use proptest::prelude::*;
use prost::Message as _;

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

fn frame(timestamp_ms: u64) -> Frame<'static> {
    Frame {
        timestamp_ms,
        ..Default::default()
    }
}

fn time() -> impl Strategy<Value = u64> {
    1..1_u64 << 53
}

fn account() -> impl Strategy<Value = AccountId> {
    any::<[u8; 32]>().prop_map(AccountId::from_x25519)
}

fn author() -> impl Strategy<Value = Identifier> {
    account().prop_map(Identifier::from)
}

fn attachment() -> impl Strategy<Value = Attachment> {
    let key = prop_oneof![vec(any::<u8>(), 32), vec(any::<u8>(), 64)];
    let looks = (
        of("[a-z]{1,8}/[a-z]{1,8}"),
        of("[a-zé.]{1,20}x"),
        of("\\PC{1,20}"),
    );
    (
        key,
        of(any::<[u8; 32]>()),
        looks,
        any::<(Option<u32>, Option<u32>, bool)>(),
    )
        .prop_map(
            |(key, digest, (content_type, file_name, caption), (size, width, voice))| Attachment {
                url: "http://f/file/12".into(),
                key: FileKey::new(&key).unwrap(),
                digest,
                content_type,
                size,
                file_name,
                voice,
                width,
                height: width,
                caption,
            },
        )
}

fn visible() -> impl Strategy<Value = Kind> {
    let quote = (time(), author()).prop_map(|(timestamp, author)| Quote { timestamp, author });
    let preview = ("[a-z]{1,9}", of(attachment())).prop_map(|(title, image)| Preview {
        url: "https://a.b/".into(),
        title: Some(title),
        image,
    });
    let invitation =
        ("[a-z:/]{1,20}", "\\PC{1,20}").prop_map(|(url, name)| Invitation { url, name });
    let parts = (
        of(quote),
        of(preview),
        vec(attachment(), 0..4),
        of(invitation),
    );
    ("\\PC{0,40}", parts).prop_map(|(text, (quote, preview, attachments, invitation))| {
        Kind::Visible(Box::new(Visible {
            body: format!("see https://a.b/ {text}"),
            quote,
            preview,
            attachments,
            invitation,
        }))
    })
}

fn call() -> impl Strategy<Value = Kind> {
    let ice = vec(("[a-z:]{1,9}", any::<u32>(), "[0-9]"), 1..4).prop_map(|list| {
        let list = list.into_iter();
        CallSignal::IceCandidates(
            list.map(|(sdp, m_line_index, mid)| IceCandidate {
                sdp,
                m_line_index,
                mid,
            })
            .collect(),
        )
    });
    prop_oneof![
        Just(CallSignal::PreOffer),
        Just(CallSignal::EndCall),
        "v=\\PC{1,20}".prop_map(CallSignal::Offer),
        "v=\\PC{1,20}".prop_map(CallSignal::Answer),
        "v=\\PC{1,20}".prop_map(CallSignal::ProvisionalAnswer),
        ice,
    ]
    .prop_map(|signal| {
        let uuid = "6b86b273-ff34-4ce1-9d6b-804eff5a3f57".into();
        Kind::Call(Call { uuid, signal })
    })
}

fn group_update() -> impl Strategy<Value = Kind> {
    let signature = any::<[u8; 32]>().prop_map(|half| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&half);
        signature
    });
    let invite = (any::<[u8; 32]>(), "\\PC{0,20}", signature.clone()).prop_map(
        |(key, name, admin_signature)| GroupUpdate::Invite {
            group: Identifier {
                prefix: crate::Prefix::Group,
                key,
            },
            name,
            member_auth_data: Box::new([key[0]; 100]),
            admin_signature,
        },
    );
    let info = prop_oneof![
        "\\PC{0,20}".prop_map(InfoChange::Name),
        Just(InfoChange::Avatar),
        any::<u32>().prop_map(InfoChange::DisappearingMessages),
    ];
    let info =
        (info, signature.clone()).prop_map(|(change, admin_signature)| GroupUpdate::InfoChange {
            change,
            admin_signature,
        });
    let change = prop_oneof![
        Just(MemberChange::Added),
        Just(MemberChange::Removed),
        Just(MemberChange::Promoted),
    ];
    let members = (
        change,
        vec(account(), 0..4),
        any::<bool>(),
        signature.clone(),
    )
        .prop_map(|(change, members, history_shared, admin_signature)| {
            GroupUpdate::MemberChange {
                change,
                members,
                history_shared,
                admin_signature,
            }
        });
    let promote = (any::<[u8; 32]>(), "\\PC{0,20}").prop_map(|(seed, name)| {
        let seed = GroupSeed::new(seed);
        GroupUpdate::Promote { seed, name }
    });
    let delete = (vec(account(), 0..4), vec("[a-z]{1,9}", 0..4), of(signature)).prop_map(
        |(members, hashes, admin_signature)| GroupUpdate::DeleteMemberContent {
            members,
            hashes,
            admin_signature,
        },
    );
    prop_oneof![
        invite,
        info,
        members,
        promote,
        delete,
        any::<bool>().prop_map(|is_approved| GroupUpdate::InviteResponse { is_approved }),
        Just(GroupUpdate::MemberLeft),
        Just(GroupUpdate::MemberLeftNotification),
    ]
    .prop_map(|update| Kind::GroupUpdate(Box::new(update)))
}

fn kind() -> impl Strategy<Value = Kind> {
    let reaction = (time(), author(), any::<bool>()).prop_map(|(timestamp, author, remove)| {
        Kind::Reaction(Reaction {
            timestamp,
            author,
            emoji: "👍🏽".into(),
            remove,
        })
    });
    let receipt = prop::collection::btree_set(time(), 1..5).prop_map(|times| {
        let timestamps = times.into_iter().collect();
        Kind::ReadReceipt(ReadReceipt { timestamps })
    });
    let unsend = (time(), account())
        .prop_map(|(timestamp, author)| Kind::Unsend(Unsend { timestamp, author }));
    let extraction = (any::<bool>(), of(time())).prop_map(|(screenshot, timestamp)| {
        Kind::DataExtraction(DataExtraction {
            screenshot,
            timestamp,
        })
    });
    prop_oneof![
        visible(),
        reaction,
        receipt,
        any::<bool>().prop_map(|started| Kind::Typing(Typing { started })),
        unsend,
        Just(Kind::RequestResponse),
        extraction,
        call(),
        Just(Kind::ExpirationTimerUpdate),
        group_update(),
    ]
}

fn profile() -> impl Strategy<Value = Profile> {
    let picture = prop_oneof![
        Just(Picture::None),
        any::<[u8; 32]>().prop_map(|key| Picture::Set {
            url: "http://f/9".into(),
            key: FileKey::new(&key).unwrap(),
        }),
    ];
    (of("[a-zé]{1,20}"), picture, any::<u64>()).prop_map(|(name, picture, updated_s)| Profile {
        name,
        picture,
        updated_s,
    })
}

fn timer() -> impl Strategy<Value = Option<Expiration>> {
    of(
        (any::<bool>(), 1_u32..).prop_map(|(read, timer_s)| Expiration {
            mode: if read {
                ExpirationMode::AfterRead
            } else {
                ExpirationMode::AfterSend
            },
            timer_s,
        }),
    )
}

proptest! {
    #[test]
    fn every_kind_survives(kind in kind(), profile in of(profile()), expiration in timer(), timestamp_ms in time()) {
        let frame = Frame { timestamp_ms, expiration, profile: profile.as_ref() };
        let content = parse(&kind.write(&frame).unwrap());
        let back = read(&content).unwrap();
        prop_assert_eq!(&back.kind, &kind);
        prop_assert_eq!(back.signed_timestamp, Some(timestamp_ms));
        prop_assert_eq!(back.ignored_kinds, 0);
        prop_assert_eq!(back.sync_target, None);
        if let Some(read) = back.profile {
            prop_assert_eq!(Some(&read), profile.as_ref());
        }
        let carried = kind.expiration_on_wire(expiration);
        prop_assert_eq!(back.fields.normalised(Place::OneToOne), carried);

        let copy = kind.write_sync_copy(&frame, &id()).unwrap();
        prop_assert_eq!(copy.is_some(), kind.is_synced());
        if let Some(copy) = copy {
            let back = read(&parse(&copy)).unwrap();
            prop_assert_eq!(&back.kind, &kind);
            prop_assert_eq!(back.signed_timestamp, Some(timestamp_ms));
            prop_assert_eq!(back.profile, None);
            let names_target = !matches!(kind, Kind::Unsend(_) | Kind::Call(_));
            prop_assert_eq!(back.sync_target, names_target.then(id));
        }
    }

    #[test]
    fn every_time_to_live_is_one_that_swarms_accept(kind in kind(), expiration in timer()) {
        for to in [Destination::Recipient, Destination::OwnSwarm] {
            prop_assert!((10_000..=TTL_CONTENT).contains(&kind.ttl_ms(expiration, to)));
        }
    }

    #[test]
    fn any_damage_gets_an_answer(kind in kind(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = kind.write(&frame(1)).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(content) = wire::Content::decode(bytes) {
                let _ = read(&content);
            }
        }
    }

    #[test]
    fn any_bytes_get_an_answer(bytes: Vec<u8>) {
        if let Ok(content) = wire::Content::decode(bytes.as_slice()) {
            let _ = read(&content);
        }
    }
}

#[test]
fn a_text_reads_back_and_carries_all_fields() {
    let content = parse(&text("Hi", 1_760_000_000_000, None, Some("Ann")));
    assert_eq!(content.sig_timestamp, Some(1_760_000_000_000));
    assert_eq!(content.expiration_type, Some(0));
    assert_eq!(content.expiration_timer, Some(0));
    let back = read(&content).unwrap();
    assert_eq!(back.kind, Kind::Visible(Box::new(Visible::text("Hi"))));
    assert_eq!(back.profile.unwrap().name, Some("Ann".into()));
    assert_eq!(back.fields.normalised(Place::OneToOne), None);
}

#[test]
fn a_sync_copy_names_its_target_and_leaves_the_profile_out() {
    let content = parse(&text("Hi", 1, Some(&id()), Some("Ann")));
    let back = read(&content).unwrap();
    assert_eq!((back.sync_target, back.profile), (Some(id()), None));
}

#[test]
fn kinds_come_in_the_projects_order() {
    let call = wire::CallMessage {
        r#type: Some(6),
        uuid: Some("6b86b273-ff34-4ce1-9d6b-804eff5a3f57".into()),
        ..Default::default()
    };
    let mut content = wire::Content {
        data_message: Some(wire::DataMessage {
            flags: Some(2),
            group_update_message: Some(wire::GroupUpdateMessage {
                member_left_message: Some(wire::group_update_message::MemberLeft {}),
                ..Default::default()
            }),
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
        call_message: Some(call),
        expiration_timer: Some(0),
        ..Default::default()
    };
    let mut seen = Vec::new();
    loop {
        let back = read(&content).unwrap();
        seen.push((back.kind.name(), back.ignored_kinds));
        match back.kind {
            Kind::ReadReceipt(_) => content.receipt_message = None,
            Kind::Typing(_) => content.typing_message = None,
            Kind::GroupUpdate(_) => {
                content.data_message.as_mut().unwrap().group_update_message = None;
            }
            Kind::DataExtraction(_) => content.data_extraction_notification = None,
            Kind::ExpirationTimerUpdate => content.data_message.as_mut().unwrap().flags = None,
            Kind::Unsend(_) => content.unsend_request = None,
            Kind::RequestResponse => content.message_request_response = None,
            Kind::Call(_) => content.call_message = None,
            Kind::Visible(_) | Kind::Reaction(_) => break,
        }
    }
    assert_eq!(
        seen,
        [
            ("READ_RECEIPT", 6),
            ("TYPING", 5),
            ("GROUP_UPDATE", 4),
            ("DATA_EXTRACTION", 4),
            ("EXPIRATION_TIMER_UPDATE", 3),
            ("UNSEND", 3),
            ("REQUEST_RESPONSE", 2),
            ("CALL", 1),
            ("TEXT", 0),
        ]
    );
}

#[test]
fn contents_without_a_kind_are_told_apart() {
    assert_eq!(
        read(&wire::Content::default()).unwrap_err().reason(),
        "NO_KIND"
    );
    let config = wire::Content {
        shared_config_message: Some(wire::SharedConfigMessage::default()),
        ..Default::default()
    };
    assert_eq!(read(&config).unwrap_err().reason(), "OBSOLETE");
}

#[test]
fn missing_and_unknown_required_fields_are_refused() {
    let mut content = data(with_body("x"));
    content.typing_message = Some(wire::TypingMessage {
        timestamp: Some(1),
        action: Some(9),
    });
    let missing = |content| read(&content).unwrap_err();
    assert_eq!(
        missing(content),
        ContentError::MissingField("TypingMessage.action")
    );
    let quote = wire::data_message::Quote {
        id: Some(1),
        author: None,
    };
    let content = data(wire::DataMessage {
        quote: Some(quote),
        ..with_body("x")
    });
    assert_eq!(missing(content), ContentError::MissingField("Quote.author"));
}

#[test]
fn flags_beside_the_timer_flag_are_refused_and_others_ignored() {
    let flagged = |flags, timer| {
        let mut content = data(wire::DataMessage {
            flags: Some(flags),
            ..with_body("x")
        });
        content.expiration_timer = timer;
        read(&content).map(|back| back.kind.name())
    };
    assert_eq!(flagged(3, Some(0)), Err(ContentError::BadFlags));
    assert_eq!(flagged(4, None), Ok("TEXT"));
    assert_eq!(flagged(2, Some(0)), Ok("EXPIRATION_TIMER_UPDATE"));
    assert_eq!(flagged(2, None).unwrap_err().reason(), "MISSING_FIELD");
}

#[test]
fn a_response_that_does_not_approve_is_refused() {
    let content = wire::Content {
        message_request_response: Some(wire::MessageRequestResponse {
            is_approved: Some(false),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(read(&content).unwrap_err(), ContentError::NotApproved);
}

#[test]
fn a_sync_target_must_be_an_account_id() {
    let content = data(wire::DataMessage {
        sync_target: Some("03".repeat(33)),
        ..with_body("x")
    });
    assert_eq!(read(&content).unwrap_err(), ContentError::BadSyncTarget);
}

#[test]
fn a_malformed_pro_part_costs_nothing() {
    for (bytes, claimed) in [(vec![0xff; 9], false), (vec![0x10, 3], true)] {
        let content = wire::Content {
            pro_message: Some(bytes),
            ..data(with_body("x"))
        };
        assert_eq!(read(&content).unwrap().pro.is_some(), claimed);
    }
}

#[test]
fn timers_and_times_to_live_follow_the_kind() {
    let after = |mode| {
        Some(Expiration {
            mode,
            timer_s: 3600,
        })
    };
    let (read, send) = (
        after(ExpirationMode::AfterRead),
        after(ExpirationMode::AfterSend),
    );
    let visible = Kind::Visible(Box::new(Visible::text("x")));
    let call = Kind::Call(Call {
        uuid: String::new(),
        signal: CallSignal::PreOffer,
    });
    let unsend = Kind::Unsend(Unsend {
        timestamp: 1,
        author: id(),
    });
    let saved = Kind::DataExtraction(DataExtraction {
        screenshot: false,
        timestamp: None,
    });
    let name = GroupUpdate::InfoChange {
        change: InfoChange::Name("x".into()),
        admin_signature: [0; 64],
    };
    let (name, left) = (
        Kind::GroupUpdate(Box::new(name)),
        Kind::GroupUpdate(Box::new(GroupUpdate::MemberLeft)),
    );
    let (recipient, own) = (Destination::Recipient, Destination::OwnSwarm);
    let hour = 3_600_000;
    for (kind, setting, carried, to, ttl) in [
        (&visible, None, None, recipient, TTL_CONTENT),
        (&visible, send, send, recipient, hour),
        (&visible, send, send, own, hour),
        (&visible, read, read, recipient, TTL_CONTENT),
        (&visible, read, read, own, hour),
        (&Kind::ExpirationTimerUpdate, send, send, recipient, hour),
        (&call, send, read, recipient, 300_000),
        (&saved, send, read, recipient, TTL_CONTENT),
        (&unsend, send, None, recipient, TTL_CONTENT),
        (&Kind::RequestResponse, send, None, recipient, TTL_CONTENT),
        (
            &Kind::Typing(Typing { started: true }),
            send,
            None,
            recipient,
            20_000,
        ),
        (&name, send, send, recipient, hour),
        (&left, send, None, recipient, TTL_CONTENT),
    ] {
        assert_eq!(kind.expiration_on_wire(setting), carried, "{kind:?}");
        assert_eq!(kind.ttl_ms(setting, to), ttl, "{kind:?} {setting:?} {to:?}");
    }
}

#[test]
fn what_would_be_refused_is_not_written() {
    let write = |visible| Kind::Visible(Box::new(visible)).write(&frame(1));
    let long = write(Visible::text("é".repeat(2_001)));
    assert_eq!(long, Err(WriteError::BodyTooLong(2_001)));
    assert!(write(Visible::text("é".repeat(2_000))).is_ok());
    let blank = write(Visible::text(" "));
    assert_eq!(blank, Err(WriteError::Refused(ContentError::NothingToShow)));
    let large = write(Visible {
        invitation: Some(Invitation {
            url: "u".repeat(MAX_CONTENT),
            name: "n".into(),
        }),
        ..Visible::default()
    });
    assert!(matches!(large, Err(WriteError::TooLarge(_))));
}

/// A Content whose data message has these bytes.
fn data_message_of(bytes: &[u8]) -> Vec<u8> {
    let mut content = vec![0x0a];
    prost::encoding::encode_varint(bytes.len() as u64, &mut content);
    content.extend_from_slice(bytes);
    content
}

#[test]
fn deep_nesting_is_refused_without_recursing() {
    // A group that starts within itself: an unknown field, a known one, and one in a submessage.
    let unknown = [0xc3, 0x0c].repeat(38_000);
    assert!(wire::Content::decode(unknown.as_slice()).is_err());
    assert!(wire::Content::decode([0x0b; 76_000].as_slice()).is_err());
    let inside = data_message_of(&unknown);
    assert!(wire::Content::decode(inside.as_slice()).is_err());
}

#[test]
fn lengths_that_promise_too_much_are_refused() {
    for length in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0xff; 9], &[0x7f]] {
        let bytes = [&[0x0a][..], length].concat();
        assert!(wire::Content::decode(bytes.as_slice()).is_err());
        let body = [&[0x0a, 0x0a, 0x0a][..], length].concat();
        assert!(wire::Content::decode(body.as_slice()).is_err());
    }
}

#[test]
fn as_many_parts_as_fit_into_a_message_are_cut_to_their_limits() {
    let pointer = wire::AttachmentPointer {
        id: Some(0),
        url: Some("u".into()),
        key: Some(vec![0; 32]),
        ..Default::default()
    };
    let content = data(wire::DataMessage {
        attachments: vec![pointer.clone(); 1_500],
        preview: vec![wire::data_message::Preview::default(); 1],
        ..with_body("x")
    });
    assert_eq!(read(&content).unwrap_err().reason(), "MISSING_FIELD");
    let content = data(wire::DataMessage {
        attachments: vec![pointer; 1_500],
        ..with_body("x")
    });
    assert!(content.encode_to_vec().len() < 76_800);
    let Kind::Visible(visible) = read(&content).unwrap().kind else {
        panic!("not visible")
    };
    assert_eq!(visible.attachments.len(), visible::MAX_ATTACHMENTS);
    // Two bytes each, nothing in them.
    let empty = data_message_of(&[0x12, 0x00].repeat(38_000));
    let content = wire::Content::decode(empty.as_slice()).unwrap();
    assert_eq!(read(&content).unwrap_err().reason(), "MISSING_FIELD");
}
