//! Which conversations somebody looks at right now.
//!
//! A frontend takes a lease on the conversation it shows and renews it while its window has the focus. As long as a
//! lease runs, nothing is notified there, and only its holder marks as read there (`users.md` 41: read although the
//! window was not focused). Leases are short, so that a frontend that dies holds nothing up, and live in memory only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::random::opaque_id;

/// Longest a lease lasts without being renewed.
pub const LONGEST: Duration = Duration::from_secs(60);
/// Most leases at once; the one that ends first goes.
const MOST: usize = 64;

/// All leases of an account.
#[derive(Default)]
pub struct Focus(Mutex<HashMap<String, Lease>>);

struct Lease {
    holder: String,
    until: Instant,
}

/// Somebody else holds the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another frontend holds the focus of this conversation")]
pub struct HeldByOther;

impl Focus {
    /// Takes or renews the lease of a conversation (opaque id). `holder` is empty at first, then what the first call gave.
    /// The newest window wins: a call without a holder ends another's lease.
    pub fn hold(
        &self,
        conversation: &str,
        holder: &str,
        lasting: Duration,
    ) -> Result<String, HeldByOther> {
        let now = Instant::now();
        let mut leases = self.lock();
        leases.retain(|_, lease| lease.until > now);
        let holder = match (holder, leases.get(conversation)) {
            ("", _) => opaque_id(),
            (holder, Some(lease)) if lease.holder != holder => return Err(HeldByOther),
            (holder, _) => holder.to_owned(),
        };
        if leases.len() >= MOST && !leases.contains_key(conversation) {
            let first = leases
                .iter()
                .min_by_key(|(_, lease)| lease.until)
                .map(|(id, _)| id.clone());
            if let Some(first) = first {
                leases.remove(&first);
            }
        }
        let lease = Lease {
            holder: holder.clone(),
            until: now + lasting.min(LONGEST),
        };
        leases.insert(conversation.to_owned(), lease);
        Ok(holder)
    }

    /// Gives a lease back, if it is still held.
    pub fn release(&self, conversation: &str, holder: &str) {
        let mut leases = self.lock();
        if leases
            .get(conversation)
            .is_some_and(|lease| lease.holder == holder)
        {
            leases.remove(conversation);
        }
    }

    /// Whether somebody looks at a conversation.
    pub fn is_held(&self, conversation: &str) -> bool {
        let leases = self.lock();
        leases
            .get(conversation)
            .is_some_and(|lease| lease.until > Instant::now())
    }

    /// Whether this holder may mark as read: nobody else looks at the conversation.
    pub fn may_mark_read(&self, conversation: &str, holder: &str) -> Result<(), HeldByOther> {
        let leases = self.lock();
        match leases.get(conversation) {
            Some(lease) if lease.until > Instant::now() && lease.holder != holder => {
                Err(HeldByOther)
            }
            _ => Ok(()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_holds_until_it_ends_or_is_given_back() {
        let focus = Focus::default();
        let second = Duration::from_secs(1);
        let first = focus.hold("c", "", 10 * second).unwrap();
        assert!(focus.is_held("c") && !focus.is_held("d"));
        assert_eq!(focus.may_mark_read("c", &first), Ok(()));
        assert_eq!(focus.may_mark_read("c", ""), Err(HeldByOther));
        assert_eq!(focus.may_mark_read("d", ""), Ok(()));
        tokio::time::advance(9 * second).await;
        assert_eq!(focus.hold("c", &first, 10 * second), Ok(first.clone()));
        tokio::time::advance(9 * second).await;
        assert!(focus.is_held("c"), "renewed");
        // A second window takes over; the first learns it when it renews, and cannot take the lease away.
        let next = focus.hold("c", "", 1000 * second).unwrap();
        assert_eq!(focus.hold("c", &first, second), Err(HeldByOther));
        focus.release("c", &first);
        assert!(focus.is_held("c"));
        tokio::time::advance(LONGEST).await;
        assert!(!focus.is_held("c"), "no lease lasts for longer");
        assert_eq!(focus.may_mark_read("c", ""), Ok(()));
        let again = focus.hold("c", &next, second).unwrap();
        focus.release("c", &again);
        assert!(!focus.is_held("c"));
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_than_a_few() {
        let focus = Focus::default();
        for number in 0..MOST + 10 {
            let lasting = Duration::from_secs(1 + number as u64 % 50);
            focus.hold(&number.to_string(), "", lasting).unwrap();
        }
        assert_eq!(focus.lock().len(), MOST);
    }
}
