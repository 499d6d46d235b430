//! Columns that line up.

use super::style::{HEADING, paint};

/// Rows under headings, columns two blanks apart; nothing is padded after the last column.
/// Widths count characters. Without rows there is nothing, not even headings.
#[must_use]
pub fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut widths = headings.map(|h| h.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = paint(HEADING, line(&headings.map(str::to_owned), &widths));
    for row in rows {
        text.push('\n');
        text.push_str(&line(row, &widths));
    }
    text.push('\n');
    text
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> = cells
        .iter()
        .zip(widths)
        .map(|(cell, &width)| format!("{cell:<width$}"))
        .collect();
    padded.join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            ["a".into(), "05ab…12".into(), "x y".into()],
            ["long".into(), "-".into(), String::new()],
        ];
        let text = table(["ONE", "TWO", "THREE"], &rows);
        assert_eq!(
            strip_str(&text).to_string(),
            "ONE   TWO      THREE\na     05ab…12  x y\nlong  -\n"
        );
        assert_eq!(table(["ONE"], &[]), "");
    }
}
