//! Repeated lines, told once.
//!
//! A line at error, warn or info that was written within the last minute is counted and not written; when the minute
//! ends, one line says how often it came again, and the next minute begins. What is asked for in detail, debug and trace,
//! is written as it comes. Bounded: the newest 64 different lines are remembered; one that makes way for another is told
//! before its minute ends. Time is the records' own.

use std::time::{Duration, Instant};

use tracing::Level;

use super::record::Record;

/// How long a line stands for those that say the same.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Different lines remembered.
const KEPT: usize = 64;

/// The lines of the last minute.
#[derive(Default)]
pub struct Collapse {
    /// The oldest first.
    said: Vec<Said>,
    /// Lines that were not written because another one stands for them, so far.
    pub collapsed: u64,
}

struct Said {
    record: Record,
    /// How often it came again.
    again: u64,
    since: Instant,
}

impl Collapse {
    /// What is to be written now that this line came.
    pub fn take(&mut self, record: Record) -> Vec<Record> {
        if record.level > Level::INFO {
            return vec![record];
        }
        let mut out = self.due(record.at);
        if let Some(said) = self
            .said
            .iter_mut()
            .find(|said| said.record.says_the_same(&record))
        {
            said.again += 1;
            self.collapsed += 1;
            return out;
        }
        if self.said.len() == KEPT {
            out.extend(self.said.remove(0).told(record.at));
        }
        self.said.push(Said {
            since: record.at,
            again: 0,
            record: record.clone(),
        });
        out.push(record);
        out
    }

    /// What is to be written because a minute ended.
    pub fn due(&mut self, now: Instant) -> Vec<Record> {
        let mut out = Vec::new();
        let mut kept = Vec::with_capacity(self.said.len());
        for mut said in self.said.drain(..) {
            if now.saturating_duration_since(said.since) < WINDOW {
                kept.push(said);
            } else if said.again > 0 {
                out.extend(said.told(now));
                said.since = now;
                said.again = 0;
                kept.push(said);
            }
        }
        self.said = kept;
        out
    }

    /// What is to be written because nothing more will come.
    pub fn end(&mut self, now: Instant) -> Vec<Record> {
        self.said
            .drain(..)
            .filter_map(|said| said.told(now))
            .collect()
    }

    /// When the next minute with something to tell ends.
    pub fn next(&self) -> Option<Instant> {
        let open = self.said.iter().filter(|said| said.again > 0);
        open.map(|said| said.since + WINDOW).min()
    }
}

impl Said {
    fn told(&self, now: Instant) -> Option<Record> {
        if self.again == 0 {
            return None;
        }
        let seconds = now.saturating_duration_since(self.since).as_secs();
        let times = if self.again == 1 { "time" } else { "times" };
        let mut record = self.record.clone();
        record.at = now;
        record.time = self.record.time + now.saturating_duration_since(self.record.at);
        record.message = format!(
            "{} … repeated {} {times} in {seconds} s",
            record.message, self.again
        );
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: Level, text: &str, at: Instant) -> Record {
        Record::own(level, text.to_owned(), at)
    }

    fn texts(records: Vec<Record>) -> Vec<String> {
        records.into_iter().map(|record| record.message).collect()
    }

    #[test]
    fn a_repeated_line_is_counted_and_told_once_a_minute() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut collapse = Collapse::default();
        let mut say = |s, text| texts(collapse.take(line(Level::WARN, text, at(s))));
        assert_eq!(say(0, "a"), ["a"]);
        assert_eq!(say(1, "b"), ["b"]);
        for s in 2..60 {
            assert!(say(s, "a").is_empty());
        }
        // This one as well, although something is written at the same moment.
        assert_eq!(say(60, "a"), ["a … repeated 58 times in 60 s"]);
        assert_eq!(collapse.collapsed, 59);
        assert_eq!(collapse.next(), Some(at(120)));
        assert!(collapse.due(at(119)).is_empty());
        assert_eq!(
            texts(collapse.due(at(130))),
            ["a … repeated 1 time in 70 s"]
        );
        // A minute without it: it is news again.
        assert!(collapse.due(at(190)).is_empty());
        assert_eq!(collapse.next(), None);
        assert!(collapse.said.is_empty());
        let say = collapse.take(line(Level::WARN, "a", at(191)));
        assert_eq!(texts(say), ["a"]);
    }

    #[test]
    fn other_levels_and_fields_are_other_lines() {
        let now = Instant::now();
        let mut collapse = Collapse::default();
        assert_eq!(collapse.take(line(Level::WARN, "a", now)).len(), 1);
        assert_eq!(collapse.take(line(Level::ERROR, "a", now)).len(), 1);
        let mut other = line(Level::WARN, "a", now);
        other.fields.push(("reason", "X".to_owned()));
        assert_eq!(collapse.take(other).len(), 1);
        for _ in 0..2 {
            assert_eq!(collapse.take(line(Level::DEBUG, "a", now)).len(), 1);
        }
        assert_eq!(collapse.take(line(Level::WARN, "a", now)).len(), 0);
        assert_eq!(collapse.end(now).len(), 1);
    }

    #[test]
    fn memory_is_bounded_and_what_makes_way_is_told() {
        let now = Instant::now();
        let mut collapse = Collapse::default();
        let mut written = 0;
        for _ in 0..2 {
            for n in 0..10 * KEPT {
                let _ = collapse.take(line(Level::INFO, "again", now));
                written += collapse.take(line(Level::INFO, &n.to_string(), now)).len();
                assert!(collapse.said.len() <= KEPT);
            }
        }
        assert!(written >= 20 * KEPT + 10, "{written}");
    }
}
