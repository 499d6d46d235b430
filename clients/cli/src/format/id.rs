//! IDs as people see them.

use super::safe;

/// IDs up to this length are shown whole.
const SHORT_ENOUGH: usize = 16;

/// The ID as 05abcd…1234, or whole when `full` or short anyway.
#[must_use]
pub fn id(id: &str, full: bool) -> String {
    let safe = safe::line(id);
    let count = safe.chars().count();
    if full || count <= SHORT_ENOUGH {
        return safe;
    }
    safe.chars()
        .take(6)
        .chain(['…'])
        .chain(safe.chars().skip(count - 4))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ids_are_shortened() {
        let long = format!("05abcd{}1234", "0".repeat(56));
        assert_eq!(id(&long, false), "05abcd…1234");
        assert_eq!(id(&long, true), long);
        assert_eq!(id("0123456789abcdef", false), "0123456789abcdef");
        assert_eq!(id("x\u{1b}", true), "x\\x1b");
    }
}
