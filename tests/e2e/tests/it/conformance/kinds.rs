//! Every kind between two accounts, and what the own devices send, as the API shows it.

use std::collections::HashMap;

use serde_json::{Value, json};
use session_network::IsolationKey;
use session_protocol::content::{self, Kind};
use session_protocol::storage::Namespace;
use session_protocol::{AccountKeys, AccountSeed, envelope, phrase};
use sessiond_client::{EventStream, Update, v1};
use v1::event::State;
use v1::message::Content;

use super::Stranger;
use crate::harness::{Agent, LONG, Localnet, sent_ms, until};

const CALL: &str = "6b86b273-ff34-4ce1-9d6b-804eff5a3f57";

/// In a word what an entry is, for comparing whole conversations.
fn word(message: &v1::Message) -> String {
    match message.content.as_ref().unwrap() {
        Content::Text(text) => text.body.clone(),
        Content::Deleted(_) => "(deleted)".to_owned(),
        Content::CommunityInvitation(it) => format!("(invitation {} {})", it.name, it.url),
        Content::Call(it) => format!("({} {})", it.state().as_str_name(), it.call_id),
        Content::DataExtraction(it) => format!(
            "({} {})",
            it.kind().as_str_name(),
            it.media_send_time.map_or(0, |time| time.seconds)
        ),
        Content::RequestAccepted(_) => "(accepted)".to_owned(),
        Content::TimerChange(it) => format!(
            "(timer {})",
            it.setting
                .and_then(|it| it.timer)
                .map_or(0, |it| it.seconds)
        ),
        other => format!("({other:?})"),
    }
}

async fn want_receipts_and_typing(agent: &Agent) {
    let request = v1::UpdateSettingsRequest {
        settings: Some(v1::Settings {
            read_receipts: true,
            typing_indicators: true,
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["read_receipts".into(), "typing_indicators".into()],
        }),
        ..Default::default()
    };
    agent.client().update_settings(request).await.unwrap();
}

/// So many live signals, in the order in which they come.
async fn signals(stream: &mut EventStream, count: usize) -> Vec<State> {
    let mut all = Vec::new();
    while all.len() < count {
        let update = tokio::time::timeout(LONG, stream.next()).await;
        let Update::Event(event) = update.expect("in time").expect("no end").unwrap() else {
            continue;
        };
        if let Some(state @ (State::Typing(_) | State::CallSignal(_))) = event.state {
            assert!(event.transient && event.cursor.is_empty());
            all.push(state);
        }
    }
    all
}

/// Everything that somebody with one client says, by kind.
fn said(at: u64, alice: &str, mine_ms: i64) -> Vec<Value> {
    let file = |name: &str, flags: u32| {
        json!({"url": format!("http://f.example/file/{name}"), "key": "0c".repeat(32), "id": 7,
            "file_name": name, "content_type": "image/png", "size": 1234, "flags": flags,
            "width": 3, "height": 4, "caption": "see"})
    };
    let call = |kind: u32| json!({"kind": "call", "type": kind, "uuid": CALL});
    let mut messages = vec![
        json!({"kind": "text", "body": format!("@{alice} see https://a.example/ 漢字"),
            "quote": {"id": mine_ms, "author": alice},
            "preview": {"url": "https://a.example/", "title": "A page"}}),
        json!({"kind": "text", "body": "files", "attachments": [file("a.png", 0), file("../b.ogg", 1)]}),
        json!({"kind": "text", "invitation": {"url": "https://c.example/room?public_key=00", "name": "Room"}}),
        json!({"kind": "reaction", "id": mine_ms, "author": alice, "emoji": "👍🏽"}),
        json!({"kind": "reaction", "id": mine_ms, "author": alice, "emoji": "🎉"}),
        json!({"kind": "reaction", "id": mine_ms, "author": alice, "emoji": "🎉", "remove": true}),
        json!({"kind": "read_receipt", "timestamps": [mine_ms, 5]}),
        json!({"kind": "typing", "started": true}),
        json!({"kind": "typing", "started": false}),
        json!({"kind": "text", "body": "said too much"}),
        json!({"kind": "unsend"}),
        json!({"kind": "request_response"}),
        json!({"kind": "data_extraction", "target": mine_ms}),
        json!({"kind": "data_extraction", "target": mine_ms, "screenshot": true}),
        call(6),
        json!({"kind": "call", "type": 1, "uuid": CALL, "sdps": ["v=0 offer"]}),
        json!({"kind": "call", "type": 3, "uuid": CALL, "sdps": ["v=0 provisional"]}),
        json!({"kind": "call", "type": 2, "uuid": CALL, "sdps": ["v=0 answer"]}),
        json!({"kind": "call", "type": 4, "uuid": CALL, "sdps": ["c1", "c2"], "indexes": [0, 1],
            "mids": ["audio", "video"]}),
        call(5),
        json!({"kind": "text", "body": "for a day", "expiration": [2, 86400]}),
        json!({"kind": "text", "body": "once read", "expiration": [1, 300]}),
        json!({"kind": "expiration_timer_update", "expiration": [1, 3600]}),
        json!({"kind": "text", "body": "a new name", "expiration": [1, 3600], "profile": {"name": "Zoë", "updated": 6,
            "url": "http://f.example/file/9", "key": "0d".repeat(32)}}),
        json!({"kind": "text", "body": "an older name", "expiration": [1, 3600], "profile": {"name": "Old", "updated": 5}}),
        json!({"kind": "nothing"}),
        json!({"kind": "group_promote", "group_seed": "07".repeat(32), "name": "g"}),
    ];
    for (time, message) in (at..).zip(&mut messages) {
        message["timestamp"] = time.into();
    }
    messages
}

#[tokio::test]
#[ignore = "needs PyNaCl: tests/conformance/run"]
async fn conformance_of_every_kind_as_it_is_shown() {
    let net = Localnet::start().await;
    let (alice, id) = Agent::with_account(&net, "Alice").await;
    want_receipts_and_typing(&alice).await;
    let stranger = Stranger::new(&net, 7);
    let from = stranger.id().to_string();
    let mine = alice.send_stored(&from, "mine").await;
    let mine_ms = sent_ms(&mine);
    let mut stream = alice.client().events(v1::SubscribeRequest {
        start: v1::StreamStart::Newest.into(),
        ..Default::default()
    });
    let ready = tokio::time::timeout(LONG, stream.next()).await;
    assert!(matches!(ready, Ok(Some(Ok(Update::Ready(_))))));

    // Each a moment after the other, behind what Alice wrote.
    let at = stranger.now().max(u64::try_from(mine_ms).unwrap() + 1);
    let mut messages = said(at, &id, mine_ms);
    let unsent = messages[9]["timestamp"].clone();
    messages[10]["target"] = unsent;
    messages[10]["author"] = from.clone().into();
    stranger.send(&id, &messages).await;

    let shown = until("the last one is there", async || {
        let shown = alice.all_messages(&from).await;
        let there = shown.iter().any(|message| word(message) == "an older name");
        there.then_some(shown)
    })
    .await;
    let mine_s = mine_ms / 1_000;
    let words: Vec<String> = shown.iter().map(word).collect();
    let expected = [
        "mine".to_owned(),
        format!("@{id} see https://a.example/ 漢字"),
        "files".to_owned(),
        "(invitation Room https://c.example/room?public_key=00)".to_owned(),
        "(deleted)".to_owned(),
        "(accepted)".to_owned(),
        format!("(DATA_EXTRACTION_KIND_MEDIA_SAVED {mine_s})"),
        format!("(DATA_EXTRACTION_KIND_SCREENSHOT {mine_s})"),
        format!("(CALL_STATE_MISSED {CALL})"),
        "for a day".to_owned(),
        "once read".to_owned(),
        "(timer 3600)".to_owned(),
        "a new name".to_owned(),
        "an older name".to_owned(),
    ];
    assert_eq!(words, expected);
    let by_word: HashMap<&str, &v1::Message> =
        words.iter().map(String::as_str).zip(&shown).collect();
    for message in &shown[1..] {
        assert_eq!(message.author, from);
        assert_eq!(message.direction(), v1::MessageDirection::Incoming);
    }

    // A text with everything.
    let Some(Content::Text(rich)) = &shown[1].content else {
        panic!("no text");
    };
    assert_eq!(rich.mentions, std::slice::from_ref(&id));
    assert!(shown[1].mentions_me);
    let quote = rich.quote.as_ref().unwrap();
    assert_eq!((&quote.message_id, &quote.author), (&mine.id, &id));
    let preview = rich.preview.as_ref().unwrap();
    assert_eq!(
        (preview.url.as_str(), preview.title.as_str()),
        ("https://a.example/", "A page")
    );
    let files: Vec<_> = shown[2]
        .attachments
        .iter()
        .map(|it| {
            (
                &*it.file_name,
                &*it.content_type,
                it.size_bytes,
                it.voice_message,
            )
        })
        .collect();
    // No name is a path.
    let kind = "image/png";
    assert_eq!(
        files,
        [("a.png", kind, 1234, false), ("b.ogg", kind, 1234, true)]
    );
    let file = &shown[2].attachments[0];
    assert_eq!((file.width, file.height, &*file.caption), (3, 4, "see"));

    // What was done to Alice's message.
    let mine = alice.message(&mine.id).await;
    let reactions: Vec<_> = mine
        .reactions
        .iter()
        .map(|it| (&*it.author, &*it.emoji))
        .collect();
    assert_eq!(reactions, [(&*from, "👍🏽")]);
    assert!(mine.recipient_read_time.is_some());

    // Timers, with all their fields; one runs from sending, one waits for reading.
    let timer = |name: &str| {
        let message = by_word[name];
        let setting = message.disappearing.unwrap();
        let seconds = setting.timer.unwrap().seconds;
        (setting.mode(), seconds, message.expire_time.is_some())
    };
    use v1::DisappearingMode::{AfterRead, AfterSend};
    assert_eq!(timer("for a day"), (AfterSend, 86_400, true));
    assert_eq!(timer("once read"), (AfterRead, 300, false));

    // The conversation itself.
    let with = alice.conversation(&from).await.unwrap();
    assert_eq!(with.display_name, "Zoë", "of two the newer name");
    assert!(with.approved && with.approved_me && !with.request);
    let theirs = with.peer_disappearing.unwrap();
    assert_eq!(
        (theirs.mode(), theirs.timer.unwrap().seconds),
        (AfterRead, 3_600)
    );
    assert!(
        with.disappearing.is_none(),
        "the own setting is not theirs to change"
    );
    // Texts that are still there, the invitation, the acceptance, the call.
    assert_eq!((with.unread_count, with.unread_mention_count), (9, 1));

    // The live signals, with everything in them.
    let heard = signals(&mut stream, 8).await;
    let typing: Vec<bool> = heard
        .iter()
        .filter_map(|state| match state {
            State::Typing(it) => {
                assert_eq!(it.author, from);
                Some(it.typing)
            }
            _ => None,
        })
        .collect();
    assert_eq!(typing, [true, false]);
    use v1::CallSignalKind as Step;
    let steps: Vec<_> = heard
        .iter()
        .filter_map(|state| match state {
            State::CallSignal(it) => {
                assert_eq!((&it.author, &*it.call_id), (&from, CALL));
                assert!(it.send_time.is_some());
                Some((
                    it.kind(),
                    it.sdps.join("|"),
                    it.sdp_m_line_indexes.clone(),
                    it.sdp_mids.join("|"),
                ))
            }
            _ => None,
        })
        .collect();
    let plain = |kind, sdp: &str| (kind, sdp.to_owned(), vec![], String::new());
    assert_eq!(
        steps,
        [
            plain(Step::PreOffer, ""),
            plain(Step::Offer, "v=0 offer"),
            plain(Step::ProvisionalAnswer, "v=0 provisional"),
            plain(Step::Answer, "v=0 answer"),
            (
                Step::IceCandidates,
                "c1|c2".to_owned(),
                vec![0, 1],
                "audio|video".to_owned()
            ),
            plain(Step::EndCall, ""),
        ]
    );

    // What this version cannot show waits for one that can.
    until("what is not handled is put aside", async || {
        let refusals = alice.network_status().await.refusals;
        let count = |reason: &str| {
            let found = refusals.iter().find(|it| it.reason == reason);
            found.map_or(0, |it| it.count)
        };
        (count("NO_KIND") == 1 && count("GROUP_INVITATION") == 1).then_some(())
    })
    .await;

    told_of_a_kept_file(&alice, &stranger, &shown[2]).await;
    stranger.network.shutdown().await;
}

/// The other side hears that a file of its was kept.
async fn told_of_a_kept_file(alice: &Agent, stranger: &Stranger, with_files: &v1::Message) {
    let request = v1::ReportMediaSavedRequest {
        message_id: with_files.id.clone(),
        ..Default::default()
    };
    let answer = alice.client().report_media_saved(request).await.unwrap();
    assert!(answer.told);
    let keys = AccountKeys::from_seed(&AccountSeed::from_bytes(stranger.seed));
    let key = IsolationKey::new("account", &stranger.hex_seed());
    let notice = until("the notice is stored", async || {
        let page = stranger
            .network
            .retrieve(key, &keys, Namespace::DEFAULT, &HashMap::new(), None)
            .await
            .ok()?;
        page.messages.into_iter().find_map(|stored| {
            let opened = envelope::open(&keys, &stored.data?).ok()?;
            match content::read(&opened.content).ok()?.kind {
                Kind::DataExtraction(notice) => Some(notice),
                _ => None,
            }
        })
    })
    .await;
    assert!(!notice.screenshot);
    let of = u64::try_from(sent_ms(with_files)).unwrap();
    assert_eq!(notice.timestamp, Some(of));
}

#[tokio::test]
#[ignore = "needs PyNaCl: tests/conformance/run"]
async fn conformance_of_what_the_own_devices_send() {
    let net = Localnet::start().await;
    let (alice, id) = Agent::with_account(&net, "Alice").await;
    let stranger = Stranger::new(&net, 7);
    let from = stranger.id().to_string();
    let at = stranger.now();
    // The other side rings, and writes something that is deleted on the other device.
    let theirs = [
        json!({"kind": "text", "timestamp": at, "body": "hello"}),
        json!({"kind": "text", "timestamp": at + 1, "body": "delete me"}),
        json!({"kind": "call", "timestamp": at + 2, "type": 6, "uuid": CALL}),
    ];
    stranger.send(&id, &theirs).await;
    let seed = phrase::decode(&alice.phrases().await.recovery_phrase).unwrap();
    let own = hex::encode(seed.as_bytes());
    let copy = |offset: u64, mut message: Value| {
        message["timestamp"] = (at + offset).into();
        message
    };
    let to_them = |offset, mut message: Value| {
        message["sync_target"] = from.clone().into();
        copy(offset, message)
    };
    let ours = [
        // Note to self as one client writes it, and as another does.
        copy(10, json!({"kind": "text", "body": "note"})),
        copy(
            11,
            json!({"kind": "text", "body": "second note", "sync_target": id}),
        ),
        to_them(12, json!({"kind": "text", "body": "from the tablet"})),
        to_them(
            13,
            json!({"kind": "reaction", "id": at, "author": from, "emoji": "❤️"}),
        ),
        to_them(
            14,
            json!({"kind": "expiration_timer_update", "expiration": [2, 43200]}),
        ),
        copy(
            15,
            json!({"kind": "unsend", "target": at + 1, "author": from}),
        ),
        copy(
            16,
            json!({"kind": "call", "type": 2, "uuid": CALL, "sdps": ["v=0"]}),
        ),
        // What nobody says to himself.
        copy(17, json!({"kind": "typing", "started": true})),
        copy(18, json!({"kind": "read_receipt", "timestamps": [at]})),
        copy(19, json!({"kind": "data_extraction"})),
        copy(20, json!({"kind": "request_response"})),
        copy(21, json!({"kind": "call", "type": 6, "uuid": CALL})),
        to_them(30, json!({"kind": "text", "body": "last"})),
    ];
    stranger.send_as(&own, &id, &ours).await;
    let shown = until("the last one is there", async || {
        let shown = alice.all_messages(&from).await;
        let there = shown.iter().any(|message| word(message) == "last");
        there.then_some(shown)
    })
    .await;
    let words: Vec<String> = shown.iter().map(word).collect();
    let call = format!("(CALL_STATE_ANSWERED_ELSEWHERE {CALL})");
    assert_eq!(
        words,
        [
            "hello",
            "(deleted)",
            &call,
            "from the tablet",
            "(timer 43200)",
            "last"
        ]
    );
    for message in &shown[3..] {
        assert_eq!(message.direction(), v1::MessageDirection::Outgoing);
        assert_eq!(message.send_state(), v1::SendState::Sent);
        assert_eq!(message.author, id);
    }
    let reactions: Vec<_> = shown[0].reactions.iter().map(|it| &*it.author).collect();
    assert_eq!(reactions, [&*id]);
    let with = alice.conversation(&from).await.unwrap();
    assert!(with.approved && !with.request, "answering accepts");
    assert_eq!(
        with.unread_count, 0,
        "what was written reads what was there"
    );
    let setting = with.disappearing.unwrap();
    assert_eq!(setting.timer.unwrap().seconds, 43_200);
    let notes: Vec<String> = alice.messages(&id).await.iter().map(word).collect();
    assert_eq!(notes, ["note", "second note"]);
    let refusals = alice.network_status().await.refusals;
    let expected = v1::Refusal {
        reason: "NOT_FROM_ONESELF".into(),
        count: 5,
    };
    assert_eq!(refusals, [expected]);
    stranger.network.shutdown().await;
}
