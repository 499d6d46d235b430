//! Opening the account's database, and minding how it does: marks of how it was left, a check beside the work, and what
//! happens when a damaged page is met.
//!
//! A damaged page is written down at once (`daemon.db`), so that the next opening checks the whole database before it
//! serves anything; and that opening comes at once, too: the account is closed and opened within this process, at most
//! [`REPAIRS`] times. Meanwhile it is LOCKED with the reason CHECKING_DATABASE.
//!
//! A database whose check found damage, or that does not open although something in it was written with this key, is
//! salvaged ([`salvage`]) before it is opened.
//!
//! Before the schema changes the database is copied ([`copy`]); the copy ends with the first check that finds the changed
//! database sound.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand_core::Rng as _;
use session_protocol::AccountKeys;
use tokio::sync::watch;

use super::lock::Locked;
use super::{Agent, AgentError, State};
use crate::account::Account;
use crate::events::EndReason;
use crate::random::os_rng;
use crate::store::account_db::{self, AccountDb};
use crate::store::check::{self, Pace};
use crate::store::daemon_db::AccountRow;
use crate::store::health::Check;
use crate::store::marks::Marks;
use crate::store::{Health, Meta, StoreError, Trouble, copy, salvage, space};
use crate::time::wall_clock_ms;
use crate::vault::{DatabaseKey, VaultRecord};

/// How often one process opens a damaged database anew by itself.
const REPAIRS: u32 = 3;
const HOUR: Duration = Duration::from_secs(3600);

/// Looks for room while there is none, until the agent stops.
pub(super) async fn follow(health: Arc<Health>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = space::follow(health) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

impl Agent {
    /// How the state directory and the account's database stand.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Opens the account's database, after a check where a damaged page was met before and a salvage where it is needed,
    /// and starts its tasks. An error says that nothing of it runs.
    pub(super) async fn open_account(
        &self,
        row: &AccountRow,
        record: VaultRecord,
    ) -> Result<Arc<Account>, AgentError> {
        let path = AccountDb::path(&self.dir, &row.handle);
        let marks = self.daemon_db.marks(&row.handle).await?;
        self.health.update(|now| {
            now.damage_met = false;
            now.check = match marks {
                Marks { checked_ms: 0, .. } => Check::None,
                Marks {
                    sound: true,
                    checked_ms,
                    ..
                } => Check::Sound(checked_ms),
                Marks { checked_ms, .. } => Check::Damaged(checked_ms),
            };
            // A repair within this process is no stop.
            now.unclean_stop |= marks.open && self.repairs.load(Ordering::Relaxed) == 0;
        });
        if marks.open {
            tracing::warn!(
                "the last run did not close the database; it is checked beside the work"
            );
        }
        let key = record.database_key.clone();
        if salvage::finish(&path, &key, wall_clock_ms()).await? {
            tracing::warn!("a salvage that was cut short was brought to its end");
            self.health.update(|now| now.check = Check::None);
        }
        if marks.damaged {
            tracing::warn!("a damaged page was met: the database is checked before it is used");
            if check::is_sound(&path, &key, Pace::Full).await? {
                let at_ms = wall_clock_ms();
                self.health.update(|now| now.check = Check::Sound(at_ms));
            } else {
                self.salvage(&path, &record).await?;
            }
        }
        let opened = match self.open_whole(row, &path, record.clone()).await {
            // The right key does not open it, or something in it does not fit.
            Err(
                error @ (StoreError::Damaged
                | StoreError::WrongKey
                | StoreError::Sql(_)
                | StoreError::Migrate(_)),
            ) => {
                let is_sound = check::is_sound(&path, &key, Pace::Full).await;
                if !matches!(is_sound, Ok(false)) {
                    return Err(error.into());
                }
                self.salvage(&path, &record).await?;
                self.open_whole(row, &path, record).await?
            }
            opened => opened?,
        };
        let checked_ms = match self.health.now().check {
            Check::Sound(at_ms) => at_ms,
            _ => 0,
        };
        let marks = Marks {
            open: true,
            damaged: false,
            checked_ms,
            sound: checked_ms > 0,
        };
        // It runs already. Without this the next opening only checks more than it must.
        if let Err(error) = self.daemon_db.set_marks(&row.handle, marks).await {
            tracing::warn!(%error, "that the database opened is not written down");
        }
        Ok(opened)
    }

    /// Takes over what is readable of a damaged database.
    async fn salvage(&self, path: &Path, record: &VaultRecord) -> Result<(), StoreError> {
        tracing::error!("the database is damaged; what is readable is taken over into a new one");
        let now_ms = wall_clock_ms();
        let mut log_id = [0; 8];
        os_rng().fill_bytes(&mut log_id);
        let known = Meta {
            network: self.network.name().to_owned(),
            account_id: AccountKeys::from_seed(&record.seed)
                .account_id()
                .to_string(),
            display_name: String::new(),
            profile_s: 0,
            created_ms: now_ms,
            log_id,
        };
        let report = salvage::run(path, &record.database_key, &known, now_ms).await?;
        tracing::warn!(
            damaged_pages = report.damaged_pages,
            kept_messages = report.kept_messages,
            lost_messages = report.lost_messages,
            unsent_messages = report.unsent_messages,
            "the database was salvaged; the damaged one is kept as a copy"
        );
        // The new one is checked beside the work.
        self.health.update(|now| now.check = Check::None);
        Ok(())
    }

    /// Opens it, behind a copy where its schema is to change.
    async fn open_whole(
        &self,
        row: &AccountRow,
        path: &Path,
        record: VaultRecord,
    ) -> Result<Arc<Account>, StoreError> {
        self.mind_copies(path, &record.database_key)?;
        // Before anything is written to it.
        let before = self.daemon_db.marks(&row.handle).await?;
        let marks = Marks {
            open: true,
            ..before
        };
        self.daemon_db.set_marks(&row.handle, marks).await?;
        let opened = self.migrate_and_start(row, path, record).await;
        // It is closed again, and as it was left before.
        if opened.is_err()
            && let Err(error) = self.daemon_db.set_marks(&row.handle, before).await
        {
            tracing::warn!(%error, "the next opening will take this one for an unclean stop");
        }
        opened
    }

    async fn migrate_and_start(
        &self,
        row: &AccountRow,
        path: &Path,
        record: VaultRecord,
    ) -> Result<Arc<Account>, StoreError> {
        let key = record.database_key.clone();
        if account_db::needs_migration(path, &key).await? {
            copy::before_migration(path, &key, wall_clock_ms()).await?;
            tracing::info!("the database was copied before its schema changes");
            self.mind_copies(path, &key)?;
        }
        let (network, stop) = (self.network.clone(), self.stop_signal());
        let health = Arc::clone(&self.health);
        let started = Account::start(&self.dir, &row.handle, record, network, health, stop).await;
        if let Err(StoreError::Migrate(error)) = &started {
            tracing::error!(%error, "the schema could not be changed; the database is as it was");
            // Nothing was changed, so nothing has to be kept.
            copy::end(path, copy::Kind::BeforeMigration)?;
        }
        started
    }

    /// Ends copies that are past their time, and tells which are kept.
    fn mind_copies(&self, path: &Path, key: &DatabaseKey) -> std::io::Result<()> {
        let kept = copy::prune(path, key, wall_clock_ms())?;
        self.health.update(|now| now.copies = kept);
        Ok(())
    }

    /// As [`Agent::mind_copies`], every hour while the account is open.
    async fn keep_minding_copies(self: Arc<Self>, path: PathBuf, account: Arc<Account>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(HOUR) => {}
                () = account.context().stopped() => return,
            }
            if let Err(error) = self.mind_copies(&path, &account.record().database_key) {
                tracing::warn!(%error, "a copy that is past its time could not be ended yet");
            }
        }
    }

    /// Starts what minds the database of an account that was opened.
    pub(super) fn look_after(self: &Arc<Self>, row: &AccountRow, account: &Arc<Account>) {
        let agent = Arc::clone(self);
        tokio::spawn(agent.check_beside(row.handle.clone(), Arc::clone(account)));
        let agent = Arc::clone(self);
        tokio::spawn(agent.mind_damage(row.clone(), Arc::clone(account)));
        let path = AccountDb::path(&self.dir, &row.handle);
        tokio::spawn(Arc::clone(self).keep_minding_copies(path, Arc::clone(account)));
    }

    /// Closes it, and puts on record that it was closed.
    pub(super) async fn close_account(&self, account: &Account) {
        if account.close().await
            && let Err(error) = self.daemon_db.mark_closed(account.handle()).await
        {
            tracing::warn!(%error, "the next start will take this one for an unclean stop");
        }
    }

    /// Checks the database after an unclean stop, or when it was not for long.
    async fn check_beside(self: Arc<Self>, handle: String, account: Arc<Account>) {
        let now = self.health.now();
        let is_copied = |kept: &copy::Kept| kept.kind == copy::Kind::BeforeMigration;
        let due = match now.check {
            Check::Sound(at_ms) => {
                now.unclean_stop
                    || now.copies.iter().any(is_copied)
                    || wall_clock_ms().saturating_sub(at_ms) > check::EVERY_MS
            }
            _ => true,
        };
        if !due {
            return;
        }
        let path = AccountDb::path(&self.dir, &handle);
        let key = account.record().database_key.clone();
        self.health.update(|now| now.check = Check::Running);
        let context = account.context();
        let sound = tokio::select! {
            sound = check::is_sound(&path, &key, Pace::Beside) => sound,
            () = context.stopped() => return,
        };
        let at_ms = wall_clock_ms();
        match sound {
            Ok(true) => {
                tracing::info!("the database is sound");
                self.health.update(|now| now.check = Check::Sound(at_ms));
                // The first good start after a migration.
                let ended = copy::end(&path, copy::Kind::BeforeMigration)
                    .and_then(|()| self.mind_copies(&path, &key));
                if let Err(error) = ended {
                    tracing::warn!(%error, "the copy from before the migration stays for now");
                }
            }
            Ok(false) => {
                self.health.update(|now| now.check = Check::Damaged(at_ms));
                self.health.note(Trouble::Damaged);
            }
            Err(error) => {
                tracing::warn!(%error, "the database could not be checked");
                self.health.update(|now| now.check = Check::None);
                return;
            }
        }
        let sound = matches!(sound, Ok(true));
        let marked = self.daemon_db.mark_checked(&handle, at_ms, sound).await;
        if let Err(error) = marked {
            tracing::warn!(%error, "what the check found is not written down");
        }
    }

    /// Waits for a damaged page, writes it down, and opens the database anew. Boxed, because opening starts this again.
    fn mind_damage(
        self: Arc<Self>,
        row: AccountRow,
        account: Arc<Account>,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut condition = self.health.watch();
            tokio::select! {
                _ = condition.wait_for(|now| now.damage_met) => {}
                () = account.context().stopped() => return,
            }
            tracing::error!("a page of the database is damaged");
            while let Err(error) = self.daemon_db.mark_damaged(&row.handle).await {
                tracing::warn!(%error, "the damage is not written down yet");
                tokio::select! {
                    () = tokio::time::sleep(space::LOOK) => {}
                    () = account.context().stopped() => return,
                }
            }
            if self.repairs.fetch_add(1, Ordering::Relaxed) >= REPAIRS {
                tracing::error!("it keeps being damaged: see to the disk, then restart the agent");
                return;
            }
            self.open_anew(row, account).await;
        })
    }

    async fn open_anew(self: Arc<Self>, row: AccountRow, account: Arc<Account>) {
        let Ok(_one_at_a_time) = self.change().await else {
            return;
        };
        match self.state().await {
            State::Ready(now) if Arc::ptr_eq(&now, &account) => {}
            _ => return,
        }
        *self.state.write().await = State::Locked(Locked::while_checking(self.now_ms()));
        account.end(EndReason::Locked);
        self.close_account(&account).await;
        let entered = self.enter_or_lock(&row, account.record().clone()).await;
        if entered.is_ok() {
            tracing::info!("the account is open again");
        }
    }
}
