//! Limit on direct requests: a token bucket per client address (network.md 2.3, observed-nodes 20).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

const BURST: f64 = 600.0;
const PER_SECOND: f64 = 300.0;
/// Addresses remembered; when all of them are busy, new ones are refused.
const MAX_CLIENTS: usize = 10_000;

#[derive(Default)]
pub(super) struct RateLimiter(Mutex<HashMap<IpAddr, Bucket>>);

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * PER_SECOND).min(BURST);
        self.at = now;
    }
}

impl RateLimiter {
    /// Takes one token of `client`, if it has one.
    pub(super) fn allow(&self, client: IpAddr, now: Instant) -> bool {
        // The map is whole after every statement, so a panic elsewhere did not damage it.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_CLIENTS && !buckets.contains_key(&client) {
            buckets.retain(|_, bucket| {
                bucket.refill(now);
                bucket.tokens < BURST
            });
            if buckets.len() >= MAX_CLIENTS {
                return false;
            }
        }
        let bucket = buckets.entry(client).or_insert(Bucket {
            tokens: BURST,
            at: now,
        });
        bucket.refill(now);
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_allowed_and_tokens_come_back() {
        let limiter = RateLimiter::default();
        let (client, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let start = Instant::now();
        let allowed = |count: usize, now| (0..count).filter(|_| limiter.allow(client, now)).count();
        assert_eq!(allowed(1000, start), 600);
        assert!(limiter.allow(other, start));
        assert_eq!(allowed(1000, start + Duration::from_secs(1)), 300);
        assert_eq!(allowed(1000, start + Duration::from_secs(60)), 600);
    }

    #[test]
    fn only_idle_clients_are_forgotten() {
        let limiter = RateLimiter::default();
        let start = Instant::now();
        for number in 0..u32::try_from(MAX_CLIENTS).unwrap() {
            assert!(limiter.allow(IpAddr::from(number.to_be_bytes()), start));
        }
        let newcomer = IpAddr::from([255, 255, 255, 255]);
        assert!(!limiter.allow(newcomer, start));
        assert!(limiter.allow(newcomer, start + Duration::from_secs(1)));
    }
}
