//! Accepting a message for sending: text, what it answers, the preview of a link (messages.md 6.2 to 6.4), or an invitation
//! to a community (6.17).
//!
//! The same client token gives the first outcome, whatever has happened since (design.md promise 1).

use session_protocol::content::{Invitation, Kind, Preview, Quote, Visible};
use session_protocol::{AccountId, Identifier, blake2b};
use sqlx::SqliteConnection;

use super::approve::approve;
use super::expire::{self, OFF};
use super::{ActionError, Actor, Of, head};
use crate::random::message_id;
use crate::store::conversations::{self, ConversationRow, Edit, NOTE_TO_SELF};
use crate::store::entries::{self, NewMessage};
use crate::store::events::{self, NewEvent};
use crate::store::messages::{self, MessageRow, kind};
use crate::store::tokens::{self, Earlier};

/// How long before the message its author's acceptance is stamped, ms (messages.md 6.7).
const AFTER_RESPONSE_MS: i64 = 100;

/// What shall be sent.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Text, not blank unless it is an invitation.
    pub body: String,
    /// Opaque id of what it answers.
    pub quote: Option<String>,
    /// URL and title of a link in the body.
    pub preview: Option<(String, String)>,
    /// URL and name of a community to which it invites.
    pub invitation: Option<(String, String)>,
    /// Disappearing setting of this message, type and seconds; `None`: that of the conversation.
    pub expiry: Option<(i64, i64)>,
    /// Chosen by the caller.
    pub token: String,
}

/// Writes message, outbox items, events and token. Returns the message and the place in the event log before it.
pub async fn send(
    connection: &mut SqliteConnection,
    actor: &Actor,
    recipient: AccountId,
    draft: &Draft,
) -> Result<(MessageRow, i64), ActionError> {
    let fingerprint = fingerprint(&recipient, draft);
    if let Some(Earlier {
        message,
        cursor_seq,
    }) = tokens::earlier(&mut *connection, &draft.token, &fingerprint).await?
    {
        let message = messages::get(connection, &message, actor.now_ms).await?;
        return Ok((message.ok_or(ActionError::NoMessage)?, cursor_seq));
    }
    let seq = head(&mut *connection).await?;
    let peer = recipient.to_string();
    let peers = std::slice::from_ref(&peer);
    let row = conversations::ensure(&mut *connection, &actor.own, peers, actor.now_ms)
        .await?
        .pop()
        .ok_or(ActionError::NoConversation)?;
    if row.blocked {
        return Err(ActionError::Blocked);
    }
    let quote = match &draft.quote {
        Some(id) => Some(quoted(&mut *connection, actor, &row.public_id, id).await?),
        None => None,
    };
    // Writing accepts the other side, shows the conversation again and reads what was there (messages.md 6.2).
    // A message that stays can be sent to anybody.
    if let Some(expiry) = draft.expiry.filter(|&expiry| expiry != OFF) {
        expire::check(&row, expiry)?;
    }
    let mut edit = Edit::new(row);
    let answers = !edit.row.approved && edit.row.approved_me;
    approve(&mut *connection, actor, &mut edit).await?;
    let gap_ms = if answers { AFTER_RESPONSE_MS } else { 1 };
    let sent_ms = actor.stamp_in(&mut *connection, &edit.row, gap_ms).await?;
    let to_self = edit.row.kind == NOTE_TO_SELF;
    let message = NewMessage {
        public_id: message_id(actor.now_ms),
        conversation: edit.row.id,
        author: actor.own.to_string(),
        outgoing: true,
        written_here: true,
        sent_ms,
        kind: if draft.invitation.is_some() {
            kind::COMMUNITY_INVITATION
        } else {
            kind::TEXT
        }
        .to_owned(),
        body: draft.invitation.is_none().then(|| draft.body.clone()),
        send_state: messages::SENDING,
        sync_state: if to_self {
            messages::NONE
        } else {
            messages::SENDING
        },
        expiry: draft.expiry.unwrap_or(edit.row.expiry),
        quote: quote.as_ref().map(|(author, ms)| (author.to_string(), *ms)),
        preview: draft.preview.clone(),
        invitation: draft.invitation.clone(),
        ..NewMessage::default()
    };
    let rows = std::slice::from_ref(&message);
    let added = entries::add(&mut *connection, rows, actor.now_ms)
        .await?
        .pop()
        .ok_or(ActionError::NoMessage)?;
    let (preview, invitation) = (draft.preview.clone(), draft.invitation.clone());
    let sent = visible(draft.body.clone(), quote, preview, invitation);
    let of = Of::Message(added.receive_seq);
    let carried = ConversationRow {
        expiry: message.expiry,
        ..edit.row.clone()
    };
    actor
        .enqueue(&mut *connection, &sent, &carried, sent_ms, of)
        .await?;
    let event = NewEvent::message_added(&edit.row.public_id, &added.public_id);
    events::append(&mut *connection, &[event], actor.now_ms).await?;
    edit.added(sent_ms, false, false);
    edit.read_to(sent_ms);
    edit.row.priority = edit.row.priority.max(0);
    conversations::save(&mut *connection, vec![edit], actor.now_ms).await?;
    let outcome = Earlier {
        message: added.public_id.clone(),
        cursor_seq: seq,
    };
    tokens::remember(
        &mut *connection,
        &draft.token,
        &fingerprint,
        &outcome,
        actor.now_ms,
    )
    .await?;
    let row = messages::get(connection, &added.public_id, actor.now_ms).await?;
    Ok((row.ok_or(ActionError::NoMessage)?, seq))
}

/// What goes on the wire: a text, author and sent timestamp in ms of what it answers, address and title of a page,
/// address and name of a community.
pub(super) fn visible(
    body: String,
    quote: Option<(Identifier, i64)>,
    preview: Option<(String, String)>,
    invitation: Option<(String, String)>,
) -> Kind {
    Kind::Visible(Box::new(Visible {
        body,
        quote: quote.map(|(author, ms)| Quote {
            timestamp: u64::try_from(ms).unwrap_or(0),
            author,
        }),
        preview: preview.map(|(url, title)| Preview {
            url,
            title: (!title.is_empty()).then_some(title),
            image: None,
        }),
        invitation: invitation.map(|(url, name)| Invitation { url, name }),
        ..Visible::default()
    }))
}

/// Author and sent timestamp of what is answered, which must be shown in the same conversation.
async fn quoted(
    connection: &mut SqliteConnection,
    actor: &Actor,
    conversation: &str,
    id: &str,
) -> Result<(Identifier, i64), ActionError> {
    let row = messages::get(connection, id, actor.now_ms)
        .await?
        .filter(|row| row.conversation == conversation && !row.deleted)
        .ok_or(ActionError::NoMessage)?;
    let author = row.author.parse().map_err(|_| ActionError::NoMessage)?;
    Ok((author, row.sent_ms))
}

/// Digest of what a call asks for.
fn fingerprint(recipient: &AccountId, draft: &Draft) -> [u8; 32] {
    let body = draft.body.as_bytes();
    if let Some((url, name)) = &draft.invitation {
        let timer = draft
            .expiry
            .map_or_else(String::new, |(mode, seconds)| format!("{mode} {seconds}"));
        let length = u64::try_from(url.len()).unwrap_or(u64::MAX).to_le_bytes();
        let parts = [
            url.as_bytes(),
            b"\n",
            timer.as_bytes(),
            b"\n",
            name.as_bytes(),
        ]
        .concat();
        return blake2b::hash32(&[b"invitation", recipient.x25519(), &length, &parts]);
    }
    if draft.quote.is_none() && draft.preview.is_none() && draft.expiry.is_none() {
        return blake2b::hash32(&[b"text", recipient.x25519(), body]);
    }
    let quote = draft.quote.as_deref().unwrap_or_default();
    let (url, title) = draft.preview.clone().unwrap_or_default();
    let timer = draft
        .expiry
        .map(|(mode, seconds)| format!("{mode} {seconds}"));
    let timer = timer.unwrap_or_default();
    // With its length before each part, so that no two requests run together to the same bytes.
    let lengths = [body.len(), quote.len(), url.len(), title.len(), timer.len()]
        .map(|length| u64::try_from(length).unwrap_or(u64::MAX).to_le_bytes())
        .concat();
    blake2b::hash32(&[
        b"rich",
        recipient.x25519(),
        &lengths,
        body,
        quote.as_bytes(),
        url.as_bytes(),
        title.as_bytes(),
        timer.as_bytes(),
    ])
}
