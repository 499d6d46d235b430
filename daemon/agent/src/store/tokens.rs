//! Client tokens: the same call made twice has one outcome (design.md promise 1).

use sqlx::SqliteConnection;

use super::StoreError;

/// How long a token is remembered, ms. Longer than the 30 days that are promised.
const KEEP_MS: i64 = 35 * 86_400_000;

/// The outcome of an earlier call with the same token.
pub struct Earlier {
    /// Opaque id of what it made.
    pub message: String,
    /// Place in the event log before it.
    pub cursor_seq: i64,
}

/// Looks a token up. The same token with other content is an error.
pub async fn earlier(
    connection: &mut SqliteConnection,
    token: &str,
    fingerprint: &[u8; 32],
) -> Result<Option<Earlier>, StoreError> {
    let row = sqlx::query_as::<_, (Vec<u8>, String, i64)>(
        "SELECT fingerprint, message, cursor_seq FROM client_token WHERE token = ?",
    )
    .bind(token)
    .fetch_optional(connection)
    .await?;
    match row {
        None => Ok(None),
        Some((known, message, cursor_seq)) if known == fingerprint => Ok(Some(Earlier {
            message,
            cursor_seq,
        })),
        Some(_) => Err(StoreError::TokenReused),
    }
}

/// Remembers what a token made.
pub async fn remember(
    connection: &mut SqliteConnection,
    token: &str,
    fingerprint: &[u8; 32],
    outcome: &Earlier,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO client_token (token, fingerprint, message, cursor_seq, created_ms)
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(token)
    .bind(&fingerprint[..])
    .bind(&outcome.message)
    .bind(outcome.cursor_seq)
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets tokens that are older than promised.
pub async fn prune(connection: &mut SqliteConnection, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM client_token WHERE created_ms < ?")
        .bind(now_ms - KEEP_MS)
        .execute(connection)
        .await?;
    Ok(())
}
