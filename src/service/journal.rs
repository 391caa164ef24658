//! The journal: the history of one account, and the partitions that hold the journal's days.

use std::time::Duration;

use chrono::TimeDelta;
use uuid::Uuid;

use super::{Context, LogPage, MAX_LOGGED, Service};
use crate::domain::{Account, AccountId, Authority, Error, ResellerId, Resource, Scope, Time};
use crate::store::{ChangeFilter, JournalEntry, Slice, Suspension, Tenancy, Tx};

/// How many suspensions of a reseller a timeline has at most.
const SUSPENSIONS: i64 = 100;

/// Which changes of accounts of a reseller are listed.
#[derive(Debug, Clone, Default)]
pub struct EventLogQuery {
    /// The reseller. An operator must name one.
    pub reseller: Option<ResellerId>,
    /// Only changes before this entry of the journal.
    pub before: Option<i64>,
    /// Only changes whose command or actor contains this text, in any case. It is looked for in the
    /// newest [`LogPage::searched`] changes.
    pub text: Option<String>,
}

/// A change of an account, as the list of all changes has it.
#[derive(Debug, Clone)]
pub struct EventLog {
    /// The journal entry.
    pub entry: JournalEntry,
    /// The account that was changed.
    pub account: AccountId,
    /// Its UUID, and when it was created. `None` if nothing is left of it.
    pub known: Option<(Uuid, Time)>,
}

impl Service {
    /// A page of the changes of a reseller's accounts, and how many there are on all pages, if they
    /// are counted. Counting stops above [`MAX_LOGGED`]. The page has fewer entries than were asked
    /// for if they are large.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `reseller_id` if an operator names none.
    pub async fn event_logs(
        &self,
        context: &Context,
        query: EventLogQuery,
        page: LogPage,
    ) -> Result<(Slice<EventLog>, Option<i64>), Error> {
        context.principal.require(Scope::AccountRead)?;
        let reseller = context.principal.resolve_reseller(query.reseller)?;
        let mut filter = ChangeFilter {
            from: 0,
            before: query.before.unwrap_or(i64::MAX),
            text: query.text,
        };
        let authority = context.principal.authority();
        self.read(context.principal.tenancy(), move |tx| {
            Box::pin(async move {
                if filter.text.is_some() {
                    let oldest = tx.change_with_newer(reseller, page.searched - 1).await?;
                    filter.from = oldest.unwrap_or_default();
                }
                let count = if page.is_counted {
                    let most = MAX_LOGGED + 1;
                    Some(tx.count_changes(reseller, &filter, most).await?)
                } else {
                    None
                };
                let (skip, limit) = page.newest_first(count)?;
                let entries = tx.list_changes(reseller, &filter, skip, limit).await?;
                let has_more = entries.has_more;
                let rows = event_logs(tx, reseller, authority, entries.rows).await?;
                let rows = page.in_order(rows);
                Ok((Slice { rows, has_more }, count))
            })
        })
        .await
    }

    /// One change of an account of a reseller, by the number of its journal entry.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::InvalidField`] for `reseller_id` if an operator names none.
    pub async fn event_log(
        &self,
        context: &Context,
        reseller: Option<ResellerId>,
        id: i64,
    ) -> Result<EventLog, Error> {
        context.principal.require(Scope::AccountRead)?;
        let reseller = context.principal.resolve_reseller(reseller)?;
        let authority = context.principal.authority();
        let filter = ChangeFilter {
            from: id,
            before: id.saturating_add(1),
            text: None,
        };
        let found = self.read(context.principal.tenancy(), move |tx| {
            Box::pin(async move {
                let entries = tx.list_changes(reseller, &filter, 0, 1).await?;
                event_logs(tx, reseller, authority, entries.rows).await
            })
        });
        let mut found = found.await?.into_iter();
        found.next().ok_or(Error::NotFound(Resource::EventLog))
    }

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

/// Journal entries of a reseller with the names of their accounts, as the caller may see them.
async fn event_logs(
    tx: &mut Tx,
    reseller: ResellerId,
    authority: Authority,
    entries: Vec<(AccountId, JournalEntry)>,
) -> Result<Vec<EventLog>, Error> {
    let accounts: Vec<AccountId> = entries.iter().map(|(account, _)| *account).collect();
    let known = tx.fetch_account_names(reseller, &accounts).await?;
    let logs = entries.into_iter().map(|(account, mut entry)| {
        if authority == Authority::Reseller {
            entry.hide_reasons_of_others();
        }
        EventLog {
            entry,
            account,
            known: known.get(&account).copied(),
        }
    });
    Ok(logs.collect())
}
