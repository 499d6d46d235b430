//! When the timer of an arriving message began, by what is known on arrival (messages.md 7.5 and 7.6). Pure.
//!
//! What disappears after sending, and our own copies, by the time they were stored; what disappears after reading not
//! before it is read. That another device of ours has read it shows in how long its copy lives: everybody stores such a
//! message for as long as a swarm allows, and whoever reads it has that shortened to the end of its timer. A copy that
//! lives exactly as long as its timer tells nothing: its sender may have stored it so.

use session_network::StoredMessage;

use crate::store::expiry::UNREAD_MS;
use crate::store::messages::{AFTER_READ, cause};
use crate::store::received::INBOX_MS;
use crate::time::to_db;

/// A stored copy's lifetime is the timer when it began this close to the sent timestamp, ms.
const NEAR_MS: i64 = 3_600_000;
/// How far before its sent timestamp a timer may begin at most, ms.
const EARLY_MS: i64 = 60_000;
/// A copy that was stored for its timer's length lives this much longer or shorter at most, ms: both times are of
/// whoever stored it. Nobody reads so soon after.
const EXACT_MS: i64 = 10;

/// What is known of a message that arrives. All times in ms.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Type and seconds of its timer.
    pub expiry: (i64, i64),
    /// We wrote it.
    pub own: bool,
    /// As its author says.
    pub sent_ms: i64,
    /// When the swarm stored it, as whoever stored it said.
    pub stored_ms: i64,
    /// When the swarm drops it.
    pub stored_until_ms: i64,
    /// Everything sent up to then is read here.
    pub last_read_ms: i64,
}

/// How its timer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// When it began, ms.
    pub at_ms: i64,
    /// See [`cause`].
    pub cause: i64,
    /// The stored copy lives for longer than the message: that is to be shortened.
    pub shorten: bool,
}

/// `None`: it has no timer, or the timer waits for reading.
pub fn on_arrival(arrival: &Arrival, now_ms: i64) -> Option<Start> {
    let (kind, seconds) = arrival.expiry;
    if kind == 0 || seconds <= 0 {
        return None;
    }
    let timer_ms = seconds.saturating_mul(1000);
    let began_ms = arrival.stored_until_ms.saturating_sub(timer_ms);
    let earliest_ms = arrival.sent_ms.saturating_sub(EARLY_MS);
    if kind == AFTER_READ && !arrival.own {
        return after_reading(arrival, began_ms, now_ms);
    }
    let at_ms = if began_ms.abs_diff(arrival.sent_ms) <= NEAR_MS.unsigned_abs() {
        began_ms.max(earliest_ms).min(now_ms)
    } else {
        arrival.sent_ms.min(now_ms)
    };
    Some(Start {
        at_ms,
        cause: cause::SENT,
        shorten: false,
    })
}

/// What is known of the timer of something that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Nothing: it may have any.
    Unknown,
    /// What its author says.
    Known {
        /// Type and seconds; zeros: none.
        expiry: (i64, i64),
        /// We wrote it.
        own: bool,
        /// ms.
        sent_ms: i64,
    },
}

/// Longest that what may have a timer is kept after it came, ms: so long it may wait for being read, and then as long is
/// the longest timer that anybody offers.
const UNKNOWN_MS: i64 = UNREAD_MS + INBOX_MS;

/// When something that came at a time and that nobody can read goes, ms: by its timer, as if it waited to be read; and
/// with its copy, when that lives shorter than a swarm allows, since its sender wanted it to disappear. `None`: nothing
/// says that it should.
pub fn ends_unread(stored: &StoredMessage, timer: Timer, received_ms: i64) -> Option<i64> {
    let (stored_ms, until_ms) = (to_db(stored.timestamp), to_db(stored.expiration));
    let early = (until_ms.saturating_sub(stored_ms) < INBOX_MS - NEAR_MS).then_some(until_ms);
    let by_timer = match timer {
        Timer::Unknown => Some(received_ms.saturating_add(UNKNOWN_MS)),
        Timer::Known {
            expiry,
            own,
            sent_ms,
        } => {
            let arrival = Arrival {
                expiry,
                own,
                sent_ms,
                stored_ms,
                stored_until_ms: until_ms,
                last_read_ms: 0,
            };
            let (kind, seconds) = expiry;
            match on_arrival(&arrival, received_ms) {
                Some(start) => Some(start.at_ms.saturating_add(seconds.saturating_mul(1000))),
                None if kind == AFTER_READ && seconds > 0 => {
                    Some(sent_ms.min(received_ms).saturating_add(UNREAD_MS))
                }
                None => None,
            }
        }
    };
    [early, by_timer].into_iter().flatten().min()
}

fn after_reading(arrival: &Arrival, began_ms: i64, now_ms: i64) -> Option<Start> {
    let elsewhere = Start {
        at_ms: began_ms,
        cause: cause::READ_ELSEWHERE,
        shorten: false,
    };
    if arrival.sent_ms <= arrival.last_read_ms {
        return Some(if began_ms <= now_ms {
            elsewhere
        } else {
            // The position passed it before it came, and nobody has told the swarm yet.
            Start {
                at_ms: now_ms,
                cause: cause::READ_HERE,
                shorten: true,
            }
        });
    }
    let life_ms = arrival.stored_until_ms.saturating_sub(arrival.stored_ms);
    let shortened = life_ms < INBOX_MS - NEAR_MS
        && began_ms.abs_diff(arrival.stored_ms) > EXACT_MS.unsigned_abs()
        && began_ms >= arrival.stored_ms.saturating_sub(EARLY_MS)
        && began_ms <= now_ms;
    shortened.then_some(elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::messages::AFTER_SEND;

    const SENT: i64 = 1_790_000_000_000;
    const HOUR: i64 = 3_600_000;
    const TWO_WEEKS: i64 = SENT + INBOX_MS;

    fn start(
        expiry: (i64, i64),
        own: bool,
        stored_until_ms: i64,
        last_read_ms: i64,
        now_ms: i64,
    ) -> Option<Start> {
        let arrival = Arrival {
            expiry,
            own,
            sent_ms: SENT,
            stored_ms: SENT + 500,
            stored_until_ms,
            last_read_ms,
        };
        on_arrival(&arrival, now_ms)
    }

    #[test]
    fn what_cannot_be_read_goes_as_if_it_waited_to_be_read() {
        let copy = |life_ms: i64| StoredMessage {
            hash: String::new(),
            timestamp: u64::try_from(SENT + 500).unwrap(),
            expiration: u64::try_from(SENT + 500 + life_ms).unwrap(),
            data: None,
        };
        let known = |expiry, own| Timer::Known {
            expiry,
            own,
            sent_ms: SENT,
        };
        let came = SENT + HOUR;
        let minute = (AFTER_READ, 60);
        for (life_ms, timer, end) in [
            (INBOX_MS, Timer::Unknown, Some(came + 2 * INBOX_MS)),
            (INBOX_MS, known((0, 0), false), None),
            (INBOX_MS, known(minute, false), Some(SENT + INBOX_MS)),
            (INBOX_MS, known(minute, true), Some(SENT + 60_000)),
            (
                INBOX_MS,
                known((AFTER_SEND, 60), false),
                Some(SENT + 60_000),
            ),
            // Somebody wanted the copy to go, or another device has read it.
            (9 * HOUR, Timer::Unknown, Some(SENT + 500 + 9 * HOUR)),
            (9 * HOUR, known((0, 0), false), Some(SENT + 500 + 9 * HOUR)),
            (HOUR / 2, known(minute, false), Some(SENT + 500 + HOUR / 2)),
        ] {
            assert_eq!(ends_unread(&copy(life_ms), timer, came), end, "{timer:?}");
        }
    }

    fn sent(at_ms: i64) -> Option<Start> {
        Some(Start {
            at_ms,
            cause: cause::SENT,
            shorten: false,
        })
    }

    fn elsewhere(at_ms: i64) -> Option<Start> {
        Some(Start {
            at_ms,
            cause: cause::READ_ELSEWHERE,
            shorten: false,
        })
    }

    #[test]
    fn timers_after_sending_begin_with_the_storing() {
        for (expiry, own, stored_until, now, expected) in [
            // None, or nonsense.
            ((0, 0), false, TWO_WEEKS, SENT, None),
            ((2, 0), false, TWO_WEEKS, SENT, None),
            ((2, -5), true, TWO_WEEKS, SENT, None),
            // After reading: ours at once.
            ((1, 3600), true, TWO_WEEKS, SENT + 5, sent(SENT)),
            (
                (1, 3600),
                true,
                SENT + 2_000 + HOUR,
                SENT + 5_000,
                sent(SENT + 2_000),
            ),
            // By the storing when the copy lives as long as the timer.
            (
                (2, 3600),
                false,
                SENT + 2_000 + HOUR,
                SENT + 9_000,
                sent(SENT + 2_000),
            ),
            (
                (2, 3600),
                false,
                SENT + 2_000 + HOUR,
                SENT + 1_000,
                sent(SENT + 1_000),
            ),
            (
                (2, 3600),
                false,
                SENT - 90_000 + HOUR,
                SENT,
                sent(SENT - 60_000),
            ),
            // Else by the sent timestamp, never by the future.
            ((2, 3600), false, TWO_WEEKS, SENT + 9_000, sent(SENT)),
            (
                (2, 3600),
                false,
                TWO_WEEKS,
                SENT - 9_000,
                sent(SENT - 9_000),
            ),
            ((2, i64::MAX), false, 0, SENT, sent(SENT)),
        ] {
            let found = start(expiry, own, stored_until, 0, now);
            assert_eq!(found, expected, "{expiry:?} {own} {stored_until} {now}");
        }
    }

    #[test]
    fn timers_after_reading_wait_unless_somebody_has_read() {
        let hour = (1, 3600);
        let now = SENT + 2 * HOUR;
        for (stored_until, last_read, expected) in [
            // Not read anywhere.
            (TWO_WEEKS, 0, None),
            (TWO_WEEKS + 500, SENT - 1, None),
            // Read on another device an hour after it was stored.
            (SENT + 2 * HOUR + 500, 0, elsewhere(SENT + HOUR + 500)),
            (SENT + 2 * HOUR + 500, SENT, elsewhere(SENT + HOUR + 500)),
            // As long as the timer: it may have been stored so.
            (SENT + 500 + HOUR, 0, None),
            (SENT + 510 + HOUR, 0, None),
            // Read as soon as it came.
            (SENT + 900 + HOUR, 0, elsewhere(SENT + 900)),
            // Nothing that a reader could have made of it.
            (SENT, 0, None),
            (now + HOUR + 1, 0, None),
            // Read here before it came.
            (
                TWO_WEEKS,
                SENT,
                Some(Start {
                    at_ms: now,
                    cause: cause::READ_HERE,
                    shorten: true,
                }),
            ),
        ] {
            let found = start(hour, false, stored_until, last_read, now);
            assert_eq!(found, expected, "{stored_until} {last_read}");
        }
        // A timer as long as a swarm keeps anything: nothing to shorten.
        let two_weeks = (1, INBOX_MS / 1000);
        assert_eq!(
            start(two_weeks, false, TWO_WEEKS + 500, SENT, now),
            elsewhere(SENT + 500)
        );
    }
}
