//! What a stored message is, as far as it tells itself: opened, read, and held against the rules that need nothing but
//! the message and our own account ID. Pure: runs on the blocking pool.
//!
//! Rules of messages.md 11 applied here: 1 to 5 (by session-protocol), 9 to 12 (by session-protocol), 16 (sync target
//! only from oneself), 17 (kinds that nobody sends to himself), 18 (the authority to unsend, 6.6), 19 (a reaction
//! concerns its sender's conversation), 20 and 22. What needs the database is in [`super::apply`].
//!
//! What this version cannot read although it was sealed to us stays in the quarantine: perhaps the next one can.

use session_network::StoredMessage;
use session_protocol::content::{
    self, Call, CallSignal, ContentError, Expiration, ExpirationMode, GroupUpdate, Kind, Place,
    Profile, Read, Visible,
};
use session_protocol::{AccountId, AccountKeys, Identifier, envelope};

use super::senders::KnownSenders;
use super::start::Timer;
use crate::store::details::NewAttachment;
use crate::store::messages::{AFTER_READ, AFTER_SEND, kind};
use crate::time::to_db;

/// What one message turned out to be.
#[derive(Clone)]
pub enum Judged {
    /// Something to apply.
    Message(Box<Incoming>),
    /// It is left out; UPPER_SNAKE reason.
    Refused(&'static str),
    /// It was sealed to us and makes no sense; UPPER_SNAKE reason, and what is known of its timer all the same.
    Quarantine(&'static str, Timer),
}

impl Judged {
    /// The same message, which cannot be kept as what it is.
    pub fn put_aside(&self, reason: &'static str) -> Self {
        let timer = match self {
            Self::Message(message) => Timer::Known {
                expiry: message.expiry,
                own: message.own,
                sent_ms: message.sent_ms,
            },
            Self::Quarantine(_, timer) => *timer,
            Self::Refused(_) => Timer::Unknown,
        };
        Self::Quarantine(reason, timer)
    }
}

/// A message that may be applied.
#[derive(Clone)]
pub struct Incoming {
    /// The other side of its conversation; the own account for note to self.
    pub peer: String,
    /// Account ID of who wrote it.
    pub author: String,
    /// We wrote it, on another device.
    pub own: bool,
    /// ms, as the author says.
    pub sent_ms: i64,
    /// Type and seconds of its timer; zeros: none.
    pub expiry: (i64, i64),
    /// The author's profile.
    pub profile: Option<Profile>,
    /// Further kinds in the same Content, which are ignored (messages.md 5.9).
    pub ignored_kinds: i64,
    /// What it does.
    pub action: Action,
}

/// What a message does.
#[derive(Clone)]
pub enum Action {
    /// It becomes an entry that may open a conversation.
    Entry(Entry),
    /// A note that the author changed its disappearing setting to the one that the message carries.
    TimerChange,
    /// The author accepted us.
    Accepted,
    /// The author kept something: `DataExtractionKind`, and when the media was sent, ms.
    Extraction(i64, i64),
    /// A reaction to a message of this author, sent at this time.
    Reaction(Reaction),
    /// The author has read messages of ours, sent at these times.
    Receipt(Vec<i64>),
    /// The author starts or stops typing.
    Typing(bool),
    /// A message is to be deleted.
    Unsend(Unsend),
    /// A step of a call.
    Call(Call),
}

/// Something to be shown.
#[derive(Clone, Default)]
pub struct Entry {
    /// See [`kind`].
    pub kind: &'static str,
    /// Text.
    pub body: Option<String>,
    /// It mentions us.
    pub mentions_me: bool,
    /// Author and sent timestamp of what it answers.
    pub quote: Option<(String, i64)>,
    /// URL and title.
    pub preview: Option<(String, String)>,
    /// URL and name.
    pub invitation: Option<(String, String)>,
    /// In their order.
    pub attachments: Vec<NewAttachment>,
}

/// An emoji on a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// Account ID of the message's author.
    pub target_author: String,
    /// The message's sent timestamp, ms.
    pub target_ms: i64,
    /// One grapheme cluster.
    pub emoji: String,
    /// Taken off instead of put on.
    pub remove: bool,
}

/// Which message is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsend {
    /// Account ID of its author.
    pub author: String,
    /// Its sent timestamp, ms.
    pub sent_ms: i64,
}

impl Incoming {
    /// Kinds that may open a conversation (messages.md 5.9).
    pub fn creates_conversation(&self) -> bool {
        match &self.action {
            Action::Entry(_) | Action::Accepted => true,
            Action::Call(call) => !self.own && call.rings(),
            _ => false,
        }
    }

    /// Kinds that stand as entries of their own.
    pub fn becomes_entry(&self) -> bool {
        match &self.action {
            Action::Entry(_) | Action::TimerChange | Action::Accepted | Action::Extraction(..) => {
                true
            }
            Action::Call(call) => !self.own && call.rings(),
            Action::Reaction(_) | Action::Receipt(_) | Action::Typing(_) | Action::Unsend(_) => {
                false
            }
        }
    }

    /// Kinds that messages deleted before their arrival do not stop (messages.md 5.8).
    pub fn ignores_age(&self) -> bool {
        matches!(self.action, Action::Receipt(_) | Action::Unsend(_))
    }
}

/// Opens and judges one message.
pub fn judge(keys: &AccountKeys, senders: &KnownSenders, stored: &StoredMessage) -> Judged {
    let Some(data) = &stored.data else {
        return Judged::Refused("NOT_BASE64");
    };
    let opened = match envelope::open_with(keys, data, senders) {
        Ok(opened) => opened,
        Err(error) if error.opened_for_us() => {
            return Judged::Quarantine(error.reason(), Timer::Unknown);
        }
        Err(error) => return Judged::Refused(error.reason()),
    };
    let read = match content::read(&opened.content) {
        Ok(read) => read,
        // Perhaps a kind of a later version.
        Err(error @ ContentError::NoKind) => {
            let own = opened.sender == keys.account_id();
            let place = place(own);
            let timer = Timer::Known {
                expiry: seconds(content::expiration_alone(&opened.content, place)),
                own,
                sent_ms: to_db(opened.timestamp),
            };
            return Judged::Quarantine(error.reason(), timer);
        }
        Err(error) => return Judged::Refused(error.reason()),
    };
    match incoming(keys.account_id(), opened.sender, opened.timestamp, read) {
        Ok(incoming) => Judged::Message(Box::new(incoming)),
        Err(judged) => judged,
    }
}

fn incoming(own: AccountId, sender: AccountId, sent: u64, read: Read) -> Result<Incoming, Judged> {
    let from_self = sender == own;
    let refused = |reason| Err(Judged::Refused(reason));
    let mut peer = match (from_self, read.sync_target) {
        (true, target) => target.unwrap_or(own),
        (false, None) => sender,
        (false, Some(_)) => return refused("FOREIGN_SYNC_TARGET"),
    };
    let expiry = seconds(read.expiration(place(peer == own)));
    let action = match read.kind {
        Kind::Visible(visible) => Action::Entry(entry(*visible, own, from_self)),
        Kind::ExpirationTimerUpdate => Action::TimerChange,
        Kind::Reaction(reaction) => {
            let target = reaction.author;
            if target != Identifier::from(own) && target != Identifier::from(peer) {
                return refused("FOREIGN_REACTION");
            }
            Action::Reaction(Reaction {
                target_author: target.to_string(),
                target_ms: to_db(reaction.timestamp),
                emoji: reaction.emoji,
                remove: reaction.remove,
            })
        }
        Kind::Unsend(unsend) => {
            // Another person may delete what it wrote itself, in its own conversation; we may delete anything of ours
            // and, on our devices, of others.
            if !from_self && unsend.author != sender {
                return refused("FOREIGN_UNSEND");
            }
            peer = if from_self { unsend.author } else { sender };
            Action::Unsend(Unsend {
                author: unsend.author.to_string(),
                sent_ms: to_db(unsend.timestamp),
            })
        }
        Kind::Call(call) => {
            let synced = matches!(call.signal, CallSignal::Answer(_) | CallSignal::EndCall);
            if from_self && !synced {
                return refused("NOT_FROM_ONESELF");
            }
            Action::Call(call)
        }
        // Joining a group is not possible yet; the invitation waits in the quarantine.
        Kind::GroupUpdate(update) => {
            return match *update {
                _ if from_self => refused("NOT_FROM_ONESELF"),
                GroupUpdate::Invite { .. } | GroupUpdate::Promote { .. } => {
                    let timer = Timer::Known {
                        expiry,
                        own: from_self,
                        sent_ms: to_db(sent),
                    };
                    Err(Judged::Quarantine("GROUP_INVITATION", timer))
                }
                _ => refused("GROUP_UPDATE_OUTSIDE_GROUP"),
            };
        }
        Kind::ReadReceipt(_)
        | Kind::Typing(_)
        | Kind::DataExtraction(_)
        | Kind::RequestResponse
            if from_self =>
        {
            return refused("NOT_FROM_ONESELF");
        }
        Kind::ReadReceipt(receipt) => {
            Action::Receipt(receipt.timestamps.into_iter().map(to_db).collect())
        }
        Kind::Typing(typing) => Action::Typing(typing.started),
        // 1 screenshot, 2 media saved: the numbers of the network and of the API.
        Kind::DataExtraction(notice) => Action::Extraction(
            if notice.screenshot { 1 } else { 2 },
            notice.timestamp.map_or(0, to_db),
        ),
        Kind::RequestResponse => Action::Accepted,
    };
    Ok(Incoming {
        ignored_kinds: i64::try_from(read.ignored_kinds).unwrap_or(i64::MAX),
        peer: peer.to_string(),
        author: sender.to_string(),
        own: from_self,
        sent_ms: to_db(sent),
        expiry,
        // Own messages never change the own profile (messages.md 6.13).
        profile: read.profile.filter(|_| !from_self),
        action,
    })
}

fn entry(visible: Visible, own: AccountId, from_self: bool) -> Entry {
    let blank = visible.body.trim().is_empty() && visible.attachments.is_empty();
    Entry {
        kind: if blank {
            kind::COMMUNITY_INVITATION
        } else {
            kind::TEXT
        },
        mentions_me: !from_self && content::mentions_account(&visible.body, &own),
        body: (!blank).then_some(visible.body),
        quote: visible
            .quote
            .map(|quote| (quote.author.to_string(), to_db(quote.timestamp))),
        preview: visible
            .preview
            .map(|preview| (preview.url, preview.title.unwrap_or_default())),
        invitation: visible
            .invitation
            .map(|invitation| (invitation.url, invitation.name)),
        attachments: visible.attachments.into_iter().map(attachment).collect(),
    }
}

fn attachment(file: content::Attachment) -> NewAttachment {
    NewAttachment {
        file_name: file.file_name.unwrap_or_default(),
        content_type: file.content_type.unwrap_or_default(),
        caption: file.caption.unwrap_or_default(),
        size: i64::from(file.size.unwrap_or(0)),
        width: i64::from(file.width.unwrap_or(0)),
        height: i64::from(file.height.unwrap_or(0)),
        voice: file.voice,
        url: file.url,
        key: file.key.as_bytes().to_vec(),
        digest: file.digest.map(Vec::from),
    }
}

fn place(to_self: bool) -> Place {
    if to_self {
        Place::NoteToSelf
    } else {
        Place::OneToOne
    }
}

/// Type and seconds of a timer.
fn seconds(expiration: Option<Expiration>) -> (i64, i64) {
    match expiration {
        None => (0, 0),
        Some(expiration) => {
            let mode = match expiration.mode {
                ExpirationMode::AfterRead => AFTER_READ,
                ExpirationMode::AfterSend => AFTER_SEND,
            };
            (mode, i64::from(expiration.timer_s))
        }
    }
}
