//! Putting an emoji on a message, and taking it off (messages.md 6.9).

use session_protocol::Identifier;
use session_protocol::content::{Kind, Reaction};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use sqlx::SqliteConnection;

use super::{ActionError, Actor, Of, head, message};
use crate::store::details::{self, NewReaction};
use crate::store::events::{self, NewEvent};
use crate::store::messages::{self, MessageRow, kind};

/// Reactions that one account sends in [`SPAN_MS`] at most, as official clients do (messages.md 6.9).
const MOST: usize = 20;
/// The span, ms.
const SPAN_MS: i64 = 60_000;

/// How many reactions were sent lately. In memory: a restart takes longer than it saves.
#[derive(Debug, Default)]
pub struct Pace(Mutex<VecDeque<i64>>);

impl Pace {
    /// Takes one of the reactions that may be sent now; otherwise says how long none may, ms.
    pub fn take(&self, now_ms: i64) -> Result<(), i64> {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back frees them, too.
        sent.retain(|at| (0..SPAN_MS).contains(&now_ms.saturating_sub(*at)));
        match sent.front() {
            Some(first) if sent.len() >= MOST => Err(first + SPAN_MS - now_ms),
            _ => {
                sent.push_back(now_ms);
                Ok(())
            }
        }
    }
}

/// Reacts to a message. What is so already is not sent again. Returns the message and the place in the event log before.
pub async fn react(
    connection: &mut SqliteConnection,
    actor: &Actor,
    id: &str,
    emoji: &str,
    remove: bool,
) -> Result<(MessageRow, i64), ActionError> {
    let seq = head(&mut *connection).await?;
    let (row, conversation) = message(&mut *connection, id, actor.now_ms).await?;
    if conversation.blocked {
        return Err(ActionError::Blocked);
    }
    let shown = matches!(row.kind.as_str(), kind::TEXT | kind::COMMUNITY_INVITATION);
    if row.deleted || !shown {
        return Err(ActionError::NotPossible(
            "only messages that are shown can have reactions",
        ));
    }
    let own = actor.own.to_string();
    let held = row
        .reactions
        .iter()
        .any(|reaction| reaction.author == own && reaction.emoji == emoji);
    if held != remove {
        return Ok((row, seq));
    }
    let author: Identifier = row.author.parse().map_err(|_| ActionError::NoMessage)?;
    let sent_ms = actor.stamp(&mut *connection, 1).await?;
    let reaction = NewReaction {
        message: row.receive_seq,
        author: own,
        emoji: emoji.to_owned(),
        reacted_ms: sent_ms,
        removed: remove,
    };
    details::react(&mut *connection, &[reaction]).await?;
    let sent = Kind::Reaction(Reaction {
        timestamp: u64::try_from(row.sent_ms).unwrap_or(0),
        author,
        emoji: emoji.to_owned(),
        remove,
    });
    let about = Of::About(row.receive_seq);
    actor
        .enqueue(&mut *connection, &sent, &conversation, sent_ms, about)
        .await?;
    let event = NewEvent::message_changed(&row.conversation, &row.public_id, &["reactions"]);
    events::append(&mut *connection, &[event], actor.now_ms).await?;
    let row = messages::get(connection, id, actor.now_ms)
        .await?
        .ok_or(ActionError::NoMessage)?;
    Ok((row, seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_a_minute_and_no_more() {
        let pace = Pace::default();
        for at in 0..20 {
            assert_eq!(pace.take(at * 1_000), Ok(()));
        }
        assert_eq!(pace.take(20_000), Err(40_000));
        assert_eq!(pace.take(59_999), Err(1));
        // The first is a minute old, then the second.
        assert_eq!(pace.take(60_000), Ok(()));
        assert_eq!(pace.take(60_000), Err(1_000));
        assert_eq!(pace.take(200_000), Ok(()));
        assert_eq!(pace.take(100_000), Ok(()), "the clock was set back");
    }
}
