//! Events: the applied entries of a reseller's journal, with the accounts as they are now.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::domain::{Account, AccountId, Authority, Error, ResellerId, Scope};
use crate::service::{Context, Principal, Service};
use crate::shares::Holder;
use crate::store::backup::Restoration;
use crate::store::{JournalEntry, READ_AT_ONCE, Slice, Tenancy, Tx};

/// A page with at most this many accounts is read without asking how large they are: an account has
/// at most nine open holds with three long texts each, which together with its own texts are less
/// than 300 KiB.
const FEW_ACCOUNTS: usize = 4;

/// An event of a reseller.
#[derive(Debug, Clone)]
pub struct EventRead {
    /// The journal entry.
    pub entry: JournalEntry,
    /// The account that the event happened to.
    pub account_id: AccountId,
    /// The account as it is now, or what is left of it if it was purged. `None` means that nothing
    /// is.
    pub account: Option<Arc<Account>>,
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
            Box::pin(tx.latest_event(reseller))
        })
        .await
    }

    /// Reads which restores of backups the events went through. Done once, at the start: a database
    /// is restored only while no service uses it.
    pub async fn load_restorations(&self) -> Result<(), Error> {
        let restorations = self
            .read(Tenancy::Platform, |tx| Box::pin(tx.list_restorations()))
            .await?;
        self.restorations.get_or_init(|| restorations);
        Ok(())
    }

    /// The restore of a backup that undid this event of a reseller; `None` if it was not undone.
    #[must_use]
    pub fn undone_by(&self, reseller: ResellerId, event: i64) -> Option<&Restoration> {
        let mut restorations = self.restorations.get().into_iter().flatten();
        restorations
            .find(|it| it.reseller == reseller && it.last_event < event && event < it.first_event)
    }

    /// A page of the events of a reseller after the journal entry `after`, in order, and the
    /// reseller. The page has at most `limit` events, and fewer if they or their accounts are large.
    /// A client that continues after the last event it got sees every event exactly once.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `reseller_id` if an operator names none.
    pub async fn events(
        &self,
        context: &Context,
        reseller: Option<ResellerId>,
        after: i64,
        limit: i64,
    ) -> Result<(ResellerId, Slice<EventRead>), Error> {
        context.principal.require(Scope::WebhookRead)?;
        let reseller = context.principal.resolve_reseller(reseller)?;
        let holder = Holder::Reseller(context.principal.storage_reseller());
        let mut events = self.read_events(holder, reseller, after, limit).await?;
        if context.principal.authority() == Authority::Reseller {
            for event in &mut events.rows {
                event.entry.hide_reasons_of_others();
            }
        }
        Ok((reseller, events))
    }

    /// As [`Service::events`], without a caller. The read uses the share of `holder`.
    pub async fn read_events(
        &self,
        holder: Holder,
        reseller: ResellerId,
        after: i64,
        limit: i64,
    ) -> Result<Slice<EventRead>, Error> {
        self.read_as(holder, Tenancy::of(reseller), move |tx| {
            Box::pin(async move {
                let mut entries = tx.list_events(reseller, after, limit).await?;
                let fitting = fitting(tx, reseller, &entries.rows).await?;
                if fitting < entries.rows.len() {
                    entries.rows.truncate(fitting);
                    entries.has_more = true;
                }
                Ok(Slice {
                    rows: with_accounts(tx, reseller, entries.rows).await?,
                    has_more: entries.has_more,
                })
            })
        })
        .await
    }
}

/// How many of these entries fit on a page with their accounts.
async fn fitting(
    tx: &mut Tx,
    reseller: ResellerId,
    entries: &[(AccountId, JournalEntry)],
) -> Result<usize, Error> {
    let accounts: HashSet<AccountId> = entries.iter().map(|(account, _)| *account).collect();
    if accounts.len() <= FEW_ACCOUNTS {
        return Ok(entries.len());
    }
    let accounts: Vec<AccountId> = accounts.into_iter().collect();
    let mut sizes = tx.account_sizes(Some(reseller), &accounts).await?;
    let mut left = READ_AT_ONCE;
    let fits = |(account, _): &&(AccountId, JournalEntry)| {
        let fits = left > 0;
        // An account is read once for all its events.
        left -= sizes.remove(account).unwrap_or_default();
        fits
    };
    Ok(entries.iter().take_while(fits).count())
}

/// Adds the accounts, as they are now, to journal entries of a reseller. Of purged ones what is left
/// of them.
pub(super) async fn with_accounts(
    tx: &mut Tx,
    reseller: ResellerId,
    entries: Vec<(AccountId, JournalEntry)>,
) -> Result<Vec<EventRead>, Error> {
    let ids: HashSet<_> = entries.iter().map(|(account, _)| *account).collect();
    let keys: Vec<_> = ids.into_iter().map(|account| (reseller, account)).collect();
    let accounts = if keys.is_empty() {
        Vec::new()
    } else {
        tx.fetch_accounts(&keys).await?
    };
    let mut accounts: HashMap<AccountId, Arc<Account>> = accounts
        .into_iter()
        .map(|account| (account.id, Arc::new(account)))
        .collect();
    let missing = entries.iter().map(|(account, _)| account);
    let missing: HashSet<i32> = missing
        .filter(|account| !accounts.contains_key(account))
        .map(|account| account.as_i32())
        .collect();
    if !missing.is_empty() {
        let missing: Vec<i32> = missing.into_iter().collect();
        for purged in tx.fetch_purged(reseller, &missing).await? {
            let of_it = entries.iter().filter(|(account, _)| *account == purged.id);
            let version = of_it.filter_map(|(_, entry)| entry.sequence).max();
            let remains = purged.remains(version.unwrap_or_default());
            accounts.insert(purged.id, Arc::new(remains));
        }
    }
    Ok(entries
        .into_iter()
        .map(|(account_id, entry)| EventRead {
            entry,
            account_id,
            account: accounts.get(&account_id).cloned(),
        })
        .collect())
}
