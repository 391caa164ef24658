//! Carries out the changes that a lane has taken: together, or one by one if that fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::{Instrument as _, Span, warn};

use super::batch::{self, BatchError};
use super::request::Request;
use crate::domain::{Error, ResellerId};
use crate::service::Clock;
use crate::service::answer_space::AnswerSpace;
use crate::service::idempotency::Completion;
use crate::service::notifier::Notifier;
use crate::service::settings::{CommitScope, Settings};
use crate::service::transaction::panicked;
use crate::store::Store;

/// Carries out changes of accounts. It runs on the write lanes.
#[derive(Clone)]
pub(in crate::service) struct Writer {
    pub(in crate::service) answer_space: Arc<AnswerSpace>,
    pub(in crate::service) store: Store,
    pub(in crate::service) clock: Clock,
    pub(in crate::service) settings: Settings,
    pub(in crate::service) notifier: Notifier,
}

impl Writer {
    /// Carries out requests. The outcomes are in the order of the requests.
    pub(in crate::service) async fn carry_out(
        self,
        requests: Vec<Request>,
    ) -> Vec<Result<Completion, Error>> {
        if self.settings.scope == CommitScope::All {
            return self.carry_out_together(requests).await;
        }
        // One transaction for each reseller, one after the other.
        let mut groups: BTreeMap<ResellerId, (Vec<usize>, Vec<Request>)> = BTreeMap::new();
        let mut outcomes: Vec<_> = requests.iter().map(|_| Err(Error::Unavailable)).collect();
        for (index, request) in requests.into_iter().enumerate() {
            let (indices, group) = groups.entry(request.reseller).or_default();
            indices.push(index);
            group.push(request);
        }
        for (indices, group) in groups.into_values() {
            let group_outcomes = self.carry_out_together(group).await;
            for (index, outcome) in indices.into_iter().zip(group_outcomes) {
                if let Some(slot) = outcomes.get_mut(index) {
                    *slot = outcome;
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
        warn!(cause = %failed.error, requests = requests.len(), "a batch failed; carrying out its requests one by one");
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

    /// Commits requests in one transaction and calls the notifier if there are new events. The
    /// transaction runs in a spawned task, so that a panic in it does not end the lane.
    async fn commit(
        &self,
        requests: Arc<[Request]>,
    ) -> Result<Vec<Result<Completion, Error>>, BatchError> {
        let (store, now) = (self.store.clone(), self.clock.now());
        let (window, limit) = (
            self.settings.idempotency_window,
            self.settings.transaction_timeout,
        );
        let space = Arc::clone(&self.answer_space);
        let work = async move {
            let committed = batch::commit(&store, &requests, now, window).await?;
            space.add(&committed.answers, now);
            Ok(committed)
        };
        match tokio::spawn(tokio::time::timeout(limit, work).instrument(Span::current())).await {
            Ok(Ok(result)) => result.map(|committed| {
                self.notifier.notify(committed.with_events);
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
