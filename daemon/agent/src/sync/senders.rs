//! Senders whose keys were checked, kept so that each is checked once and not with every message.
//!
//! Public keys only, of those who wrote to us and whose message was authentic. Bounded: when [`KEPT`] is reached all are
//! forgotten, which costs the work of checking them again and nothing else. Gone with the account's keys at a lock.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use session_protocol::senders::{Sender, Senders};

/// Most that are kept: more than anybody corresponds with, about 1 MiB.
const KEPT: usize = 4096;

/// All that are known.
#[derive(Default)]
pub struct KnownSenders(RwLock<HashMap<[u8; 32], Sender>>);

impl Senders for KnownSenders {
    fn known(&self, ed25519: &[u8; 32]) -> Option<Sender> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.get(ed25519).cloned()
    }

    fn met(&self, sender: Sender) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(sender.ed25519(), sender);
    }
}

#[cfg(test)]
mod tests {
    use session_protocol::{AccountKeys, AccountSeed};

    use super::*;

    fn sender(number: u64) -> Sender {
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let keys = AccountKeys::from_seed(&AccountSeed::from_bytes(seed));
        Sender::new(&keys.ed25519_public()).unwrap()
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let senders = KnownSenders::default();
        for number in 0..=KEPT as u64 {
            let sender = sender(number);
            assert!(senders.known(&sender.ed25519()).is_none());
            senders.met(sender.clone());
            let kept = senders.known(&sender.ed25519()).unwrap();
            assert_eq!(kept.id(), sender.id());
        }
        assert_eq!(senders.0.read().unwrap().len(), 1);
    }
}
