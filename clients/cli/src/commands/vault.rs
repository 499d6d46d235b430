//! `lock`, `unlock`, `vault status | move`

use clap::{Subcommand, ValueEnum};
use sessiond_client::v1::{
    GetInfoRequest, GetVaultRequest, LockResponse, MoveVaultRequest, UnlockRequest,
};

use crate::{
    context::Context,
    failure::Failure,
    format::{overview, safe},
    input,
};

/// What to do with the vault.
#[derive(Debug, Subcommand)]
pub enum VaultCommand {
    /// Show where the keys are kept, and whether they would be given now
    Status,
    /// Move the keys, or seal them with another passphrase
    Move {
        /// Where to
        to: VaultKind,
        /// Read the new passphrase from stdin; otherwise the agent's passphrase file has it
        #[arg(long)]
        passphrase: bool,
    },
}

/// Kinds of vaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VaultKind {
    /// The desktop's keyring
    Keyring,
    /// A file sealed with a passphrase
    Passphrase,
    /// A file sealed with the systemd credential sessiond.passphrase
    Credential,
}

pub async fn lock(context: &mut Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    client.lock_and_wait().await?;
    if context.json {
        return context.object("LockResponse", &LockResponse::default());
    }
    context.print("Locked. Nothing is fetched or sent until `sessionctl unlock`.\n")
}

pub async fn unlock(context: &mut Context, ask: bool) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut request = UnlockRequest::default();
    // Only where the agent has no passphrase of its own, or its own is wrong.
    let needed = async || -> Result<bool, Failure> {
        let info = client.get_info(GetInfoRequest::default()).await?;
        if info.vault != "passphrase" {
            return Ok(false);
        }
        let vault = client.get_vault(GetVaultRequest::default()).await?;
        Ok(matches!(
            vault.problem.as_str(),
            "PASSPHRASE_NEEDED" | "WRONG_PASSPHRASE" | "VAULT_IO"
        ))
    };
    if ask || needed().await? {
        let text = input::passphrase(&mut context.terminal, "Passphrase").await?;
        // The request's own copy is out of our hands once it is encoded.
        request.passphrase = text.to_string();
    }
    let answer = client.unlock(request).await?;
    if context.json {
        return context.object("UnlockResponse", &answer);
    }
    let account = answer.account.ok_or(Failure::Incomplete("the account"))?;
    let text = overview::account(&account, &context.clock);
    context.print(&text)
}

pub async fn status(context: &mut Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let answer = client.get_vault(GetVaultRequest::default()).await?;
    if context.json {
        return context.object("GetVaultResponse", &answer);
    }
    let mut text = format!("Vault     {}\n", safe::line(&answer.vault));
    if !answer.leftover_vault.is_empty() {
        text += &format!(
            "Leftover  {}, emptied at the next start\n",
            safe::line(&answer.leftover_vault)
        );
    }
    text += &match answer.problem.as_str() {
        "" => "Opens     yes\n".to_owned(),
        problem => format!("Opens     no ({})\n", safe::line(problem)),
    };
    context.print(&text)
}

pub async fn move_to(context: &mut Context, to: VaultKind, ask: bool) -> Result<(), Failure> {
    let client = context.connect().await?;
    let vault = match to {
        VaultKind::Keyring => "keyring",
        VaultKind::Passphrase => "passphrase",
        VaultKind::Credential => "credential",
    };
    let mut request = MoveVaultRequest {
        vault: vault.to_owned(),
        ..MoveVaultRequest::default()
    };
    if ask {
        let text = input::passphrase(&mut context.terminal, "New passphrase").await?;
        if context.terminal.in_is_terminal {
            let again = input::passphrase(&mut context.terminal, "New passphrase again").await?;
            if again != text {
                return Err(Failure::Usage("the two passphrases differ".into()));
            }
        }
        request.passphrase = text.to_string();
    }
    let answer = client.move_vault(request).await?;
    if context.json {
        return context.object("MoveVaultResponse", &answer);
    }
    context.print(&format!("The keys are in the {vault} vault now.\n"))
}
