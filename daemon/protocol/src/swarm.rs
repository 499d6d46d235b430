//! Which swarm holds an account.
//!
//! Facts: network.md 3.1; vectors in network.md 12.

use crate::identity::Identifier;

/// The id that means "in no swarm".
pub const UNASSIGNED: u64 = u64::MAX;

/// Place of an identifier on the ring: its key's four big-endian words folded by XOR. The prefix takes no part.
pub fn swarm_space(id: &Identifier) -> u64 {
    let (words, _) = id.key.as_chunks::<8>();
    words
        .iter()
        .fold(0, |folded, word| folded ^ u64::from_be_bytes(*word))
}

/// The swarm nearest to `place` on the ring; of two equally near ones the left. `swarms` may be in any
/// order; [`UNASSIGNED`] is ignored. `None` when there is no swarm.
pub fn nearest_swarm(swarms: &[u64], place: u64) -> Option<u64> {
    let mut ids: Vec<u64> = swarms
        .iter()
        .copied()
        .filter(|id| *id != UNASSIGNED)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let (first, last) = (*ids.first()?, *ids.last()?);
    let split = ids.partition_point(|id| *id < place);
    let right = ids.get(split).copied().unwrap_or(first);
    let left = split
        .checked_sub(1)
        .and_then(|index| ids.get(index))
        .copied()
        .unwrap_or(last);
    let to_right = right.wrapping_sub(place);
    let to_left = place.wrapping_sub(left);
    Some(if to_right < to_left { right } else { left })
}
