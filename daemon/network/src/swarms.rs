//! Which nodes hold an account, as far as nodes told us, and from whom the next page is to come.
//!
//! Pure. Only decrypted answers reach it (network.md 3.3, 3.4, 5.7), and it only ever holds nodes that the list of
//! nodes has.

use std::collections::{HashMap, HashSet};

use session_protocol::Identifier;
use session_protocol::storage::Namespace;

use crate::pool::{NodeKey, Pool};

/// Accounts remembered; at the limit all are forgotten, which costs a request each.
const MAX_ACCOUNTS: usize = 10_000;

/// Swarms told by nodes, and members with more to give.
#[derive(Debug, Default)]
pub(crate) struct Swarms {
    members: HashMap<Identifier, HashSet<NodeKey>>,
    unfinished: HashMap<(Identifier, Namespace), NodeKey>,
}

impl Swarms {
    /// Known members of the swarm of `owner`: as told, else as computed from the list. `None` means that a node
    /// must be asked.
    pub(crate) fn members(&self, owner: &Identifier, pool: &Pool) -> Option<HashSet<NodeKey>> {
        self.members
            .get(owner)
            .cloned()
            .or_else(|| pool.swarm_of(owner))
            .filter(|members| !members.is_empty())
    }

    /// Replaces the swarm of `owner` by those of `told` that are known. Returns whether any is; if none is, the
    /// node that told so is removed from the swarm instead.
    pub(crate) fn replace(
        &mut self,
        owner: &Identifier,
        told: &[NodeKey],
        teller: &NodeKey,
        pool: &Pool,
    ) -> bool {
        let known: HashSet<NodeKey> = told
            .iter()
            .filter(|key| pool.get(key).is_some())
            .copied()
            .collect();
        if self.members.len() >= MAX_ACCOUNTS {
            self.members.clear();
        }
        if known.is_empty() {
            let mut rest = self.members(owner, pool).unwrap_or_default();
            rest.remove(teller);
            self.members.insert(*owner, rest);
            return false;
        }
        self.members.insert(*owner, known);
        true
    }

    /// The member that said it has more.
    pub(crate) fn unfinished(&self, owner: &Identifier, namespace: Namespace) -> Option<NodeKey> {
        self.unfinished.get(&(*owner, namespace)).copied()
    }

    /// Notes whether a member has more after the page it just gave.
    pub(crate) fn page(
        &mut self,
        owner: &Identifier,
        namespace: Namespace,
        node: NodeKey,
        more: bool,
    ) {
        if !more {
            self.unfinished.remove(&(*owner, namespace));
        } else if self.unfinished.len() < MAX_ACCOUNTS {
            self.unfinished.insert((*owner, namespace), node);
        }
    }

    /// Forgets what nodes told, because a new list has come.
    pub(crate) fn clear(&mut self) {
        self.members.clear();
        self.unfinished.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::tests::node;
    use session_protocol::Prefix;

    #[test]
    fn only_known_nodes_enter_a_swarm() {
        let pool = Pool::new((1..=6).map(node).collect(), false);
        let owner = Identifier {
            prefix: Prefix::Standard,
            key: [0; 32],
        };
        let mut swarms = Swarms::default();
        let computed = swarms.members(&owner, &pool).unwrap();
        assert_eq!(computed, [[2; 32], [4; 32], [6; 32]].into());
        // Nothing but strangers: the teller goes, the others stay.
        assert!(!swarms.replace(&owner, &[[99; 32]], &[2; 32], &pool));
        assert_eq!(
            swarms.members(&owner, &pool).unwrap(),
            [[4; 32], [6; 32]].into()
        );
        assert!(swarms.replace(&owner, &[[1; 32], [99; 32]], &[4; 32], &pool));
        assert_eq!(swarms.members(&owner, &pool).unwrap(), [[1; 32]].into());
        swarms.clear();
        assert_eq!(swarms.members(&owner, &pool).unwrap(), computed);
    }

    #[test]
    fn an_empty_swarm_is_asked_for() {
        let pool = Pool::new(vec![node(2)], false);
        let owner = Identifier {
            prefix: Prefix::Group,
            key: [0; 32],
        };
        let mut swarms = Swarms::default();
        swarms.replace(&owner, &[], &[2; 32], &pool);
        assert_eq!(swarms.members(&owner, &pool), None);
    }
}
