//! `account create | restore | show | phrase`

use clap::Subcommand;
use sessiond_client::{
    new_client_token,
    v1::{
        Account, CreateAccountRequest, GetAccountRequest, GetRecoveryPhraseRequest,
        RestoreAccountRequest,
    },
};
use zeroize::Zeroizing;

use crate::{
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
    let account = client.create_account(request).await?.account;
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
    let account = client.restore_account(request).await?.account;
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
