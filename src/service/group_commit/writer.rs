//! Carries out a batch of changes: together, or one by one where that fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument as _, Span, warn};

use super::batch::{self, BatchError};
use super::request::Request;
use crate::domain::{Error, ResellerId};
use crate::service::Clock;
use crate::service::idempotency::Completion;
use crate::service::notifier::Notifier;
use crate::service::settings::{CommitScope, Settings};
use crate::service::transaction::panicked;
use crate::store::Store;

/// What carries out changes.
#[derive(Clone)]
pub(in crate::service) struct Writer {
    pub(in crate::service) store: Store,
    pub(in crate::service) clock: Clock,
    pub(in crate::service) settings: Settings,
    pub(in crate::service) notifier: Notifier,
}

impl Writer {
    pub(in crate::service) async fn carry_out(
        self,
        requests: Vec<Request>,
    ) -> Vec<Result<Completion, Error>> {
        if self.settings.scope == CommitScope::All {
            return self.carry_out_together(requests).await;
        }
        // Each reseller's in turn; the outcomes go back to their places.
        let mut groups: BTreeMap<ResellerId, (Vec<usize>, Vec<Request>)> = BTreeMap::new();
        let mut outcomes: Vec<_> = requests.iter().map(|_| Err(Error::Unavailable)).collect();
        for (place, request) in requests.into_iter().enumerate() {
            let group = groups.entry(request.reseller).or_default();
            group.0.push(place);
            group.1.push(request);
        }
        for (places, requests) in groups.into_values() {
            for (place, outcome) in places
                .into_iter()
                .zip(self.carry_out_together(requests).await)
            {
                if let Some(kept) = outcomes.get_mut(place) {
                    *kept = outcome;
                }
            }
        }
        outcomes
    }

    async fn carry_out_together(&self, requests: Vec<Request>) -> Vec<Result<Completion, Error>> {
        let requests: Arc<[Request]> = requests.into();
        let failed = match self.commit(Arc::clone(&requests)).await {
            Ok(outcomes) => return outcomes,
            Err(failed) => failed,
        };
        if !failed.is_worth_trying_alone {
            return requests.iter().map(|_| Err(failed.error.clone())).collect();
        }
        warn!(cause = %failed.error, requests = requests.len(), "a batch failed; trying its requests one by one");
        let mut outcomes = Vec::with_capacity(requests.len());
        for request in &*requests {
            let alone = self.commit(Arc::from(vec![request.clone()])).await;
            let outcome = alone.map_or_else(
                |failed| Err(failed.error),
                |mut outcomes| outcomes.pop().unwrap_or(Err(Error::Unavailable)),
            );
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Commits requests in one transaction, in a task of its own, so that not even a panic ends the lane.
    async fn commit(
        &self,
        requests: Arc<[Request]>,
    ) -> Result<Vec<Result<Completion, Error>>, BatchError> {
        let (store, now, settings) = (self.store.clone(), self.clock.now(), self.settings.clone());
        let limit: Duration = settings.transaction_timeout;
        let work =
            async move { batch::commit(&store, &requests, now, settings.idempotency_window).await };
        match tokio::spawn(tokio::time::timeout(limit, work).instrument(Span::current())).await {
            Ok(Ok(result)) => result.map(|committed| {
                self.notifier.notify(committed.told);
                committed.outcomes
            }),
            Ok(Err(_elapsed)) => Err(BatchError {
                error: Error::Unavailable,
                is_worth_trying_alone: false,
            }),
            Err(panic) => Err(BatchError {
                error: panicked(&panic),
                is_worth_trying_alone: true,
            }),
        }
    }
}
