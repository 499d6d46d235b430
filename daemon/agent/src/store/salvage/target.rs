//! The new database: filled row by row from what is readable, then made consistent.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::{Connection as _, QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::Report;
use super::btree::Row;
use super::record::Value;
use super::source::{Column, Shape, Source, Type};
use crate::random::opaque_id;
use crate::store::conversations::ONE_TO_ONE;
use crate::store::gaps::{self, Gap};
use crate::store::messages::{FAILED, NONE, SENDING};
use crate::store::{Meta, StoreError};

/// Left out on purpose: nothing is stored in a swarm by what may not know what was sent, or deleted, since; the event log
/// and those who follow it begin anew.
const LEFT_OUT: [&str; 5] = [
    "outbox",
    "stored_copy",
    "event",
    "subscriber",
    "_sqlx_migrations",
];
/// Values that one statement takes at most.
const VALUES: usize = 30_000;
/// Rows in one statement at most.
const ROWS: usize = 500;
/// Pages read between two commits.
const PAGES: usize = 200;
/// Why a message that waited to be sent is not sent any more.
pub const FAILURE: &str = "DATABASE_SALVAGED";
/// Value of `detail` of a gap that a damaged database left.
pub const GAP_BY_DAMAGE: i64 = 1;

/// Tables of the new database as records see them.
pub async fn shapes(connection: &mut SqliteConnection) -> Result<Vec<Shape>, StoreError> {
    let tables: Vec<(String, bool)> = sqlx::query_as(
        "SELECT name, wr FROM pragma_table_list
         WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut shapes = Vec::new();
    for (table, is_index) in tables {
        if LEFT_OUT.contains(&table.as_str()) {
            continue;
        }
        let rows = sqlx::query(
            "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk FROM pragma_table_info(?) ORDER BY cid",
        )
        .bind(&table)
        .fetch_all(&mut *connection)
        .await?;
        let mut columns = Vec::new();
        for row in rows {
            let pk: i64 = row.try_get(4)?;
            let kind = match row.try_get::<String, _>(1)?.as_str() {
                "INTEGER" => Type::Integer,
                "REAL" => Type::Real,
                "TEXT" => Type::Text,
                _ => Type::Blob,
            };
            let column = Column {
                name: row.try_get(0)?,
                kind,
                not_null: row.try_get(2)?,
                has_default: row.try_get(3)?,
                is_rowid: !is_index && pk == 1 && kind == Type::Integer,
            };
            columns.push((pk, column));
        }
        if is_index {
            // Records begin with the primary key.
            columns.sort_by_key(|(pk, _)| if *pk == 0 { i64::MAX } else { *pk });
        }
        shapes.push(Shape {
            table,
            columns: columns.into_iter().map(|(_, column)| column).collect(),
            is_index,
        });
    }
    Ok(shapes)
}

/// Takes over every row of a table that can be read. Those of the same key are taken once.
pub async fn take_over(
    connection: &mut SqliteConnection,
    source: &mut Source,
    shape: &Shape,
) -> Result<(), StoreError> {
    for numbers in source.holding(&shape.table).chunks(PAGES) {
        let mut all = connection.begin().await?;
        let mut by_length: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
        for number in numbers {
            for row in source.rows(*number) {
                if shape.fits(&row) {
                    by_length.entry(row.record.0.len()).or_default().push(row);
                }
            }
        }
        for (length, rows) in by_length {
            for some in rows.chunks((VALUES / length.max(1)).clamp(1, ROWS)) {
                insert(&mut all, shape, length, some).await?;
            }
        }
        all.commit().await?;
    }
    Ok(())
}

async fn insert(
    connection: &mut SqliteConnection,
    shape: &Shape,
    length: usize,
    rows: &[Row],
) -> Result<(), StoreError> {
    // Names come from the new database's own schema.
    let columns = shape.columns.get(..length).unwrap_or_default();
    let names: Vec<String> = columns
        .iter()
        .map(|column| format!("\"{}\"", column.name))
        .collect();
    let mut query = QueryBuilder::<Sqlite>::new(format!(
        "INSERT OR IGNORE INTO \"{}\" ({}) ",
        shape.table,
        names.join(", ")
    ));
    query.push_values(rows, |mut values, row| {
        for (value, column) in row.record.0.iter().zip(columns) {
            match value {
                Value::Null if column.is_rowid => values.push_bind(row.rowid),
                Value::Null => values.push_bind(None::<i64>),
                Value::Integer(number) => values.push_bind(*number),
                Value::Real(number) => values.push_bind(*number),
                Value::Text(text) => values.push_bind(text.clone()),
                Value::Blob(bytes) => values.push_bind(bytes.clone()),
            };
        }
    });
    query.build().execute(connection).await?;
    Ok(())
}

/// A message that is known from an index alone.
struct Lost {
    conversation: i64,
    order_ms: i64,
}

/// Messages that an index knows and the table has not got any more.
async fn lost(
    connection: &mut SqliteConnection,
    source: &mut Source,
) -> Result<Vec<Lost>, StoreError> {
    let held: Vec<i64> = sqlx::query_scalar("SELECT receive_seq FROM message")
        .fetch_all(connection)
        .await?;
    let mut held: HashSet<i64> = held.into_iter().collect();
    let mut lost = Vec::new();
    for number in source.holding("message_by_order") {
        for entry in source.rows(number) {
            let numbers: Vec<Option<i64>> = entry.record.0.iter().map(Value::integer).collect();
            if let [Some(conversation), Some(order_ms), Some(seq), ..] = numbers.as_slice()
                && held.insert(*seq)
            {
                lost.push(Lost {
                    conversation: *conversation,
                    order_ms: *order_ms,
                });
            }
        }
    }
    Ok(lost)
}

/// Makes the rows that were taken over one consistent database, with a history that says what is missing.
pub async fn settle(
    connection: &mut SqliteConnection,
    source: &mut Source,
    meta: &Meta,
    now_ms: i64,
) -> Result<Report, StoreError> {
    let lost = lost(&mut *connection, source).await?;
    let sequences = sequences(source);
    let mut all = connection.begin().await?;
    let db = &mut *all;
    restore_meta(db, meta).await?;
    restore_conversations(db, now_ms).await?;
    remove_orphans(db).await?;
    // What waited to be sent is not sent by a database that may not know what was sent already.
    let unsent =
        sqlx::query("UPDATE message SET send_state = ?1, failure = ?2 WHERE send_state = ?3")
            .bind(FAILED)
            .bind(FAILURE)
            .bind(SENDING)
            .execute(&mut *db)
            .await?
            .rows_affected();
    sqlx::query(
        "UPDATE message SET sync_state = CASE WHEN send_state = ?1 AND failure = ?2 THEN ?3 ELSE ?1 END
         WHERE sync_state = ?4",
    )
    .bind(FAILED)
    .bind(FAILURE)
    .bind(NONE)
    .bind(SENDING)
    .execute(&mut *db)
    .await?;
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM message")
        .fetch_one(&mut *db)
        .await?;
    write_gaps(db, &lost, now_ms).await?;
    count_anew(db).await?;
    for (table, seq) in sequences {
        // Numbers are never given twice.
        sqlx::query(
            "INSERT INTO sqlite_sequence (name, seq)
             SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?1)",
        )
        .bind(&table)
        .bind(seq)
        .execute(&mut *db)
        .await?;
        sqlx::query("UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1")
            .bind(&table)
            .bind(seq)
            .execute(&mut *db)
            .await?;
    }
    let report = Report {
        at_ms: now_ms,
        damaged_pages: i64::try_from(source.damaged_pages()).unwrap_or(i64::MAX),
        kept_messages: kept,
        lost_messages: i64::try_from(lost.len()).unwrap_or(i64::MAX),
        unsent_messages: i64::try_from(unsent).unwrap_or(i64::MAX),
    };
    report.write(db).await?;
    all.commit().await?;
    Ok(report)
}

/// Removes rows that refer to something that is lost, and then what refers to those.
async fn remove_orphans(db: &mut SqliteConnection) -> Result<(), StoreError> {
    let references: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT m.name, f.\"from\", f.\"table\", f.\"to\" FROM sqlite_schema m, pragma_foreign_key_list(m.name) f
         WHERE m.type = 'table'",
    )
    .fetch_all(&mut *db)
    .await?;
    loop {
        let mut removed = 0;
        for (table, column, parent, key) in &references {
            // Names come from the new database's own schema.
            let sql = format!(
                "DELETE FROM \"{table}\" WHERE \"{column}\" IS NOT NULL
                 AND \"{column}\" NOT IN (SELECT \"{key}\" FROM \"{parent}\")"
            );
            let done = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *db);
            removed += done.await?.rows_affected();
        }
        // Each round removes something, so this ends.
        if removed == 0 {
            return Ok(());
        }
    }
}

/// The row about the account, if it is lost; and a new identity of the event log.
async fn restore_meta(db: &mut SqliteConnection, meta: &Meta) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT OR IGNORE INTO meta
         (id, network, account_id, display_name, created_ms, log_id, last_sent_ms, last_now_ms)
         VALUES (1, ?, ?, ?, ?, ?, 0, 0)",
    )
    .bind(&meta.network)
    .bind(&meta.account_id)
    .bind(&meta.display_name)
    .bind(meta.created_ms)
    .bind(&meta.log_id[..])
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "UPDATE meta SET log_id = ?, last_sent_ms = max(last_sent_ms,
             coalesce((SELECT max(sent_ms) FROM message WHERE outgoing = 1), 0))",
    )
    .bind(&meta.log_id[..])
    .execute(db)
    .await?;
    Ok(())
}

/// Conversations that are lost, from what was received in them.
async fn restore_conversations(db: &mut SqliteConnection, now_ms: i64) -> Result<(), StoreError> {
    let known: Vec<(i64, String, i64)> = sqlx::query_as(
        "SELECT conversation, max(author), max(order_ms) FROM message
         WHERE outgoing = 0 AND author <> '' AND conversation NOT IN (SELECT id FROM conversation)
         GROUP BY conversation",
    )
    .fetch_all(&mut *db)
    .await?;
    for (number, peer, at_ms) in known {
        sqlx::query(
            "INSERT OR IGNORE INTO conversation (id, public_id, kind, peer, display_name, display_name_ms,
                 last_activity_ms, created_ms) VALUES (?, ?, ?, ?, '', 0, ?, ?)",
        )
        .bind(number)
        .bind(opaque_id())
        .bind(ONE_TO_ONE)
        .bind(peer)
        .bind(at_ms)
        .bind(now_ms)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// One entry in every conversation that lost messages, at the time of the newest of them.
async fn write_gaps(
    db: &mut SqliteConnection,
    lost: &[Lost],
    now_ms: i64,
) -> Result<(), StoreError> {
    let mut spans: HashMap<i64, (i64, i64)> = HashMap::new();
    for message in lost {
        let at_ms = message.order_ms;
        let span = spans.entry(message.conversation).or_insert((at_ms, at_ms));
        *span = (span.0.min(at_ms), span.1.max(at_ms));
    }
    // A conversation that nobody names any more is lost as a whole.
    let there: HashSet<i64> = sqlx::query_scalar("SELECT id FROM conversation")
        .fetch_all(&mut *db)
        .await?
        .into_iter()
        .collect();
    let gaps: Vec<Gap> = spans
        .into_iter()
        .filter(|(conversation, _)| there.contains(conversation))
        .map(|(conversation, (from_ms, until_ms))| Gap {
            conversation,
            from_ms,
            until_ms,
            cause: GAP_BY_DAMAGE,
        })
        .collect();
    gaps::write(db, &gaps, now_ms).await?;
    Ok(())
}

/// What conversations say about their messages.
async fn count_anew(db: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE conversation SET
             last_message = (SELECT m.receive_seq FROM message m WHERE m.conversation = conversation.id
                 AND m.kind <> 'GAP' ORDER BY m.order_ms DESC, m.receive_seq DESC LIMIT 1),
             unread = (SELECT count(*) FROM message m WHERE m.conversation = conversation.id
                 AND m.counts = 1 AND m.sent_ms > last_read_ms),
             unread_mentions = (SELECT coalesce(sum(m.mentions_me), 0) FROM message m
                 WHERE m.conversation = conversation.id AND m.counts = 1 AND m.sent_ms > last_read_ms)",
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The last numbers given, by table.
fn sequences(source: &mut Source) -> Vec<(String, i64)> {
    let mut found = Vec::new();
    for number in source.holding("sqlite_sequence") {
        for row in source.rows(number) {
            if let [name, seq] = row.record.0.as_slice()
                && let (Some(name), Some(seq)) = (name.text(), seq.integer())
            {
                found.push((name.to_owned(), seq));
            }
        }
    }
    found
}
