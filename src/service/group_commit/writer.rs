//! Carries out the changes that a lane has taken: together, or one by one if that fails.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tracing::warn;

use super::batch::{self, BatchError};
use super::request::Request;
use crate::domain::{Error, ResellerId};
use crate::service::Clock;
use crate::service::answer_space::AnswerSpace;
use crate::service::idempotency::Completion;
use crate::service::notifier::Notifier;
use crate::service::settings::{CommitScope, Settings};
use crate::service::transaction::caught;
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
        let failed = match self.commit(&requests).await {
            Ok(outcomes) => return outcomes,
            Err(failed) => failed,
        };
        if !failed.is_worth_trying_alone {
            return requests.iter().map(|_| Err(failed.error.clone())).collect();
        }
        warn!(cause = %failed.error, requests = requests.len(), "a batch failed; carrying out its requests one by one");
        let mut outcomes = Vec::with_capacity(requests.len());
        for request in &requests {
            let alone = self.commit(std::slice::from_ref(request)).await;
            let outcome = alone.map_or_else(
                |failed| Err(failed.error),
                |mut outcomes| outcomes.pop().unwrap_or(Err(Error::Unavailable)),
            );
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Commits requests in one transaction and calls the notifier if there are new events. After a
    /// panic, the requests may be tried alone.
    async fn commit(
        &self,
        requests: &[Request],
    ) -> Result<Vec<Result<Completion, Error>>, BatchError> {
        let now = self.clock.now();
        let (window, limit) = (
            self.settings.idempotency_window,
            self.settings.transaction_timeout,
        );
        let work = async move {
            let committed = batch::commit(&self.store, requests, now, window).await?;
            self.answer_space.add(&committed.answers, now);
            Ok(committed)
        };
        let limited = AssertUnwindSafe(tokio::time::timeout(limit, work));
        match limited.catch_unwind().await {
            Ok(Ok(result)) => result.map(|committed| {
                self.notifier.notify(committed.with_events);
                committed.outcomes
            }),
            Ok(Err(_elapsed)) => Err(BatchError {
                error: Error::Unavailable,
                is_worth_trying_alone: false,
            }),
            Err(panic) => Err(BatchError {
                error: caught(&*panic),
                is_worth_trying_alone: true,
            }),
        }
    }
}
