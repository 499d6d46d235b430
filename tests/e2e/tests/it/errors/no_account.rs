//! Every call that needs an account, asked while there is none, or for another than there is.

use sessiond_client::{Client, Error, v1};
use tonic::Code;

use super::{STRANGER, Table, subscribed};
use crate::harness::send_request;

/// All that needs an account says that there is none.
pub async fn before_an_account(client: &Client, table: &mut Table) {
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
    let outcome = client.report_media_saved(Default::default()).await;
    none("MessageService.ReportMediaSaved", outcome.map(drop));
    let outcome = client.send_call_signal(Default::default()).await;
    none("CallService.SendCallSignal", outcome.map(drop));
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

/// There is one account, and no other.
pub async fn with_an_account(client: &Client, table: &mut Table) {
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
