//! Deleting for everyone: who may, what is left, and that it does not come back.

use session_protocol::content::{Attachment, FileKey, Kind, Quote, Reaction, Unsend, Visible};

use crate::common::{keys, rig};
use crate::say::{Say, say};

fn text(body: &str) -> Kind {
    Kind::Visible(Box::new(Visible::text(body)))
}

fn unsend(author: u8, at: i64) -> Kind {
    Kind::Unsend(Unsend {
        timestamp: u64::try_from(at).unwrap(),
        author: keys(author).account_id(),
    })
}

/// Ours to 2 at +0, 2's at +1, 3's at +2, note to self at +3.
fn world(now: i64) -> [Say; 4] {
    [
        say(1, now, text("ours")).copied_to(2),
        say(2, now + 1, text("theirs")),
        say(3, now + 2, text("third")),
        say(1, now + 3, text("note")).copied_to(1),
    ]
}

#[tokio::test]
async fn the_matrix_of_messages_6_6() {
    let now = 1_790_000_000_000;
    for (sender, author, target, gone) in [
        // X may delete what X wrote.
        (2, 2, 1, Some((2, 1))),
        (3, 3, 2, Some((3, 0))),
        // We may delete ours, and others' on our devices.
        (1, 1, 0, Some((2, 0))),
        (1, 2, 1, Some((2, 1))),
        (1, 3, 2, Some((3, 0))),
        // Nobody else may delete ours, or what somebody else wrote.
        (2, 1, 0, None),
        (3, 1, 0, None),
        (2, 3, 2, None),
        (3, 2, 1, None),
        // A time at which nobody wrote.
        (2, 2, 9, None),
        (1, 1, 1, None),
    ] {
        let case = format!("{sender} deletes what {author} wrote at {target}");
        for together in [true, false] {
            let rig = rig().await;
            let mut said: Vec<_> = world(now).iter().map(Say::stored).collect();
            let copies: Vec<_> = said.iter().map(|it| it.hash.clone()).collect();
            let request = say(sender, now + 100, unsend(author, now + target)).stored();
            if together {
                // Before what it deletes, even.
                said.insert(0, request);
                rig.apply(said).await;
            } else {
                rig.apply(said).await;
                rig.apply(vec![request]).await;
            }
            let mut expected = [vec!["ours", "theirs"], vec!["third"]];
            if let Some((with, place)) = gone {
                expected[with - 2][place] = "(deleted)";
            }
            assert_eq!(rig.words(2).await, expected[0], "{case}, {together}");
            assert_eq!(rig.words(3).await, expected[1], "{case}, {together}");
            assert_eq!(rig.words(1).await, ["note"], "{case}");
            // Our own swarm's copy goes as well, so that later devices never see it.
            let deleted = gone.and(usize::try_from(target).ok()).map(|it| &copies[it]);
            let going = rig.all("SELECT hash FROM swarm_deletion").await;
            assert!(going.iter().eq(deleted), "{case}, {together}");
        }
    }
}

#[tokio::test]
async fn in_note_to_self_nothing_is_left() {
    for together in [true, false] {
        let rig = rig().await;
        let now = rig.context.now_ms() - 10_000;
        let mut said: Vec<_> = world(now).iter().map(Say::stored).collect();
        let note = said[3].hash.clone();
        let request = say(1, now + 100, unsend(1, now + 3)).stored();
        if together {
            said.push(request);
            rig.apply(said).await;
        } else {
            rig.apply(said).await;
            rig.apply(vec![request]).await;
        }
        assert!(rig.words(1).await.is_empty());
        assert_eq!(
            rig.one::<i64>("SELECT count(*) FROM event WHERE kind = 3")
                .await,
            i64::from(!together)
        );
        let conversation = rig.conversation(1).await.unwrap();
        assert!(conversation.last_message.is_none());
        assert_eq!(rig.all("SELECT hash FROM swarm_deletion").await, [note]);
    }
}

#[tokio::test]
async fn content_leaves_with_everything_that_hangs_on_it() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    let rich = Visible {
        body: format!("@{} secret", keys(1).account_id()),
        attachments: vec![Attachment {
            url: "http://files/1".into(),
            key: FileKey::new(&[9; 64]).unwrap(),
            digest: Some([1; 32]),
            content_type: None,
            size: None,
            file_name: Some("secret.txt".into()),
            voice: false,
            width: None,
            height: None,
            caption: None,
        }],
        quote: Some(Quote {
            timestamp: 5,
            author: keys(2).account_id().into(),
        }),
        ..Visible::default()
    };
    let original = say(2, now, Kind::Visible(Box::new(rich)));
    let react = Kind::Reaction(Reaction {
        timestamp: u64::try_from(now).unwrap(),
        author: keys(2).account_id().into(),
        emoji: "👍".into(),
        remove: false,
    });
    let stored = original.stored();
    let hash = stored.hash.clone();
    rig.apply(vec![stored]).await;
    rig.hear(&[say(2, now + 1, react), say(2, now + 2, text("after"))])
        .await;
    let before = rig.conversation(2).await.unwrap();
    assert_eq!((before.unread_count, before.unread_mention_count), (2, 1));
    rig.hear(&[say(2, now + 3, unsend(2, now))]).await;
    let after = rig.conversation(2).await.unwrap();
    assert_eq!((after.unread_count, after.unread_mention_count), (1, 0));
    for empty in [
        "SELECT count(*) FROM message WHERE public_id IN (SELECT message FROM event)
             AND deleted AND (body IS NOT NULL OR raw IS NOT NULL OR quote_author IS NOT NULL)",
        "SELECT count(*) FROM attachment",
        "SELECT count(*) FROM reaction",
    ] {
        assert_eq!(rig.one::<i64>(empty).await, 0, "{empty}");
    }
    // Our own swarm's copy is to go, so that later devices never see it.
    assert_eq!(rig.all("SELECT hash FROM swarm_deletion").await, [hash]);
    // Sealed anew it has another hash; author and time still tell that it was there.
    assert_eq!(rig.hear(&[original]).await, 0);
    assert_eq!(rig.words(2).await, ["(deleted)", "after"]);
}
