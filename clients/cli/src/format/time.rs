//! Times as people see them: local, from a zone that is given.

use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};

/// Shows times in one zone.
#[derive(Debug, Clone)]
pub struct Clock {
    zone: TimeZone,
}

/// What stands for a time that is absent or out of all bounds.
const NONE: &str = "-";

impl Clock {
    /// Shows times in `zone`.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self { zone }
    }

    /// As 2023-11-14 23:13:20.
    #[must_use]
    pub fn date_time(&self, time: Option<&prost_types::Timestamp>) -> String {
        self.show(time, "%Y-%m-%d %H:%M:%S")
    }

    /// As 23:13:20.
    #[must_use]
    pub fn time(&self, time: Option<&prost_types::Timestamp>) -> String {
        self.show(time, "%H:%M:%S")
    }

    /// As Tue 14 Nov 2023.
    #[must_use]
    pub fn date(&self, time: Option<&prost_types::Timestamp>) -> String {
        self.show(time, "%a %-d %b %Y")
    }

    fn show(&self, time: Option<&prost_types::Timestamp>, format: &str) -> String {
        time.and_then(|t| self.local(t))
            .map_or_else(|| NONE.to_owned(), |t| t.strftime(format).to_string())
    }

    fn local(&self, time: &prost_types::Timestamp) -> Option<ZonedDateTime> {
        let time = Timestamp::new(time.seconds, time.nanos).ok()?;
        Some(time.to_zoned_datetime(self.zone.clone()))
    }
}

/// A span as 12.3 ms, 1.20 s or -3.0 ms; `-` when absent.
#[must_use]
pub fn span(span: Option<&prost_types::Duration>) -> String {
    let Some(span) = span else {
        return NONE.to_owned();
    };
    #[allow(clippy::cast_precision_loss)] // shown with three digits
    let milliseconds = span.seconds as f64 * 1e3 + f64::from(span.nanos) / 1e6;
    if milliseconds.abs() < 1000.0 {
        format!("{milliseconds:.1} ms")
    } else {
        format!("{:.2} s", milliseconds / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::offset;

    use super::*;

    #[test]
    fn times_are_local() {
        let time = prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        };
        let utc = Clock::new(TimeZone::UTC);
        assert_eq!(utc.date_time(Some(&time)), "2023-11-14 22:13:20");
        let east = Clock::new(offset(2).to_time_zone());
        assert_eq!(east.date_time(Some(&time)), "2023-11-15 00:13:20");
        assert_eq!(east.time(Some(&time)), "00:13:20");
        assert_eq!(east.date(Some(&time)), "Wed 15 Nov 2023");
        assert_eq!(utc.time(None), "-");
        let never = prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        };
        assert_eq!(utc.date(Some(&never)), "-");
    }

    #[test]
    fn spans() {
        let of = |seconds, nanos| span(Some(&prost_types::Duration { seconds, nanos }));
        assert_eq!(of(0, 12_340_000), "12.3 ms");
        assert_eq!(of(0, -3_000_000), "-3.0 ms");
        assert_eq!(of(1, 204_000_000), "1.20 s");
        assert_eq!(span(None), "-");
    }
}
