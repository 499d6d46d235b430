//! AccountService.

use session_protocol::phrase::{self, PhraseError};
use sessiond_proto::v1::account_service_server::AccountService;
use sessiond_proto::v1::{self, AccountState};
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::error::{from_agent, from_store, invalid};
use super::{Api, message};
use crate::account::Account;
use crate::agent::{DeletionScope, State};
use crate::store::{StoreError, signs};
use crate::time::timestamp;
use crate::vault::{MAX_PASSPHRASE, Passphrase, VaultKind};

/// Most bytes of a display name (messages.md 1.8).
const MAX_NAME: usize = session_protocol::content::MAX_NAME;

async fn describe(account: &Account) -> Result<v1::Account, Status> {
    let meta = account.meta();
    Ok(v1::Account {
        warnings: warnings(account).await.map_err(from_store)?,
        account_id: meta.account_id.clone(),
        display_name: meta.display_name.clone(),
        create_time: timestamp(meta.created_ms),
        state: AccountState::Ready.into(),
    })
}

/// Signs that another device uses a later version of the protocol.
async fn warnings(account: &Account) -> Result<Vec<v1::AccountWarning>, StoreError> {
    let mut connection = account.context().db.readers().acquire().await?;
    let standing = signs::standing(&mut connection).await?;
    if standing.is_empty() {
        return Ok(Vec::new());
    }
    let unreadable = signs::unreadable(&mut connection).await?;
    let warning = |sign: signs::Sign| v1::AccountWarning {
        kind: i32::try_from(sign.kind).unwrap_or(0),
        first_seen_time: timestamp(sign.first_ms),
        last_seen_time: timestamp(sign.last_ms),
        unreadable_count: u32::try_from(unreadable).unwrap_or(u32::MAX),
    };
    Ok(standing.into_iter().map(warning).collect())
}

fn display_name(text: &str) -> Result<String, Status> {
    let name = text.trim();
    if name.len() > MAX_NAME {
        return Err(invalid(
            "DISPLAY_NAME_TOO_LONG",
            format!(
                "a display name has at most {MAX_NAME} bytes, this one has {}",
                name.len()
            ),
        ));
    }
    Ok(name.to_owned())
}

fn phrase_error(error: PhraseError) -> Status {
    invalid(&format!("PHRASE_{}", error.reason()), error.to_string())
}

/// A passphrase of a request; `None` when there is none.
fn passphrase(text: String) -> Result<Option<Passphrase>, Status> {
    let text = Zeroizing::new(text.into_bytes());
    if text.len() > MAX_PASSPHRASE {
        return Err(invalid(
            "PASSPHRASE_TOO_LONG",
            format!("a passphrase has at most {MAX_PASSPHRASE} bytes"),
        ));
    }
    Ok((!text.is_empty()).then_some(text))
}

fn vault_name(kind: VaultKind) -> String {
    kind.name().to_owned()
}

#[tonic::async_trait]
impl AccountService for Api {
    async fn create_account(
        &self,
        request: Request<v1::CreateAccountRequest>,
    ) -> Result<Response<v1::CreateAccountResponse>, Status> {
        let request = request.into_inner();
        let name = display_name(&request.display_name)?;
        let token = message::optional_token(request.client_token)?;
        let account = self
            .detached(|agent| async move { agent.create_account(None, name, token).await })
            .await?;
        Ok(Response::new(v1::CreateAccountResponse {
            account: Some(describe(&account).await?),
        }))
    }

    async fn restore_account(
        &self,
        request: Request<v1::RestoreAccountRequest>,
    ) -> Result<Response<v1::RestoreAccountResponse>, Status> {
        let request = request.into_inner();
        let text = Zeroizing::new(request.recovery_phrase);
        let name = display_name(&request.display_name)?;
        let token = message::optional_token(request.client_token)?;
        let seed = phrase::decode(&text).map_err(phrase_error)?;
        let account = self
            .detached(|agent| async move { agent.create_account(Some(seed), name, token).await })
            .await?;
        Ok(Response::new(v1::RestoreAccountResponse {
            account: Some(describe(&account).await?),
        }))
    }

    async fn get_account(
        &self,
        request: Request<v1::GetAccountRequest>,
    ) -> Result<Response<v1::GetAccountResponse>, Status> {
        // A locked account has an ID that nobody can tell before the database opens.
        let account = match self.agent.state().await {
            State::Locked(_) if request.get_ref().account.trim().is_empty() => v1::Account {
                state: AccountState::Locked.into(),
                ..Default::default()
            },
            _ => describe(&*self.account(&request.get_ref().account).await?).await?,
        };
        Ok(Response::new(v1::GetAccountResponse {
            account: Some(account),
        }))
    }

    async fn get_recovery_phrase(
        &self,
        request: Request<v1::GetRecoveryPhraseRequest>,
    ) -> Result<Response<v1::GetRecoveryPhraseResponse>, Status> {
        self.account(&request.get_ref().account).await?;
        let seed = self.agent.seed().await.map_err(from_agent)?;
        Ok(Response::new(v1::GetRecoveryPhraseResponse {
            recovery_phrase: phrase::encode(&seed).to_string(),
            bip39_phrase: phrase::encode_bip39(&seed).to_string(),
        }))
    }

    async fn update_account(
        &self,
        request: Request<v1::UpdateAccountRequest>,
    ) -> Result<Response<v1::UpdateAccountResponse>, Status> {
        let request = request.into_inner();
        self.account(&request.account).await?;
        let name = display_name(&request.display_name)?;
        if name.is_empty() {
            return Err(invalid(
                "DISPLAY_NAME_EMPTY",
                "an account that has a name cannot lose it",
            ));
        }
        let account = self
            .detached(|agent| async move { agent.set_display_name(name).await })
            .await?;
        Ok(Response::new(v1::UpdateAccountResponse {
            account: Some(describe(&account).await?),
        }))
    }

    async fn delete_account(
        &self,
        request: Request<v1::DeleteAccountRequest>,
    ) -> Result<Response<v1::DeleteAccountResponse>, Status> {
        let request = request.into_inner();
        let scope = match request.scope() {
            v1::DeletionScope::Unspecified => {
                return Err(invalid("SCOPE_INVALID", "say what is to be deleted"));
            }
            v1::DeletionScope::Device => DeletionScope::ThisDevice,
            v1::DeletionScope::DeviceAndNetwork => DeletionScope::DeviceAndNetwork,
        };
        let id = request.account.trim().to_owned();
        if id.is_empty() {
            self.agent.account().await.map_err(from_agent)?;
            return Err(invalid(
                "ACCOUNT_NOT_NAMED",
                "repeat the ID of the account that is to be deleted",
            ));
        }
        let deleted = self
            .detached(|agent| async move { agent.delete_account(&id, scope).await })
            .await?;
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Response::new(v1::DeleteAccountResponse {
            confirming_node_count: count(deleted.members.0),
            asked_node_count: count(deleted.members.1),
            vault_emptied: deleted.vault_emptied,
        }))
    }

    async fn lock(
        &self,
        request: Request<v1::LockRequest>,
    ) -> Result<Response<v1::LockResponse>, Status> {
        self.may_be_about(&request.get_ref().account).await?;
        self.detached(|agent| async move { agent.lock().await })
            .await?;
        Ok(Response::new(v1::LockResponse {}))
    }

    async fn unlock(
        &self,
        request: Request<v1::UnlockRequest>,
    ) -> Result<Response<v1::UnlockResponse>, Status> {
        let request = request.into_inner();
        let passphrase = passphrase(request.passphrase)?;
        self.may_be_about(&request.account).await?;
        self.detached(|agent| async move { agent.unlock(passphrase).await })
            .await?;
        let account = self.account(&request.account).await?;
        Ok(Response::new(v1::UnlockResponse {
            account: Some(describe(&account).await?),
        }))
    }

    async fn get_vault(
        &self,
        request: Request<v1::GetVaultRequest>,
    ) -> Result<Response<v1::GetVaultResponse>, Status> {
        self.may_be_about(&request.get_ref().account).await?;
        let status = self.agent.vault_status().await.map_err(from_agent)?;
        Ok(Response::new(v1::GetVaultResponse {
            vault: vault_name(status.vault),
            leftover_vault: status.leftover.map(vault_name).unwrap_or_default(),
            problem: status.problem.to_owned(),
        }))
    }

    async fn move_vault(
        &self,
        request: Request<v1::MoveVaultRequest>,
    ) -> Result<Response<v1::MoveVaultResponse>, Status> {
        let request = request.into_inner();
        let passphrase = passphrase(request.passphrase)?;
        self.account(&request.account).await?;
        let kind = VaultKind::of_name(&request.vault).ok_or_else(|| {
            let names = VaultKind::ALL.map(VaultKind::name).join(", ");
            invalid("VAULT_INVALID", format!("a vault is one of {names}"))
        })?;
        self.detached(|agent| async move { agent.move_vault(kind, passphrase).await })
            .await?;
        Ok(Response::new(v1::MoveVaultResponse {}))
    }
}
