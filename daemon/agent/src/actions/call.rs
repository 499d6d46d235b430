//! Steps of calls that a program with media takes (messages.md 6.14): what goes to the other side and the own devices, and
//! the record of the call.
//!
//! Only between people who accepted each other. The record is written after the other side's swarm has the step: a call
//! that nobody could hear of was none.

use session_protocol::content::{Call, CallSignal, Kind};
use sqlx::SqliteConnection;

use super::tell::Tell;
use super::{ActionError, Actor, conversation, setting};
use crate::random::message_id;
use crate::store::control::{self, CallRow, call};
use crate::store::conversations::{self, Edit, ONE_TO_ONE, Selector};
use crate::store::entries::{self, NewMessage};
use crate::store::events::{self, NewEvent};
use crate::store::messages::{self, AFTER_SEND, kind};

/// What is to be stored: for the other side, then for the own devices.
#[derive(Clone, Debug)]
pub struct Step {
    /// Internal number of the conversation.
    conversation: i64,
    /// What is told.
    call: Call,
    /// Sent timestamp, ms.
    pub sent_ms: i64,
    /// To the other side.
    pub tell: Tell,
    /// To the own devices.
    pub copy: Option<Tell>,
}

/// Checks that the step may be taken, stamps and writes it.
pub async fn prepare(
    connection: &mut SqliteConnection,
    actor: &Actor,
    selector: &Selector,
    call: Call,
) -> Result<Step, ActionError> {
    let row = conversation(&mut *connection, selector).await?;
    if row.blocked {
        return Err(ActionError::Blocked);
    }
    let record = record(&mut *connection, row.id, &call.uuid).await?;
    // Who calls us has accepted us, even if it never wrote.
    let called_us = record.as_ref().is_some_and(|record| !record.outgoing);
    if row.kind != ONE_TO_ONE || !row.approved || !(row.approved_me || called_us) {
        return Err(ActionError::NotPossible(
            "calls are possible once both sides accepted each other",
        ));
    }
    if matches!(call.signal, CallSignal::Answer(_)) && !called_us {
        return Err(ActionError::NoCall);
    }
    let peer = row.peer.parse().map_err(|_| ActionError::NoConversation)?;
    let sent_ms = actor.stamp_in(connection, &row, 1).await?;
    let expiration = setting(row.expiry);
    let kind = Kind::Call(call.clone());
    Ok(Step {
        conversation: row.id,
        sent_ms,
        tell: Tell::write(&kind, peer, sent_ms, expiration)?,
        copy: Tell::write_copy(&kind, actor.own, peer, sent_ms, expiration)?,
        call,
    })
}

/// Writes down what a step that was stored makes of the call. Returns the opaque id of the record; empty without one.
pub async fn settle(
    connection: &mut SqliteConnection,
    actor: &Actor,
    step: &Step,
) -> Result<String, ActionError> {
    let record = record(&mut *connection, step.conversation, &step.call.uuid).await?;
    let row = conversations::by_numbers(&mut *connection, &[step.conversation])
        .await?
        .pop();
    // It was declined or deleted meanwhile.
    let Some(row) = row else {
        return Ok(String::new());
    };
    let Some(record) = record else {
        return match step.call.signal {
            CallSignal::PreOffer => begin(connection, actor, row, step).await,
            _ => Ok(String::new()),
        };
    };
    let state = match step.call.signal {
        CallSignal::Answer(_) => call::ANSWERED,
        CallSignal::EndCall
            if matches!(record.state, call::MISSED | call::MISSED_NEEDS_PERMISSION) =>
        {
            call::REJECTED
        }
        _ => record.state,
    };
    if state != record.state {
        control::set_call_states(&mut *connection, &[(record.message, state)]).await?;
        let event = NewEvent::message_changed(&row.public_id, &record.public_id, &["content"]);
        events::append(connection, &[event], actor.now_ms).await?;
    }
    Ok(record.public_id)
}

/// Puts a call of ours on record.
async fn begin(
    connection: &mut SqliteConnection,
    actor: &Actor,
    row: conversations::ConversationRow,
    step: &Step,
) -> Result<String, ActionError> {
    // Our own record goes a time after sending, whatever the other side's does (messages.md 7.7).
    let expiry = match row.expiry {
        (0, _) | (_, 0) => (0, 0),
        (_, seconds) => (AFTER_SEND, seconds),
    };
    let entry = NewMessage {
        public_id: message_id(actor.now_ms),
        conversation: row.id,
        author: actor.own.to_string(),
        outgoing: true,
        written_here: true,
        sent_ms: step.sent_ms,
        kind: kind::CALL.to_owned(),
        send_state: messages::SENT,
        sync_state: messages::NONE,
        expiry,
        expiry_start: (expiry.0 != 0).then_some((actor.now_ms, messages::cause::SENT)),
        ..NewMessage::default()
    };
    let rows = std::slice::from_ref(&entry);
    let added = entries::add(&mut *connection, rows, actor.now_ms)
        .await?
        .pop()
        .ok_or(ActionError::NoMessage)?;
    let uuid = step.call.uuid.clone();
    let calls = [(added.receive_seq, row.id, uuid, call::CALLED)];
    control::add_calls(&mut *connection, &calls).await?;
    let event = NewEvent::message_added(&row.public_id, &added.public_id);
    events::append(&mut *connection, &[event], actor.now_ms).await?;
    let mut edit = Edit::new(row);
    edit.added(step.sent_ms, false, false);
    edit.read_to(step.sent_ms);
    edit.row.priority = edit.row.priority.max(0);
    conversations::save(connection, vec![edit], actor.now_ms).await?;
    Ok(added.public_id)
}

async fn record(
    connection: &mut SqliteConnection,
    conversation: i64,
    uuid: &str,
) -> Result<Option<CallRow>, ActionError> {
    let calls = control::calls(connection, &[uuid.to_owned()]).await?;
    Ok(calls
        .into_iter()
        .find(|call| call.conversation == conversation))
}
