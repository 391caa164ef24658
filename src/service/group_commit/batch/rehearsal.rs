//! Finds out what requests would do, without writing anything: for simulations and previews.

use super::load::{load_plans, load_terms};
use super::{Batch, Request};
use crate::domain::{Account, Error, Event, Outcome, Time};
use crate::store::Tx;

/// What a request would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsed {
    /// Whether it would change the account.
    pub outcome: Outcome,
    /// The events that the change would have.
    pub events: Vec<Event>,
    /// The account afterwards.
    pub account: Account,
}

/// Decides requests as a batch does, with the same data and the same code, so that the results are
/// those of the requests themselves. Each request sees the effect of those before it.
#[derive(Clone)]
pub(in crate::service) struct Rehearsal(Batch);

impl Rehearsal {
    pub(in crate::service) fn at(now: Time) -> Self {
        Self(Batch {
            now,
            ..Batch::default()
        })
    }

    /// Decides requests about existing accounts, in order. `accounts` are those that they name, as
    /// the transaction has read them. The effects of earlier calls on addresses and account limits
    /// are kept; the accounts themselves are not.
    pub(in crate::service) async fn decide(
        &mut self,
        tx: &mut Tx,
        accounts: Vec<Account>,
        requests: &[Request],
    ) -> Result<Vec<Result<Rehearsed, Error>>, Error> {
        let earlier = std::mem::take(&mut self.0);
        let mut batch = Batch::of(accounts, earlier.now);
        batch.emails = batch.load_emails(tx, requests).await?;
        batch.emails.extend(earlier.emails);
        batch.plans = load_plans(tx, requests).await?;
        (batch.terms, batch.live_accounts) = (earlier.terms, earlier.live_accounts);
        if batch.terms.is_empty() {
            (batch.terms, batch.live_accounts) = load_terms(tx, requests, false).await?;
        }
        let decide = |request| {
            let outcome = batch.answer(request)?.done()?;
            let entry = batch.journal.pop();
            Ok(Rehearsed {
                outcome: outcome.outcome,
                events: entry.map(|entry| entry.events).unwrap_or_default(),
                account: outcome.account,
            })
        };
        let results = requests.iter().map(decide).collect();
        self.0 = batch;
        Ok(results)
    }
}
