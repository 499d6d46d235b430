//! Names of messages that were here and are gone: author and sent timestamp, in their conversation.
//!
//! A tombstone knows a stored copy by its hash; the same message may be stored anew under another one, because its
//! sender sealed it again. Its name keeps it from coming back, for as long as a swarm may hold it. Facts: messages.md
//! 5.3 (what names a message), 5.7 (4), `users.md` 2.5, 35.

use std::collections::HashSet;

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::StoreError;
use super::list::push_list;
use super::received::RETENTION_MS;
use super::targets::{CHUNK, Name, wanted};

/// Writes down the names of messages that are about to go.
pub(super) async fn remember(
    connection: &mut SqliteConnection,
    seqs: &[i64],
    now_ms: i64,
) -> Result<(), StoreError> {
    for some in seqs.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO gone (conversation, author, sent_ms, until_ms)
             SELECT conversation, author, sent_ms, ",
        );
        query.push_bind(now_ms.saturating_add(RETENTION_MS));
        query.push(" FROM message WHERE receive_seq IN (");
        push_list(&mut query, some);
        query.push(" ON CONFLICT DO UPDATE SET until_ms = max(until_ms, excluded.until_ms)");
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Which of these were here.
pub async fn known(
    connection: &mut SqliteConnection,
    names: &[Name],
) -> Result<HashSet<Name>, StoreError> {
    let mut found = HashSet::new();
    for some in names.chunks(CHUNK) {
        let mut query = wanted(some);
        query.push(
            " SELECT g.conversation, g.author, g.sent_ms FROM want CROSS JOIN gone g
               ON g.conversation = want.conversation AND g.author = want.author
               AND g.sent_ms = want.sent_ms",
        );
        for row in query.build().fetch_all(&mut *connection).await? {
            found.insert((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        }
    }
    Ok(found)
}

/// Forgets what no swarm can still hold.
pub async fn prune(connection: &mut SqliteConnection, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM gone WHERE until_ms < ?")
        .bind(now_ms)
        .execute(connection)
        .await?;
    Ok(())
}
