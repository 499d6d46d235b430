//! How new messages of this account disappear in a conversation (messages.md 7.1 to 7.4).
//!
//! The setting stays on this device as long as the settings of the account's devices are not synchronised; the other
//! side and the own devices learn of it by the update that is sent.

use session_protocol::content::Kind;
use sqlx::SqliteConnection;

use super::{ActionError, Actor, Of, conversation, head};
use crate::random::message_id;
use crate::store::conversations::{self, ConversationRow, Edit, NOTE_TO_SELF, Selector};
use crate::store::entries::{self, NewMessage};
use crate::store::events::{self, NewEvent};
use crate::store::messages::{self, AFTER_READ, kind};
use crate::store::{control, expiry};

/// Timers offered after sending, seconds; all that others know (messages.md 7.1).
const AFTER_SEND_S: [i64; 4] = [43_200, 86_400, 604_800, 1_209_600];
/// Those offered after reading as well.
const ALSO_AFTER_READ_S: [i64; 2] = [300, 3_600];

/// What does not disappear.
pub(super) const OFF: (i64, i64) = (0, 0);

/// Whether a setting, type and seconds, is one that official clients offer.
pub fn is_offered((mode, seconds): (i64, i64)) -> bool {
    let short = mode == AFTER_READ && ALSO_AFTER_READ_S.contains(&seconds);
    (mode, seconds) == OFF || (mode != 0 && (short || AFTER_SEND_S.contains(&seconds)))
}

/// Refuses a setting where it cannot be.
pub(super) fn check(row: &ConversationRow, setting: (i64, i64)) -> Result<(), ActionError> {
    if row.blocked {
        return Err(ActionError::Blocked);
    }
    if row.kind == NOTE_TO_SELF {
        return if setting.0 == AFTER_READ {
            Err(ActionError::NotPossible(
                "notes to self disappear after sending only",
            ))
        } else {
            Ok(())
        };
    }
    if row.approved && row.approved_me {
        Ok(())
    } else {
        Err(ActionError::NotPossible(
            "messages can disappear once both sides accepted each other",
        ))
    }
}

/// Sets it, leaves an entry and tells the other side and the own devices. What is so already is not sent again. Returns
/// the conversation and the place in the event log before.
pub async fn set(
    connection: &mut SqliteConnection,
    actor: &Actor,
    selector: &Selector,
    setting: (i64, i64),
) -> Result<(ConversationRow, i64), ActionError> {
    let seq = head(&mut *connection).await?;
    let row = conversation(&mut *connection, selector).await?;
    check(&row, setting)?;
    if row.expiry == setting {
        return Ok((row, seq));
    }
    let mut edit = Edit::new(row);
    let own = actor.own.to_string();
    // Of each author only the latest one stays.
    let mut log = Vec::new();
    let mut gone = Vec::new();
    for old in control::timer_changes(&mut *connection, &[edit.row.id]).await? {
        if old.author == own {
            gone.push(old.receive_seq);
            log.push(NewEvent::message_removed(
                &edit.row.public_id,
                &old.public_id,
            ));
        }
    }
    expiry::remove(&mut *connection, &gone, actor.now_ms).await?;
    let sent_ms = actor.stamp_in(&mut *connection, &edit.row, 1).await?;
    edit.set_expiry(setting, sent_ms);
    let to_self = edit.row.kind == NOTE_TO_SELF;
    let entry = NewMessage {
        public_id: message_id(actor.now_ms),
        conversation: edit.row.id,
        author: own,
        outgoing: true,
        written_here: true,
        sent_ms,
        kind: kind::TIMER_CHANGE.to_owned(),
        send_state: messages::SENDING,
        sync_state: if to_self {
            messages::NONE
        } else {
            messages::SENDING
        },
        expiry: setting,
        ..NewMessage::default()
    };
    let added = entries::add(&mut *connection, std::slice::from_ref(&entry), actor.now_ms)
        .await?
        .pop()
        .ok_or(ActionError::NoMessage)?;
    let update = Kind::ExpirationTimerUpdate;
    let of = Of::Message(added.receive_seq);
    actor
        .enqueue(&mut *connection, &update, &edit.row, sent_ms, of)
        .await?;
    log.push(NewEvent::message_added(
        &edit.row.public_id,
        &added.public_id,
    ));
    events::append(&mut *connection, &log, actor.now_ms).await?;
    edit.removed();
    let row = edit.row.clone();
    conversations::save(connection, vec![edit], actor.now_ms).await?;
    Ok((row, seq))
}
