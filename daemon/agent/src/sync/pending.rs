//! Reactions whose message is not here yet: kept in memory for ten minutes, at most a thousand, then dropped
//! (messages.md 6.9).

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::judge::Reaction;

/// How long they are kept, ms.
const KEEP_MS: i64 = 600_000;
/// How many are kept; the oldest go first.
const MOST: usize = 1_000;

/// A reaction that waits for its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The other side of the conversation.
    pub peer: String,
    /// Account ID of who reacted.
    pub author: String,
    /// When, ms.
    pub sent_ms: i64,
    /// To what, and how.
    pub reaction: Reaction,
    /// Until when it is kept, ms.
    pub until_ms: i64,
}

impl Pending {
    /// From now on.
    pub fn new(
        peer: String,
        author: String,
        sent_ms: i64,
        reaction: Reaction,
        now_ms: i64,
    ) -> Self {
        Self {
            peer,
            author,
            sent_ms,
            reaction,
            until_ms: now_ms.saturating_add(KEEP_MS),
        }
    }
}

/// What waits. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct PendingReactions(Arc<Mutex<VecDeque<Pending>>>);

impl PendingReactions {
    /// Those in the conversations with these peers, unless their time is over.
    pub fn of(&self, peers: &HashSet<&str>, now_ms: i64) -> Vec<Pending> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting
            .iter()
            .filter(|pending| pending.until_ms > now_ms && peers.contains(&*pending.peer))
            .cloned()
            .collect()
    }

    /// After a commit: `tried` were looked at, `unresolved` of them and of new ones still wait.
    pub fn settle(&self, tried: &[Pending], unresolved: Vec<Pending>, now_ms: i64) {
        if tried.is_empty() && unresolved.is_empty() {
            return;
        }
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|pending| pending.until_ms > now_ms && !tried.contains(pending));
        waiting.extend(unresolved);
        while waiting.len() > MOST {
            waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(number: i64, now_ms: i64) -> Pending {
        let reaction = Reaction {
            target_author: "05aa".into(),
            target_ms: number,
            emoji: "x".into(),
            remove: false,
        };
        Pending::new("05aa".into(), "05aa".into(), number, reaction, now_ms)
    }

    #[test]
    fn they_wait_ten_minutes_and_are_bounded() {
        let waiting = PendingReactions::default();
        let peers = HashSet::from(["05aa"]);
        waiting.settle(&[], vec![pending(1, 0), pending(2, 5)], 5);
        assert_eq!(waiting.of(&peers, KEEP_MS - 1).len(), 2);
        assert_eq!(waiting.of(&peers, KEEP_MS).len(), 1);
        assert!(waiting.of(&HashSet::from(["05bb"]), 5).is_empty());
        // One is resolved, the other still waits with its first deadline.
        waiting.settle(&[pending(1, 0), pending(2, 5)], vec![pending(2, 5)], 6);
        assert_eq!(waiting.of(&peers, 6), [pending(2, 5)]);
        let many: Vec<Pending> = (0..3_000).map(|number| pending(number, 7)).collect();
        waiting.settle(&[], many, 7);
        assert_eq!(waiting.of(&peers, 7).len(), MOST);
    }
}
