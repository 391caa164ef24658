//! Resellers: made, listed, suspended as a whole.

use chrono_tz::Tz;

use super::Service;
use crate::domain::{Error, MAX_TEXT, ResellerId};
use crate::store::{Preferences, Reseller, Tenancy};

impl Service {
    /// Makes a reseller. `account_limit`: the most accounts it may have; none: no limit.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `name`.
    pub async fn create_reseller(&self, name: String, account_limit: Option<i32>) -> Result<Reseller, Error> {
        let length = name.chars().count();
        let only_digits = name.chars().all(|c| c.is_ascii_digit());
        if name.trim() != name || only_digits || length > MAX_TEXT || name.chars().any(char::is_control) {
            return Err(Error::invalid("name", "must be 1 to 255 characters, not only digits, without space at its ends"));
        }
        if account_limit.is_some_and(|limit| limit < 0) {
            return Err(Error::invalid("account_limit", "must not be negative"));
        }
        let (store, now) = (self.store.clone(), self.now());
        self.detached(async move {
            let mut tx = store.begin(&Tenancy::Platform).await?;
            let reseller = tx.insert_reseller(&name, account_limit, now).await?;
            tx.commit().await?;
            Ok(reseller)
        })
        .await
    }

    /// Every reseller.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn resellers(&self) -> Result<Vec<Reseller>, Error> {
        let store = self.store.clone();
        self.detached(async move {
            let mut tx = store.begin_reading(&Tenancy::Platform).await?;
            let resellers = tx.list_resellers().await?;
            tx.commit().await?;
            Ok(resellers)
        })
        .await
    }

    /// The reseller that people mean by its number or its name.
    ///
    /// # Errors
    /// [`Error::ResellerNotFound`].
    pub async fn find_reseller(&self, id_or_name: &str) -> Result<ResellerId, Error> {
        if let Ok(id) = id_or_name.parse() {
            let known = self.resellers().await?;
            return known.iter().map(|reseller| reseller.id).find(|it| *it == ResellerId(id)).ok_or(Error::ResellerNotFound);
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

    /// Changes how a reseller wants to be spoken to; what is none stays.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `timezone`, [`Error::ResellerNotFound`].
    pub async fn prefer(&self, reseller: ResellerId, timezone: Option<String>, soap_numbers: Option<bool>) -> Result<Preferences, Error> {
        if timezone.as_ref().is_some_and(|zone| zone.parse::<Tz>().is_err()) {
            return Err(Error::invalid("timezone", "must be the name of a time zone such as Europe/Berlin"));
        }
        let (store, now) = (self.store.clone(), self.now());
        self.detached(async move {
            let mut tx = store.begin(&Tenancy::Platform).await?;
            let preferences = tx.update_preferences(reseller, timezone.as_deref(), soap_numbers, now).await?;
            tx.commit().await?;
            Ok(preferences)
        })
        .await
    }

    /// Suspends a reseller as a whole, or lifts that; its accounts are covered without being touched. Says whether
    /// anything changed.
    ///
    /// # Errors
    /// [`Error::ResellerNotFound`].
    pub async fn suspend_reseller(&self, reseller: ResellerId, suspend: bool) -> Result<bool, Error> {
        let (store, now) = (self.store.clone(), self.now());
        self.detached(async move {
            let mut tx = store.begin(&Tenancy::Platform).await?;
            let changed = tx.suspend_reseller(reseller, suspend, now).await?;
            tx.commit().await?;
            Ok(changed)
        })
        .await
    }
}
