//! One line of the log before anybody writes it: what an event says, bounded, on one line, and without what its level may
//! not show.

use std::fmt::{self, Write as _};
use std::time::{Instant, SystemTime};

use session_network::hide;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::strain::strain;

/// Most bytes of a value; what is longer ends with `…`.
const MAX_VALUE: usize = 2 * 1024;
/// Most fields; the rest is left out.
const MAX_FIELDS: usize = 16;

/// A line.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it was said.
    pub time: SystemTime,
    /// The same by the clock that is never set.
    pub at: Instant,
    pub level: Level,
    /// Who says it: a module's path.
    pub target: String,
    /// What it says.
    pub message: String,
    /// With what, in the order of the source.
    pub fields: Vec<(&'static str, String)>,
}

impl Record {
    /// What an event says now.
    pub fn of(event: &Event<'_>) -> Self {
        let level = *event.metadata().level();
        let mut record = Self {
            time: SystemTime::now(),
            at: Instant::now(),
            level,
            target: event.metadata().target().to_owned(),
            message: String::new(),
            fields: Vec::new(),
        };
        if names_nobody(level) {
            let _hidden = hide();
            event.record(&mut record);
        } else {
            event.record(&mut record);
        }
        record
    }

    /// One of the log's own.
    pub fn own(level: Level, message: String, at: Instant) -> Self {
        Self {
            time: SystemTime::now(),
            at,
            level,
            target: module_path!().replace("::record", ""),
            message,
            fields: Vec::new(),
        }
    }

    /// Whether another says the same.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.level == other.level
            && self.target == other.target
            && self.message == other.message
            && self.fields == other.fields
    }

    /// The message and the fields, as `message name=value`.
    pub fn text(&self) -> String {
        let mut text = self.message.clone();
        for (name, value) in &self.fields {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(name);
            text.push('=');
            if value.is_empty() || value.contains([' ', '"', '=']) {
                // Writing to a String cannot fail.
                let _ = write!(text, "\"{}\"", value.replace('"', "'"));
            } else {
                text.push_str(value);
            }
        }
        text
    }

    fn add(&mut self, name: &'static str, value: fmt::Arguments<'_>) {
        let mut line = Line::default();
        // It takes everything, and cuts off what is too much.
        let _ = line.write_fmt(value);
        let value = if names_nobody(self.level) {
            strain(&line.text)
        } else {
            line.text
        };
        if name == "message" {
            self.message = value;
        } else if self.fields.len() < MAX_FIELDS {
            self.fields.push((name, value));
        }
    }
}

/// Whether lines of a level are for everybody's eyes.
fn names_nobody(level: Level) -> bool {
    level <= Level::INFO
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), format_args!("{value}"));
    }
}

/// Takes text as one line of bounded length: control characters cannot begin a line that nobody wrote, or speak to a
/// terminal.
#[derive(Default)]
struct Line {
    text: String,
    full: bool,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.full {
                break;
            }
            if self.text.len() >= MAX_VALUE {
                self.text.push('…');
                self.full = true;
            } else if is_shown(c) {
                self.text.push(c);
            } else {
                self.text.extend(c.escape_default());
            }
        }
        Ok(())
    }
}

/// Neither a control character nor one that turns the writing around.
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_line_of_bounded_length() {
        let mut record = Record::own(Level::WARN, String::new(), Instant::now());
        record.add("message", format_args!("two\nlines \x1b[31m\u{202e}"));
        record.add("long", format_args!("{}", "é".repeat(MAX_VALUE)));
        assert_eq!(record.message, "two\\nlines \\u{1b}[31m\\u{202e}");
        assert!(record.fields[0].1.len() <= MAX_VALUE + "é…".len());
        assert!(record.fields[0].1.ends_with('…'));
        for _ in 0..2 * MAX_FIELDS {
            record.add("more", format_args!(""));
        }
        assert_eq!(record.fields.len(), MAX_FIELDS);
    }

    #[test]
    fn fields_stand_behind_the_message() {
        let mut record = Record::own(Level::INFO, "a path failed".to_owned(), Instant::now());
        record.add("reason", format_args!("TIMEOUT"));
        record.add("error", format_args!("no \"answer\""));
        assert_eq!(
            record.text(),
            "a path failed reason=TIMEOUT error=\"no 'answer'\""
        );
        assert_eq!(record.target, "sessiond::log");
    }
}
