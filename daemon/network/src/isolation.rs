//! Which requests may share circuits: only those with the same isolation key.
//!
//! An edge sees which swarms and servers its circuit asks. Requests of one account over the same circuit tell it
//! nothing new; requests of two accounts would tie them together (design.md promise 6). Guards are shared by all:
//! more of them would only mean more strangers that know our address.
//!
//! Pure. Bounded: at most [`MAX_CLASSES`] keys have circuits at a time; the one unused for longest gives way.

use sha2::{Digest as _, Sha256};

/// Keys that have circuits at the same time, the layer's own not counted.
pub(crate) const MAX_CLASSES: usize = 16;

/// What the layer's own circuits are shown as.
const OWN_NAME: &str = "agent";

/// Requests with equal keys may share circuits; others never do. Opaque: says nothing about what it was made of.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IsolationKey([u8; 32]);

impl IsolationKey {
    /// A key for one of a kind, such as an account or a server, by a name of it.
    pub fn new(kind: &str, name: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(kind.as_bytes());
        // A byte that no text contains keeps the two apart.
        digest.update([0xff]);
        digest.update(name.as_bytes());
        Self(digest.finalize().into())
    }
}

/// A key as the rest of the layer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Class(u64);

impl Class {
    /// Requests about no account: list of nodes, clock, tests.
    pub(crate) const OWN: Self = Self(0);
}

/// Keys in use.
#[derive(Default)]
pub(crate) struct Classes {
    list: Vec<Entry>,
    last: u64,
    /// Why the last round left [`Class::OWN`] without a path.
    own_failure: Option<&'static str>,
}

struct Entry {
    key: IsolationKey,
    class: Class,
    /// What it is shown as.
    name: String,
    /// Steady ms.
    used_ms: u64,
    failure: Option<&'static str>,
}

impl Classes {
    /// The class of a key that is used now. `name` is what a new one is shown as. The second value is the class
    /// that gave way.
    pub(crate) fn touch(
        &mut self,
        key: IsolationKey,
        now_ms: u64,
        name: impl FnOnce() -> String,
    ) -> (Class, Option<Class>) {
        if let Some(entry) = self.list.iter_mut().find(|entry| entry.key == key) {
            entry.used_ms = now_ms;
            return (entry.class, None);
        }
        let mut gone = None;
        if self.list.len() >= MAX_CLASSES {
            let oldest = (0..self.list.len()).min_by_key(|index| self.list[*index].used_ms);
            gone = oldest.map(|index| self.list.remove(index).class);
        }
        self.last += 1;
        let class = Class(self.last);
        self.list.push(Entry {
            key,
            class,
            name: name(),
            used_ms: now_ms,
            failure: None,
        });
        (class, gone)
    }

    /// Takes out those unused for `idle_ms`.
    pub(crate) fn expire(&mut self, now_ms: u64, idle_ms: u64) -> Vec<Class> {
        let is_idle = |entry: &Entry| now_ms.saturating_sub(entry.used_ms) >= idle_ms;
        let idle = self.list.iter().filter(|entry| is_idle(entry));
        let classes = idle.map(|entry| entry.class).collect();
        self.list.retain(|entry| !is_idle(entry));
        classes
    }

    /// All that are to have circuits, the layer's own first.
    pub(crate) fn all(&self) -> impl Iterator<Item = Class> {
        std::iter::once(Class::OWN).chain(self.list.iter().map(|entry| entry.class))
    }

    pub(crate) fn is_known(&self, class: Class) -> bool {
        class == Class::OWN || self.list.iter().any(|entry| entry.class == class)
    }

    /// What a class is shown as.
    pub(crate) fn name(&self, class: Class) -> String {
        let entry = self.list.iter().find(|entry| entry.class == class);
        entry.map_or_else(|| OWN_NAME.to_owned(), |entry| entry.name.clone())
    }

    /// Why the last round left a class without a path; `None` while one is being built.
    pub(crate) fn failure(&self, class: Class) -> Option<&'static str> {
        let entry = self.list.iter().find(|entry| entry.class == class);
        entry.map_or(self.own_failure, |entry| entry.failure)
    }

    /// Something works again: what failed before says nothing about what comes of the builds under way.
    pub(crate) fn clear_failures(&mut self) {
        self.own_failure = None;
        for entry in &mut self.list {
            entry.failure = None;
        }
    }

    pub(crate) fn set_failure(&mut self, class: Class, failure: Option<&'static str>) {
        match self.list.iter_mut().find(|entry| entry.class == class) {
            Some(entry) => entry.failure = failure,
            None => self.own_failure = failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_kind_and_name() {
        let key = IsolationKey::new("account", "a");
        assert!(key == IsolationKey::new("account", "a"));
        assert!(key != IsolationKey::new("server", "a"));
        assert!(key != IsolationKey::new("accounta", ""));
    }

    #[test]
    fn keys_are_bounded_and_expire() {
        let mut classes = Classes::default();
        let touch = |classes: &mut Classes, number: usize, now_ms| {
            let key = IsolationKey::new("account", &number.to_string());
            classes.touch(key, now_ms, || number.to_string())
        };
        let first = touch(&mut classes, 0, 0).0;
        for number in 1..MAX_CLASSES {
            assert_eq!(touch(&mut classes, number, 10).1, None);
        }
        assert_eq!(touch(&mut classes, 0, 20), (first, None));
        let second = touch(&mut classes, 1, 10).0;
        let (_, gone) = touch(&mut classes, 99, 30);
        assert_eq!(gone, Some(second));
        assert!(!classes.is_known(second) && classes.is_known(first));
        assert_eq!(classes.all().count(), MAX_CLASSES + 1);
        assert_eq!(classes.name(first), "0");
        assert_eq!(classes.name(Class::OWN), "agent");
        classes.set_failure(first, Some("NO_PATH"));
        classes.set_failure(Class::OWN, Some("NO_PATH"));
        assert_eq!(classes.failure(first), Some("NO_PATH"));
        classes.clear_failures();
        assert_eq!(
            (classes.failure(first), classes.failure(Class::OWN)),
            (None, None)
        );
        let expired = classes.expire(25, 10);
        assert_eq!(expired.len(), MAX_CLASSES - 2);
        assert!(classes.is_known(first) && classes.is_known(Class::OWN));
    }
}
