//! The supply of account numbers.
//!
//! A number is a positive 32-bit integer, as in the APIs that Steward imitates, and is drawn from
//! one sequence for all resellers. It is never given twice, also after a purge. So the supply can
//! end, and an operator has to know long before.

use tracing::warn;

use super::Service;
use crate::domain::Error;
use crate::store::{ACCOUNT_NUMBERS, ACCOUNT_NUMBERS_ALARM, Tenancy};

impl Service {
    /// Puts into the metrics how many account numbers have been given away, and logs a warning if
    /// it is more than half of all.
    pub async fn observe_account_numbers(&self) -> Result<(), Error> {
        let used = self
            .background_read(Tenancy::Platform, |tx| Box::pin(tx.count_account_ids()))
            .await?;
        self.metrics.set_account_numbers(used);
        if used >= ACCOUNT_NUMBERS_ALARM {
            warn!(
                used,
                limit = ACCOUNT_NUMBERS,
                "more than half of all account numbers have been given away; when none is left, no \
                 account can be created"
            );
        }
        Ok(())
    }
}
