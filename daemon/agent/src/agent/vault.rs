//! Which vault holds the account, and moving it to another one.
//!
//! At every instant at least one vault opens the account, and after the next start exactly one. The row in `daemon.db`
//! says which one is in charge and which other one may hold the record, too:
//!
//! | step | in charge | leftover | record in |
//! | --- | --- | --- | --- |
//! | before | old | | old |
//! | 1 the new one is noted | old | new | old |
//! | 2 the record is written and read back | old | new | old, new |
//! | 3 the new one is put in charge, in one statement | new | old | old, new |
//! | 4 the old one is emptied | new | old | new |
//! | 5 and forgotten | new | | new |
//!
//! Whatever opens the account next empties the leftover: before step 3 that takes the move back, after it that ends it.

use std::sync::Arc;

use super::{Agent, AgentError, kind};
use crate::store::daemon_db::AccountRow;
use crate::vault::{Ask, Passphrase, VaultError, VaultKind};

/// How the vault stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultStatus {
    /// In charge; for a new account when there is none.
    pub vault: VaultKind,
    /// Another one that still has to be emptied.
    pub leftover: Option<VaultKind>,
    /// Why it would not open the account now, UPPER_SNAKE; empty when it would.
    pub problem: &'static str,
}

impl Agent {
    /// The vault in charge of the account; without an account, the one that a new account gets.
    pub async fn vault(&self) -> Result<VaultKind, AgentError> {
        match self.daemon_db.account().await? {
            Some(row) => kind(&row),
            None => Ok(self.new_vault),
        }
    }

    /// Looks whether the vault would open the account now; asks nobody for a password.
    pub async fn vault_status(&self) -> Result<VaultStatus, AgentError> {
        let row = self.daemon_db.account().await?;
        let row = row.ok_or(AgentError::NoAccount)?;
        let vault = kind(&row)?;
        let loaded = self.vaults.load(vault, &row.handle, None, Ask::Nobody);
        Ok(VaultStatus {
            vault,
            leftover: leftover(&row),
            problem: loaded.await.err().map_or("", |error| error.reason()),
        })
    }

    /// Moves the account to another vault, or seals the same file with another passphrase.
    pub async fn move_vault(
        &self,
        to: VaultKind,
        passphrase: Option<Passphrase>,
    ) -> Result<(), AgentError> {
        let _one_at_a_time = self.change().await?;
        let account = self.account().await?;
        let row = self.daemon_db.account().await?;
        let row = row.ok_or(AgentError::NoAccount)?;
        let record = account.record();
        if kind(&row)? == to {
            let stored = self
                .vaults
                .store(to, &row.handle, record, passphrase, Ask::User);
            return Ok(stored.await?);
        }
        // What an earlier move left somewhere else would be forgotten.
        if leftover(&row).is_some_and(|leftover| leftover != to) {
            self.empty_leftover(&row, Ask::User).await?;
        }
        self.daemon_db.begin_move(&row.handle, to.name()).await?;
        let copied = async {
            let stored = self
                .vaults
                .store(to, &row.handle, record, passphrase.clone(), Ask::User);
            stored.await?;
            let back = self
                .vaults
                .load(to, &row.handle, passphrase, Ask::User)
                .await?;
            if back.encode() == record.encode() {
                Ok(())
            } else {
                Err(VaultError::BadRecord("it reads back as another one"))
            }
        };
        if let Err(error) = copied.await {
            if let Ok(Some(row)) = self.daemon_db.account().await
                && let Err(error) = self.empty_leftover(&row, Ask::Nobody).await
            {
                tracing::warn!(%error, "a vault entry that nobody needs stays until the next start");
            }
            return Err(error.into());
        }
        self.daemon_db.finish_move(&row.handle, to.name()).await?;
        if let Some(row) = self.daemon_db.account().await?
            && let Err(error) = self.empty_leftover(&row, Ask::User).await
        {
            tracing::warn!(%error, "the vault before still holds the keys; it is emptied at the next start");
        }
        Ok(())
    }

    /// Empties the vault that is not in charge. The account must be open, or its record known to be elsewhere.
    pub(super) async fn empty_leftover(
        &self,
        row: &AccountRow,
        ask: Ask,
    ) -> Result<(), AgentError> {
        if let Some(leftover) = leftover(row)
            && leftover != kind(row)?
        {
            self.vaults.remove(leftover, &row.handle, ask).await?;
        }
        Ok(self.daemon_db.forget_leftover(&row.handle).await?)
    }

    /// As [`Agent::empty_leftover`], beside the work of an agent that has just opened the account.
    pub(super) async fn empty_leftover_beside(self: Arc<Self>) {
        let mut stop = self.stop_signal();
        let work = async {
            let _one_at_a_time = self.change().await?;
            match self.daemon_db.account().await? {
                Some(row) => self.empty_leftover(&row, Ask::Nobody).await,
                None => Ok(()),
            }
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "a vault that is not in charge still holds the keys; it is emptied at the next start");
        }
    }
}

fn leftover(row: &AccountRow) -> Option<VaultKind> {
    row.leftover_vault.as_deref().and_then(VaultKind::of_name)
}
