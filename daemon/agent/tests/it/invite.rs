//! Invitations to communities, and the profile that goes with what is sent.

use session_protocol::content::{self, Kind, Read};
use session_protocol::envelope;
use sessiond::actions::send::Draft;
use sessiond::actions::{ActionError, outgoing};
use sessiond::random::os_rng;
use sessiond::store::StoreError;
use sessiond_proto::v1::message::Content;

use crate::actions::{act, outbox, send_to};
use crate::common::{Rig, keys, rig};

fn invitation(name: &str) -> Draft {
    let url = format!("https://c.example/room?public_key={}", "0a".repeat(32));
    Draft {
        invitation: Some((url, name.into())),
        token: "t".into(),
        ..Draft::default()
    }
}

/// What the newest item for the other side says when it is read there.
async fn read_there(rig: &Rig) -> Read {
    let (content, sent_ms): (Vec<u8>, i64) = sqlx::query_as(
        "SELECT content, sent_ms FROM outbox WHERE purpose = 1 ORDER BY id DESC LIMIT 1",
    )
    .fetch_one(rig.context.db.readers())
    .await
    .unwrap();
    let (to, at) = (keys(2), u64::try_from(sent_ms).unwrap());
    let sealed = envelope::seal(&mut os_rng(), &keys(1), &to.account_id(), at, &content).unwrap();
    content::read(&envelope::open(&to, &sealed).unwrap().content).unwrap()
}

#[tokio::test]
async fn an_invitation_is_shown_here_and_sent_with_its_copy() {
    let rig = rig().await;
    let id = send_to(&rig, 2, invitation("Room")).await.unwrap();
    assert_eq!(rig.words(2).await, ["(invitation Room)"]);
    assert_eq!(
        outbox(&rig).await,
        [
            "COMMUNITY_INVITATION to 2",
            "then COMMUNITY_INVITATION to 1"
        ]
    );
    let Kind::Visible(visible) = read_there(&rig).await.kind else {
        panic!("not to be shown");
    };
    let there = visible.invitation.unwrap();
    let Some(Content::CommunityInvitation(here)) = &rig.messages(2).await[0].content else {
        panic!("no invitation");
    };
    assert_eq!((&there.url, &there.name), (&here.url, &here.name));
    assert_eq!((there.name.as_str(), visible.body.as_str()), ("Room", ""));

    // The token covers what it invites to, and that it invites.
    assert_eq!(send_to(&rig, 2, invitation("Room")).await.unwrap(), id);
    let text = Draft {
        body: "Room".into(),
        token: "t".into(),
        ..Draft::default()
    };
    let timed = Draft {
        expiry: Some((1, 300)),
        ..invitation("Room")
    };
    for other in [invitation("Other"), text, timed] {
        assert!(matches!(
            send_to(&rig, 2, other).await,
            Err(ActionError::Store(StoreError::TokenReused))
        ));
    }
}

#[tokio::test]
async fn an_invitation_that_failed_is_sent_again_as_it_was() {
    let rig = rig().await;
    let id = send_to(&rig, 2, invitation("Room")).await.unwrap();
    let again = id.clone();
    act(&rig, move |connection, actor| {
        Box::pin(async move { outgoing::cancel(connection, actor, &id).await })
    })
    .await
    .unwrap();
    assert!(outbox(&rig).await.is_empty());
    act(&rig, move |connection, actor| {
        Box::pin(async move { outgoing::retry(connection, actor, &again).await })
    })
    .await
    .unwrap();
    assert_eq!(outbox(&rig).await.len(), 2);
    let Kind::Visible(visible) = read_there(&rig).await.kind else {
        panic!("not to be shown");
    };
    assert_eq!(visible.invitation.unwrap().name, "Room");
}

/// Others keep the newer of two profiles, so each goes with the time at which the name was chosen.
#[tokio::test]
async fn the_profile_goes_with_its_time() {
    let rig = rig().await;
    let db = &rig.context.db;
    assert!(
        db.set_display_name("First".into(), 5_000_000)
            .await
            .unwrap()
    );
    assert_eq!(db.meta().profile_s, 5_000);
    // Twice in a second, or with a clock set back: still newer.
    assert!(
        db.set_display_name("Second".into(), 4_000_000)
            .await
            .unwrap()
    );
    assert_eq!(db.meta().profile_s, 5_001);
    assert!(
        !db.set_display_name("Second".into(), 9_000_000)
            .await
            .unwrap()
    );
    assert_eq!(db.meta().profile_s, 5_001);
    assert_eq!(rig.one::<i64>("SELECT profile_s FROM meta").await, 5_001);
    send_to(&rig, 2, invitation("Room")).await.unwrap();
    let profile = read_there(&rig).await.profile.unwrap();
    assert_eq!(
        (profile.name.as_deref(), profile.updated_s),
        (Some("Second"), 5_001)
    );
}
