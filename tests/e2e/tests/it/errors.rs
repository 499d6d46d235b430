//! Malformed input is answered, not obeyed: every call of the API with everything that is wrong about a request, and the
//! code and reason it gets.

use std::collections::BTreeSet;

use prost::Message as _;
use sessiond_client::{Client, Error, v1};
use tonic::Code;
use v1::get_conversation_request::Selector as One;
use v1::list_messages_request::Conversation as Many;

use crate::harness::{Agent, Localnet, assert_refused, send_request};

/// Notes which calls were tried, to compare with the schema.
#[derive(Default)]
struct Table {
    tried: BTreeSet<String>,
}

impl Table {
    fn expect<T: std::fmt::Debug>(
        &mut self,
        call: &str,
        what: &str,
        outcome: Result<T, Error>,
        code: Code,
        reason: &str,
    ) {
        println!("{call}: {what}");
        self.tried.insert(call.to_owned());
        assert_refused(outcome, code, reason);
    }

    /// Every call of the schema whose request has a field must be in the table.
    fn assert_complete(&self) {
        let set = prost_types::FileDescriptorSet::decode(sessiond_proto::FILE_DESCRIPTOR_SET);
        let set = set.unwrap();
        let files = || {
            set.file
                .iter()
                .filter(|file| file.package() == "sessiond.v1")
        };
        let is_empty = |name: &str| {
            let mut messages = files().flat_map(|file| &file.message_type);
            let found = messages.find(|message| name.ends_with(&format!(".{}", message.name())));
            found.expect("a known message").field.is_empty()
        };
        let all: BTreeSet<String> = files()
            .flat_map(|file| &file.service)
            .flat_map(|service| {
                let with_input = service.method.iter().filter(|m| !is_empty(m.input_type()));
                with_input.map(|method| format!("{}.{}", service.name(), method.name()))
            })
            .collect();
        assert_eq!(self.tried, all);
    }
}

/// An account that this agent does not have.
const STRANGER: &str = "05aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// What is no account ID: empty, too short, not hex, another prefix, too long.
fn malformed_ids() -> Vec<String> {
    let digits = &STRANGER[2..];
    vec![
        String::new(),
        "05aa".to_owned(),
        format!("05{}", "g".repeat(64)),
        format!("03{digits}"),
        format!("15{digits}"),
        format!("{STRANGER}a"),
        format!("05{}", "é".repeat(32)),
    ]
}

async fn subscribed(client: &Client, request: v1::SubscribeRequest) -> Result<(), Error> {
    client.events(request).next().await.unwrap().map(drop)
}

#[tokio::test]
async fn every_call_refuses_bad_input() {
    let net = Localnet::start().await;
    let agent = Agent::start(&net, "a").await;
    let client = agent.client();
    let mut table = Table::default();
    before_an_account(client, &mut table).await;
    phrases(client, &mut table).await;
    accounts(client, &mut table).await;
    let id = agent.create("a").await;
    with_an_account(client, &mut table).await;
    changing_the_account(client, &mut table, &id).await;
    let note = agent.send(&id, "note").await;
    conversations(client, &mut table, &id).await;
    changes(client, &mut table, &id).await;
    deeds(client, &mut table, &note).await;
    sending(client, &mut table, &id).await;
    listing(client, &mut table, &id, &note).await;
    searching(client, &mut table).await;
    events(client, &mut table).await;
    settings(client, &mut table).await;
    focus(client, &mut table, &note.conversation_id).await;
    table.assert_complete();

    // Nothing of all that left anything behind.
    assert_eq!(agent.messages(&id).await.len(), 1);
    let list = v1::ListConversationsRequest::default();
    let list = client.list_conversations(list).await.unwrap();
    assert_eq!(list.conversations.len(), 1);
}

/// All that needs an account says that there is none.
async fn before_an_account(client: &Client, table: &mut Table) {
    let mut none = |call: &str, outcome: Result<(), Error>| {
        table.expect(
            call,
            "no account yet",
            outcome,
            Code::NotFound,
            "NO_ACCOUNT",
        );
    };
    let outcome = client.get_account(Default::default()).await;
    none("AccountService.GetAccount", outcome.map(drop));
    let outcome = client.get_recovery_phrase(Default::default()).await;
    none("AccountService.GetRecoveryPhrase", outcome.map(drop));
    let outcome = client.update_account(Default::default()).await;
    none("AccountService.UpdateAccount", outcome.map(drop));
    let request = v1::DeleteAccountRequest {
        account: STRANGER.to_owned(),
        scope: v1::DeletionScope::Device.into(),
    };
    let outcome = client.delete_account(request).await;
    none("AccountService.DeleteAccount", outcome.map(drop));
    let outcome = client.lock(Default::default()).await;
    none("AccountService.Lock", outcome.map(drop));
    let outcome = client.unlock(Default::default()).await;
    none("AccountService.Unlock", outcome.map(drop));
    let outcome = client.get_vault(Default::default()).await;
    none("AccountService.GetVault", outcome.map(drop));
    let outcome = client.move_vault(Default::default()).await;
    none("AccountService.MoveVault", outcome.map(drop));
    let outcome = client.list_conversations(Default::default()).await;
    none("ConversationService.ListConversations", outcome.map(drop));
    let outcome = client.get_conversation(Default::default()).await;
    none("ConversationService.GetConversation", outcome.map(drop));
    let outcome = client.mark_conversation_read(Default::default()).await;
    none(
        "ConversationService.MarkConversationRead",
        outcome.map(drop),
    );
    let outcome = client.mark_conversation_unread(Default::default()).await;
    none(
        "ConversationService.MarkConversationUnread",
        outcome.map(drop),
    );
    let outcome = client.accept_conversation(Default::default()).await;
    none("ConversationService.AcceptConversation", outcome.map(drop));
    let outcome = client.decline_conversation(Default::default()).await;
    none("ConversationService.DeclineConversation", outcome.map(drop));
    let outcome = client.set_conversation_blocked(Default::default()).await;
    none(
        "ConversationService.SetConversationBlocked",
        outcome.map(drop),
    );
    let outcome = client.update_conversation(Default::default()).await;
    none("ConversationService.UpdateConversation", outcome.map(drop));
    let outcome = client.set_disappearing(Default::default()).await;
    none("ConversationService.SetDisappearing", outcome.map(drop));
    let outcome = client.set_typing(Default::default()).await;
    none("ConversationService.SetTyping", outcome.map(drop));
    let outcome = client.clear_conversation(Default::default()).await;
    none("ConversationService.ClearConversation", outcome.map(drop));
    let outcome = client.delete_message(Default::default()).await;
    none("MessageService.DeleteMessage", outcome.map(drop));
    let outcome = client.retry_message(Default::default()).await;
    none("MessageService.RetryMessage", outcome.map(drop));
    let outcome = client.cancel_message(Default::default()).await;
    none("MessageService.CancelMessage", outcome.map(drop));
    let outcome = client.set_reaction(Default::default()).await;
    none("MessageService.SetReaction", outcome.map(drop));
    let outcome = client.send_message(send_request(STRANGER, "x", "t")).await;
    none("MessageService.SendMessage", outcome.map(drop));
    let outcome = client.list_messages(Default::default()).await;
    none("MessageService.ListMessages", outcome.map(drop));
    let outcome = client.get_message(Default::default()).await;
    none("MessageService.GetMessage", outcome.map(drop));
    let outcome = subscribed(client, Default::default()).await;
    none("EventService.Subscribe", outcome);
    let outcome = client.acknowledge(Default::default()).await;
    none("EventService.Acknowledge", outcome.map(drop));
    let outcome = client.hold_focus(Default::default()).await;
    none("FocusService.HoldFocus", outcome.map(drop));
    let outcome = client.release_focus(Default::default()).await;
    none("FocusService.ReleaseFocus", outcome.map(drop));
    let outcome = client.get_settings(Default::default()).await;
    none("SettingsService.GetSettings", outcome.map(drop));
    let outcome = client.update_settings(Default::default()).await;
    none("SettingsService.UpdateSettings", outcome.map(drop));
    let outcome = client.sync(Default::default()).await;
    none("NetworkService.Sync", outcome.map(drop));
    // These answer nevertheless.
    let info = client.get_info(v1::GetInfoRequest {}).await.unwrap();
    assert_eq!(info.state(), v1::DaemonState::NoAccount);
    client
        .get_network_status(v1::GetNetworkStatusRequest {})
        .await
        .unwrap();
    client.list_paths(v1::ListPathsRequest {}).await.unwrap();
}

async fn phrases(client: &Client, table: &mut Table) {
    // The phrase of the seed of zeros: any 13 words would do.
    let good = vec!["abbey"; 13];
    let phrase = |words: &[&str]| words.join(" ");
    let with = |place: usize, word: &'static str| {
        let mut words = good.clone();
        words[place] = word;
        phrase(&words)
    };
    for (what, phrase, reason) in [
        ("no phrase", String::new(), "PHRASE_TOO_SHORT"),
        ("one word", "abbey".to_owned(), "PHRASE_TOO_SHORT"),
        ("12 words of the 13", phrase(&good[1..]), "PHRASE_TOO_SHORT"),
        ("14 words", phrase(&["abbey"; 14]), "PHRASE_TOO_LONG"),
        (
            "10,000 words",
            phrase(&vec!["abbey"; 10_000]),
            "PHRASE_TOO_LONG",
        ),
        (
            "25 words",
            phrase(&["abbey"; 25]),
            "PHRASE_UNSUPPORTED_LENGTH",
        ),
        ("an unknown word", with(3, "zzzz"), "PHRASE_INVALID_WORD"),
        ("a foreign word", with(3, "größe"), "PHRASE_OTHER_LANGUAGE"),
        (
            "a wrong checksum",
            with(12, "zesty"),
            "PHRASE_CHECKSUM_MISMATCH",
        ),
        (
            "three words that nothing gives",
            with(1, "abducts"),
            "PHRASE_OVERFLOW",
        ),
        ("an account ID", STRANGER.to_owned(), "PHRASE_NOT_A_SEED"),
    ] {
        let request = v1::RestoreAccountRequest {
            recovery_phrase: phrase,
            ..Default::default()
        };
        let outcome = client.restore_account(request).await;
        let call = "AccountService.RestoreAccount";
        table.expect(call, what, outcome, Code::InvalidArgument, reason);
    }
}

async fn accounts(client: &Client, table: &mut Table) {
    for (what, name, token, reason) in [
        (
            "a name of 101 bytes",
            "n".repeat(101),
            String::new(),
            "DISPLAY_NAME_TOO_LONG",
        ),
        (
            "a name of 51 umlauts",
            "ä".repeat(51),
            String::new(),
            "DISPLAY_NAME_TOO_LONG",
        ),
        (
            "a long token",
            String::new(),
            "t".repeat(129),
            "CLIENT_TOKEN_TOO_LONG",
        ),
    ] {
        let (display_name, client_token) = (name, token);
        let create = v1::CreateAccountRequest {
            display_name: display_name.clone(),
            client_token: client_token.clone(),
        };
        let outcome = client.create_account(create).await;
        let call = "AccountService.CreateAccount";
        table.expect(call, what, outcome, Code::InvalidArgument, reason);
        let restore = v1::RestoreAccountRequest {
            recovery_phrase: vec!["abbey"; 13].join(" "),
            display_name,
            client_token,
        };
        let outcome = client.restore_account(restore).await;
        let call = "AccountService.RestoreAccount";
        table.expect(call, what, outcome, Code::InvalidArgument, reason);
    }
}

/// There is one account, and no other.
async fn with_an_account(client: &Client, table: &mut Table) {
    let exists = (Code::FailedPrecondition, "ACCOUNT_EXISTS");
    let outcome = client.create_account(Default::default()).await;
    let call = "AccountService.CreateAccount";
    table.expect(call, "a second account", outcome, exists.0, exists.1);
    let reused = v1::CreateAccountRequest {
        display_name: "another".to_owned(),
        client_token: "create".to_owned(),
    };
    let outcome = client.create_account(reused).await;
    let (code, reason) = (Code::AlreadyExists, "CLIENT_TOKEN_REUSED");
    table.expect(call, "the token with another name", outcome, code, reason);
    let restore = v1::RestoreAccountRequest {
        recovery_phrase: vec!["abbey"; 13].join(" "),
        ..Default::default()
    };
    let outcome = client.restore_account(restore).await;
    let call = "AccountService.RestoreAccount";
    table.expect(call, "a second account", outcome, exists.0, exists.1);

    for account in [STRANGER, "nonsense"] {
        let account = || account.to_owned();
        let mut other = |call: &str, outcome: Result<(), Error>| {
            table.expect(
                call,
                "another account",
                outcome,
                Code::NotFound,
                "NO_ACCOUNT",
            );
        };
        let request = v1::GetAccountRequest { account: account() };
        let outcome = client.get_account(request).await;
        other("AccountService.GetAccount", outcome.map(drop));
        let request = v1::GetRecoveryPhraseRequest { account: account() };
        let outcome = client.get_recovery_phrase(request).await;
        other("AccountService.GetRecoveryPhrase", outcome.map(drop));
        let request = v1::UpdateAccountRequest {
            account: account(),
            display_name: "x".to_owned(),
        };
        let outcome = client.update_account(request).await;
        other("AccountService.UpdateAccount", outcome.map(drop));
        let request = v1::DeleteAccountRequest {
            account: account(),
            scope: v1::DeletionScope::Device.into(),
        };
        let outcome = client.delete_account(request).await;
        other("AccountService.DeleteAccount", outcome.map(drop));
        let outcome = client.lock(v1::LockRequest { account: account() }).await;
        other("AccountService.Lock", outcome.map(drop));
        let request = v1::UnlockRequest {
            account: account(),
            ..Default::default()
        };
        other(
            "AccountService.Unlock",
            client.unlock(request).await.map(drop),
        );
        let request = v1::GetVaultRequest { account: account() };
        let outcome = client.get_vault(request).await;
        other("AccountService.GetVault", outcome.map(drop));
        let request = v1::MoveVaultRequest {
            account: account(),
            ..Default::default()
        };
        let outcome = client.move_vault(request).await;
        other("AccountService.MoveVault", outcome.map(drop));
        let request = v1::ListConversationsRequest {
            account: account(),
            ..Default::default()
        };
        let outcome = client.list_conversations(request).await;
        other("ConversationService.ListConversations", outcome.map(drop));
        let request = v1::GetConversationRequest {
            account: account(),
            selector: None,
        };
        let outcome = client.get_conversation(request).await;
        other("ConversationService.GetConversation", outcome.map(drop));
        let request = v1::SendMessageRequest {
            account: account(),
            ..send_request(STRANGER, "x", "t")
        };
        let outcome = client.send_message(request).await;
        other("MessageService.SendMessage", outcome.map(drop));
        let request = v1::ListMessagesRequest {
            account: account(),
            ..Default::default()
        };
        let outcome = client.list_messages(request).await;
        other("MessageService.ListMessages", outcome.map(drop));
        let request = v1::GetMessageRequest {
            account: account(),
            message_id: String::new(),
        };
        let outcome = client.get_message(request).await;
        other("MessageService.GetMessage", outcome.map(drop));
        let request = v1::SubscribeRequest {
            account: account(),
            ..Default::default()
        };
        other("EventService.Subscribe", subscribed(client, request).await);
        let request = v1::AcknowledgeRequest {
            account: account(),
            ..Default::default()
        };
        let outcome = client.acknowledge(request).await;
        other("EventService.Acknowledge", outcome.map(drop));
        let outcome = client.sync(v1::SyncRequest { account: account() }).await;
        other("NetworkService.Sync", outcome.map(drop));
    }
}

/// What changes the account as a whole, told wrongly.
async fn changing_the_account(client: &Client, table: &mut Table, own: &str) {
    for (what, display_name, reason) in [
        ("no name", String::new(), "DISPLAY_NAME_EMPTY"),
        ("a name of spaces", " \t ".to_owned(), "DISPLAY_NAME_EMPTY"),
        (
            "a name of 101 bytes",
            "n".repeat(101),
            "DISPLAY_NAME_TOO_LONG",
        ),
    ] {
        let request = v1::UpdateAccountRequest {
            display_name,
            ..Default::default()
        };
        let outcome = client.update_account(request).await;
        let call = "AccountService.UpdateAccount";
        table.expect(call, what, outcome, Code::InvalidArgument, reason);
    }
    for (what, account, scope, reason) in [
        ("no scope", own, 0, "SCOPE_INVALID"),
        ("an unknown scope", own, 9, "SCOPE_INVALID"),
        ("a negative scope", own, -1, "SCOPE_INVALID"),
        ("no account named", "", 1, "ACCOUNT_NOT_NAMED"),
        ("spaces for an account", "  ", 2, "ACCOUNT_NOT_NAMED"),
    ] {
        let account = account.to_owned();
        let request = v1::DeleteAccountRequest { account, scope };
        let outcome = client.delete_account(request).await;
        let call = "AccountService.DeleteAccount";
        table.expect(call, what, outcome, Code::InvalidArgument, reason);
    }
    let long = || "p".repeat(4097);
    let request = v1::UnlockRequest {
        passphrase: long(),
        ..Default::default()
    };
    let outcome = client.unlock(request).await;
    let (call, what) = ("AccountService.Unlock", "a long passphrase");
    table.expect(
        call,
        what,
        outcome,
        Code::InvalidArgument,
        "PASSPHRASE_TOO_LONG",
    );
    let refused = Code::FailedPrecondition;
    for (what, vault, passphrase, code, reason) in [
        (
            "no vault",
            "",
            String::new(),
            Code::InvalidArgument,
            "VAULT_INVALID",
        ),
        (
            "an unknown vault",
            "Keyring",
            String::new(),
            Code::InvalidArgument,
            "VAULT_INVALID",
        ),
        (
            "a long passphrase",
            "passphrase",
            long(),
            Code::InvalidArgument,
            "PASSPHRASE_TOO_LONG",
        ),
        (
            "a passphrase for a vault without",
            "credential",
            "p".to_owned(),
            Code::InvalidArgument,
            "PASSPHRASE_NOT_TAKEN",
        ),
        (
            "an empty passphrase",
            "passphrase",
            "\n".to_owned(),
            refused,
            "PASSPHRASE_NEEDED",
        ),
        (
            "no credential",
            "credential",
            String::new(),
            refused,
            "CREDENTIAL_MISSING",
        ),
    ] {
        let request = v1::MoveVaultRequest {
            account: String::new(),
            vault: vault.to_owned(),
            passphrase,
        };
        let outcome = client.move_vault(request).await;
        table.expect("AccountService.MoveVault", what, outcome, code, reason);
    }
    let vault = client.get_vault(Default::default()).await.unwrap();
    assert_eq!(
        (
            vault.vault.as_str(),
            vault.leftover_vault.as_str(),
            vault.problem.as_str()
        ),
        ("passphrase", "", ""),
        "after all that was refused"
    );
}

async fn conversations(client: &Client, table: &mut Table, own: &str) {
    let call = "ConversationService.ListConversations";
    for (what, page_size, page_token, reason) in [
        ("a negative page", -1, "", "PAGE_SIZE_INVALID"),
        ("a token of nobody's", 0, "nonsense", "PAGE_TOKEN_INVALID"),
        ("a token of spaces", 0, "   ", "PAGE_TOKEN_INVALID"),
    ] {
        let request = v1::ListConversationsRequest {
            page_size,
            page_token: page_token.to_owned(),
            ..Default::default()
        };
        let outcome = client.list_conversations(request).await;
        table.expect(call, what, outcome, Code::InvalidArgument, reason);
    }
    let call = "ConversationService.GetConversation";
    let ask = async |selector| {
        let account = String::new();
        client
            .get_conversation(v1::GetConversationRequest { account, selector })
            .await
    };
    let invalid = Code::InvalidArgument;
    table.expect(
        call,
        "no selector",
        ask(None).await,
        invalid,
        "SELECTOR_MISSING",
    );
    for id in malformed_ids() {
        let outcome = ask(Some(One::AccountId(id.clone()))).await;
        table.expect(
            call,
            &format!("with {id:?}"),
            outcome,
            invalid,
            "INVALID_ACCOUNT_ID",
        );
    }
    for selector in [
        One::AccountId(STRANGER.to_owned()),
        One::ConversationId(String::new()),
        One::ConversationId("nonsense".to_owned()),
        One::ConversationId(own.to_owned()),
    ] {
        let what = format!("{selector:?}");
        let outcome = ask(Some(selector)).await;
        table.expect(
            call,
            &what,
            outcome,
            Code::NotFound,
            "CONVERSATION_NOT_FOUND",
        );
    }
}

/// A call that names a conversation refuses what names none.
macro_rules! refuses_selectors {
    ($client:ident, $table:ident, $call:literal, $method:ident, $module:ident, $request:ident) => {{
        use v1::$module::Selector;
        let call = concat!("ConversationService.", $call);
        let malformed = malformed_ids().into_iter().map(|id| {
            let selector = Some(Selector::AccountId(id));
            (selector, Code::InvalidArgument, "INVALID_ACCOUNT_ID")
        });
        let unknown = [
            Selector::AccountId(STRANGER.to_owned()),
            Selector::ConversationId("nonsense".to_owned()),
        ]
        .map(|selector| (Some(selector), Code::NotFound, "CONVERSATION_NOT_FOUND"));
        let none = (None, Code::InvalidArgument, "SELECTOR_MISSING");
        for (selector, code, reason) in malformed.chain(unknown).chain([none]) {
            let what = format!("{selector:?}");
            let request = v1::$request {
                selector,
                ..Default::default()
            };
            let outcome = $client.$method(request).await;
            $table.expect(call, &what, outcome, code, reason);
        }
    }};
}

/// What changes a conversation.
async fn changes(client: &Client, table: &mut Table, own: &str) {
    refuses_selectors!(
        client,
        table,
        "MarkConversationRead",
        mark_conversation_read,
        mark_conversation_read_request,
        MarkConversationReadRequest
    );
    refuses_selectors!(
        client,
        table,
        "MarkConversationUnread",
        mark_conversation_unread,
        mark_conversation_unread_request,
        MarkConversationUnreadRequest
    );
    refuses_selectors!(
        client,
        table,
        "AcceptConversation",
        accept_conversation,
        accept_conversation_request,
        AcceptConversationRequest
    );
    refuses_selectors!(
        client,
        table,
        "DeclineConversation",
        decline_conversation,
        decline_conversation_request,
        DeclineConversationRequest
    );
    refuses_selectors!(
        client,
        table,
        "SetConversationBlocked",
        set_conversation_blocked,
        set_conversation_blocked_request,
        SetConversationBlockedRequest
    );
    refuses_selectors!(
        client,
        table,
        "SetTyping",
        set_typing,
        set_typing_request,
        SetTypingRequest
    );
    refuses_selectors!(
        client,
        table,
        "SetDisappearing",
        set_disappearing,
        set_disappearing_request,
        SetDisappearingRequest
    );
    timers(client, table, own).await;
    updates(client, table, own).await;
    let foreign = v1::MarkConversationReadRequest {
        selector: Some(v1::mark_conversation_read_request::Selector::AccountId(
            own.to_owned(),
        )),
        up_to_message_id: "nonsense".to_owned(),
        ..Default::default()
    };
    table.expect(
        "ConversationService.MarkConversationRead",
        "an unknown message",
        client.mark_conversation_read(foreign).await,
        Code::NotFound,
        "MESSAGE_NOT_FOUND",
    );
    // Note to self is with nobody who could be accepted, declined or blocked.
    let impossible = Code::FailedPrecondition;
    let accept = v1::AcceptConversationRequest {
        selector: Some(v1::accept_conversation_request::Selector::AccountId(
            own.to_owned(),
        )),
        ..Default::default()
    };
    table.expect(
        "ConversationService.AcceptConversation",
        "oneself",
        client.accept_conversation(accept).await,
        impossible,
        "NOT_POSSIBLE",
    );
    let decline = v1::DeclineConversationRequest {
        selector: Some(v1::decline_conversation_request::Selector::AccountId(
            own.to_owned(),
        )),
        ..Default::default()
    };
    table.expect(
        "ConversationService.DeclineConversation",
        "oneself",
        client.decline_conversation(decline).await,
        impossible,
        "NOT_POSSIBLE",
    );
    let block = v1::SetConversationBlockedRequest {
        selector: Some(v1::set_conversation_blocked_request::Selector::AccountId(
            own.to_owned(),
        )),
        blocked: true,
        ..Default::default()
    };
    table.expect(
        "ConversationService.SetConversationBlocked",
        "oneself",
        client.set_conversation_blocked(block).await,
        impossible,
        "NOT_POSSIBLE",
    );
}

/// Timers that nobody offers, and one that note to self cannot have.
async fn timers(client: &Client, table: &mut Table, own: &str) {
    for (mode, seconds, code, reason) in [
        (2, 1, Code::InvalidArgument, "TIMER_INVALID"),
        (2, 300, Code::InvalidArgument, "TIMER_INVALID"),
        (0, 43_200, Code::InvalidArgument, "TIMER_INVALID"),
        (3, 43_200, Code::InvalidArgument, "TIMER_INVALID"),
        (1, 43_200, Code::FailedPrecondition, "NOT_POSSIBLE"),
    ] {
        let setting = Some(v1::DisappearingSetting {
            mode,
            timer: Some(prost_types::Duration { seconds, nanos: 0 }),
        });
        let request = v1::SetDisappearingRequest {
            selector: Some(v1::set_disappearing_request::Selector::AccountId(
                own.to_owned(),
            )),
            setting,
            ..Default::default()
        };
        let outcome = client.set_disappearing(request).await;
        let call = "ConversationService.SetDisappearing";
        table.expect(call, &format!("{mode}, {seconds}"), outcome, code, reason);
        let mut request = send_request(own, "note", "expiring");
        request.disappearing = setting;
        let outcome = client.send_message(request).await;
        let call = "MessageService.SendMessage";
        table.expect(call, &format!("{mode}, {seconds}"), outcome, code, reason);
    }
}

/// What the user sets for a conversation, and clearing it.
async fn updates(client: &Client, table: &mut Table, own: &str) {
    let call = "ConversationService.UpdateConversation";
    let long = v1::Conversation {
        nickname: "n".repeat(101),
        ..Default::default()
    };
    let impossible = v1::Conversation {
        hidden: true,
        pin_priority: 1,
        notify_mode: 9,
        mute_until_time: Some(prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        }),
        ..Default::default()
    };
    let far = v1::Conversation {
        pin_priority: u32::MAX,
        ..Default::default()
    };
    for (conversation, fields, reason) in [
        (&far, vec![], "UPDATE_MASK_EMPTY"),
        (&far, vec!["blocked"], "UPDATE_MASK_UNKNOWN_FIELD"),
        (&far, vec!["pin_priority"], "CONVERSATION_INVALID"),
        (&long, vec!["nickname"], "NICKNAME_TOO_LONG"),
        (&impossible, vec!["notify_mode"], "CONVERSATION_INVALID"),
        (&impossible, vec!["mute_until_time"], "CONVERSATION_INVALID"),
        (
            &impossible,
            vec!["hidden", "pin_priority"],
            "CONVERSATION_INVALID",
        ),
    ] {
        let request = v1::UpdateConversationRequest {
            selector: Some(v1::update_conversation_request::Selector::AccountId(
                own.to_owned(),
            )),
            conversation: Some(conversation.clone()),
            update_mask: Some(prost_types::FieldMask {
                paths: fields.iter().map(|&field| field.to_owned()).collect(),
            }),
            ..Default::default()
        };
        let outcome = client.update_conversation(request).await;
        let what = format!("{fields:?}");
        table.expect(call, &what, outcome, Code::InvalidArgument, reason);
    }
    let stranger = v1::UpdateConversationRequest {
        selector: Some(v1::update_conversation_request::Selector::AccountId(
            STRANGER.to_owned(),
        )),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["hidden".to_owned()],
        }),
        ..Default::default()
    };
    table.expect(
        call,
        "nobody",
        client.update_conversation(stranger).await,
        Code::NotFound,
        "CONVERSATION_NOT_FOUND",
    );
    for (account, with, code, reason) in [
        ("", own, Code::InvalidArgument, "ACCOUNT_NOT_NAMED"),
        (STRANGER, own, Code::NotFound, "NO_ACCOUNT"),
        (own, STRANGER, Code::NotFound, "CONVERSATION_NOT_FOUND"),
        (own, "05", Code::InvalidArgument, "INVALID_ACCOUNT_ID"),
    ] {
        let request = v1::ClearConversationRequest {
            account: account.to_owned(),
            selector: Some(v1::clear_conversation_request::Selector::AccountId(
                with.to_owned(),
            )),
        };
        let outcome = client.clear_conversation(request).await;
        let call = "ConversationService.ClearConversation";
        table.expect(call, &format!("{account}, {with}"), outcome, code, reason);
    }
}

/// What is done to a message.
async fn deeds(client: &Client, table: &mut Table, note: &v1::Message) {
    let call = "MessageService.DeleteMessage";
    for (id, scope, code, reason) in [
        (&*note.id, 0, Code::InvalidArgument, "SCOPE_MISSING"),
        (&*note.id, 9, Code::InvalidArgument, "SCOPE_MISSING"),
        ("nonsense", 1, Code::NotFound, "MESSAGE_NOT_FOUND"),
        ("", 3, Code::NotFound, "MESSAGE_NOT_FOUND"),
    ] {
        let request = v1::DeleteMessageRequest {
            message_id: id.to_owned(),
            scope,
            ..Default::default()
        };
        let outcome = client.delete_message(request).await;
        table.expect(call, &format!("{id}, {scope}"), outcome, code, reason);
    }
    let call = "MessageService.SetReaction";
    for (id, emoji, code, reason) in [
        (&*note.id, "", Code::InvalidArgument, "EMOJI_INVALID"),
        (&*note.id, "no", Code::InvalidArgument, "EMOJI_INVALID"),
        ("nonsense", "👍", Code::NotFound, "MESSAGE_NOT_FOUND"),
    ] {
        let request = v1::SetReactionRequest {
            message_id: id.to_owned(),
            emoji: emoji.to_owned(),
            ..Default::default()
        };
        let outcome = client.set_reaction(request).await;
        table.expect(call, &format!("{id}, {emoji:?}"), outcome, code, reason);
    }
    // The note is stored, or waits: it did not fail. An unknown one does neither.
    let call = "MessageService.RetryMessage";
    for (id, code, reason) in [
        (&*note.id, Code::FailedPrecondition, "NOT_POSSIBLE"),
        ("nonsense", Code::NotFound, "MESSAGE_NOT_FOUND"),
    ] {
        let request = v1::RetryMessageRequest {
            message_id: id.to_owned(),
            ..Default::default()
        };
        table.expect(call, id, client.retry_message(request).await, code, reason);
    }
    let request = v1::CancelMessageRequest {
        message_id: "nonsense".to_owned(),
        ..Default::default()
    };
    table.expect(
        "MessageService.CancelMessage",
        "nothing",
        client.cancel_message(request).await,
        Code::NotFound,
        "MESSAGE_NOT_FOUND",
    );
}

async fn sending(client: &Client, table: &mut Table, own: &str) {
    let call = "MessageService.SendMessage";
    for id in malformed_ids() {
        let outcome = client.send_message(send_request(&id, "x", "t")).await;
        let reason = "INVALID_ACCOUNT_ID";
        table.expect(
            call,
            &format!("to {id:?}"),
            outcome,
            Code::InvalidArgument,
            reason,
        );
    }
    let without_text = v1::SendMessageRequest {
        text: None,
        ..send_request(own, "", "t")
    };
    for (what, request, reason) in [
        ("no text", without_text, "BODY_EMPTY"),
        ("an empty text", send_request(own, "", "t"), "BODY_EMPTY"),
        ("spaces", send_request(own, " \n\t ", "t"), "BODY_EMPTY"),
        (
            "2,001 letters",
            send_request(own, &"x".repeat(2_001), "t"),
            "BODY_TOO_LONG",
        ),
        (
            "2,001 faces",
            send_request(own, &"😀".repeat(2_001), "t"),
            "BODY_TOO_LONG",
        ),
        (
            "no token",
            send_request(own, "x", ""),
            "CLIENT_TOKEN_MISSING",
        ),
        (
            "a long token",
            send_request(own, "x", &"t".repeat(129)),
            "CLIENT_TOKEN_TOO_LONG",
        ),
    ] {
        let outcome = client.send_message(request).await;
        table.expect(call, what, outcome, Code::InvalidArgument, reason);
    }
    let rich = |quote: &str, url: &str, title: &str| {
        let mut request = send_request(own, "see https://a.example/", "t");
        let text = request.text.as_mut().unwrap();
        if quote.is_empty() {
            text.preview = Some(v1::LinkPreview {
                url: url.to_owned(),
                title: title.to_owned(),
            });
        } else {
            text.quote = Some(v1::Quote {
                message_id: quote.to_owned(),
                ..Default::default()
            });
        }
        request
    };
    for (what, request) in [
        (
            "a preview of another page",
            rich("", "https://b.example/", "B"),
        ),
        (
            "a preview without a title",
            rich("", "https://a.example/", ""),
        ),
        ("a preview of no https page", rich("", "a.example", "A")),
    ] {
        let outcome = client.send_message(request).await;
        let reason = "PREVIEW_INVALID";
        table.expect(call, what, outcome, Code::InvalidArgument, reason);
    }
    table.expect(
        call,
        "a quote of nothing",
        client.send_message(rich("nonsense", "", "")).await,
        Code::NotFound,
        "MESSAGE_NOT_FOUND",
    );
    // More than the socket takes at all is refused, too, and the connection lives on.
    let huge = client
        .send_message(send_request(own, &"x".repeat(2 << 20), "t"))
        .await;
    assert_eq!(huge.unwrap_err().code(), Code::OutOfRange);
}

async fn listing(client: &Client, table: &mut Table, own: &str, note: &v1::Message) {
    let call = "MessageService.ListMessages";
    let own = || Some(Many::AccountId(own.to_owned()));
    let invalid = Code::InvalidArgument;
    let list = async |request| client.list_messages(request).await;
    let outcome = list(v1::ListMessagesRequest::default()).await;
    table.expect(call, "no selector", outcome, invalid, "SELECTOR_MISSING");
    for id in malformed_ids() {
        let request = v1::ListMessagesRequest {
            conversation: Some(Many::AccountId(id.clone())),
            ..Default::default()
        };
        let outcome = list(request).await;
        table.expect(
            call,
            &format!("with {id:?}"),
            outcome,
            invalid,
            "INVALID_ACCOUNT_ID",
        );
    }
    for selector in [
        Many::AccountId(STRANGER.to_owned()),
        Many::ConversationId("nonsense".to_owned()),
    ] {
        let what = format!("{selector:?}");
        let request = v1::ListMessagesRequest {
            conversation: Some(selector),
            ..Default::default()
        };
        let outcome = list(request).await;
        table.expect(
            call,
            &what,
            outcome,
            Code::NotFound,
            "CONVERSATION_NOT_FOUND",
        );
    }
    let negative = v1::ListMessagesRequest {
        conversation: own(),
        page_size: -1,
        ..Default::default()
    };
    let outcome = list(negative).await;
    table.expect(
        call,
        "a negative page",
        outcome,
        invalid,
        "PAGE_SIZE_INVALID",
    );
    for token in ["nonsense", "AQAAAAAAAAAAAAAAAAAAAAA"] {
        let request = v1::ListMessagesRequest {
            conversation: own(),
            page_token: token.to_owned(),
            ..Default::default()
        };
        let outcome = list(request).await;
        table.expect(
            call,
            "a token of another list",
            outcome,
            invalid,
            "PAGE_TOKEN_INVALID",
        );
    }
    let anchored = v1::ListMessagesRequest {
        conversation: own(),
        anchor_message_id: "nonsense".to_owned(),
        ..Default::default()
    };
    let outcome = list(anchored).await;
    table.expect(
        call,
        "an unknown anchor",
        outcome,
        Code::NotFound,
        "MESSAGE_NOT_FOUND",
    );
    for id in ["", "nonsense", &note.conversation_id] {
        let request = v1::GetMessageRequest {
            account: String::new(),
            message_id: id.to_owned(),
        };
        let outcome = client.get_message(request).await;
        let call = "MessageService.GetMessage";
        table.expect(call, id, outcome, Code::NotFound, "MESSAGE_NOT_FOUND");
        let request = v1::ExplainMessageRequest {
            account: String::new(),
            message_id: id.to_owned(),
        };
        let outcome = client.explain_message(request).await;
        let call = "MessageService.ExplainMessage";
        table.expect(call, id, outcome, Code::NotFound, "MESSAGE_NOT_FOUND");
    }
}

async fn searching(client: &Client, table: &mut Table) {
    use v1::search_messages_request::Conversation as Within;
    let call = "MessageService.SearchMessages";
    let invalid = Code::InvalidArgument;
    let note = || v1::SearchMessagesRequest {
        query: "note".to_owned(),
        ..Default::default()
    };
    for query in ["", " \t\n", "\0", "\"", "*()\":^+-{}", "\u{301}"] {
        let request = v1::SearchMessagesRequest {
            query: query.to_owned(),
            ..note()
        };
        let outcome = client.search_messages(request).await;
        let what = format!("nothing to find: {query:?}");
        table.expect(call, &what, outcome, invalid, "QUERY_EMPTY");
    }
    let long = v1::SearchMessagesRequest {
        query: "é".repeat(257),
        ..note()
    };
    let outcome = client.search_messages(long).await;
    table.expect(call, "257 letters", outcome, invalid, "QUERY_TOO_LONG");
    for id in malformed_ids() {
        let request = v1::SearchMessagesRequest {
            conversation: Some(Within::AccountId(id.clone())),
            ..note()
        };
        let outcome = client.search_messages(request).await;
        let what = format!("within {id:?}");
        table.expect(call, &what, outcome, invalid, "INVALID_ACCOUNT_ID");
    }
    for within in [
        Within::AccountId(STRANGER.to_owned()),
        Within::ConversationId(String::new()),
        Within::ConversationId("nonsense".to_owned()),
    ] {
        let what = format!("{within:?}");
        let request = v1::SearchMessagesRequest {
            conversation: Some(within),
            ..note()
        };
        let outcome = client.search_messages(request).await;
        let reason = "CONVERSATION_NOT_FOUND";
        table.expect(call, &what, outcome, Code::NotFound, reason);
    }
    let negative = v1::SearchMessagesRequest {
        page_size: -1,
        ..note()
    };
    let outcome = client.search_messages(negative).await;
    table.expect(
        call,
        "a negative page",
        outcome,
        invalid,
        "PAGE_SIZE_INVALID",
    );
    // The second is of this list, but of another query.
    for token in ["nonsense", "BAAAAAAAAAAAAAAAAAAAAAA"] {
        let request = v1::SearchMessagesRequest {
            page_token: token.to_owned(),
            ..note()
        };
        let outcome = client.search_messages(request).await;
        table.expect(call, token, outcome, invalid, "PAGE_TOKEN_INVALID");
    }
}

async fn events(client: &Client, table: &mut Table) {
    let invalid = Code::InvalidArgument;
    let long = "n".repeat(65);
    for name in ["two words", "größe", "a/b", &long] {
        let request = v1::SubscribeRequest {
            subscriber: name.to_owned(),
            ..Default::default()
        };
        let outcome = subscribed(client, request).await;
        table.expect(
            "EventService.Subscribe",
            name,
            outcome,
            invalid,
            "SUBSCRIBER_INVALID",
        );
    }
    let call = "EventService.Acknowledge";
    let acknowledge = async |name: &str, cursor: &str| {
        let request = v1::AcknowledgeRequest {
            account: String::new(),
            subscriber: name.to_owned(),
            cursor: cursor.to_owned(),
        };
        client.acknowledge(request).await
    };
    for name in ["", "two words", &long] {
        let outcome = acknowledge(name, "").await;
        table.expect(call, name, outcome, invalid, "SUBSCRIBER_INVALID");
    }
    for cursor in ["", "nonsense", "AAAA"] {
        let outcome = acknowledge("name", cursor).await;
        table.expect(call, cursor, outcome, invalid, "CURSOR_INVALID");
    }
    for cursor in ["nonsense", "AAAA"] {
        let request = v1::SubscribeRequest {
            after_cursor: cursor.to_owned(),
            ..Default::default()
        };
        let outcome = subscribed(client, request).await;
        table.expect(
            "EventService.Subscribe",
            cursor,
            outcome,
            invalid,
            "CURSOR_INVALID",
        );
    }
    // Well-formed, but of a log that is not this one.
    let foreign = "AAAAAAAAAAAAAAAAAAAAAA";
    let outcome = acknowledge("name", foreign).await;
    table.expect(
        call,
        "another log",
        outcome,
        Code::OutOfRange,
        "LOG_REPLACED",
    );
}

async fn settings(client: &Client, table: &mut Table) {
    let update = async |paths: &[&str], settings: v1::Settings| {
        let request = v1::UpdateSettingsRequest {
            account: String::new(),
            settings: Some(settings),
            update_mask: Some(prost_types::FieldMask {
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            }),
        };
        client.update_settings(request).await
    };
    let call = "SettingsService.UpdateSettings";
    let invalid = Code::InvalidArgument;
    let unknown = v1::Settings {
        read_receipts: true,
        notify_mode: 77,
        ..Default::default()
    };
    let outcome = update(&[], unknown).await;
    table.expect(call, "no mask", outcome, invalid, "UPDATE_MASK_EMPTY");
    let outcome = update(&["read_receipts", "colour"], unknown).await;
    table.expect(
        call,
        "no such setting",
        outcome,
        invalid,
        "UPDATE_MASK_UNKNOWN_FIELD",
    );
    let outcome = update(&["read_receipts", "notify_mode"], unknown).await;
    table.expect(call, "no such value", outcome, invalid, "SETTING_INVALID");
    let now = client.get_settings(Default::default()).await.unwrap();
    assert_eq!(
        now.settings,
        Some(v1::Settings::default()),
        "nothing was changed"
    );
}

async fn focus(client: &Client, table: &mut Table, conversation: &str) {
    let hold = async |conversation: &str, lease: &str, seconds: i64| {
        let request = v1::HoldFocusRequest {
            account: String::new(),
            conversation_id: conversation.to_owned(),
            lease: lease.to_owned(),
            duration: Some(prost_types::Duration { seconds, nanos: 0 }),
        };
        client.hold_focus(request).await
    };
    let call = "FocusService.HoldFocus";
    for seconds in [i64::MIN, -1, 0, 61, i64::MAX] {
        let outcome = hold(conversation, "", seconds).await;
        let what = format!("{seconds} seconds");
        table.expect(
            call,
            &what,
            outcome,
            Code::InvalidArgument,
            "FOCUS_DURATION_INVALID",
        );
    }
    let outcome = hold("nonsense", "", 30).await;
    table.expect(
        call,
        "no such conversation",
        outcome,
        Code::NotFound,
        "CONVERSATION_NOT_FOUND",
    );
    hold(conversation, "", 30).await.unwrap();
    let outcome = hold(conversation, "another", 30).await;
    table.expect(
        call,
        "another's lease",
        outcome,
        Code::FailedPrecondition,
        "FOCUS_HELD_BY_OTHER",
    );
}

/// A page token belongs to the order it was given in.
#[tokio::test]
async fn a_page_token_belongs_to_one_order() {
    let net = Localnet::start().await;
    let (agent, id) = Agent::with_account(&net, "a").await;
    for number in 0..3 {
        agent.send(&id, &number.to_string()).await;
    }
    let request = |order: v1::ListOrder, page_token: String| v1::ListMessagesRequest {
        conversation: Some(Many::AccountId(id.clone())),
        page_size: 1,
        page_token,
        order: order.into(),
        ..Default::default()
    };
    let (newest, oldest) = (v1::ListOrder::NewestFirst, v1::ListOrder::OldestFirst);
    let page = agent
        .client()
        .list_messages(request(newest, String::new()))
        .await;
    let token = page.unwrap().next_page_token;
    agent
        .client()
        .list_messages(request(newest, token.clone()))
        .await
        .unwrap();
    let other = agent
        .client()
        .list_messages(request(oldest, token.clone()))
        .await;
    assert_refused(other, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    let list = v1::ListConversationsRequest {
        page_token: token,
        ..Default::default()
    };
    let other = agent.client().list_conversations(list).await;
    assert_refused(other, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
}
