//! The summary of what came before the first poll was done: one notification about several conversations, which shrinks
//! as they are read and goes with the last of them. It never grows: what comes later is told by conversation.

use std::collections::BTreeMap;

use super::server::{Id, Manner};
use super::text::{self, Words};
use super::{Item, Notifier, Worth};
use crate::store::StoreError;
use crate::store::settings::Settings;

/// What was told as one, because it came before the first poll was done.
pub(super) struct Summary {
    /// As it was shown last.
    id: Option<Id>,
    words: Option<Words>,
    /// By conversation; never empty.
    parts: BTreeMap<String, Part>,
}

/// What a summary tells of one conversation.
struct Part {
    items: Vec<Item>,
    /// It is a message request.
    request: bool,
}

impl Summary {
    pub(super) fn id(&self) -> Option<&Id> {
        self.id.as_ref()
    }
}

impl Notifier {
    pub(super) fn is_in_summary(&self, conversation: &str) -> bool {
        let summary = self.summary.as_ref();
        summary.is_some_and(|summary| summary.parts.contains_key(conversation))
    }

    /// One conversation is told as ever; several are told as one summary.
    pub(super) async fn tell_backlog(
        &mut self,
        backlog: &BTreeMap<String, Vec<Item>>,
        settings: &Settings,
    ) -> Result<(), StoreError> {
        let mut worth = Vec::new();
        for (conversation, items) in backlog {
            let items = items.clone();
            worth.extend(self.judge(conversation, items, false, settings).await?);
        }
        let parts = worth.into_iter().map(|worth| {
            let items = worth.items.into_iter().map(|(item, _)| item).collect();
            let request = worth.request;
            (worth.row.public_id, Part { items, request })
        });
        let mut parts: BTreeMap<String, Part> = parts.collect();
        if parts.len() > 1 {
            self.summary = Some(Summary {
                id: None,
                words: None,
                parts,
            });
            self.show_summary(settings.notification_silent).await;
        } else if let Some((conversation, part)) = parts.pop_first() {
            self.pending
                .entry(conversation)
                .or_default()
                .extend(part.items);
        }
        Ok(())
    }

    /// Takes out of the summary what is not worth telling any more. Returns whether it says something else now.
    pub(super) async fn revise(
        &mut self,
        conversation: &str,
        settings: &Settings,
    ) -> Result<bool, StoreError> {
        let part = self
            .summary
            .as_ref()
            .and_then(|summary| summary.parts.get(conversation));
        let Some(part) = part else { return Ok(false) };
        let (items, request) = (part.items.clone(), part.request);
        let worth = self.judge(conversation, items, request, settings).await?;
        if let Some(summary) = &mut self.summary {
            match worth {
                Some(Worth { items, request, .. }) => {
                    let items = items.into_iter().map(|(item, _)| item).collect();
                    summary
                        .parts
                        .insert(conversation.to_owned(), Part { items, request });
                }
                None => drop(summary.parts.remove(conversation)),
            }
        }
        Ok(true)
    }

    /// Shows or replaces the summary, or closes it when there is nothing left of it.
    pub(super) async fn show_summary(&mut self, silent: bool) {
        let Some(mut summary) = self.summary.take() else {
            return;
        };
        // One of a server that is gone went with it, and says nothing new.
        if summary.id.as_ref().is_some_and(|id| !self.server.knows(id)) {
            return;
        }
        if summary.parts.is_empty() {
            if let Some(id) = &summary.id {
                self.server.close(id).await;
            }
            return;
        }
        let messages = summary.parts.values().map(|part| part.items.len()).sum();
        let words = text::backlog(messages, summary.parts.len());
        if summary.words.as_ref() != Some(&words) {
            let manner = Manner {
                silent,
                ..Manner::default()
            };
            let shown = self.server.show(summary.id.as_ref(), &words, manner).await;
            // What is not shown is not told later either.
            let Some(id) = shown.or(summary.id) else {
                return;
            };
            (summary.id, summary.words) = (Some(id), Some(words));
        }
        self.summary = Some(summary);
    }
}
