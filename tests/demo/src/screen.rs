//! What people see: one line for everything that happens, with the time since the start.

use std::fmt::Display;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};

/// Headings and names.
pub const BOLD: Style = Style::new().bold();
/// What is there for those who look for it.
pub const FAINT: Style = Style::new().dimmed();
/// It worked.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// It did not.
pub const BAD: Style = AnsiColor::Red.on_default();

/// Text in a style; colours reach only terminals.
pub fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints lines with the time since it was made.
pub struct Screen {
    start: Instant,
}

impl Screen {
    /// Starts the time.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// What happened, and to whom.
    pub fn tell(&self, who: &str, what: impl Display) {
        let seconds = self.start.elapsed().as_secs_f64();
        let time = paint(FAINT, format_args!("{seconds:7.2} s"));
        let who = paint(BOLD, format_args!("{who:8}"));
        self.line(format_args!("{time}  {who} {what}"));
    }

    /// A line as it is.
    pub fn line(&self, text: impl Display) {
        let mut out = anstream::stdout().lock();
        // Whoever reads this may go away; the exit code tells the rest.
        drop(writeln!(out, "{text}").and_then(|()| out.flush()));
    }
}

/// An ID or key as people see it.
pub fn short(id: &str) -> String {
    match (id.get(..8), id.len()) {
        (Some(start), 17..) => format!("{}…", visible(start)),
        _ => visible(id),
    }
}

/// Text from elsewhere on one line; what a terminal might obey is shown as an escape.
pub fn visible(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '"' | '\\' => line.push(c),
            c => line.extend(c.escape_debug()),
        }
    }
    line
}

/// A duration in the unit that suits it.
pub fn duration(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.0} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// A word as a shell reads it back.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_drives_the_terminal() {
        assert_eq!(
            visible("a\u{1b}[2J\nb 'c' \"d\" é"),
            "a\\u{1b}[2J\\nb 'c' \"d\" é"
        );
        assert_eq!(visible("\u{202e}x"), "\\u{202e}x");
    }

    #[test]
    fn shapes() {
        assert_eq!(short(&"05ab".repeat(16)), "05ab05ab…");
        assert_eq!(short("m1"), "m1");
        assert_eq!(duration(Duration::from_micros(34_400)), "34 ms");
        assert_eq!(duration(Duration::from_millis(1_840)), "1.8 s");
        assert_eq!(shell("/tmp/x_1/a.sock"), "/tmp/x_1/a.sock");
        assert_eq!(shell("/tmp/it's"), r"'/tmp/it'\''s'");
    }
}
