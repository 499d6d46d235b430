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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_agree_with_network_12() {
        let last = format!("05{}{}", "00".repeat(24), "ff".repeat(8));
        for (id, place) in [
            (
                "053506f4a71324b7dd114eddbf4e311f39dde243e1f2cb97c40db1961f70ebaae8",
                17_589_930_838_143_112_648,
            ),
            (
                "05cf27da303a50ac8c4b2d43d27259505c9bcd73fc21cf2a57902c3d050730b604",
                10_370_619_079_776_428_163,
            ),
            (
                "03d3511706b8b34f6e8411bf07bd22ba6b2435ca56846fbccf6eb1e166a6cd15cc",
                2_144_983_569_669_512_198,
            ),
            (
                "05ffba630924aa1224bb930dde21c0d11bf004608f2812217f8ac812d6c7e3ad48",
                4_532_060_000_165_252_872,
            ),
            (last.as_str(), u64::MAX),
        ] {
            assert_eq!(swarm_space(&id.parse().unwrap()), place);
        }
    }

    #[test]
    fn choices_agree_with_network_12() {
        let mut ids = vec![100, 200, 300, 399, 498, 596, 694];
        for (place, swarm) in [
            (0, 100),
            (149, 100),
            (150, 100),
            (151, 200),
            (349, 300),
            (350, 399),
            (448, 399),
            (449, 498),
            (546, 498),
            (547, 498),
            (548, 596),
            (645, 596),
            (1 << 63, 694),
            (0xa000_0000_0000_0000, 100),
            (0x8000_0000_0000_018c, 694),
            (0x8000_0000_0000_018d, 694),
            (0x8000_0000_0000_018e, 100),
            (u64::MAX, 100),
        ] {
            assert_eq!(nearest_swarm(&ids, place), Some(swarm), "{place}");
        }
        ids.push(u64::MAX - 19);
        for (place, swarm) in [(39, u64::MAX - 19), (40, u64::MAX - 19), (41, 100)] {
            assert_eq!(nearest_swarm(&ids, place), Some(swarm), "{place}");
        }
        ids.push(0);
        assert_eq!(nearest_swarm(&ids, u64::MAX), Some(0));
    }

    #[test]
    fn unassigned_is_no_swarm() {
        assert_eq!(nearest_swarm(&[], 7), None);
        assert_eq!(nearest_swarm(&[UNASSIGNED], 7), None);
        assert_eq!(nearest_swarm(&[UNASSIGNED, 5], u64::MAX), Some(5));
    }

    /// Looks at every swarm: the least distance either way; of two, the one to the left.
    fn model(ids: &[u64], place: u64) -> Option<u64> {
        let usable = ids.iter().copied().filter(|id| *id != UNASSIGNED);
        usable.min_by_key(|id| {
            let (right, left) = (id.wrapping_sub(place), place.wrapping_sub(*id));
            (right.min(left), right < left)
        })
    }

    proptest! {
        #[test]
        fn agrees_with_looking_at_every_swarm(
            ids in prop::collection::vec(prop_oneof![0_u64..40, (u64::MAX - 20)..=u64::MAX, any::<u64>()], 0..12),
            place in prop_oneof![0_u64..60, (u64::MAX - 40)..=u64::MAX, any::<u64>()],
        ) {
            prop_assert_eq!(nearest_swarm(&ids, place), model(&ids, place));
        }
    }
}
