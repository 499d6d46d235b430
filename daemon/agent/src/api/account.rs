//! AccountService.

use std::sync::Arc;

use session_protocol::AccountSeed;
use session_protocol::phrase::{self, PhraseError};
use sessiond_proto::v1::account_service_server::AccountService;
use sessiond_proto::v1::{self, AccountState};
use tonic::{Code, Request, Response, Status};
use zeroize::Zeroizing;

use super::error::{from_agent, invalid, status};
use super::{Api, message};
use crate::account::Account;
use crate::agent::State;
use crate::time::timestamp;

/// Most bytes of a display name (messages.md 1.8).
const MAX_NAME: usize = session_protocol::content::MAX_NAME;

fn describe(account: &Account) -> v1::Account {
    let meta = account.meta();
    v1::Account {
        account_id: meta.account_id.clone(),
        display_name: meta.display_name.clone(),
        create_time: timestamp(meta.created_ms),
        state: AccountState::Ready.into(),
    }
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

impl Api {
    /// In a task of its own: a caller that hangs up cannot leave an account half made.
    async fn create(
        &self,
        seed: Option<AccountSeed>,
        name: String,
        token: String,
    ) -> Result<Arc<Account>, Status> {
        let agent = Arc::clone(&self.agent);
        tokio::spawn(async move { agent.create_account(seed, name, token).await })
            .await
            .map_err(|_| {
                status(
                    Code::Internal,
                    "CREATION_BROKE_OFF",
                    "the creation broke off",
                )
            })?
            .map_err(from_agent)
    }
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
            .agent
            .create_account(None, name, token)
            .await
            .map_err(from_agent)?;
        Ok(Response::new(v1::CreateAccountResponse {
            account: Some(describe(&account)),
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
        let account = self.create(Some(seed), name, token).await?;
        Ok(Response::new(v1::RestoreAccountResponse {
            account: Some(describe(&account)),
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
            _ => describe(&*self.account(&request.get_ref().account).await?),
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
}
