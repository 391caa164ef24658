//! The journal: the history of one account, and the partitions that hold the journal's days.

use std::time::Duration;

use chrono::TimeDelta;

use super::{Context, Service};
use crate::domain::{Account, AccountId, Authority, Error};
use crate::store::{JournalEntry, Slice, Suspension, Tenancy};

/// How many suspensions of a reseller a timeline has at most.
const SUSPENSIONS: i64 = 100;

impl Service {
    /// A page of the journal of an account, newest entry first, also of a deleted account. A reseller
    /// does not get the internal reasons of holds that others placed.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`].
    pub async fn history(
        &self,
        context: &Context,
        id: AccountId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Slice<JournalEntry>, Error> {
        let account = self.account_or_deleted(context, id).await?;
        let mut entries = self
            .read(context.principal.tenancy(), move |tx| {
                Box::pin(tx.list_journal(account.reseller_id, id, before, limit))
            })
            .await?;
        if context.principal.authority() == Authority::Reseller {
            entries
                .rows
                .iter_mut()
                .for_each(JournalEntry::hide_reasons_of_others);
        }
        Ok(entries)
    }

    /// The suspensions of an account's reseller that stood at some time since the account was
    /// created, newest first, at most 100. They blocked the account too, and are not in its journal.
    pub async fn suspensions_since(&self, account: &Account) -> Result<Vec<Suspension>, Error> {
        let (reseller, since) = (account.reseller_id, account.created_at);
        self.read(Tenancy::of(reseller), move |tx| {
            Box::pin(tx.list_suspensions(reseller, Some(since), None, SUSPENSIONS))
        })
        .await
    }

    /// Creates the missing partitions of the journal for today and the next `days - 1` days.
    /// Returns the number of created partitions.
    pub async fn prepare_journal(&self, days: i32) -> Result<i32, Error> {
        let today = self.now().date_naive();
        self.background_write(Tenancy::Platform, move |tx| {
            Box::pin(tx.prepare_journal(today, days))
        })
        .await
    }

    /// Drops the days of the journal that are older than `keep`. Returns the number of deleted
    /// days. A day with an event that some endpoint has not got yet is kept.
    pub async fn drop_journal(&self, keep: Duration) -> Result<i32, Error> {
        let before = TimeDelta::from_std(keep)
            .ok()
            .and_then(|keep| self.now().checked_sub_signed(keep))
            .unwrap_or_default()
            .date_naive();
        self.background_write(Tenancy::Platform, move |tx| {
            Box::pin(tx.drop_journal(before))
        })
        .await
    }
}
