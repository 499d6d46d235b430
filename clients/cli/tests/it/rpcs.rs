//! Every call of the API has a command that makes it.
//!
//! The descriptors that the schema's crate carries say which calls there are: one without a row here fails the test, and
//! so does a row whose command does not make the call.

use std::collections::BTreeMap;

use prost::Message as _;

use crate::{
    fake::{BOB, ME, PHRASE},
    stage::Stage,
};

/// A call, what of the agent's state its command needs, the command, and what it reads.
type Row = (&'static str, State, &'static [&'static str], &'static str);

#[derive(Clone, Copy, PartialEq)]
enum State {
    Ready,
    NoAccount,
}

use State::{NoAccount, Ready};

#[rustfmt::skip] // a row a line
const ROWS: &[Row] = &[
    ("AccountService/CreateAccount", NoAccount, &["account", "create"], ""),
    ("AccountService/RestoreAccount", NoAccount, &["account", "restore"], PHRASE),
    ("AccountService/GetAccount", Ready, &["account", "show"], ""),
    ("AccountService/GetRecoveryPhrase", Ready, &["account", "phrase", "--yes"], ""),
    ("AccountService/UpdateAccount", Ready, &["account", "rename", "Alicia"], ""),
    ("AccountService/DeleteAccount", Ready, &["account", "delete", ME, "--yes"], ""),
    ("AccountService/Lock", Ready, &["lock"], ""),
    ("AccountService/Unlock", Ready, &["unlock", "--passphrase"], "a passphrase"),
    ("AccountService/GetVault", Ready, &["vault", "status"], ""),
    ("AccountService/MoveVault", Ready, &["vault", "move", "keyring"], ""),
    ("ConversationService/ListConversations", Ready, &["conversations"], ""),
    ("ConversationService/GetConversation", Ready, &["conversation", BOB], ""),
    ("ConversationService/MarkConversationRead", Ready, &["read", BOB], ""),
    ("ConversationService/MarkConversationUnread", Ready, &["unread", BOB], ""),
    ("ConversationService/AcceptConversation", Ready, &["accept", BOB], ""),
    ("ConversationService/DeclineConversation", Ready, &["decline", BOB, "--block"], ""),
    ("ConversationService/SetConversationBlocked", Ready, &["block", BOB], ""),
    ("ConversationService/UpdateConversation", Ready, &["set", BOB, "--nickname", "Bobby", "--mute", "8h"], ""),
    ("ConversationService/ClearConversation", Ready, &["clear", BOB, "--yes"], ""),
    ("MessageService/DeleteMessage", Ready, &["delete", "m1", "--from", "everyone"], ""),
    ("ConversationService/SetDisappearing", Ready, &["expire", BOB, "5m-after-read"], ""),
    ("ConversationService/SetTyping", Ready, &["typing", BOB], ""),
    ("MessageService/RetryMessage", Ready, &["retry", "m1"], ""),
    ("MessageService/CancelMessage", Ready, &["cancel", "m1"], ""),
    ("MessageService/SetReaction", Ready, &["react", "m1", "👍"], ""),
    ("MessageService/SendMessage", Ready, &["send", BOB, "hi"], ""),
    ("MessageService/ListMessages", Ready, &["messages", BOB], ""),
    ("MessageService/GetMessage", Ready, &["message", "m1"], ""),
    ("MessageService/SearchMessages", Ready, &["search", "hello"], ""),
    ("MessageService/ExplainMessage", Ready, &["explain", "m1"], ""),
    ("MessageService/ReportMediaSaved", Ready, &["saved", "m1"], ""),
    ("CallService/SendCallSignal", Ready, &["call", BOB, "pre-offer"], ""),
    ("EventService/Subscribe", Ready, &["events"], ""),
    ("EventService/Acknowledge", Ready, &["events", "--as", "robot"], ""),
    ("NetworkService/GetNetworkStatus", Ready, &["status"], ""),
    ("NetworkService/ListPaths", Ready, &["paths"], ""),
    ("NetworkService/Sync", Ready, &["sync"], ""),
    ("FocusService/HoldFocus", Ready, &["focus", "hold", BOB], ""),
    ("FocusService/ReleaseFocus", Ready, &["focus", "release", BOB, "l1"], ""),
    ("SettingsService/GetSettings", Ready, &["settings", "show"], ""),
    ("SettingsService/UpdateSettings", Ready, &["settings", "set", "read-receipts=on"], ""),
    ("DaemonService/GetHealth", Ready, &["doctor"], ""),
    ("DaemonService/GetMetrics", Ready, &["metrics"], ""),
    ("DaemonService/GetInfo", Ready, &["version"], ""),
    ("DaemonService/Shutdown", Ready, &["shutdown"], ""),
];

fn calls_of_the_schema() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(sessiond_proto::FILE_DESCRIPTOR_SET).unwrap();
    let ours = set.file.iter().filter(|f| f.package() == "sessiond.v1");
    ours.flat_map(|file| &file.service)
        .flat_map(|s| {
            s.method
                .iter()
                .map(|m| format!("{}/{}", s.name(), m.name()))
        })
        .collect()
}

#[test]
fn every_call_has_a_command() {
    let mut rows: BTreeMap<&str, &Row> = ROWS.iter().map(|row| (row.0, row)).collect();
    assert_eq!(rows.len(), ROWS.len(), "two rows for one call");
    let calls = calls_of_the_schema();
    assert!(!calls.is_empty());
    for call in calls {
        let (_, state, command, input) = rows
            .remove(call.as_str())
            .unwrap_or_else(|| panic!("{call}: no command, or no row in this table"));
        let stage = Stage::new();
        if *state == NoAccount {
            stage.fake.change(|w| w.account = None);
        } else {
            stage.fake.receive("m1", "hello");
        }
        let outcome = stage.run_with_input(command, input.as_bytes());
        let made = stage.fake.change(|w| w.calls.clone());
        let path = format!("/sessiond.v1.{call}");
        assert!(
            made.contains(&path),
            "{command:?} made {made:?}: {outcome:?}"
        );
        // The fake has no path to sync over, and its last poll was in 2023, which `doctor` finds.
        let unwell = ["NetworkService/Sync", "DaemonService/GetHealth"].contains(&&*call);
        let reason = i32::from(unwell);
        assert_eq!(outcome.code, Some(reason), "{command:?}: {outcome:?}");
    }
    assert!(rows.is_empty(), "calls that are gone: {:?}", rows.keys());
}
