//! Events: the applied entries of a reseller's journal, with the accounts as they are now.

use std::collections::{BTreeSet, HashMap};

use crate::domain::{Account, AccountId, Authority, Error, ResellerId, Scope};
use crate::service::{Context, Principal, Service};
use crate::store::{JournalEntry, Tenancy, Tx};

/// An event of a reseller.
#[derive(Debug, Clone)]
pub struct EventRead {
    /// The journal entry.
    pub entry: JournalEntry,
    /// The account that the event happened to.
    pub account_id: AccountId,
    /// The account as it is now. `None` means that it was purged.
    pub account: Option<Account>,
}

impl EventRead {
    /// The event as a caller may see it: a reseller does not see the reasons of others' holds.
    #[must_use]
    pub fn for_caller(&self, caller: &Principal) -> Self {
        let mut event = self.clone();
        if caller.authority() == Authority::Reseller {
            event.entry.hide_reasons_of_others();
        }
        event
    }
}

impl Service {
    /// The number of the last entry of a reseller's journal, 0 if there is none.
    ///
    /// # Errors
    /// [`Error::ResellerNotFound`] if the caller is another reseller.
    pub async fn last_event(&self, context: &Context, reseller: ResellerId) -> Result<i64, Error> {
        let reseller = context.principal.resolve_reseller(Some(reseller))?;
        self.read(Tenancy::of(reseller), move |tx| {
            Box::pin(tx.last_journal_entry(reseller))
        })
        .await
    }

    /// The events of a reseller after the journal entry `after`, in order, and the reseller. A
    /// client that continues after the last event it got sees every event exactly once.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `reseller_id` if an operator names none.
    pub async fn events(
        &self,
        context: &Context,
        reseller: Option<ResellerId>,
        after: i64,
        limit: i64,
    ) -> Result<(ResellerId, Vec<EventRead>), Error> {
        context.principal.require(Scope::WebhookRead)?;
        let reseller = context.principal.resolve_reseller(reseller)?;
        let mut events = self.read_events(reseller, after, limit).await?;
        if context.principal.authority() == Authority::Reseller {
            for event in &mut events {
                event.entry.hide_reasons_of_others();
            }
        }
        Ok((reseller, events))
    }

    /// As [`Service::events`], for the dispatcher, which acts for any reseller.
    pub async fn read_events(
        &self,
        reseller: ResellerId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<EventRead>, Error> {
        self.read(Tenancy::of(reseller), move |tx| {
            Box::pin(async move {
                let entries = tx.list_events(reseller, after, limit).await?;
                with_accounts(tx, reseller, entries).await
            })
        })
        .await
    }
}

/// Adds the accounts, as they are now, to journal entries of a reseller.
pub(super) async fn with_accounts(
    tx: &mut Tx,
    reseller: ResellerId,
    entries: Vec<(AccountId, JournalEntry)>,
) -> Result<Vec<EventRead>, Error> {
    let ids: BTreeSet<_> = entries.iter().map(|(account, _)| *account).collect();
    let keys: Vec<_> = ids.into_iter().map(|account| (reseller, account)).collect();
    let accounts = if keys.is_empty() {
        Vec::new()
    } else {
        tx.fetch_accounts(&keys).await?
    };
    let accounts: HashMap<AccountId, Account> = accounts
        .into_iter()
        .map(|account| (account.id, account))
        .collect();
    Ok(entries
        .into_iter()
        .map(|(account_id, entry)| EventRead {
            entry,
            account_id,
            account: accounts.get(&account_id).cloned(),
        })
        .collect())
}
