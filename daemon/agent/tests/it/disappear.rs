//! How timers of disappearing messages begin and end: read here, read elsewhere, set by several devices, over restarts
//! and clocks that are set.

use session_protocol::content::{DataExtraction, ExpirationMode, Kind, Reaction, Visible};
use sessiond::actions::{expire, react, read};
use sessiond::store::account_db::note_now;
use sessiond::store::events;
use sessiond::store::timers;
use sessiond::sync::elsewhere::{self, Found};
use sessiond::sync::expiry;
use sessiond_proto::v1::{Message, TimerStart};

use crate::actions::{act, with};
use crate::common::{Rig, WrongClock, ms, rig};
use crate::say::say;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 86_400_000;

fn text(body: &str) -> Kind {
    Kind::Visible(Box::new(Visible::text(body)))
}

async fn read_all(rig: &Rig) {
    act(rig, |connection, actor| {
        Box::pin(async move { read::mark_read(connection, actor, &with(2), None).await })
    })
    .await
    .unwrap();
}

/// Why a timer runs, and how long from its start to its end, ms.
fn timer(message: &Message) -> (TimerStart, i64) {
    let start = ms(message.timer_start_time.as_ref());
    (
        message.timer_start(),
        ms(message.expire_time.as_ref()) - start,
    )
}

/// What the own swarm is to be told: hashes and times, ms.
async fn shortenings(rig: &Rig) -> Vec<(String, i64)> {
    sqlx::query_as("SELECT hash, expires_ms FROM swarm_expiry ORDER BY hash")
        .fetch_all(rig.context.db.readers())
        .await
        .unwrap()
}

async fn found(rig: &Rig, found: Found) -> usize {
    let now_ms = rig.context.now_ms();
    rig.context
        .db
        .writer()
        .call(move |connection| {
            Box::pin(async move { elsewhere::write(connection, &found, now_ms).await })
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn reading_starts_timers_and_the_swarm_is_told() {
    let rig = rig().await;
    let now = rig.context.now_ms();
    let mode = ExpirationMode::AfterRead;
    let here = say(2, now - HOUR, text("a")).disappearing(mode, 3_600);
    // Its copy goes earlier than the message would.
    let two_weeks = 1_209_600;
    let long = say(2, now - HOUR, text("b")).disappearing(mode, two_weeks);
    let stays = say(2, now - HOUR + 2, text("c"));
    let copies = vec![here.stored(), long.stored(), stays.stored()];
    let hash = copies[0].hash.clone();
    rig.apply(copies).await;
    assert!(shortenings(&rig).await.is_empty());
    read_all(&rig).await;
    let messages = rig.messages(2).await;
    let timers: Vec<_> = messages.iter().map(timer).collect();
    assert_eq!(timers[0], (TimerStart::ReadHere, HOUR));
    let last = timers.last().unwrap();
    assert_eq!(*last, (TimerStart::Unspecified, 0));
    let told = shortenings(&rig).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, hash);
    assert_eq!(told[0].1, ms(messages[0].expire_time.as_ref()));
}

#[tokio::test]
async fn notices_go_as_well_although_they_count_for_nothing() {
    let rig = rig().await;
    let now = rig.context.now_ms();
    let mode = ExpirationMode::AfterRead;
    let saved = Kind::DataExtraction(DataExtraction {
        screenshot: false,
        timestamp: Some(1),
    });
    // What disappears after sending tells such notices to go after reading.
    rig.hear(&[
        say(2, now - 9_000, text("a")),
        say(2, now - 8_000, Kind::ExpirationTimerUpdate).disappearing(mode, 300),
        say(2, now - 7_000, saved).disappearing(ExpirationMode::AfterSend, 43_200),
    ])
    .await;
    read_all(&rig).await;
    let timers: Vec<_> = rig.messages(2).await.iter().map(timer).collect();
    assert_eq!(
        timers,
        [
            (TimerStart::Unspecified, 0),
            (TimerStart::ReadHere, 5 * MINUTE),
            (TimerStart::ReadHere, 12 * HOUR)
        ]
    );
}

#[tokio::test]
async fn what_another_device_read_goes_with_its_timer() {
    let rig = rig().await;
    let now = rig.context.now_ms();
    let mode = ExpirationMode::AfterRead;
    // Stored an hour ago, read half an hour ago: shortened to that and an hour.
    let hour = u64::try_from(HOUR).unwrap();
    rig.hear(&[
        say(2, now - HOUR, text("read there"))
            .disappearing(mode, 3_600)
            .stored_for(hour / 2 + hour),
        say(2, now - 5 * HOUR, text("over"))
            .disappearing(mode, 3_600)
            .stored_for(2 * hour),
        say(2, now - 50 * MINUTE, text("not read")).disappearing(mode, 3_600),
    ])
    .await;
    let messages = rig.messages(2).await;
    assert_eq!(rig.words(2).await, ["read there", "not read"]);
    assert_eq!(timer(&messages[0]), (TimerStart::ReadElsewhere, HOUR));
    assert_eq!(
        ms(messages[0].expire_time.as_ref()),
        now - HOUR + HOUR / 2 + HOUR
    );
    assert_eq!(timer(&messages[1]), (TimerStart::Unspecified, 0));
    assert_eq!(rig.refused("EXPIRED").await, 1);
    // Reading it here moves nothing: the earliest reading counts.
    read_all(&rig).await;
    let again = rig.messages(2).await;
    assert_eq!(again[0].expire_time, messages[0].expire_time);
    assert_eq!(timer(&again[1]), (TimerStart::ReadHere, HOUR));
    assert_eq!(shortenings(&rig).await.len(), 1);
}

#[tokio::test]
async fn what_came_unread_is_found_to_be_read_elsewhere() {
    let rig = rig().await;
    let now = rig.context.now_ms();
    let mode = ExpirationMode::AfterRead;
    let mut copies: Vec<_> = ["shorter", "gone", "later", "read here", "own"]
        .into_iter()
        .zip(1..)
        .map(|(body, n)| {
            let said = say(2, now - 10 * MINUTE + n, text(body)).disappearing(mode, 3_600);
            let mut copy = said.stored();
            copy.hash = body.repeat(43).chars().take(43).collect();
            copy
        })
        .collect();
    let hashes: Vec<String> = copies.iter().map(|copy| copy.hash.clone()).collect();
    // Ours runs since it was stored and is not read by anybody.
    let own = say(1, now - 10 * MINUTE + 5, text("own")).copied_to(3);
    copies[4] = own.disappearing(mode, 3_600).stored();
    copies[4].hash.clone_from(&hashes[4]);
    rig.apply(copies).await;
    let first = rig.messages(2).await;
    act(&rig, move |connection, actor| {
        Box::pin(async move {
            // Up to the last one that came.
            let id = first[3].id.clone();
            let mine = first[3].send_time;
            assert!(mine.is_some());
            sqlx::query("UPDATE message SET expiry_start_ms = 1, expiry_cause = 2, expires_at = ? WHERE public_id = ?")
                .bind(actor.now_ms + HOUR)
                .bind(id)
                .execute(connection)
                .await?;
            Ok(())
        })
    })
    .await
    .unwrap();
    let read_at = now - 5 * MINUTE;
    let shorter = vec![
        (hashes[0].clone(), read_at + HOUR),
        // No reader can have made this.
        (hashes[2].clone(), now + 3 * HOUR),
        (hashes[3].clone(), read_at + HOUR),
        (hashes[4].clone(), read_at),
    ];
    let gone = vec![hashes[1].clone(), hashes[3].clone(), hashes[4].clone()];
    assert_eq!(found(&rig, Found { shorter, gone }).await, 1);
    let messages = rig.messages(2).await;
    assert_eq!(rig.words(2).await, ["shorter", "later", "read here"]);
    assert_eq!(timer(&messages[0]), (TimerStart::ReadElsewhere, HOUR));
    assert_eq!(ms(messages[0].timer_start_time.as_ref()), read_at);
    assert_eq!(timer(&messages[1]), (TimerStart::Unspecified, 0));
    // Read earlier there than here.
    assert_eq!(ms(messages[2].timer_start_time.as_ref()), read_at);
    assert_eq!(rig.messages(3).await.len(), 1);
    // A later time changes nothing.
    let later = vec![(hashes[0].clone(), read_at + HOUR + MINUTE)];
    let gone = Vec::new();
    found(
        &rig,
        Found {
            shorter: later,
            gone,
        },
    )
    .await;
    let again = rig.messages(2).await;
    assert_eq!(again[0].expire_time, messages[0].expire_time);
    let conversation = rig.conversation(2).await.unwrap();
    assert_eq!(conversation.unread_count, 3);
}

#[tokio::test]
async fn what_was_passed_before_it_came_is_shortened_and_what_waits_is_named() {
    let rig = rig().await;
    let now = rig.context.now_ms();
    let mode = ExpirationMode::AfterRead;
    rig.hear(&[say(1, now - 5 * MINUTE, text("answer")).copied_to(2)])
        .await;
    let late = say(2, now - 9 * MINUTE, text("late")).disappearing(mode, 300);
    let waits = say(2, now - MINUTE, text("waits")).disappearing(mode, 300);
    let copies = vec![late.stored(), waits.stored()];
    let (late, waits) = (copies[0].hash.clone(), copies[1].hash.clone());
    rig.apply(copies).await;
    let told = shortenings(&rig).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, late);
    let messages = rig.messages(2).await;
    assert_eq!(told[0].1, ms(messages[0].expire_time.as_ref()));
    let mut connection = rig.context.db.readers().acquire().await.unwrap();
    let held = timers::waiting(&mut connection, (i64::MIN, 0), now, 10)
        .await
        .unwrap();
    let held: Vec<&str> = held.iter().map(|it| it.hash.as_str()).collect();
    assert_eq!(held, [waits]);
}

#[tokio::test]
async fn what_has_gone_does_not_come_back_under_another_name() {
    let rig = rig().await;
    let now = rig.context.now_ms();
    let said = say(2, now - 2 * MINUTE, text("once"))
        .disappearing(ExpirationMode::AfterSend, 121)
        .stored_for(121_000);
    rig.hear(&[say(2, now - HOUR, text("stays")), said.clone()])
        .await;
    rig.execute("UPDATE message SET expires_at = expires_at - 2000 WHERE expires_at IS NOT NULL")
        .await;
    assert_eq!(expiry::sweep(&rig.context).await.unwrap(), 1);
    assert_eq!(rig.words(2).await, ["stays"]);
    // The same copy, and the same message stored anew, for longer.
    let copy = said.stored();
    let again = said.stored_for(1_210_000);
    assert_ne!(copy.hash, again.stored().hash);
    rig.hear(std::slice::from_ref(&again)).await;
    assert_eq!(rig.words(2).await, ["stays"]);
    assert_eq!(rig.refused("GONE").await, 1);
    let reasons: Vec<i64> = {
        let mut connection = rig.context.db.readers().acquire().await.unwrap();
        let log = events::after(&mut connection, 0, 100).await.unwrap();
        log.iter().map(|event| event.reason).collect()
    };
    assert_eq!(reasons.iter().filter(|reason| **reason == 1).count(), 1);
    // Nor after a restart.
    let rig = rig.restarted(WrongClock(0)).await;
    rig.hear(&[again]).await;
    assert_eq!(rig.words(2).await, ["stays"]);
}

#[tokio::test]
async fn what_nobody_reads_goes_after_two_weeks() {
    let rig = rig().await;
    let now = rig.context.now_ms();
    let mode = ExpirationMode::AfterRead;
    rig.hear(&[
        say(2, now - 14 * DAY - MINUTE, text("old")).disappearing(mode, 300),
        say(2, now - 14 * DAY - MINUTE, text("old, stays")),
        say(2, now - 14 * DAY + MINUTE, text("not yet")).disappearing(mode, 300),
    ])
    .await;
    rig.hear(&[say(2, now - 14 * DAY - MINUTE + 1, text("old, stays"))])
        .await;
    expiry::sweep(&rig.context).await.unwrap();
    assert_eq!(rig.words(2).await, ["old, stays", "not yet"]);
    assert_eq!(rig.conversation(2).await.unwrap().unread_count, 2);
}

#[tokio::test]
async fn the_latest_setting_of_the_own_devices_counts() {
    let rig = rig().await;
    let now = rig.context.now_ms();
    let set = |at: i64, seconds: u32| {
        say(1, at, Kind::ExpirationTimerUpdate)
            .copied_to(2)
            .disappearing(ExpirationMode::AfterSend, seconds)
            .stored_for(u64::from(seconds) * 1_000)
    };
    rig.hear(&[say(1, now - 20 * DAY, text("hello")).copied_to(2)])
        .await;
    let setting = async || {
        let conversation = rig.conversation(2).await.unwrap();
        let setting = conversation.disappearing;
        setting.map_or(0, |it| it.timer.unwrap().seconds)
    };
    // Over by now, and still what was chosen.
    rig.hear(&[set(now - 13 * HOUR, 43_200)]).await;
    assert_eq!(rig.words(2).await, ["hello"]);
    assert_eq!(setting().await, 43_200);
    // An older one that comes late, although its entry would still be shown.
    rig.hear(&[set(now - DAY, 1_209_600)]).await;
    assert_eq!(setting().await, 43_200);
    rig.hear(&[set(now - HOUR, 86_400)]).await;
    assert_eq!(setting().await, 86_400);
    // One that is set here is later than all.
    rig.execute("UPDATE conversation SET approved_me = 1").await;
    act(&rig, |connection, actor| {
        Box::pin(async move { expire::set(connection, actor, &with(2), (1, 300)).await })
    })
    .await
    .unwrap();
    rig.hear(&[set(now - MINUTE, 604_800)]).await;
    assert_eq!(setting().await, 300);
}

#[tokio::test]
async fn a_reaction_that_waits_goes_with_its_message() {
    let rig = rig().await;
    let now = rig.context.now_ms();
    rig.hear(&[
        say(2, now - 2 * MINUTE, text("gone soon"))
            .disappearing(ExpirationMode::AfterSend, 600)
            .stored_for(600_000),
        say(2, now - MINUTE, text("stays")),
    ])
    .await;
    for place in [0, 1] {
        let id = rig.messages(2).await[place].id.clone();
        act(&rig, move |connection, actor| {
            Box::pin(async move { react::react(connection, actor, &id, "🦖", false).await })
        })
        .await
        .unwrap();
    }
    let waiting = "SELECT count(*) FROM outbox WHERE kind = 'REACTION'";
    assert_eq!(rig.one::<i64>(waiting).await, 4);
    rig.execute("UPDATE message SET expires_at = 1 WHERE expires_at IS NOT NULL")
        .await;
    assert_eq!(expiry::sweep(&rig.context).await.unwrap(), 1);
    assert_eq!(rig.one::<i64>(waiting).await, 2);
    // It is not left for the next one of theirs to find either.
    let react = Kind::Reaction(Reaction {
        timestamp: u64::try_from(now - 2 * MINUTE).unwrap(),
        author: crate::common::keys(2).account_id().into(),
        emoji: "👍".into(),
        remove: false,
    });
    rig.hear(&[say(2, now, react)]).await;
    assert_eq!(rig.messages(2).await.len(), 1);
}

/// A clock that is a year ahead after a restart lets nothing go that was more than a day off; what is within the day
/// goes, and what the clock says to be over is not shown.
#[tokio::test]
async fn a_clock_that_jumped_deletes_nothing_far_off() {
    let rig = rig().await;
    let now = rig.context.now_ms();
    let mode = ExpirationMode::AfterSend;
    rig.hear(&[
        say(2, now, text("stays")),
        say(2, now, text("x")),
        say(2, now - HOUR, text("within the day"))
            .disappearing(mode, 43_200)
            .stored_for(43_200_000),
        say(2, now - HOUR + 1, text("far off"))
            .disappearing(mode, 604_800)
            .stored_for(604_800_000),
    ])
    .await;
    let there = async |rig: &Rig| rig.all("SELECT body FROM message ORDER BY order_ms").await;
    let rig = rig.restarted(WrongClock(365 * DAY)).await;
    assert!(rig.context.now_ms() > now + 364 * DAY);
    assert_eq!(expiry::sweep(&rig.context).await.unwrap(), 1);
    assert_eq!(there(&rig).await, ["far off", "stays"]);
    assert_eq!(rig.words(2).await, ["stays"]);
    // Set right again: it is there as before.
    let rig = rig.restarted(WrongClock(0)).await;
    assert_eq!(expiry::sweep(&rig.context).await.unwrap(), 0);
    assert_eq!(rig.words(2).await, ["far off", "stays"]);
    // A clock that is behind does not bring the past back: what is known for certain counts.
    rig.context
        .db
        .writer()
        .call(move |connection| Box::pin(async move { note_now(connection, now + 8 * DAY).await }))
        .await
        .unwrap();
    let rig = rig.restarted(WrongClock(-365 * DAY)).await;
    assert!(rig.context.now_ms() >= now + 8 * DAY);
    assert_eq!(rig.words(2).await, ["stays"]);
    assert_eq!(expiry::sweep(&rig.context).await.unwrap(), 1);
    assert_eq!(there(&rig).await, ["stays"]);
}

/// Timers that a clock ahead of the truth started begin anew once the truth is known.
#[tokio::test]
async fn no_timer_begins_in_the_future() {
    let rig = rig().await;
    let now = rig.context.now_ms();
    rig.hear(&[
        say(2, now - HOUR, text("a")).disappearing(ExpirationMode::AfterRead, 300),
        say(2, now - MINUTE, text("b"))
            .disappearing(ExpirationMode::AfterSend, 43_200)
            .stored_for(43_200_000),
    ])
    .await;
    let rig = rig.restarted(WrongClock(DAY / 4)).await;
    read_all(&rig).await;
    let rig = rig.restarted(WrongClock(0)).await;
    let before: i64 = rig.one("SELECT max(seq) FROM event").await;
    let changed = rig
        .context
        .db
        .writer()
        .call(move |connection| {
            Box::pin(async move { timers::begin_no_later_than(connection, now).await })
        })
        .await
        .unwrap();
    assert_eq!(changed, 1);
    let messages = rig.messages(2).await;
    assert_eq!(ms(messages[0].expire_time.as_ref()), now + 5 * MINUTE);
    // So does the copy, which tells the other devices.
    let copy: i64 = rig.one("SELECT expires_ms FROM swarm_expiry").await;
    assert_eq!(copy, now + 5 * MINUTE);
    // Whoever shows it is told.
    let mut connection = rig.context.db.readers().acquire().await.unwrap();
    let told = events::after(&mut connection, before, 5).await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].kind, &told[0].message),
        (events::kind::MESSAGE_CHANGED, &messages[0].id)
    );
    assert!(told[0].fields.contains(&"expire_time".to_owned()));
    drop(connection);
    assert_eq!(ms(messages[1].timer_start_time.as_ref()), now - MINUTE);
}
