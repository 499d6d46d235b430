//! Making an account, and bringing one back from its recovery phrase.
//!
//! A phrase also reopens the history that is on disk when the vault lost its record: the database key lies beside the
//! database, sealed under the seed (design.md promise 4).

use std::sync::Arc;

use rand_core::Rng as _;
use session_protocol::{AccountKeys, AccountSeed, blake2b};
use zeroize::Zeroizing;

use super::{Agent, AgentError, State, databases};
use crate::account::Account;
use crate::events::EndReason;
use crate::random::{opaque_id, os_rng};
use crate::store::account_db::{self, AccountDb, Meta};
use crate::store::daemon_db::AccountRow;
use crate::store::events;
use crate::time::wall_clock_ms;
use crate::vault::{Ask, DatabaseKey, VaultRecord};

impl Agent {
    /// Makes an account. `seed` is `None` for a new one. The same non-empty token with the same wishes gives the account
    /// that the first call made. A seed whose account is on disk, and cannot be opened otherwise, opens it.
    pub async fn create_account(
        self: &Arc<Self>,
        seed: Option<AccountSeed>,
        display_name: String,
        client_token: String,
    ) -> Result<Arc<Account>, AgentError> {
        let _one_at_a_time = self.change().await?;
        let fingerprint = fingerprint(seed.as_ref(), &display_name);
        if let Some(row) = self.daemon_db.account().await? {
            return match (self.state().await, seed) {
                (State::Ready(_), _)
                    if client_token.is_empty() || row.client_token != client_token =>
                {
                    Err(AgentError::AccountExists)
                }
                (State::Ready(account), _) if row.client_fingerprint == fingerprint => Ok(account),
                (State::Ready(_), _) => Err(AgentError::TokenReused),
                (State::Locked(_), Some(seed)) => self.reopen(row, seed).await,
                (State::Locked(locked), None) => Err(AgentError::Locked(locked.reason)),
                (State::NoAccount, _) => Err(AgentError::VaultNotReady),
            };
        }
        let row = AccountRow {
            handle: opaque_id(),
            vault: self.new_vault.name().to_owned(),
            leftover_vault: None,
            locked_since_ms: 0,
            network: self.network.name().to_owned(),
            client_token,
            client_fingerprint: fingerprint.to_vec(),
        };
        let strays = databases(&self.dir)?;
        if !strays.is_empty() {
            return match seed {
                Some(seed) => self.adopt(strays, row, seed).await,
                None => Err(AgentError::VaultNotReady),
            };
        }
        self.daemon_db.begin_account(&row).await?;
        let record = match self.build(&row, seed, display_name).await {
            Ok(record) => record,
            Err(error) => {
                if let Err(error) = self.clean_up(&row, Ask::Nobody).await {
                    tracing::warn!(%error, "what was made of the account is removed at the next start");
                }
                return Err(error);
            }
        };
        // It stands now, whatever becomes of the rest.
        let account = self.enter_or_lock(&row, record).await?;
        note_change(&account).await;
        Ok(account)
    }

    /// The vault's record first, then the database, then the row that makes it an account.
    async fn build(
        &self,
        row: &AccountRow,
        seed: Option<AccountSeed>,
        display_name: String,
    ) -> Result<VaultRecord, AgentError> {
        let mut rng = os_rng();
        let now_ms = wall_clock_ms();
        // Any name that the other devices of a restored account have is newer than one given here (messages.md 8.8).
        let profile_s = match (&seed, display_name.is_empty()) {
            (_, true) => 0,
            (Some(_), false) => 1,
            (None, false) => now_ms / 1000,
        };
        let record = VaultRecord {
            seed: seed.unwrap_or_else(|| AccountSeed::generate(&mut rng)),
            database_key: DatabaseKey::generate(&mut rng),
        };
        self.vaults
            .store(self.new_vault, &row.handle, &record, None, Ask::User)
            .await?;
        let mut log_id = [0; 8];
        rng.fill_bytes(&mut log_id);
        let meta = Meta {
            network: row.network.clone(),
            account_id: AccountKeys::from_seed(&record.seed)
                .account_id()
                .to_string(),
            display_name,
            profile_s,
            created_ms: now_ms,
            log_id,
        };
        let path = AccountDb::path(&self.dir, &row.handle);
        AccountDb::create(&path, &record.database_key, &meta).await?;
        account_db::write_sealed_key(&path, &record.seed, &record.database_key)?;
        self.daemon_db.finish_account(&row.handle).await?;
        Ok(record)
    }

    /// Opens the locked account with its phrase. From then on the vault that a new account would get holds it.
    async fn reopen(
        self: &Arc<Self>,
        mut row: AccountRow,
        seed: AccountSeed,
    ) -> Result<Arc<Account>, AgentError> {
        let record = self
            .unseal(&row.handle, seed)?
            .ok_or(AgentError::AccountExists)?;
        self.vaults
            .store(self.new_vault, &row.handle, &record, None, Ask::User)
            .await?;
        let vault = self.new_vault.name();
        self.daemon_db.finish_move(&row.handle, vault).await?;
        row.leftover_vault = (row.vault != vault).then(|| std::mem::take(&mut row.vault));
        row.vault = vault.to_owned();
        let account = self.enter_or_lock(&row, record).await?;
        note_change(&account).await;
        Ok(account)
    }

    /// Opens a database that `daemon.db` knows nothing about with the phrase of its account.
    async fn adopt(
        self: &Arc<Self>,
        strays: Vec<String>,
        mut row: AccountRow,
        seed: AccountSeed,
    ) -> Result<Arc<Account>, AgentError> {
        for handle in strays {
            let Some(record) = self.unseal(&handle, seed.clone())? else {
                continue;
            };
            self.vaults
                .store(self.new_vault, &handle, &record, None, Ask::User)
                .await?;
            row.handle = handle;
            // Opened first: a database of another network is refused, and must not get a row.
            let account = self.open_account(&row, record).await?;
            if let Err(error) = self.daemon_db.adopt_account(&row).await {
                account.end(EndReason::Stopping);
                self.close_account(&account).await;
                return Err(error.into());
            }
            self.serve(&row, &account).await;
            note_change(&account).await;
            return Ok(account);
        }
        Err(AgentError::VaultNotReady)
    }

    /// The record of a database whose key is sealed under this seed.
    fn unseal(&self, handle: &str, seed: AccountSeed) -> Result<Option<VaultRecord>, AgentError> {
        let path = AccountDb::path(&self.dir, handle);
        match account_db::read_sealed_key(&path, &seed) {
            Ok(key) => Ok(key.map(|database_key| VaultRecord { seed, database_key })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Puts into the log that the account is here. Nobody can have followed the log before, so it may fail.
async fn note_change(account: &Account) {
    let now_ms = account.context().now_ms();
    let writer = account.context().db.writer();
    let noted = writer
        .call(move |connection| {
            Box::pin(async move {
                let event = events::NewEvent::account_changed(&["account_id"]);
                events::append(connection, &[event], now_ms).await
            })
        })
        .await;
    if let Err(error) = noted {
        tracing::warn!(%error, "the log does not say that the account is here");
    }
}

/// Digest of what a creation asks for; does not give the seed away.
fn fingerprint(seed: Option<&AccountSeed>, display_name: &str) -> [u8; 32] {
    let id = seed.map(|seed| AccountKeys::from_seed(seed).account_id().to_string());
    // Keyed by nothing secret: an account ID in clear must not stand in daemon.db, its digest may not be searchable
    // either, hence the seed itself, which nobody can guess, takes part.
    let secret = Zeroizing::new(seed.map_or([0; 16], |seed| *seed.as_bytes()));
    let id = id.unwrap_or_default();
    blake2b::hash32(&[&*secret, id.as_bytes(), display_name.as_bytes()])
}
