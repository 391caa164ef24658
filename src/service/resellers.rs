//! Resellers: created, listed, changed, suspended as a whole. Only operators change them; a
//! reseller may read itself.

use super::{Completion, IdempotentRequest, Principal, Service, Written};
use crate::domain::{
    Error, MAX_TEXT, Patch, ResellerId, Resource, Scope, check_text, check_time_zone,
};
use crate::store::{Reseller, Suspension, Tenancy, Tx};

/// A reseller to be created.
#[derive(Debug, Clone, Default)]
pub struct NewReseller {
    /// The name, unique regardless of case.
    pub name: String,
    /// The other fields.
    pub patch: ResellerPatch,
}

/// A change of a reseller. A field that is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ResellerPatch {
    /// The name: 1 ..= 255 characters, not only digits, unique regardless of case.
    pub name: Option<String>,
    /// The time zone by its IANA name.
    pub timezone: Option<String>,
    /// Whether the `soap` dialect answers with numbers instead of words.
    pub soap_numbers: Option<bool>,
    /// How many accounts the reseller may have at most, from 0 on.
    pub account_limit: Patch<i32>,
    /// Whether the purge removes the reseller's accounts.
    pub purges: Option<bool>,
    /// How many days after its expiry an account may be purged: 1 ..= 3,650.
    pub purge_grace_days: Option<i32>,
    /// How many accounts one run of the purge may remove without approval, from 1 on.
    pub purge_limit: Option<i32>,
}

impl ResellerPatch {
    /// Checks the values, except for the name and the time zone of `present`: an earlier version may
    /// have stored names that this one refuses, and a caller may send them back.
    fn check(&self, present: Option<&Reseller>) -> Result<(), Error> {
        let name = self.name.as_ref();
        if let Some(name) = name.filter(|name| present.is_none_or(|it| it.name != **name)) {
            check_text("name", name, MAX_TEXT)?;
            if name.trim() != name || name.chars().all(|c| c.is_ascii_digit()) {
                return Err(Error::invalid(
                    "name",
                    "must be 1 to 255 characters, not only digits, without space at its ends",
                ));
            }
        }
        if let Some(limit) = self.account_limit.value().filter(|limit| **limit < 0) {
            return Err(Error::out_of_range("account_limit", "at least 0", limit));
        }
        if let Some(days) = self.purge_grace_days.filter(|it| !(1..=3_650).contains(it)) {
            return Err(Error::out_of_range(
                "purge_grace_days",
                "between 1 and 3650",
                days,
            ));
        }
        if let Some(limit) = self.purge_limit.filter(|limit| *limit < 1) {
            return Err(Error::out_of_range("purge_limit", "at least 1", limit));
        }
        let zone = self.timezone.as_ref();
        let changed = zone.filter(|zone| present.is_none_or(|it| it.timezone != **zone));
        changed.map_or(Ok(()), |zone| check_time_zone(zone))
    }

    fn apply_to(self, reseller: &mut Reseller) {
        if let Some(name) = self.name {
            reseller.name = name;
        }
        if let Some(timezone) = self.timezone {
            reseller.timezone = timezone;
        }
        if let Some(numbers) = self.soap_numbers {
            reseller.soap_numbers = numbers;
        }
        reseller.purge.is_on = self.purges.unwrap_or(reseller.purge.is_on);
        reseller.purge.grace_days = self.purge_grace_days.unwrap_or(reseller.purge.grace_days);
        reseller.purge.limit = self.purge_limit.unwrap_or(reseller.purge.limit);
        reseller.account_limit = self.account_limit.over(reseller.account_limit.as_ref());
    }
}

impl Service {
    /// Creates a reseller.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub async fn create_reseller(
        &self,
        caller: &Principal,
        new: NewReseller,
        idempotency: Option<IdempotentRequest<Reseller>>,
    ) -> Result<Completion<Reseller>, Error> {
        caller.require_operator(Scope::ResellerWrite)?;
        let patch = ResellerPatch {
            name: Some(new.name.clone()),
            ..new.patch
        };
        patch.check(None)?;
        let now = self.now();
        self.write_once(caller, Tenancy::Platform, idempotency, move |tx| {
            Box::pin(async move {
                let id = tx.insert_reseller(&new.name, now).await?;
                let mut reseller = fetch(tx, id).await?;
                patch.apply_to(&mut reseller);
                tx.update_reseller(&reseller).await?;
                Ok(reseller)
            })
        })
        .await
    }

    /// Resellers with an id above `after`, in the order of their ids. An operator gets all, a
    /// reseller gets only itself.
    pub async fn resellers(
        &self,
        caller: &Principal,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Reseller>, Error> {
        let own = caller.reseller;
        self.read(caller.tenancy(), move |tx| {
            Box::pin(tx.list_resellers(own, after, limit))
        })
        .await
    }

    /// One reseller.
    ///
    /// # Errors
    /// [`Error::NotFound`], also if a reseller names another one.
    pub async fn reseller(&self, caller: &Principal, id: ResellerId) -> Result<Reseller, Error> {
        if caller.reseller.is_some_and(|own| own != id) {
            return Err(Error::NotFound(Resource::Reseller));
        }
        self.read(caller.tenancy(), move |tx| Box::pin(fetch(tx, id)))
            .await
    }

    /// The suspensions of a reseller, newest first, with an id below `before`.
    ///
    /// # Errors
    /// [`Error::NotFound`], also if a reseller names another one.
    pub async fn suspensions(
        &self,
        caller: &Principal,
        id: ResellerId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Suspension>, Error> {
        caller.require(Scope::AccountRead)?;
        self.reseller(caller, id).await?;
        self.read(Tenancy::of(id), move |tx| {
            Box::pin(tx.list_suspensions(id, None, before, limit))
        })
        .await
    }

    /// The reseller that an operator named by its id or its name. Names never consist of digits
    /// only, so the two cannot be confused.
    ///
    /// # Errors
    /// [`Error::ResellerNotFound`].
    pub async fn find_reseller(&self, id_or_name: &str) -> Result<ResellerId, Error> {
        if let Ok(id) = id_or_name.parse() {
            return self
                .reseller(&Principal::command_line(), ResellerId(id))
                .await
                .map(|found| found.id)
                .map_err(|_| Error::ResellerNotFound);
        }
        let name = id_or_name.to_owned();
        let found = self
            .read(Tenancy::Platform, move |tx| {
                Box::pin(async move { tx.fetch_reseller_named(&name).await })
            })
            .await?;
        found.ok_or(Error::ResellerNotFound)
    }

    /// Changes a reseller.
    ///
    /// # Errors
    /// [`Error::InvalidField`] or [`Error::NotFound`].
    pub async fn revise_reseller(
        &self,
        caller: &Principal,
        id: ResellerId,
        patch: ResellerPatch,
        idempotency: Option<IdempotentRequest<Written<Reseller>>>,
    ) -> Result<Completion<Written<Reseller>>, Error> {
        caller.require_operator(Scope::ResellerWrite)?;
        let now = self.now();
        let completion = self
            .write_once(caller, Tenancy::Platform, idempotency, move |tx| {
                Box::pin(async move {
                    tx.lock_reseller(id).await?;
                    let mut reseller = fetch(tx, id).await?;
                    let before = reseller.clone();
                    patch.check(Some(&before))?;
                    patch.apply_to(&mut reseller);
                    let is_changed = reseller != before;
                    if is_changed {
                        reseller.updated_at = now;
                        tx.update_reseller(&reseller).await?;
                        // Credential caches hold the reseller's time zone and code style too.
                        tx.announce_credentials(id).await?;
                    }
                    Ok(Written {
                        value: reseller,
                        is_changed,
                    })
                })
            })
            .await?;
        self.forget_credentials(id);
        Ok(completion)
    }

    /// Suspends a reseller as a whole, or lifts its suspension. Its accounts are blocked without a
    /// change of any account, and its credentials can only read until the suspension is lifted. A
    /// repeat changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn suspend_reseller(
        &self,
        caller: &Principal,
        id: ResellerId,
        suspend: bool,
        idempotency: Option<IdempotentRequest<Written<Reseller>>>,
    ) -> Result<Completion<Written<Reseller>>, Error> {
        caller.require_operator(Scope::ResellerWrite)?;
        let (now, by) = (self.now(), caller.actor().name);
        let completion = self
            .write_once(caller, Tenancy::Platform, idempotency, move |tx| {
                Box::pin(async move {
                    tx.lock_reseller(id).await?;
                    let is_changed = tx.suspend_reseller(id, suspend, &by, now).await?;
                    if is_changed {
                        // Credential caches have whether the reseller is suspended.
                        tx.announce_credentials(id).await?;
                    }
                    let value = fetch(tx, id).await?;
                    Ok(Written { value, is_changed })
                })
            })
            .await?;
        self.forget_credentials(id);
        Ok(completion)
    }
}

/// Locks the reseller that a request names as the owner of something new.
pub(super) async fn lock_named_reseller(tx: &mut Tx, reseller: ResellerId) -> Result<(), Error> {
    match tx.lock_reseller(reseller).await {
        Err(Error::NotFound(Resource::Reseller)) => Err(Error::ResellerNotFound),
        result => result,
    }
}

async fn fetch(tx: &mut Tx, id: ResellerId) -> Result<Reseller, Error> {
    tx.list_resellers(Some(id), 0, 1)
        .await?
        .pop()
        .ok_or(Error::NotFound(Resource::Reseller))
}
