//! `account create | restore | show | rename | delete | phrase`

use clap::Subcommand;
use sessiond_client::{
    Client, new_client_token,
    v1::{
        Account, CreateAccountRequest, DeleteAccountRequest, DeletionScope, GetAccountRequest,
        GetRecoveryPhraseRequest, RestoreAccountRequest, UpdateAccountRequest,
    },
};
use zeroize::Zeroizing;

use crate::{
    account_id::AccountId,
    context::Context,
    failure::Failure,
    format::{overview, safe},
    input,
};

/// What to do with the account.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make a new account
    Create {
        /// Name shown to others
        #[arg(long)]
        name: Option<String>,
    },
    /// Bring an account back; the recovery phrase is read from stdin
    Restore {
        /// Name shown to others
        #[arg(long)]
        name: Option<String>,
    },
    /// Show the account
    Show,
    /// Change the name shown to others
    Rename {
        /// The new name
        name: String,
    },
    /// Delete the account from this device; only the recovery phrase brings it back
    Delete {
        /// Account ID, as a confirmation
        #[arg(value_name = "ACCOUNT-ID")]
        id: AccountId,
        /// Also everything in the account's swarm, for all its devices
        ///
        /// What other devices have not fetched yet is lost, and devices with newer Session apps
        /// have to be linked anew: their keys and their group are kept there, too.
        #[arg(long)]
        network: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show the recovery phrase: whoever has it has the account
    ///
    /// On a terminal in both forms; otherwise only the 13 words, as `account restore` reads them.
    Phrase {
        /// Print it even though stdout is not a terminal
        #[arg(long)]
        yes: bool,
    },
}

pub async fn create(context: &mut Context, name: Option<String>) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = CreateAccountRequest {
        display_name: name.unwrap_or_default(),
        client_token: new_client_token()?,
    };
    let work = client.create_account(request);
    let account = context.wait("Making the account …", work).await?.account;
    print(context, account)?;
    context.progress("Write the recovery phrase down: `sessionctl account phrase` shows it.");
    Ok(())
}

pub async fn restore(context: &mut Context, name: Option<String>) -> Result<(), Failure> {
    let client = context.connect().await?;
    let phrase = input::phrase(&mut context.terminal).await?;
    let request = RestoreAccountRequest {
        // The request's own copy is out of our hands once it is encoded.
        recovery_phrase: phrase.to_string(),
        display_name: name.unwrap_or_default(),
        client_token: new_client_token()?,
    };
    let work = client.restore_account(request);
    let account = context
        .wait("Bringing the account back …", work)
        .await?
        .account;
    print(context, account)
}

pub async fn show(context: &mut Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let account = client
        .get_account(GetAccountRequest::default())
        .await?
        .account;
    print(context, account)
}

pub async fn rename(context: &mut Context, name: String) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = UpdateAccountRequest {
        account: String::new(),
        display_name: name,
    };
    let account = client.update_account(request).await?.account;
    print(context, account)
}

/// What is lost, so that whoever says yes knows to what.
const DELETE_HERE: &str = "\
This deletes the account, its messages and its keys from this device. Without the recovery phrase
nothing brings it back. Delete it?";
const DELETE_NETWORK: &str = "\
This deletes the account, its messages and its keys from this device, and everything in its swarm:
what your other devices have not fetched yet is lost, and devices with newer Session apps have to be
linked anew. Without the recovery phrase nothing brings the account back. Delete it?";

pub async fn delete(
    context: &mut Context,
    id: &AccountId,
    network: bool,
    yes: bool,
) -> Result<(), Failure> {
    let (question, scope) = if network {
        (DELETE_NETWORK, DeletionScope::DeviceAndNetwork)
    } else {
        (DELETE_HERE, DeletionScope::Device)
    };
    let client = context.connect().await?;
    if !yes {
        if network {
            newer_devices(context, &client).await;
        }
        if !input::confirmed(&mut context.terminal, question).await? {
            return Err(Failure::Usage(
                "nothing was deleted: say yes at the question, or give --yes".into(),
            ));
        }
    }
    let request = DeleteAccountRequest {
        account: id.to_string(),
        scope: scope.into(),
    };
    let answer = client.delete_account(request).await?;
    if context.json {
        return context.object("DeleteAccountResponse", &answer);
    }
    let mut text = "The account is deleted.\n".to_owned();
    if network {
        text += &format!(
            "{} of {} swarm members signed that they deleted everything.\n",
            answer.confirming_node_count, answer.asked_node_count
        );
    }
    if !answer.vault_emptied {
        text += "The vault still holds its keys; the agent empties it at its next start.\n";
    }
    context.print(&text)
}

/// Says before the question that there are devices to which it would happen. A locked account cannot tell.
async fn newer_devices(context: &mut Context, client: &Client) {
    let answer = client.get_account(GetAccountRequest::default()).await;
    let account = answer.ok().and_then(|answer| answer.account);
    let Some(warning) = account.unwrap_or_default().warnings.first().copied() else {
        return;
    };
    let seen = context.clock.date_time(warning.last_seen_time.as_ref());
    context.progress(&format!(
        "There is such a newer device: what it keeps in the swarm was last seen on {seen}."
    ));
}

pub async fn phrase(context: &mut Context, yes: bool) -> Result<(), Failure> {
    if !context.terminal.out_is_terminal && !yes {
        return Err(Failure::Usage(
            "the recovery phrase is shown on a terminal only; --yes writes it anyway, and whoever \
             can read the output then has the account"
                .into(),
        ));
    }
    let client = context.connect().await?;
    let answer = client
        .get_recovery_phrase(GetRecoveryPhraseRequest::default())
        .await?;
    if context.json {
        return context.object("GetRecoveryPhraseResponse", &answer);
    }
    let words = Zeroizing::new(answer.recovery_phrase);
    let bip39 = Zeroizing::new(answer.bip39_phrase);
    if !context.terminal.out_is_terminal {
        return context.print(&Zeroizing::new(format!("{}\n", safe::line(&words))));
    }
    context.print(&Zeroizing::new(format!(
        "13 words, for every Session app:\n  {}\nThe same as 12 BIP-39 words, for sessiond only:\n  {}\n",
        safe::line(&words),
        safe::line(&bip39),
    )))
}

fn print(context: &mut Context, account: Option<Account>) -> Result<(), Failure> {
    let account = account.ok_or(Failure::Incomplete("the account"))?;
    if context.json {
        return context.object("Account", &account);
    }
    context.print(&overview::account(&account, &context.clock))
}
