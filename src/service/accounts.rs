//! The use cases of accounts.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tracing::{Instrument as _, debug_span};
use uuid::Uuid;

use super::group_commit::{ChangeKind, Request};
use super::list_totals::FEW;
use super::{Completion, Context, IdempotentRequest, Service};
use crate::domain::{
    Account, AccountFilter, AccountId, Authority, Command, Email, Error, HoldId, HoldKind,
    HoldPatch, ResellerId, Revision, Scope, Search, Time,
};
use crate::store::{JournalEntry, Tenancy};
use crate::telemetry;

/// How a caller names an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AccountRef {
    /// By its number.
    Id(AccountId),
    /// By its outside identity.
    Uid(Uuid),
    /// By its e-mail address.
    Email(Email),
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The accounts, by identity.
    pub accounts: Vec<Account>,
    /// How many accounts the filter admits in all.
    pub total: i64,
    /// When it was read.
    pub at: Time,
}

impl Service {
    /// Carries out a command on an account. With `once`, a repeat is answered with the stored answer.
    ///
    /// # Errors
    /// [`Error`]; where it is [`Error::Unavailable`] the outcome may be unknown, and asking again is safe.
    pub async fn execute(
        &self,
        context: &Context,
        account: AccountId,
        command: Command,
        once: Option<IdempotentRequest>,
    ) -> Result<Completion, Error> {
        self.execute_at(context, account, command, None, once).await
    }

    /// Carries out a command on an account, only if the account is at a version where one is given.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`], and as [`Service::execute`].
    pub async fn execute_at(
        &self,
        context: &Context,
        account: AccountId,
        command: Command,
        only_at: Option<i64>,
        once: Option<IdempotentRequest>,
    ) -> Result<Completion, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let reseller = match context.principal.reseller {
            Some(reseller) => reseller,
            None => Box::pin(self.locate(account)).await?,
        };
        self.change(Request {
            context: context.clone(),
            reseller,
            what: ChangeKind::Command {
                account,
                command,
                only_at,
            },
            once,
        })
        .await
    }

    /// Freezes, suspends or retains an account.
    ///
    /// # Errors
    /// As [`Service::execute`].
    pub async fn place(
        &self,
        context: &Context,
        account: AccountId,
        kind: HoldKind,
        details: HoldPatch,
        once: Option<IdempotentRequest>,
    ) -> Result<Completion, Error> {
        let fresh = HoldId(Uuid::now_v7());
        self.execute(
            context,
            account,
            Command::Place {
                kind,
                fresh,
                details,
            },
            once,
        )
        .await
    }

    /// Deletes an account; it may be purged when the configured window is over, and restored until it is.
    ///
    /// # Errors
    /// As [`Service::execute`].
    pub async fn delete(
        &self,
        context: &Context,
        account: AccountId,
        once: Option<IdempotentRequest>,
    ) -> Result<Completion, Error> {
        self.execute(context, account, self.deletion(), once).await
    }

    /// Creates an account of the caller's reseller; an operator says of which.
    ///
    /// # Errors
    /// [`Error::QuotaReached`], [`Error::Conflict`], [`Error::InvalidField`] and as [`Service::execute`].
    pub async fn create(
        &self,
        context: &Context,
        of: Option<ResellerId>,
        revision: Revision,
        once: Option<IdempotentRequest>,
    ) -> Result<Completion, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let reseller = context.principal.resolve_reseller(of)?;
        if reseller.0 < 1 {
            return Err(Error::ResellerNotFound);
        }
        let what = ChangeKind::Create {
            uid: Uuid::new_v4(),
            revision: Box::new(revision),
        };
        self.change(Request {
            context: context.clone(),
            reseller,
            what,
            once,
        })
        .await
    }

    /// One account.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`], or [`Error::AccountDeleted`] if it is deleted and not yet purged.
    pub async fn account(
        &self,
        context: &Context,
        id: AccountId,
    ) -> Result<(Account, Time), Error> {
        let account = self.account_or_deleted(context, id).await?;
        if account.deleted_at.is_some() {
            Err(Error::AccountDeleted)
        } else {
            Ok((account, self.now()))
        }
    }

    /// The command that deletes an account; it may be purged when the configured window is over.
    #[must_use]
    pub fn deletion(&self) -> Command {
        Command::Delete {
            purge_after: self.settings.purge_window,
        }
    }

    /// The number of the account with an outside identity, deleted ones included.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`], for another reseller's too.
    pub async fn resolve(&self, context: &Context, uid: Uuid) -> Result<AccountId, Error> {
        let (store, tenancy) = (self.store.clone(), context.principal.tenancy());
        self.detached(async move {
            let mut tx = store.begin_reading(&tenancy).await?;
            let found = tx.locate_uid(uid).await?;
            tx.commit().await?;
            found.ok_or(Error::AccountNotFound)
        })
        .await
    }

    /// A page of what a search finds; with how many there are in all, where that is wanted.
    ///
    /// # Errors
    /// That the database cannot be asked, or the right is missing.
    pub async fn search(
        &self,
        context: &Context,
        search: Search,
        count: bool,
    ) -> Result<(Vec<Account>, Option<i64>, Time), Error> {
        context.principal.require(Scope::AccountRead)?;
        let (store, principal, at, totals) = (
            self.store.clone(),
            context.principal.clone(),
            self.now(),
            Arc::clone(&self.totals),
        );
        self.detached(async move {
            let mut tx = store.begin_reading(&principal.tenancy()).await?;
            let accounts = tx.search_accounts(principal.reseller, &search).await?;
            let mut total = None;
            if count {
                let few = tx.count_found(principal.reseller, &search, FEW + 1).await?;
                let key = (principal.reseller, format!("{:?}", search.conditions));
                total = Some(
                    totals
                        .get_or_count(
                            key,
                            at,
                            few,
                            tx.count_found(principal.reseller, &search, i64::MAX),
                        )
                        .await?,
                );
            }
            tx.commit().await?;
            Ok((accounts, total, at))
        })
        .await
    }

    /// One account, also if it is deleted and not yet purged.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`].
    pub async fn account_or_deleted(
        &self,
        context: &Context,
        id: AccountId,
    ) -> Result<Account, Error> {
        context.principal.require(Scope::AccountRead)?;
        let reseller = match context.principal.reseller {
            Some(reseller) => reseller,
            None => Box::pin(self.locate(id)).await?,
        };
        self.reads
            .submit((reseller, id))
            .await?
            .ok_or(Error::AccountNotFound)
    }

    /// The account with an outside identity, whosever it is, and deleted ones too: for its user.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`].
    pub async fn notice(&self, uid: Uuid) -> Result<(Account, Time), Error> {
        let found = self
            .read(Tenancy::Platform, move |tx| {
                Box::pin(async move { tx.locate_accounts(None, &[], &[uid]).await })
            })
            .await?;
        let (reseller, id, _) = found.into_iter().next().ok_or(Error::AccountNotFound)?;
        let account = self
            .reads
            .submit((reseller, id))
            .await?
            .ok_or(Error::AccountNotFound)?;
        Ok((account, self.now()))
    }

    /// An account as it was at an instant: as the journal has it, deleted or not.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`], also where it was not there yet; [`Error::InvalidField`] where the journal does not reach back.
    pub async fn account_as_of(
        &self,
        context: &Context,
        id: AccountId,
        at: Time,
    ) -> Result<Account, Error> {
        self.check_past(at)?;
        let account = self.account_or_deleted(context, id).await?;
        let tenancy = Tenancy::of(account.reseller_id);
        let past = self
            .read(tenancy, move |tx| {
                Box::pin(async move { tx.rewind(vec![account], at).await })
            })
            .await?;
        past.into_iter().next().ok_or(Error::AccountNotFound)
    }

    fn check_past(&self, at: Time) -> Result<(), Error> {
        if at <= self.now() {
            Ok(())
        } else {
            Err(Error::invalid("as_of", "must not be in the future"))
        }
    }

    /// The accounts from identity `from` on that were there at an instant and not deleted then, as they were; at most `limit`.
    /// Those that were purged since are not among them.
    ///
    /// # Errors
    /// As [`Service::account_as_of`].
    pub async fn list_as_of(
        &self,
        context: &Context,
        from: AccountId,
        limit: usize,
        at: Time,
    ) -> Result<Vec<Account>, Error> {
        context.principal.require(Scope::AccountRead)?;
        self.check_past(at)?;
        let (principal, mut found, mut from) =
            (context.principal.clone(), Vec::new(), from.as_i32());
        let page = i64::try_from(limit).unwrap_or(i64::MAX);
        while found.len() < limit {
            let reseller = principal.reseller;
            let read = self.read(principal.tenancy(), move |tx| {
                Box::pin(async move {
                    let keys = tx.list_with_deleted(reseller, from, page, at).await?;
                    let mut accounts = tx.fetch_accounts(&keys).await?;
                    accounts.sort_by_key(|account| account.id);
                    Ok((
                        keys.last().map(|(_, id)| id.as_i32()),
                        tx.rewind(accounts, at).await?,
                    ))
                })
            });
            let (last, past) = read.await?;
            found.extend(
                past.into_iter()
                    .filter(|account| account.deleted_at.is_none()),
            );
            let Some(next) = last.and_then(|last| last.checked_add(1)) else {
                break;
            };
            from = next;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// The accounts from identity `from` on that a filter admits, at most `limit`.
    ///
    /// # Errors
    /// That the database cannot be asked, or the right is missing.
    pub async fn list(
        &self,
        context: &Context,
        filter: AccountFilter,
        from: AccountId,
        limit: i64,
    ) -> Result<Page, Error> {
        context.principal.require(Scope::AccountRead)?;
        let (store, principal, at, totals) = (
            self.store.clone(),
            context.principal.clone(),
            self.now(),
            Arc::clone(&self.totals),
        );
        self.detached(async move {
            let mut tx = store.begin_reading(&principal.tenancy()).await?;
            let accounts = tx
                .list_accounts(principal.reseller, &filter, from.as_i32(), limit, at)
                .await?;
            let few = tx
                .count_accounts(principal.reseller, &filter, FEW + 1, at)
                .await?;
            let key = (principal.reseller, format!("{filter:?}"));
            let total = totals
                .get_or_count(
                    key,
                    at,
                    few,
                    tx.count_accounts(principal.reseller, &filter, i64::MAX, at),
                )
                .await?;
            tx.commit().await?;
            Ok(Page {
                accounts,
                total,
                at,
            })
        })
        .await
    }

    /// The journal of an account, newest first, deleted accounts included. A reseller does not see the internal
    /// reasons of holds that others placed.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`].
    pub async fn history(
        &self,
        context: &Context,
        id: AccountId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<JournalEntry>, Error> {
        let account = self.account_or_deleted(context, id).await?;
        let (store, principal) = (self.store.clone(), context.principal.clone());
        self.detached(async move {
            let mut tx = store.begin_reading(&principal.tenancy()).await?;
            let mut entries = tx
                .list_journal(account.reseller_id, id, before, limit)
                .await?;
            tx.commit().await?;
            if principal.authority() == Authority::Reseller {
                entries
                    .iter_mut()
                    .for_each(JournalEntry::hide_reasons_of_others);
            }
            Ok(entries)
        })
        .await
    }

    /// Makes the journal's partitions for today and `days - 1` days ahead, where they are missing; says how many were made.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn prepare_journal(&self, days: i32) -> Result<i32, Error> {
        let (store, today) = (self.store.clone(), self.now().date_naive());
        self.detached(async move {
            let mut tx = store.begin(&Tenancy::Platform).await?;
            let made = tx.prepare_journal(today, days).await?;
            tx.commit().await?;
            Ok(made)
        })
        .await
    }

    /// Drops the days of the journal that are older than `keep`, as far as everything in them was delivered; says how many.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn drop_journal(&self, keep: Duration) -> Result<i32, Error> {
        let before = TimeDelta::from_std(keep)
            .ok()
            .and_then(|keep| self.now().checked_sub_signed(keep))
            .unwrap_or_default()
            .date_naive();
        self.write(Tenancy::Platform, None, move |tx| {
            Box::pin(async move { tx.drop_journal(before).await })
        })
        .await?
        .done()
    }

    /// Forgets answers to requests with an idempotency key that have expired, at most 10,000 at a time; says how many.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn forget_expired_answers(&self) -> Result<u64, Error> {
        let (store, now) = (self.store.clone(), self.now());
        self.detached(async move {
            let mut tx = store.begin(&Tenancy::Platform).await?;
            let forgotten = tx.delete_expired_answers(now, 10_000).await?;
            tx.commit().await?;
            Ok(forgotten)
        })
        .await
    }

    /// The live account of the caller that a number or an address names, telling apart what is nobody's and what is
    /// another reseller's.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`], [`Error::AccountDeleted`] or [`Error::AccountOfAnother`].
    pub async fn find(&self, context: &Context, by: AccountRef) -> Result<AccountId, Error> {
        let (store, principal) = (self.store.clone(), context.principal.clone());
        self.detached(async move {
            let mut tx = store.begin_reading(&Tenancy::Platform).await?;
            let found = match &by {
                AccountRef::Id(id) => tx.locate_account(*id).await?.map(|owner| (owner, *id)),
                AccountRef::Uid(uid) => {
                    let found = tx.locate_accounts(None, &[], &[*uid]).await?;
                    found.first().map(|(owner, id, _)| (*owner, *id))
                }
                AccountRef::Email(email) => {
                    let own = match principal.reseller {
                        Some(reseller) => tx
                            .fetch_account_id(reseller, &email.key())
                            .await?
                            .map(|id| (reseller, id)),
                        None => None,
                    };
                    if own.is_some() {
                        own
                    } else {
                        let mut found = tx.locate_email(&email.key(), 2).await?;
                        if principal.reseller.is_none() && found.len() > 1 {
                            return Err(Error::invalid(
                                "email",
                                "is used by accounts of several resellers",
                            ));
                        }
                        found.pop()
                    }
                }
            };
            let (owner, id) = found.ok_or(Error::AccountNotFound)?;
            if principal.reseller.is_some_and(|reseller| reseller != owner) {
                return Err(Error::AccountOfAnother);
            }
            let account = tx
                .fetch_account(owner, id)
                .await?
                .ok_or(Error::AccountNotFound)?;
            tx.commit().await?;
            if account.deleted_at.is_some() {
                Err(Error::AccountDeleted)
            } else {
                Ok(id)
            }
        })
        .await
    }

    pub(super) async fn change(&self, request: Request) -> Result<Completion, Error> {
        let span = debug_span!(target: telemetry::SPANS, "change", reseller = request.reseller.0);
        self.writes
            .submit(request.reseller, request)
            .instrument(span)
            .await
    }

    /// Whose account this is: for operators, whose credential does not say.
    async fn locate(&self, account: AccountId) -> Result<ResellerId, Error> {
        let store = self.store.clone();
        self.detached(async move {
            let mut tx = store.begin_reading(&Tenancy::Platform).await?;
            let found = tx.locate_account(account).await?;
            tx.commit().await?;
            found.ok_or(Error::AccountNotFound)
        })
        .await
    }
}
