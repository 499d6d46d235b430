//! The few styles there are.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

/// Headings.
pub const HEADING: Style = Style::new().bold();
/// What is there for those who look for it.
pub const FAINT: Style = Style::new().dimmed();
/// It worked.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// It did not.
pub const BAD: Style = AnsiColor::Red.on_default();

/// Text in a style.
#[must_use]
pub fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}
