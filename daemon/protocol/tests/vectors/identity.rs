//! Accounts and recovery phrases.

use session_protocol::phrase::{self, PhraseError};
use session_protocol::{AccountKeys, AccountSeed};

use crate::support::{Case, Report};

const OTHER_LANGUAGE: &str = "in a language other than English";

/// Languages whose lists this project does not have (protocol document README, decision 7).
const OTHERS: [&str; 3] = ["japanese", "portuguese", "spanish"];

pub fn check(case: &Case<'_>, report: &mut Report) {
    match case.kind() {
        Some("account") => {
            account(case);
            report.pass();
            let phrases = case.value("mnemonics").as_object().expect("phrases");
            for language in phrases.keys().filter(|language| *language != "english") {
                assert!(
                    OTHERS.contains(&language.as_str()),
                    "unknown language {language}"
                );
                report.skip(OTHER_LANGUAGE);
            }
        }
        Some("account_seed32") => {
            keys_match(case, &case.keys("seed32"));
            report.pass();
        }
        Some("invalid_phrase" | "tolerated_phrase" | "sanitize")
            if case.text("language") != "english" =>
        {
            let language = case.text("language");
            assert!(OTHERS.contains(&language), "unknown language {language}");
            report.skip(OTHER_LANGUAGE);
        }
        Some("invalid_phrase") => {
            invalid(case);
            report.pass();
        }
        Some("tolerated_phrase" | "sanitize") => {
            assert_eq!(decoded(case.text("phrase")), case.array("seed16"));
            report.pass();
        }
        other => panic!("unknown type {other:?}"),
    }
}

fn account(case: &Case<'_>) {
    let seed = AccountSeed::from_bytes(case.array("seed16"));
    assert_eq!(*seed.ed25519_seed(), case.array("seed32"));
    let keys = AccountKeys::from_seed(&seed);
    keys_match(case, &keys);
    let ed25519_sk = [*seed.ed25519_seed(), keys.ed25519_public()].concat();
    assert_eq!(ed25519_sk, case.bytes("ed25519_sk"));
    let english = case.object("mnemonics").text("english");
    assert_eq!(*phrase::encode(&seed), english);
    assert_eq!(decoded(english), case.array("seed16"));
}

fn keys_match(case: &Case<'_>, keys: &AccountKeys) {
    assert_eq!(keys.ed25519_public(), case.array("ed25519_pk"));
    assert_eq!(keys.x25519_public(), case.array("x25519_pk"));
    assert_eq!(keys.x25519_secret().to_bytes(), case.array("x25519_sk"));
    assert_eq!(keys.account_id().to_string(), case.text("account_id"));
}

fn invalid(case: &Case<'_>) {
    let error = phrase::decode(case.text("phrase")).err().expect("an error");
    let expected = match error {
        PhraseError::TooShort { .. } => "too_short",
        PhraseError::TooLong { .. } => "too_long",
        PhraseError::InvalidWord(_) => "invalid_word",
        PhraseError::ChecksumMismatch => "bad_checksum",
        PhraseError::Overflow(_) => "invalid_value",
        other => panic!("{other:?}"),
    };
    assert_eq!(expected, case.text("expected_error"));
}

fn decoded(text: &str) -> [u8; 16] {
    match phrase::decode(text) {
        Ok(seed) => *seed.as_bytes(),
        Err(error) => panic!("{error}"),
    }
}
