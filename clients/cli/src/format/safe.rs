//! Text from others, made safe for a terminal.
//!
//! A message must not move the cursor, change colours or titles, or turn the order of the text
//! around it: control characters (escape sequences begin with one) and Unicode's embeddings,
//! overrides and isolates of direction are shown as escapes. Marks that languages written from the
//! right need (U+200E, U+200F) reach no further than their neighbours and stay.

/// Whether a terminal might obey the character instead of showing it.
#[must_use]
pub fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text on one line, everything hazardous escaped, line breaks as `\n`.
#[must_use]
pub fn line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            '\r' => safe.push_str("\\r"),
            c if u32::from(c) < 0x80 && is_hazard(c) => {
                safe.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if is_hazard(c) => safe.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => safe.push(c),
        }
    }
    safe
}

/// The text's own lines, each safe. A line break in the Windows manner counts as one.
pub fn lines(text: &str) -> impl Iterator<Item = String> {
    text.split('\n')
        .map(|l| line(l.strip_suffix('\r').unwrap_or(l)))
}

/// The text on one line, cut to `limit` characters.
#[must_use]
pub fn short(text: &str, limit: usize) -> String {
    let safe = line(text);
    if safe.chars().count() <= limit {
        return safe;
    }
    safe.chars()
        .take(limit.saturating_sub(1))
        .chain(['…'])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_drives_the_terminal() {
        assert_eq!(line("\u{1b}[2J\u{7}\u{0}x"), "\\x1b[2J\\x07\\x00x");
        assert_eq!(line("\u{9b}31m\u{7f}"), "\\u{9b}31m\\x7f");
        assert_eq!(
            line("a\u{202e}b\u{2066}c\u{2029}"),
            "a\\u{202e}b\\u{2066}c\\u{2029}"
        );
        assert_eq!(line("one\r\n\ttwo"), "one\\r\\n\\ttwo");
        // Every character there is: what comes out holds no hazard.
        let all: String = ('\0'..=char::MAX).collect();
        assert!(!line(&all).chars().any(is_hazard));
    }

    #[test]
    fn text_of_people_stays() {
        for text in ["Grüße", "👩‍👩‍👧 日本語", "שלום\u{200f}!", "مرحبا", "a\\b"]
        {
            assert_eq!(line(text), text);
        }
    }

    #[test]
    fn lines_are_the_texts_own() {
        assert_eq!(
            lines("a\r\nb\n\nc\rd").collect::<Vec<_>>(),
            ["a", "b", "", "c\\rd"]
        );
        assert_eq!(short("12345", 5), "12345");
        assert_eq!(short("123456", 5), "1234…");
    }
}
