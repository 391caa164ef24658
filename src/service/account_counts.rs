//! How many accounts each reseller has: the number is kept, and this job keeps it right.

use tracing::warn;

use super::Service;
use crate::domain::Error;
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
        for reseller in resellers {
            loop {
                let settled = self
                    .background_write(Tenancy::of(reseller), move |tx| {
                        Box::pin(tx.settle_account_count(reseller, PAGE))
                    })
                    .await?;
                if settled < PAGE {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Counts the accounts of the resellers with a limit anew. The kept number can be wrong only
    /// while a build from before it deletes accounts.
    pub async fn recount_accounts(&self) -> Result<(), Error> {
        let resellers = self
            .background_read(Tenancy::Platform, |tx| {
                Box::pin(tx.list_limited_resellers())
            })
            .await?;
        for reseller in resellers {
            let difference = self
                .background_write(Tenancy::of(reseller), move |tx| {
                    Box::pin(tx.recount_accounts(reseller))
                })
                .await?;
            if difference != 0 {
                warn!(%reseller, difference, "the kept number of accounts was wrong");
            }
        }
        Ok(())
    }
}
