//! The last net for lines at error, warn and info: what has the shape of a key, an account ID or an address does not pass,
//! whoever wrote it into a text.
//!
//! Types are the first ([`session_network::Private`]). This one is for texts of others: an error of a library, the words of
//! a service node. Shapes: 24 or more hexadecimal digits; lists of more than 8 numbers; 40 or more characters of base64 or
//! base32 that are no words; addresses of IP version 4 and 6; `.onion` and `.loki` names. It may take too much, which costs
//! a reader a word.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Fewest hexadecimal digits that are taken for a key. A v4 UUID without dashes has 32; an account ID 66.
const HEX: usize = 24;
/// Fewest commas of a list of numbers that is taken for bytes.
const LIST: usize = 8;
/// Fewest characters of base64 or base32 that are taken for a key: 32 bytes are 43 and 52.
const DENSE: usize = 40;

/// The text with `…` in place of what must not be shown.
pub fn strain(text: &str) -> String {
    let text = without_lists(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let end = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        push_word(&mut out, word);
        let mut chars = behind.chars();
        out.extend(chars.next());
        rest = chars.as_str();
    }
    out
}

/// Bytes as Rust prints a list of them.
fn without_lists(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, tail) = rest.split_at(start);
        let in_list = |c: char| c.is_ascii_digit() || c == ',' || c == ' ';
        let end = tail.find(|c| !in_list(c)).unwrap_or(tail.len());
        let (list, behind) = tail.split_at(end);
        out.push_str(before);
        out.push_str(if list.matches(',').count() < LIST {
            list
        } else {
            "…"
        });
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// Characters of keys and addresses.
fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '+' | '/' | '-' | '_')
}

fn push_word(out: &mut String, word: &str) {
    if is_address(word) || is_hidden_name(word) || is_dense_with_slashes(word) {
        out.push('…');
    } else if word.starts_with('/') || word.contains("://") {
        // A path, or a URL: each of its parts by itself.
        push_parts(out, word, |c| c == '/' || c == '@' || c == '.');
    } else if is_dense(word) {
        out.push('…');
    } else {
        push_parts(out, word, |c| !c.is_ascii_alphanumeric());
    }
}

fn push_parts(out: &mut String, word: &str, between: fn(char) -> bool) {
    for part in word.split_inclusive(between) {
        let (bare, end) = match part.char_indices().next_back() {
            Some((at, last)) if between(last) => part.split_at(at),
            _ => (part, ""),
        };
        let host = is_address(bare) || bare.split(':').any(is_address);
        let shown = !host && !has_hex(bare) && !is_dense(bare);
        out.push_str(if shown { bare } else { "…" });
        out.push_str(end);
    }
}

fn has_hex(word: &str) -> bool {
    word.split(|c: char| !c.is_ascii_hexdigit())
        .any(|run| run.len() >= HEX)
}

/// Longer than words are, and of mixed case or with digits, as no word is.
fn is_dense(word: &str) -> bool {
    let is_dense = |run: &str| {
        let of = |kind: fn(&char) -> bool| run.chars().filter(kind).count();
        let digits = of(char::is_ascii_digit);
        let upper = of(char::is_ascii_uppercase);
        run.len() >= DENSE && (digits >= 3 || upper >= 5)
    };
    word.split(['.', ':']).any(is_dense)
}

/// Base64 with slashes in it is no path: its capitals are not only first letters of words.
fn is_dense_with_slashes(word: &str) -> bool {
    word.split(['.', ':', '-', '_']).any(|run| {
        let letters = run.as_bytes().windows(2);
        let inner = letters.filter(|pair| pair[0] != b'/' && pair[1].is_ascii_uppercase());
        run.len() >= DENSE && inner.count() >= 5
    })
}

fn is_hidden_name(word: &str) -> bool {
    let host = word.split([':', '/']).find(|part| part.contains('.'));
    host.is_some_and(|host| host.ends_with(".onion") || host.ends_with(".loki"))
}

/// An address of IP version 4 or 6, with a port or without.
fn is_address(word: &str) -> bool {
    let bare = word.trim_matches(['.', ':', '-', '/', '_']);
    // A scheme or a path before it, a prefix length or a port behind it.
    bare.split('/').any(|part| {
        let v4 = |text: &str| text.parse::<Ipv4Addr>().is_ok();
        let v6 = |text: &str| text.matches(':').count() >= 2 && text.parse::<Ipv6Addr>().is_ok();
        v4(part) || v6(part) || v6(word) || part.split(':').any(v4)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_lines_pass() {
        for line in [
            "a path failed",
            "/home/alice/.local/state/sessiond/sessiond.sock",
            "/run/user/1000/sessiond/sessiond.sock",
            "/tmp/sd-x0Y1zZ/a.sock",
            "/Users/Alice/Library/Containers/Org/Session/Data/Files",
            "no room: DISK_FULL, see `sessionctl status`",
            "error returned from database: (code: 5) database is locked",
            "unix:path=/run/user/1000/bus",
            "took 12.5 s (3:04:05), version 0.1.0, 2026-11-26T14:54:53.123Z",
            "org.freedesktop.DBus.Error.ServiceUnknown: the name is not activatable",
            "daemon/network/src/state/outcome.rs:279:13",
            "sessiond::network::state::outcome::tests",
            "é — «ok»",
        ] {
            assert_eq!(strain(line), line);
        }
    }

    #[test]
    fn keys_and_addresses_do_not() {
        let hex = "05aa654f00fc39fc69fd0db829410ca38177d7732a8d2f0934ab3872ac56d5aa74";
        for (line, shown) in [
            (format!("no account {hex}!"), "no account …!"),
            (format!("id={}", &hex.to_uppercase()), "id=…"),
            (format!("x_{hex}_y"), "…"),
            (format!("/s/{hex}.db"), "/s/….db"),
            (
                "key q83vEjRWeJq83vEjRWeJq83vEjRWeJq83vEjRWeJq80= ends".to_owned(),
                "key …= ends",
            ),
            (
                "/++/AAAAAAAA/AA/AAAAAAAAAAAAAAAAAC+/AAAAAAA=".to_owned(),
                "…=",
            ),
            (
                "https://example.org/q83vEjRWeJq8/vEjRWeJq83vEjRWeJq/vEjRWeJq80=".to_owned(),
                "…=",
            ),
            ("to 192.0.2.7:22021 failed".to_owned(), "to … failed"),
            ("https://192.0.2.7:22021/storage_rpc/v1".to_owned(), "…"),
            ("at 2001:db8::7.".to_owned(), "at …"),
            ("at [2001:db8::7]:443".to_owned(), "at […]:443"),
            (format!("{:?}", [7u8; 32]), "[…]"),
            ("by abcdef.onion:80 and node.loki".to_owned(), "by … and …"),
        ] {
            assert_eq!(strain(&line), shown, "{line}");
        }
    }
}
