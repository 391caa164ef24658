//! Resellers: made, listed, changed, suspended as a whole. Writing is an operator's; a reseller may look at itself.

use chrono_tz::Tz;

use super::{Completion, IdempotentRequest, Principal, Service};
use crate::domain::{Error, MAX_TEXT, Patch, ResellerId, Resource, Scope};
use crate::store::{Reseller, Tenancy, Tx};

/// A reseller to be made.
#[derive(Debug, Clone, Default)]
pub struct NewReseller {
    /// Its name, unique ignoring case.
    pub name: String,
    /// The rest.
    pub patch: ResellerPatch,
}

/// A change of a reseller; what is not mentioned stays.
#[derive(Debug, Clone, Default)]
pub struct ResellerPatch {
    /// Its name: 1 ..= 255 characters, not only digits, unique ignoring case.
    pub name: Option<String>,
    /// The name of its time zone.
    pub timezone: Option<String>,
    /// Whether the `soap` dialect answers with numbers.
    pub soap_numbers: Option<bool>,
    /// The most accounts it may have, from 0 on.
    pub account_limit: Patch<i32>,
    /// Whether its accounts are purged.
    pub purges: Option<bool>,
    /// How many days an expired account is left alone: 1 ..= 3,650.
    pub purge_grace_days: Option<i32>,
    /// How many accounts one run of the purge may remove, from 1 on.
    pub purge_limit: Option<i32>,
}

impl ResellerPatch {
    fn check(&self) -> Result<(), Error> {
        if let Some(name) = &self.name {
            let length = name.chars().count();
            let only_digits = name.chars().all(|c| c.is_ascii_digit());
            if name.trim() != name
                || only_digits
                || length > MAX_TEXT
                || name
                    .chars()
                    .any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
            {
                return Err(Error::invalid(
                    "name",
                    "must be 1 to 255 characters, not only digits, without space at its ends",
                ));
            }
        }
        if self.account_limit.value().is_some_and(|limit| *limit < 0) {
            return Err(Error::invalid("account_limit", "must not be negative"));
        }
        if self
            .purge_grace_days
            .is_some_and(|days| !(1..=3_650).contains(&days))
        {
            return Err(Error::invalid(
                "purge_grace_days",
                "must be between 1 and 3650",
            ));
        }
        if self.purge_limit.is_some_and(|limit| limit < 1) {
            return Err(Error::invalid("purge_limit", "must be at least 1"));
        }
        if self
            .timezone
            .as_ref()
            .is_some_and(|zone| zone.parse::<Tz>().is_err())
        {
            return Err(Error::invalid(
                "timezone",
                "must be the name of a time zone such as Europe/Berlin",
            ));
        }
        Ok(())
    }

    fn over(self, reseller: &mut Reseller) {
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
    /// Makes a reseller.
    ///
    /// # Errors
    /// [`Error::InvalidField`] or [`Error::InsufficientScope`].
    pub async fn create_reseller(
        &self,
        by: &Principal,
        new: NewReseller,
        once: Option<IdempotentRequest<Reseller>>,
    ) -> Result<Completion<Reseller>, Error> {
        by.require(Scope::ResellerWrite)?;
        let patch = ResellerPatch {
            name: Some(new.name.clone()),
            ..new.patch
        };
        patch.check()?;
        let now = self.now();
        let work = self.write(Tenancy::Platform, once, move |tx| {
            Box::pin(async move {
                let id = tx.insert_reseller(&new.name, now).await?;
                let mut reseller = find(tx, id).await?;
                patch.over(&mut reseller);
                tx.update_reseller(&reseller).await?;
                Ok(reseller)
            })
        });
        work.await
    }

    /// Resellers by identity, behind `after`: an operator's call lists all, a reseller's itself.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn resellers(
        &self,
        by: &Principal,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Reseller>, Error> {
        let (store, by) = (self.store.clone(), by.clone());
        self.detached(async move {
            let mut tx = store.begin_reading(&by.tenancy()).await?;
            let resellers = tx.list_resellers(by.reseller, after, limit).await?;
            tx.commit().await?;
            Ok(resellers)
        })
        .await
    }

    /// One reseller.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn reseller(&self, by: &Principal, id: ResellerId) -> Result<Reseller, Error> {
        if by.reseller.is_some_and(|own| own != id) {
            return Err(Error::NotFound(Resource::Reseller));
        }
        let (store, by) = (self.store.clone(), by.clone());
        self.detached(async move {
            let mut tx = store.begin_reading(&by.tenancy()).await?;
            let found = find(&mut tx, id).await;
            tx.commit().await?;
            found
        })
        .await
    }

    /// The reseller that people mean by its number or its name.
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
        let (store, name) = (self.store.clone(), id_or_name.to_owned());
        self.detached(async move {
            let mut tx = store.begin_reading(&Tenancy::Platform).await?;
            let found = tx.fetch_reseller_named(&name).await?;
            tx.commit().await?;
            found.ok_or(Error::ResellerNotFound)
        })
        .await
    }

    /// Changes a reseller.
    ///
    /// # Errors
    /// [`Error::InvalidField`], [`Error::NotFound`] or [`Error::InsufficientScope`].
    pub async fn revise_reseller(
        &self,
        by: &Principal,
        id: ResellerId,
        patch: ResellerPatch,
        once: Option<IdempotentRequest<Reseller>>,
    ) -> Result<Completion<Reseller>, Error> {
        by.require(Scope::ResellerWrite)?;
        patch.check()?;
        let now = self.now();
        let work = self.write(Tenancy::Platform, once, move |tx| {
            Box::pin(async move {
                tx.lock_reseller(id).await?;
                let mut reseller = find(tx, id).await?;
                let before = reseller.clone();
                patch.over(&mut reseller);
                if reseller != before {
                    reseller.updated_at = now;
                    tx.update_reseller(&reseller).await?;
                    // What is remembered of a credential has its reseller's preferences.
                    tx.announce_credentials(id).await?;
                }
                Ok(reseller)
            })
        });
        let answered = work.await?;
        self.forget_credentials(id);
        Ok(answered)
    }

    /// Suspends a reseller as a whole, or lifts that; its accounts are covered without being touched. A repeat changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::InsufficientScope`].
    pub async fn suspend_reseller(
        &self,
        by: &Principal,
        id: ResellerId,
        suspend: bool,
        once: Option<IdempotentRequest<Reseller>>,
    ) -> Result<Completion<Reseller>, Error> {
        by.require(Scope::ResellerWrite)?;
        let now = self.now();
        let work = self.write(Tenancy::Platform, once, move |tx| {
            Box::pin(async move {
                tx.lock_reseller(id).await?;
                tx.suspend_reseller(id, suspend, now).await?;
                find(tx, id).await
            })
        });
        work.await
    }
}

async fn find(tx: &mut Tx, id: ResellerId) -> Result<Reseller, Error> {
    tx.list_resellers(Some(id), 0, 1)
        .await?
        .pop()
        .ok_or(Error::NotFound(Resource::Reseller))
}
