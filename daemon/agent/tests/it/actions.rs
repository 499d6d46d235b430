//! What frontends do: local state, what goes into the outbox, and in which order.

use futures_util::future::BoxFuture;
use session_protocol::content::{Kind, Visible};
use sessiond::actions::change::{self, Changes};
use sessiond::actions::delete::{Scope, delete};
use sessiond::actions::send::{Draft, send};
use sessiond::actions::{ActionError, Actor, approve, expire, outgoing, react, read, typing};
use sessiond::store::StoreError;
use sessiond::store::conversations::Selector;
use sessiond::store::entries::{self, Progress};
use sessiond_proto::v1;
use sqlx::SqliteConnection;

use crate::common::{Rig, keys, ms, rig};
use crate::say::say;

fn text(body: &str) -> Kind {
    Kind::Visible(Box::new(Visible::text(body)))
}

pub async fn act<T, F>(rig: &Rig, action: F) -> Result<T, ActionError>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut SqliteConnection, &'c Actor) -> BoxFuture<'c, Result<T, ActionError>>
        + Send
        + 'static,
{
    rig.act(action).await
}

pub fn with(number: u8) -> Selector {
    Selector::Peer(keys(number).account_id().to_string())
}

/// What waits in the outbox, in order: kind, number of the account whose swarm gets it, whether it waits for another.
pub async fn outbox(rig: &Rig) -> Vec<String> {
    let rows: Vec<(String, String, bool)> =
        sqlx::query_as("SELECT kind, owner, follows IS NOT NULL FROM outbox ORDER BY id")
            .fetch_all(rig.context.db.readers())
            .await
            .unwrap();
    rows.into_iter()
        .map(|(kind, owner, follows)| {
            let number = (1..9).find(|n| keys(*n).account_id().to_string() == owner);
            format!(
                "{}{kind} to {}",
                if follows { "then " } else { "" },
                number.unwrap()
            )
        })
        .collect()
}

pub async fn clear_outbox(rig: &Rig) {
    rig.execute("DELETE FROM outbox").await;
}

pub async fn send_to(rig: &Rig, to: u8, draft: Draft) -> Result<String, ActionError> {
    let recipient = keys(to).account_id();
    act(rig, move |connection, actor| {
        Box::pin(async move {
            let (row, _) = send(connection, actor, recipient, &draft).await?;
            Ok(row.public_id)
        })
    })
    .await
}

fn draft(body: &str, token: &str) -> Draft {
    Draft {
        body: body.into(),
        token: token.into(),
        ..Draft::default()
    }
}

#[tokio::test]
async fn reading_tells_only_whom_it_may() {
    for (name, wanted, request, told) in [
        ("receipts are off", false, false, 0),
        ("a request", true, true, 0),
        ("receipts are on", true, false, 1),
    ] {
        let rig = rig().await;
        let now = rig.context.now_ms() - 10_000;
        rig.hear(&[say(2, now + 1, text("a")), say(2, now + 2, text("b"))])
            .await;
        if !request {
            rig.hear(&[say(1, now, text("c")).copied_to(2)]).await;
        }
        if wanted {
            rig.execute("INSERT INTO setting (key, value) VALUES ('read_receipts', 1)")
                .await;
        }
        for _ in 0..2 {
            // The second time there is nothing more to tell.
            act(&rig, |connection, actor| {
                Box::pin(async move { read::mark_read(connection, actor, &with(2), None).await })
            })
            .await
            .unwrap();
        }
        assert_eq!(rig.conversation(2).await.unwrap().unread_count, 0, "{name}");
        let expected = vec!["READ_RECEIPT to 2".to_owned(); told];
        assert_eq!(outbox(&rig).await, expected, "{name}");
    }
}

#[tokio::test]
async fn reading_up_to_a_message_of_another_conversation_is_refused() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    rig.hear(&[say(2, now, text("a")), say(3, now, text("b"))])
        .await;
    let id = rig.messages(3).await[0].id.clone();
    let outcome = act(&rig, move |connection, actor| {
        Box::pin(async move { read::mark_read(connection, actor, &with(2), Some(&id)).await })
    })
    .await;
    assert!(matches!(outcome, Err(ActionError::NoMessage)));
    assert_eq!(rig.conversation(2).await.unwrap().unread_count, 1);
}

#[tokio::test]
async fn a_deletion_goes_as_far_as_asked() {
    for (scope, author, items, copies) in [
        (Scope::Here, 1, vec![], 0),
        (Scope::Here, 2, vec![], 0),
        (Scope::OwnDevices, 2, vec!["UNSEND to 1"], 1),
        (
            Scope::Everyone,
            1,
            vec!["UNSEND to 2", "then UNSEND to 1"],
            1,
        ),
    ] {
        let rig = rig().await;
        let now = rig.context.now_ms() - 10_000;
        rig.hear(&[
            say(1, now, text("ours")).copied_to(2),
            say(2, now + 1, text("theirs")),
        ])
        .await;
        let place = usize::from(author == 2);
        let id = rig.messages(2).await[place].id.clone();
        // Twice: the second time changes nothing.
        for _ in 0..2 {
            let id = id.clone();
            act(&rig, move |connection, actor| {
                Box::pin(async move { delete(connection, actor, &id, scope).await })
            })
            .await
            .unwrap();
        }
        assert_eq!(rig.words(2).await[place], "(deleted)", "{scope:?}");
        assert_eq!(outbox(&rig).await, items, "{scope:?}");
        assert_eq!(
            rig.one::<i64>("SELECT count(*) FROM swarm_deletion").await,
            copies,
            "{scope:?}"
        );
    }
}

#[tokio::test]
async fn nobody_deletes_for_everyone_what_others_wrote() {
    let rig = rig().await;
    rig.hear(&[say(2, rig.context.now_ms(), text("theirs"))])
        .await;
    let id = rig.messages(2).await[0].id.clone();
    let outcome = act(&rig, move |connection, actor| {
        Box::pin(async move { delete(connection, actor, &id, Scope::Everyone).await })
    })
    .await;
    assert!(matches!(outcome, Err(ActionError::NotPossible(_))));
    assert_eq!(rig.words(2).await, ["theirs"]);
}

#[tokio::test]
async fn what_was_not_sent_yet_is_deleted_before_it_goes() {
    let rig = rig().await;
    let id = send_to(&rig, 2, draft("regret", "t")).await.unwrap();
    act(&rig, move |connection, actor| {
        Box::pin(async move { delete(connection, actor, &id, Scope::Everyone).await })
    })
    .await
    .unwrap();
    // It may be on its way this very moment, so the request goes nevertheless.
    assert_eq!(outbox(&rig).await, ["UNSEND to 2", "then UNSEND to 1"]);
}

#[tokio::test]
async fn a_reaction_is_sent_once() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    rig.hear(&[say(2, now, text("theirs"))]).await;
    let id = rig.messages(2).await[0].id.clone();
    for (remove, reactions, items) in [(false, 1, 2), (false, 1, 2), (true, 0, 4), (true, 0, 4)] {
        let id = id.clone();
        let (row, _) = act(&rig, move |connection, actor| {
            Box::pin(async move { react::react(connection, actor, &id, "👍", remove).await })
        })
        .await
        .unwrap();
        assert_eq!(row.reactions.len(), reactions);
        assert_eq!(outbox(&rig).await.len(), items);
    }
    assert_eq!(
        outbox(&rig).await[..2],
        ["REACTION to 2", "then REACTION to 1"]
    );
}

#[tokio::test]
async fn an_answer_tells_first_that_it_accepts() {
    let rig = rig().await;
    rig.hear(&[say(2, rig.context.now_ms() - 10_000, text("hi"))])
        .await;
    send_to(&rig, 2, draft("hello", "t1")).await.unwrap();
    assert_eq!(
        outbox(&rig).await,
        ["REQUEST_RESPONSE to 2", "TEXT to 2", "then TEXT to 1"]
    );
    let times: Vec<i64> = sqlx::query_scalar("SELECT sent_ms FROM outbox ORDER BY id")
        .fetch_all(rig.context.db.readers())
        .await
        .unwrap();
    assert_eq!(times[1] - times[0], 100);
    let conversation = rig.conversation(2).await.unwrap();
    assert!(conversation.approved && !conversation.request);
    // Once.
    clear_outbox(&rig).await;
    send_to(&rig, 2, draft("more", "t2")).await.unwrap();
    act(&rig, |connection, actor| {
        Box::pin(async move { approve::accept(connection, actor, &with(2)).await })
    })
    .await
    .unwrap();
    assert_eq!(outbox(&rig).await, ["TEXT to 2", "then TEXT to 1"]);
}

#[tokio::test]
async fn a_request_is_declined_with_or_without_blocking() {
    for block in [false, true] {
        let rig = rig().await;
        let now = rig.context.now_ms() - 10_000;
        let first = say(2, now, text("hi")).stored();
        rig.apply(vec![first.clone()]).await;
        act(&rig, move |connection, actor| {
            Box::pin(async move { approve::decline(connection, actor, &with(2), block).await })
        })
        .await
        .unwrap();
        assert!(outbox(&rig).await.is_empty());
        assert!(rig.words(2).await.is_empty());
        assert_eq!(rig.conversation(2).await.is_some(), block);
        // The same does not come back; something new does, unless blocked.
        rig.apply(vec![first]).await;
        assert!(rig.words(2).await.is_empty());
        rig.hear(&[say(2, rig.context.now_ms(), text("please"))])
            .await;
        let expected: &[&str] = if block { &[] } else { &["please"] };
        assert_eq!(rig.words(2).await, expected);
    }
}

/// Other writes come between; until all are gone it is a request with the rest of its messages.
#[tokio::test]
async fn a_long_request_is_declined_some_messages_at_a_time() {
    for (count, block, expected) in [
        (450, false, vec![250, 50]),
        (400, true, vec![200]),
        (400, false, vec![200]),
    ] {
        let rig = rig().await;
        let now = rig.context.now_ms() - 10_000;
        let said: Vec<_> = (0..count).map(|n| say(2, now + n, text("hi"))).collect();
        rig.hear(&said).await;
        let mut left = Vec::new();
        loop {
            let (more, _) = act(&rig, move |connection, actor| {
                Box::pin(async move { approve::decline(connection, actor, &with(2), block).await })
            })
            .await
            .unwrap();
            if !more {
                break;
            }
            let conversation = rig.conversation(2).await.unwrap();
            assert!(conversation.request && !conversation.blocked);
            left.push(conversation.unread_count);
        }
        assert_eq!(left, expected);
        assert!(rig.words(2).await.is_empty());
        assert_eq!(rig.conversation(2).await.is_some(), block);
    }
}

#[tokio::test]
async fn nothing_goes_to_whom_we_blocked() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    rig.hear(&[
        say(1, now, text("ours")).copied_to(2),
        say(2, now + 1, text("theirs")),
    ])
    .await;
    act(&rig, |connection, actor| {
        Box::pin(async move { approve::set_blocked(connection, actor, &with(2), true).await })
    })
    .await
    .unwrap();
    let outcome = send_to(&rig, 2, draft("no", "t")).await;
    assert!(matches!(outcome, Err(ActionError::Blocked)));
    let id = rig.messages(2).await[1].id.clone();
    let outcome = act(&rig, move |connection, actor| {
        Box::pin(async move { react::react(connection, actor, &id, "👍", false).await })
    })
    .await;
    assert!(matches!(outcome, Err(ActionError::Blocked)));
    rig.execute("INSERT INTO setting (key, value) VALUES ('read_receipts', 1)")
        .await;
    act(&rig, |connection, actor| {
        Box::pin(async move { read::mark_read(connection, actor, &with(2), None).await })
    })
    .await
    .unwrap();
    assert!(outbox(&rig).await.is_empty());
}

#[tokio::test]
async fn a_token_covers_quote_and_preview() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    let answer = say(1, now + 1, text("yes?")).copied_to(2);
    rig.hear(&[say(2, now, text("asked")), answer]).await;
    let quoted = rig.messages(2).await[0].id.clone();
    let rich = Draft {
        invitation: None,
        body: "see https://a.example/".into(),
        quote: Some(quoted),
        preview: Some(("https://a.example/".into(), "A".into())),
        expiry: Some((1, 300)),
        token: "t".into(),
    };
    let id = send_to(&rig, 2, rich.clone()).await.unwrap();
    assert_eq!(send_to(&rig, 2, rich.clone()).await.unwrap(), id);
    for other in [
        Draft {
            quote: None,
            ..rich.clone()
        },
        Draft {
            preview: None,
            ..rich.clone()
        },
        Draft {
            expiry: Some((1, 3_600)),
            ..rich.clone()
        },
        draft("see https://a.example/", "t"),
    ] {
        assert!(matches!(
            send_to(&rig, 2, other).await,
            Err(ActionError::Store(StoreError::TokenReused))
        ));
    }
    assert_eq!(rig.words(2).await.len(), 3);
}

#[tokio::test]
async fn what_the_user_sets_for_a_conversation_stays_as_set() {
    let rig = rig().await;
    rig.hear(&[say(2, rig.context.now_ms() - 10_000, text("hi"))])
        .await;
    let set = async |changes: Changes| {
        act(&rig, move |connection, actor| {
            Box::pin(async move { change::change(connection, actor, &with(2), changes).await })
        })
        .await
        .unwrap();
        let row = rig.conversation(2).await.unwrap();
        let priority = i64::from(row.pin_priority) - i64::from(row.hidden);
        let mute_until_s = row.mute_until_time.map_or(0, |time| time.seconds);
        (row.nickname, priority, row.notify_mode, mute_until_s)
    };
    let pin = |pin| Changes {
        pin_priority: Some(pin),
        ..Changes::default()
    };
    let hide = |hidden| Changes {
        hidden: Some(hidden),
        ..Changes::default()
    };
    let all = Changes {
        nickname: Some("Bobby".into()),
        notify_mode: Some(2),
        mute_until_ms: Some(7_000),
        ..pin(3)
    };
    let bobby = || "Bobby".to_owned();
    assert_eq!(set(all).await, (bobby(), 3, 2, 7));
    assert_eq!(set(hide(false)).await, (bobby(), 3, 2, 7));
    assert_eq!(set(hide(true)).await, (bobby(), -1, 2, 7));
    assert_eq!(set(pin(0)).await, (bobby(), -1, 2, 7));
    assert_eq!(set(hide(false)).await, (bobby(), 0, 2, 7));
    let unmute = Changes {
        mute_until_ms: Some(0),
        ..pin(1)
    };
    assert_eq!(set(unmute).await, (bobby(), 1, 2, 0));
    assert_eq!(set(pin(0)).await, (bobby(), 0, 2, 0));
    // Whoever writes again is shown again.
    assert_eq!(set(hide(true)).await.1, -1);
    rig.hear(&[say(2, rig.context.now_ms(), text("there?"))])
        .await;
    assert!(!rig.conversation(2).await.unwrap().hidden);
    assert!(outbox(&rig).await.is_empty());
}

#[tokio::test]
async fn what_is_cleared_does_not_come_back() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    let heard: Vec<_> = (0..250)
        .map(|n| say(2, now + n, text("old")).stored())
        .collect();
    rig.apply(heard.clone()).await;
    rig.hear(&[say(3, now, text("elsewhere"))]).await;
    send_to(&rig, 2, draft("on its way", "t")).await.unwrap();
    let mut rounds = 0;
    loop {
        rounds += 1;
        let (more, _) = act(&rig, |connection, actor| {
            Box::pin(async move { change::clear(connection, actor, &with(2)).await })
        })
        .await
        .unwrap();
        if !more {
            break;
        }
    }
    assert_eq!(rounds, 2);
    rig.apply(heard).await;
    // What waits is sent nevertheless.
    assert_eq!(rig.words(2).await, ["on its way"]);
    assert_eq!(rig.words(3).await, ["elsewhere"]);
    assert_eq!(outbox(&rig).await.len(), 3);
    assert_eq!(rig.conversation(2).await.unwrap().unread_count, 0);
    // What comes later is shown.
    rig.hear(&[say(2, rig.context.now_ms() + 1_000, text("new"))])
        .await;
    assert_eq!(rig.words(2).await, ["on its way", "new"]);
}

/// What is deleted while it waits to be sent waits no longer, and goes when the conversation is cleared.
#[tokio::test]
async fn what_is_deleted_while_it_waits_is_no_longer_being_sent() {
    let rig = rig().await;
    rig.hear(&[say(2, rig.context.now_ms() - 10_000, text("hi"))])
        .await;
    let id = send_to(&rig, 2, draft("on second thoughts", "t"))
        .await
        .unwrap();
    act(&rig, move |connection, actor| {
        Box::pin(async move { delete(connection, actor, &id, Scope::Here).await })
    })
    .await
    .unwrap();
    assert_eq!(outbox(&rig).await, ["REQUEST_RESPONSE to 2"]);
    let deleted = rig.messages(2).await.pop().unwrap();
    assert_eq!(
        (deleted.send_state, deleted.sync_state),
        (v1::SendState::Failed.into(), v1::SendState::None.into())
    );
    assert_eq!(deleted.failure_reason, "CANCELLED");
    act(&rig, |connection, actor| {
        Box::pin(async move { change::clear(connection, actor, &with(2)).await })
    })
    .await
    .unwrap();
    assert!(rig.messages(2).await.is_empty());
}

#[tokio::test]
async fn a_waiting_message_is_taken_back_and_sent_again() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    let answer = say(1, now + 1, text("yes?")).copied_to(2);
    rig.hear(&[say(2, now, text("asked")), answer]).await;
    let quoted = rig.messages(2).await[0].id.clone();
    let rich = Draft {
        invitation: None,
        body: "see https://a.example/".into(),
        quote: Some(quoted),
        preview: Some(("https://a.example/".into(), "A".into())),
        expiry: Some((1, 300)),
        token: "t".into(),
    };
    let id = send_to(&rig, 2, rich).await.unwrap();
    let items = "SELECT group_concat(hex(content)) FROM outbox WHERE message IS NOT NULL";
    let before = rig.one::<String>(items).await;
    let again = async |resend: bool| {
        let id = id.clone();
        act(&rig, move |connection, actor| {
            Box::pin(async move {
                if resend {
                    outgoing::retry(connection, actor, &id).await
                } else {
                    outgoing::cancel(connection, actor, &id).await
                }
            })
        })
        .await
        .map(|(row, _)| (row.send_state, row.sync_state, row.failure))
    };
    assert!(matches!(
        again(true).await,
        Err(ActionError::NotPossible(_))
    ));
    assert_eq!(again(false).await.unwrap(), (4, 1, "CANCELLED".into()));
    assert!(outbox(&rig).await.is_empty());
    assert!(matches!(
        again(false).await,
        Err(ActionError::NotPossible(_))
    ));
    assert_eq!(again(true).await.unwrap(), (2, 2, String::new()));
    assert_eq!(outbox(&rig).await, ["TEXT to 2", "then TEXT to 1"]);
    // The same bytes: the same words, quote and preview at the same time.
    assert_eq!(rig.one::<String>(items).await, before);
    // It was on its way this very moment: then it is sent, for no reason at all.
    again(false).await.unwrap();
    let stored = Progress {
        send_state: Some(3),
        ..Progress::default()
    };
    rig.context
        .db
        .writer()
        .call(move |connection| {
            Box::pin(async move {
                let all: Vec<i64> =
                    sqlx::query_scalar("SELECT receive_seq FROM message WHERE failure <> ''")
                        .fetch_all(&mut *connection)
                        .await?;
                entries::progress(connection, all[0], &stored, 1).await
            })
        })
        .await
        .unwrap();
    let sent = rig.messages(2).await.pop().unwrap();
    assert_eq!((sent.send_state, &*sent.failure_reason), (3, ""));
}

#[tokio::test]
async fn typing_is_told_only_to_whom_it_may() {
    for (name, wanted, mutual, blocked, told) in [
        ("off", false, true, false, false),
        ("a request", true, false, false, false),
        ("blocked", true, true, true, false),
        ("on", true, true, false, true),
    ] {
        let rig = rig().await;
        let now = rig.context.now_ms() - 10_000;
        rig.hear(&[say(2, now, text("hi"))]).await;
        if mutual {
            rig.hear(&[say(1, now, text("hello")).copied_to(2)]).await;
        }
        if wanted {
            rig.execute("INSERT INTO setting (key, value) VALUES ('typing_indicators', 1)")
                .await;
        }
        if blocked {
            act(&rig, |connection, actor| {
                Box::pin(
                    async move { approve::set_blocked(connection, actor, &with(2), true).await },
                )
            })
            .await
            .unwrap();
        }
        let tell = act(&rig, |connection, actor| {
            Box::pin(async move { typing::tell(connection, actor, &with(2), true).await })
        })
        .await
        .unwrap();
        assert_eq!(tell.is_some(), told, "{name}");
        assert!(outbox(&rig).await.is_empty());
        if let Some(tell) = tell {
            assert_eq!((tell.peer, tell.ttl_ms), (keys(2).account_id(), 20_000));
        }
    }
}

#[tokio::test]
async fn a_timer_is_set_and_told_where_it_may() {
    let rig = rig().await;
    let now = rig.context.now_ms() - 10_000;
    rig.hear(&[say(2, now, text("hi"))]).await;
    let set = async |setting: (i64, i64)| {
        act(&rig, move |connection, actor| {
            Box::pin(async move { expire::set(connection, actor, &with(2), setting).await })
        })
        .await
        .map(|(row, _)| row.expiry)
    };
    let refused = set((1, 300)).await;
    assert!(matches!(refused, Err(ActionError::NotPossible(_))));
    let timed = |expiry| Draft {
        expiry: Some(expiry),
        ..draft("to a stranger", "t0")
    };
    let refused = send_to(&rig, 3, timed((1, 300))).await;
    assert!(matches!(refused, Err(ActionError::NotPossible(_))));
    // Saying that it stays is no timer.
    send_to(&rig, 3, timed((0, 0))).await.unwrap();
    clear_outbox(&rig).await;
    rig.hear(&[say(1, now + 1, text("hello")).copied_to(2)])
        .await;
    let update = "EXPIRATION_TIMER_UPDATE to 2";
    let copy = "then EXPIRATION_TIMER_UPDATE to 1";
    for _ in 0..2 {
        // The second time there is nothing to tell.
        assert_eq!(set((1, 300)).await.unwrap(), (1, 300));
        assert_eq!(outbox(&rig).await, [update, copy]);
    }
    clear_outbox(&rig).await;
    assert_eq!(set((2, 86_400)).await.unwrap(), (2, 86_400));
    assert_eq!(outbox(&rig).await, [update, copy]);
    // Of ours only the latest entry stays; what is said from now on disappears by it.
    let entries = "SELECT group_concat(expiry_timer_s) FROM message WHERE kind = 'TIMER_CHANGE'";
    assert_eq!(rig.one::<String>(entries).await, "86400");
    send_to(&rig, 2, draft("gone tomorrow", "t1"))
        .await
        .unwrap();
    let own = Draft {
        expiry: Some((1, 3_600)),
        ..draft("gone once read", "t2")
    };
    send_to(&rig, 2, own).await.unwrap();
    let texts =
        "SELECT group_concat(expiry_timer_s) FROM message WHERE send_state = 2 AND kind = 'TEXT'";
    assert_eq!(rig.one::<String>(texts).await, "0,86400,3600");
    assert_eq!(set((0, 0)).await.unwrap(), (0, 0));
}

#[tokio::test]
async fn an_answer_stands_behind_what_it_answers() {
    let rig = rig().await;
    // The other side's clock is ahead of ours: a little, and much.
    let now = rig.context.now_ms();
    rig.hear(&[say(2, now + 4_000, text("do you hear me"))])
        .await;
    rig.hear(&[say(3, now + 3_600_000, text("and do you"))])
        .await;
    for (peer, at_most) in [(2, 4_001), (3, 12_000)] {
        let id = send_to(&rig, peer, draft("yes", &peer.to_string()))
            .await
            .unwrap();
        let all = rig.messages(peer).await;
        let last = all.last().unwrap();
        assert_eq!(last.id, id);
        let ahead = ms(last.send_time.as_ref()) - now;
        assert!((4_001..=at_most).contains(&ahead), "{peer}: {ahead}");
    }
}
