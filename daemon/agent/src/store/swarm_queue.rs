//! What waits to be told to the own swarm about copies, by their hashes: what tables of that kind have in common
//! ([`super::swarm_deletions`], [`super::swarm_expiry`]).

use sqlx::{AssertSqlSafe, QueryBuilder, Sqlite, SqliteConnection};

use super::StoreError;
use super::list::push_list;

/// A table with `hash`, `attempts` and `next_attempt_ms`, by its name.
pub(super) struct SwarmQueue(pub(super) &'static str);

impl SwarmQueue {
    /// When the next is due, ms.
    pub(super) async fn next_due(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<Option<i64>, StoreError> {
        let sql = format!("SELECT min(next_attempt_ms) FROM {}", self.0);
        let next = sqlx::query_scalar(AssertSqlSafe(sql));
        Ok(next.fetch_one(connection).await?)
    }

    /// These wait no more.
    pub(super) async fn done(
        &self,
        connection: &mut SqliteConnection,
        hashes: &[String],
    ) -> Result<(), StoreError> {
        let sql = format!("DELETE FROM {} WHERE hash IN (", self.0);
        let mut query = QueryBuilder::<Sqlite>::new(sql);
        push_list(&mut query, hashes);
        query.build().execute(connection).await?;
        Ok(())
    }

    /// These are tried again at a time, ms.
    pub(super) async fn postpone(
        &self,
        connection: &mut SqliteConnection,
        hashes: &[String],
        attempts: i64,
        next_attempt_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = format!("UPDATE {} SET attempts = ", self.0);
        let mut query = QueryBuilder::<Sqlite>::new(sql);
        query
            .push_bind(attempts)
            .push(", next_attempt_ms = ")
            .push_bind(next_attempt_ms)
            .push(" WHERE hash IN (");
        push_list(&mut query, hashes);
        query.build().execute(connection).await?;
        Ok(())
    }
}
