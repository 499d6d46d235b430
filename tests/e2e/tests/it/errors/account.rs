//! AccountService: phrases, names, vaults, and deleting.

use sessiond_client::{Client, v1};
use tonic::Code;

use super::{STRANGER, Table};

pub async fn phrases(client: &Client, table: &mut Table) {
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

pub async fn accounts(client: &Client, table: &mut Table) {
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

/// What changes the account as a whole, told wrongly.
pub async fn changing_the_account(client: &Client, table: &mut Table, own: &str) {
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
