//! Imports: accounts of another system, many in one transaction.

use std::collections::BTreeSet;

use super::group_commit::{ImportBatch, ImportOutcome, ImportOutcomes, import};
use super::{Context, Service};
use crate::domain::{Error, Scope};

impl Service {
    /// Imports accounts in one transaction. The outcomes are in the order of the rows; there are
    /// fewer if the batch stopped at a problem, which is then the last one.
    ///
    /// # Errors
    /// [`Error::ResellerNotFound`]. After [`Error::Unavailable`] the rows may have been committed or
    /// not. It is safe to import them again: rows that are in count as already there.
    pub async fn import_accounts(
        &self,
        context: &Context,
        batch: ImportBatch,
    ) -> Result<ImportOutcomes, Error> {
        context.principal.require(Scope::AccountWrite)?;
        context.principal.resolve_reseller(Some(batch.reseller))?;
        let (store, context, now) = (self.store.clone(), context.clone(), self.now());
        let (process, events) = (self.process, self.events.clone());
        self.detached(async move {
            let outcomes = import(&store, &context, &batch, now).await?;
            let has_events = |outcome: &Result<ImportOutcome, _>| {
                matches!(
                    outcome,
                    Ok(ImportOutcome::Created(_) | ImportOutcome::Updated(..))
                )
            };
            if batch.is_writing && outcomes.iter().any(has_events) {
                let resellers = BTreeSet::from([batch.reseller]);
                // Readers in this process and in others also poll, so a lost notification is a delay.
                let _no_receiver = events.send(super::News::Events(vec![batch.reseller]));
                let _lost = store.announce_events(process, &resellers).await;
            }
            Ok(outcomes)
        })
        .await
    }
}
