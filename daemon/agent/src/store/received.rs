//! What remembers how far the swarm was read: tombstones, cursors, quarantine, counters.
//!
//! A tombstone is the hash of something dealt with, kept until the swarm itself must have dropped it: a node that lost
//! its place sends everything again. Facts: design.md promise 1 and 7, network.md 7.2.

use std::collections::{BTreeMap, HashMap, HashSet};

use session_protocol::storage::Namespace;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::list::push_list;
use super::{StoreError, salvage};

/// Longest that a swarm keeps what lies in an inbox (messages.md 5.2), ms.
pub const INBOX_MS: i64 = 14 * 86_400_000;
/// How long a tombstone is kept at least, ms: no namespace keeps anything for longer.
pub(super) const RETENTION_MS: i64 = 30 * 86_400_000;
/// Most bytes in the quarantine; the oldest entries go first.
const QUARANTINE_BYTES: i64 = 16 * 1024 * 1024;

/// Which version puts something aside: a later one tries again.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where something was read from.
#[derive(Clone, Debug)]
pub struct Place {
    /// Account ID whose swarm it is.
    pub swarm: String,
    /// Namespace.
    pub namespace: Namespace,
}

/// Which of these hashes were dealt with.
pub async fn known(
    connection: &mut SqliteConnection,
    place: &Place,
    hashes: &[&str],
) -> Result<HashSet<String>, StoreError> {
    if hashes.is_empty() {
        return Ok(HashSet::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT hash FROM tombstone WHERE place = (SELECT id FROM place WHERE swarm = ",
    );
    query.push_bind(place.swarm.clone());
    query
        .push(" AND namespace = ")
        .push_bind(i64::from(place.namespace.0));
    query.push(") AND hash IN (");
    push_list(&mut query, hashes);
    Ok(query
        .build_query_scalar()
        .fetch_all(connection)
        .await?
        .into_iter()
        .collect())
}

/// Names of up to `limit` messages that were dealt with, whoever wrote them, from a place in the order of hashes on.
pub async fn some_known(
    connection: &mut SqliteConnection,
    place: &Place,
    from: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT hash FROM tombstone
         WHERE place = (SELECT id FROM place WHERE swarm = ? AND namespace = ?) AND hash > ? LIMIT ?",
    )
    .bind(&place.swarm)
    .bind(i64::from(place.namespace.0))
    .bind(from)
    .bind(limit)
    .fetch_all(connection)
    .await?)
}

/// Number of a place, which gets one at its first use.
async fn number(connection: &mut SqliteConnection, place: &Place) -> Result<i64, StoreError> {
    sqlx::query("INSERT INTO place (swarm, namespace) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(&place.swarm)
        .bind(i64::from(place.namespace.0))
        .execute(&mut *connection)
        .await?;
    let number = sqlx::query_scalar("SELECT id FROM place WHERE swarm = ? AND namespace = ?")
        .bind(&place.swarm)
        .bind(i64::from(place.namespace.0))
        .fetch_one(connection)
        .await?;
    Ok(number)
}

/// Marks hashes as dealt with and returns those that were not before.
pub async fn mark(
    connection: &mut SqliteConnection,
    place: &Place,
    hashes: &[(&str, i64)],
    now_ms: i64,
) -> Result<HashSet<String>, StoreError> {
    if hashes.is_empty() {
        return Ok(HashSet::new());
    }
    let number = number(&mut *connection, place).await?;
    let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO tombstone (place, hash, expires_ms) ");
    query.push_values(hashes, |mut values, (hash, expires_ms)| {
        values.push_bind(number).push_bind((*hash).to_owned());
        values.push_bind((*expires_ms).max(now_ms + RETENTION_MS));
    });
    query.push(" ON CONFLICT DO NOTHING RETURNING hash");
    Ok(query
        .build_query_scalar()
        .fetch_all(connection)
        .await?
        .into_iter()
        .collect())
}

/// How far a node was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCursor {
    /// The last message it gave.
    pub hash: String,
    /// When the node drops that one, ms.
    pub expires_ms: i64,
    /// A message that it gave no later: given again, the node does not know the last one any more and has started over.
    pub anchor: String,
    /// When the node drops that one, ms.
    pub anchor_expires_ms: i64,
}

/// How far each node was read; only those that still have the last message.
pub async fn cursors(
    connection: &mut SqliteConnection,
    place: &Place,
    now_ms: i64,
) -> Result<HashMap<[u8; 32], NodeCursor>, StoreError> {
    let rows = sqlx::query_as::<_, (Vec<u8>, String, i64, String, i64)>(
        "SELECT node, hash, expires_ms, anchor, anchor_expires_ms FROM swarm_cursor
         WHERE swarm = ? AND namespace = ? AND expires_ms > ?",
    )
    .bind(&place.swarm)
    .bind(i64::from(place.namespace.0))
    .bind(now_ms)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(node, hash, expires_ms, anchor, anchor_expires_ms)| {
            let cursor = NodeCursor {
                hash,
                expires_ms,
                anchor,
                anchor_expires_ms,
            };
            Some((node.try_into().ok()?, cursor))
        })
        .collect())
}

/// Remembers how far a node was read. An anchor stays until the node has dropped it.
pub async fn set_cursor(
    connection: &mut SqliteConnection,
    place: &Place,
    node: &[u8; 32],
    cursor: &NodeCursor,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO swarm_cursor (swarm, namespace, node, hash, expires_ms, anchor, anchor_expires_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (swarm, namespace, node) DO UPDATE
         SET hash = excluded.hash, expires_ms = excluded.expires_ms,
             anchor = iif(anchor_expires_ms > ?8, anchor, excluded.anchor),
             anchor_expires_ms = iif(anchor_expires_ms > ?8, anchor_expires_ms, excluded.anchor_expires_ms)",
    )
    .bind(&place.swarm)
    .bind(i64::from(place.namespace.0))
    .bind(&node[..])
    .bind(&cursor.hash)
    .bind(cursor.expires_ms)
    .bind(&cursor.anchor)
    .bind(cursor.anchor_expires_ms)
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// Something that was sealed to us and made no sense.
pub struct Quarantined {
    /// Its hash in the swarm.
    pub hash: String,
    /// UPPER_SNAKE.
    pub reason: &'static str,
    /// As it was stored.
    pub data: Vec<u8>,
    /// When it came, ms.
    pub received_ms: i64,
    /// When it goes, ms; `None`: it is kept until a version can read it.
    pub expires_ms: Option<i64>,
}

/// Keeps such things within bounds.
pub async fn quarantine(
    connection: &mut SqliteConnection,
    place: &Place,
    entries: &[Quarantined],
) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO quarantine (swarm, namespace, hash, reason, data, received_ms, version, expires_ms) ",
    );
    query.push_values(entries, |mut values, entry| {
        values
            .push_bind(place.swarm.clone())
            .push_bind(i64::from(place.namespace.0));
        values.push_bind(entry.hash.clone()).push_bind(entry.reason);
        values
            .push_bind(entry.data.clone())
            .push_bind(entry.received_ms)
            .push_bind(VERSION)
            .push_bind(entry.expires_ms);
    });
    query.build().execute(&mut *connection).await?;
    sqlx::query(
        "DELETE FROM quarantine WHERE id IN (
             SELECT id FROM (
                 SELECT id, sum(length(data)) OVER (ORDER BY id DESC) AS size FROM quarantine)
             WHERE size > ?)",
    )
    .bind(QUARANTINE_BYTES)
    .execute(connection)
    .await?;
    Ok(())
}

/// Something that an earlier version put aside.
pub struct Older {
    /// Its hash in the swarm.
    pub hash: String,
    /// As it was stored.
    pub data: Vec<u8>,
    /// When it came, ms.
    pub received_ms: i64,
    /// When it goes, ms.
    pub expires_ms: Option<i64>,
}

/// The oldest things that another version put aside.
pub async fn put_aside_by_others(
    connection: &mut SqliteConnection,
    place: &Place,
    limit: i64,
) -> Result<Vec<Older>, StoreError> {
    let rows = sqlx::query_as::<_, (String, Vec<u8>, i64, Option<i64>)>(
        "SELECT hash, data, received_ms, expires_ms FROM quarantine
         WHERE swarm = ? AND namespace = ? AND version <> ? ORDER BY id LIMIT ?",
    )
    .bind(&place.swarm)
    .bind(i64::from(place.namespace.0))
    .bind(VERSION)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(hash, data, received_ms, expires_ms)| Older {
            hash,
            data,
            received_ms,
            expires_ms,
        })
        .collect())
}

/// Takes out what another version put aside and this one has looked at.
pub async fn release(
    connection: &mut SqliteConnection,
    place: &Place,
    hashes: &[(&str, i64)],
) -> Result<(), StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM quarantine WHERE swarm = ");
    query
        .push_bind(place.swarm.clone())
        .push(" AND namespace = ")
        .push_bind(i64::from(place.namespace.0))
        .push(" AND version <> ")
        .push_bind(VERSION)
        .push(" AND hash IN (");
    push_list(&mut query, hashes.iter().map(|(hash, _)| *hash));
    query.build().execute(connection).await?;
    Ok(())
}

/// Counts refusals by reason.
pub async fn count(
    connection: &mut SqliteConnection,
    reasons: &BTreeMap<&'static str, i64>,
) -> Result<(), StoreError> {
    if reasons.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO counter (name, value) ");
    query.push_values(reasons, |mut values, (name, value)| {
        values.push_bind(*name).push_bind(*value);
    });
    query.push(" ON CONFLICT (name) DO UPDATE SET value = value + excluded.value");
    query.build().execute(connection).await?;
    Ok(())
}

/// How often something was refused or put aside, by reason. There are as many reasons as this program knows.
pub async fn counts(connection: &mut SqliteConnection) -> Result<Vec<(String, i64)>, StoreError> {
    let mut counts: Vec<(String, i64)> =
        sqlx::query_as("SELECT name, value FROM counter ORDER BY name")
            .fetch_all(connection)
            .await?;
    counts.retain(|(name, _)| !salvage::Report::has(name));
    Ok(counts)
}

/// Drops tombstones and cursors of what no node can still hold.
pub async fn prune(connection: &mut SqliteConnection, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM tombstone WHERE expires_ms < ?")
        .bind(now_ms)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM swarm_cursor WHERE expires_ms < ?")
        .bind(now_ms)
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::tests::memory;

    fn place() -> Place {
        Place {
            swarm: "05aa".into(),
            namespace: Namespace::DEFAULT,
        }
    }

    #[test]
    fn a_swarm_keeps_as_long_as_the_protocol_says() {
        let longest = |namespace: Namespace| i64::try_from(namespace.max_ttl_ms()).unwrap();
        assert_eq!(INBOX_MS, longest(Namespace::DEFAULT));
        assert!((-20..20).all(|number| longest(Namespace(number)) <= RETENTION_MS));
    }

    #[tokio::test]
    async fn a_hash_is_new_once() {
        let mut db = memory().await;
        let marked = mark(&mut db, &place(), &[("a", 0), ("b", 0)], 1)
            .await
            .unwrap();
        assert_eq!(marked.len(), 2);
        let marked = mark(&mut db, &place(), &[("b", 0), ("c", 0)], 2)
            .await
            .unwrap();
        assert_eq!(marked.into_iter().collect::<Vec<_>>(), ["c"]);
        let other = Place {
            namespace: Namespace(2),
            ..place()
        };
        assert!(known(&mut db, &other, &["a"]).await.unwrap().is_empty());
        prune(&mut db, RETENTION_MS).await.unwrap();
        assert_eq!(
            known(&mut db, &place(), &["a", "c"]).await.unwrap().len(),
            2
        );
        prune(&mut db, RETENTION_MS + 2).await.unwrap();
        assert_eq!(
            known(&mut db, &place(), &["a", "c"]).await.unwrap().len(),
            1
        );
    }

    #[tokio::test]
    async fn the_quarantine_is_bounded() {
        let mut db = memory().await;
        for round in 0..20 {
            let entry = Quarantined {
                hash: round.to_string(),
                reason: "BAD_CONTENT",
                data: vec![0; 1024 * 1024],
                received_ms: round,
                expires_ms: None,
            };
            quarantine(&mut db, &place(), &[entry]).await.unwrap();
        }
        let kept: Vec<String> = sqlx::query_scalar("SELECT hash FROM quarantine ORDER BY id")
            .fetch_all(&mut db)
            .await
            .unwrap();
        assert_eq!(kept.len(), 16);
        assert_eq!(kept.last().map(String::as_str), Some("19"));
    }
}
