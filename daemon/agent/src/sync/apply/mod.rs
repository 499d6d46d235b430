//! Applies judged messages: everything one unit changes, in one transaction, with set statements.
//!
//! The order within a unit: what is dropped whatever it says (blocked, cleared, gone before, expired); new entries, those deleted by
//! the same unit already empty; deletions; reactions; receipts; calls; then the conversations with exact counts, and
//! the events. Nothing of a unit is visible before all of it is.
//!
//! Rules of messages.md applied here: 5.6 (own devices), 5.7 (4, what names a message), 5.8 (age, as far as our own
//! clearing goes), 5.9 (which kinds open a conversation), 6.6 to 6.14, 7.4, 7.5 and 7.6 (on arrival), 8.2, 8.4, 11 (13
//! to 15, 18 to 21, 27, 28).
//!
//! Not applied yet, because it needs what this version does not have:
//! * synced settings: 5.8's comparison with the Contacts and UserProfile configs, and 11 (14) for conversations hidden
//!   or removed on another device; read positions, approval, blocking, nicknames and timers set on another device;
//! * groups: 6.12, 7.7 (group entries), 11 (6, 8, 22 in a group, 23 in a group, 24 to 26); invitations and promotions
//!   wait in the quarantine;
//! * communities: 2.3, 5.4 (server time), 6.7 (blinded conversations), 11 (7).

mod effects;
mod entries;

use std::collections::{BTreeMap, HashMap, HashSet};

use session_network::StoredMessage;
use session_protocol::AccountId;
use sqlx::SqliteConnection;

use super::judge::{Action, Incoming, Judged};
use super::pending::Pending;
use super::signal::Signal;
use super::start::{self, Arrival as Timing, Start};
use crate::store::StoreError;
use crate::store::conversations::{self, ConversationRow, Edit};
use crate::store::delivery::{self, Arrival};
use crate::store::events::{self, NewEvent};
use crate::store::gone;
use crate::store::received::{self, Place, Quarantined};
use crate::store::settings::{self, Settings};
use crate::store::targets::Name;
use crate::time::to_db;

/// A message with what it turned out to be.
#[derive(Clone)]
pub struct Item {
    /// As the swarm gave it.
    pub stored: StoredMessage,
    /// What it is.
    pub judged: Judged,
}

/// What all messages of a unit have in common.
pub struct Batch {
    /// Our account.
    pub own: AccountId,
    /// What was read.
    pub place: Place,
    /// Who answered; `None` for messages from the quarantine, whose hashes are known.
    pub node: Option<[u8; 32]>,
    /// Opaque id of the path it came over.
    pub path: String,
    /// Network time, ms.
    pub now_ms: i64,
    /// Until when everything may go whose time is over, ms.
    pub certain_ms: i64,
    /// Reactions that wait for a message of these conversations.
    pub pending: Vec<Pending>,
}

/// What became of a unit, for after the commit.
#[derive(Default)]
pub struct Outcome {
    /// Entries that are new.
    pub added: u32,
    /// To be raised.
    pub signals: Vec<Signal>,
    /// Copies in the own swarm shall go.
    pub deletions: bool,
    /// Something came in a later version of the protocol.
    pub later_version: bool,
    /// Copies in the own swarm shall live shorter.
    pub shorten: bool,
    /// Content was removed.
    pub removed: bool,
    /// Reactions that found their message.
    resolved: Vec<Pending>,
    /// Reactions that did not.
    unresolved: Vec<Pending>,
}

impl Outcome {
    /// Of a unit that was committed in two parts.
    pub fn and(mut self, second: Self) -> Self {
        self.added += second.added;
        self.signals.extend(second.signals);
        self.deletions |= second.deletions;
        self.later_version |= second.later_version;
        self.shorten |= second.shorten;
        self.removed |= second.removed;
        self.resolved.extend(second.resolved);
        self.unresolved.extend(second.unresolved);
        self
    }

    /// Reactions that (still) wait. One that waited before may have found its message in one part of a unit only.
    pub fn still_waiting(&self) -> Vec<Pending> {
        let mut waiting: Vec<Pending> = Vec::with_capacity(self.unresolved.len());
        for pending in &self.unresolved {
            if !self.resolved.contains(pending) && !waiting.contains(pending) {
                waiting.push(pending.clone());
            }
        }
        waiting
    }
}

/// Why a payload of a later version of the protocol is put aside.
const LATER_VERSION: &str = "UNSUPPORTED_VERSION";

/// The transaction's part: everything a unit changes.
pub async fn write(
    connection: &mut SqliteConnection,
    batch: &Batch,
    cursor: Option<received::NodeCursor>,
    items: &[Item],
) -> Result<Outcome, StoreError> {
    let now_ms = batch.now_ms;
    let hashes: Vec<(&str, i64)> = items
        .iter()
        .map(|item| (item.stored.hash.as_str(), to_db(item.stored.expiration)))
        .collect();
    let new = received::mark(&mut *connection, &batch.place, &hashes, now_ms).await?;
    if batch.node.is_none() {
        received::release(&mut *connection, &batch.place, &hashes).await?;
    }
    let fresh = items
        .iter()
        .filter(|item| batch.node.is_none() || new.contains(&item.stored.hash));

    let mut incoming = Vec::new();
    let mut quarantined = Vec::new();
    let mut refused: BTreeMap<&'static str, i64> = BTreeMap::new();
    for item in fresh {
        match &item.judged {
            Judged::Message(message) => {
                if message.ignored_kinds > 0 {
                    *refused.entry("FURTHER_KINDS").or_default() += message.ignored_kinds;
                }
                incoming.push((&**message, &item.stored));
            }
            Judged::Refused(reason) => *refused.entry(reason).or_default() += 1,
            Judged::Quarantine(reason, timer) => {
                // What was put aside before is counted already.
                if batch.node.is_some() {
                    *refused.entry(reason).or_default() += 1;
                }
                // What was put aside before came when that was; its copy's own time is not known any more.
                let received_ms = match batch.node {
                    Some(_) => now_ms,
                    None => to_db(item.stored.timestamp),
                };
                quarantined.push(Quarantined {
                    hash: item.stored.hash.clone(),
                    reason,
                    data: item.stored.data.clone().unwrap_or_default(),
                    received_ms,
                    expires_ms: start::ends_unread(&item.stored, *timer, received_ms),
                });
            }
        }
    }
    let before = delivery::last_arrival(&mut *connection).await?;
    let mut round = Round::new(&mut *connection, batch, refused).await?;
    round.apply(&mut *connection, &incoming).await?;
    if let Some(node) = &batch.node {
        let arrival = Arrival {
            at_ms: now_ms,
            node: node.to_vec(),
            path: batch.path.clone(),
        };
        delivery::arrived(&mut *connection, before, &arrival).await?;
    }
    received::quarantine(&mut *connection, &batch.place, &quarantined).await?;
    received::count(&mut *connection, &round.refused).await?;
    if let (Some(node), Some(cursor)) = (&batch.node, cursor) {
        received::set_cursor(&mut *connection, &batch.place, node, &cursor, now_ms).await?;
    }
    round.outcome.later_version = quarantined
        .iter()
        .any(|entry| entry.reason == LATER_VERSION);
    Ok(round.outcome)
}

/// A message and where it came from.
type Arrived<'a> = (&'a Incoming, &'a StoredMessage);

/// State of one transaction.
struct Round<'b> {
    batch: &'b Batch,
    own: String,
    now_ms: i64,
    settings: Settings,
    /// Conversations that are loaded, by internal number.
    edits: HashMap<i64, Edit>,
    /// Their numbers by peer.
    numbers: HashMap<String, i64>,
    log: Vec<NewEvent>,
    refused: BTreeMap<&'static str, i64>,
    outcome: Outcome,
}

impl<'b> Round<'b> {
    async fn new(
        connection: &mut SqliteConnection,
        batch: &'b Batch,
        refused: BTreeMap<&'static str, i64>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            batch,
            own: batch.own.to_string(),
            now_ms: batch.now_ms,
            settings: settings::load(connection).await?,
            edits: HashMap::new(),
            numbers: HashMap::new(),
            log: Vec::new(),
            refused,
            outcome: Outcome::default(),
        })
    }

    async fn apply(
        &mut self,
        connection: &mut SqliteConnection,
        incoming: &[Arrived<'_>],
    ) -> Result<(), StoreError> {
        let peers: HashSet<&String> = incoming.iter().map(|(message, _)| &message.peer).collect();
        let peers: Vec<String> = peers.into_iter().cloned().collect();
        let rows = conversations::by_peers(&mut *connection, &peers).await?;
        self.load(rows);
        let gone = self.gone(&mut *connection, incoming).await?;
        let let_in = self.gate(incoming, &gone);
        let openers: HashSet<&String> = let_in
            .iter()
            .filter(|(message, _)| message.creates_conversation())
            .map(|(message, _)| &message.peer)
            .collect();
        let missing: Vec<String> = openers
            .into_iter()
            .filter(|peer| !self.numbers.contains_key(*peer))
            .cloned()
            .collect();
        let made =
            conversations::ensure(&mut *connection, &self.batch.own, &missing, self.now_ms).await?;
        self.load(made);

        self.add_entries(&mut *connection, &let_in).await?;
        self.people(&let_in);
        self.unsend(&mut *connection, &let_in).await?;
        self.react(&mut *connection, &let_in).await?;
        self.receipts(&mut *connection, &let_in).await?;
        self.calls(&mut *connection, &let_in).await?;
        self.typing(&let_in);

        events::append(&mut *connection, &self.log, self.now_ms).await?;
        let edits: Vec<Edit> = std::mem::take(&mut self.edits).into_values().collect();
        // Reading starts timers, of which the own swarm is told.
        self.outcome.shorten |= edits.iter().any(Edit::reads);
        conversations::save(connection, edits, self.now_ms).await
    }

    fn load(&mut self, rows: Vec<ConversationRow>) {
        for row in rows {
            self.numbers.insert(row.peer.clone(), row.id);
            self.edits.entry(row.id).or_insert_with(|| Edit::new(row));
        }
    }

    fn edit(&mut self, peer: &str) -> Option<&mut Edit> {
        self.edits.get_mut(self.numbers.get(peer)?)
    }

    fn refuse(&mut self, reason: &'static str) {
        *self.refused.entry(reason).or_default() += 1;
    }

    /// Which of these were here and are gone (messages.md 5.7, 4).
    async fn gone(
        &self,
        connection: &mut SqliteConnection,
        incoming: &[Arrived<'_>],
    ) -> Result<HashSet<Name>, StoreError> {
        let names: Vec<Name> = incoming
            .iter()
            .filter(|(message, _)| message.becomes_entry())
            .filter_map(|(message, _)| self.name(message))
            .collect();
        gone::known(connection, &names).await
    }

    fn name(&self, message: &Incoming) -> Option<Name> {
        let number = *self.numbers.get(&message.peer)?;
        Some((number, message.author.clone(), message.sent_ms))
    }

    /// Leaves out what is dropped whatever it says.
    fn gate<'m>(&mut self, incoming: &[Arrived<'m>], gone: &HashSet<Name>) -> Vec<Arrived<'m>> {
        let mut let_in = Vec::with_capacity(incoming.len());
        for (message, stored) in incoming {
            let number = self.numbers.get(&message.peer);
            let row = number.and_then(|number| self.edits.get(number));
            let row = row.map(|edit| &edit.row);
            let reason = if row.is_some_and(|row| row.blocked && !message.own) {
                Some("BLOCKED")
            } else if row.is_some_and(|row| message.sent_ms <= row.cleared_before_ms)
                && !message.ignores_age()
            {
                Some("BEFORE_CLEARING")
            } else if message.becomes_entry()
                && self.name(message).is_some_and(|name| gone.contains(&name))
            {
                Some("GONE")
            } else {
                let last_read_ms = row.map_or(0, |row| row.last_read_ms);
                self.start(message, stored, last_read_ms)
                    .is_some_and(|start| {
                        let timer_ms = message.expiry.1.saturating_mul(1000);
                        start.at_ms.saturating_add(timer_ms) <= self.batch.certain_ms
                    })
                    .then_some("EXPIRED")
            };
            match reason {
                Some(reason) => self.refuse(reason),
                None => let_in.push((*message, *stored)),
            }
            // The entry is over, what it says is not: a setting that another device of ours chose.
            if reason == Some("EXPIRED")
                && message.own
                && matches!(message.action, Action::TimerChange)
                && let Some(edit) = self.edit(&message.peer)
            {
                edit.set_expiry(message.expiry, message.sent_ms);
            }
        }
        let_in
    }

    /// How the timer of a message stands; `None`: it has none, or waits for reading.
    fn start(
        &self,
        message: &Incoming,
        stored: &StoredMessage,
        last_read_ms: i64,
    ) -> Option<Start> {
        if matches!(message.action, Action::Reaction(_)) {
            return None;
        }
        let timing = Timing {
            expiry: message.expiry,
            own: message.own,
            sent_ms: message.sent_ms,
            stored_ms: to_db(stored.timestamp),
            stored_until_ms: to_db(stored.expiration),
            last_read_ms,
        };
        start::on_arrival(&timing, self.now_ms)
    }
}
