//! Numbers that look random and follow from a seed: faults that repeat exactly. Not for keys.
//!
//! SplitMix64 (Steele, Lea and Flood, 2014): a counter in steps of the golden ratio, each value mixed.

/// A generator.
#[derive(Clone, Debug)]
pub struct SplitMix(u64);

impl SplitMix {
    /// One that begins at a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to but not including `limit`; 0 for a limit of 0. The bias does not matter for small limits.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.draw().checked_rem(limit).unwrap_or(0)
    }

    /// From 0 up to but not including 1.
    pub(crate) fn share(&mut self) -> f64 {
        // 32 bits fit a double exactly.
        f64::from(u32::try_from(self.draw() >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_published_generator() {
        let mut random = SplitMix::new(1_234_567);
        let values: Vec<u64> = (0..3).map(|_| random.draw()).collect();
        assert_eq!(
            values,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn bounds_hold() {
        let mut random = SplitMix::new(1);
        assert_eq!(random.below(0), 0);
        for _ in 0..1000 {
            assert!(random.below(7) < 7);
            assert!((0.0..1.0).contains(&random.share()));
        }
    }
}
