//! Full-text search: what a person typed, the hits newest first, and the part of a text that shows why it is one.
//!
//! A query is text, never syntax: it is cut into words at white space, and each word becomes a phrase of the index's
//! own entries, so that nothing in it can reach FTS5 as an operator. All words must be there; the last one may go on.
//! Hits come in the order of arrival, newest first, straight from the index: no search collects or sorts all of them.

use std::ops::Range;

use sqlx::SqliteConnection;

use super::StoreError;
use super::words::{self, Purpose, ends_alone};

/// Most characters of a query.
pub const MAX_QUERY: usize = 256;
/// Letters from which on the last word of a query may go on in the text: shorter ones would find nearly everything.
const PREFIX: usize = 3;
/// Most characters of a snippet, and of what comes before the first match in it.
const SNIPPET: usize = 160;
const BEFORE: usize = 40;

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Query {
    words: Vec<Word>,
}

#[derive(Clone, Debug)]
struct Word {
    /// Findable characters; a space for each other one.
    text: String,
    /// Its entries, which must follow each other.
    entries: Vec<String>,
    /// The last entry may go on.
    open: bool,
}

impl Query {
    /// Reads what a person typed; `None` when nothing in it can be found.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words: Vec<Word> = text.split_whitespace().filter_map(word).collect();
        if let Some(last) = words.last_mut() {
            last.open |= last
                .entries
                .last()
                .is_some_and(|entry| entry.chars().count() >= PREFIX);
        }
        (!words.is_empty()).then_some(Self { words })
    }

    /// The query in FTS5's language.
    fn expression(&self, conversation: Option<i64>) -> String {
        let phrases: Vec<String> = self
            .words
            .iter()
            .map(|word| format!("\"{}\"{}", word.text, if word.open { " *" } else { "" }))
            .collect();
        let body = format!("body : ({})", phrases.join(" AND "));
        match conversation {
            Some(id) => format!("{body} AND conversation : \"c{id}\""),
            None => body,
        }
    }

    /// Where its words stand in a text, in bytes, in order and without overlaps.
    fn matches(&self, text: &str) -> Vec<Range<usize>> {
        let mut entries: Vec<(String, Range<usize>)> = Vec::new();
        words::each(text, Purpose::Document, |entry, range| {
            entries.push((entry.to_owned(), range));
            true
        });
        let mut found: Vec<Range<usize>> = Vec::new();
        for word in &self.words {
            let length = word.entries.len();
            for window in entries.windows(length) {
                let same = window.iter().zip(&word.entries).enumerate();
                let mut same = same.map(|(at, ((entry, _), wanted))| {
                    entry == wanted
                        || word.open && at + 1 == length && entry.starts_with(wanted.as_str())
                });
                if !same.all(|same| same) {
                    continue;
                }
                if let (Some((_, first)), Some((entry, last))) = (window.first(), window.last()) {
                    // Of a pair that only its first character asked for, the first character.
                    let end = match word.entries.last() {
                        Some(wanted) if ends_alone(wanted) && entry != wanted => {
                            let rest = text.get(last.start..).unwrap_or_default();
                            last.start + rest.chars().next().map_or(0, char::len_utf8)
                        }
                        _ => last.end,
                    };
                    found.push(first.start..end);
                }
            }
        }
        found.sort_unstable_by_key(|range| (range.start, range.end));
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(found.len());
        for range in found {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        merged
    }

    /// The part of a text around the first match.
    pub fn snippet(&self, text: &str) -> Snippet {
        let matches = self.matches(text);
        let first = matches.first().map_or(0, |range| range.start);
        let head = text.get(..first).unwrap_or_default();
        let start = match head.char_indices().rev().nth(BEFORE) {
            None => 0,
            // At the next gap between words, if there is one on the way.
            Some((at, _)) => head
                .char_indices()
                .skip_while(|(place, _)| *place < at)
                .find(|(_, c)| c.is_whitespace())
                .map_or(at, |(place, c)| place + c.len_utf8()),
        };
        let tail = text.get(start..).unwrap_or_default();
        let end = tail
            .char_indices()
            .nth(SNIPPET)
            .map_or(text.len(), |(at, _)| start + at);
        let shown = text.get(start..end).unwrap_or_default();
        let count = |part: Option<&str>| part.map_or(0, |part| part.chars().count());
        let matches = matches
            .into_iter()
            .filter(|range| range.start >= start && range.start < end)
            .map(|range| {
                let from = count(text.get(start..range.start));
                from..from + count(text.get(range.start..range.end.min(end)))
            })
            .collect();
        Snippet {
            text: shown.to_owned(),
            matches,
            cut_before: start > 0,
            cut_after: end < text.len(),
        }
    }
}

fn word(text: &str) -> Option<Word> {
    let text: String = text
        .chars()
        .map(|c| if words::is_findable(c) { c } else { ' ' })
        .collect();
    let text = text.trim_matches(' ').to_owned();
    let mut entries = Vec::new();
    words::each(&text, Purpose::Query, |entry, _| {
        entries.push(entry.to_owned());
        true
    });
    let open = ends_alone(&text);
    (!entries.is_empty()).then_some(Word {
        text,
        entries,
        open,
    })
}

/// Part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// At most 160 characters.
    pub text: String,
    /// Where the words stand in it, in characters.
    pub matches: Vec<Range<usize>>,
    /// There is more text before it.
    pub cut_before: bool,
    /// There is more text after it.
    pub cut_after: bool,
}

/// Places of arrival of messages that match, newest first, strictly before `before`.
pub async fn hits(
    connection: &mut SqliteConnection,
    query: &Query,
    conversation: Option<i64>,
    before: i64,
    limit: i64,
    now_ms: i64,
) -> Result<Vec<i64>, StoreError> {
    // CROSS JOIN: the index leads, in its own order.
    Ok(sqlx::query_scalar(
        "SELECT t.rowid FROM message_text t CROSS JOIN message m ON m.receive_seq = t.rowid
         WHERE t.message_text MATCH ? AND t.rowid < ?
             AND (m.expires_at IS NULL OR m.expires_at > ?)
         ORDER BY t.rowid DESC LIMIT ?",
    )
    .bind(query.expression(conversation))
    .bind(before)
    .bind(now_ms)
    .bind(limit)
    .fetch_all(connection)
    .await?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sqlx::ConnectOptions as _;

    use super::*;
    use crate::store::account_db::MIGRATIONS;
    use crate::store::tokenizer;

    fn snippet(query: &str, text: &str) -> Snippet {
        Query::parse(query).unwrap().snippet(text)
    }

    fn shown(query: &str, text: &str) -> Vec<String> {
        let snippet = snippet(query, text);
        let letters: Vec<char> = snippet.text.chars().collect();
        let part = |range: &Range<usize>| letters[range.clone()].iter().collect();
        snippet.matches.iter().map(part).collect()
    }

    #[test]
    fn matches_are_those_of_the_index() {
        for (query, text, expected) in [
            (
                "café",
                "One CAFE\u{301}, two cafes",
                &["CAFE\u{301}", "cafes"][..],
            ),
            ("hel wor", "Hello hel world", &["hel", "world"]),
            ("好", "你好，好人", &["好", "好"]),
            ("你好吗", "他说你好吗？你好", &["你好吗"]),
            ("แมว", "รักแมวมาก", &["แมว"]),
            ("手机", "iPhone手机壳", &["手机"]),
            ("don't", "I don't, don", &["don't"]),
        ] {
            assert_eq!(shown(query, text), expected, "{query}");
        }
        assert!(Query::parse(" \"*( ").is_none());
        assert!(Query::parse("").is_none());
    }

    #[test]
    fn a_snippet_begins_near_the_first_match() {
        let text = format!("{} needle {}", "hay ".repeat(100), "straw ".repeat(100));
        let snippet = snippet("needle", &text);
        assert_eq!(snippet.text.chars().count(), SNIPPET);
        assert!(snippet.cut_before && snippet.cut_after);
        assert!(snippet.text.starts_with("hay "), "{}", snippet.text);
        let range = snippet.matches[0].clone();
        assert!(range.start <= BEFORE && range.len() == 6);
    }

    /// Without a key the database is plain SQLite, so that its file can be searched for what should be gone.
    #[tokio::test]
    async fn deleted_words_are_nowhere_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plain.db");
        let options = crate::store::options(&path)
            .create_if_missing(true)
            .pragma("secure_delete", "ON");
        let mut db = options.connect().await.unwrap();
        tokenizer::register(&mut db).await.unwrap();
        for (_, _, script) in MIGRATIONS {
            sqlx::raw_sql(script).execute(&mut db).await.unwrap();
        }
        let fill =
            "INSERT INTO conversation (id, public_id, kind, peer, display_name, display_name_ms,
                        last_activity_ms, created_ms) VALUES (1, 'c', 1, 'p', '', 0, 0, 0);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
             INSERT INTO message (public_id, conversation, author, outgoing, sent_ms, received_ms,
                 order_ms, kind, body, send_state, sync_state, wire_version)
             SELECT i, 1, 'a', 0, i, i, i, 'TEXT',
                 'some words ' || i || iif(i % 30 = 7, ' qqzanzibar 京葫芦', ''), 1, 1, 1 FROM n;
             PRAGMA wal_checkpoint(TRUNCATE)";
        sqlx::raw_sql(fill).execute(&mut db).await.unwrap();
        let on_disk = || {
            let bytes = std::fs::read(&path).unwrap();
            ["zanzibar", "葫芦"].map(|word| {
                let mut windows = bytes.windows(word.len());
                windows.any(|window| window == word.as_bytes())
            })
        };
        assert_eq!(on_disk(), [true, true]);
        for clear in [
            "DELETE FROM message WHERE receive_seq % 60 = 7",
            "UPDATE message SET body = NULL WHERE body LIKE '%zanzibar%'",
            "PRAGMA wal_checkpoint(TRUNCATE)",
        ] {
            sqlx::raw_sql(clear).execute(&mut db).await.unwrap();
        }
        assert_eq!(on_disk(), [false, false]);
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM message WHERE body IS NOT NULL")
            .fetch_one(&mut db)
            .await
            .unwrap();
        assert_eq!(left, 290);
    }

    proptest! {
        #[test]
        fn snippets_hold_for_any_text(query in any::<String>(), text in any::<String>()) {
            if let Some(query) = Query::parse(&query) {
                let snippet = query.snippet(&text);
                let length = snippet.text.chars().count();
                prop_assert!(length <= SNIPPET);
                for range in snippet.matches {
                    prop_assert!(range.start < range.end && range.end <= length);
                }
            }
        }
    }
}
