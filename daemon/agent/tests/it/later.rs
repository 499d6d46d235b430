//! What depends on when a message comes: timers on arrival, spans that were not covered, another try after an upgrade.

use session_protocol::content::{ExpirationMode, Kind, Visible};
use sessiond::store::gaps;
use sessiond::store::received::{self, Quarantined};
use sessiond::sync::receive;
use sessiond_proto::v1::message::Content;

use crate::common::{Rig, rig};
use crate::say::say;

const DAY: i64 = 86_400_000;

fn text(body: &str) -> Kind {
    Kind::Visible(Box::new(Visible::text(body)))
}

/// Start of the timer of the only message, ms after it was sent.
async fn start(rig: &Rig) -> Option<i64> {
    let starts: Vec<Option<i64>> =
        sqlx::query_scalar("SELECT expiry_start_ms - sent_ms FROM message WHERE expiry_type != 0")
            .fetch_all(rig.context.db.readers())
            .await
            .unwrap();
    assert_eq!(starts.len(), 1);
    starts[0]
}

#[tokio::test]
async fn timers_start_as_the_rules_say_or_the_message_is_not_kept() {
    use ExpirationMode::{AfterRead, AfterSend};
    for (name, from, mode, timer_s, age, stored_for, kept) in [
        (
            "sent a while ago",
            2,
            AfterSend,
            3_600,
            60_000,
            3_600_000,
            Some(Some(0)),
        ),
        (
            "over already",
            2,
            AfterSend,
            3_600,
            3_700_000,
            3_600_000,
            None,
        ),
        (
            "over, as the sender says",
            2,
            AfterSend,
            3_600,
            3_700_000,
            14 * DAY,
            None,
        ),
        (
            "not read yet",
            2,
            AfterRead,
            300,
            3_600_000,
            14 * DAY,
            Some(None),
        ),
        (
            "our own copy",
            1,
            AfterRead,
            43_200,
            60_000,
            43_200_000,
            Some(Some(0)),
        ),
        (
            "our own copy, over",
            1,
            AfterRead,
            300,
            3_600_000,
            14 * DAY,
            None,
        ),
    ] {
        let rig = rig().await;
        let at = rig.context.now_ms() - age;
        let said = say(from, at, text("soon gone"))
            .disappearing(mode, timer_s)
            .stored_for(u64::try_from(stored_for).unwrap());
        let said = if from == 1 { said.copied_to(2) } else { said };
        rig.hear(&[said]).await;
        match kept {
            Some(expected) => assert_eq!(start(&rig).await, expected, "{name}"),
            None => {
                assert!(rig.conversation(2).await.is_none(), "{name}");
                assert_eq!(rig.refused("EXPIRED").await, 1, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn answering_reads_what_disappears_after_reading() {
    let rig = rig().await;
    let now = rig.context.now_ms();
    let mode = ExpirationMode::AfterRead;
    rig.hear(&[
        say(2, now - 50_000, text("a")).disappearing(mode, 300),
        say(2, now - 10_000, text("b")).disappearing(mode, 300),
    ])
    .await;
    rig.hear(&[say(1, now - 20_000, text("answer")).copied_to(2)])
        .await;
    let running: Vec<bool> = rig
        .messages(2)
        .await
        .iter()
        .map(|message| message.expire_time.is_some())
        .collect();
    assert_eq!(running, [true, false, false]);
    // One that comes late is read already.
    rig.hear(&[say(2, now - 40_000, text("late")).disappearing(mode, 300)])
        .await;
    assert!(rig.messages(2).await[1].expire_time.is_some());
    assert_eq!(rig.conversation(2).await.unwrap().unread_count, 1);
}

async fn cover(rig: &Rig, now_ms: i64) -> bool {
    rig.context
        .db
        .writer()
        .call(move |connection| Box::pin(gaps::cover(connection, now_ms)))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_span_that_was_not_covered_is_in_the_history() {
    let rig = rig().await;
    let now = rig.context.now_ms();
    let away_since = now - 20 * DAY;
    // The first time there is nothing that could be missing.
    assert!(!cover(&rig, away_since).await);
    rig.hear(&[say(2, away_since - 1_000, text("before"))])
        .await;
    rig.execute("UPDATE conversation SET created_ms = 1").await;
    assert!(cover(&rig, now).await);
    rig.hear(&[say(2, now - DAY, text("after"))]).await;
    assert_eq!(rig.words(2).await, ["before", "(gap)", "after"]);
    let Some(Content::Gap(gap)) = &rig.messages(2).await[1].content else {
        panic!("no gap");
    };
    let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().unwrap().seconds;
    assert_eq!(seconds(&gap.from_time), away_since.div_euclid(1_000));
    assert_eq!(seconds(&gap.until_time), (now - 14 * DAY).div_euclid(1_000));
    let conversation = rig.conversation(2).await.unwrap();
    assert_eq!(conversation.unread_count, 2);
    // Back in time: no gap, and none again for the same span.
    assert!(!cover(&rig, now + 13 * DAY).await);
    assert!(!cover(&rig, now).await);
    assert_eq!(
        rig.one::<i64>("SELECT count(*) FROM message WHERE kind = 'GAP'")
            .await,
        1
    );
}

#[tokio::test]
async fn a_later_version_tries_again_what_an_earlier_one_put_aside() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    let place = receive::own_inbox(&rig.context.account_id());
    let readable = say(2, now, text("now I understand")).stored();
    let entries = [
        (readable.hash, readable.data.unwrap()),
        ("nonsense".into(), vec![0, 2, 1, 2, 3]),
    ];
    rig.context
        .db
        .writer()
        .call(move |connection| {
            Box::pin(async move {
                let entries: Vec<Quarantined> = entries
                    .into_iter()
                    .map(|(hash, data)| Quarantined {
                        hash,
                        reason: "NO_KIND",
                        data,
                        received_ms: now,
                        expires_ms: None,
                    })
                    .collect();
                let marked: Vec<(&str, i64)> =
                    entries.iter().map(|it| (it.hash.as_str(), now)).collect();
                received::mark(&mut *connection, &place, &marked, now).await?;
                received::quarantine(connection, &place, &entries).await
            })
        })
        .await
        .unwrap();
    // The same version does not try twice.
    assert_eq!(receive::retry_quarantine(&rig.context).await.unwrap(), 0);
    assert_eq!(rig.one::<i64>("SELECT count(*) FROM quarantine").await, 2);
    rig.execute("UPDATE quarantine SET version = '0.0.0'").await;
    assert_eq!(receive::retry_quarantine(&rig.context).await.unwrap(), 1);
    assert_eq!(rig.words(2).await, ["now I understand"]);
    assert_eq!(
        rig.all("SELECT hash FROM quarantine WHERE version != '0.0.0'")
            .await,
        ["nonsense"]
    );
    assert_eq!(rig.one::<i64>("SELECT count(*) FROM quarantine").await, 1);
    assert_eq!(receive::retry_quarantine(&rig.context).await.unwrap(), 0);
}
