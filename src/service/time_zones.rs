//! The time zones of dates that callers send without one: those of the resellers whose accounts the
//! dates are for, whoever the caller is.

use std::collections::HashMap;

use chrono_tz::Tz;
use uuid::Uuid;

use super::{AccountRef, Context, Service};
use crate::domain::{Error, ResellerId};
use crate::store::Tenancy;

impl Service {
    /// The time zone of an account. UTC if the caller has no such account.
    pub async fn zone_of(&self, context: &Context, account: AccountRef) -> Result<Tz, Error> {
        let zones = self.zones_of(context, vec![account]).await?;
        Ok(zones.into_values().next().unwrap_or_default())
    }

    /// The time zones of accounts. UTC for those that the caller does not have. A reseller's accounts
    /// have its own zone; only an operator's are looked up.
    pub async fn zones_of(
        &self,
        context: &Context,
        accounts: Vec<AccountRef>,
    ) -> Result<HashMap<AccountRef, Tz>, Error> {
        if context.principal.reseller.is_some() {
            let zone = context.principal.timezone;
            return Ok(accounts.into_iter().map(|it| (it, zone)).collect());
        }
        let keys = self.resolve_all(context, accounts).await?;
        let owners: Vec<i64> = keys.values().flatten().map(|(owner, _)| owner.0).collect();
        let zones = self
            .read(Tenancy::Platform, move |tx| {
                Box::pin(async move { tx.fetch_time_zones(&owners).await })
            })
            .await?;
        let zone = |key: Result<(ResellerId, _), Error>| {
            let (owner, _) = key.ok()?;
            zones.get(&owner)?.parse().ok()
        };
        let zones = keys.into_iter();
        Ok(zones
            .map(|(account, key)| (account, zone(key).unwrap_or_default()))
            .collect())
    }

    /// The time zone of a reseller. UTC if there is none with this number, or none is named.
    pub async fn zone_of_reseller(
        &self,
        context: &Context,
        reseller: Option<ResellerId>,
    ) -> Result<Tz, Error> {
        if context.principal.reseller.is_some() {
            return Ok(context.principal.timezone);
        }
        let Some(reseller) = reseller else {
            return Ok(Tz::UTC);
        };
        let zones = self
            .read(Tenancy::Platform, move |tx| {
                Box::pin(async move { tx.fetch_time_zones(&[reseller.0]).await })
            })
            .await?;
        let zone = zones.get(&reseller).and_then(|zone| zone.parse().ok());
        Ok(zone.unwrap_or_default())
    }

    /// The time zone of the reseller of a webhook endpoint. UTC if there is no such endpoint.
    pub async fn zone_of_webhook(&self, context: &Context, id: Uuid) -> Result<Tz, Error> {
        if context.principal.reseller.is_some() {
            return Ok(context.principal.timezone);
        }
        let endpoint = self
            .read(Tenancy::Platform, move |tx| {
                Box::pin(tx.fetch_endpoint(None, id))
            })
            .await?;
        let owner = endpoint.map(|endpoint| endpoint.reseller_id);
        self.zone_of_reseller(context, owner).await
    }

    /// The time zones of the accounts that the caller may list.
    pub async fn zones(&self, context: &Context) -> Result<Vec<Tz>, Error> {
        if context.principal.reseller.is_some() {
            return Ok(vec![context.principal.timezone]);
        }
        let zones = self
            .read(Tenancy::Platform, |tx| Box::pin(tx.list_time_zones()))
            .await?;
        Ok(zones.iter().filter_map(|zone| zone.parse().ok()).collect())
    }
}
