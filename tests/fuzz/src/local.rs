//! What comes from this machine: tokens and queries of frontends, files that somebody wrote, and text of others on its way to
//! a terminal or a notification.

use std::path::PathBuf;

use session_network::Proxy;
use sessionctl::format::safe;
use sessiond::api::page::Token;
use sessiond::events::Cursor;
use sessiond::notify::decide::Shown;
use sessiond::notify::text::{self, Names, Subject};
use sessiond::store::words::{self, Purpose};
use sessiond::vault::VaultRecord;
use sessiond_config::{Config, KEYS};

/// Longest entry of the search index: what counts of a word, and one character with all that it is folded into.
const ENTRY: usize = 128 + 72;

/// A cursor of the event log, or a page token, that a frontend gives back.
pub fn api_token(data: &[u8]) {
    let Ok(given) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(cursor) = Cursor::decode(given) {
        assert!(cursor.seq >= 0);
        assert_eq!(cursor.encode(), given, "only one spelling is read");
    }
    let lists = (0..=u8::MAX).filter_map(|list| {
        let place = Token::decode(given, list).ok()??;
        assert_eq!(Token { list, place }.encode(), given);
        Some(list)
    });
    assert!(lists.count() <= 1, "a token is of one list");
}

/// A text that is to be found, or a query.
pub fn search_words(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for purpose in [Purpose::Document, Purpose::Query] {
        let mut last = 0;
        let through = words::each(&text, purpose, |entry, range| {
            assert!(!entry.is_empty() && entry.len() <= ENTRY);
            assert!(text.get(range.clone()).is_some_and(|part| !part.is_empty()));
            assert!(range.start >= last);
            last = range.start;
            true
        });
        assert!(through);
    }
    let findable = text.chars().any(words::is_findable);
    if words::ends_alone(&text) {
        assert!(findable);
    }
}

/// Nobody is known.
struct Nobody;

impl Names for Nobody {
    fn name(&self, _: &str) -> Option<String> {
        None
    }
}

/// Text of others on a terminal and in a notification.
pub fn shown_text(data: &[u8]) {
    let given = String::from_utf8_lossy(data);
    let harmless = |text: &str| !text.chars().any(safe::is_hazard);
    assert!(harmless(&safe::line(&given)));
    assert!(safe::lines(&given).all(|line| harmless(&line)));
    let short = safe::short(&given, 20);
    assert!(harmless(&short) && short.chars().count() <= 20);

    let title = text::title(&given, "", "05");
    for markup in [false, true] {
        let words = text::conversation(
            &title,
            Subject::Reaction(&given),
            2,
            Shown::Text,
            &Nobody,
            markup,
        );
        for text in [&words.summary, &words.body] {
            assert!(!text.chars().any(char::is_control));
            assert!(text.chars().count() <= 5 * 301 + 16);
        }
        assert!(!markup || !words.body.contains(['<', '>']));
    }
}

/// The configuration file, a proxy's URL and login, and the record of a vault.
pub fn local_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(config) = Config::parse(&text, PathBuf::from("config.toml")) {
        for key in KEYS {
            if let Some(value) = config.get(key) {
                assert!(key.check(&value).is_ok(), "what was read fits");
            }
        }
    }
    if let Ok(proxy) = Proxy::from_url(&text) {
        assert!(!proxy.host().is_empty() && proxy.port() != 0);
        let _ = proxy.with_login(&text);
    }
    if let Ok(record) = VaultRecord::decode(data) {
        assert_eq!(record.encode().as_slice(), data);
    }
}
