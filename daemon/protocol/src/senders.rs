//! Senders whose keys were checked before.
//!
//! To check an Ed25519 key (it is a point, and in the group of prime order) and to find the account ID that belongs to
//! it takes a third of the work of opening a message, and depends on nothing but the key. Whoever opens many messages of
//! the same people keeps the outcome. Facts: messages.md 1.3, 2.1.

use ed25519_dalek::{Signature, VerifyingKey};

use crate::identity::{AccountId, x25519_of};

/// A sender's key, checked, and the account ID that belongs to it.
#[derive(Clone)]
pub struct Sender {
    key: VerifyingKey,
    id: AccountId,
}

impl Sender {
    /// `None` for bytes that are no point, and for points outside the group of prime order.
    pub fn new(ed25519: &[u8; 32]) -> Option<Self> {
        let key = VerifyingKey::from_bytes(ed25519).ok()?;
        let id = AccountId::from_x25519(x25519_of(&key)?);
        Some(Self { key, id })
    }

    /// The key's bytes.
    pub fn ed25519(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The account ID.
    pub fn id(&self) -> AccountId {
        self.id
    }

    /// Whether a signature is of this sender. As strict as libsodium.
    pub fn signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        self.key.verify_strict(message, &signature).is_ok()
    }
}

/// Where checked senders are kept. The unit type keeps none.
pub trait Senders {
    /// The sender with this key, if it was kept.
    fn known(&self, ed25519: &[u8; 32]) -> Option<Sender>;
    /// A message of this sender, whose key was not known, was authenticated.
    fn met(&self, sender: Sender);
}

impl Senders for () {
    fn known(&self, _: &[u8; 32]) -> Option<Sender> {
        None
    }

    fn met(&self, _: Sender) {}
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::session_encrypt::{DecryptError, decrypt, decrypt_with, encrypt};
    use crate::test_rng::Counting;
    use crate::{AccountKeys, AccountSeed};

    #[derive(Default)]
    struct Kept(RefCell<Vec<Sender>>);

    impl Senders for Kept {
        fn known(&self, ed25519: &[u8; 32]) -> Option<Sender> {
            let kept = self.0.borrow();
            kept.iter().find(|kept| kept.ed25519() == *ed25519).cloned()
        }

        fn met(&self, sender: Sender) {
            self.0.borrow_mut().push(sender);
        }
    }

    #[test]
    fn a_known_sender_is_authenticated_like_an_unknown_one() {
        let [a, b, c] =
            [1, 2, 3].map(|byte| AccountKeys::from_seed(&AccountSeed::from_bytes([byte; 16])));
        let (kept, mut rng) = (Kept::default(), Counting::default());
        for sender in [&a, &b, &a, &a, &b] {
            let sealed = encrypt(&mut rng, sender, &c.account_id(), b"text").unwrap();
            let opened = decrypt_with(&c, &sealed, &kept).unwrap();
            assert_eq!(opened.sender, sender.account_id());
            assert_eq!(opened.sender, decrypt(&c, &sealed).unwrap().sender);
            // For somebody else the same signature is wrong, also of a sender that is known.
            let passed_on = crate::sealed_box::seal(
                &mut rng,
                &b.x25519_public(),
                &crate::sealed_box::open(c.x25519_secret(), &c.x25519_public(), &sealed).unwrap(),
            );
            let refused = decrypt_with(&b, &passed_on.unwrap(), &kept).err();
            assert_eq!(refused, Some(DecryptError::BadSignature));
        }
        assert_eq!(kept.0.borrow().len(), 2, "each is met once");
    }

    #[test]
    fn a_key_of_small_order_is_no_sender() {
        let mut one = [0; 32];
        one[0] = 1;
        assert!(Sender::new(&one).is_none());
        assert!(Sender::new(&[0xff; 32]).is_none());
    }
}
