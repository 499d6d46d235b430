//! The gRPC services on the Unix socket: checks what comes in, asks the account, writes what goes out.
//!
//! Every error has a canonical code and an `ErrorInfo` with a stable reason (design.md "Local API").

mod account;
mod call;
mod conversation;
mod daemon;
mod error;
mod event;
mod focus;
mod health;
mod message;
mod network;
pub mod page;
mod peer;
mod search;
pub mod server;
mod settings;

use std::sync::Arc;

use tonic::Status;

use crate::account::Account;
use crate::agent::{Agent, AgentError, State};

/// All services. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    agent: Arc<Agent>,
}

impl Api {
    /// Services of an agent.
    pub fn new(agent: Arc<Agent>) -> Self {
        Self { agent }
    }

    /// A change of the account as a whole, [`detached`].
    async fn detached<T, F>(&self, change: impl FnOnce(Arc<Agent>) -> F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, AgentError>> + Send + 'static,
    {
        let change = change(Arc::clone(&self.agent));
        detached(async move { change.await.map_err(error::from_agent) }).await
    }

    /// The account that a request names; empty means the only one.
    async fn account(&self, named: &str) -> Result<Arc<Account>, Status> {
        let account = self.agent.account().await.map_err(error::from_agent)?;
        let named = named.trim();
        if named.is_empty() || named.eq_ignore_ascii_case(&account.id().to_string()) {
            Ok(account)
        } else {
            Err(error::status(
                tonic::Code::NotFound,
                "NO_ACCOUNT",
                "this agent does not have that account",
            ))
        }
    }

    /// As [`Api::account`] for what can be asked of a locked account, whose ID nobody can tell.
    async fn may_be_about(&self, named: &str) -> Result<(), Status> {
        match self.agent.state().await {
            State::Locked(_) => Ok(()),
            _ => self.account(named).await.map(drop),
        }
    }
}

/// Does a change of several steps in a task of its own: a caller that hangs up cannot leave it half done.
async fn detached<T: Send + 'static>(
    change: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    tokio::spawn(change).await.unwrap_or_else(|_| {
        Err(error::status(
            tonic::Code::Internal,
            "CHANGE_BROKE_OFF",
            "the change broke off; see the agent's log",
        ))
    })
}
