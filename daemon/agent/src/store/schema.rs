//! Which columns hold what people wrote, and which hold only what the agent needs to work.
//!
//! Promise 3 of design.md ("expired means gone") clears every content column; a column that is declared neither way
//! would escape it, so a test fails for one.

/// Columns whose content must go when a message goes.
pub const CONTENT: &[(&str, &[&str])] = &[
    (
        "message",
        &[
            "body",
            "raw",
            "msg_id",
            "quote_author",
            "preview_url",
            "preview_title",
            "invitation_url",
            "invitation_name",
        ],
    ),
    (
        "attachment",
        &[
            "file_name",
            "content_type",
            "caption",
            "url",
            "key",
            "digest",
        ],
    ),
    ("reaction", &["emoji"]),
    ("outbox", &["content", "sealed"]),
    ("stored_copy", &["sealed"]),
    ("quarantine", &["data"]),
    (
        "conversation",
        &["display_name", "picture_url", "picture_key", "nickname"],
    ),
    ("message_text_data", &["block"]),
];

/// TEXT and BLOB columns that hold nothing anybody wrote to somebody.
pub const METADATA: &[(&str, &[&str])] = &[
    ("meta", &["network", "account_id", "display_name", "log_id"]),
    ("conversation", &["public_id", "peer"]),
    (
        "message",
        &["public_id", "author", "kind", "failure", "hash"],
    ),
    ("attachment", &["public_id"]),
    ("reaction", &["author"]),
    ("call", &["uuid"]),
    ("setting", &["key"]),
    ("outbox", &["kind", "owner", "hash"]),
    (
        "stored_copy",
        &["kind", "owner", "hash", "signed", "missed"],
    ),
    ("place", &["swarm"]),
    ("tombstone", &["hash"]),
    ("gone", &["author"]),
    ("swarm_deletion", &["hash"]),
    ("swarm_expiry", &["hash"]),
    ("swarm_cursor", &["swarm", "node", "hash", "anchor"]),
    ("event", &["conversation", "message", "fields"]),
    ("subscriber", &["name"]),
    ("client_token", &["token", "fingerprint", "message"]),
    ("quarantine", &["swarm", "hash", "reason", "version"]),
    ("counter", &["name"]),
    (
        "delivery",
        &["reason", "hash", "node", "path", "confirmed", "missed"],
    ),
    ("arrival", &["node", "path"]),
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::store::{conversations, events, timers, tokenizer};
    use sqlx::{Connection as _, SqliteConnection};

    /// An account database in memory, without a key.
    pub(crate) async fn memory() -> SqliteConnection {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        tokenizer::register(&mut connection).await.unwrap();
        for (_, _, script) in crate::store::account_db::MIGRATIONS {
            sqlx::raw_sql(script)
                .execute(&mut connection)
                .await
                .unwrap();
        }
        connection
    }

    #[tokio::test]
    async fn every_column_is_declared() {
        let mut db = memory().await;
        let columns: Vec<(String, String)> = sqlx::query_as(
            "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND c.type IN ('TEXT', 'BLOB')",
        )
        .fetch_all(&mut db)
        .await
        .unwrap();
        assert!(columns.len() > 20);
        let declared: Vec<(&str, &str)> = CONTENT
            .iter()
            .chain(METADATA)
            .flat_map(|(table, columns)| columns.iter().map(|column| (*table, *column)))
            .collect();
        for (table, column) in &columns {
            let count = declared
                .iter()
                .filter(|entry| **entry == (table, column))
                .count();
            assert_eq!(count, 1, "{table}.{column} must be declared once");
        }
        assert_eq!(
            declared.len(),
            columns.len(),
            "a declared column does not exist"
        );
    }

    /// Reads the plan of every query that is asked often; a scan of a table that grows would show here.
    #[tokio::test]
    async fn frequent_queries_use_an_index() {
        let mut db = memory().await;
        let let_end = timers::let_end(&[("a".into(), 5), ("b".into(), 6)], 5).into_string();
        for sql in [
            "SELECT * FROM message WHERE conversation = 1 AND (order_ms, receive_seq) < (5, 5)
             ORDER BY order_ms DESC, receive_seq DESC LIMIT 50",
            "SELECT * FROM message WHERE conversation = 1 ORDER BY order_ms, receive_seq LIMIT 50",
            "SELECT * FROM message m JOIN conversation c ON c.id = m.conversation
             WHERE m.public_id IN ('a', 'b')",
            "SELECT * FROM conversation WHERE (last_activity_ms, id) < (1, 1)
             ORDER BY last_activity_ms DESC, id DESC LIMIT 50",
            "SELECT * FROM conversation WHERE peer IN ('a')",
            "SELECT seq FROM event WHERE seq > 5 ORDER BY seq LIMIT 200",
            events::PRUNE,
            &let_end,
            timers::BEGIN_NO_LATER,
            "SELECT hash FROM tombstone WHERE place = (SELECT id FROM place WHERE swarm = 'a' AND namespace = 0) AND hash IN ('x')",
            "SELECT hash FROM swarm_cursor WHERE swarm = 'a' AND namespace = 0 AND expires_ms > 1",
            "SELECT created_ms FROM outbox WHERE id = (SELECT min(id) FROM outbox)",
            "SELECT min(next_attempt_ms) FROM outbox WHERE follows IS NULL",
            "SELECT 1 FROM outbox WHERE conversation = 1 AND owner = 'a' AND id < 5 AND follows IS NULL
             AND next_attempt_ms > 5",
            "UPDATE outbox SET follows = NULL WHERE follows = 5",
            "DELETE FROM outbox WHERE id = 5 OR follows = 5",
            "SELECT count(*) FROM message WHERE conversation = 1 AND counts = 1 AND sent_ms > 5",
            "SELECT sum(mentions_me) FROM message WHERE conversation = 1 AND counts = 1 AND sent_ms > 5",
            "SELECT m.receive_seq FROM message m JOIN conversation c ON c.id = m.conversation
             LEFT JOIN message q ON q.conversation = m.conversation AND q.author = m.quote_author
                 AND q.sent_ms = m.quote_sent_ms
             LEFT JOIN call k ON k.message = m.receive_seq WHERE m.conversation = 1
             ORDER BY m.order_ms DESC, m.receive_seq DESC LIMIT 50",
            "SELECT public_id FROM attachment WHERE message IN (1, 2) ORDER BY message, position",
            "SELECT emoji FROM reaction WHERE NOT removed AND message IN (1, 2)",
            "SELECT receive_seq FROM message WHERE expires_at <= 5 ORDER BY expires_at LIMIT 5",
            "WITH want (conversation, author, sent_ms) AS (VALUES (1, 'a', 1))
             SELECT m.receive_seq FROM want CROSS JOIN message m ON m.conversation = want.conversation
                 AND m.author = want.author AND m.sent_ms = want.sent_ms",
            "SELECT receive_seq FROM message WHERE outgoing = 1 AND sent_ms IN (1, 2)",
            "SELECT receive_seq FROM message WHERE kind = 'TIMER_CHANGE' AND conversation IN (1, 2)",
            "SELECT conversation FROM message WHERE kind = 'REQUEST_ACCEPTED' AND conversation IN (1, 2)",
            "SELECT message FROM call WHERE uuid IN ('a', 'b')",
            "SELECT m.receive_seq FROM message m WHERE m.conversation = 1 AND m.sent_ms <= 5
             AND m.expiry_type = 1 AND m.expiry_start_ms IS NULL AND m.outgoing = 0",
            "SELECT max(sent_ms) FROM message WHERE conversation = 1 AND counts = 1",
            "SELECT hash FROM swarm_deletion WHERE next_attempt_ms <= 5 ORDER BY next_attempt_ms LIMIT 5",
            "SELECT hash FROM stored_copy WHERE watched = 1 AND next_ms <= 5 ORDER BY next_ms LIMIT 5",
            "SELECT min(next_ms) FROM stored_copy WHERE watched = 0",
            "SELECT count(*), coalesce(sum(size), 0) FROM stored_copy",
            "SELECT hash FROM tombstone WHERE place = (SELECT id FROM place WHERE swarm = 'a' AND namespace = 0)
             AND hash > 'x' LIMIT 5",
            "UPDATE stored_copy SET next_ms = 5 WHERE watched = 1 AND next_ms > 5",
            "DELETE FROM stored_copy WHERE message = 5",
            "DELETE FROM stored_copy WHERE message IS NULL AND conversation = 5 AND kind <> 'UNSEND'",
            "SELECT min(expires_at) FROM message WHERE expires_at IS NOT NULL",
            "SELECT min(expires_ms) FROM quarantine WHERE expires_ms IS NOT NULL",
            "SELECT min(order_ms) FROM message
             WHERE expiry_type = 1 AND expiry_start_ms IS NULL AND outgoing = 0",
            "SELECT receive_seq, hash FROM message WHERE expiry_type = 1 AND expiry_start_ms IS NULL
             AND outgoing = 0 AND (order_ms, receive_seq) > (5, 5) ORDER BY order_ms, receive_seq LIMIT 5",
            "WITH want (conversation, author, sent_ms) AS (VALUES (1, 'a', 1))
             SELECT g.sent_ms FROM want CROSS JOIN gone g ON g.conversation = want.conversation
                 AND g.author = want.author AND g.sent_ms = want.sent_ms",
            "DELETE FROM gone WHERE until_ms < 5",
            "DELETE FROM outbox WHERE about IN (1, 2)",
            "DELETE FROM quarantine WHERE expires_ms <= 5",
            "SELECT hash FROM swarm_expiry WHERE next_attempt_ms <= 5 ORDER BY next_attempt_ms LIMIT 5",
            "SELECT hash, receive_seq FROM message WHERE expiry_type = 1 AND expiry_start_ms IS NULL
             AND outgoing = 0 AND hash IN ('a', 'b')",
            "SELECT id FROM outbox WHERE sealed IS NULL ORDER BY id LIMIT 5",
            "SELECT message FROM client_token WHERE token = 'a'",
            "SELECT t.rowid FROM message_text t CROSS JOIN message m ON m.receive_seq = t.rowid
             WHERE t.message_text MATCH 'a' AND t.rowid < 9 ORDER BY t.rowid DESC LIMIT 5",
            conversations::UNREAD_TOTAL,
            "SELECT count(*) FROM quarantine WHERE reason = 'UNSUPPORTED_VERSION'",
            "SELECT * FROM delivery WHERE message = 1",
            "SELECT * FROM arrival WHERE first_seq <= 9 ORDER BY first_seq DESC LIMIT 1",
        ] {
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                    .fetch_all(&mut db)
                    .await
                    .unwrap();
            for (_, _, _, step) in plan {
                assert!(reads_little(&step), "{sql}\nreads too much: {step}");
            }
        }
    }

    /// Steps that go through a whole index on purpose, or to the end of a table.
    const WHOLE: [&str; 3] = [
        // From pages of nothing but sizes.
        "SCAN stored_copy USING COVERING INDEX stored_copy_size",
        // Holds only what is not sealed yet.
        "SCAN outbox USING INDEX outbox_unsealed",
        // The first of a table.
        "SEARCH outbox",
    ];

    /// Whether a step of a plan uses an index that is there already, and does not sort.
    fn reads_little(step: &str) -> bool {
        if step.starts_with("SEARCH ") {
            let by_index = [" USING INDEX ", " USING COVERING INDEX ", " PRIMARY KEY "];
            return WHOLE.contains(&step) || by_index.iter().any(|words| step.contains(words));
        }
        if step.starts_with("SCAN ") {
            // What the statement itself brings along, and full text.
            return ["SCAN want", "SCAN found"].contains(&step)
                || step.contains(" CONSTANT ROW")
                || step.contains(" VIRTUAL TABLE INDEX ")
                || WHOLE.contains(&step);
        }
        !step.contains("TEMP B-TREE")
    }

    #[test]
    fn a_plan_that_reads_a_table_is_seen() {
        for step in [
            "SCAN message",
            "SCAN message USING INDEX message_by_order",
            "SEARCH event",
            "SEARCH message USING AUTOMATIC COVERING INDEX (hash=?)",
            "SEARCH message USING AUTOMATIC PARTIAL COVERING INDEX (hash=?)",
            "USE TEMP B-TREE FOR ORDER BY",
        ] {
            assert!(!reads_little(step), "{step}");
        }
    }
}
