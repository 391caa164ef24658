//! Writes what the requests of a batch have changed, with one statement for each kind of row.

use std::collections::BTreeSet;

use super::{Batch, CommitError};
use crate::domain::{Account, AccountKey, Time};
use crate::store::{Changes, StoredRequest, Tx};

impl Batch {
    /// Writes the batch, and returns the answers that are stored with it. If it returns an error,
    /// the transaction must be rolled back.
    pub(super) async fn write(
        mut self,
        tx: &mut Tx,
        answers_until: Time,
    ) -> Result<Vec<StoredRequest>, CommitError> {
        if tx.is_standalone() && !self.rescheduled.is_empty() {
            return Err(CommitError::Stale);
        }
        self.write_changes(tx).await?;
        // Addresses are given up before they are taken: an account in this batch may take the
        // address that another one gives up.
        let is_created = |key: &AccountKey| self.created.contains(key);
        let reprofiled = self.select(&self.reprofiled, |key| !is_created(key));
        if !reprofiled.is_empty() {
            tx.update_profiles(&reprofiled).await?;
        }
        let retagged = self.select(&self.retagged, |_| true);
        if !retagged.is_empty() {
            tx.replace_metadata(&retagged).await?;
        }
        let created = self.select(&self.created, |_| true);
        if !created.is_empty() && !tx.insert_accounts(&created).await? {
            return Err(CommitError::Stale);
        }
        let rescheduled = self.select(&self.rescheduled, |_| true);
        if !rescheduled.is_empty() {
            tx.update_schedules(&rescheduled).await?;
        }
        let purged = self.select(&self.purged, |_| true);
        if !purged.is_empty() && !tx.purge_accounts(&purged, self.now).await? {
            return Err(CommitError::Stale);
        }
        if !self.new_answers.is_empty() {
            // Every lane inserts in the order of the keys. An operator's keys may come through
            // several lanes at once, which could otherwise deadlock.
            self.new_answers
                .sort_unstable_by(|one, other| one.key.cmp(&other.key));
            tx.insert_answers(&self.new_answers, self.now, answers_until)
                .await?;
        }
        Ok(self.new_answers)
    }

    /// Writes lifecycle facts, holds and the journal, if the accounts still have the versions that
    /// were read.
    async fn write_changes(&self, tx: &mut Tx) -> Result<(), CommitError> {
        if self.journal.is_empty() {
            return Ok(());
        }
        let version = |account: &Account| {
            self.versions
                .get(&(account.reseller_id, account.id))
                .copied()
                .unwrap_or_default()
        };
        let accounts: Vec<(&Account, i64)> = self
            .select(&self.changed, |key| !self.created.contains(key))
            .into_iter()
            .map(|account| (account, version(account)))
            .collect();
        // A decision about an account that stays as it is, such as a refusal, must be true at the
        // commit as well. So such an account is locked, and then all are: locks are taken in the
        // order of the keys.
        let is_only_read = |key: &AccountKey| !self.changed.contains(key);
        let seen: Vec<(AccountKey, i64)> = if self.versions.keys().any(is_only_read) {
            self.versions
                .iter()
                .map(|(key, version)| (*key, *version))
                .collect()
        } else {
            Vec::new()
        };
        let unsuspended: Vec<i64> = self.unsuspended.iter().map(|it| it.0).collect();
        let changes = Changes {
            unsuspended: &unsuspended,
            seen: &seen,
            accounts: &accounts,
            held: self.held.rows(|key| self.accounts.get(key)),
            journal: &self.journal,
        };
        if tx.record_changes(&changes).await? {
            Ok(())
        } else {
            Err(CommitError::Stale)
        }
    }

    /// The accounts of a set for which `matches` returns true, in the order of their keys.
    fn select(
        &self,
        keys: &BTreeSet<AccountKey>,
        matches: impl Fn(&AccountKey) -> bool,
    ) -> Vec<&Account> {
        keys.iter()
            .filter(|key| matches(key))
            .filter_map(|key| self.accounts.get(key))
            .collect()
    }
}
