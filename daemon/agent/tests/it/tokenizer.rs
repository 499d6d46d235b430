//! Why the index cuts text as it does: SQLite's own tokenizers and ours on four scripts.

use std::collections::BTreeMap;

use sessiond::store::words;
use sqlx::AssertSqlSafe;

use crate::common::{Rig, rig};

/// Script, texts, and queries with the numbers of the texts that a reader would expect.
type Script = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static [i64])],
);

const SCRIPTS: &[Script] = &[
    (
        "Latin",
        &[
            "Wir treffen uns um acht im Café in Zürich",
            "El niño comió jalapeños",
            "Ok, a café it is",
        ],
        &[
            ("cafe", &[1, 3]),
            ("ZURICH", &[1]),
            ("nino", &[2]),
            ("jalapeños", &[2]),
            ("um", &[1]),
            ("ok", &[3]),
        ],
    ),
    (
        "Cyrillic",
        &[
            "Встретимся у кафе в Киеве",
            "Ещё одна ёлка",
            "я дома, а ты?",
        ],
        &[
            ("киеве", &[1]),
            ("еще", &[2]),
            ("Ёлка", &[2]),
            ("я", &[3]),
            ("ты", &[3]),
        ],
    ),
    (
        "Chinese",
        &["我们明天在北京见面吧", "他去了上海", "北方的京城很冷"],
        &[
            ("北京", &[1]),
            ("见面", &[1]),
            ("明天在", &[1]),
            ("上海", &[2]),
            ("京", &[1, 3]),
            ("冷", &[3]),
        ],
    ),
    (
        "Thai",
        &["พรุ่งนี้เจอกันที่ตลาดน้ำ", "แมวกินปลา", "ปลาตัวใหญ่ดีมาก"],
        &[
            ("ตลาด", &[1]),
            ("น้ำ", &[1]),
            ("แมว", &[2]),
            ("ปลา", &[2, 3]),
            ("ดี", &[3]),
        ],
    ),
];

const CANDIDATES: &[(&str, &str)] = &[
    ("unicode61", "unicode61 remove_diacritics 2"),
    (
        "unicode61 with marks",
        "unicode61 remove_diacritics 2 categories ''L* N* Co M*''",
    ),
    ("trigram", "trigram remove_diacritics 1"),
    ("session", "session"),
];

/// Texts found by a query, written the way the search writes it.
async fn found(rig: &Rig, table: &str, query: &str) -> Vec<i64> {
    let open = if words::ends_alone(query) { "*" } else { "" };
    let sql = format!("SELECT rowid FROM \"{table}\" WHERE \"{table}\" MATCH ? ORDER BY rowid");
    sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(format!("\"{query}\"{open}"))
        .fetch_all(rig.context.db.readers())
        .await
        .unwrap()
}

#[tokio::test]
async fn our_tokenizer_finds_what_those_of_sqlite_miss() {
    let rig = rig().await;
    let mut missed: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (script, texts, queries) in SCRIPTS {
        for (name, tokenizer) in CANDIDATES {
            let table = format!("{script} {name}");
            rig.run(format!(
                "CREATE VIRTUAL TABLE \"{table}\" USING fts5 (body, tokenize = '{tokenizer}')"
            ))
            .await;
            for text in *texts {
                rig.run(format!("INSERT INTO \"{table}\" (body) VALUES ('{text}')"))
                    .await;
            }
            for (query, expected) in *queries {
                if found(&rig, &table, query).await != *expected {
                    missed.entry((name, script)).or_default().push(query);
                }
            }
        }
        // Words from the one, the rest from the other.
        for (query, expected) in *queries {
            let words = found(&rig, &format!("{script} unicode61 with marks"), query).await;
            let grams = found(&rig, &format!("{script} trigram"), query).await;
            let either = if grams.is_empty() { words } else { grams };
            if either != *expected {
                let both = ("unicode61 and trigram", *script);
                missed.entry(both).or_default().push(query);
            }
        }
    }
    let expected: [((&str, &str), &[&str]); 11] = [
        (
            ("trigram", "Chinese"),
            &["北京", "见面", "上海", "京", "冷"],
        ),
        (("trigram", "Cyrillic"), &["еще", "я", "ты"]),
        (("trigram", "Latin"), &["um", "ok"]),
        (("trigram", "Thai"), &["ดี"]),
        (
            ("unicode61", "Chinese"),
            &["北京", "见面", "明天在", "上海", "京", "冷"],
        ),
        (("unicode61", "Cyrillic"), &["еще"]),
        (("unicode61", "Thai"), &["ตลาด", "น้ำ", "แมว", "ปลา"]),
        (
            ("unicode61 and trigram", "Chinese"),
            &["北京", "见面", "上海", "京", "冷"],
        ),
        (("unicode61 and trigram", "Cyrillic"), &["еще"]),
        (("unicode61 and trigram", "Thai"), &["ดี"]),
        (
            ("unicode61 with marks", "Chinese"),
            &["北京", "见面", "明天在", "上海", "京", "冷"],
        ),
    ];
    for (of, queries) in expected {
        assert_eq!(missed.get(&of).map(Vec::as_slice), Some(queries), "{of:?}");
    }
    for (script, ..) in SCRIPTS {
        assert!(!missed.contains_key(&("session", *script)), "{missed:?}");
    }
    rig.close().await;
}
