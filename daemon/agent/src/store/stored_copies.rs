//! Bytes that were stored in a swarm, kept so that a member that lacks them can get the same bytes again.
//!
//! A copy is kept from the moment it is stored until its life ends, or until all members signed for one in somebody
//! else's swarm. It goes at once with its message (deleted, unsent, expired, conversation removed: triggers of the
//! schema see to that). At most [`ROWS`] copies of [`BYTES`] together are kept: beyond that the oldest go, which are
//! looked after no more and have been longest. What decides when and whether they are stored again: `sync/repair.rs`.

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::StoreError;
use super::list::push_list;
use super::outbox::Purpose;

/// Most copies kept.
pub const ROWS: i64 = 5_000;
/// Most bytes of them all.
pub const BYTES: i64 = 32 * 1024 * 1024;
/// Most signers remembered of one copy; no swarm is that large.
const SIGNERS: usize = 64;

/// What is known of a copy when it was just stored.
pub struct Fresh {
    /// Number of its item in the outbox.
    pub item: i64,
    /// It lies in the own swarm and is looked after as long as it lives.
    pub watched: bool,
    /// When the swarm drops it, ms.
    pub expiry_ms: i64,
    /// Keys of the members that signed.
    pub signed: Vec<[u8; 32]>,
    /// Keys of those that did not.
    pub missed: Vec<[u8; 32]>,
    /// See [`StoredCopy::turns`].
    pub turns: i64,
    /// When to look after it first, ms.
    pub next_ms: i64,
}

/// Keeps the bytes of an item that is still in the outbox. One that was cancelled, deleted or has expired while it was
/// being stored is not there any more, and nothing is kept.
pub async fn keep(connection: &mut SqliteConnection, fresh: &Fresh) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO stored_copy (message, conversation, purpose, kind, owner, watched, sealed, size,
                                  hash, expiry_ms, signed, missed, turns, next_ms)
         SELECT message, conversation, purpose, kind, owner, ?, sealed, length(sealed), hash, ?, ?, ?, ?, ?
         FROM outbox WHERE id = ? AND length(sealed) > 0",
    )
    .bind(fresh.watched)
    .bind(fresh.expiry_ms)
    .bind(fresh.signed.concat())
    .bind(fresh.missed.concat())
    .bind(fresh.turns)
    .bind(fresh.next_ms)
    .bind(fresh.item)
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets the oldest go that are beyond `rows` and `bytes`. Returns how many went.
pub async fn trim(
    connection: &mut SqliteConnection,
    rows: i64,
    bytes: i64,
) -> Result<u64, StoreError> {
    let (count, size): (i64, i64) =
        sqlx::query_as("SELECT count(*), coalesce(sum(size), 0) FROM stored_copy")
            .fetch_one(&mut *connection)
            .await?;
    if count <= rows && size <= bytes {
        return Ok(0);
    }
    let gone = sqlx::query(
        "DELETE FROM stored_copy WHERE id <= (
             SELECT max(id) FROM (
                 SELECT id, row_number() OVER (ORDER BY id DESC) AS place,
                        sum(size) OVER (ORDER BY id DESC) AS total FROM stored_copy)
             WHERE place > ? OR total > ?)",
    )
    .bind(rows)
    .bind(bytes)
    .execute(connection)
    .await?;
    Ok(gone.rows_affected())
}

/// A copy to be looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCopy {
    /// Its number.
    pub id: i64,
    /// `receive_seq` of its message; `None` for what belongs to none.
    pub message: Option<i64>,
    /// What it is for.
    pub purpose: Purpose,
    /// Account ID whose swarm has it.
    pub owner: String,
    /// Its name there.
    pub hash: String,
    /// When the swarm drops it, ms.
    pub expiry_ms: i64,
    /// Keys of the members that once signed for it.
    pub signed: Vec<[u8; 32]>,
    /// Keys of those that lacked it when last heard of.
    pub missed: Vec<[u8; 32]>,
    /// How often it was looked after; the pauses grow with it.
    pub turns: i64,
}

impl StoredCopy {
    /// These members signed for it (anew).
    pub fn signed_by(&mut self, members: &[[u8; 32]]) {
        for member in members {
            if !self.signed.contains(member) {
                self.signed.push(*member);
            }
        }
        let surplus = self.signed.len().saturating_sub(SIGNERS);
        self.signed.drain(..surplus);
    }
}

/// Copies that are due, the longest due first: those in the own swarm, or those in others'.
pub async fn due(
    connection: &mut SqliteConnection,
    watched: bool,
    now_ms: i64,
    limit: i64,
) -> Result<Vec<StoredCopy>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, message, purpose, owner, hash, expiry_ms, signed, missed, turns FROM stored_copy
         WHERE watched = ? AND next_ms <= ? ORDER BY next_ms LIMIT ?",
    )
    .bind(watched)
    .bind(now_ms)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let copies = rows
        .iter()
        .map(|row| {
            let keys = |column: usize| -> Result<Vec<[u8; 32]>, sqlx::Error> {
                let bytes: Vec<u8> = row.try_get(column)?;
                Ok(bytes.as_chunks::<32>().0.to_vec())
            };
            Ok(StoredCopy {
                id: row.try_get(0)?,
                message: row.try_get(1)?,
                purpose: Purpose::of_db(row.try_get(2)?),
                owner: row.try_get(3)?,
                hash: row.try_get(4)?,
                expiry_ms: row.try_get(5)?,
                signed: keys(6)?,
                missed: keys(7)?,
                turns: row.try_get(8)?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(copies)
}

/// When the next copy is due, ms; `None` when none is kept.
pub async fn next_due(connection: &mut SqliteConnection) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT min(next_ms) FROM (
             SELECT min(next_ms) AS next_ms FROM stored_copy WHERE watched = 0
             UNION ALL SELECT min(next_ms) FROM stored_copy WHERE watched = 1)",
    )
    .fetch_one(connection)
    .await?)
}

/// The bytes of those of these copies that are still kept and whose message has not disappeared, by number.
pub async fn bytes(
    connection: &mut SqliteConnection,
    ids: &[i64],
    now_ms: i64,
) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new("SELECT id, sealed FROM stored_copy WHERE id IN (");
    push_list(&mut query, ids);
    query
        .push(
            " AND NOT EXISTS (SELECT 1 FROM message WHERE receive_seq = stored_copy.message
                               AND expires_at <= ",
        )
        .push_bind(now_ms)
        .push(") ORDER BY id");
    Ok(query.build_query_as().fetch_all(connection).await?)
}

/// Writes down who signed for copies and when they are due again (ms, in the order of `copies`), with one statement.
/// What has gone meanwhile stays gone.
pub async fn look_again(
    connection: &mut SqliteConnection,
    copies: &[(StoredCopy, i64)],
) -> Result<(), StoreError> {
    if copies.is_empty() {
        return Ok(());
    }
    let mut query =
        QueryBuilder::<Sqlite>::new("WITH seen (id, signed, missed, turns, next_ms) AS (");
    query.push_values(copies, |mut values, (copy, next_ms)| {
        values
            .push_bind(copy.id)
            .push_bind(copy.signed.concat())
            .push_bind(copy.missed.concat())
            .push_bind(copy.turns)
            .push_bind(*next_ms);
    });
    query.push(
        ") UPDATE stored_copy SET signed = seen.signed, missed = seen.missed, turns = seen.turns, next_ms = seen.next_ms
         FROM seen WHERE stored_copy.id = seen.id",
    );
    query.build().execute(connection).await?;
    Ok(())
}

/// Makes all copies in the own swarm due: a member seems to have lost what it held.
pub async fn doubt(connection: &mut SqliteConnection, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE stored_copy SET next_ms = ?1 WHERE watched = 1 AND next_ms > ?1")
        .bind(now_ms)
        .execute(connection)
        .await?;
    Ok(())
}

/// Keeps these no longer.
pub async fn forget(connection: &mut SqliteConnection, ids: &[i64]) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM stored_copy WHERE id IN (");
    push_list(&mut query, ids);
    query.build().execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::outbox::{self, NewItem, Sealed};
    use crate::store::schema::tests::memory;

    /// An item that was stored just now; gives its number.
    async fn stored(db: &mut SqliteConnection, hash: &str, bytes: usize) -> i64 {
        let item = NewItem {
            about: None,
            message: None,
            conversation: None,
            purpose: Purpose::Recipient,
            kind: "TEXT",
            owner: "somebody".into(),
            content: vec![1],
            sent_ms: 1,
            ttl_ms: 1_000,
        };
        outbox::add(db, &item, &[], 1).await.unwrap();
        let id: i64 = sqlx::query_scalar("SELECT max(id) FROM outbox")
            .fetch_one(&mut *db)
            .await
            .unwrap();
        let sealed = Sealed {
            id,
            bytes: vec![7; bytes],
            hash: hash.into(),
            own: false,
        };
        outbox::seal(db, &[sealed]).await.unwrap();
        id
    }

    fn fresh(item: i64, watched: bool, next_ms: i64) -> Fresh {
        Fresh {
            item,
            watched,
            expiry_ms: 1_000,
            signed: vec![[1; 32], [2; 32]],
            missed: vec![[3; 32]],
            turns: 0,
            next_ms,
        }
    }

    async fn hashes(db: &mut SqliteConnection, watched: bool, now_ms: i64) -> Vec<String> {
        let due = due(db, watched, now_ms, 100).await.unwrap();
        due.into_iter().map(|copy| copy.hash).collect()
    }

    #[tokio::test]
    async fn copies_come_due_in_order_with_what_is_known_of_them() {
        let mut db = memory().await;
        assert_eq!(next_due(&mut db).await.unwrap(), None);
        for (hash, watched, next_ms) in [("b", true, 20), ("a", true, 10), ("c", false, 15)] {
            let item = stored(&mut db, hash, 5).await;
            keep(&mut db, &fresh(item, watched, next_ms)).await.unwrap();
            outbox::done(&mut db, item).await.unwrap();
        }
        assert_eq!(next_due(&mut db).await.unwrap(), Some(10));
        assert_eq!(hashes(&mut db, true, 10).await, ["a"]);
        assert_eq!(hashes(&mut db, true, 99).await, ["a", "b"]);
        assert_eq!(hashes(&mut db, false, 99).await, ["c"]);
        let mut copy = due(&mut db, true, 10, 1).await.unwrap().remove(0);
        assert_eq!(copy.signed, [[1; 32], [2; 32]]);
        assert_eq!(copy.missed, [[3; 32]]);
        let kept = bytes(&mut db, &[copy.id], 1).await.unwrap();
        assert_eq!(kept, [(copy.id, vec![7; 5])]);
        copy.signed_by(&[[3; 32]]);
        copy.missed.clear();
        copy.turns = 4;
        look_again(&mut db, &[(copy.clone(), 50)]).await.unwrap();
        assert_eq!(hashes(&mut db, true, 49).await, ["b"]);
        assert_eq!(due(&mut db, true, 50, 9).await.unwrap()[1], copy);
        doubt(&mut db, 5).await.unwrap();
        assert_eq!(hashes(&mut db, true, 5).await.len(), 2);
        assert!(hashes(&mut db, false, 5).await.is_empty());
        forget(&mut db, &[copy.id]).await.unwrap();
        assert_eq!(hashes(&mut db, true, 99).await, ["b"]);
    }

    #[tokio::test]
    async fn what_was_taken_out_of_the_outbox_meanwhile_is_not_kept() {
        let mut db = memory().await;
        let item = stored(&mut db, "a", 5).await;
        outbox::give_up(&mut db, item).await.unwrap();
        keep(&mut db, &fresh(item, true, 1)).await.unwrap();
        // Nor what could not be sealed.
        let empty = stored(&mut db, "b", 0).await;
        keep(&mut db, &fresh(empty, true, 1)).await.unwrap();
        assert_eq!(next_due(&mut db).await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_oldest_go_when_there_are_too_many_or_too_large_ones() {
        let mut db = memory().await;
        for (number, hash) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            let item = stored(&mut db, hash, 10).await;
            let next_ms = i64::try_from(number).unwrap();
            keep(&mut db, &fresh(item, true, next_ms)).await.unwrap();
        }
        assert_eq!(trim(&mut db, 5, 50).await.unwrap(), 0);
        assert_eq!(trim(&mut db, 4, 50).await.unwrap(), 1);
        assert_eq!(hashes(&mut db, true, 99).await, ["b", "c", "d", "e"]);
        assert_eq!(trim(&mut db, 4, 39).await.unwrap(), 1);
        assert_eq!(hashes(&mut db, true, 99).await, ["c", "d", "e"]);
        assert_eq!(trim(&mut db, 4, 9).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn the_bytes_of_what_has_disappeared_are_not_given() {
        let mut db = memory().await;
        let item = stored(&mut db, "a", 5).await;
        keep(&mut db, &fresh(item, true, 1)).await.unwrap();
        sqlx::raw_sql(
            "INSERT INTO conversation (id, public_id, kind, peer, display_name, display_name_ms,
                                       last_activity_ms, created_ms) VALUES (1, 'c', 1, 'p', '', 0, 0, 0);
             INSERT INTO message (receive_seq, public_id, conversation, author, outgoing, sent_ms, received_ms,
                                  order_ms, kind, send_state, sync_state, expires_at, wire_version)
             VALUES (1, 'm', 1, 'a', 1, 1, 1, 1, 'TEXT', 3, 3, 100, 1);
             UPDATE stored_copy SET message = 1;",
        )
        .execute(&mut db)
        .await
        .unwrap();
        let id = due(&mut db, true, 99, 1).await.unwrap()[0].id;
        assert_eq!(bytes(&mut db, &[id], 99).await.unwrap().len(), 1);
        assert!(bytes(&mut db, &[id], 100).await.unwrap().is_empty());
    }
}
