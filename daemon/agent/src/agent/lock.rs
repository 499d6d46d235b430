//! Opening, locking and unlocking the account.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Agent, AgentError, State, kind};
use crate::account::Account;
use crate::events::EndReason;
use crate::store::daemon_db::AccountRow;
use crate::store::received::INBOX_MS;
use crate::store::{StoreError, Trouble};
use crate::vault::{Ask, Passphrase, VaultRecord};

/// Reason of a lock that the user asked for.
pub const LOCKED_BY_USER: &str = "LOCKED_BY_USER";

/// Pause before a vault that did not give the keys is asked again; doubles up to [`RETRY_LONGEST`].
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest pause.
const RETRY_LONGEST: Duration = Duration::from_secs(60);

const DAY_MS: i64 = 86_400_000;
/// Time left, until messages are missed, when a lock is warned about.
const WARN_MS: i64 = 4 * DAY_MS;

/// Why and since when the agent is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked {
    /// UPPER_SNAKE.
    pub reason: &'static str,
    /// Network time, ms. Kept over restarts.
    pub since_ms: i64,
    /// Whether the vault is asked again by itself.
    retry: bool,
}

impl Locked {
    /// While a damaged database is checked.
    pub(super) fn while_checking(now_ms: i64) -> Self {
        Self {
            reason: "CHECKING_DATABASE",
            since_ms: now_ms,
            retry: false,
        }
    }

    /// While an account is being deleted.
    pub(super) fn while_deleting(now_ms: i64) -> Self {
        Self {
            reason: "DELETING",
            since_ms: now_ms,
            retry: false,
        }
    }

    /// What is lost when it stays locked, as UPPER_SNAKE; empty while there is time.
    pub fn warning(&self, now_ms: i64) -> &'static str {
        match now_ms.saturating_sub(self.since_ms) {
            passed if passed >= INBOX_MS => "MESSAGES_MISSED",
            passed if passed >= INBOX_MS - WARN_MS => "MESSAGES_EXPIRE_SOON",
            _ => "",
        }
    }
}

impl Agent {
    /// Opens the account at a start, or leaves it locked.
    pub(super) async fn open(self: &Arc<Self>, locked_by_user: bool) -> Result<(), AgentError> {
        let Some(row) = self.daemon_db.account().await? else {
            return Ok(());
        };
        if row.network != self.network.name() {
            return Err(StoreError::OtherNetwork(row.network).into());
        }
        if locked_by_user {
            self.stay_locked(&row, LOCKED_BY_USER, false).await;
            return Ok(());
        }
        let error = match self.vaults.load_at_start(kind(&row)?, &row.handle).await {
            Ok(record) => {
                let entered = self.enter_or_lock(&row, record).await;
                return match self.state().await {
                    // A state that passes: served as one.
                    State::Locked(Locked { retry: true, .. }) => Ok(()),
                    _ => entered.map(drop),
                };
            }
            Err(error) => error,
        };
        tracing::warn!(%error, "the account is locked");
        let retry = error.may_pass();
        self.stay_locked(&row, error.reason(), retry).await;
        if retry {
            tokio::spawn(Arc::clone(self).keep_trying());
        }
        Ok(())
    }

    pub(super) async fn stay_locked(&self, row: &AccountRow, reason: &'static str, retry: bool) {
        let mut since_ms = row.locked_since_ms;
        if since_ms == 0 {
            since_ms = self.now_ms();
            self.write_locked_since(row, since_ms).await;
        }
        *self.state.write().await = State::Locked(Locked {
            reason,
            since_ms,
            retry,
        });
    }

    /// What cannot be written down is not remembered over a restart; nothing else hangs on it.
    async fn write_locked_since(&self, row: &AccountRow, since_ms: i64) {
        let written = self.daemon_db.set_locked_since(&row.handle, since_ms).await;
        if let Err(error) = written {
            tracing::warn!(%error, "since when it is locked is not written down");
        }
    }

    /// Asks the vault again until it gives the keys, something else happened to the account, or the agent stops.
    pub(super) async fn keep_trying(self: Arc<Self>) {
        let mut stop = self.stop_signal();
        let mut pause = RETRY_FIRST;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(RETRY_LONGEST);
            if !matches!(
                self.state().await,
                State::Locked(Locked { retry: true, .. })
            ) {
                return;
            }
            // As it is now: another vault may be in charge meanwhile.
            let Ok(Some(row)) = self.daemon_db.account().await else {
                continue;
            };
            let Ok(kind) = kind(&row) else { return };
            let loaded = self.vaults.load(kind, &row.handle, None, Ask::Nobody).await;
            let Ok(_one_at_a_time) = self.change().await else {
                return;
            };
            let State::Locked(locked @ Locked { retry: true, .. }) = self.state().await else {
                return;
            };
            match loaded {
                Ok(record) => match self.enter(&row, record).await {
                    Ok(_) => {
                        tracing::info!("the account is open");
                        return;
                    }
                    Err(error) => tracing::error!(%error, "the account cannot be opened"),
                },
                Err(error) => {
                    let (reason, retry) = (error.reason(), error.may_pass());
                    if reason != locked.reason {
                        tracing::warn!(%error, "the account is still locked");
                    }
                    *self.state.write().await = State::Locked(Locked {
                        reason,
                        retry,
                        ..locked
                    });
                }
            }
        }
    }

    /// Starts the account. The caller holds `changing`, or nobody else knows the agent yet. An error says that nothing
    /// of it runs.
    pub(super) async fn enter(
        self: &Arc<Self>,
        row: &AccountRow,
        record: VaultRecord,
    ) -> Result<Arc<Account>, AgentError> {
        let account = self.open_account(row, record).await?;
        self.serve(row, &account).await;
        Ok(account)
    }

    /// As [`Agent::enter`]; an account that cannot be opened is locked, and tried again by itself where that may help.
    pub(super) async fn enter_or_lock(
        self: &Arc<Self>,
        row: &AccountRow,
        record: VaultRecord,
    ) -> Result<Arc<Account>, AgentError> {
        let error = match self.enter(row, record).await {
            Ok(account) => return Ok(account),
            Err(error) => error,
        };
        tracing::error!(%error, "the account cannot be opened");
        let (reason, retry) = match error.trouble_in(&self.dir).await {
            Some(trouble) => (trouble.reason(), trouble != Trouble::Damaged),
            None => (Trouble::Damaged.reason(), false),
        };
        let tried = matches!(
            self.state().await,
            State::Locked(Locked { retry: true, .. })
        );
        self.stay_locked(row, reason, retry).await;
        if retry && !tried {
            tokio::spawn(Arc::clone(self).keep_trying());
        }
        Err(error)
    }

    /// An account that was opened is the one that is served from now on.
    pub(super) async fn serve(self: &Arc<Self>, row: &AccountRow, account: &Arc<Account>) {
        *self.state.write().await = State::Ready(Arc::clone(account));
        self.look_after(row, account);
        self.write_locked_since(row, 0).await;
        if row.leftover_vault.is_some() {
            tokio::spawn(Arc::clone(self).empty_leftover_beside());
        }
    }

    /// Asks the vault for the keys; the user may be asked by the keyring. No error when the account is open already.
    pub async fn unlock(
        self: &Arc<Self>,
        passphrase: Option<Passphrase>,
    ) -> Result<(), AgentError> {
        match self.state().await {
            State::Ready(_) => return Ok(()),
            State::NoAccount => return Err(AgentError::NoAccount),
            State::Locked(_) => {}
        }
        let row = self.daemon_db.account().await?;
        let row = row.ok_or(AgentError::NoAccount)?;
        let record = self
            .vaults
            .load(kind(&row)?, &row.handle, passphrase, Ask::User)
            .await?;
        let _one_at_a_time = self.change().await?;
        match self.state().await {
            State::Ready(_) => Ok(()),
            State::NoAccount => Err(AgentError::NoAccount),
            State::Locked(_) => {
                // As it is now: a restore may have put another vault in charge meanwhile.
                let row = self.daemon_db.account().await?;
                let row = row.ok_or(AgentError::NoAccount)?;
                self.enter(&row, record).await.map(drop)
            }
        }
    }

    /// Locks: when this returns, nothing is polled, sent or expired, and the database is closed. The process then begins
    /// anew, which is what takes keys and texts out of its memory. No error when it is locked already.
    pub async fn lock(&self) -> Result<(), AgentError> {
        let _one_at_a_time = self.change().await?;
        let row = self.daemon_db.account().await?;
        let mut row = row.ok_or(AgentError::NoAccount)?;
        let state = self.state().await;
        if matches!(state, State::Ready(_)) {
            row.locked_since_ms = 0;
        }
        self.stay_locked(&row, LOCKED_BY_USER, false).await;
        if let State::Ready(account) = state {
            account.end(EndReason::Locked);
            self.close_account(&account).await;
            tracing::info!("locked by the user");
            self.restart.store(true, Ordering::Release);
            self.request_stop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_lock_is_warned_about_before_messages_are_missed() {
        let locked = Locked {
            reason: LOCKED_BY_USER,
            since_ms: 1_000,
            retry: false,
        };
        for (days, warning) in [
            (0, ""),
            (9, ""),
            (10, "MESSAGES_EXPIRE_SOON"),
            (13, "MESSAGES_EXPIRE_SOON"),
            (14, "MESSAGES_MISSED"),
            (400, "MESSAGES_MISSED"),
        ] {
            assert_eq!(locked.warning(1_000 + days * DAY_MS), warning, "day {days}");
        }
        // A clock that was set back is no reason to warn.
        assert_eq!(locked.warning(0), "");
    }
}
