//! Who is told that the user kept a file.

use session_protocol::content::{Attachment, FileKey, Kind, Visible};
use sessiond::actions::{ActionError, extraction};
use sessiond::store::StoreError;

use crate::actions::{act, clear_outbox, outbox};
use crate::common::{Rig, rig};
use crate::say::say;

fn with_file(body: &str) -> Kind {
    Kind::Visible(Box::new(Visible {
        body: body.into(),
        attachments: vec![Attachment {
            url: "http://files/1".into(),
            key: FileKey::new(&[9; 32]).unwrap(),
            digest: None,
            content_type: None,
            size: None,
            file_name: None,
            voice: false,
            width: None,
            height: None,
            caption: None,
        }],
        ..Visible::default()
    }))
}

async fn saved(rig: &Rig, id: &str, token: &'static str) -> Result<bool, ActionError> {
    let id = id.to_owned();
    act(rig, move |connection, actor| {
        Box::pin(async move { extraction::saved(connection, actor, &id, token).await })
    })
    .await
}

/// Ours, theirs, one without a file.
async fn conversation(rig: &Rig) -> Vec<String> {
    let now = rig.context.now_ms() - 10_000;
    let text = Kind::Visible(Box::new(Visible::text("no file")));
    rig.hear(&[
        say(1, now, with_file("ours")).copied_to(2),
        say(2, now + 1, with_file("theirs")),
        say(2, now + 2, text),
    ])
    .await;
    rig.messages(2).await.into_iter().map(|it| it.id).collect()
}

#[tokio::test]
async fn a_notice_goes_to_people_who_accepted_each_other_unless_it_is_turned_off() {
    for (name, change, place, told) in [
        ("as usual", "SELECT 1", 1, true),
        ("our own", "SELECT 1", 0, false),
        (
            "we have not accepted",
            "UPDATE conversation SET approved = 0",
            1,
            false,
        ),
        (
            "not accepted by them",
            "UPDATE conversation SET approved_me = 0",
            1,
            false,
        ),
        ("blocked", "UPDATE conversation SET blocked = 1", 1, false),
        (
            "turned off",
            "INSERT INTO setting (key, value) VALUES ('media_saved_notices_off', 1)",
            1,
            false,
        ),
    ] {
        let rig = rig().await;
        let ids = conversation(&rig).await;
        rig.execute(change).await;
        assert_eq!(saved(&rig, &ids[place], "").await.unwrap(), told, "{name}");
        let items = vec!["DATA_EXTRACTION to 2".to_owned(); usize::from(told)];
        assert_eq!(outbox(&rig).await, items, "{name}");
    }
}

#[tokio::test]
async fn a_token_tells_once_and_nothing_is_told_of_what_has_no_file() {
    let rig = rig().await;
    let ids = conversation(&rig).await;
    for _ in 0..2 {
        assert!(saved(&rig, &ids[1], "t").await.unwrap());
    }
    assert_eq!(outbox(&rig).await.len(), 1);
    clear_outbox(&rig).await;
    for _ in 0..2 {
        assert!(saved(&rig, &ids[1], "").await.unwrap());
    }
    assert_eq!(outbox(&rig).await.len(), 2);
    assert!(matches!(
        saved(&rig, &ids[0], "t").await,
        Err(ActionError::Store(StoreError::TokenReused))
    ));
    assert!(matches!(
        saved(&rig, &ids[2], "").await,
        Err(ActionError::NotPossible(_))
    ));
    assert!(matches!(
        saved(&rig, "nothing", "").await,
        Err(ActionError::NoMessage)
    ));
}
