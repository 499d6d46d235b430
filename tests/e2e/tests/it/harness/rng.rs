//! Random numbers that can be had again: SplitMix64.

/// A generator; the same seed gives the same numbers.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    /// From SESSIOND_E2E_SEED, else from the operating system. Printed, so that a failure can be repeated.
    pub fn from_environment() -> Self {
        let seed = match std::env::var("SESSIOND_E2E_SEED") {
            Ok(text) => text.parse().expect("SESSIOND_E2E_SEED is a number"),
            Err(_) => getrandom::u64().unwrap(),
        };
        println!("SESSIOND_E2E_SEED={seed}");
        Self(seed)
    }

    /// Another generator that follows from this one.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in the range; its small bias does not matter here.
    pub fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }
}
