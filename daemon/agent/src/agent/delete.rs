//! Deleting the account, here or from the network, too (messages.md 8.9).
//!
//! From the network first: when the swarm does not do it, nothing is deleted here and the account goes on. Then the row
//! says `deleting`, and from that moment on the account is gone whatever happens: what is left of it is removed at the
//! next start. Other devices of the account keep what they have.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use session_network::NetworkError;

use session_protocol::Identifier;
use session_protocol::storage::signed::NamespaceSelector;
use session_protocol::storage::{answer, request, verify};

use super::lock::Locked;
use super::{Agent, AgentError, State};
use crate::events::EndReason;
use crate::store::account_db::{self, AccountDb};
use crate::store::daemon_db::AccountRow;
use crate::sync::Context;
use crate::vault::{Ask, VaultKind};

/// What is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionScope {
    /// Everything on this device.
    ThisDevice,
    /// Also everything that the own swarm holds, in all namespaces.
    DeviceAndNetwork,
}

/// What a deletion came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Swarm members that signed that they deleted everything, and members that were asked.
    pub members: (usize, usize),
    /// Whether the vault gave its entry up; otherwise it is asked again at the next start.
    pub vault_emptied: bool,
}

impl Agent {
    /// Deletes the account with this ID.
    pub async fn delete_account(
        self: &Arc<Self>,
        account_id: &str,
        scope: DeletionScope,
    ) -> Result<Deleted, AgentError> {
        let _one_at_a_time = self.change().await?;
        let account = self.account().await?;
        if !account.meta().account_id.eq_ignore_ascii_case(account_id) {
            return Err(AgentError::OtherAccount);
        }
        let row = self.daemon_db.account().await?;
        let row = row.ok_or(AgentError::NoAccount)?;
        // Nothing may be stored after the swarm was cleared.
        *self.state.write().await = State::Locked(Locked::while_deleting(self.now_ms()));
        account.end(EndReason::Stopping);
        self.close_account(&account).await;
        let members = match scope {
            DeletionScope::ThisDevice => (0, 0),
            DeletionScope::DeviceAndNetwork => {
                match self.delete_from_swarm(account.context()).await {
                    Ok(members) => members,
                    Err(error) => {
                        drop(self.enter_or_lock(&row, account.record().clone()).await);
                        return Err(AgentError::NotDeleted(error));
                    }
                }
            }
        };
        if let Err(error) = self.daemon_db.begin_deletion(&row.handle).await {
            drop(self.enter_or_lock(&row, account.record().clone()).await);
            return Err(error.into());
        }
        *self.state.write().await = State::NoAccount;
        let cleaned = self.clean_up(&row, Ask::User).await;
        if let Err(error) = &cleaned {
            tracing::warn!(%error, "what is left of the account is removed at the next start");
        }
        Ok(Deleted {
            members,
            vault_emptied: cleaned.is_ok(),
        })
    }

    /// `delete_all` over all namespaces. At least one member must have signed for it (network.md 4.6).
    async fn delete_from_swarm(&self, context: &Context) -> Result<(usize, usize), NetworkError> {
        let keys = &*context.keys;
        let owner = Identifier::from(keys.account_id());
        let time = AtomicU64::new(0);
        let make = |timestamp| {
            time.store(timestamp, Ordering::Relaxed);
            request::delete_all(keys, NamespaceSelector::All, timestamp)
        };
        let isolation = context.isolation;
        let asked = self.network.swarm_request(isolation, &owner, &make);
        let reply = asked.await?;
        let told = answer::members("delete_all", &reply.body);
        let told = told.map_err(|_| NetworkError::Malformed)?;
        let known: HashSet<[u8; 32]> = reply.members.into_iter().collect();
        let time = time.load(Ordering::Relaxed);
        let confirmed = verify::delete_all(&told, &owner, time, |node| known.contains(node));
        if confirmed.nodes.is_empty() {
            return Err(NetworkError::Unverified);
        }
        Ok((confirmed.nodes.len(), confirmed.asked))
    }

    /// Removes everything of an account that was never finished or is to be gone, its row last. Refused for one that
    /// stands.
    pub(super) async fn clean_up(&self, row: &AccountRow, ask: Ask) -> Result<(), AgentError> {
        let stands = self.daemon_db.account().await?;
        if stands.is_some_and(|stands| stands.handle == row.handle) {
            return Err(AgentError::AccountExists);
        }
        account_db::remove_files(&AccountDb::path(&self.dir, &row.handle))?;
        let vaults = [Some(row.vault.as_str()), row.leftover_vault.as_deref()];
        for vault in vaults.into_iter().flatten() {
            if let Some(kind) = VaultKind::of_name(vault) {
                self.vaults.remove(kind, &row.handle, ask).await?;
            }
        }
        self.daemon_db.forget_marks(&row.handle).await?;
        self.daemon_db.forget_account(&row.handle).await?;
        Ok(())
    }
}
