//! What a search can find in a text: words, and pairs of characters where a script writes no spaces.
//!
//! Latin, Cyrillic and the like are cut at everything that is neither letter, digit nor mark; case, accents and
//! compatibility forms make no difference. Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese and emoji are indexed
//! as overlapping pairs, each at a position of its own, and the last character of a run alone: any stretch of such a
//! run is then a phrase of pairs, and one character is the beginning of a pair. A search finds stretches, not words,
//! in these scripts, so that it never depends on a dictionary.
//!
//! Chosen by a test over four scripts (`tests/it/tokenizer.rs`): of SQLite's own tokenizers, `unicode61` finds nothing
//! inside a Chinese or Thai sentence, and `trigram` finds no word of one or two characters, which most Chinese words
//! are, and writes an entry per character of every Latin text.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Most bytes of a word that count, of a text and of a query alike.
const LONGEST: usize = 128;

/// What the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It is to be found.
    Document,
    /// It is looked for: the last character of a run that ends the text goes without an entry of its own, because the
    /// run may go on in the document.
    Query,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Part of a word.
    Word,
    /// Of a script without spaces.
    Run,
    /// As if it were not there: accents, joiners, variation selectors.
    Nothing,
    /// Between words.
    Gap,
}

fn class(c: char) -> Class {
    if c.is_ascii() {
        return if c.is_ascii_alphanumeric() {
            Class::Word
        } else {
            Class::Gap
        };
    }
    match u32::from(c) {
        // Latin accents; soft hyphen, zero-width characters, variation selectors.
        0x0300..=0x036F | 0x00AD | 0x200B..=0x200D | 0x2060 | 0xFE00..=0xFE0F | 0xFEFF => {
            Class::Nothing
        }
        // Thai and Lao without their digits and signs, Burmese, Khmer.
        0x0E01..=0x0E3A | 0x0E40..=0x0E4E | 0x0E81..=0x0ECE | 0x0EDC..=0x0EDF => Class::Run,
        0x1000..=0x103F | 0x1050..=0x109D | 0x1780..=0x17D3 => Class::Run,
        // Kana, Bopomofo, Hangul, Han.
        0x1100..=0x11FF | 0x3005..=0x3007 | 0x3041..=0x30FF | 0x3105..=0x318E => Class::Run,
        0x31A0..=0x31BF | 0x31F0..=0x31FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF => Class::Run,
        0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFF66..=0xFF9F | 0x20000..=0x3FFFF => Class::Run,
        // Emoji.
        0x2600..=0x27BF | 0x1F1E6..=0x1F1FF | 0x1F300..=0x1FAFF => Class::Run,
        _ if c.is_alphanumeric() || is_combining_mark(c) => Class::Word,
        _ => Class::Gap,
    }
}

/// Whether a search can find this character at all.
pub fn is_findable(c: char) -> bool {
    class(c) != Class::Gap
}

/// Whether a text ends in a single character of a script without spaces, which a query means as the beginning of a
/// pair.
pub fn ends_alone(text: &str) -> bool {
    let mut last = text.chars().rev().filter(|c| class(*c) != Class::Nothing);
    last.next().map(class) == Some(Class::Run) && last.next().map(class) != Some(Class::Run)
}

/// Appends a character of a word without case, accents and compatibility form.
fn fold(c: char, word: &mut String) {
    if word.len() >= LONGEST {
        return;
    }
    if c.is_ascii() {
        word.push(c.to_ascii_lowercase());
        return;
    }
    let folded = std::iter::once(c).nfkd().flat_map(char::to_lowercase);
    word.extend(folded.filter(|c| class(*c) != Class::Nothing));
}

/// Calls `found` with every entry of a text and the bytes of the text it stands for, in order, until it says `false`.
/// Returns whether it never did.
pub fn each(
    text: &str,
    purpose: Purpose,
    mut found: impl FnMut(&str, Range<usize>) -> bool,
) -> bool {
    let mut word = String::new();
    let mut span = 0..0;
    // The last character of an open run, and whether a pair ends in it.
    let mut run: Option<(char, Range<usize>, bool)> = None;
    let mut pair = String::new();
    for (start, c) in text.char_indices() {
        let end = start + c.len_utf8();
        let class = class(c);
        if class == Class::Nothing {
            // It belongs to what it follows.
            if !word.is_empty() {
                span.end = end;
            } else if let Some((_, at, _)) = &mut run {
                at.end = end;
            }
            continue;
        }
        if class != Class::Word && !word.is_empty() {
            if !found(&word, span.clone()) {
                return false;
            }
            word.clear();
        }
        if class != Class::Run
            && let Some((last, at, _)) = run.take()
        {
            pair.clear();
            pair.push(last);
            if !found(&pair, at) {
                return false;
            }
        }
        match class {
            Class::Word => {
                if word.is_empty() {
                    span.start = start;
                }
                span.end = end;
                fold(c, &mut word);
            }
            Class::Run => {
                let paired = run.is_some();
                if let Some((last, at, _)) = run.take() {
                    pair.clear();
                    pair.extend([last, c]);
                    if !found(&pair, at.start..end) {
                        return false;
                    }
                }
                run = Some((c, start..end, paired));
            }
            Class::Nothing | Class::Gap => {}
        }
    }
    if !word.is_empty() && !found(&word, span) {
        return false;
    }
    match run {
        Some((last, at, paired)) if purpose == Purpose::Document || !paired => {
            pair.clear();
            pair.push(last);
            found(&pair, at)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(text: &str, purpose: Purpose) -> Vec<String> {
        let mut all = Vec::new();
        each(text, purpose, |entry, _| {
            all.push(entry.to_owned());
            true
        });
        all
    }

    #[test]
    fn words_lose_case_accents_and_width() {
        for (text, expected) in [
            ("Grüße, CAFÉ!", &["gruße", "cafe"][..]),
            ("cafe\u{301} soft\u{ad}hyphen", &["cafe", "softhyphen"]),
            ("Ёлка Ещё", &["елка", "еще"]),
            ("ｆｕｌｌ　①２", &["full", "12"]),
            ("don't 3.14", &["don", "t", "3", "14"]),
            ("İstanbul Kelvin\u{212a}", &["istanbul", "kelvink"]),
            ("नमस्ते", &["नमस्ते"]),
            (" \0\"*", &[]),
        ] {
            assert_eq!(entries(text, Purpose::Document), expected, "{text}");
        }
    }

    #[test]
    fn scripts_without_spaces_become_pairs() {
        for (text, document, query) in [
            ("你好吗", &["你好", "好吗", "吗"][..], &["你好", "好吗"][..]),
            ("我", &["我"], &["我"]),
            ("ดี", &["ดี", "\u{e35}"], &["ดี"]),
            (
                "iPhone手机3",
                &["iphone", "手机", "机", "3"],
                &["iphone", "手机", "机", "3"],
            ),
            ("👍🏽 ok", &["👍🏽", "🏽", "ok"], &["👍🏽", "🏽", "ok"]),
        ] {
            assert_eq!(entries(text, Purpose::Document), document, "{text}");
            assert_eq!(entries(text, Purpose::Query), query, "{text}");
        }
        assert!(ends_alone("x 我") && ends_alone("👍\u{fe0f}"));
        assert!(!ends_alone("你好") && !ends_alone("x") && !ends_alone(""));
    }

    #[test]
    fn a_word_without_end_is_cut() {
        let long = entries(&"ä".repeat(5_000), Purpose::Document);
        assert_eq!(long, ["a".repeat(LONGEST)]);
    }

    proptest! {
        #[test]
        fn ranges_are_in_order_and_on_characters(text in any::<String>()) {
            let mut last = 0;
            each(&text, Purpose::Document, |entry, range| {
                assert!(!entry.is_empty() && entry.len() <= LONGEST + 72);
                assert!(text.get(range.clone()).is_some_and(|part| !part.is_empty()));
                assert!(range.start >= last);
                last = range.start;
                true
            });
        }
    }
}
