//! Messages that change others, or nothing that lasts: deletions, reactions, receipts, typing, calls.

use std::collections::{HashMap, HashSet};

use session_protocol::content::{Call, CallSignal};
use sessiond_proto::v1::CallSignalKind;
use sqlx::SqliteConnection;

use super::entries::is_visible;
use super::{Arrived, Round};
use crate::store::StoreError;
use crate::store::control::{self, CallRow, call};
use crate::store::conversations::{self, NOTE_TO_SELF, ONE_TO_ONE};
use crate::store::details::{self, NewReaction};
use crate::store::events::NewEvent;
use crate::store::targets::{self, Name, Target};
use crate::store::{expiry, swarm_deletions};
use crate::sync::judge::{Action, Incoming};
use crate::sync::pending::Pending;
use crate::sync::signal::{CallStep, Signal, What};

/// A "typing" that is older says nothing about now, ms (messages.md 5.2).
const TYPING_MS: i64 = 20_000;
/// An offer that is older rings no more, ms.
const OFFER_MS: i64 = 60_000;
/// Any other step of a call that is older is of a call that is over, ms.
const CALL_MS: i64 = 300_000;

impl Round<'_> {
    /// Empties what shall be deleted, in note to self without a trace, and lets the own swarm's copy go.
    pub(super) async fn unsend(
        &mut self,
        connection: &mut SqliteConnection,
        let_in: &[Arrived<'_>],
    ) -> Result<(), StoreError> {
        let (mut names, mut own_times) = (Vec::new(), Vec::new());
        for (message, _) in let_in {
            let Action::Unsend(unsend) = &message.action else {
                continue;
            };
            if unsend.author == self.own {
                own_times.push(unsend.sent_ms);
            } else if let Some(number) = self.numbers.get(&message.peer) {
                names.push((*number, unsend.author.clone(), unsend.sent_ms));
            }
        }
        let mut found = targets::find(&mut *connection, &names).await?;
        found.extend(targets::own_by_time(&mut *connection, &own_times).await?);
        found.retain(|target| !target.deleted && is_visible(&target.kind));
        if found.is_empty() {
            return Ok(());
        }
        let unknown: HashSet<i64> = found
            .iter()
            .map(|target| target.name.0)
            .filter(|number| !self.edits.contains_key(number))
            .collect();
        let unknown: Vec<i64> = unknown.into_iter().collect();
        self.load(conversations::by_numbers(&mut *connection, &unknown).await?);
        let (mut emptied, mut removed, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        for target in found {
            let Some(edit) = self.edits.get_mut(&target.name.0) else {
                continue;
            };
            edit.removed();
            let id = &edit.row.public_id;
            self.log.push(if edit.row.kind == NOTE_TO_SELF {
                removed.push(target.receive_seq);
                NewEvent::message_removed(id, &target.public_id)
            } else {
                emptied.push(target.receive_seq);
                let fields = ["content", "attachments", "reactions"];
                NewEvent::message_changed(id, &target.public_id, &fields)
            });
            hashes.extend(target.hash);
        }
        self.outcome.removed = true;
        targets::erase(&mut *connection, &emptied).await?;
        expiry::remove(&mut *connection, &removed, self.now_ms).await?;
        self.outcome.deletions |= !hashes.is_empty();
        swarm_deletions::add(connection, &hashes, self.now_ms).await
    }

    /// Applies reactions, also those that waited; what finds no message waits (on).
    pub(super) async fn react(
        &mut self,
        connection: &mut SqliteConnection,
        let_in: &[Arrived<'_>],
    ) -> Result<(), StoreError> {
        let new = let_in
            .iter()
            .filter_map(|(message, _)| match &message.action {
                Action::Reaction(reaction) => Some(Pending::new(
                    message.peer.clone(),
                    message.author.clone(),
                    message.sent_ms,
                    reaction.clone(),
                    self.now_ms,
                )),
                _ => None,
            });
        let reactions: Vec<Pending> = self.batch.pending.iter().cloned().chain(new).collect();
        let name = |pending: &Pending| -> Option<Name> {
            let number = *self.numbers.get(&pending.peer)?;
            let reaction = &pending.reaction;
            Some((number, reaction.target_author.clone(), reaction.target_ms))
        };
        let names: Vec<Name> = reactions.iter().filter_map(name).collect();
        let found: HashMap<Name, Target> = targets::find(&mut *connection, &names)
            .await?
            .into_iter()
            .map(|target| (target.name.clone(), target))
            .collect();
        let mut rows = Vec::new();
        let (mut resolved, mut unresolved) = (Vec::new(), Vec::new());
        for pending in reactions {
            let Some(name) = name(&pending) else {
                continue;
            };
            let Some(target) = found.get(&name) else {
                unresolved.push(pending);
                continue;
            };
            resolved.push(pending.clone());
            if !target.deleted && is_visible(&target.kind) {
                rows.push(NewReaction {
                    message: target.receive_seq,
                    author: pending.author,
                    emoji: pending.reaction.emoji,
                    reacted_ms: pending.sent_ms,
                    removed: pending.reaction.remove,
                });
            }
        }
        (self.outcome.resolved, self.outcome.unresolved) = (resolved, unresolved);
        let changed = details::react(connection, &rows).await?;
        for target in found.values() {
            if changed.contains(&target.receive_seq)
                && let Some(edit) = self.edits.get(&target.name.0)
            {
                let id = &edit.row.public_id;
                let event = NewEvent::message_changed(id, &target.public_id, &["reactions"]);
                self.log.push(event);
            }
        }
        Ok(())
    }

    /// Marks what others have read of ours, if the user wants to know and to tell.
    pub(super) async fn receipts(
        &mut self,
        connection: &mut SqliteConnection,
        let_in: &[Arrived<'_>],
    ) -> Result<(), StoreError> {
        // Of several that name a message the first stands.
        let mut read: HashMap<Name, i64> = HashMap::new();
        for (message, _) in let_in {
            let Action::Receipt(times) = &message.action else {
                continue;
            };
            if !self.settings.read_receipts {
                self.refuse("RECEIPTS_OFF");
                continue;
            }
            let Some(number) = self.numbers.get(&message.peer).copied() else {
                continue;
            };
            let at_ms = message.sent_ms.min(self.now_ms);
            for time in times {
                let name = (number, self.own.clone(), *time);
                read.entry(name).or_insert(at_ms);
            }
        }
        let names: Vec<Name> = read.keys().cloned().collect();
        let marks: Vec<(i64, i64)> = targets::find(&mut *connection, &names)
            .await?
            .into_iter()
            .filter(|target| target.outgoing && is_visible(&target.kind))
            .filter_map(|target| Some((target.receive_seq, *read.get(&target.name)?)))
            .collect();
        for (number, message) in targets::read_by_peer(connection, &marks).await? {
            if let Some(edit) = self.edits.get(&number) {
                let id = &edit.row.public_id;
                let event = NewEvent::message_changed(id, &message, &["recipient_read_time"]);
                self.log.push(event);
            }
        }
        Ok(())
    }

    /// Raises typing of people we know, if the user wants to know and to tell.
    pub(super) fn typing(&mut self, let_in: &[Arrived<'_>]) {
        for (message, _) in let_in {
            let Action::Typing(started) = message.action else {
                continue;
            };
            let wanted = self.settings.typing_indicators && self.is_fresh(message, TYPING_MS);
            let Some(edit) = self.edit(&message.peer) else {
                continue;
            };
            if wanted && edit.row.is_mutual() {
                let signal = Signal {
                    conversation: edit.row.public_id.clone(),
                    author: message.author.clone(),
                    sent_ms: message.sent_ms,
                    what: What::Typing(started),
                };
                self.outcome.signals.push(signal);
            }
        }
    }

    /// Relays steps of calls, and writes down that another device of ours answered or ended one.
    pub(super) async fn calls(
        &mut self,
        connection: &mut SqliteConnection,
        let_in: &[Arrived<'_>],
    ) -> Result<(), StoreError> {
        let steps: Vec<(&Incoming, &Call)> = let_in
            .iter()
            .filter_map(|(message, _)| match &message.action {
                Action::Call(call) => Some((*message, call)),
                _ => None,
            })
            .collect();
        if steps.is_empty() {
            return Ok(());
        }
        let uuids: Vec<String> = steps.iter().map(|(_, call)| call.uuid.clone()).collect();
        let records = control::calls(&mut *connection, &uuids).await?;
        let unknown: Vec<i64> = records
            .iter()
            .map(|record| record.conversation)
            .filter(|number| !self.edits.contains_key(number))
            .collect();
        self.load(conversations::by_numbers(&mut *connection, &unknown).await?);
        let mut states: HashMap<i64, i64> = HashMap::new();
        for (message, step) in steps {
            // Our own steps do not say whom we called or answered: the record does.
            let record = records
                .iter()
                .find(|record| record.uuid == step.uuid && self.is_about(message, record));
            let number = match record {
                Some(record) => Some(record.conversation),
                None if message.own => None,
                None => self.numbers.get(&message.peer).copied(),
            };
            let fresh = match step.signal {
                CallSignal::Offer(_) => self.is_fresh(message, OFFER_MS),
                _ => self.is_fresh(message, CALL_MS),
            };
            let Some(edit) = number.and_then(|number| self.edits.get_mut(&number)) else {
                self.refuse("UNKNOWN_CALL");
                continue;
            };
            if let Some(record) = record {
                let held = states.get(&record.message).copied().unwrap_or(record.state);
                let state = if message.own {
                    after(&step.signal, held)
                } else {
                    answered(record, &step.signal, held)
                };
                if state != held {
                    states.insert(record.message, state);
                    let id = &edit.row.public_id;
                    let event = NewEvent::message_changed(id, &record.public_id, &["content"]);
                    self.log.push(event);
                }
                edit.row.approved |= state == call::ANSWERED_ELSEWHERE;
            }
            if fresh && edit.row.approved && edit.row.kind == ONE_TO_ONE {
                let signal = Signal {
                    conversation: edit.row.public_id.clone(),
                    author: message.author.clone(),
                    sent_ms: message.sent_ms,
                    what: What::Call(relayed(step)),
                };
                self.outcome.signals.push(signal);
            }
        }
        let states: Vec<(i64, i64)> = states.into_iter().collect();
        control::set_call_states(connection, &states).await
    }

    /// Whether a step is of this call: one of ours may be of any, one of somebody else only of a call with it.
    fn is_about(&self, message: &Incoming, record: &CallRow) -> bool {
        message.own || self.numbers.get(&message.peer) == Some(&record.conversation)
    }

    fn is_fresh(&self, message: &Incoming, age_ms: i64) -> bool {
        self.now_ms.saturating_sub(message.sent_ms) <= age_ms
    }
}

/// State of a call after a step of our own on another device.
fn after(signal: &CallSignal, state: i64) -> i64 {
    match signal {
        // What was settled here stays so: another device rings on for a moment.
        _ if matches!(state, call::ANSWERED | call::REJECTED | call::CALLED) => state,
        CallSignal::Answer(_) => call::ANSWERED_ELSEWHERE,
        CallSignal::EndCall if state != call::ANSWERED_ELSEWHERE => call::ENDED_ELSEWHERE,
        _ => state,
    }
}

/// State of a call after a step of the other side: it may answer ours.
fn answered(record: &CallRow, signal: &CallSignal, state: i64) -> i64 {
    match signal {
        CallSignal::Answer(_) if record.outgoing => call::ANSWERED,
        _ => state,
    }
}

fn relayed(step: &Call) -> CallStep {
    let (kind, sdps) = match &step.signal {
        CallSignal::PreOffer => (CallSignalKind::PreOffer, vec![]),
        CallSignal::Offer(sdp) => (CallSignalKind::Offer, vec![sdp.clone()]),
        CallSignal::ProvisionalAnswer(sdp) => {
            (CallSignalKind::ProvisionalAnswer, vec![sdp.clone()])
        }
        CallSignal::Answer(sdp) => (CallSignalKind::Answer, vec![sdp.clone()]),
        CallSignal::IceCandidates(list) => {
            let sdps = list.iter().map(|candidate| candidate.sdp.clone());
            (CallSignalKind::IceCandidates, sdps.collect())
        }
        CallSignal::EndCall => (CallSignalKind::EndCall, vec![]),
    };
    let list = match &step.signal {
        CallSignal::IceCandidates(list) => list.as_slice(),
        _ => &[],
    };
    CallStep {
        uuid: step.uuid.clone(),
        kind: kind.into(),
        sdps,
        sdp_m_line_indexes: list.iter().map(|item| item.m_line_index).collect(),
        sdp_mids: list.iter().map(|item| item.mid.clone()).collect(),
    }
}
