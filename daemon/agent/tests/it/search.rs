//! The full-text index follows every change of messages, and a search finds what it should, newest first.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use sessiond::store::search::{self, Query};
use sessiond::store::words::{self, Purpose};

use crate::common::{Rig, rig};

const WORDS: &[&str] = &[
    "alpha",
    "Alphabet",
    "beta",
    "Ünïcode",
    "мир",
    "北京",
    "京",
    "แมว",
    "42",
];

async fn conversation(rig: &Rig, id: i64) {
    let sql = format!(
        "INSERT INTO conversation
         (id, public_id, kind, peer, display_name, display_name_ms, last_activity_ms, created_ms)
         VALUES ({id}, 'c{id}', 1, 'p{id}', '', 0, 0, 0)"
    );
    rig.run(sql).await;
}

async fn message(rig: &Rig, id: i64, conversation: i64, body: &str) {
    let sql = format!(
        "INSERT INTO message (receive_seq, public_id, conversation, author, outgoing, sent_ms,
             received_ms, order_ms, kind, body, send_state, sync_state, wire_version)
         VALUES ({id}, 'm{id}', {conversation}, 'a', 0, {id}, {id}, {id}, 'TEXT', '{body}', 1, 1, 1)"
    );
    rig.run(sql).await;
}

async fn hits(
    rig: &Rig,
    query: &str,
    conversation: Option<i64>,
    before: i64,
    limit: i64,
) -> Vec<i64> {
    let query = Query::parse(query).unwrap();
    let mut connection = rig.context.db.readers().acquire().await.unwrap();
    search::hits(&mut connection, &query, conversation, before, limit, 0)
        .await
        .unwrap()
}

/// What a search for one word should find, from the texts themselves.
async fn expected(rig: &Rig, word: &str) -> Vec<i64> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT receive_seq, body FROM message WHERE body IS NOT NULL ORDER BY receive_seq DESC",
    )
    .fetch_all(rig.context.db.readers())
    .await
    .unwrap();
    let entries = |text: &str, purpose| {
        let mut all = Vec::new();
        words::each(text, purpose, |entry, _| {
            all.push(entry.to_owned());
            true
        });
        all
    };
    let wanted = entries(word, Purpose::Query);
    let (last, open) = (wanted.last().unwrap(), words::ends_alone(word));
    rows.into_iter()
        .filter(|(_, body)| {
            entries(body, Purpose::Document)
                .windows(wanted.len())
                .any(|window| {
                    let (end, start) = window.split_last().unwrap();
                    start == &wanted[..wanted.len() - 1]
                        && (end == last
                            || (open || last.chars().count() >= 3) && end.starts_with(last))
                })
        })
        .map(|(id, _)| id)
        .collect()
}

/// Random changes, and after each group of them: the index is whole, holds what the messages say, and nothing else.
#[tokio::test]
async fn the_index_follows_every_change() {
    let rig = rig().await;
    for id in 1..=3 {
        conversation(&rig, id).await;
    }
    let mut runner = TestRunner::deterministic();
    let bodies = prop::collection::vec(prop::sample::select(WORDS), 1..6);
    let action = (0..7_u8, 1..4_i64, 1..60_i64, bodies);
    let mut next = 0;
    for step in 0..150 {
        let (what, conversation_id, at, words) = action.new_tree(&mut runner).unwrap().current();
        let body = words.join(if at % 2 == 0 { " " } else { "" });
        match what {
            0..=2 => {
                next += 1;
                message(&rig, next, conversation_id, &body).await;
            }
            3 => {
                rig.run(format!(
                    "UPDATE message SET body = '{body}' WHERE receive_seq = {at}"
                ))
                .await
            }
            4 => {
                rig.run(format!(
                    "UPDATE message SET body = NULL WHERE receive_seq IN ({at}, {at} + 1)"
                ))
                .await
            }
            5 => {
                rig.run(format!(
                    "DELETE FROM message WHERE receive_seq IN ({at}, {at} + 2)"
                ))
                .await
            }
            _ if step % 40 == 39 => {
                // With all its messages.
                rig.run(format!(
                    "DELETE FROM conversation WHERE id = {conversation_id}"
                ))
                .await;
                conversation(&rig, conversation_id).await;
            }
            _ => {
                rig.run(format!(
                    "UPDATE message SET conversation = {conversation_id} WHERE receive_seq = {at}"
                ))
                .await
            }
        }
        if step % 10 == 9 {
            // Compares the index with the texts, entry by entry.
            rig.run("INSERT INTO message_text (message_text, rank) VALUES ('integrity-check', 1)")
                .await;
            for word in WORDS {
                assert_eq!(
                    hits(&rig, word, None, i64::MAX, 1_000).await,
                    expected(&rig, word).await,
                    "{word}"
                );
            }
        }
    }
    assert!(
        rig.one::<i64>("SELECT count(*) FROM message WHERE body IS NOT NULL")
            .await
            > 10
    );
    rig.close().await;
}

#[tokio::test]
async fn newest_first_page_by_page_within_a_conversation() {
    let rig = rig().await;
    conversation(&rig, 1).await;
    conversation(&rig, 12).await;
    for id in 1..=40 {
        let home = if id % 4 == 0 { 1 } else { 12 };
        message(&rig, id, home, &format!("common c12 word {id}")).await;
    }
    let all: Vec<i64> = (1..=40).rev().collect();
    assert_eq!(hits(&rig, "common", None, i64::MAX, 100).await, all);
    assert_eq!(hits(&rig, "word common", None, 21, 3).await, [20, 19, 18]);
    // The text "c12" is no conversation.
    assert_eq!(hits(&rig, "common", Some(1), 17, 3).await, [16, 12, 8]);
    assert_eq!(hits(&rig, "33", Some(12), i64::MAX, 3).await, [33]);
    assert_eq!(hits(&rig, "33", Some(1), i64::MAX, 3).await, [0_i64; 0]);
    rig.execute("UPDATE message SET expires_at = -1 WHERE receive_seq = 20")
        .await;
    assert_eq!(hits(&rig, "common", None, 21, 2).await, [19, 18]);
    rig.close().await;
}

/// Whatever a person types is text: it is either refused as empty or searched for, never an error.
#[tokio::test]
async fn no_query_is_an_error() {
    let rig = rig().await;
    conversation(&rig, 1).await;
    message(&rig, 1, 1, "NEAR OR AND NOT body conversation").await;
    let strategy = prop_oneof![
        any::<String>(),
        "[\"*:^+(){}\\-a-c\\x00 ]{0,24}",
        "(NEAR|AND|OR|NOT|body|conversation|[(){}:\"*^+,]| |c1){0,8}",
    ];
    let mut runner = TestRunner::deterministic();
    let mut searched = BTreeSet::new();
    for _ in 0..500 {
        let text = strategy.new_tree(&mut runner).unwrap().current();
        if Query::parse(&text).is_some() {
            hits(&rig, &text, Some(1), i64::MAX, 5).await;
            searched.insert(text);
        }
    }
    assert!(searched.len() > 100);
    for text in ["NEAR(or and)", "\"body\" : not", "-NEAR^ {body}"] {
        assert_eq!(hits(&rig, text, None, i64::MAX, 5).await, [1], "{text}");
    }
    rig.close().await;
}
