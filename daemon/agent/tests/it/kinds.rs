//! Every kind of message: who may send it, what it does, what the API shows of it.

use session_protocol::content::{
    Attachment, Call, CallSignal, DataExtraction, ExpirationMode, FileKey, Invitation, Kind,
    Picture, Preview, Profile, Quote, Reaction, ReadReceipt, Typing, Unsend, Visible,
};
use sessiond::sync::signal::What;
use sessiond_proto::v1;
use sessiond_proto::v1::message::Content;
use tokio::sync::broadcast::error::TryRecvError;

use crate::common::{Rig, keys, rig};
use crate::say::{Say, say};

fn text(body: &str) -> Kind {
    Kind::Visible(Box::new(Visible::text(body)))
}

fn reaction(target: u8, at: i64, emoji: &str, remove: bool) -> Kind {
    Kind::Reaction(Reaction {
        timestamp: u64::try_from(at).unwrap(),
        author: keys(target).account_id().into(),
        emoji: emoji.into(),
        remove,
    })
}

fn unsend(target: u8, at: i64) -> Kind {
    Kind::Unsend(Unsend {
        timestamp: u64::try_from(at).unwrap(),
        author: keys(target).account_id(),
    })
}

fn call(number: u8, signal: CallSignal) -> Kind {
    Kind::Call(Call {
        uuid: format!("6b86b273-ff34-4ce1-9d6b-8000000000{number:02}"),
        signal,
    })
}

/// Both sides have written: what we wrote at `at`, what 2 wrote a moment later.
async fn friends(rig: &Rig, at: i64) {
    let said = [
        say(1, at, text("ours")).copied_to(2),
        say(2, at + 1, text("theirs")),
    ];
    assert_eq!(rig.hear(&said).await, 2);
}

#[tokio::test]
async fn a_visible_message_is_shown_with_all_its_parts() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    let me = keys(1).account_id();
    let visible = Visible {
        body: format!("@{me} look: https://example.org/ and @{me}"),
        quote: Some(Quote {
            timestamp: u64::try_from(now).unwrap(),
            author: keys(2).account_id().into(),
        }),
        preview: Some(Preview {
            url: "https://example.org/".into(),
            title: Some("Example".into()),
            image: None,
        }),
        attachments: ["a.png", "b.ogg"]
            .map(|name| Attachment {
                url: format!("http://files/{name}"),
                key: FileKey::new(&[9; 32]).unwrap(),
                digest: None,
                content_type: Some("image/png".into()),
                size: Some(1_234),
                file_name: Some(name.into()),
                voice: name == "b.ogg",
                width: Some(3),
                height: Some(4),
                caption: Some("see".into()),
            })
            .to_vec(),
        invitation: None,
    };
    let said = [
        say(2, now, text("first")),
        say(2, now + 1, Kind::Visible(Box::new(visible))),
        say(
            2,
            now + 2,
            Kind::Visible(Box::new(Visible {
                invitation: Some(Invitation {
                    url: "https://c.example/room?public_key=00".into(),
                    name: "Room".into(),
                }),
                ..Visible::default()
            })),
        ),
    ];
    assert_eq!(rig.hear(&said).await, 3);
    let shown = rig.messages(2).await;
    let Some(Content::Text(text)) = &shown[1].content else {
        panic!("no text");
    };
    assert_eq!(text.mentions, [me.to_string()]);
    assert_eq!(text.quote.as_ref().unwrap().message_id, shown[0].id);
    assert_eq!(text.preview.as_ref().unwrap().title, "Example");
    assert!(shown[1].mentions_me && !shown[0].mentions_me);
    let files: Vec<(&str, u64, bool)> = shown[1]
        .attachments
        .iter()
        .map(|file| (&*file.file_name, file.size_bytes, file.voice_message))
        .collect();
    assert_eq!(files, [("a.png", 1_234, false), ("b.ogg", 1_234, true)]);
    assert_eq!(rig.words(2).await[2], "(invitation Room)");
    let conversation = rig.conversation(2).await.unwrap();
    assert_eq!(
        (conversation.unread_count, conversation.unread_mention_count),
        (3, 1)
    );
    // The keys of the files are kept, for who fetches them later.
    assert_eq!(
        rig.one::<i64>("SELECT count(*) FROM attachment WHERE key = zeroblob(32)")
            .await,
        0
    );
}

/// (approved, approved_me, request, unread) of the conversation with 2.
async fn standing(rig: &Rig) -> Option<(bool, bool, bool, u32)> {
    let it = rig.conversation(2).await?;
    Some((it.approved, it.approved_me, it.request, it.unread_count))
}

#[tokio::test]
async fn requests_become_conversations_and_the_other_way_round() {
    let now = 1_790_000_000_000;
    for (name, said, expected, words) in [
        (
            "a stranger writes",
            vec![say(2, now, text("hi"))],
            Some((false, true, true, 1)),
            vec!["hi"],
        ),
        (
            "we answer on another device",
            vec![
                say(2, now, text("hi")),
                say(1, now + 1, text("hello")).copied_to(2),
            ],
            Some((true, true, false, 0)),
            vec!["hi", "hello"],
        ),
        (
            "we wrote and they accept, twice",
            vec![
                say(1, now, text("hi")).copied_to(2),
                say(2, now + 1, Kind::RequestResponse),
                say(2, now + 2, Kind::RequestResponse),
            ],
            Some((true, true, false, 1)),
            vec!["hi", "(accepted)"],
        ),
        (
            "they accept what we never wrote",
            vec![say(2, now, Kind::RequestResponse)],
            Some((false, true, false, 0)),
            vec![],
        ),
        (
            "we wrote and nobody answered",
            vec![say(1, now, text("hi")).copied_to(2)],
            Some((true, false, false, 0)),
            vec!["hi"],
        ),
        (
            "kinds that open no conversation",
            vec![
                say(2, now, reaction(2, now, "👍", false)),
                say(2, now + 1, unsend(2, now)),
                say(
                    2,
                    now + 2,
                    Kind::DataExtraction(DataExtraction {
                        screenshot: false,
                        timestamp: None,
                    }),
                ),
                say(2, now + 3, Kind::Typing(Typing { started: true })),
                say(
                    2,
                    now + 4,
                    Kind::ReadReceipt(ReadReceipt {
                        timestamps: vec![1],
                    }),
                ),
                say(2, now + 5, Kind::ExpirationTimerUpdate)
                    .disappearing(ExpirationMode::AfterSend, 60),
                say(2, now + 6, call(1, CallSignal::EndCall)),
            ],
            None,
            vec![],
        ),
    ] {
        // All in one unit, then each in one of its own.
        let rig_1 = rig().await;
        rig_1.hear(&said).await;
        let rig_2 = rig().await;
        for one in &said {
            rig_2.hear(std::slice::from_ref(one)).await;
        }
        for rig in [rig_1, rig_2] {
            assert_eq!(standing(&rig).await, expected, "{name}");
            assert_eq!(rig.words(2).await, words, "{name}");
        }
    }
}

#[tokio::test]
async fn nobody_sends_certain_kinds_to_himself() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    friends(&rig, now - 10).await;
    let refused = [
        Kind::RequestResponse,
        Kind::Typing(Typing { started: true }),
        Kind::ReadReceipt(ReadReceipt {
            timestamps: vec![1],
        }),
        Kind::DataExtraction(DataExtraction {
            screenshot: false,
            timestamp: None,
        }),
        call(1, CallSignal::PreOffer),
        call(1, CallSignal::Offer("v=0".into())),
    ];
    let said: Vec<Say> = (now..)
        .zip(refused)
        .map(|(at, kind)| say(1, at, kind))
        .collect();
    assert_eq!(rig.hear(&said).await, 0);
    assert_eq!(rig.refused("NOT_FROM_ONESELF").await, 6);
    assert!(rig.conversation(1).await.is_none());
}

#[tokio::test]
async fn a_blocked_person_is_not_heard_then_or_later() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    friends(&rig, now).await;
    rig.execute("UPDATE conversation SET blocked = 1").await;
    let said = [
        say(2, now + 10, text("let me in")),
        say(2, now + 11, reaction(1, now, "👍", false)),
        say(2, now + 12, unsend(2, now + 1)),
        say(2, now + 13, call(1, CallSignal::PreOffer)),
    ];
    let stored: Vec<_> = said.iter().map(Say::stored).collect();
    assert_eq!(rig.apply(stored.clone()).await, 0);
    assert_eq!(rig.refused("BLOCKED").await, 4);
    rig.execute("UPDATE conversation SET blocked = 0").await;
    assert_eq!(rig.apply(stored).await, 0);
    assert_eq!(rig.words(2).await, ["ours", "theirs"]);
    // What we write from another device is ours to see.
    rig.execute("UPDATE conversation SET blocked = 1").await;
    assert_eq!(
        rig.hear(&[say(1, now + 20, text("bye")).copied_to(2)])
            .await,
        1
    );
}

/// Author number and emoji of the reactions at a message with 2.
async fn reactions(rig: &Rig, place: usize) -> Vec<(u8, String)> {
    let number = |id: &str| (1..9).find(|n| keys(*n).account_id().to_string() == id);
    rig.messages(2).await[place]
        .reactions
        .iter()
        .map(|it| (number(&it.author).unwrap(), it.emoji.clone()))
        .collect()
}

#[tokio::test]
async fn the_later_word_on_an_emoji_counts() {
    let now = 1_790_000_000_000;
    let put = |at, remove| say(2, now + at, reaction(1, now, "👍", remove));
    for (name, said, stands) in [
        ("put", vec![put(10, false)], true),
        (
            "put and taken off",
            vec![put(10, false), put(11, true)],
            false,
        ),
        ("taken off late", vec![put(12, false), put(11, true)], true),
        ("put late", vec![put(11, true), put(10, false)], false),
        (
            "again",
            vec![put(10, false), put(11, true), put(12, false)],
            true,
        ),
    ] {
        let together = rig().await;
        friends(&together, now).await;
        together.hear(&said).await;
        let apart = rig().await;
        friends(&apart, now).await;
        for one in &said {
            apart.hear(std::slice::from_ref(one)).await;
        }
        for rig in [together, apart] {
            let expected = if stands {
                vec![(2, "👍".to_owned())]
            } else {
                vec![]
            };
            assert_eq!(reactions(&rig, 0).await, expected, "{name}");
            // Reactions make nothing unread.
            assert_eq!(rig.conversation(2).await.unwrap().unread_count, 1);
        }
    }
}

#[tokio::test]
async fn reactions_wait_for_their_message_and_stay_in_their_conversation() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    friends(&rig, now).await;
    // One waits, one is about a third person's message, one is ours from another device.
    let said = [
        say(2, now + 30, reaction(2, now + 20, "❤️", false)),
        say(2, now + 31, reaction(3, now, "👍", false)),
        say(1, now + 32, reaction(2, now + 1, "😀", false)).copied_to(2),
        say(3, now + 33, text("third")),
        say(3, now + 34, reaction(1, now, "👎", false)),
    ];
    assert_eq!(rig.hear(&said).await, 1);
    assert_eq!(rig.refused("FOREIGN_REACTION").await, 1);
    assert_eq!(reactions(&rig, 1).await, [(1, "😀".to_owned())]);
    rig.hear(&[say(2, now + 20, text("late"))]).await;
    assert_eq!(reactions(&rig, 2).await, [(2, "❤️".to_owned())]);
    // 3 cannot react to what we wrote to 2.
    assert_eq!(reactions(&rig, 0).await, []);
    // Nothing reacts to what is deleted.
    rig.hear(&[
        say(2, now + 40, unsend(2, now + 20)),
        say(2, now + 41, reaction(2, now + 20, "👍", false)),
    ])
    .await;
    assert_eq!(reactions(&rig, 2).await, []);
    assert_eq!(rig.words(2).await[2], "(deleted)");
}

#[tokio::test]
async fn receipts_count_when_wanted_and_for_own_messages() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    friends(&rig, now).await;
    rig.hear(&[say(1, now + 2, text("to another")).copied_to(3)])
        .await;
    let receipt = |from, at, of: &[i64]| {
        let timestamps = of.iter().map(|ms| u64::try_from(*ms).unwrap()).collect();
        say(from, at, Kind::ReadReceipt(ReadReceipt { timestamps }))
    };
    rig.hear(&[receipt(2, now + 10, &[now])]).await;
    assert_eq!(rig.refused("RECEIPTS_OFF").await, 1);
    rig.execute("INSERT INTO setting (key, value) VALUES ('read_receipts', 1)")
        .await;
    // Ours, theirs, one to another person, one that does not exist.
    rig.hear(&[receipt(2, now + 11, &[now, now + 1, now + 2, now + 3])])
        .await;
    rig.hear(&[receipt(2, now + 12, &[now])]).await;
    let times = |messages: Vec<v1::Message>| -> Vec<bool> {
        let read = |message: &v1::Message| message.recipient_read_time.is_some();
        messages.iter().map(read).collect()
    };
    assert_eq!(times(rig.messages(2).await), [true, false]);
    assert_eq!(times(rig.messages(3).await), [false]);
    // The first time stands.
    assert_eq!(
        rig.one::<i64>("SELECT max(read_by_peer_ms) FROM message")
            .await,
        now + 11
    );
}

#[tokio::test]
async fn typing_is_raised_when_wanted_between_people_who_accepted_each_other() {
    for (wanted, approved, age, raised) in [
        (true, 1, 1_000, true),
        (false, 1, 1_000, false),
        (true, 0, 1_000, false),
        (true, 1, 60_000, false),
    ] {
        let rig = rig().await;
        let now = rig.context.now_ms();
        friends(&rig, now - 100_000).await;
        if wanted {
            rig.execute("INSERT INTO setting (key, value) VALUES ('typing_indicators', 1)")
                .await;
        }
        if approved == 0 {
            rig.execute("UPDATE conversation SET approved = 0").await;
        }
        let mut signals = rig.context.signals.listen();
        rig.hear(&[say(2, now - age, Kind::Typing(Typing { started: true }))])
            .await;
        match signals.try_recv() {
            Ok(signal) => {
                assert!(raised && signal.what == What::Typing(true));
                assert_eq!(signal.author, keys(2).account_id().to_string());
            }
            Err(error) => assert!(!raised && error == TryRecvError::Empty, "{wanted} {age}"),
        }
        assert_eq!(rig.words(2).await.len(), 2);
    }
}

#[tokio::test]
async fn calls_are_relayed_and_one_record_is_kept() {
    let offer = || CallSignal::Offer("v=0".into());
    let answer = || CallSignal::Answer("v=0".into());
    for (name, approved, age, steps, word, relayed) in [
        (
            "missed",
            true,
            1_000,
            vec![
                (2, CallSignal::PreOffer),
                (2, offer()),
                (2, CallSignal::EndCall),
            ],
            Some("(call CALL_STATE_MISSED)"),
            3,
        ),
        (
            "from somebody not accepted",
            false,
            1_000,
            vec![(2, CallSignal::PreOffer), (2, offer())],
            Some("(call CALL_STATE_MISSED_NEEDS_PERMISSION)"),
            0,
        ),
        (
            "answered on another device",
            true,
            1_000,
            vec![
                (2, CallSignal::PreOffer),
                (1, answer()),
                (1, CallSignal::EndCall),
            ],
            Some("(call CALL_STATE_ANSWERED_ELSEWHERE)"),
            3,
        ),
        (
            "rejected on another device",
            true,
            1_000,
            vec![(2, CallSignal::PreOffer), (1, CallSignal::EndCall)],
            Some("(call CALL_STATE_ENDED_ELSEWHERE)"),
            2,
        ),
        (
            "an old offer rings no more",
            true,
            100_000,
            vec![(2, CallSignal::PreOffer), (2, offer())],
            Some("(call CALL_STATE_MISSED)"),
            1,
        ),
        (
            "long over",
            true,
            400_000,
            vec![(2, CallSignal::PreOffer), (2, offer())],
            Some("(call CALL_STATE_MISSED)"),
            0,
        ),
        (
            "of which we know nothing",
            true,
            1_000,
            vec![(1, CallSignal::EndCall)],
            None,
            0,
        ),
    ] {
        for together in [true, false] {
            let rig = rig().await;
            let now = rig.context.now_ms();
            friends(&rig, now - 500_000).await;
            if !approved {
                rig.execute("UPDATE conversation SET approved = 0").await;
            }
            let mut signals = rig.context.signals.listen();
            let said: Vec<Say> = (now - age..)
                .zip(&steps)
                .map(|(at, (from, signal))| say(*from, at, call(1, signal.clone())))
                .collect();
            if together {
                rig.hear(&said).await;
            } else {
                for one in &said {
                    rig.hear(std::slice::from_ref(one)).await;
                }
            }
            assert_eq!(
                rig.words(2).await.get(2).map(String::as_str),
                word,
                "{name}"
            );
            let mut count = 0;
            while signals.try_recv().is_ok() {
                count += 1;
            }
            assert_eq!(count, relayed, "{name}, together: {together}");
            let conversation = rig.conversation(2).await.unwrap();
            assert_eq!(
                conversation.unread_count,
                1 + u32::from(word.is_some()),
                "{name}"
            );
            assert!(rig.conversation(1).await.is_none());
        }
    }
}

#[tokio::test]
async fn data_extraction_is_an_entry_that_counts_for_nothing() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    friends(&rig, now).await;
    for (at, screenshot) in [(now + 10, false), (now + 11, true)] {
        let notice = DataExtraction {
            screenshot,
            timestamp: Some(u64::try_from(now).unwrap()),
        };
        rig.hear(&[say(2, at, Kind::DataExtraction(notice))]).await;
    }
    assert_eq!(
        rig.words(2).await[2..],
        [
            "(DATA_EXTRACTION_KIND_MEDIA_SAVED)",
            "(DATA_EXTRACTION_KIND_SCREENSHOT)"
        ]
    );
    assert_eq!(rig.conversation(2).await.unwrap().unread_count, 1);
}

#[tokio::test]
async fn the_latest_timer_change_of_each_side_stays() {
    let now = 1_790_000_000_000;
    let theirs = |at, seconds| {
        let update = say(2, now + at, Kind::ExpirationTimerUpdate);
        if seconds == 0 {
            update
        } else {
            update.disappearing(ExpirationMode::AfterRead, seconds)
        }
    };
    for (name, said, words, own, peer) in [
        ("one", vec![theirs(10, 300)], vec!["(timer 300)"], 0, 300),
        (
            "a later one",
            vec![theirs(10, 300), theirs(11, 600)],
            vec!["(timer 600)"],
            0,
            600,
        ),
        (
            "an earlier one that is late",
            vec![theirs(11, 600), theirs(10, 300)],
            vec!["(timer 600)"],
            0,
            600,
        ),
        (
            "off",
            vec![theirs(10, 300), theirs(11, 0)],
            vec!["(timer 0)"],
            0,
            0,
        ),
    ] {
        for together in [true, false] {
            let rig = rig().await;
            friends(&rig, now).await;
            if together {
                rig.hear(&said).await;
            } else {
                for one in &said {
                    rig.hear(std::slice::from_ref(one)).await;
                }
            }
            assert_eq!(rig.words(2).await[2..], words, "{name} {together}");
            let seconds = |setting: Option<v1::DisappearingSetting>| {
                setting.and_then(|it| it.timer).map_or(0, |it| it.seconds)
            };
            let conversation = rig.conversation(2).await.unwrap();
            assert_eq!(seconds(conversation.disappearing), own, "{name}");
            assert_eq!(seconds(conversation.peer_disappearing), peer, "{name}");
        }
    }
    // Ours, from another device, is our own setting; both sides' entries stay beside each other. A timer that ran out
    // long ago would not even be stored, hence the present.
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    friends(&rig, now).await;
    let update = |from, at| {
        say(from, at, Kind::ExpirationTimerUpdate).disappearing(ExpirationMode::AfterRead, 43_200)
    };
    rig.hear(&[update(2, now + 10), update(1, now + 11).copied_to(2)])
        .await;
    assert_eq!(rig.words(2).await[2..], ["(timer 43200)", "(timer 43200)"]);
    let conversation = rig.conversation(2).await.unwrap();
    assert_eq!(
        conversation.disappearing.unwrap().timer.unwrap().seconds,
        43_200
    );
}

#[tokio::test]
async fn profiles_are_taken_over_when_newer() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    let profile = |name: &str, updated_s, picture| Profile {
        name: (!name.is_empty()).then(|| name.to_owned()),
        picture,
        updated_s,
    };
    let picture = |url: &str| Picture::Set {
        url: url.into(),
        key: FileKey::new(&[3; 32]).unwrap(),
    };
    for (number, (sent, profile, name, has_picture)) in (0_i64..).zip([
        // Without times the later message counts.
        (10, profile("A", 0, Picture::None), "A", false),
        (9, profile("too late", 0, Picture::None), "A", false),
        (11, profile("B", 0, picture("u1")), "B", true),
        // With times the later time counts, whenever it was sent.
        (5, profile("C", 100, picture("u2")), "C", true),
        (20, profile("no time", 0, Picture::None), "C", true),
        (21, profile("older", 99, Picture::None), "C", true),
        (22, profile("same", 100, Picture::None), "C", true),
        (23, profile("", 101, picture("u3")), "C", true),
        (24, profile("D", 102, Picture::None), "D", false),
    ]) {
        let message = say(2, now + sent, text(&number.to_string())).with_profile(profile);
        assert_eq!(rig.hear(&[message]).await, 1);
        let conversation = rig.conversation(2).await.unwrap();
        assert_eq!(conversation.display_name, name, "{number}");
        assert_eq!(
            rig.one::<i64>(
                "SELECT picture_url IS NOT NULL AND picture_key IS NOT NULL FROM conversation"
            )
            .await
                != 0,
            has_picture,
            "{number}"
        );
    }
    // Our own copies say nothing about anybody.
    let own = say(1, now + 30, text("x")).with_profile(profile("Me", 900, Picture::None));
    rig.hear(&[own.copied_to(2)]).await;
    assert_eq!(rig.conversation(2).await.unwrap().display_name, "D");
}

#[tokio::test]
async fn what_was_cleared_does_not_come_back() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    friends(&rig, now).await;
    rig.execute("UPDATE conversation SET cleared_before_ms = last_read_ms + 100")
        .await;
    rig.hear(&[
        say(2, now + 50, text("old")),
        say(2, now + 101, text("new")),
        // A deletion is not stopped by it.
        say(2, now + 51, unsend(2, now + 1)),
    ])
    .await;
    assert_eq!(rig.refused("BEFORE_CLEARING").await, 1);
    assert_eq!(rig.words(2).await, ["ours", "(deleted)", "new"]);
}
