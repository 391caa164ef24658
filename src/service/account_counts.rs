//! How many accounts each reseller has: the number is kept, and this job keeps it right.

use tracing::warn;

use super::Service;
use crate::domain::{Error, ResellerId};
use crate::store::Tenancy;

/// How many resellers one run looks at, at most.
const RESELLERS: i64 = 1_000;
/// How many accounts are counted in or out in one transaction. Creations of the reseller wait for
/// it.
const PAGE: i64 = 250;

impl Service {
    /// Counts in and out the accounts that were deleted or restored since the last run. Until then
    /// each creation looks at them, if the reseller has a limit.
    pub async fn settle_account_counts(&self) -> Result<(), Error> {
        let resellers = self
            .background_read(Tenancy::Platform, |tx| {
                Box::pin(tx.list_miscounted(RESELLERS))
            })
            .await?;
        // A reseller that fails holds up no other one.
        let mut outcome = Ok(());
        for reseller in resellers {
            outcome = outcome.and(self.settle_account_count(reseller).await);
        }
        outcome
    }

    async fn settle_account_count(&self, reseller: ResellerId) -> Result<(), Error> {
        loop {
            let settled = self
                .background_write(Tenancy::of(reseller), move |tx| {
                    Box::pin(tx.settle_account_count(reseller, PAGE))
                })
                .await?;
            if settled < PAGE {
                return Ok(());
            }
        }
    }

    /// Counts the accounts of the resellers with a limit anew. The kept number can be wrong only
    /// while a build from before it deletes accounts.
    pub async fn recount_accounts(&self) -> Result<(), Error> {
        let resellers = self
            .background_read(Tenancy::Platform, |tx| {
                Box::pin(tx.list_limited_resellers())
            })
            .await?;
        let mut outcome = Ok(());
        for reseller in resellers {
            outcome = outcome.and(self.recount_accounts_of(reseller).await);
        }
        outcome
    }

    async fn recount_accounts_of(&self, reseller: ResellerId) -> Result<(), Error> {
        let lacks = self
            .background_read(Tenancy::of(reseller), move |tx| {
                Box::pin(tx.recount_accounts(reseller))
            })
            .await?;
        if lacks == 0 {
            return Ok(());
        }
        warn!(%reseller, lacks, "the kept number of accounts was wrong");
        // Several processes recount. The lock lets one correct the number, and the others see it.
        self.background_write(Tenancy::of(reseller), move |tx| {
            Box::pin(async move {
                tx.lock_reseller(reseller).await?;
                let lacks = tx.recount_accounts(reseller).await?;
                tx.correct_account_count(reseller, lacks).await
            })
        })
        .await
    }
}
