//! How nodes are spread over swarms, and where the swarms lie on the ring.
//!
//! The chain's own assignment (network.md 8.4) is random; clients only see the ids, so a local network may
//! choose them: evenly spaced from 0 on.

/// Sizes that official clients are at ease with: several need 3 members, the chain keeps at least 5.
const USUAL_SIZES: std::ops::RangeInclusive<usize> = 4..=6;

/// The swarm id of each of `nodes` nodes. Every swarm has 4 to 6 members if `nodes` can be divided so, and
/// as near to `wanted` as can be; otherwise sizes are just as near to `wanted` as can be.
pub(crate) fn swarm_ids(nodes: usize, wanted: usize) -> Vec<u64> {
    let count = swarm_count(nodes, wanted.max(1));
    (0..nodes)
        .map(|node| swarm_id(node % count, count))
        .collect()
}

fn swarm_count(nodes: usize, wanted: usize) -> usize {
    let usual = |count: &usize| {
        USUAL_SIZES.contains(&(nodes / count)) && USUAL_SIZES.contains(&nodes.div_ceil(*count))
    };
    // |nodes / count - wanted|, compared without fractions: the distance times `nodes`.
    let distance = |count: &usize| (nodes.abs_diff(wanted * count) * nodes) / count;
    let best = |allowed: &dyn Fn(&usize) -> bool| (1..=nodes).filter(allowed).min_by_key(distance);
    best(&usual).or_else(|| best(&|_| true)).unwrap_or(1)
}

fn swarm_id(index: usize, count: usize) -> u64 {
    let step = (1_u128 << 64) / count.max(1) as u128;
    u64::try_from(step * index as u128).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sizes(nodes: usize, wanted: usize) -> Vec<usize> {
        let mut sizes = BTreeMap::<u64, usize>::new();
        for id in swarm_ids(nodes, wanted) {
            *sizes.entry(id).or_default() += 1;
        }
        sizes.into_values().collect()
    }

    #[test]
    fn swarms_have_four_to_six_members_where_that_is_possible() {
        for nodes in (4..=254).filter(|nodes| *nodes != 7) {
            for wanted in 4..=6 {
                let sizes = sizes(nodes, wanted);
                assert!(
                    sizes.iter().all(|size| (4..=6).contains(size)),
                    "{nodes}/{wanted}: {sizes:?}"
                );
            }
        }
        assert_eq!(sizes(12, 5), [6, 6]);
        assert_eq!(sizes(12, 4), [4, 4, 4]);
        assert_eq!(sizes(10, 5), [5, 5]);
        assert_eq!(sizes(20, 5), [5, 5, 5, 5]);
    }

    #[test]
    fn other_counts_come_as_near_as_they_can() {
        assert_eq!(sizes(1, 5), [1]);
        assert_eq!(sizes(3, 5), [3]);
        assert_eq!(sizes(7, 5), [4, 3]);
    }

    #[test]
    fn ids_are_evenly_spaced_and_never_the_one_that_means_unassigned() {
        assert_eq!(swarm_ids(8, 4)[..2], [0, 1 << 63]);
        let ids = swarm_ids(254, 4);
        assert!(!ids.contains(&u64::MAX));
    }
}
