//! Finds the account that a caller names by its number, outside identity or e-mail address.

use std::collections::HashMap;

use uuid::Uuid;

use crate::domain::{Account, AccountId, AccountKey, Email, Error, ResellerId, Time};
use crate::service::{Context, Service};
use crate::shares::Holder;
use crate::store::{Tenancy, Tx};

/// How a caller names an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AccountRef {
    /// By its number.
    Id(AccountId),
    /// By its outside identity.
    Uid(Uuid),
    /// By its e-mail address. Only an account that is not deleted has one.
    Email(Email),
}

impl Service {
    /// Finds the caller's live account with this name, and returns its number. Unlike
    /// [`Service::resolve`], it distinguishes an account of another reseller from one that does not
    /// exist.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`], [`Error::AccountDeleted`] or [`Error::AccountOfAnother`];
    /// [`Error::InvalidField`] if an operator names an address that several resellers use.
    pub async fn find(&self, context: &Context, account: AccountRef) -> Result<AccountId, Error> {
        let caller = context.principal.reseller;
        let holder = Holder::Reseller(context.principal.storage_reseller());
        let work = self.read_as(holder, Tenancy::Platform, move |tx| {
            Box::pin(async move {
                let (owner, id) = match &account {
                    AccountRef::Id(id) => tx.locate_account(*id).await?.map(|owner| (owner, *id)),
                    AccountRef::Uid(uid) => {
                        let found = tx.locate_accounts(None, &[], &[*uid]).await?;
                        found.first().map(|(owner, id, _)| (*owner, *id))
                    }
                    AccountRef::Email(email) => match find_own_email(tx, caller, email).await? {
                        Some(own) => Some(own),
                        None if caller.is_some() => {
                            let found = tx.locate_email(&email.possible_keys(), 1).await?;
                            found.first().copied()
                        }
                        None => None,
                    },
                }
                .ok_or(Error::AccountNotFound)?;
                if caller.is_some_and(|caller| caller != owner) {
                    return Err(Error::AccountOfAnother);
                }
                let account = tx
                    .fetch_account(owner, id)
                    .await?
                    .ok_or(Error::AccountNotFound)?;
                if account.deleted_at.is_some() {
                    Err(Error::AccountDeleted)
                } else {
                    Ok(id)
                }
            })
        });
        work.await
    }

    /// The number of the caller's account with an outside identity, deleted accounts included.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`], also if the account is another reseller's.
    pub async fn resolve(&self, context: &Context, uid: Uuid) -> Result<AccountId, Error> {
        self.read(context.principal.tenancy(), move |tx| {
            Box::pin(async move { tx.locate_uid(uid).await?.ok_or(Error::AccountNotFound) })
        })
        .await
    }

    /// The keys of the caller's accounts with these names. For numbers and outside identities
    /// deleted accounts are included. A name that no account of the caller has is
    /// [`Error::AccountNotFound`].
    ///
    /// Numbers and outside identities are found by one statement. A reseller's addresses are found
    /// by one more. An operator's addresses take a statement each, because several resellers may
    /// use the same address; such an address is [`Error::InvalidField`].
    pub async fn resolve_all(
        &self,
        context: &Context,
        accounts: Vec<AccountRef>,
    ) -> Result<HashMap<AccountRef, Result<AccountKey, Error>>, Error> {
        let caller = context.principal.reseller;
        self.read(context.principal.tenancy(), move |tx| {
            Box::pin(async move {
                let (mut ids, mut uids, mut emails) = (Vec::new(), Vec::new(), Vec::new());
                for account in &accounts {
                    match account {
                        AccountRef::Id(id) => ids.push(id.as_i32()),
                        AccountRef::Uid(uid) => uids.push(*uid),
                        AccountRef::Email(email) => emails.push(email.clone()),
                    }
                }
                let mut keys: HashMap<_, _> = accounts
                    .into_iter()
                    .map(|account| (account, Err(Error::AccountNotFound)))
                    .collect();
                for (reseller, id, uid) in tx.locate_accounts(caller, &ids, &uids).await? {
                    for account in [AccountRef::Id(id), AccountRef::Uid(uid)] {
                        keys.insert(account, Ok((reseller, id)));
                    }
                }
                for (email, key) in find_emails(tx, caller, emails).await? {
                    keys.insert(AccountRef::Email(email), key);
                }
                Ok(keys)
            })
        })
        .await
    }

    /// The account with an outside identity, whatever its reseller, deleted accounts included. It
    /// serves the page for the account's own user, who has no credential, so the look-up uses the
    /// share of `holder`, the user's address.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`].
    pub async fn notice(&self, uid: Uuid, holder: Holder) -> Result<(Account, Time), Error> {
        let found = self
            .read_as(holder, Tenancy::Platform, move |tx| {
                Box::pin(async move { tx.locate_accounts(None, &[], &[uid]).await })
            })
            .await?;
        let (reseller, id, _) = found.into_iter().next().ok_or(Error::AccountNotFound)?;
        let account = self.reads.submit((reseller, id)).await?;
        Ok((account.ok_or(Error::AccountNotFound)?, self.now()))
    }

    /// The reseller under which a request looks for an account. For a reseller's request it is the
    /// caller, without a look-up; the account may still turn out to be another's. For an operator's
    /// request it is the account's owner.
    pub(in crate::service) async fn owner_of(
        &self,
        context: &Context,
        account: AccountId,
    ) -> Result<ResellerId, Error> {
        if let Some(own) = context.principal.reseller {
            return Ok(own);
        }
        // Boxed: operators are rare, and this part should not make every request's future larger.
        let work = self.read(Tenancy::Platform, move |tx| {
            Box::pin(async move { tx.locate_account(account).await })
        });
        Box::pin(work).await?.ok_or(Error::AccountNotFound)
    }
}

/// The live account with an address. A reseller's own accounts are searched, or, for an operator,
/// the accounts of all resellers.
async fn find_own_email(
    tx: &mut Tx,
    caller: Option<ResellerId>,
    email: &Email,
) -> Result<Option<AccountKey>, Error> {
    if let Some(reseller) = caller {
        let found = find_emails_of(tx, reseller, std::slice::from_ref(email)).await?;
        return Ok(found.into_iter().next().flatten().map(|id| (reseller, id)));
    }
    let found = tx.locate_email(&email.possible_keys(), 2).await?;
    let owner = found.first().copied();
    if owner.is_some_and(|(owner, _)| found.iter().any(|(other, _)| *other != owner)) {
        return Err(Error::invalid(
            "email",
            "is used by accounts of several resellers",
        ));
    }
    Ok(owner)
}

/// As [`find_own_email`], for many addresses. Each address has its own result.
async fn find_emails(
    tx: &mut Tx,
    caller: Option<ResellerId>,
    emails: Vec<Email>,
) -> Result<Vec<(Email, Result<AccountKey, Error>)>, Error> {
    let mut keys = Vec::with_capacity(emails.len());
    let Some(reseller) = caller else {
        for email in emails {
            let key = match find_own_email(tx, None, &email).await {
                Ok(key) => key.ok_or(Error::AccountNotFound),
                Err(error @ Error::InvalidField { .. }) => Err(error),
                Err(error) => return Err(error),
            };
            keys.push((email, key));
        }
        return Ok(keys);
    };
    if !emails.is_empty() {
        let found = find_emails_of(tx, reseller, &emails).await?;
        keys.extend(emails.into_iter().zip(found).map(|(email, id)| {
            let key = id.map(|id| (reseller, id)).ok_or(Error::AccountNotFound);
            (email, key)
        }));
    }
    Ok(keys)
}

/// The live accounts of a reseller that have these addresses, in their order.
async fn find_emails_of(
    tx: &mut Tx,
    reseller: ResellerId,
    emails: &[Email],
) -> Result<Vec<Option<AccountId>>, Error> {
    let wanted: Vec<_> = emails
        .iter()
        .flat_map(Email::possible_keys)
        .map(|key| (reseller, key))
        .collect();
    let found = tx.fetch_emails(&wanted).await?;
    let find = |email: &Email| {
        let mut keys = email.possible_keys().into_iter();
        keys.find_map(|key| found.get(&(reseller, key)).copied())
    };
    Ok(emails.iter().map(find).collect())
}
