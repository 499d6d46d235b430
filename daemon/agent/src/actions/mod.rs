//! What frontends do: each action is one transaction of local state, outbox items and events, carried out by the writer
//! ([`crate::store::Writer::call`]).
//!
//! An action that sends stamps its messages with times that only grow (messages.md 5.3) and puts into the outbox what
//! goes to the recipient, and behind it the copy for the own devices where the kind has one (5.6).

pub mod approve;
pub mod call;
pub mod change;
pub mod delete;
pub mod expire;
pub mod extraction;
pub mod outgoing;
pub mod react;
pub mod read;
pub mod send;
pub mod tell;
pub mod typing;

use futures_util::future::BoxFuture;
use session_protocol::content::{
    Destination, Expiration, ExpirationMode, Frame, Kind, Profile, WriteError,
};
use session_protocol::{AccountId, content};
use sqlx::SqliteConnection;

use crate::store::conversations::{self, ConversationRow, NOTE_TO_SELF, Selector};
use crate::store::entries::AHEAD_MS;
use crate::store::messages::{self, AFTER_READ, MessageRow};
use crate::store::outbox::{self, NewItem, Purpose};
use crate::store::{StoreError, events};
use crate::sync::Context;
use crate::time::to_db;

/// Why an action was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such conversation.
    #[error("there is no such conversation")]
    NoConversation,
    /// There is no such message.
    #[error("there is no such message")]
    NoMessage,
    /// The conversation is with somebody who is blocked.
    #[error("this person is blocked; unblock it first")]
    Blocked,
    /// The message is not of a kind, or in a state, to which that can be done.
    #[error("{0}")]
    NotPossible(&'static str),
    /// There is no such call on record.
    #[error("there is no such call to answer")]
    NoCall,
    /// What should be sent cannot be written.
    #[error("the message cannot be sent: {0}")]
    Write(#[from] WriteError),
}

/// Carries out an action of the user, and wakes whoever has work by it. Returns after it is on disk.
pub async fn act<T, F>(context: &Context, action: F) -> Result<T, ActionError>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut SqliteConnection, &'c Actor) -> BoxFuture<'c, Result<T, ActionError>>
        + Send
        + 'static,
{
    let actor = Actor::now(context);
    let outcome = context
        .db
        .writer()
        .act(move |connection| Box::pin(async move { action(connection, &actor).await }))
        .await?;
    context.outbox_filled.notify_one();
    context.deletions_filled.notify_one();
    context.shorten_filled.notify_one();
    Ok(outcome)
}

impl From<sqlx::Error> for ActionError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What an item of the outbox belongs to, by `receive_seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// It is this message.
    Message(i64),
    /// It is about this message and goes with it.
    About(i64),
    /// No message.
    Nothing,
}

/// Who acts, and when.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Our account.
    pub own: AccountId,
    /// Our display name; may be empty.
    pub name: String,
    /// When the name was chosen, s; 0 when that is not known.
    pub profile_s: i64,
    /// Network time, ms.
    pub now_ms: i64,
}

impl Actor {
    /// The user of an account, now.
    pub fn now(context: &Context) -> Self {
        let meta = context.db.meta();
        Self {
            own: context.account_id(),
            name: meta.display_name.clone(),
            profile_s: meta.profile_s,
            now_ms: context.now_ms(),
        }
    }

    /// A sent timestamp: later than any before it, and by at least `gap_ms`.
    pub async fn stamp(
        &self,
        connection: &mut SqliteConnection,
        gap_ms: i64,
    ) -> Result<i64, StoreError> {
        Self::stamp_at(connection, self.now_ms, gap_ms).await
    }

    /// A sent timestamp of an entry of a conversation: later also than what is there already, whose authors' clocks may be
    /// a little ahead of ours, or an answer would stand before what it answers.
    pub async fn stamp_in(
        &self,
        connection: &mut SqliteConnection,
        conversation: &ConversationRow,
        gap_ms: i64,
    ) -> Result<i64, StoreError> {
        let behind_ms = conversation.last_activity_ms.saturating_add(1);
        let at_most_ms = self.now_ms.saturating_add(AHEAD_MS + 1);
        let at_ms = self.now_ms.max(behind_ms.min(at_most_ms));
        Self::stamp_at(connection, at_ms, gap_ms).await
    }

    async fn stamp_at(
        connection: &mut SqliteConnection,
        at_ms: i64,
        gap_ms: i64,
    ) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar(
            "UPDATE meta SET last_sent_ms = max(?, last_sent_ms + ?) WHERE id = 1 RETURNING last_sent_ms",
        )
        .bind(at_ms)
        .bind(gap_ms)
        .fetch_one(connection)
        .await?)
    }

    /// Puts what a kind needs into the outbox: for the recipient, then the copy for the own devices. Note to self goes
    /// to the own swarm alone.
    pub async fn enqueue(
        &self,
        connection: &mut SqliteConnection,
        kind: &Kind,
        conversation: &ConversationRow,
        sent_ms: i64,
        of: Of,
    ) -> Result<(), ActionError> {
        let profile = (!self.name.is_empty()).then(|| Profile {
            name: Some(self.name.clone()),
            updated_s: u64::try_from(self.profile_s).unwrap_or(0),
            ..Profile::default()
        });
        let expiration = setting(conversation.expiry);
        let frame = Frame {
            timestamp_ms: u64::try_from(sent_ms).unwrap_or(0),
            expiration,
            profile: profile.as_ref(),
        };
        let (message, about) = match of {
            Of::Message(message) => (Some(message), None),
            Of::About(message) => (None, Some(message)),
            Of::Nothing => (None, None),
        };
        let item = |purpose, owner: String, content, to| NewItem {
            message,
            about,
            conversation: Some(conversation.id),
            purpose,
            kind: kind.name(),
            owner,
            content,
            sent_ms,
            ttl_ms: to_db(kind.ttl_ms(expiration, to)),
        };
        let peer: AccountId = conversation
            .peer
            .parse()
            .map_err(|_| ActionError::NoConversation)?;
        let copy = kind.write_sync_copy(&frame, &peer)?.map(|content| {
            let own = self.own.to_string();
            item(Purpose::Sync, own, content, Destination::OwnSwarm)
        });
        if conversation.kind == NOTE_TO_SELF {
            let Some(copy) = copy else { return Ok(()) };
            let note = NewItem {
                purpose: Purpose::Recipient,
                ..copy
            };
            return Ok(outbox::add(connection, &note, &[], self.now_ms).await?);
        }
        let content = kind.write(&frame)?;
        let to = conversation.peer.clone();
        let first = item(Purpose::Recipient, to, content, Destination::Recipient);
        let copies: Vec<NewItem> = copy.into_iter().collect();
        Ok(outbox::add(connection, &first, &copies, self.now_ms).await?)
    }

    /// Puts into the outbox what goes to the own devices alone.
    pub async fn enqueue_own(
        &self,
        connection: &mut SqliteConnection,
        kind: &Kind,
        conversation: &ConversationRow,
        sent_ms: i64,
    ) -> Result<(), ActionError> {
        let frame = Frame {
            timestamp_ms: u64::try_from(sent_ms).unwrap_or(0),
            ..Frame::default()
        };
        let Some(content) = kind.write_sync_copy(&frame, &self.own)? else {
            return Ok(());
        };
        let item = NewItem {
            message: None,
            about: None,
            conversation: Some(conversation.id),
            purpose: Purpose::Recipient,
            kind: kind.name(),
            owner: self.own.to_string(),
            content,
            sent_ms,
            ttl_ms: to_db(content::TTL_CONTENT),
        };
        Ok(outbox::add(connection, &item, &[], self.now_ms).await?)
    }
}

/// A disappearing setting, type and seconds, as it goes on the wire.
fn setting((mode, seconds): (i64, i64)) -> Option<Expiration> {
    let timer_s = u32::try_from(seconds).ok().filter(|timer| *timer > 0)?;
    (mode != 0).then_some(Expiration {
        mode: if mode == AFTER_READ {
            ExpirationMode::AfterRead
        } else {
            ExpirationMode::AfterSend
        },
        timer_s,
    })
}

/// The conversation that a caller names.
async fn conversation(
    connection: &mut SqliteConnection,
    selector: &Selector,
) -> Result<ConversationRow, ActionError> {
    conversations::get(connection, selector)
        .await?
        .ok_or(ActionError::NoConversation)
}

/// The message that a caller names, with its conversation.
async fn message(
    connection: &mut SqliteConnection,
    id: &str,
    now_ms: i64,
) -> Result<(MessageRow, ConversationRow), ActionError> {
    let row = messages::get(&mut *connection, id, now_ms)
        .await?
        .ok_or(ActionError::NoMessage)?;
    let selector = Selector::Id(row.conversation.clone());
    let conversation = conversation(connection, &selector).await?;
    Ok((row, conversation))
}

/// Place in the event log before an action.
async fn head(connection: &mut SqliteConnection) -> Result<i64, ActionError> {
    Ok(events::head(connection).await?)
}
