//! Recovery phrases: a seed as 13 words of Session's scheme, or as 12 words of BIP-39.
//!
//! Promises: a phrase made here opens the same account in the official apps (13 words). The form is told by the
//! number of words alone and never guessed across. No error holds a word of the input, and phrases, words and
//! seeds in buffers of this module are wiped.
//!
//! Facts: messages.md 1.5 (scheme, tolerance, errors), 1.6 (BIP-39 form). The word list is public data, that of
//! Monero; `build.rs` checks its digest.

use std::sync::LazyLock;

use bip39::{Language, Mnemonic};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use crate::identity::AccountSeed;

/// Words of the Session form: twelve and a checksum.
pub const SESSION_WORDS: usize = 13;

/// Words of the BIP-39 form.
pub const BIP39_WORDS: usize = 12;

/// Letters that tell the words of the list apart.
const PREFIX: usize = 3;

/// Length of the list.
const N: u32 = 1626;

/// Words of an input that are looked at; further ones are only counted.
const MAX_WORDS: usize = 26;

static ENGLISH: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("../wordlists/english.txt").lines().collect());

/// Why text is no recovery phrase. Indices count words from 0; messages count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// Fewer than 12 words, or 12 that are no BIP-39 phrase.
    #[error("{}", too_short(*words, *twelve))]
    TooShort {
        /// Words in the input.
        words: usize,
        /// Both readings of exactly 12 words.
        twelve: Option<TwelveWords>,
    },
    /// More than 13 words.
    #[error("a recovery phrase has 13 words, this one has {words}")]
    TooLong {
        /// Words in the input.
        words: usize,
    },
    /// 24 or 25 words: a seed of 32 bytes, which no current client makes (messages.md 1.1).
    #[error(
        "unsupported recovery phrase length: {words} words stand for a longer seed than accounts have; 13 are needed"
    )]
    UnsupportedLength {
        /// Words in the input.
        words: usize,
    },
    /// This word is not in the English list.
    #[error("word {} is not in the list of English recovery words", .0 + 1)]
    InvalidWord(usize),
    /// This word has letters that no English word has.
    #[error("word {} is not English; only English recovery phrases are supported", .0 + 1)]
    OtherLanguage(usize),
    /// The words are known, but the last one does not fit the others.
    #[error("the words do not fit together: one of them is wrong, or two are swapped")]
    ChecksumMismatch,
    /// Three words that no seed gives.
    #[error("the words do not fit together: words {} to {} stand for no part of a seed", .0 * 3 + 1, .0 * 3 + 3)]
    Overflow(usize),
    /// Hex digits: a key or an account ID.
    #[error("this is a key or an account ID, not a recovery phrase of 13 words")]
    NotASeed,
}

/// What is wrong with 12 words, under each of the two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwelveWords {
    /// As a Session phrase without its last word: the first word that is not in Session's list, if any.
    pub session: Option<usize>,
    /// As a BIP-39 phrase.
    pub bip39: Bip39Error,
}

/// Why 12 words are no BIP-39 phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bip39Error {
    /// This word, counted from 0, is not in BIP-39's English list.
    #[error("word {} is not in its English list", .0 + 1)]
    InvalidWord(usize),
    /// A word is wrong, or two are swapped.
    #[error("the words do not fit together")]
    ChecksumMismatch,
}

impl PhraseError {
    /// Short UPPER_SNAKE name for the API.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooShort { .. } => "TOO_SHORT",
            Self::TooLong { .. } => "TOO_LONG",
            Self::UnsupportedLength { .. } => "UNSUPPORTED_LENGTH",
            Self::InvalidWord(_) => "INVALID_WORD",
            Self::OtherLanguage(_) => "OTHER_LANGUAGE",
            Self::ChecksumMismatch => "CHECKSUM_MISMATCH",
            Self::Overflow(_) => "OVERFLOW",
            Self::NotASeed => "NOT_A_SEED",
        }
    }
}

fn too_short(words: usize, twelve: Option<TwelveWords>) -> String {
    let Some(TwelveWords { session, bip39 }) = twelve else {
        return format!("a recovery phrase has 13 words, this one has {words}");
    };
    let session = match session {
        None => "its last word is missing".into(),
        Some(index) => format!(
            "its last word is missing and word {} is not in the list",
            index + 1
        ),
    };
    format!(
        "12 words are no Session recovery phrase, which has 13: {session}; nor are they a BIP-39 phrase: {bip39}"
    )
}

/// The 13 words of a seed, separated by single spaces.
pub fn encode(seed: &AccountSeed) -> Zeroizing<String> {
    let mut indices = Zeroizing::new([0_u32; SESSION_WORDS]);
    let (groups, _) = seed.as_bytes().as_chunks::<4>();
    for (group, triple) in groups.iter().zip(indices.chunks_exact_mut(3)) {
        let x = u32::from_le_bytes(*group);
        triple[0] = x % N;
        triple[1] = (x / N + triple[0]) % N;
        triple[2] = (x / N / N + triple[1]) % N;
    }
    indices[SESSION_WORDS - 1] = indices[checksum_position(&indices)];
    join(indices.iter().map(|index| ENGLISH[*index as usize]))
}

/// The seed as 12 words of BIP-39, which official apps do not read. The seed is BIP-39's entropy.
pub fn encode_bip39(seed: &AccountSeed) -> Zeroizing<String> {
    match Mnemonic::from_entropy_in(Language::English, seed.as_bytes()) {
        Ok(mnemonic) => join(mnemonic.words()),
        // 16 bytes are one of the lengths that BIP-39 knows.
        Err(_) => Zeroizing::default(),
    }
}

/// Reads a phrase as a person pasted it: 13 words are Session's form, 12 words BIP-39's.
pub fn decode(text: &str) -> Result<AccountSeed, PhraseError> {
    let normalised = normalise(text);
    let words = words(&normalised);
    match words.len() {
        BIP39_WORDS => from_bip39(&words),
        SESSION_WORDS => from_session(&words),
        _ => Err(wrong_number(text)),
    }
}

/// Reads a 12-word BIP-39 phrase and nothing else.
pub fn decode_bip39(text: &str) -> Result<AccountSeed, PhraseError> {
    let normalised = normalise(text);
    let words = words(&normalised);
    match words.len() {
        BIP39_WORDS => from_bip39(&words),
        SESSION_WORDS => Err(PhraseError::TooLong {
            words: SESSION_WORDS,
        }),
        _ => Err(wrong_number(text)),
    }
}

fn wrong_number(text: &str) -> PhraseError {
    let trimmed = text.trim();
    if trimmed.len() >= 32 && trimmed.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return PhraseError::NotASeed;
    }
    // Counted again without the limit on kept words.
    let words = split(&normalise(text)).count();
    match words {
        24 | 25 => PhraseError::UnsupportedLength { words },
        0..=BIP39_WORDS => PhraseError::TooShort {
            words,
            twelve: None,
        },
        _ => PhraseError::TooLong { words },
    }
}

fn from_session(words: &[&str]) -> Result<AccountSeed, PhraseError> {
    let mut indices = Zeroizing::new([0_u32; SESSION_WORDS]);
    for (position, (word, index)) in words.iter().zip(indices.iter_mut()).enumerate() {
        *index = find(word).ok_or_else(|| unknown(position, word))?;
    }
    let n = u64::from(N);
    let mut seed = Zeroizing::new([0; 16]);
    let (groups, _) = seed.as_chunks_mut::<4>();
    for (position, (group, triple)) in groups.iter_mut().zip(indices.chunks_exact(3)).enumerate() {
        let [w1, w2, w3] = [triple[0], triple[1], triple[2]].map(u64::from);
        let x = w1 + n * ((n - w1 + w2) % n) + n * n * ((n - w2 + w3) % n);
        let x = u32::try_from(x).map_err(|_| PhraseError::Overflow(position))?;
        *group = x.to_le_bytes();
    }
    if indices[SESSION_WORDS - 1] != indices[checksum_position(&indices)] {
        return Err(PhraseError::ChecksumMismatch);
    }
    Ok(AccountSeed::from_bytes(*seed))
}

fn from_bip39(words: &[&str]) -> Result<AccountSeed, PhraseError> {
    if let Some(position) = words.iter().position(|word| !word.is_ascii()) {
        return Err(PhraseError::OtherLanguage(position));
    }
    let refused = |bip39| PhraseError::TooShort {
        words: words.len(),
        twelve: Some(TwelveWords {
            session: words.iter().position(|word| find(word).is_none()),
            bip39,
        }),
    };
    let joined = join(words.iter().copied());
    let mnemonic = Mnemonic::parse_in_normalized(Language::English, &joined).map_err(|error| {
        refused(match error {
            bip39::Error::UnknownWord(position) => Bip39Error::InvalidWord(position),
            _ => Bip39Error::ChecksumMismatch,
        })
    })?;
    let (entropy, length) = mnemonic.to_entropy_array();
    let entropy = Zeroizing::new(entropy);
    match entropy.first_chunk::<16>() {
        Some(seed) if length == 16 => Ok(AccountSeed::from_bytes(*seed)),
        _ => Err(refused(Bip39Error::ChecksumMismatch)),
    }
}

/// Position of the word that the thirteenth repeats.
fn checksum_position(indices: &[u32; SESSION_WORDS]) -> usize {
    let mut crc = crc32fast::Hasher::new();
    for index in &indices[..SESSION_WORDS - 1] {
        crc.update(prefix(ENGLISH[*index as usize]).as_bytes());
    }
    (crc.finalize() % 12) as usize
}

/// The first letters of a word; `""` for one that has fewer.
fn prefix(word: &str) -> &str {
    word.char_indices()
        .nth(PREFIX - 1)
        .map_or("", |(start, last)| &word[..start + last.len_utf8()])
}

/// Index of the list's word with the same prefix.
fn find(word: &str) -> Option<u32> {
    let wanted = prefix(word);
    let index = ENGLISH
        .binary_search_by(|listed| prefix(listed).cmp(wanted))
        .ok()?;
    u32::try_from(index).ok()
}

fn unknown(position: usize, word: &str) -> PhraseError {
    if word.is_ascii() {
        PhraseError::InvalidWord(position)
    } else {
        PhraseError::OtherLanguage(position)
    }
}

/// NFKC and lower case. The length is counted first, so that no outgrown buffer is left behind unwiped.
fn normalise(text: &str) -> Zeroizing<String> {
    let characters = || text.nfkc().flat_map(char::to_lowercase);
    let length = characters().map(char::len_utf8).sum();
    let mut normalised = Zeroizing::new(String::with_capacity(length));
    normalised.extend(characters());
    normalised
}

fn split(normalised: &str) -> impl Iterator<Item = &str> {
    normalised
        .split(|character: char| !character.is_alphabetic())
        .filter(|word| !word.is_empty())
}

fn words(normalised: &str) -> Vec<&str> {
    split(normalised).take(MAX_WORDS).collect()
}

fn join<'a>(words: impl Iterator<Item = &'a str> + Clone) -> Zeroizing<String> {
    let length = words.clone().map(|word| word.len() + 1).sum();
    let mut joined = Zeroizing::new(String::with_capacity(length));
    for word in words {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(word);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seed(hex_text: &str) -> AccountSeed {
        let mut bytes = [0; 16];
        hex::decode_to_slice(hex_text, &mut bytes).unwrap();
        AccountSeed::from_bytes(bytes)
    }

    fn error(text: &str) -> PhraseError {
        decode(text).err().unwrap()
    }

    /// The table of messages.md 12.2.
    const TABLE: [(&str, &str, &str); 5] = [
        (
            "00000000000000000000000000000000",
            "abbey abbey abbey abbey abbey abbey abbey abbey abbey abbey abbey abbey abbey",
            "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
        ),
        (
            "ffffffffffffffffffffffffffffffff",
            "foamy solved soggy foamy solved soggy foamy solved soggy foamy solved soggy solved",
            "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong",
        ),
        (
            "000102030405060708090a0b0c0d0e0f",
            "amaze buffet cake entrance symptoms tiger lamb maze nestle python dusted faxed faxed",
            "abandon amount liar amount expire adjust cage candy arch gather drum buyer",
        ),
        (
            "0123456789abcdef0123456789abcdef",
            "vexed enjoy pigment films adept voted vexed enjoy pigment films adept voted adept",
            "abuse boss fly battle rubber wasp afraid hamster guide essence vibrant tattoo",
        ),
        (
            "39038c8988db02c1af44e8c847bd9713",
            "puffin luxury annoyed rustled memoir faxed smidgen puddle kiwi nylon utopia zinger kiwi",
            "",
        ),
    ];

    #[test]
    fn both_forms_agree_with_the_documents_table() {
        for (hex_seed, session, bip39) in TABLE {
            let seed = seed(hex_seed);
            assert_eq!(*encode(&seed), session);
            assert_eq!(decode(session).ok().unwrap().as_bytes(), seed.as_bytes());
            if !bip39.is_empty() {
                assert_eq!(*encode_bip39(&seed), bip39);
                assert_eq!(decode(bip39).ok().unwrap().as_bytes(), seed.as_bytes());
                assert_eq!(
                    decode_bip39(bip39).ok().unwrap().as_bytes(),
                    seed.as_bytes()
                );
            }
        }
    }

    #[test]
    fn the_list_is_complete_and_its_prefixes_are_unique_and_sorted() {
        assert_eq!(ENGLISH.len(), N as usize);
        assert!(ENGLISH.iter().all(|word| !prefix(word).is_empty()));
        assert!(
            ENGLISH
                .windows(2)
                .all(|pair| prefix(pair[0]) < prefix(pair[1]))
        );
    }

    #[test]
    fn pasted_text_is_tolerated() {
        let (hex_seed, session, bip39) = TABLE[2];
        let numbered: String = session
            .split(' ')
            .enumerate()
            .map(|(index, word)| format!("{}. {}\r\n", index + 1, word.to_uppercase()))
            .collect();
        let wide: String = session
            .chars()
            .map(|c| match c {
                ' ' => '\u{3000}',
                c => char::from_u32(c as u32 + 0xfee0).unwrap(),
            })
            .collect();
        let cut: Vec<&str> = session.split(' ').map(|word| &word[..3]).collect();
        let quoted = format!("\u{201c}{bip39}\u{201d}\n");
        for text in [numbered, wide, cut.join("-"), quoted] {
            assert_eq!(
                decode(&text).ok().unwrap().as_bytes(),
                seed(hex_seed).as_bytes()
            );
        }
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let (_, session, bip39) = TABLE[2];
        let twelve = session.rsplit_once(' ').unwrap().0;
        let expected = PhraseError::TooShort {
            words: 12,
            twelve: Some(TwelveWords {
                session: None,
                bip39: Bip39Error::InvalidWord(0),
            }),
        };
        assert_eq!(error(twelve), expected);
        assert_eq!(
            expected.to_string(),
            "12 words are no Session recovery phrase, which has 13: its last word is missing; nor are they a \
             BIP-39 phrase: word 1 is not in its English list"
        );
        let swapped = bip39.replace("abandon amount", "amount abandon");
        assert!(matches!(
            error(&swapped),
            PhraseError::TooShort {
                twelve: Some(TwelveWords {
                    bip39: Bip39Error::ChecksumMismatch,
                    ..
                }),
                ..
            }
        ));
        assert_eq!(error("").reason(), "TOO_SHORT");
        assert_eq!(
            error(&format!("{session} abbey")),
            PhraseError::TooLong { words: 14 }
        );
        let long = vec!["abbey"; 1000].join(" ");
        assert_eq!(error(&long), PhraseError::TooLong { words: 1000 });
        for words in [24, 25] {
            let text = vec!["abbey"; words].join(" ");
            assert_eq!(error(&text), PhraseError::UnsupportedLength { words });
        }
        assert_eq!(
            error(&session.replace("tiger", "xx")),
            PhraseError::InvalidWord(5)
        );
        assert_eq!(
            error(&session.replace("tiger", "ти\u{433}р")),
            PhraseError::OtherLanguage(5)
        );
        assert_eq!(
            error(&session.replace("tiger", "abbey")).reason(),
            "CHECKSUM_MISMATCH"
        );
        let overflow =
            "abbey abbey abbey zoom zones zombie zoom zones zombie zoom zones zombie zones";
        assert_eq!(error(overflow), PhraseError::Overflow(1));
        assert_eq!(error(&"05".repeat(33)), PhraseError::NotASeed);
        assert_eq!(decode_bip39(session).err().unwrap().reason(), "TOO_LONG");
    }

    proptest! {
        #[test]
        fn every_seed_survives_both_forms(bytes: [u8; 16]) {
            let seed = AccountSeed::from_bytes(bytes);
            prop_assert_eq!(*decode(&encode(&seed)).ok().unwrap().as_bytes(), bytes);
            prop_assert_eq!(*decode(&encode_bip39(&seed)).ok().unwrap().as_bytes(), bytes);
        }

        #[test]
        fn any_text_gets_an_answer(text: String) {
            let _ = decode(&text);
            let _ = decode_bip39(&text);
        }

        #[test]
        fn listed_words_give_a_seed_or_an_error_that_names_no_word(picked in prop::collection::vec(0_usize..1626, 0..27)) {
            let text = join(picked.iter().map(|index| ENGLISH[*index]));
            match decode(&text) {
                Ok(seed) if picked.len() == 13 => prop_assert_eq!(encode(&seed), text),
                Ok(_) => prop_assert_eq!(picked.len(), 12),
                Err(error) => prop_assert_ne!(error, PhraseError::NotASeed),
            }
        }
    }
}
