//! Entry points of foreign bytes, one function each.
//!
//! A function takes any bytes and must return: a panic, an overflow, much memory or much time is a finding. Where a
//! reader promises more (what it reads can be written and read again; a limit), that is checked too. libFuzzer calls the
//! functions in `libfuzzer/`; the seeds in `corpus/NAME/`, and every input that once was a finding, run as ordinary
//! tests, each also cut and damaged.

#[cfg(feature = "local")]
mod local;
mod messages;
mod network;
mod text;

/// A target: name of its folder and of its binary, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// What comes from the network, or from people.
const FOREIGN: &[Target] = &[
    ("storage_answer", network::storage_answer),
    ("onion_answer", network::onion_answer),
    ("onion_frame", network::onion_frame),
    ("seed_answer", network::seed_answer),
    ("node_list", network::node_list),
    ("network_file", network::network_file),
    ("namespace_0", messages::namespace_0),
    ("content", messages::content),
    ("group_message", messages::group_message),
    ("decompress", messages::decompress),
    ("kicked_notice", messages::kicked_notice),
    ("version_2", messages::version_2),
    ("bencode", text::bencode),
    ("recovery_phrase", text::recovery_phrase),
    ("body", text::body),
];

/// What comes from this machine.
#[cfg(feature = "local")]
const LOCAL: &[Target] = &[
    ("api_token", local::api_token),
    ("search_words", local::search_words),
    ("shown_text", local::shown_text),
    ("local_file", local::local_file),
];

#[cfg(not(feature = "local"))]
const LOCAL: &[Target] = &[];

/// All targets.
pub fn targets() -> impl Iterator<Item = &'static Target> {
    FOREIGN.iter().chain(LOCAL)
}

/// The function of a target.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    targets()
        .find(|(known, _)| *known == name)
        .map(|(_, function)| *function)
}
