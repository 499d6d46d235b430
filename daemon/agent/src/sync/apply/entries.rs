//! Messages that become entries of a conversation, and what they change in it.

use std::collections::{HashMap, HashSet};

use session_protocol::content::{Picture, Profile};
use sqlx::SqliteConnection;

use super::{Arrived, Round};
use crate::random::message_id;
use crate::store::StoreError;
use crate::store::control::{self, call};
use crate::store::conversations::{Edit, NOTE_TO_SELF};
use crate::store::entries::{self, NewMessage};
use crate::store::events::NewEvent;
use crate::store::messages::{self, kind};
use crate::store::{expiry, swarm_deletions, swarm_expiry};
use crate::sync::judge::{Action, Incoming};
use crate::time::to_db;

/// Entries that are held already and make new ones superfluous.
struct Held {
    /// Sent timestamp of the newest timer change by conversation and author.
    timer_changes: HashMap<(i64, String), i64>,
    /// Conversations that hold an acceptance.
    accepted: HashSet<i64>,
    /// Calls on record, by conversation and UUID.
    calls: HashSet<(i64, String)>,
}

impl Round<'_> {
    pub(super) async fn add_entries(
        &mut self,
        connection: &mut SqliteConnection,
        let_in: &[Arrived<'_>],
    ) -> Result<(), StoreError> {
        let mut held = self.held(&mut *connection, let_in).await?;
        // Author and time of what the same unit deletes.
        let unsent: HashSet<(&str, i64)> = let_in
            .iter()
            .filter_map(|(message, _)| match &message.action {
                Action::Unsend(unsend) => Some((&*unsend.author, unsend.sent_ms)),
                _ => None,
            })
            .collect();
        // Whom we write to in the same unit, we have accepted.
        let written_to: HashSet<&str> = let_in
            .iter()
            .filter(|(message, _)| message.own && matches!(message.action, Action::Entry(_)))
            .map(|(message, _)| &*message.peer)
            .collect();
        let mut rows: Vec<NewMessage> = Vec::with_capacity(let_in.len());
        let mut by_id: HashMap<String, &Incoming> = HashMap::new();
        let mut shorten: HashMap<String, String> = HashMap::new();
        let mut unwanted = Vec::new();
        for (message, stored) in let_in {
            let Some((number, to, approved, last_read_ms)) = self.edit(&message.peer).map(|edit| {
                let row = &edit.row;
                (row.id, row.kind, row.approved, row.last_read_ms)
            }) else {
                if !matches!(message.action, Action::Unsend(_) | Action::Call(_)) {
                    self.refuse("NO_CONVERSATION");
                }
                continue;
            };
            let approved = approved || written_to.contains(&*message.peer);
            let Some(mut row) = entry(message, number, approved, self.now_ms, &mut held) else {
                continue;
            };
            row.stored = Some((stored.hash.clone(), to_db(stored.expiration)));
            row.stored_ms = Some(to_db(stored.timestamp));
            let start = self.start(message, stored, last_read_ms);
            row.expiry_start = start.map(|start| (start.at_ms, start.cause));
            if start.is_some_and(|start| start.shorten) {
                shorten.insert(row.public_id.clone(), stored.hash.clone());
            }
            if unsent.contains(&(&*message.author, message.sent_ms)) && is_visible(&row.kind) {
                unwanted.push(stored.hash.clone());
                if to == NOTE_TO_SELF {
                    self.refuse("UNSENT");
                    continue;
                }
                row = emptied(row);
            }
            by_id.insert(row.public_id.clone(), message);
            rows.push(row);
        }
        self.drop_older_timer_changes(&mut *connection, &mut rows)
            .await?;
        let added = entries::add(&mut *connection, &rows, self.now_ms).await?;
        let rows: HashMap<&str, &NewMessage> =
            rows.iter().map(|row| (&*row.public_id, row)).collect();
        let mut calls = Vec::new();
        let mut copies = Vec::new();
        for message in &added {
            let id = &*message.public_id;
            let (Some(row), Some(incoming)) = (rows.get(id), by_id.get(id)) else {
                continue;
            };
            let Some(edit) = self.edits.get_mut(&row.conversation) else {
                continue;
            };
            copies.extend(shorten.remove(id).zip(row.expires_at()));
            if let Action::Call(step) = &incoming.action {
                let state = if edit.row.approved {
                    call::MISSED
                } else {
                    call::MISSED_NEEDS_PERMISSION
                };
                calls.push((
                    message.receive_seq,
                    row.conversation,
                    step.uuid.clone(),
                    state,
                ));
            }
            self.log
                .push(NewEvent::message_added(&edit.row.public_id, id));
            changed_by(edit, incoming, row);
        }
        control::add_calls(&mut *connection, &calls).await?;
        self.outcome.shorten |= !copies.is_empty();
        swarm_expiry::add(&mut *connection, &copies).await?;
        self.outcome.deletions |= !unwanted.is_empty();
        swarm_deletions::add(connection, &unwanted, self.now_ms).await?;
        self.outcome.added += u32::try_from(added.len()).unwrap_or(u32::MAX);
        Ok(())
    }

    async fn held(
        &self,
        connection: &mut SqliteConnection,
        let_in: &[Arrived<'_>],
    ) -> Result<Held, StoreError> {
        let of = |wanted: fn(&Action) -> bool| -> Vec<i64> {
            let numbers: HashSet<i64> = let_in
                .iter()
                .filter(|(message, _)| wanted(&message.action))
                .filter_map(|(message, _)| self.numbers.get(&message.peer).copied())
                .collect();
            numbers.into_iter().collect()
        };
        let changing = of(|action| matches!(action, Action::TimerChange));
        let accepting = of(|action| matches!(action, Action::Accepted));
        let uuids: Vec<String> = let_in
            .iter()
            .filter_map(|(message, _)| match &message.action {
                Action::Call(call) => Some(call.uuid.clone()),
                _ => None,
            })
            .collect();
        let mut timer_changes: HashMap<(i64, String), i64> = HashMap::new();
        for change in control::timer_changes(&mut *connection, &changing).await? {
            let newest = timer_changes
                .entry((change.conversation, change.author))
                .or_default();
            *newest = (*newest).max(change.sent_ms);
        }
        Ok(Held {
            timer_changes,
            accepted: control::accepted(&mut *connection, &accepting).await?,
            calls: control::calls(connection, &uuids)
                .await?
                .into_iter()
                .map(|call| (call.conversation, call.uuid))
                .collect(),
        })
    }

    /// Of each author only the latest timer change stays (messages.md 7.4).
    async fn drop_older_timer_changes(
        &mut self,
        connection: &mut SqliteConnection,
        rows: &mut Vec<NewMessage>,
    ) -> Result<(), StoreError> {
        let mut newest: HashMap<(i64, String), i64> = HashMap::new();
        for row in rows.iter().filter(|row| row.kind == kind::TIMER_CHANGE) {
            let at = newest
                .entry((row.conversation, row.author.clone()))
                .or_default();
            *at = (*at).max(row.sent_ms);
        }
        if newest.is_empty() {
            return Ok(());
        }
        let is_newest = |conversation: i64, author: &str, sent_ms: i64| {
            newest
                .get(&(conversation, author.to_owned()))
                .is_none_or(|at| *at <= sent_ms)
        };
        rows.retain(|row| {
            row.kind != kind::TIMER_CHANGE || is_newest(row.conversation, &row.author, row.sent_ms)
        });
        let numbers: Vec<i64> = newest.keys().map(|(number, _)| *number).collect();
        let mut gone = Vec::new();
        for old in control::timer_changes(&mut *connection, &numbers).await? {
            if is_newest(old.conversation, &old.author, old.sent_ms) {
                continue;
            }
            gone.push(old.receive_seq);
            self.outcome.removed = true;
            if let Some(edit) = self.edits.get_mut(&old.conversation) {
                edit.removed();
                let event = NewEvent::message_removed(&edit.row.public_id, &old.public_id);
                self.log.push(event);
            }
        }
        expiry::remove(connection, &gone, self.now_ms).await
    }

    /// Takes over what the other sides say about themselves, and that they accepted us.
    pub(super) fn people(&mut self, let_in: &[Arrived<'_>]) {
        for (message, _) in let_in.iter().filter(|(message, _)| !message.own) {
            let Some(edit) = self.edit(&message.peer) else {
                continue;
            };
            if matches!(message.action, Action::Accepted) {
                edit.row.approved_me = true;
                edit.row.priority = edit.row.priority.max(0);
            }
            if let Some(profile) = &message.profile {
                take_over(edit, profile, message.sent_ms);
            }
        }
    }
}

/// The row a message becomes; `None` when it becomes none.
fn entry(
    message: &Incoming,
    conversation: i64,
    approved: bool,
    now_ms: i64,
    held: &mut Held,
) -> Option<NewMessage> {
    let state = if message.own {
        messages::SENT
    } else {
        messages::NONE
    };
    let row = NewMessage {
        public_id: message_id(now_ms),
        conversation,
        author: message.author.clone(),
        outgoing: message.own,
        sent_ms: message.sent_ms,
        send_state: state,
        sync_state: state,
        expiry: message.expiry,
        ..NewMessage::default()
    };
    let named = |name: &str, row: NewMessage| {
        Some(NewMessage {
            kind: name.to_owned(),
            ..row
        })
    };
    match &message.action {
        Action::Entry(entry) => named(
            entry.kind,
            NewMessage {
                body: entry.body.clone(),
                counts: !message.own,
                mentions_me: entry.mentions_me,
                quote: entry.quote.clone(),
                preview: entry.preview.clone(),
                invitation: entry.invitation.clone(),
                attachments: entry.attachments.clone(),
                ..row
            },
        ),
        Action::TimerChange => {
            let key = (conversation, message.author.clone());
            let newest = held.timer_changes.get(&key).copied();
            if newest.is_some_and(|at| at >= message.sent_ms) {
                return None;
            }
            named(kind::TIMER_CHANGE, row)
        }
        // Without a message of ours there is nothing that was accepted (messages.md 6.7).
        Action::Accepted => {
            if !approved || !held.accepted.insert(conversation) {
                return None;
            }
            named(
                kind::REQUEST_ACCEPTED,
                NewMessage {
                    counts: true,
                    ..row
                },
            )
        }
        Action::Extraction(detail, detail_ms) => named(
            kind::DATA_EXTRACTION,
            NewMessage {
                detail: *detail,
                detail_ms: *detail_ms,
                ..row
            },
        ),
        Action::Call(call) => {
            if message.own || !call.rings() || !held.calls.insert((conversation, call.uuid.clone()))
            {
                return None;
            }
            named(
                kind::CALL,
                NewMessage {
                    counts: true,
                    ..row
                },
            )
        }
        Action::Reaction(_) | Action::Receipt(_) | Action::Typing(_) | Action::Unsend(_) => None,
    }
}

/// Entries that their author can delete.
pub(super) fn is_visible(name: &str) -> bool {
    !matches!(
        name,
        kind::TIMER_CHANGE
            | kind::REQUEST_ACCEPTED
            | kind::DATA_EXTRACTION
            | kind::CALL
            | kind::GAP
    )
}

/// What is left of a message that was deleted before it came.
fn emptied(row: NewMessage) -> NewMessage {
    NewMessage {
        deleted: true,
        counts: false,
        mentions_me: false,
        body: None,
        quote: None,
        preview: None,
        invitation: None,
        attachments: Vec::new(),
        ..row
    }
}

/// What a new entry changes in its conversation.
fn changed_by(edit: &mut Edit, message: &Incoming, row: &NewMessage) {
    edit.added(row.sent_ms, row.counts, row.mentions_me);
    if matches!(message.action, Action::Entry(_)) {
        edit.row.priority = edit.row.priority.max(0);
    }
    match (&message.action, message.own) {
        // Writing accepts the other side and reads what was there (messages.md 6.2, 8.2).
        (Action::Entry(_), true) => {
            edit.row.approved |= edit.row.kind != NOTE_TO_SELF;
            edit.read_to(message.sent_ms);
        }
        (Action::Entry(_), false) => edit.row.approved_me = true,
        (Action::TimerChange, true) => edit.set_expiry(message.expiry, message.sent_ms),
        _ => {}
    }
    // The other side's setting is learnt only from what its messages carry (messages.md 7.2).
    if matches!(message.action, Action::Entry(_) | Action::TimerChange)
        && !message.own
        && message.sent_ms > edit.row.peer_expiry.2
    {
        edit.row.peer_expiry = (message.expiry.0, message.expiry.1, message.sent_ms);
    }
}

/// Applies a profile unless a newer one is held (messages.md 6.13). Of profiles without a time the later sent counts.
fn take_over(edit: &mut Edit, profile: &Profile, sent_ms: i64) {
    let updated_s = to_db(profile.updated_s);
    let row = &mut edit.row;
    let newer = updated_s > row.profile_s
        || (updated_s == 0 && row.profile_s == 0 && sent_ms > row.display_name_ms);
    if !newer {
        return;
    }
    row.profile_s = updated_s;
    row.display_name_ms = sent_ms;
    if let Some(name) = &profile.name {
        row.display_name.clone_from(name);
    }
    match &profile.picture {
        Picture::None => row.picture = None,
        Picture::Set { url, key } => row.picture = Some((url.clone(), key.as_bytes().to_vec())),
        Picture::Invalid => {}
    }
}
