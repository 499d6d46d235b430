//! Random numbers that can be had again.

use session_localnet::SplitMix;

/// A generator; the same seed gives the same numbers.
#[derive(Clone)]
pub struct Rng(SplitMix);

impl Rng {
    /// From SESSIOND_E2E_SEED, else from the operating system. Printed, so that a failure can be repeated.
    pub fn from_environment() -> Self {
        let seed = match std::env::var("SESSIOND_E2E_SEED") {
            Ok(text) => text.parse().expect("SESSIOND_E2E_SEED is a number"),
            Err(_) => getrandom::u64().unwrap(),
        };
        println!("SESSIOND_E2E_SEED={seed}");
        Self(SplitMix::new(seed))
    }

    /// Another generator that follows from this one.
    pub fn fork(&mut self) -> Self {
        Self(SplitMix::new(self.0.draw()))
    }

    /// A number in the range; its small bias does not matter here.
    pub fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.0.draw() % (range.end - range.start)
    }
}
